//! One expression of the bytecode → statements, and what it leaves in the registers.
//!
//! In: the name and attributes of an expression. Out: never an error. An expression that is not
//! known becomes [`Statement::Opaque`], and the registers that it may have written are marked.

use super::attr::Attributes;
use super::keys::{ct_key, meta_key};
use super::registers::Registers;
use super::simple::{bytes, limit, log, name_len, object_kind, queue, reject, synproxy, verdict};
use super::xt;
use crate::model::nft::{
    BitOp, Bytes, CompareOp, CtDirection, Family, FibFlags, FibResult, NatKind, Operand,
    PayloadBase, Selector, SetOp, Statement, Transform, XtKind, text,
};
use foldhash::HashMap;
use std::net::IpAddr;

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
            "last" => Statement::Opaque { name: name.to_owned(), detail: String::new() },
            "synproxy" => synproxy(data),
            "dup" | "fwd" => self.send_elsewhere(name, data),
            "flow_offload" => {
                Statement::Opaque { name: name.to_owned(), detail: format!("@{}", data.text(1)?) }
            }
            _ => return None,
        };
        Some(Some(statement))
    }

    /// Loads a value of so many bytes.
    pub fn load(&mut self, register: u32, selector: Selector, len: usize) {
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

    fn objref(&self, data: Attributes) -> Option<Statement> {
        const NFTA_OBJREF_SET_NAME: u16 = 4;
        if let Some(map) = data.text(NFTA_OBJREF_SET_NAME) {
            let len = self.shapes.get(&map).copied().unwrap_or_default().key;
            let key = self.registers.read(data.be32(3)?, len);
            return Some(Statement::ObjectMap { key, map });
        }
        let kind = object_kind(data.be32(1)?);
        Some(Statement::Object { kind, name: data.text(2)? })
    }

    /// `dup` has the address first, `fwd` the device.
    fn send_elsewhere(&self, name: &str, data: Attributes) -> Statement {
        let (address, device) = if name == "dup" { (1, 2) } else { (2, 1) };
        let operand = |kind: u16| data.be32(kind).map(|register| self.registers.operand(register));
        let mut words = Vec::new();
        if let Some(address) = operand(address) {
            let bytes = match &address.selector {
                Selector::Immediate(bytes) => bytes.as_slice(),
                _ => &[],
            };
            let known = match bytes.len() {
                4 => bytes.first_chunk().map(|own| IpAddr::from(*own as [u8; 4])),
                16 => bytes.first_chunk().map(|own| IpAddr::from(*own as [u8; 16])),
                _ => None,
            };
            words.push(known.map_or_else(
                || text::fields(std::slice::from_ref(&address), self.family),
                |own| own.to_string(),
            ));
        }
        if let Some(device) = operand(device) {
            let index = match &device.selector {
                Selector::Immediate(bytes) => bytes.as_slice().first_chunk().copied(),
                _ => None,
            };
            let device = index.map_or_else(
                || text::fields(std::slice::from_ref(&device), self.family),
                |own| u32::from_ne_bytes(own).to_string(),
            );
            words.push(format!("device {device}"));
        }
        Statement::Opaque { name: name.to_owned(), detail: format!("to {}", words.join(" ")) }
    }

    fn xt(&self, kind: XtKind, data: Attributes) -> Option<Statement> {
        let name = data.text(1)?;
        let revision = data.be32(2).unwrap_or(0);
        let raw = data.get(3)?;
        let decoded = xt::decode(kind, &name, revision, raw, self.family);
        Some(Statement::Xt { kind, name, revision, decoded, raw: Bytes::from(raw) })
    }
}
