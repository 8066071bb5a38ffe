//! Constructors for statements and elements: what nft makes of the printed text, built directly.
//!
//! Each yields exactly what the reader decodes after nft has loaded the text that
//! [`super::text`] prints for it. The dependencies that nft adds by itself are explicit: a rule
//! that compares [`dport`] has [`l4proto`] before it, one that compares [`saddr`] in an `inet`
//! table has [`nfproto`] before it.

use super::{
    Bytes, CompareOp, CtDirection, CtKey, ElementKey, FibFlags, FibResult, Limit, LogOptions,
    MetaKey, Operand, PayloadBase, RejectWith, Selector, SetOp, Statement, Transform, Verdict,
};
use crate::model::{IfacePattern, IpFamily, PortRange, Prefix, Protocol};
use std::net::IpAddr;

/// A state of a connection (`NF_CT_STATE_BIT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are nft(8)'s own")]
pub enum CtState {
    Invalid,
    Established,
    Related,
    New,
    Untracked,
}

impl CtState {
    /// Its bit.
    pub fn bit(self) -> u32 {
        match self {
            Self::Invalid => 1,
            Self::Established => 2,
            Self::Related => 4,
            Self::New => 8,
            Self::Untracked => 64,
        }
    }
}

/// A type of an address in the routing table (`RTN_*` of `linux/rtnetlink.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are nft(8)'s own")]
pub enum AddressType {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
}

