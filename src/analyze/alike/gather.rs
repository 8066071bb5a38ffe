//! Every rule → what is asked of destination addresses and destination ports.
//!
//! Which statements read them is said here for each of them; whatever is not surely a test of leading
//! bits makes every value one of its own.

use super::super::cuts::leading_ones;
use super::super::gate::Gate;
use super::super::hull::ends;
use super::super::packet::number;
use super::super::program::Program;
use super::super::sets;
use super::{Addresses, Lookup, Tests};
use crate::model::IpFamily;
use crate::model::nft::{
    CompareOp, CtDirection, CtKey, ElementData, NatKind, NatRange, Operand, PayloadBase, Selector,
    Statement, Transform,
};
use crate::observe::Snapshot;
use std::net::IpAddr;

/// `NF_NAT_RANGE_NETMAP`.
pub(super) const NETMAP: u32 = 1 << 6;

/// What all rules ask of addresses of each IP version, and of ports.
pub(super) fn asked(program: &Program<'_>, snapshot: &Snapshot) -> ([Addresses; 2], Tests) {
    let mut ports = Tests::default();
    let addresses = IpFamily::BOTH.map(|family| {
        let mut own = Addresses::default();
        let (addresses, ports) = (&mut own, &mut ports);
        Gather { program, snapshot, family, table: 0, gate: Gate::ANY, addresses, ports }.rules();
        own.tests.settle();
        own
    });
    ports.ranges.extend(super::waiting(snapshot));
    ports.settle();
    (addresses, ports)
}

/// One of the two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Address,
    Port,
}

/// How an operand depends on a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nothing,
    /// It is so many bytes from the field's first on, and of them so many leading bits.
    Leading {
        side: Side,
        bytes: usize,
        bits: usize,
    },
    Anyhow(Side),
    /// It asks for a socket.
    Socket,
}

/// What is gathered for packets of one IP version.
pub(super) struct Gather<'g, 's> {
    program: &'g Program<'s>,
    pub snapshot: &'g Snapshot,
    family: IpFamily,
    table: usize,
    /// What the rule at hand is about.
    pub gate: Gate,
    pub addresses: &'g mut Addresses,
    ports: &'g mut Tests,
}

impl Gather<'_, '_> {
    fn rules(mut self) {
        let version = match self.family {
            IpFamily::Ipv4 => 4,
            IpFamily::Ipv6 => 6,
        };
        let seen = |gate: &Gate| (gate.version.0..=gate.version.1).contains(&version);
        let program = self.program;
        for (table, own) in program.tables.iter().enumerate().filter(|(_, own)| !own.dormant) {
            self.table = table;
            for chain in 0..own.chains.len() {
                let gates = program.gates(table, chain);
                for (rule, gate) in program.rules(table, chain).zip(gates) {
                    if seen(gate) {
                        self.gate = *gate;
                        rule.statements.iter().for_each(|own| self.statement(own));
                    }
                }
            }
        }
    }

    /// How many bytes a field has.
    fn width(&self, side: Side) -> usize {
        match (side, self.family) {
            (Side::Port, _) => 2,
            (Side::Address, IpFamily::Ipv4) => 4,
            (Side::Address, IpFamily::Ipv6) => 16,
        }
    }

    fn tests(&mut self, side: Side) -> &mut Tests {
        match side {
            Side::Address => &mut self.addresses.tests,
            Side::Port => self.ports,
        }
    }

    pub(super) fn anyhow(&mut self, side: Side) {
        self.tests(side).anyhow = true;
    }

    pub(super) fn both_anyhow(&mut self) {
        self.anyhow(Side::Address);
        self.anyhow(Side::Port);
    }

    pub(super) fn address(&mut self, low: IpAddr, high: IpAddr) {
        if IpFamily::of(low) == self.family {
            self.addresses.tests.ranges.push((number(low), number(high)));
        }
    }

