//! A test → the field that it is about, and the lowest and highest value with which it passes.
//!
//! In: a statement, and the box of those before it: which protocol a packet is of tells what stands
//! in its bytes. Out: a range of values of one field, for [`super::gate`].

use super::gate::{Field, Gate, Settled};
use crate::model::nft::{
    CompareOp, Element, ElementKey, MetaKey, Operand, PayloadBase, Selector, Set, Statement,
    Transform,
};
use crate::model::{IpFamily, Protocol};

/// Whether its hull is all that it says.
pub fn is_exact(statement: &Statement) -> bool {
    matches!(statement, Statement::Compare { op: CompareOp::Eq, .. } | Statement::Range { .. })
}

/// The field that an operand loads, and how many bits of it.
pub fn field(operand: &Operand, gate: &Gate) -> Option<(Field, Width)> {
    let (field, bits, loaded) = match &operand.selector {
        Selector::Payload { base: PayloadBase::Network, offset, len } => {
            let (field, width) = match (gate.family()?, offset) {
                (IpFamily::Ipv4, 9) | (IpFamily::Ipv6, 6) => (Field::Protocol, 8),
                (IpFamily::Ipv4, 12) => (Field::Source, 32),
                (IpFamily::Ipv4, 16) => (Field::Destination, 32),
                (IpFamily::Ipv6, 8) => (Field::Source, 128),
                (IpFamily::Ipv6, 24) => (Field::Destination, 128),
                _ => return None,
            };
            (field, width, len * 8)
        }
        Selector::Payload { base: PayloadBase::Transport, offset, len: 2 } => {
            // Behind other protocols something else stands there.
            let protocol = Protocol(gate.protocol.0);
            let one = gate.protocol.0 == gate.protocol.1;
            if !one || !(protocol.has_ports() || protocol == Protocol::UDPLITE) {
                return None;
            }
            match offset {
                0 => (Field::SourcePort, 16, 16),
                2 => (Field::Port, 16, 16),
                _ => return None,
            }
        }
        Selector::Meta(MetaKey::L4proto) => (Field::Protocol, 8, 8),
        _ => return None,
    };
    let kept = match &operand.transforms[..] {
        [] => loaded,
        [Transform::Mask { mask, xor }] if xor.as_slice().iter().all(|byte| *byte == 0) => {
            super::cuts::leading_ones(mask.as_slice())?
        }
        _ => return None,
    };
    (loaded <= bits).then_some((field, Width { bits, kept: kept.min(loaded) }))
}

/// How wide a field is, and how many of its leading bits are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    bits: u32,
    kept: u32,
}

impl Width {
    /// The lowest and highest value of the field for which these bytes are loaded.
    pub fn range(self, low: &[u8], high: &[u8]) -> (u128, u128) {
        let bytes = self.bits as usize / 8;
        let number = |from: &[u8]| {
            (0..bytes)
                .fold(0_u128, |all, at| all << 8 | u128::from(from.get(at).copied().unwrap_or(0)))
        };
        let free = self.bits - self.kept;
        let rest = if free >= 128 { u128::MAX } else { (1 << free) - 1 };
        (number(low) & !rest, number(high) | rest)
    }
}

/// The lowest and highest value with which the statement passes; of an inverted one nothing.
pub fn hull(statement: &Statement, gate: &Gate, sets: Settled<'_>) -> Option<(Field, u128, u128)> {
    match statement {
        Statement::Compare { op: CompareOp::Ne, .. }
        | Statement::Range { invert: true, .. }
        | Statement::Lookup { invert: true, .. } => None,
        _ => hull_of(statement, gate, sets),
    }
}

/// The same, and of an inverted one what it excludes.
pub fn hull_of(
    statement: &Statement,
    gate: &Gate,
    sets: Settled<'_>,
) -> Option<(Field, u128, u128)> {
    match statement {
        Statement::Compare { left, op: CompareOp::Eq | CompareOp::Ne, right } => {
            let [operand] = &left[..] else { return None };
            if operand.selector == Selector::Meta(MetaKey::Nfproto) && operand.transforms.is_empty()
            {
                let version = match right.as_slice() {
                    [2] => 4,
                    [10] => 6,
                    _ => return None,
                };
                return Some((Field::Version, version, version));
            }
            if operand.selector == Selector::Meta(MetaKey::Protocol)
                && operand.transforms.is_empty()
            {
                let version = match right.as_slice() {
                    [0x08, 0x00] => 4,
                    [0x86, 0xdd] => 6,
                    _ => return None,
                };
                return Some((Field::Version, version, version));
            }
            let (field, width) = field(operand, gate)?;
            let (first, last) = width.range(right.as_slice(), right.as_slice());
            Some((field, first, last))
        }
        Statement::Compare { left, op, right } => {
            let [operand] = &left[..] else { return None };
            let (field, width) = field(operand, gate).filter(|_| operand.transforms.is_empty())?;
            let (first, last) = width.range(right.as_slice(), right.as_slice());
            match op {
                CompareOp::Lt => Some((field, 0, first.checked_sub(1)?)),
                CompareOp::Le => Some((field, 0, last)),
                CompareOp::Gt => Some((field, last.checked_add(1)?, u128::MAX)),
                CompareOp::Ge => Some((field, first, u128::MAX)),
                CompareOp::Eq | CompareOp::Ne => None,
            }
        }
        Statement::Range { left, from, to, .. } => {
            let (field, width) = field(left, gate)?;
            let (first, last) = width.range(from.as_slice(), to.as_slice());
            Some((field, first, last))
        }
        Statement::Lookup { key, set, .. } => {
            let [key] = &key[..] else { return None };
            let (field, width) = field(key, gate)?;
            let elements = sets(set)?.elements.listed();
            let (first, last) = (ends(elements.first()?)?, ends(elements.last()?)?);
            let (low, high) = width.range(first.0, last.1);
            Some((field, low, high))
        }
        _ => None,
    }
}

/// The lowest and highest key of an element.
pub fn ends(element: &Element) -> Option<(&[u8], &[u8])> {
    match &element.key {
        ElementKey::Value(value) => Some((value.as_slice(), value.as_slice())),
        ElementKey::Interval(from, to) => Some((from.as_slice(), to.as_slice())),
        ElementKey::CatchAll => None,
    }
}

/// Whether the set holds every value from `low` to `high`, by elements that do nothing else.
pub fn holds_all(set: &Set, width: Width, low: u128, high: u128) -> bool {
    let elements = set.elements.listed();
    let range = |index: usize| {
        let element = elements.get(index).filter(|own| own.statements.is_empty())?;
        let (from, to) = ends(element)?;
        Some(width.range(from, to))
    };
    if elements.iter().take(1).any(|own| own.key == ElementKey::CatchAll)
        || width.bits != width.kept
    {
        return false;
    }
    let mut at = elements
        .partition_point(|own| ends(own).is_some_and(|(from, to)| width.range(from, to).1 < low));
    let mut from = low;
    while let Some((first, last)) = range(at) {
        if first > from {
            return false;
        }
        match last.checked_add(1) {
            Some(next) if last < high => from = next,
            _ => return true,
        }
        at += 1;
    }
    false
}
