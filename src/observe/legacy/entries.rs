//! The entries of a legacy table as the kernel lays them in memory → chains and rules.
//!
//! In: `struct ipt_getinfo` and the entries behind `struct ipt_get_entries`, or those of IPv6; any
//! other bytes too. Out: a table; `None` for what is no such thing. Never panics.

use super::super::nft::xt;
use super::SUFFIX;
use crate::model::nft::{
    BaseChain, Bytes, Chain, CompareOp, Family, Hook, MetaKey, Operand, PayloadBase, Rule,
    Selector, Statement, Table, Transform, Verdict, XtKind,
};
use foldhash::HashMap;

/// The built-in chains, by the number of their hook (`NF_INET_*`).
const HOOKS: [(&str, Hook); 5] = [
    ("PREROUTING", Hook::Prerouting),
    ("INPUT", Hook::Input),
    ("FORWARD", Hook::Forward),
    ("OUTPUT", Hook::Output),
    ("POSTROUTING", Hook::Postrouting),
];

/// `struct ipt_getinfo`.
#[derive(Debug, Clone)]
pub(super) struct Info {
    valid_hooks: u32,
    entry: [u32; 5],
    underflow: [u32; 5],
    /// How many bytes the entries have.
    pub size: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Info {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let five = |at: usize| -> Option<[u32; 5]> {
            let mut all = [0; 5];
            for (index, own) in all.iter_mut().enumerate() {
                *own = u32_at(bytes, at + 4 * index)?;
            }
            Some(all)
        };
        Some(Self {
            valid_hooks: u32_at(bytes, 32)?,
            entry: five(36)?,
            underflow: five(56)?,
            size: u32_at(bytes, 80)? as usize,
        })
    }

    /// The hook of which the chain begins, or whose policy stands, at this offset.
    fn hook(&self, offsets: [u32; 5], at: usize) -> Option<usize> {
        (0..HOOKS.len()).find(|hook| {
            self.valid_hooks & 1 << hook != 0 && usize::try_from(offsets[*hook]) == Ok(at)
        })
    }
}

/// Where things stand in `struct ipt_entry` or `struct ip6t_entry`.
struct Layout {
    address: usize,
    interfaces: usize,
    protocol: usize,
    flags: usize,
    inverted: usize,
    target_offset: usize,
    counters: usize,
    len: usize,
    /// The flag that makes a jump a goto.
    goto: u8,
}

const IPV4: Layout = Layout {
    address: 4,
    interfaces: 16,
    protocol: 80,
    flags: 82,
    inverted: 83,
    target_offset: 88,
    counters: 96,
    len: 112,
    goto: 2,
};
const IPV6: Layout = Layout {
    address: 16,
    interfaces: 64,
    protocol: 128,
    flags: 131,
    inverted: 132,
    target_offset: 140,
    counters: 152,
    len: 168,
    goto: 4,
};

/// An entry, cut out of the others.
struct Entry<'b> {
    at: usize,
    bytes: &'b [u8],
    target_at: usize,
    /// The target's name and what belongs to it.
    name: String,
    revision: u8,
    target: &'b [u8],
}

impl<'b> Entry<'b> {
    fn read(all: &'b [u8], at: usize, layout: &Layout) -> Option<Self> {
        let bytes = all.get(at..)?;
        let target_at = usize::from(u16_at(bytes, layout.target_offset)?);
        let next = usize::from(u16_at(bytes, layout.target_offset + 2)?);
        let bytes = bytes.get(..next)?;
        if target_at < layout.len || next < target_at + 32 {
            return None;
        }
        let (name, revision, target, _) = module(bytes, target_at)?;
        Some(Self { at, bytes, target_at, name, revision, target })
    }

    fn next(&self) -> usize {
        self.at + self.bytes.len()
    }

    /// The verdict of the standard target.
    fn verdict(&self) -> Option<i32> {
        if self.name.is_empty() { u32_at(self.target, 0).map(u32::cast_signed) } else { None }
    }

    /// The chain that begins behind it.
    fn header(&self) -> Option<String> {
        (self.name == "ERROR").then(|| text(self.target.get(..30).unwrap_or(self.target)))
    }
}

