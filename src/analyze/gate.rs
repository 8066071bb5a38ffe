//! A rule → the packets that it can be about at most: a box of values, compared in no time.
//!
//! In: a rule in its one form, and its table. Out: for the fields that rules test most, the lowest
//! and highest value with which the rule can match or change anything. A box may be too large, and
//! is never too small: a packet outside of it passes the rule as if it were not there. Values are
//! those that stand in the packet where the rule looks, after whatever rewrote it before.

use super::hull::{field, holds_all, hull, hull_of, is_exact};
use super::packet::number;
use crate::model::IpFamily;
use crate::model::nft::{CompareOp, Family, Rule, Set, Statement, XtKind, XtMatch};

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
