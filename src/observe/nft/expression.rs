//! One expression of the bytecode → statements, and what it leaves in the registers.
//!
//! In: the name and attributes of an expression. Out: never an error. An expression that is not
//! known becomes [`Statement::Opaque`], and the registers that it may have written are marked.

use super::attr::{Attributes, be32};
use super::registers::Registers;
use super::xt;
use crate::model::IpFamily;
use crate::model::nft::{
    BitOp, Bytes, CompareOp, CtDirection, CtKey, Family, FibFlags, FibResult, Limit, LimitUnit,
    LogOptions, MetaKey, NatKind, NatRange, Operand, PayloadBase, RateUnit, RejectWith, Selector,
    SetOp, Statement, Transform, Verdict, XtKind,
};
use std::collections::HashMap;

/// The lengths in bytes of a set's key and data, which the expressions that use it leave out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub key: usize,
    pub data: usize,
}

/// Decodes the expressions of rules of one table.
pub(super) struct Decoder<'t> {
    pub family: Family,
    pub shapes: &'t HashMap<String, Shape>,
    pub registers: Registers,
}

impl<'t> Decoder<'t> {
    pub fn new(family: Family, shapes: &'t HashMap<String, Shape>) -> Self {
        Self { family, shapes, registers: Registers::default() }
    }

    /// The statements of a rule, from its list of expressions (`NFTA_RULE_EXPRESSIONS`).
    pub fn rule(&mut self, expressions: Attributes) -> Vec<Statement> {
        self.registers.clear();
        self.list(expressions)
    }

    /// The statements of a list of expressions.
    pub fn list(&mut self, expressions: Attributes) -> Vec<Statement> {
        const NFTA_LIST_ELEM: u16 = 1;
        expressions
            .into_iter()
            .filter(|(kind, _)| *kind == NFTA_LIST_ELEM)
            .filter_map(|(_, expression)| self.expression(Attributes(expression)))
            .collect()
    }

    /// The statement of one expression; none for one that only loads.
    pub fn expression(&mut self, expression: Attributes) -> Option<Statement> {
        const NFTA_EXPR_NAME: u16 = 1;
        const NFTA_EXPR_DATA: u16 = 2;
        let name = expression.text(NFTA_EXPR_NAME).unwrap_or_default();
        let data = expression.nested(NFTA_EXPR_DATA).unwrap_or_default();
        if let Some(statement) = self.known(&name, data) {
            return statement;
        }
        self.registers.taint(&name);
        Some(Statement::Opaque { name, detail: String::new() })
    }

    /// `None` for an expression that is not known, or that lacks what it must have;
    /// `Some(None)` for one that only loads.
    #[allow(clippy::option_option, reason = "the outer is failure, the inner is silence")]
    fn known(&mut self, name: &str, data: Attributes) -> Option<Option<Statement>> {
        let statement = match name {
            "immediate" => return self.immediate(data),
            "bitwise" => return self.bitwise(data).map(|()| None),
            "byteorder" => return self.byteorder(data).map(|()| None),
            "payload" => return self.payload(data),
            "meta" => return self.meta(data),
            "ct" => return self.ct(data),
            "fib" => return self.fib(data).map(|()| None),
            "lookup" => return self.lookup(data),
            "exthdr" | "socket" | "osf" | "rt" | "numgen" | "hash" | "tunnel" | "xfrm" => {
                return self.other_load(name, data);
            }
            "cmp" => self.cmp(data)?,
            "range" => self.range(data)?,
            "dynset" => self.dynset(data)?,
            "counter" => Statement::Counter { packets: data.be64(2)?, bytes: data.be64(1)? },
            "limit" => limit(data)?,
            "log" => Statement::Log(log(data)),
            "reject" => reject(data)?,
            "nat" => self.nat(data)?,
            "masq" => self.own_nat(NatKind::Masquerade, data, [2, 3, 1]),
            "redir" => self.own_nat(NatKind::Redirect, data, [1, 2, 3]),
            "tproxy" => self.tproxy(data),
            "notrack" => Statement::Notrack,
            "queue" => queue(data)?,
            "objref" => self.objref(data)?,
            "quota" => Statement::Quota {
                bytes: data.be64(1)?,
                used: data.be64(4).unwrap_or(0),
                over: data.be32(2).unwrap_or(0) & 1 != 0,
            },
            "connlimit" => Statement::ConnLimit {
                count: data.be32(1)?,
                over: data.be32(2).unwrap_or(0) & 1 != 0,
            },
            "match" => self.xt(XtKind::Match, data)?,
            "target" => self.xt(XtKind::Target, data)?,
            "last" | "synproxy" => {
                Statement::Opaque { name: name.to_owned(), detail: String::new() }
            }
            "dup" | "fwd" => self.send_elsewhere(name, data),
            "flow_offload" => {
                Statement::Opaque { name: name.to_owned(), detail: format!("@{}", data.text(1)?) }
            }
            _ => return None,
        };
        Some(Some(statement))
    }