/// `struct xt_entry_match`, `struct xt_entry_target`: name, revision, data, length.
fn module(bytes: &[u8], at: usize) -> Option<(String, u8, &[u8], usize)> {
    let len = usize::from(u16_at(bytes, at)?);
    let own = bytes.get(at..at.checked_add(len)?)?;
    Some((text(own.get(2..31)?), *own.get(31)?, own.get(32..)?, len))
}

/// All of a table.
pub(super) fn table(family: Family, name: &str, info: &Info, all: &[u8]) -> Option<Table> {
    let layout = if family == Family::Ip { &IPV4 } else { &IPV6 };
    let mut entries = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let entry = Entry::read(all, at, layout)?;
        at = entry.next();
        entries.push(entry);
    }
    // Jumps lead behind the header of a chain.
    let starts: HashMap<usize, String> =
        entries.iter().filter_map(|entry| Some((entry.next(), entry.header()?))).collect();
    let mut table = Table::new(family, &format!("{name}{SUFFIX}"));
    for entry in &entries {
        if let Some(hook) = info.hook(info.entry, entry.at) {
            table.chains.push(base_chain(name, hook));
        }
        if let Some(header) = entry.header() {
            without_return(&mut table);
            table.chains.push(Chain::new(&header));
            continue;
        }
        let chain = table.chains.last_mut()?;
        if info.hook(info.underflow, entry.at).is_some() {
            if let Some(base) = &mut chain.hook {
                base.policy =
                    if entry.verdict() == Some(-1) { Verdict::Drop } else { Verdict::Accept };
            }
            continue;
        }
        chain.rules.push(rule(entry, family, layout, &starts)?);
    }
    // The last entry is a header of nothing.
    table.chains.pop();
    Some(table)
}

/// The rule that ends every chain without a hook is the kernel's own.
fn without_return(table: &mut Table) {
    let Some(chain) = table.chains.last_mut().filter(|chain| chain.hook.is_none()) else { return };
    let returns = |rule: &Rule| {
        matches!(
            rule.statements.as_slice(),
            [Statement::Counter { .. }, Statement::Verdict(Verdict::Return)]
        )
    };
    if chain.rules.last().is_some_and(returns) {
        chain.rules.pop();
    }
}

fn base_chain(table: &str, hook: usize) -> Chain {
    let (name, hook) = HOOKS[hook];
    // `NF_IP_PRI_*`.
    let priority = match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Prerouting | Hook::Output) => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    };
    let kind = match (table, hook) {
        ("nat", _) => "nat",
        ("mangle", Hook::Output) => "route",
        _ => "filter",
    };
    let mut chain = Chain::new(name);
    chain.hook = Some(BaseChain {
        kind: kind.to_owned(),
        hook,
        priority,
        policy: Verdict::Accept,
        devices: Vec::new(),
    });
    chain
}

fn rule(
    entry: &Entry<'_>,
    family: Family,
    layout: &Layout,
    starts: &HashMap<usize, String>,
) -> Option<Rule> {
    let mut statements = own_fields(entry.bytes, family, layout)?;
    let mut at = layout.len;
    while at < entry.target_at {
        let (name, revision, raw, len) = module(entry.bytes, at)?;
        statements.push(extension(XtKind::Match, &name, revision, raw, family));
        at += len;
    }
    statements.push(Statement::Counter {
        packets: u64_at(entry.bytes, layout.counters)?,
        bytes: u64_at(entry.bytes, layout.counters + 8)?,
    });
    match entry.verdict() {
        None => statements.push(extension(
            XtKind::Target,
            &entry.name,
            entry.revision,
            entry.target,
            family,
        )),
        Some(verdict) => statements.extend(
            match verdict {
                -1 => Some(Verdict::Drop),
                -2 => Some(Verdict::Accept),
                -4 => Some(Verdict::Queue),
                -5 => Some(Verdict::Return),
                _ => {
                    let to = usize::try_from(verdict).ok()?;
                    let goto = entry.bytes.get(layout.flags)? & layout.goto != 0;
                    match starts.get(&to) {
                        Some(name) if goto => Some(Verdict::Goto(name.clone())),
                        Some(name) => Some(Verdict::Jump(name.clone())),
                        // A rule without a target goes on with the next one.
                        None if to == entry.next() => None,
                        None => return None,
                    }
                }
            }
            .map(Statement::Verdict),
        ),
    }
    Some(Rule::new(statements, None))
}

