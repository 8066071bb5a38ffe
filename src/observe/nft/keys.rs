//! Keys of `meta` and `ct`: the kernel's number → the name, and the length of its value.

use crate::model::nft::{CtKey, Family, MetaKey};

/// The key of this number (`enum nft_meta_keys`) and the length of its value.
pub(super) fn meta_key(number: u32) -> (MetaKey, usize) {
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
pub(super) fn ct_key(number: u32, family: Family) -> (CtKey, usize) {
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