    fn load(&mut self, register: u32, selector: Selector, len: usize) {
        self.registers.store(register, Operand::plain(selector), len);
    }

    #[allow(clippy::option_option, reason = "as `known`")]
    fn immediate(&mut self, data: Attributes) -> Option<Option<Statement>> {
        const NFTA_IMMEDIATE_DREG: u16 = 1;
        const NFTA_IMMEDIATE_DATA: u16 = 2;
        let register = data.be32(NFTA_IMMEDIATE_DREG)?;
        let value = data.nested(NFTA_IMMEDIATE_DATA)?;
        if let Some(verdict) = verdict(value) {
            return Some(Some(Statement::Verdict(verdict)));
        }
        let bytes = bytes(value)?;
        self.load(register, Selector::Immediate(bytes.into()), bytes.len());
        Some(None)
    }

    fn bitwise(&mut self, data: Attributes) -> Option<()> {
        let (source, target) = (data.be32(1)?, data.be32(2)?);
        let len = data.be32(3)? as usize;
        let transform = match data.be32(6).unwrap_or(0) {
            0 => {
                let mask = bytes(data.nested(4)?)?;
                let xor = bytes(data.nested(5)?)?;
                let keeps = mask.iter().all(|byte| *byte == 0xff);
                let same = keeps && xor.iter().all(|byte| *byte == 0);
                (!same).then(|| Transform::Mask { mask: mask.into(), xor: xor.into() })
            }
            op @ (1 | 2) => {
                let bits = bytes(data.nested(7)?)?;
                let bits = u32::from_ne_bytes(*bits.first_chunk()?);
                let op = if op == 1 { BitOp::ShiftLeft } else { BitOp::ShiftRight };
                Some(Transform::Shift { op, bits })
            }
            op => Some(Transform::Other(format!("bitwise operation {op} of two registers"))),
        };
        let mut operands = self.registers.read(source, len);
        let mut operand = match operands.len() {
            1 => operands.remove(0),
            // Several fields under one mask: no word for it, but the same in every rule.
            _ => Operand::plain(Selector::Other {
                name: "concatenation".to_owned(),
                detail: format!("{operands:?}"),
            }),
        };
        operand.transforms.extend(transform);
        self.registers.store(target, operand, len);
        Some(())
    }

    fn byteorder(&mut self, data: Attributes) -> Option<()> {
        let (source, target) = (data.be32(1)?, data.be32(2)?);
        let to_host = data.be32(3)? == 0;
        let (len, size) = (data.be32(4)?, data.be32(5)?);
        let mut operand = self.registers.operand(source);
        // The kernel turns len / size units: none for the one byte of a protocol number, for
        // which nft asks in concatenations.
        if size > 0 && len >= size {
            operand.transforms.push(Transform::ByteOrder { size, to_host });
        }
        self.registers.store(target, operand, len as usize);
        Some(())
    }

