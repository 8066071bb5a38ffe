//! A statement → the values of a packet's fields at which it may begin to say something else.
//!
//! Too many edges cost time, a missing one would make an answer wrong: whatever constant is held
//! against bytes in which a field stands counts, whichever statement it is.

use super::super::cuts::leading_ones;
use super::super::hull::ends;
use super::super::packet::number;
use super::super::program::Program;
use super::super::sets;
use crate::model::IpFamily;
use crate::model::nft::{
    CtDirection, CtKey, MetaKey, Operand, PayloadBase, Selector, Statement, Transform, XtMatch,
};
use std::collections::BTreeSet;

/// Where one byte may matter: before these values, and under these masks.
#[derive(Debug, Default, Clone)]
pub struct Byte {
    cuts: BTreeSet<u8>,
    masks: BTreeSet<u8>,
}

impl Byte {
    fn range(&mut self, first: u8, last: u8) {
        self.cuts.insert(first);
        self.cuts.extend(last.checked_add(1));
    }

    /// One value for each class of values that nothing tells apart, out of a range and less some
    /// values.
    pub fn classes(&self, (first, last): (u8, u8), less: &[u8]) -> Vec<u8> {
        let mut seen = BTreeSet::new();
        let all = (first..=last).filter(|value| !less.contains(value));
        all.filter(|value| seen.insert(self.class(*value))).collect()
    }

    /// The same out of a range, with a value that stands for its class, and first.
    pub fn with(&self, (first, last): (u8, u8), wanted: u8) -> Vec<u8> {
        let mut seen = BTreeSet::new();
        let all = std::iter::once(wanted).chain(first..=last);
        all.filter(|value| seen.insert(self.class(*value))).collect()
    }

    fn class(&self, value: u8) -> (usize, Vec<u8>) {
        let masked = self.masks.iter().map(|mask| value & mask).collect();
        (self.cuts.range(..=value).count(), masked)
    }
}

/// Edges of all fields but the source address, which the engine cuts by itself.
#[derive(Debug, Default, Clone)]
pub struct Edges {
    /// The protocol.
    pub protocol: Byte,
    /// The destination port: before these.
    pub port: Vec<u128>,
    /// The source port.
    pub source_port: Vec<u128>,
    /// The destination address.
    pub destination: Vec<u128>,
    /// ICMP type.
    pub icmp_type: Byte,
    /// ICMP code.
    pub icmp_code: Byte,
    /// TCP flags.
    pub flags: Byte,
    /// Tests of the destination or a port that say something else anywhere.
    pub vague: bool,
    /// Whether anything depends on what connection tracking says.
    pub state: bool,
}

/// A field of a packet.
#[derive(Clone, Copy)]
enum Part {
    Protocol,
    Port,
    SourcePort,
    Destination,
    IcmpType,
    IcmpCode,
    Flags,
}

/// What is needed to find edges.
#[derive(Clone, Copy)]
pub struct Finder<'a, 's> {
    pub program: &'a Program<'s>,
    pub family: IpFamily,
    pub table: usize,
}

fn before(edges: &mut Vec<u128>, first: u128, last: u128) {
    edges.push(first);
    edges.extend(last.checked_add(1));
}

/// A number of the bytes, filled up to `len` bytes.
fn filled(bytes: &[u8], len: usize, fill: u8) -> u128 {
    (0..len).fold(0, |all, at| all << 8 | u128::from(bytes.get(at).copied().unwrap_or(fill)))
}

impl Finder<'_, '_> {
    /// Adds the edges of a statement.
    pub fn statement(&self, statement: &Statement, out: &mut Edges) {
        out.state |= tracks(statement);
        match statement {
            Statement::Compare { left, right, .. } => {
                let mut at = 0;
                for operand in left {
                    let rest = right.as_slice().get(at..).unwrap_or_default();
                    self.constant(operand, rest, rest, out);
                    let len = match &operand.selector {
                        Selector::Payload { len, .. } => *len as usize,
                        _ => rest.len(),
                    };
                    at += if left.len() > 1 { len.next_multiple_of(4) } else { len };
                }
            }
            Statement::Range { left, from, to, .. } => {
                self.constant(left, from.as_slice(), to.as_slice(), out);
            }
            Statement::Lookup { key, set, .. }
            | Statement::VerdictMap { key, map: set }
            | Statement::ObjectMap { key, map: set } => {
                self.lookup(key, set, out);
            }
            Statement::Nat { range, .. } => {
                for (low, high) in [&range.address, &range.port].into_iter().flatten() {
                    self.whole(low, out);
                    if let Some(high) = high {
                        self.whole(high, out);
                    }
                }
            }
            Statement::SetMeta { value, .. }
            | Statement::SetCt { value, .. }
            | Statement::SetPayload { value, .. } => self.whole(value, out),
            Statement::Xt { decoded: Some(decoded), .. } => xt(decoded, out),
            Statement::UpdateSet { .. }
            | Statement::Verdict(_)
            | Statement::Counter { .. }
            | Statement::Limit(_)
            | Statement::Log(_)
            | Statement::Reject(_)
            | Statement::Notrack
            | Statement::Queue { .. }
            | Statement::Object { .. }
            | Statement::Quota { .. }
            | Statement::ConnLimit { .. }
            | Statement::Xt { .. }
            | Statement::Opaque { .. } => {}
        }
    }