    pub(super) fn port(&mut self, low: u16, high: u16) {
        self.ports.ranges.push((low.into(), high.into()));
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Compare { left, op, right } => match &left[..] {
                [only] => self.compare(only, *op, right.as_slice()),
                several => several.iter().for_each(|own| self.whole(own)),
            },
            Statement::Range { left, from, to, .. } => {
                self.range(left, from.as_slice(), to.as_slice());
            }
            Statement::Lookup { key, set, .. }
            | Statement::VerdictMap { key, map: set }
            | Statement::ObjectMap { key, map: set } => self.lookup(key, set),
            Statement::UpdateSet { key, .. } => {
                // Only whether there is a key decides.
                for operand in key {
                    if let Selector::Map { key, map } = &operand.selector {
                        self.lookup(key, map);
                    }
                }
            }
            Statement::Nat { kind, family, range } => {
                if family.is_none_or(|own| own == self.family) {
                    self.nat(*kind, range);
                }
            }
            Statement::SetPayload { value, .. } => {
                self.addresses.moves_ports = true;
                self.whole(value);
            }
            Statement::SetMeta { value, .. } | Statement::SetCt { value, .. } => self.whole(value),
            Statement::Xt { kind, name, decoded, .. } => {
                if let Some(decoded) = decoded {
                    self.xt(*kind, name, decoded);
                }
            }
            Statement::Verdict(_)
            | Statement::Counter { .. }
            | Statement::Limit(_)
            | Statement::Log(_)
            | Statement::Reject(_)
            | Statement::Notrack
            | Statement::Queue { .. }
            | Statement::Object { .. }
            | Statement::Quota { .. }
            | Statement::ConnLimit { .. }
            | Statement::Opaque { .. } => {}
        }
    }

    /// What an operand loads of a field.
    fn part(&mut self, operand: &Operand) -> Part {
        let (start, width) = match self.family {
            IpFamily::Ipv4 => (16, 4),
            IpFamily::Ipv6 => (24, 16),
        };
        let within = |side: Side, (start, width): (u32, u32), offset: u32, len: u32| {
            let end = offset.saturating_add(len);
            if end <= start || offset >= start + width {
                Ok(None)
            } else if offset == start && end <= start + width {
                Ok(Some((side, len as usize)))
            } else {
                Err(Part::Anyhow(side))
            }
        };
        let loaded = match &operand.selector {
            Selector::Payload { base: PayloadBase::Network, offset, len } => {
                within(Side::Address, (start, width), *offset, *len)
            }
            Selector::Payload { base: PayloadBase::Transport, offset, len } => {
                within(Side::Port, (2, 2), *offset, *len)
            }
            Selector::Ct { key, direction } => {
                let reply = *direction == Some(CtDirection::Reply);
                Ok(match (key, reply) {
                    (CtKey::Dst | CtKey::DstIp | CtKey::DstIp6, false)
                    | (CtKey::Src | CtKey::SrcIp | CtKey::SrcIp6, true) => {
                        Some((Side::Address, width as usize))
                    }
                    (CtKey::ProtoDst, false) | (CtKey::ProtoSrc, true) => Some((Side::Port, 2)),
                    _ => None,
                })
            }
            Selector::Fib { flags, .. } if flags.daddr && (flags.iif || flags.oif) => {
                self.addresses.by_interface.push(self.gate);
                Ok(None)
            }
            Selector::Other { name, .. } if name == "socket" => Err(Part::Socket),
            // The kind of the address, by which `meta pkttype` is known, counts anyway.
            Selector::Payload { base: PayloadBase::Link | PayloadBase::Inner, .. }
            | Selector::Meta(_)
            | Selector::Fib { .. }
            | Selector::Immediate(_)
            | Selector::Map { .. }
            | Selector::Other { .. } => Ok(None),
        };
        let (side, bytes) = match loaded {
            Err(part) => return part,
            Ok(None) => return Part::Nothing,
            Ok(Some(loaded)) => loaded,
        };
        let bits = match &operand.transforms[..] {
            [] => Some(bytes * 8),
            [Transform::Mask { mask, xor }] if xor.as_slice().iter().all(|byte| *byte == 0) => {
                leading_ones(mask.as_slice()).map(|ones| (ones as usize).min(bytes * 8))
            }
            _ => None,
        };
        bits.map_or(Part::Anyhow(side), |bits| Part::Leading { side, bytes, bits })
    }

    /// An operand whose value counts as a whole.
    fn whole(&mut self, operand: &Operand) {
        if let Selector::Map { key, map } = &operand.selector {
            return self.lookup(key, map);
        }
        match self.part(operand) {
            Part::Nothing => {}
            Part::Leading { side, .. } | Part::Anyhow(side) => self.anyhow(side),
            Part::Socket => self.both_anyhow(),
        }
    }

    /// The lowest and highest value of a field with these leading bits.
    fn hull(&self, side: Side, bits: usize, low: &[u8], high: &[u8]) -> (u128, u128) {
        let width = self.width(side);
        let free = width * 8 - bits.min(width * 8);
        let rest = if free >= 128 { u128::MAX } else { (1 << free) - 1 };
        let number = |bytes: &[u8]| {
            let byte = |at: usize| u128::from(bytes.get(at).copied().unwrap_or(0));
            (0..width).fold(0_u128, |all, at| all << 8 | byte(at))
        };
        (number(low) & !rest, number(high) | rest)
    }

    fn compare(&mut self, operand: &Operand, op: CompareOp, right: &[u8]) {
        let Part::Leading { side, bytes, bits } = self.part(operand) else {
            return self.whole(operand);
        };
        if right.len() > bytes {
            return self.anyhow(side);
        }
        // Only the bytes of the constant are compared.
        let (first, last) = self.hull(side, bits.min(right.len() * 8), right, right);
        let plain = operand.transforms.is_empty();
        let range = match op {
            CompareOp::Eq | CompareOp::Ne => Some((first, last)),
            CompareOp::Lt | CompareOp::Ge if plain => first.checked_sub(1).map(|end| (0, end)),
            CompareOp::Le | CompareOp::Gt if plain => Some((0, last)),
            CompareOp::Lt | CompareOp::Ge | CompareOp::Le | CompareOp::Gt => {
                return self.anyhow(side);
            }
        };
        self.tests(side).ranges.extend(range);
    }

    fn range(&mut self, operand: &Operand, from: &[u8], to: &[u8]) {
        let Part::Leading { side, bytes, bits } = self.part(operand) else {
            return self.whole(operand);
        };
        if from.len() != to.len() || from.len() > bytes || !operand.transforms.is_empty() {
            return self.anyhow(side);
        }
        let range = self.hull(side, bits.min(from.len() * 8), from, to);
        self.tests(side).ranges.push(range);
    }

    fn lookup(&mut self, key: &[Operand], name: &str) {
        let Some(index) = self.program.set_index(self.table, name) else {
            // Nothing is known of it, whatever the key; but its parts may be missing.
            return key.iter().for_each(|own| self.whole(own));
        };
        let id = (self.table, index);
        let set = &self.program.tables[self.table].sets[index];
        if let [only] = key {
            return match self.part(only) {
                Part::Leading { side, bytes, bits } => {
                    let all = &mut self.tests(side).lookups;
                    let own = Lookup { set: id, bytes, bits };
                    if !all.contains(&own) {
                        all.push(own);
                    }
                }
                Part::Nothing | Part::Anyhow(_) | Part::Socket => self.whole(only),
            };
        }
        let fields = sets::fields(set);
        if fields.len() != key.len() {
            return key.iter().for_each(|own| self.whole(own));
        }
        for (operand, (at, len)) in key.iter().zip(fields) {
            match self.part(operand) {
                Part::Leading { side, bytes, bits } if bytes == len && bits == len * 8 => {
                    let place = (id, at);
                    if self.tests(side).pieces.contains_key(&place) {
                        continue;
                    }
                    let mut firsts = Vec::new();
                    for (from, to) in set.elements.listed().iter().filter_map(ends) {
                        let (Some(from), Some(to)) = (from.get(at..at + len), to.get(at..at + len))
                        else {
                            return self.anyhow(side);
                        };
                        let (first, last) = self.hull(side, bits, from, to);
                        firsts.push(first);
                        firsts.extend(last.checked_add(1));
                    }
                    self.tests(side).pieces.insert(place, firsts);
                }
                Part::Leading { .. } | Part::Nothing | Part::Anyhow(_) | Part::Socket => {
                    self.whole(operand);
                }
            }
        }
    }

    /// Where a constant is the new destination, that one is not told from one that was dialled.
    fn nat(&mut self, kind: NatKind, range: &NatRange) {
        match kind {
            NatKind::Tproxy => return self.both_anyhow(),
            NatKind::Redirect => self.addresses.redirects = true,
            NatKind::Dnat => self.addresses.moves_ports |= range.address.is_none(),
            NatKind::Snat | NatKind::Masquerade => {}
        }
        if range.flags & NETMAP != 0 {
            self.anyhow(Side::Address);
        }
        for (side, bound) in [(Side::Address, &range.address), (Side::Port, &range.port)] {
            let Some((low, high)) = bound else { continue };
            for operand in std::iter::once(low).chain(high) {
                match (&operand.selector, &operand.transforms[..]) {
                    (Selector::Immediate(bytes), []) => {
                        let bytes = bytes.as_slice();
                        let range = self.hull(side, self.width(side) * 8, bytes, bytes);
                        self.tests(side).ranges.push(range);
                    }
                    (Selector::Map { key, map }, _) => {
                        self.lookup(key, map);
                        self.translated_by(map);
                    }
                    _ => {
                        self.whole(operand);
                        self.anyhow(side);
                    }
                }
            }
        }
    }

    /// The addresses and ports that a map holds as new destinations.
    fn translated_by(&mut self, map: &str) {
        let width = self.width(Side::Address);
        let elements = self.program.set(self.table, map).map(|set| set.elements.listed());
        for element in elements.unwrap_or_default() {
            let Some(ElementData::Value(data)) = &element.data else { continue };
            let data = data.as_slice();
            if data.len() >= width {
                let range = self.hull(Side::Address, width * 8, data, data);
                self.addresses.tests.ranges.push(range);
            }
            for two in data.windows(2) {
                let port = u16::from_be_bytes([two[0], two[1]]);
                self.port(port, port);
            }
        }
    }
}
