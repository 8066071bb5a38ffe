//! The register file of the nftables virtual machine, holding operands instead of bytes.
//!
//! Sixteen words of 4 bytes; the four registers of 16 bytes lie over them (`NFT_REG_1` is words
//! 0 to 3, `NFT_REG32_00` is word 0). A load owns as many words as its value needs; whoever reads
//! several loads at once reads a concatenation.

use crate::model::nft::{Operand, Selector, Transform};

const WORDS: usize = 16;

/// A value that has been loaded, and its length in bytes.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub operand: Operand,
    pub len: usize,
}

/// The registers at one point of a rule.
#[derive(Debug, Clone, Default)]
pub(super) struct Registers {
    loads: Vec<Load>,
    /// For each word the load that wrote it, and which word of that load it is.
    words: [Option<(u16, u16)>; WORDS],
}

/// The first word of a register (`enum nft_registers`), or `None` for the verdict register and
/// numbers that are none.
fn word(register: u32) -> Option<usize> {
    match register {
        1..=4 => Some((register as usize - 1) * 4),
        8..=23 => Some(register as usize - 8),
        _ => None,
    }
}

impl Registers {
    /// Empties the registers, as at the beginning of a rule.
    pub fn clear(&mut self) {
        self.loads.clear();
        self.words = [None; WORDS];
    }

    /// Puts an operand of so many bytes into a register.
    pub fn store(&mut self, register: u32, operand: Operand, len: usize) {
        let (Some(first), Ok(index)) = (word(register), u16::try_from(self.loads.len())) else {
            return;
        };
        let count = len.div_ceil(4).max(1);
        for (offset, slot) in (0..count).zip(self.words.iter_mut().skip(first)) {
            *slot = u16::try_from(offset).ok().map(|offset| (index, offset));
        }
        self.loads.push(Load { operand, len });
    }

    /// Marks every register as holding something that the named expression may have written.
    pub fn taint(&mut self, name: &str) {
        let unknown =
            Selector::Other { name: name.to_owned(), detail: "may have written it".to_owned() };
        for register in 8..24 {
            self.store(register, Operand::plain(unknown.clone()), 4);
        }
    }

    /// The operand at the beginning of a register, and its length.
    fn at(&self, word: usize) -> Option<(&Load, u16)> {
        let (index, offset) = (*self.words.get(word)?)?;
        self.loads.get(usize::from(index)).map(|load| (load, offset))
    }

    /// The operands that fill `len` bytes from a register on.
    pub fn read(&self, register: u32, len: usize) -> Vec<Operand> {
        let Some(first) = word(register) else { return vec![unset()] };
        let end = (first + len.div_ceil(4).max(1)).min(WORDS);
        let mut operands = Vec::with_capacity(1);
        let mut at = first;
        while at < end {
            let (operand, words) = match self.at(at) {
                None => (unset(), 1),
                Some((load, 0)) => (load.operand.clone(), load.len.div_ceil(4).max(1)),
                Some((load, offset)) => (part(load, offset), self.same_load(at)),
            };
            operands.push(operand);
            at += words.max(1);
        }
        operands
    }

    /// How many words from here on belong to one load.
    fn same_load(&self, at: usize) -> usize {
        let owner = self.words[at].map(|(index, _)| index);
        self.words[at..].iter().take_while(|word| word.map(|(index, _)| index) == owner).count()
    }

    /// The one operand in a register, whatever its length.
    pub fn operand(&self, register: u32) -> Operand {
        match word(register).and_then(|word| self.at(word)) {
            None => unset(),
            Some((load, 0)) => load.operand.clone(),
            Some((load, offset)) => part(load, offset),
        }
    }
}

/// A value that begins in the middle of a loaded one: the port in a map's `address . port`.
fn part(load: &Load, offset: u16) -> Operand {
    let mut operand = load.operand.clone();
    operand.transforms.push(Transform::Other(format!("bytes from {}", offset * 4)));
    operand
}

fn unset() -> Operand {
    Operand::plain(Selector::Other { name: "register".to_owned(), detail: "unset".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::MetaKey;

    fn meta(key: MetaKey) -> Operand {
        Operand::plain(Selector::Meta(key))
    }

    #[test]
    fn short_and_long_registers_lie_over_each_other() {
        let mut registers = Registers::default();
        registers.store(1, meta(MetaKey::Iifname), 16);
        registers.store(2, meta(MetaKey::Mark), 4);
        assert_eq!(registers.read(1, 20), [meta(MetaKey::Iifname), meta(MetaKey::Mark)]);
        assert_eq!(registers.read(12, 4), [meta(MetaKey::Mark)], "NFT_REG32_04 is NFT_REG_2");
        registers.store(9, meta(MetaKey::L4proto), 1);
        let read = registers.read(1, 8);
        assert_eq!(read.len(), 1, "the load from word 0 covers it: {read:?}");
        assert_eq!(registers.operand(9), meta(MetaKey::L4proto));
    }

    #[test]
    fn no_register_number_panics() {
        let mut registers = Registers::default();
        for register in [0, 5, 7, 23, 24, u32::MAX] {
            registers.store(register, meta(MetaKey::Mark), 64);
            assert!(!registers.read(register, usize::MAX / 2).is_empty());
            registers.operand(register);
        }
    }
}
