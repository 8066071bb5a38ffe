//! Statements that compare and look up.

use super::{
    AddressType, CtState, ct, ct_original_proto_dst, fib_daddr_type, hoplimit, icmp_type,
    ifname_bytes, masked, meta, meta_l4proto, meta_nfproto, nfproto_number, octets, payload,
    u32_bytes,
};
use crate::model::nft::{
    Bytes, CompareOp, CtDirection, CtKey, FibFlags, FibResult, Limit, MetaKey, Operand,
    PayloadBase, Selector, SetOp, Statement, Transform, canonical,
};
use crate::model::{IfacePattern, IpFamily, PortRange, Prefix, Protocol};

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

/// `meta sdifname "eth1"`, `meta sdifname "wg*"`.
pub fn sdifname(pattern: &IfacePattern) -> Statement {
    interface(MetaKey::Sdifname, CompareOp::Eq, pattern)
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
    canonical::statement(statement)
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
