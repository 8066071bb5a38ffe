//! Address prefixes of both IP versions.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One of the two IP versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4 (RFC 791).
    Ipv4,
    /// IPv6 (RFC 8200).
    Ipv6,
}

impl IpFamily {
    /// Both, in the order in which fwctl shows them.
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The version of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// An address prefix without host bits; a single address has the full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNet);

/// A text that is no prefix, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an address nor a prefix.
    #[error("`{0}` is no address and no prefix")]
    Syntax(String),
    /// Bits are set behind the prefix length.
    #[error("`{given}` has host bits set; the prefix is `{meant}`")]
    HostBits {
        /// The text that was given.
        given: String,
        /// The same with the host bits cleared.
        meant: Prefix,
    },
}

impl Prefix {
    /// The prefix of one address alone.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }

    /// The prefix that holds the address and is `length` bits long, host bits cleared.
    ///
    /// `None` where the length is more than the address has bits.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        IpNet::new(address, length).ok().map(|net| Self(net.trunc()))
    }

    /// The prefix as the `ipnet` crate has it.
    pub fn net(self) -> IpNet {
        self.0
    }

    /// The IP version.
    pub fn family(self) -> IpFamily {
        IpFamily::of(self.0.addr())
    }

    /// The lowest address.
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    /// The highest address.
    pub fn last(self) -> IpAddr {
        match self.0 {
            IpNet::V4(net) => IpAddr::V4(net.broadcast()),
            IpNet::V6(net) => IpAddr::V6(net.broadcast()),
        }
    }

    /// The length in bits.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the prefix is one address.
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// Whether the address is in the prefix.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether all of `other` is in the prefix.
    pub fn covers(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::host(address));
        }
        let net: IpNet = text.parse().map_err(|_| PrefixError::Syntax(text.to_owned()))?;
        if net.trunc() != net {
            return Err(PrefixError::HostBits { given: text.to_owned(), meant: Self(net.trunc()) });
        }
        Ok(Self(net))
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { f.pad(&self.0.addr().to_string()) } else { f.pad(&self.0.to_string()) }
    }
}

/// Intervals of numbers, both ends included, sorted: those that overlap or touch are made one.
pub fn joined(sorted: impl Iterator<Item = (u128, u128)>) -> Vec<(u128, u128)> {
    let mut out: Vec<(u128, u128)> = Vec::new();
    for (first, last) in sorted {
        match out.last_mut() {
            Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => {
                *end = (*end).max(last);
            }
            _ => out.push((first, last)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_refused_with_the_prefix_that_was_meant() {
        let error = "192.168.1.5/24".parse::<Prefix>().expect_err("has host bits");
        assert!(error.to_string().contains("`192.168.1.0/24`"), "{error}");
        assert!("2001:db8::/32".parse::<Prefix>().is_ok());
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
    }
}