    /// What stands in an operand's bytes: the field, where it begins there, and its length; and
    /// how many of the operand's bytes, from the first, a mask leaves whole.
    fn parts(&self, operand: &Operand) -> Vec<(Part, i64, usize)> {
        let address = if self.family == IpFamily::Ipv4 { 4 } else { 16 };
        let (first, len, known): (u32, u32, &[(Part, u32, usize)]) = match &operand.selector {
            Selector::Payload { base: PayloadBase::Network, offset, len } => {
                let all: &[(Part, u32, usize)] = match self.family {
                    IpFamily::Ipv4 => &[(Part::Protocol, 9, 1), (Part::Destination, 16, 4)],
                    IpFamily::Ipv6 => &[(Part::Protocol, 6, 1), (Part::Destination, 24, 16)],
                };
                (*offset, *len, all)
            }
            Selector::Payload { base: PayloadBase::Transport, offset, len } => (
                *offset,
                *len,
                &[
                    (Part::SourcePort, 0, 2),
                    (Part::Port, 2, 2),
                    (Part::IcmpType, 0, 1),
                    (Part::IcmpCode, 1, 1),
                    (Part::Flags, 13, 1),
                ],
            ),
            Selector::Meta(MetaKey::L4proto) | Selector::Ct { key: CtKey::Protocol, .. } => {
                return vec![(Part::Protocol, 0, 1)];
            }
            Selector::Ct { key, direction } => {
                let reply = *direction == Some(CtDirection::Reply);
                return match (key, reply) {
                    (CtKey::Dst | CtKey::DstIp | CtKey::DstIp6, false)
                    | (CtKey::Src | CtKey::SrcIp | CtKey::SrcIp6, true) => {
                        vec![(Part::Destination, 0, address)]
                    }
                    (CtKey::ProtoDst, false) | (CtKey::ProtoSrc, true) => vec![(Part::Port, 0, 2)],
                    (CtKey::ProtoSrc, false) | (CtKey::ProtoDst, true) => {
                        vec![(Part::SourcePort, 0, 2)]
                    }
                    _ => Vec::new(),
                };
            }
            _ => return Vec::new(),
        };
        let end = first.saturating_add(len);
        let inside = known
            .iter()
            .filter(|(_, at, size)| *at < end && first < at + u32::try_from(*size).unwrap_or(0));
        inside.map(|(part, at, size)| (*part, i64::from(*at) - i64::from(first), *size)).collect()
    }

    /// An operand that is held against constants.
    fn constant(&self, operand: &Operand, low: &[u8], high: &[u8], out: &mut Edges) {
        if let Selector::Map { key, map } = &operand.selector {
            return self.lookup(key, map, out);
        }
        let mask = match &operand.transforms[..] {
            [] => None,
            [Transform::Mask { mask, xor }] if xor.as_slice().iter().all(|own| *own == 0) => {
                Some(mask.as_slice())
            }
            _ => return self.whole(operand, out),
        };
        for (part, at, size) in self.parts(operand) {
            // It begins before the bytes that are loaded.
            let Ok(at) = usize::try_from(at) else {
                anyhow(part, out);
                continue;
            };
            let of = |bytes: &[u8]| -> Vec<u8> {
                bytes.get(at..).unwrap_or_default().iter().take(size).copied().collect()
            };
            let own = mask.map(of);
            match part {
                Part::Protocol | Part::IcmpType | Part::IcmpCode | Part::Flags => {
                    let byte = byte(part, out);
                    if let Some(own) = own {
                        byte.masks.extend(own.first());
                    } else {
                        let first = of(low).first().copied().unwrap_or(0);
                        let last = of(high).first().copied().unwrap_or(u8::MAX);
                        byte.range(first, first);
                        byte.range(last, last);
                    }
                }
                Part::Port | Part::SourcePort | Part::Destination => {
                    let width = u32::try_from(size * 8).unwrap_or(128);
                    let kept = own.map_or(Some(width), |own| {
                        // What the mask does not reach is 0.
                        leading_ones(&own).map(|ones| ones.min(width))
                    });
                    let Some(kept) = kept else {
                        anyhow(part, out);
                        continue;
                    };
                    let free = width - kept;
                    let rest = if free >= 128 { u128::MAX } else { (1 << free) - 1 };
                    let edges = wide(part, out);
                    for bytes in [low, high] {
                        let bytes = of(bytes);
                        let first = filled(&bytes, size, 0) & !rest;
                        let last = filled(&bytes, size, 0xff) | rest;
                        before(edges, first, last);
                    }
                }
            }
        }
    }

