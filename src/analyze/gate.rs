//! A rule → the packets that it can be about at most: a box of values, compared in no time.
//!
//! In: a rule in its one form, and its table. Out: for the fields that rules test most, the lowest
//! and highest value with which the rule can match or change anything. A box may be too large, and
//! is never too small: a packet outside of it passes the rule as if it were not there. Values are
//! those that stand in the packet where the rule looks, after whatever rewrote it before.

use super::packet::number;
use crate::model::nft::{
    CompareOp, ElementKey, Family, MetaKey, Operand, PayloadBase, Rule, Selector, Set, Statement,
    Transform, XtKind, XtMatch,
};
use crate::model::{IpFamily, Protocol};

/// A field that a gate speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// IPv4 or IPv6: 4 or 6.
    Version,
    /// The protocol behind IP.
    Protocol,
    /// The source address.
    Source,
    /// The destination address.
    Destination,
    /// The source port.
    SourcePort,
    /// The destination port.
    Port,
}

/// The sets of a table that hold what was read, whatever packets come.
pub type Settled<'a> = &'a dyn Fn(&str) -> Option<&'a Set>;

/// Lowest and highest value of each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gate {
    /// IPv4 or IPv6.
    pub version: (u8, u8),
    /// Protocols.
    pub protocol: (u8, u8),
    /// Source ports.
    pub source_port: (u16, u16),
    /// Destination ports.
    pub port: (u16, u16),
    /// Source addresses.
    pub source: (u128, u128),
    /// Destination addresses.
    pub destination: (u128, u128),
}

impl Gate {
    /// Every packet.
    pub const ANY: Self = Self {
        version: (4, 6),
        protocol: (0, u8::MAX),
        source_port: (0, u16::MAX),
        port: (0, u16::MAX),
        source: (0, u128::MAX),
        destination: (0, u128::MAX),
    };

    /// The box of a rule.
    pub fn of(rule: &Rule, family: Family, sets: Settled<'_>) -> Self {
        let mut gate = Self::of_family(family);
        for statement in &rule.statements {
            if !statement.only_tests() {
                break;
            }
            if let Some((field, first, last)) = hull(statement, &gate, sets) {
                gate.narrow(field, first, last);
            }
            if let Statement::Xt { decoded: Some(decoded), .. } = statement {
                gate.narrow_xt(decoded);
            }
        }
        gate
    }

    /// The packets that the tables of a family see.
    pub fn of_family(family: Family) -> Self {
        let mut gate = Self::ANY;
        gate.narrow_to_family(family);
        gate
    }

    fn narrow_to_family(&mut self, family: Family) {
        match family {
            Family::Ip => self.narrow(Field::Version, 4, 4),
            Family::Ip6 => self.narrow(Field::Version, 6, 6),
            Family::Inet | Family::Arp | Family::Bridge | Family::Netdev => {}
        }
    }

    /// The IP version, where there is only one.
    pub fn family(&self) -> Option<IpFamily> {
        match self.version {
            (4, 4) => Some(IpFamily::Ipv4),
            (6, 6) => Some(IpFamily::Ipv6),
            _ => None,
        }
    }

    /// The lowest and highest value of a field.
    pub fn range(&self, field: Field) -> (u128, u128) {
        match field {
            Field::Version => (self.version.0.into(), self.version.1.into()),
            Field::Protocol => (self.protocol.0.into(), self.protocol.1.into()),
            Field::SourcePort => (self.source_port.0.into(), self.source_port.1.into()),
            Field::Port => (self.port.0.into(), self.port.1.into()),
            Field::Source => self.source,
            Field::Destination => self.destination,
        }
    }

    /// Takes away what is not in the range.
    pub fn narrow(&mut self, field: Field, first: u128, last: u128) {
        fn both<T: Copy + Ord + TryFrom<u128>>(own: &mut (T, T), first: u128, last: u128, most: T) {
            let first = T::try_from(first).unwrap_or(most);
            let last = T::try_from(last).unwrap_or(most);
            *own = (own.0.max(first), own.1.min(last));
        }
        match field {
            Field::Version => both(&mut self.version, first, last, u8::MAX),
            Field::Protocol => both(&mut self.protocol, first, last, u8::MAX),
            Field::SourcePort => both(&mut self.source_port, first, last, u16::MAX),
            Field::Port => both(&mut self.port, first, last, u16::MAX),
            Field::Source => both(&mut self.source, first, last, u128::MAX),
            Field::Destination => both(&mut self.destination, first, last, u128::MAX),
        }
    }