    #[allow(clippy::option_option, reason = "as `known`")]
    fn payload(&mut self, data: Attributes) -> Option<Option<Statement>> {
        const NFTA_PAYLOAD_DREG: u16 = 1;
        const NFTA_PAYLOAD_SREG: u16 = 5;
        let base = match data.be32(2)? {
            0 => PayloadBase::Link,
            1 => PayloadBase::Network,
            2 => PayloadBase::Transport,
            3 => PayloadBase::Inner,
            _ => return None,
        };
        let (offset, len) = (data.be32(3)?, data.be32(4)?);
        if let Some(register) = data.be32(NFTA_PAYLOAD_DREG) {
            self.load(register, Selector::Payload { base, offset, len }, len as usize);
            return Some(None);
        }
        let value = self.registers.operand(data.be32(NFTA_PAYLOAD_SREG)?);
        Some(Some(Statement::SetPayload { base, offset, len, value }))
    }

    #[allow(clippy::option_option, reason = "as `known`")]
    fn meta(&mut self, data: Attributes) -> Option<Option<Statement>> {
        const NFTA_META_DREG: u16 = 1;
        const NFTA_META_SREG: u16 = 3;
        let (key, len) = meta_key(data.be32(2)?);
        if let Some(register) = data.be32(NFTA_META_DREG) {
            self.load(register, Selector::Meta(key), len);
            return Some(None);
        }
        let value = self.registers.operand(data.be32(NFTA_META_SREG)?);
        Some(Some(Statement::SetMeta { key, value }))
    }

    #[allow(clippy::option_option, reason = "as `known`")]
    fn ct(&mut self, data: Attributes) -> Option<Option<Statement>> {
        const NFTA_CT_DREG: u16 = 1;
        const NFTA_CT_SREG: u16 = 4;
        let (key, len) = ct_key(data.be32(2)?, self.family);
        let direction = data.byte(3).map(|direction| match direction {
            0 => CtDirection::Original,
            _ => CtDirection::Reply,
        });
        if let Some(register) = data.be32(NFTA_CT_DREG) {
            self.load(register, Selector::Ct { key, direction }, len);
            return Some(None);
        }
        let value = self.registers.operand(data.be32(NFTA_CT_SREG)?);
        Some(Some(Statement::SetCt { key, direction, value }))
    }

    fn fib(&mut self, data: Attributes) -> Option<()> {
        let register = data.be32(1)?;
        let bits = data.be32(3)?;
        let bit = |number: u32| bits & (1 << number) != 0;
        let flags =
            FibFlags { saddr: bit(0), daddr: bit(1), mark: bit(2), iif: bit(3), oif: bit(4) };
        let (result, len) = match (data.be32(2)?, bit(5)) {
            (1 | 2, true) => (FibResult::Present, 4),
            (1, false) => (FibResult::Oif, 4),
            (2, false) => (FibResult::Oifname, 16),
            (3, _) => (FibResult::AddressType, 4),
            _ => return None,
        };
        self.load(register, Selector::Fib { result, flags }, len);
        Some(())
    }

    #[allow(clippy::option_option, reason = "as `known`")]
    fn lookup(&mut self, data: Attributes) -> Option<Option<Statement>> {
        const NFTA_LOOKUP_DREG: u16 = 3;
        const NFT_LOOKUP_F_INV: u32 = 1;
        let set = data.text(1)?;
        let shape = self.shapes.get(&set).copied().unwrap_or_default();
        let key = self.registers.read(data.be32(2)?, shape.key);
        let invert = data.be32(5).unwrap_or(0) & NFT_LOOKUP_F_INV != 0;
        Some(match data.be32(NFTA_LOOKUP_DREG) {
            None => Some(Statement::Lookup { key, set, invert }),
            // NFT_REG_VERDICT
            Some(0) => Some(Statement::VerdictMap { key, map: set }),
            Some(register) => {
                self.load(register, Selector::Map { key, map: set }, shape.data.max(1));
                None
            }
        })
    }