    /// An operand whose value counts as a whole.
    fn whole(&self, operand: &Operand, out: &mut Edges) {
        if let Selector::Map { key, map } = &operand.selector {
            return self.lookup(key, map, out);
        }
        for (part, ..) in self.parts(operand) {
            anyhow(part, out);
        }
    }

    fn lookup(&self, key: &[Operand], name: &str, out: &mut Edges) {
        let Some(set) = self.program.set(self.table, name) else { return };
        for (operand, (at, len)) in key.iter().zip(sets::fields(set)) {
            if matches!(operand.selector, Selector::Map { .. }) || self.parts(operand).is_empty() {
                if let Selector::Map { key, map } = &operand.selector {
                    self.lookup(key, map, out);
                }
                continue;
            }
            for element in set.elements.listed() {
                let Some((from, to)) = ends(element) else { continue };
                if let (Some(from), Some(to)) = (from.get(at..at + len), to.get(at..at + len)) {
                    self.constant(operand, from, to, out);
                }
            }
        }
    }
}

fn xt(decoded: &XtMatch, out: &mut Edges) {
    match decoded {
        XtMatch::Ports { protocol, source, destination, flags, .. } => {
            out.protocol.range(protocol.0, protocol.0);
            before(&mut out.source_port, source.0.into(), source.1.into());
            before(&mut out.port, destination.0.into(), destination.1.into());
            out.flags.masks.extend(flags.map(|(mask, _)| mask));
        }
        XtMatch::Multiport { ranges, .. } => {
            for (first, last) in ranges {
                before(&mut out.source_port, (*first).into(), (*last).into());
                before(&mut out.port, (*first).into(), (*last).into());
            }
        }
        XtMatch::Icmp { kind, codes, .. } => {
            out.icmp_type.range(*kind, *kind);
            out.icmp_code.range(codes.0, codes.1);
        }
        XtMatch::IpRange { destination: Some((low, high)), .. } => {
            before(&mut out.destination, number(*low), number(*high));
        }
        XtMatch::Conntrack { others, .. } => {
            for word in others.iter().flat_map(|own| own.split([' ', ':'])) {
                if let Ok(port) = word.parse::<u16>() {
                    before(&mut out.port, port.into(), port.into());
                    before(&mut out.source_port, port.into(), port.into());
                } else if let Ok(prefix) = word.parse::<crate::model::Prefix>() {
                    let (first, last) = (prefix.first(), prefix.last());
                    before(&mut out.destination, number(first), number(last));
                }
            }
        }
        // The kinds of addresses are in the edges of every search.
        _ => {}
    }
}

fn anyhow(part: Part, out: &mut Edges) {
    match part {
        Part::Protocol | Part::IcmpType | Part::IcmpCode | Part::Flags => {
            byte(part, out).masks.insert(u8::MAX);
        }
        Part::Port | Part::SourcePort | Part::Destination => out.vague = true,
    }
}

/// Whether a statement may say something else for another state of the connection.
fn tracks(statement: &Statement) -> bool {
    let plain = |operand: &Operand| match &operand.selector {
        Selector::Payload { .. } | Selector::Immediate(_) | Selector::Fib { .. } => true,
        Selector::Meta(key) => !matches!(key, MetaKey::Skuid | MetaKey::Skgid | MetaKey::Cgroup),
        Selector::Ct { .. } | Selector::Map { .. } | Selector::Other { .. } => false,
    };
    !match statement {
        Statement::Compare { left, .. } => left.iter().all(plain),
        Statement::Range { left, .. } => plain(left),
        Statement::Lookup { key, .. } | Statement::VerdictMap { key, .. } => key.iter().all(plain),
        Statement::SetMeta { value, .. } => plain(value),
        Statement::Verdict(_)
        | Statement::Counter { .. }
        | Statement::Limit(_)
        | Statement::Log(_)
        | Statement::Reject(_) => true,
        _ => false,
    }
}

fn byte(part: Part, out: &mut Edges) -> &mut Byte {
    match part {
        Part::IcmpType => &mut out.icmp_type,
        Part::IcmpCode => &mut out.icmp_code,
        Part::Flags => &mut out.flags,
        Part::Protocol | Part::Port | Part::SourcePort | Part::Destination => &mut out.protocol,
    }
}

fn wide(part: Part, out: &mut Edges) -> &mut Vec<u128> {
    match part {
        Part::SourcePort => &mut out.source_port,
        Part::Destination => &mut out.destination,
        Part::Port | Part::Protocol | Part::IcmpType | Part::IcmpCode | Part::Flags => {
            &mut out.port
        }
    }
}