fn extension(kind: XtKind, name: &str, revision: u8, raw: &[u8], family: Family) -> Statement {
    Statement::Xt {
        kind,
        name: name.to_owned(),
        revision: revision.into(),
        decoded: xt::decode(kind, name, revision.into(), raw, family),
        raw: Bytes::from(raw),
    }
}

/// What a rule asks without a module (`struct ipt_ip`, `struct ip6t_ip6`).
fn own_fields(bytes: &[u8], family: Family, layout: &Layout) -> Option<Vec<Statement>> {
    const INPUT: u8 = 0x01;
    const OUTPUT: u8 = 0x02;
    const SOURCE: u8 = 0x08;
    const DESTINATION: u8 = 0x10;
    const FRAGMENT: u8 = 0x20;
    const PROTOCOL: u8 = 0x40;
    let inverted = *bytes.get(layout.inverted)?;
    let flags = *bytes.get(layout.flags)?;
    let op = |flag: u8| if inverted & flag != 0 { CompareOp::Ne } else { CompareOp::Eq };
    let mut found = Vec::new();
    let len = layout.address;
    let payload = |offset: usize, len: usize| Selector::Payload {
        base: PayloadBase::Network,
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        len: u32::try_from(len).unwrap_or(u32::MAX),
    };
    // Source, destination, their masks, one behind the other.
    for (index, flag) in [(0, SOURCE), (1, DESTINATION)] {
        let value = bytes.get(index * len..(index + 1) * len)?;
        let mask = bytes.get((index + 2) * len..(index + 3) * len)?;
        if mask.iter().all(|byte| *byte == 0) && inverted & flag == 0 {
            continue;
        }
        let first = if family == Family::Ip { 12 } else { 8 };
        let mut left = Operand::plain(payload(first + index * len, len));
        if mask.iter().any(|byte| *byte != 0xff) {
            let xor = Bytes::from(vec![0; len].as_slice());
            left.transforms.push(Transform::Mask { mask: Bytes::from(mask), xor });
        }
        found.push(Statement::Compare { left: vec![left], op: op(flag), right: value.into() });
    }
    for (index, key, flag) in [(0, MetaKey::Iifname, INPUT), (1, MetaKey::Oifname, OUTPUT)] {
        let name = bytes.get(layout.interfaces + index * 16..)?.get(..16)?;
        let mask = bytes.get(layout.interfaces + 32 + index * 16..)?.get(..16)?;
        let count = mask.iter().take_while(|byte| **byte != 0).count();
        if count == 0 && inverted & flag == 0 {
            continue;
        }
        // With its NUL it is the whole name.
        let whole = name[..count].contains(&0);
        let right = if whole { name } else { &name[..count] };
        let left = vec![Operand::plain(Selector::Meta(key))];
        found.push(Statement::Compare { left, op: op(flag), right: right.into() });
    }
    let protocol = u16_at(bytes, layout.protocol)?;
    if protocol != 0 {
        let left = vec![Operand::plain(Selector::Meta(MetaKey::L4proto))];
        let number = u8::try_from(protocol).ok()?;
        found.push(Statement::Compare { left, op: op(PROTOCOL), right: [number].into() });
    }
    // `-f`: all fragments but the first.
    if family == Family::Ip && flags & 1 != 0 {
        let mut left = Operand::plain(payload(6, 2));
        let mask = Bytes::from([0x1f, 0xff]);
        left.transforms.push(Transform::Mask { mask, xor: Bytes::from([0, 0]) });
        let op = if inverted & FRAGMENT != 0 { CompareOp::Eq } else { CompareOp::Ne };
        found.push(Statement::Compare { left: vec![left], op, right: [0, 0].into() });
    }
    Some(found)
}