    /// Loads that fwctl does not interpret: named, with their attributes, so that equal ones
    /// compare equal.
    #[allow(clippy::option_option, reason = "as `known`")]
    fn other_load(&mut self, name: &str, data: Attributes) -> Option<Option<Statement>> {
        // (number, name, whether it is one byte)
        let (target, source, fields): (u16, Option<u16>, &[(u16, &str)]) = match name {
            "exthdr" => {
                (1, Some(7), &[(6, "op"), (2, "type"), (3, "offset"), (4, "len"), (5, "flags")])
            }
            "socket" => (2, None, &[(1, "key"), (3, "level")]),
            "osf" => (1, None, &[(2, "ttl"), (3, "flags")]),
            "rt" => (1, None, &[(2, "key")]),
            "numgen" => (1, None, &[(3, "type"), (2, "mod"), (4, "offset")]),
            "hash" => (2, None, &[(7, "type"), (4, "mod"), (5, "seed"), (6, "offset"), (3, "len")]),
            "tunnel" => (2, None, &[(1, "key"), (3, "mode")]),
            "xfrm" => (1, None, &[(2, "key"), (3, "dir"), (4, "spnum")]),
            _ => return None,
        };
        let number = |kind: u16| {
            let value = data.get(kind)?;
            be32(value).or_else(|| value.first().map(|byte| u32::from(*byte)))
        };
        let mut words: Vec<String> = fields
            .iter()
            .filter_map(|(kind, field)| Some(format!("{field}={}", number(*kind)?)))
            .collect();
        if name == "hash"
            && let Some(register) = number(1)
        {
            let len = number(3).unwrap_or(0) as usize;
            words.push(format!("of={:?}", self.registers.read(register, len)));
        }
        let detail = words.join(" ");
        if let Some(register) = number(target) {
            let len = match name {
                "exthdr" => number(4).unwrap_or(4).clamp(1, 64),
                "osf" | "rt" | "xfrm" => 16,
                "socket" => 8,
                _ => 4,
            };
            let selector = Selector::Other { name: name.to_owned(), detail };
            self.load(register, selector, len as usize);
            return Some(None);
        }
        // An assignment: `tcp option maxseg size set …`.
        let value = self.registers.operand(number(source?)?);
        let detail = format!("set {detail} to {value:?}");
        Some(Some(Statement::Opaque { name: name.to_owned(), detail }))
    }

    fn cmp(&self, data: Attributes) -> Option<Statement> {
        let op = match data.be32(2)? {
            0 => CompareOp::Eq,
            1 => CompareOp::Ne,
            2 => CompareOp::Lt,
            3 => CompareOp::Le,
            4 => CompareOp::Gt,
            5 => CompareOp::Ge,
            _ => return None,
        };
        let right = bytes(data.nested(3)?)?;
        let left = self.registers.read(data.be32(1)?, right.len());
        if let (Some(whole), [.., 0]) = (name_len(&left), right) {
            // iptables compares a name and its NUL, nft the whole field: the same.
            let mut right = right.to_vec();
            right.resize(right.len().max(whole), 0);
            return Some(Statement::Compare { left, op, right: right.into() });
        }
        Some(Statement::Compare { left, op, right: right.into() })
    }

    fn range(&self, data: Attributes) -> Option<Statement> {
        let left = self.registers.operand(data.be32(1)?);
        let invert = data.be32(2)? == 1;
        let from = bytes(data.nested(3)?)?.into();
        let to = bytes(data.nested(4)?)?.into();
        Some(Statement::Range { left, invert, from, to })
    }

    fn dynset(&mut self, data: Attributes) -> Option<Statement> {
        const NFT_DYNSET_F_INV: u32 = 1;
        let set = data.text(1)?;
        let op = match data.be32(3)? {
            0 => SetOp::Add,
            1 => SetOp::Update,
            2 => SetOp::Delete,
            _ => return None,
        };
        let shape = self.shapes.get(&set).copied().unwrap_or_default();
        let key = self.registers.read(data.be32(4)?, shape.key);
        let value = data.be32(5).map(|register| self.registers.read(register, shape.data));
        let timeout = data.be64(6).filter(|timeout| *timeout > 0);
        let mut statements = Vec::new();
        match (data.nested(10), data.nested(7)) {
            (Some(list), _) => statements = self.list(list),
            (None, Some(one)) => statements.extend(self.expression(one)),
            (None, None) => {}
        }
        let invert = data.be32(9).unwrap_or(0) & NFT_DYNSET_F_INV != 0;
        Some(Statement::UpdateSet { op, set, key, data: value, timeout, statements, invert })
    }