impl AddressType {
    /// The kernel's number.
    pub fn number(self) -> u32 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Broadcast => 3,
            Self::Anycast => 4,
            Self::Multicast => 5,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
        }
    }
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6` (`linux/netfilter.h`).
fn nfproto_number(family: IpFamily) -> u8 {
    match family {
        IpFamily::Ipv4 => 2,
        IpFamily::Ipv6 => 10,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn u32_bytes(value: u32) -> Bytes {
    Bytes::from(value.to_ne_bytes())
}

// Operands.

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

// Matches.

/// `OPERAND == BYTES` or another comparison.
pub fn compare(left: Operand, op: CompareOp, right: impl Into<Bytes>) -> Statement {
    Statement::Compare { left: vec![left], op, right: right.into() }
}

/// `meta nfproto ipv4`, `meta nfproto ipv6`.
pub fn nfproto(family: IpFamily) -> Statement {
    compare(meta_nfproto(), CompareOp::Eq, [nfproto_number(family)])
}

/// `meta l4proto tcp`.
pub fn l4proto(protocol: Protocol) -> Statement {
    compare(meta_l4proto(), CompareOp::Eq, [protocol.0])
}

fn interface(key: MetaKey, op: CompareOp, pattern: &IfacePattern) -> Statement {
    match pattern {
        IfacePattern::Exact(name) => compare(meta(key), op, ifname_bytes(name.as_str(), 0)),
        IfacePattern::StartsWith(start) => compare(meta(key), op, start.as_bytes()),
    }
}

/// `iifname "eth1"`, `iifname "wg*"`.
pub fn iifname(pattern: &IfacePattern) -> Statement {
    interface(MetaKey::Iifname, CompareOp::Eq, pattern)
}

/// `iifname != "eth1"`.
pub fn iifname_not(pattern: &IfacePattern) -> Statement {
    interface(MetaKey::Iifname, CompareOp::Ne, pattern)
}

/// `oifname "eth1"`, `oifname "wg*"`.
pub fn oifname(pattern: &IfacePattern) -> Statement {
    interface(MetaKey::Oifname, CompareOp::Eq, pattern)
}

/// `oifname != "eth1"`.
pub fn oifname_not(pattern: &IfacePattern) -> Statement {
    interface(MetaKey::Oifname, CompareOp::Ne, pattern)
}

/// `meta iifkind "bridge"` (at most 15 bytes).
pub fn iifkind(kind: &str) -> Statement {
    compare(meta(MetaKey::Iifkind), CompareOp::Eq, ifname_bytes(kind, 0))
}

/// `meta oifkind "bridge"` (at most 15 bytes).
pub fn oifkind(kind: &str) -> Statement {
    compare(meta(MetaKey::Oifkind), CompareOp::Eq, ifname_bytes(kind, 0))
}

/// `iif "lo"`: the loopback has index 1 in every network namespace.
pub fn iif_lo() -> Statement {
    compare(meta(MetaKey::Iif), CompareOp::Eq, 1_u32.to_ne_bytes())
}

/// `oif "lo"`.
pub fn oif_lo() -> Statement {
    compare(meta(MetaKey::Oif), CompareOp::Eq, 1_u32.to_ne_bytes())
}

/// `ct state established,related`: any of them.
pub fn ct_state(states: &[CtState]) -> Statement {
    let bits = states.iter().fold(0, |all, state| all | state.bit());
    any_bit(ct(CtKey::State, None), bits)
}

/// `ct status dnat`.
pub fn ct_status_dnat() -> Statement {
    const IPS_DST_NAT: u32 = 1 << 5;
    any_bit(ct(CtKey::Status, None), IPS_DST_NAT)
}

/// Whether any of the bits is set, of an operand of 4 bytes in host order.
fn any_bit(operand: Operand, bits: u32) -> Statement {
    let mask = Transform::Mask { mask: u32_bytes(bits), xor: u32_bytes(0) };
    compare(Operand { transforms: vec![mask], ..operand }, CompareOp::Ne, u32_bytes(0))
}

/// `ct direction original`, `ct direction reply`.
pub fn ct_direction(direction: CtDirection) -> Statement {
    let number = match direction {
        CtDirection::Original => 0_u8,
        CtDirection::Reply => 1,
    };
    compare(ct(CtKey::Direction, None), CompareOp::Eq, [number])
}

/// `ct original proto-dst PORT`; wants [`l4proto`] before it.
pub fn ct_original_proto_dst_is(port: u16) -> Statement {
    compare(ct_original_proto_dst(), CompareOp::Eq, port.to_be_bytes())
}

/// `OPERAND 10.0.0.0/8`, for [`saddr`], [`daddr`] and the `ct` addresses.
///
/// nft loads only the bytes that a prefix of whole bytes needs, and masks any other.
pub fn in_prefix(operand: Operand, prefix: Prefix) -> Statement {
    prefix_compare(operand, CompareOp::Eq, prefix)
}

/// `OPERAND != 10.0.0.0/8`.
pub fn not_in_prefix(operand: Operand, prefix: Prefix) -> Statement {
    prefix_compare(operand, CompareOp::Ne, prefix)
}

fn prefix_compare(operand: Operand, op: CompareOp, prefix: Prefix) -> Statement {
    let address = octets(prefix.first());
    if prefix.is_host() {
        return compare(operand, op, address);
    }
    let masked = masked(operand, prefix.family(), prefix.length());
    let statement = Statement::Compare { left: vec![masked], op, right: address.into() };
    super::canonical::statement(statement)
}

/// `OPERAND PORT` or `OPERAND PORT-PORT`, for [`dport`] and [`sport`].
pub fn port_in(operand: Operand, ports: PortRange) -> Statement {
    let (from, to) = (ports.first().to_be_bytes(), ports.last().to_be_bytes());
    if from == to {
        return compare(operand, CompareOp::Eq, from);
    }
    Statement::Range { left: operand, invert: false, from: from.into(), to: to.into() }
}

/// `icmp type NUMBER`, `icmpv6 type NUMBER`.
pub fn icmp_type_is(number: u8) -> Statement {
    compare(icmp_type(), CompareOp::Eq, [number])
}

/// `ip6 hoplimit NUMBER`.
pub fn hoplimit_is(number: u8) -> Statement {
    compare(hoplimit(), CompareOp::Eq, [number])
}

/// `tcp flags & (fin | syn | rst | ack) == syn`: what opens a connection.
pub fn tcp_syn() -> Statement {
    let flags = payload(PayloadBase::Transport, 13, 1);
    let mask = Transform::Mask { mask: [0x17].into(), xor: [0].into() };
    compare(Operand { transforms: vec![mask], ..flags }, CompareOp::Eq, [0x02])
}

/// `fib daddr type local`.
pub fn fib_daddr_type_is(kind: AddressType) -> Statement {
    compare(fib_daddr_type(false), CompareOp::Eq, kind.number().to_ne_bytes())
}

/// `fib daddr type != local`.
pub fn fib_daddr_type_is_not(kind: AddressType) -> Statement {
    compare(fib_daddr_type(false), CompareOp::Ne, kind.number().to_ne_bytes())
}

/// `fib saddr . iif oif missing`: no route leads back by the input interface.
pub fn no_return_path() -> Statement {
    let flags = FibFlags { saddr: true, iif: true, ..FibFlags::default() };
    let fib = Operand::plain(Selector::Fib { result: FibResult::Present, flags });
    compare(fib, CompareOp::Eq, 0_u32.to_ne_bytes())
}

/// `KEY @set`.
pub fn lookup(key: Vec<Operand>, set: &str) -> Statement {
    Statement::Lookup { key, set: set.to_owned(), invert: false }
}

/// `KEY != @set`.
pub fn lookup_not(key: Vec<Operand>, set: &str) -> Statement {
    Statement::Lookup { key, set: set.to_owned(), invert: true }
}

/// `KEY vmap @map`.
pub fn vmap(key: Vec<Operand>, map: &str) -> Statement {
    Statement::VerdictMap { key, map: map.to_owned() }
}

/// `limit rate …`.
pub fn limit(limit: Limit) -> Statement {
    Statement::Limit(limit)
}

/// `update @set { KEY limit rate … }`: goes on while the key's own rate is within the limit, or
/// with `over` once it is not. Does not go on where the set is full.
pub fn update_limit(set: &str, key: Vec<Operand>, limit: Limit) -> Statement {
    update(SetOp::Update, set, key, None, vec![Statement::Limit(limit)])
}

/// `add @set { KEY timeout … }`, `update @set { … }`.
pub fn update(
    op: SetOp,
    set: &str,
    key: Vec<Operand>,
    timeout: Option<u64>,
    statements: Vec<Statement>,
) -> Statement {
    let set = set.to_owned();
    Statement::UpdateSet { op, set, key, data: None, timeout, statements, invert: false }
}

// Actions.

/// `counter`.
pub fn counter() -> Statement {
    Statement::Counter { packets: 0, bytes: 0 }
}

/// `log prefix "…"`, at the default level.
pub fn log(prefix: &str) -> Statement {
    Statement::Log(LogOptions { prefix: Some(prefix.to_owned()), ..LogOptions::default() })
}

/// `accept`.
pub fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

/// `drop`.
pub fn drop() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

/// `return`.
pub fn return_() -> Statement {
    Statement::Verdict(Verdict::Return)
}

/// `jump CHAIN`.
pub fn jump(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Jump(chain.to_owned()))
}

/// `goto CHAIN`.
pub fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.to_owned()))
}

/// `reject with tcp reset`; wants [`l4proto`] of TCP before it.
pub fn reject_tcp_reset() -> Statement {
    Statement::Reject(RejectWith::TcpReset)
}

/// `reject with icmpx port-unreachable`, in `inet` and `bridge` tables.
pub fn reject_port_unreachable() -> Statement {
    Statement::Reject(RejectWith::Icmpx(1))
}

/// `reject with icmpx admin-prohibited`, in `inet` and `bridge` tables.
pub fn reject_admin_prohibited() -> Statement {
    Statement::Reject(RejectWith::Icmpx(3))
}

// Keys of elements.

fn ifname_bytes(name: &str, padding: u8) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, padding);
    bytes
}

/// An address or a prefix, in a set of intervals; a single address is a value.
pub fn key_prefix(prefix: Prefix) -> ElementKey {
    interval_or_value(octets(prefix.first()), octets(prefix.last()))
}

/// One address.
pub fn key_address(address: IpAddr) -> ElementKey {
    ElementKey::Value(octets(address).into())
}

/// A port, or in a set of intervals a range of ports.
pub fn key_port_range(ports: PortRange) -> ElementKey {
    interval_or_value(ports.first().to_be_bytes().into(), ports.last().to_be_bytes().into())
}

/// A protocol.
pub fn key_protocol(protocol: Protocol) -> ElementKey {
    ElementKey::Value([protocol.0].into())
}

/// An IP version, for the type `nf_proto`.
pub fn key_nfproto(family: IpFamily) -> ElementKey {
    ElementKey::Value([nfproto_number(family)].into())
}

/// A type of an address, for the type `fib_addrtype`.
pub fn key_address_type(kind: AddressType) -> ElementKey {
    ElementKey::Value(u32_bytes(kind.number()))
}

/// An interface, or in a set of intervals every one whose name begins so.
pub fn key_ifname(pattern: &IfacePattern) -> ElementKey {
    match pattern {
        IfacePattern::Exact(name) => ElementKey::Value(ifname_bytes(name.as_str(), 0).into()),
        IfacePattern::StartsWith(start) => {
            interval_or_value(ifname_bytes(start, 0), ifname_bytes(start, 0xff))
        }
    }
}

/// A key of several fields: each is padded to 4 bytes as the kernel's registers are.
///
/// `None` if one of them is [`ElementKey::CatchAll`], which stands alone only.
pub fn key_concat(fields: &[ElementKey]) -> Option<ElementKey> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for field in fields {
        let (low, high) = match field {
            ElementKey::Value(value) => (value, value),
            ElementKey::Interval(low, high) => (low, high),
            ElementKey::CatchAll => return None,
        };
        for (all, bytes) in [(&mut from, low), (&mut to, high)] {
            all.extend_from_slice(bytes.as_slice());
            all.resize(all.len().div_ceil(4) * 4, 0);
        }
    }
    Some(interval_or_value(from, to))
}

fn interval_or_value(from: Vec<u8>, to: Vec<u8>) -> ElementKey {
    if from == to {
        ElementKey::Value(from.into())
    } else {
        ElementKey::Interval(from.into(), to.into())
    }
}
