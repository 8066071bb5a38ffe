//! What is loaded from a packet.

use crate::model::IpFamily;
use crate::model::nft::{
    CtDirection, CtKey, FibFlags, FibResult, MetaKey, Operand, PayloadBase, Selector, Transform,
};

/// `meta KEY`.
pub fn meta(key: MetaKey) -> Operand {
    Operand::plain(Selector::Meta(key))
}

/// `meta nfproto`, 1 byte; the key of a map by IP version.
pub fn meta_nfproto() -> Operand {
    meta(MetaKey::Nfproto)
}

/// `meta l4proto`, 1 byte.
pub fn meta_l4proto() -> Operand {
    meta(MetaKey::L4proto)
}

/// `ct KEY`, without or with a direction.
pub fn ct(key: CtKey, direction: Option<CtDirection>) -> Operand {
    Operand::plain(Selector::Ct { key, direction })
}

/// Bytes of the packet.
pub fn payload(base: PayloadBase, offset: u32, len: u32) -> Operand {
    Operand::plain(Selector::Payload { base, offset, len })
}

/// `ip saddr`, `ip6 saddr`.
pub fn saddr(family: IpFamily) -> Operand {
    match family {
        IpFamily::Ipv4 => payload(PayloadBase::Network, 12, 4),
        IpFamily::Ipv6 => payload(PayloadBase::Network, 8, 16),
    }
}

/// `ip daddr`, `ip6 daddr`.
pub fn daddr(family: IpFamily) -> Operand {
    match family {
        IpFamily::Ipv4 => payload(PayloadBase::Network, 16, 4),
        IpFamily::Ipv6 => payload(PayloadBase::Network, 24, 16),
    }
}

/// `ip6 saddr & ffff:ffff:ffff:ffff::` and its like: the operand under a prefix mask of so many
/// bits, for use as a key.
pub fn masked(operand: Operand, family: IpFamily, length: u8) -> Operand {
    let len = match family {
        IpFamily::Ipv4 => 4,
        IpFamily::Ipv6 => 16,
    };
    let mask = prefix_mask(len, length);
    let mask = Transform::Mask { mask: mask.into(), xor: vec![0; len].into() };
    let mut transforms = operand.transforms;
    transforms.push(mask);
    Operand { transforms, ..operand }
}

/// `ip saddr` as it is, `ip6 saddr` by its /64: what counts as one source of connections.
pub fn source(family: IpFamily) -> Operand {
    match family {
        IpFamily::Ipv4 => saddr(family),
        IpFamily::Ipv6 => masked(saddr(family), family, 64),
    }
}

fn prefix_mask(len: usize, length: u8) -> Vec<u8> {
    (0..len)
        .map(|i| {
            let bits = usize::from(length).saturating_sub(i * 8).min(8);
            u8::try_from(0xff00_u32 >> bits & 0xff).expect("masked to eight bits")
        })
        .collect()
}

/// `tcp dport`, `udp dport`, `th dport`.
pub fn dport() -> Operand {
    payload(PayloadBase::Transport, 2, 2)
}

/// `tcp sport`, `udp sport`, `th sport`.
pub fn sport() -> Operand {
    payload(PayloadBase::Transport, 0, 2)
}

/// `icmp type`, `icmpv6 type`.
pub fn icmp_type() -> Operand {
    payload(PayloadBase::Transport, 0, 1)
}

/// `ip6 hoplimit`.
pub fn hoplimit() -> Operand {
    payload(PayloadBase::Network, 7, 1)
}

/// `ct original proto-dst`: the port that the client dialled. Wants [`l4proto`] before it.
pub fn ct_original_proto_dst() -> Operand {
    ct(CtKey::ProtoDst, Some(CtDirection::Original))
}

/// `ct original ip daddr`, `ct original ip6 daddr`: the address that the client dialled.
pub fn ct_original_daddr(family: IpFamily) -> Operand {
    let key = match family {
        IpFamily::Ipv4 => CtKey::DstIp,
        IpFamily::Ipv6 => CtKey::DstIp6,
    };
    ct(key, Some(CtDirection::Original))
}

/// `ct original ip saddr`, `ct original ip6 saddr`.
pub fn ct_original_saddr(family: IpFamily) -> Operand {
    let key = match family {
        IpFamily::Ipv4 => CtKey::SrcIp,
        IpFamily::Ipv6 => CtKey::SrcIp6,
    };
    ct(key, Some(CtDirection::Original))
}

/// `fib daddr type`, or with `iif` `fib daddr . iif type`; 4 bytes, host order.
pub fn fib_daddr_type(iif: bool) -> Operand {
    let flags = FibFlags { daddr: true, iif, ..FibFlags::default() };
    Operand::plain(Selector::Fib { result: FibResult::AddressType, flags })
}

/// `fib saddr type`.
pub fn fib_saddr_type() -> Operand {
    let flags = FibFlags { saddr: true, ..FibFlags::default() };
    Operand::plain(Selector::Fib { result: FibResult::AddressType, flags })
}