    /// From a pair of registers: the lowest, and the highest where it is another one.
    fn bounds(&self, data: Attributes, low: u16, high: u16) -> Option<(Operand, Option<Operand>)> {
        let low = data.be32(low)?;
        let high = data.be32(high).filter(|high| *high != low);
        let bound = |register| {
            let operand = self.registers.operand(register);
            // A map's value of `address . port` is read from its second word on.
            match operand.transforms.as_slice() {
                [Transform::Other(part)] if part.starts_with("bytes from") => {
                    Operand::plain(operand.selector)
                }
                _ => operand,
            }
        };
        Some((bound(low), high.map(bound)))
    }

    fn nat(&self, data: Attributes) -> Option<Statement> {
        let kind = match data.be32(1)? {
            0 => NatKind::Snat,
            1 => NatKind::Dnat,
            _ => return None,
        };
        let range = NatRange {
            address: self.bounds(data, 3, 4),
            port: self.bounds(data, 5, 6),
            flags: range_flags(data.be32(7)),
        };
        let family = data.be32(2).and_then(ip_family);
        Some(Statement::Nat { kind, family, range: Box::new(range) })
    }

    /// `masq` and `redir`; the numbers are those of the lowest port, the highest and the flags.
    fn own_nat(&self, kind: NatKind, data: Attributes, [low, high, flags]: [u16; 3]) -> Statement {
        let range = NatRange {
            address: None,
            port: self.bounds(data, low, high),
            flags: range_flags(data.be32(flags)),
        };
        Statement::Nat { kind, family: None, range: Box::new(range) }
    }

    fn tproxy(&self, data: Attributes) -> Statement {
        let range =
            NatRange { address: self.bounds(data, 2, 2), port: self.bounds(data, 3, 3), flags: 0 };
        let family = data.be32(1).and_then(ip_family);
        Statement::Nat { kind: NatKind::Tproxy, family, range: Box::new(range) }
    }

    fn objref(&self, data: Attributes) -> Option<Statement> {
        const NFTA_OBJREF_SET_NAME: u16 = 4;
        if let Some(map) = data.text(NFTA_OBJREF_SET_NAME) {
            let len = self.shapes.get(&map).copied().unwrap_or_default().key;
            let key = self.registers.read(data.be32(3)?, len);
            let detail = format!("of map @{map} by {key:?}");
            return Some(Statement::Opaque { name: "objref".to_owned(), detail });
        }
        let kind = object_kind(data.be32(1)?);
        Some(Statement::Object { kind, name: data.text(2)? })
    }

    fn send_elsewhere(&self, name: &str, data: Attributes) -> Statement {
        let operands: Vec<_> = [1, 2]
            .into_iter()
            .filter_map(|kind| data.be32(kind))
            .map(|register| format!("{:?}", self.registers.operand(register)))
            .collect();
        Statement::Opaque { name: name.to_owned(), detail: operands.join(", ") }
    }

    fn xt(&self, kind: XtKind, data: Attributes) -> Option<Statement> {
        let name = data.text(1)?;
        let revision = data.be32(2).unwrap_or(0);
        let raw = data.get(3)?;
        let decoded = xt::decode(kind, &name, revision, raw, self.family);
        Some(Statement::Xt { kind, name, revision, decoded, raw: Bytes::from(raw) })
    }
}

/// The length of the operand if it is one interface name, which NULs fill up.
fn name_len(left: &[Operand]) -> Option<usize> {
    match left {
        [Operand { selector: Selector::Meta(key), transforms }] if transforms.is_empty() => {
            use MetaKey::{Iifkind, Iifname, Oifkind, Oifname, Sdifname};
            let name = matches!(key, Iifname | Oifname | Iifkind | Oifkind | Sdifname);
            name.then_some(16)
        }
        _ => None,
    }
}

/// `NFTA_DATA_VALUE`.
pub(super) fn bytes(data: Attributes<'_>) -> Option<&[u8]> {
    const NFTA_DATA_VALUE: u16 = 1;
    data.get(NFTA_DATA_VALUE)
}

