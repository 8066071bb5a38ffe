//! Keys of elements.

use super::{AddressType, ifname_bytes, nfproto_number, octets, u32_bytes};
use crate::model::nft::ElementKey;
use crate::model::{IfacePattern, IpFamily, PortRange, Prefix, Protocol};
use std::net::IpAddr;

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
