//! Constructors for statements and elements: what nft makes of the printed text, built directly.
//!
//! Each yields exactly what the reader decodes after nft has loaded the text that
//! [`super::text`] prints for it. The dependencies that nft adds by itself are explicit: a rule
//! that compares [`dport`] has [`l4proto`] before it, one that compares [`saddr`] in an `inet`
//! table has [`nfproto`] before it.

mod action;
mod key;
mod matching;
mod operand;

pub use action::*;
pub use key::*;
pub use matching::*;
pub use operand::*;

use super::Bytes;
use crate::model::IpFamily;
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

/// A name in a field of 16 bytes, filled up with `padding`.
fn ifname_bytes(name: &str, padding: u8) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, padding);
    bytes
}