/// `NFTA_DATA_VERDICT`.
pub(super) fn verdict(data: Attributes) -> Option<Verdict> {
    const NFTA_DATA_VERDICT: u16 = 2;
    const NFTA_VERDICT_CODE: u16 = 1;
    const NFTA_VERDICT_CHAIN: u16 = 2;
    /// `NF_VERDICT_MASK`: above it stands a queue number or an error number.
    const CODE_MASK: i32 = 0xff;
    let data = data.nested(NFTA_DATA_VERDICT)?;
    let code = data.be32(NFTA_VERDICT_CODE)?.cast_signed();
    let chain = || data.text(NFTA_VERDICT_CHAIN);
    match code {
        // NFT_CONTINUE; NFT_BREAK ends the rule, which is all that `continue` does in a map.
        -1 | -2 => Some(Verdict::Continue),
        -3 => Some(Verdict::Jump(chain()?)),
        -4 => Some(Verdict::Goto(chain()?)),
        -5 => Some(Verdict::Return),
        _ if code < 0 => None,
        _ => match code & CODE_MASK {
            0 => Some(Verdict::Drop),
            1 => Some(Verdict::Accept),
            3 => Some(Verdict::Queue),
            _ => None,
        },
    }
}

fn ip_family(number: u32) -> Option<IpFamily> {
    match number {
        2 => Some(IpFamily::Ipv4),
        10 => Some(IpFamily::Ipv6),
        _ => None,
    }
}

/// `NF_NAT_RANGE_*` less the two that say no more than that there is an address or a port.
fn range_flags(flags: Option<u32>) -> u32 {
    const NF_NAT_RANGE_MAP_IPS: u32 = 1;
    const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
    flags.unwrap_or(0) & !(NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED)
}

/// The word for a kind of stateful object (`NFT_OBJECT_*`).
pub(super) fn object_kind(number: u32) -> String {
    match number {
        1 => "counter".to_owned(),
        2 => "quota".to_owned(),
        3 => "ct helper".to_owned(),
        4 => "limit".to_owned(),
        5 => "connlimit".to_owned(),
        6 => "tunnel".to_owned(),
        7 => "ct timeout".to_owned(),
        8 => "secmark".to_owned(),
        9 => "ct expectation".to_owned(),
        10 => "synproxy".to_owned(),
        other => format!("type {other}"),
    }
}

fn limit(data: Attributes) -> Option<Statement> {
    const NFT_LIMIT_F_INV: u32 = 1;
    let unit = match data.be32(4).unwrap_or(0) {
        0 => LimitUnit::Packets,
        1 => LimitUnit::Bytes,
        _ => return None,
    };
    let per = match data.be64(2)? {
        1 => RateUnit::Second,
        60 => RateUnit::Minute,
        3_600 => RateUnit::Hour,
        86_400 => RateUnit::Day,
        604_800 => RateUnit::Week,
        seconds => RateUnit::Seconds(seconds),
    };
    let over = data.be32(5).unwrap_or(0) & NFT_LIMIT_F_INV != 0;
    let burst = data.be32(3).unwrap_or(0);
    Some(Statement::Limit(Limit { rate: data.be64(1)?, unit, per, burst, over }))
}

fn log(data: Attributes) -> LogOptions {
    /// `NFT_LOGLEVEL_WARNING`, which the kernel reports where none was given.
    const WARNING: u32 = 4;
    let some = |number: Option<u32>| number.filter(|number| *number != 0);
    let group = data.be16(1);
    let level = data.be32(5).filter(|level| *level != WARNING && group.is_none());
    LogOptions {
        prefix: data.text(2).filter(|prefix| !prefix.is_empty()),
        group,
        level,
        flags: data.be32(6).unwrap_or(0),
        snaplen: some(data.be32(3)),
        queue_threshold: data.be16(4).filter(|threshold| *threshold != 0),
    }
}

