//! Expressions that neither read nor write a register, and data: attributes → statements.

use super::attr::Attributes;
use crate::model::nft::{
    self, Limit, LimitUnit, LogOptions, MetaKey, Operand, RateUnit, RejectWith, Selector,
    Statement, Verdict,
};

/// The length of the operand if it is one interface name, which NULs fill up.
pub(super) fn name_len(left: &[Operand]) -> Option<usize> {
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

/// The word for a kind of stateful object (`NFT_OBJECT_*`).
pub(super) fn object_kind(number: u32) -> String {
    nft::object_kind(number).map_or_else(|| format!("type {number}"), str::to_owned)
}

pub(super) fn limit(data: Attributes) -> Option<Statement> {
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

pub(super) fn log(data: Attributes) -> LogOptions {
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

pub(super) fn reject(data: Attributes) -> Option<Statement> {
    let code = data.byte(2).unwrap_or(0);
    Some(Statement::Reject(match data.be32(1)? {
        0 => RejectWith::Icmp(code),
        1 => RejectWith::TcpReset,
        2 => RejectWith::Icmpx(code),
        _ => return None,
    }))
}

pub(super) fn queue(data: Attributes) -> Option<Statement> {
    const NFT_QUEUE_FLAG_BYPASS: u16 = 1;
    let from = data.be16(1)?;
    let total = data.be16(2).unwrap_or(1).max(1);
    let bypass = data.be16(3).unwrap_or(0) & NFT_QUEUE_FLAG_BYPASS != 0;
    Some(Statement::Queue { from, to: from.saturating_add(total - 1), bypass })
}

/// `synproxy`, by the attributes that it has.
pub(super) fn synproxy(data: Attributes) -> Statement {
    let mss = data.get(1).and_then(|own| own.first_chunk()).map(|own| u16::from_be_bytes(*own));
    let scale = data.get(2).and_then(|own| own.first().copied());
    let words = [
        mss.map(|own| format!("mss={own}")),
        scale.map(|own| format!("wscale={own}")),
        data.be32(3).map(|own| format!("flags={own}")),
    ];
    let detail = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Statement::Opaque { name: "synproxy".to_owned(), detail }
}