    fn narrow_xt(&mut self, decoded: &XtMatch) {
        match decoded {
            XtMatch::Ports {
                protocol,
                source,
                destination,
                invert_source,
                invert_destination,
                ..
            } => {
                self.narrow(Field::Protocol, protocol.0.into(), protocol.0.into());
                if !invert_source {
                    self.narrow(Field::SourcePort, source.0.into(), source.1.into());
                }
                if !invert_destination {
                    self.narrow(Field::Port, destination.0.into(), destination.1.into());
                }
            }
            XtMatch::Multiport { side, ranges, invert: false } => {
                let field = match side.as_str() {
                    "destination" => Field::Port,
                    "source" => Field::SourcePort,
                    _ => return,
                };
                let first = ranges.iter().map(|range| range.0).min().unwrap_or(0);
                let last = ranges.iter().map(|range| range.1).max().unwrap_or(u16::MAX);
                self.narrow(field, first.into(), last.into());
            }
            XtMatch::IpRange { source, destination, invert_source, invert_destination } => {
                let sides = [
                    (Field::Source, source, invert_source),
                    (Field::Destination, destination, invert_destination),
                ];
                for (field, range, inverted) in sides {
                    if let (Some((low, high)), false) = (range, inverted) {
                        self.narrow(field, number(*low), number(*high));
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether no packet is in it.
    pub fn is_empty(&self) -> bool {
        self.version.0 > self.version.1
            || self.protocol.0 > self.protocol.1
            || self.port.0 > self.port.1
            || self.source_port.0 > self.source_port.1
            || self.source.0 > self.source.1
            || self.destination.0 > self.destination.1
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        fn both<T: Copy + Ord>(one: (T, T), two: (T, T)) -> (T, T) {
            (one.0.max(two.0), one.1.min(two.1))
        }
        Self {
            version: both(self.version, other.version),
            protocol: both(self.protocol, other.protocol),
            source_port: both(self.source_port, other.source_port),
            port: both(self.port, other.port),
            source: both(self.source, other.source),
            destination: both(self.destination, other.destination),
        }
    }

    /// Whether a packet may be in both.
    pub fn meets(&self, other: &Self) -> bool {
        fn meet<T: Ord>(one: &(T, T), two: &(T, T)) -> bool {
            one.0 <= two.1 && two.0 <= one.1
        }
        meet(&self.port, &other.port)
            && meet(&self.source, &other.source)
            && meet(&self.destination, &other.destination)
            && meet(&self.protocol, &other.protocol)
            && meet(&self.version, &other.version)
            && meet(&self.source_port, &other.source_port)
    }

    /// Whether every packet in it passes the statement; false also where that is not known.
    pub fn implies(&self, statement: &Statement, sets: Settled<'_>) -> bool {
        match statement {
            Statement::Compare { op: CompareOp::Ne, .. }
            | Statement::Range { invert: true, .. }
            | Statement::Lookup { invert: true, .. } => {
                let Some((field, first, last)) = hull_of(statement, self, sets) else {
                    return false;
                };
                let (low, high) = self.range(field);
                last < low || high < first
            }
            Statement::Lookup { key, set, invert: false } => {
                let [key] = &key[..] else { return false };
                let (Some((field, width)), Some(set)) = (field(key, self), sets(set)) else {
                    return false;
                };
                let (low, high) = self.range(field);
                holds_all(set, width, low, high)
            }
            Statement::Xt {
                kind: XtKind::Match, decoded: Some(XtMatch::Comment { .. }), ..
            } => true,
            _ => hull(statement, self, sets).is_some_and(|(field, first, last)| {
                let (low, high) = self.range(field);
                is_exact(statement) && first <= low && high <= last
            }),
        }
    }
}

/// Whether its hull is all that it says.
fn is_exact(statement: &Statement) -> bool {
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
fn hull(statement: &Statement, gate: &Gate, sets: Settled<'_>) -> Option<(Field, u128, u128)> {
    match statement {
        Statement::Compare { op: CompareOp::Ne, .. }
        | Statement::Range { invert: true, .. }
        | Statement::Lookup { invert: true, .. } => None,
        _ => hull_of(statement, gate, sets),
    }
}

/// The same, and of an inverted one what it excludes.
fn hull_of(statement: &Statement, gate: &Gate, sets: Settled<'_>) -> Option<(Field, u128, u128)> {
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
pub fn ends(element: &crate::model::nft::Element) -> Option<(&[u8], &[u8])> {
    match &element.key {
        ElementKey::Value(value) => Some((value.as_slice(), value.as_slice())),
        ElementKey::Interval(from, to) => Some((from.as_slice(), to.as_slice())),
        ElementKey::CatchAll => None,
    }
}

/// Whether the set holds every value from `low` to `high`, by elements that do nothing else.
fn holds_all(set: &Set, width: Width, low: u128, high: u128) -> bool {
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