fn reject(data: Attributes) -> Option<Statement> {
    let code = data.byte(2).unwrap_or(0);
    Some(Statement::Reject(match data.be32(1)? {
        0 => RejectWith::Icmp(code),
        1 => RejectWith::TcpReset,
        2 => RejectWith::Icmpx(code),
        _ => return None,
    }))
}

fn queue(data: Attributes) -> Option<Statement> {
    const NFT_QUEUE_FLAG_BYPASS: u16 = 1;
    let from = data.be16(1)?;
    let total = data.be16(2).unwrap_or(1).max(1);
    let bypass = data.be16(3).unwrap_or(0) & NFT_QUEUE_FLAG_BYPASS != 0;
    Some(Statement::Queue { from, to: from.saturating_add(total - 1), bypass })
}

/// The key of this number (`enum nft_meta_keys`) and the length of its value.
fn meta_key(number: u32) -> (MetaKey, usize) {
    match number {
        0 => (MetaKey::Length, 4),
        1 => (MetaKey::Protocol, 2),
        2 => (MetaKey::Priority, 4),
        3 => (MetaKey::Mark, 4),
        4 => (MetaKey::Iif, 4),
        5 => (MetaKey::Oif, 4),
        6 => (MetaKey::Iifname, 16),
        7 => (MetaKey::Oifname, 16),
        8 => (MetaKey::Iiftype, 2),
        9 => (MetaKey::Oiftype, 2),
        10 => (MetaKey::Skuid, 4),
        11 => (MetaKey::Skgid, 4),
        12 => (MetaKey::Nftrace, 1),
        13 => (MetaKey::Rtclassid, 4),
        14 => (MetaKey::Secmark, 4),
        15 => (MetaKey::Nfproto, 1),
        16 => (MetaKey::L4proto, 1),
        17 => (MetaKey::Ibrname, 16),
        18 => (MetaKey::Obrname, 16),
        19 => (MetaKey::Pkttype, 1),
        20 => (MetaKey::Cpu, 4),
        21 => (MetaKey::Iifgroup, 4),
        22 => (MetaKey::Oifgroup, 4),
        23 => (MetaKey::Cgroup, 4),
        24 => (MetaKey::Random, 4),
        25 => (MetaKey::Ipsec, 1),
        26 => (MetaKey::Iifkind, 16),
        27 => (MetaKey::Oifkind, 16),
        28 => (MetaKey::Ibrpvid, 2),
        29 => (MetaKey::Ibrvproto, 2),
        30 => (MetaKey::Time, 8),
        31 => (MetaKey::Day, 1),
        32 => (MetaKey::Hour, 4),
        33 => (MetaKey::Sdif, 4),
        34 => (MetaKey::Sdifname, 16),
        35 => (MetaKey::Broute, 1),
        other => (MetaKey::Other(other), 4),
    }
}

/// The key of this number (`enum nft_ct_keys`) and the length of its value.
fn ct_key(number: u32, family: Family) -> (CtKey, usize) {
    let address = if family == Family::Ip { 4 } else { 16 };
    match number {
        0 => (CtKey::State, 4),
        1 => (CtKey::Direction, 1),
        2 => (CtKey::Status, 4),
        3 => (CtKey::Mark, 4),
        4 => (CtKey::Secmark, 4),
        5 => (CtKey::Expiration, 4),
        6 => (CtKey::Helper, 16),
        7 => (CtKey::L3proto, 1),
        8 => (CtKey::Src, address),
        9 => (CtKey::Dst, address),
        10 => (CtKey::Protocol, 1),
        11 => (CtKey::ProtoSrc, 2),
        12 => (CtKey::ProtoDst, 2),
        13 => (CtKey::Labels, 16),
        14 => (CtKey::Packets, 8),
        15 => (CtKey::Bytes, 8),
        16 => (CtKey::Avgpkt, 8),
        17 => (CtKey::Zone, 2),
        18 => (CtKey::EventMask, 4),
        19 => (CtKey::SrcIp, 4),
        20 => (CtKey::DstIp, 4),
        21 => (CtKey::SrcIp6, 16),
        22 => (CtKey::DstIp6, 16),
        23 => (CtKey::Id, 4),
        other => (CtKey::Other(other), 4),
    }
}
