//! What stays the same of a packet wherever a rule looks at it: two tests of it that are not decided
//! ask for one fact.

use crate::model::nft::{MetaKey, Operand, PayloadBase, Selector};

/// Whether no rule, no translation and no router on the way changes what an operand loads.
pub fn stays(operand: &Operand) -> bool {
    match &operand.selector {
        Selector::Payload { base: PayloadBase::Link, offset, len } => {
            offset.saturating_add(*len) <= 14
        }
        // IPv4: length and identification. What is written into a packet taints all of it.
        Selector::Payload { base: PayloadBase::Network, offset, len } => {
            *offset >= 2 && offset.saturating_add(*len) <= 6
        }
        Selector::Meta(key) => matches!(
            key,
            MetaKey::Length
                | MetaKey::Skuid
                | MetaKey::Skgid
                | MetaKey::Cgroup
                | MetaKey::Iifgroup
                | MetaKey::Ipsec
                | MetaKey::Time
                | MetaKey::Day
                | MetaKey::Hour
                | MetaKey::Sdif
                | MetaKey::Sdifname
                | MetaKey::Nfproto
                | MetaKey::L4proto
                | MetaKey::Protocol
                | MetaKey::Iif
                | MetaKey::Iifname
        ),
        Selector::Other { name, .. } => matches!(name.as_str(), "osf" | "xfrm" | "tunnel"),
        Selector::Payload { .. }
        | Selector::Ct { .. }
        | Selector::Fib { .. }
        | Selector::Immediate(_)
        | Selector::Map { .. } => false,
    }
}
