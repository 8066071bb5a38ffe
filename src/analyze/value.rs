//! Contents of registers, bit by bit: known, or not.

use crate::model::nft::{BitOp, CompareOp, Transform};
use std::cmp::Ordering;

/// A register's bytes, and which of their bits are known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bits {
    /// The bytes; unknown bits are 0.
    pub value: Vec<u8>,
    /// A bit for each bit of `value`.
    pub known: Vec<u8>,
}

/// What a load yields.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Bytes.
    Bits(Bits),
    /// Nothing: the rule ends here without a match (`NFT_BREAK`).
    Absent,
}

/// What a test says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// The packet alone does not tell.
    Unknown,
}

impl Truth {
    /// The opposite, where `invert`.
    pub fn inverted(self, invert: bool) -> Self {
        match (self, invert) {
            (Self::Yes, true) => Self::No,
            (Self::No, true) => Self::Yes,
            (same, _) => same,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Value {
    /// Known bytes.
    pub fn known(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bits(Bits::known(bytes))
    }

    /// So many bytes of which nothing is known.
    pub fn unknown(len: usize) -> Self {
        Self::Bits(Bits { value: vec![0; len], known: vec![0; len] })
    }

    /// A number in the order of the host.
    pub fn number(number: u32) -> Self {
        Self::known(number.to_ne_bytes())
    }

    /// A name as the kernel pads it (`IFNAMSIZ`).
    pub fn name(name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(16, 0);
        Self::known(bytes)
    }
}

impl Bits {
    /// Known bytes.
    pub fn known(bytes: impl Into<Vec<u8>>) -> Self {
        let value = bytes.into();
        let known = vec![0xff; value.len()];
        Self { value, known }
    }

    /// Whether every bit is known.
    pub fn is_known(&self) -> bool {
        self.known.iter().all(|known| *known == 0xff)
    }

    /// The first `len` bytes; fewer where there are fewer.
    pub fn truncated(mut self, len: usize) -> Self {
        self.value.truncate(len);
        self.known.truncate(len);
        self
    }

    /// A host-order number of 4 bytes, if it is known.
    pub fn as_number(&self) -> Option<u32> {
        let bytes = *self.value.first_chunk()?;
        (self.is_known() && self.value.len() == 4).then_some(u32::from_ne_bytes(bytes))
    }

    /// Fills up with zeros to whole registers.
    pub fn padded(mut self) -> Self {
        let len = self.value.len().next_multiple_of(4);
        self.value.resize(len, 0);
        self.known.resize(len, 0xff);
        self
    }

    /// Whether it equals these bytes.
    pub fn equals(&self, other: &[u8]) -> Truth {
        let pairs = || self.value.iter().zip(&self.known).zip(other);
        if self.value.len() < other.len() {
            return Truth::Unknown;
        }
        if pairs().any(|((value, known), other)| (value ^ other) & known != 0) {
            return Truth::No;
        }
        if pairs().all(|((_, known), _)| *known == 0xff) { Truth::Yes } else { Truth::Unknown }
    }

    /// How it stands to these bytes, as `memcmp`; `None` where unknown bits decide.
    pub fn order(&self, other: &[u8]) -> Option<Ordering> {
        for (index, theirs) in other.iter().enumerate() {
            let (value, known) = (self.value.get(index)?, self.known.get(index)?);
            if *known != 0xff {
                return None;
            }
            match value.cmp(theirs) {
                Ordering::Equal => {}
                order => return Some(order),
            }
        }
        Some(Ordering::Equal)
    }

    /// A comparison.
    pub fn compare(&self, op: CompareOp, other: &[u8]) -> Truth {
        let ordered = |holds: fn(Ordering) -> bool| {
            self.order(other).map_or(Truth::Unknown, |order| holds(order).into())
        };
        match op {
            CompareOp::Eq => self.equals(other),
            CompareOp::Ne => self.equals(other).inverted(true),
            CompareOp::Lt => ordered(Ordering::is_lt),
            CompareOp::Le => ordered(Ordering::is_le),
            CompareOp::Gt => ordered(Ordering::is_gt),
            CompareOp::Ge => ordered(Ordering::is_ge),
        }
    }

    /// Whether it is between two values, as `memcmp` orders them.
    pub fn within(&self, from: &[u8], to: &[u8]) -> Truth {
        if from == to {
            return self.equals(from);
        }
        match (self.compare(CompareOp::Ge, from), self.compare(CompareOp::Le, to)) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Yes, Truth::Yes) => Truth::Yes,
            _ => Truth::Unknown,
        }
    }

    /// What the transformations make of it.
    pub fn transformed(mut self, transforms: &[Transform]) -> Self {
        for transform in transforms {
            self = self.transform(transform);
        }
        self
    }

    fn transform(self, transform: &Transform) -> Self {
        let len = self.value.len();
        let unknown = || Self { value: vec![0; len], known: vec![0; len] };
        match transform {
            Transform::Mask { mask, xor } => {
                let byte = |index: usize| {
                    let mask = mask.as_slice().get(index).copied().unwrap_or(0);
                    let xor = xor.as_slice().get(index).copied().unwrap_or(0);
                    let known = self.known[index] | !mask;
                    ((self.value[index] & mask ^ xor) & known, known)
                };
                let (value, known) = (0..len).map(byte).unzip();
                Self { value, known }
            }
            // The kernel shifts words of 4 bytes in the order of the host.
            Transform::Shift { op, bits } if len <= 4 && *bits < 32 => {
                let shift = |bytes: &[u8], fill: u32| {
                    let mut word = [0; 4];
                    word[..len].copy_from_slice(bytes);
                    let number = u32::from_ne_bytes(word);
                    let shifted = match op {
                        BitOp::ShiftLeft => number << bits | fill & !(u32::MAX << bits),
                        BitOp::ShiftRight => number >> bits | fill & !(u32::MAX >> bits),
                    };
                    shifted.to_ne_bytes()[..len].to_vec()
                };
                let known = shift(&self.known, u32::MAX);
                let value = shift(&self.value, 0);
                Self { value, known }
            }
            Transform::ByteOrder { size, .. } => {
                let size = *size as usize;
                let turn = |bytes: Vec<u8>| {
                    let turned = |unit: &[u8]| -> Vec<u8> {
                        if unit.len() == size && cfg!(target_endian = "little") {
                            unit.iter().rev().copied().collect()
                        } else {
                            unit.to_vec()
                        }
                    };
                    bytes.chunks(size.max(1)).flat_map(turned).collect::<Vec<u8>>()
                };
                Self { value: turn(self.value), known: turn(self.known) }
            }
            Transform::Other(what) => {
                let from = what.strip_prefix("bytes from ").and_then(|at| at.parse::<usize>().ok());
                match from {
                    Some(from) if from < len => {
                        Self { value: self.value[from..].into(), known: self.known[from..].into() }
                    }
                    _ => unknown(),
                }
            }
            Transform::Shift { .. } => unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::Bytes;

    #[test]
    fn unknown_bits_decide_only_where_they_matter() {
        let bits = Bits { value: vec![0x40, 0], known: vec![0xf0, 0xff] };
        assert_eq!(bits.equals(&[0x45, 0]), Truth::Unknown);
        assert_eq!(bits.equals(&[0x55, 0]), Truth::No, "a known bit differs");
        let mask = Transform::Mask { mask: Bytes::from([0xf0, 0xff]), xor: Bytes::from([0, 1]) };
        let masked = bits.transformed(&[mask]);
        assert_eq!(masked.equals(&[0x40, 1]), Truth::Yes);
        assert_eq!(masked.compare(CompareOp::Gt, &[0x40, 0]), Truth::Yes);
    }

    #[test]
    fn shifts_and_byte_orders_are_those_of_the_host() {
        let shifted = Bits::known(6_u32.to_ne_bytes())
            .transformed(&[Transform::Shift { op: BitOp::ShiftLeft, bits: 4 }]);
        assert_eq!(shifted.as_number(), Some(0x60));
        let turned = Bits::known([0x12, 0x34])
            .transformed(&[Transform::ByteOrder { size: 2, to_host: true }]);
        assert_eq!(turned.value, 0x1234_u16.to_ne_bytes());
    }
}
