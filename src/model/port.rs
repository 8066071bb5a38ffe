//! What a client dials: protocols, ports, ranges.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An IP protocol number (IANA "Assigned Internet Protocol Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocol(pub u8);

/// Names as in `/etc/protocols` for the protocols that firewalls speak of.
const NAMES: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

impl Protocol {
    /// Internet Control Message Protocol (RFC 792).
    pub const ICMP: Self = Self(1);
    /// Internet Group Management Protocol (RFC 3376).
    pub const IGMP: Self = Self(2);
    /// Transmission Control Protocol (RFC 9293).
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol (RFC 768).
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
    /// Stream Control Transmission Protocol (RFC 9260).
    pub const SCTP: Self = Self(132);
    /// Lightweight UDP (RFC 3828).
    pub const UDPLITE: Self = Self(136);

    /// The protocols whose ports a policy can name.
    pub const WITH_PORTS: [Self; 3] = [Self::TCP, Self::UDP, Self::SCTP];

    /// Whether a policy names ports of this protocol (`53/udp`) rather than the protocol (`esp`).
    pub fn has_ports(self) -> bool {
        Self::WITH_PORTS.contains(&self)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&format!("ip-{}", self.0)),
        }
    }
}

/// A text that names no protocol or port, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

impl FromStr for Protocol {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*number));
        }
        match text {
            "ipv6-icmp" => Ok(Self::ICMPV6),
            _ => match text.strip_prefix("ip-").unwrap_or(text).parse() {
                Ok(number) => Ok(Self(number)),
                Err(_) => Err(PortError(format!("`{text}` is no protocol that fwctl knows"))),
            },
        }
    }
}

impl TryFrom<String> for Protocol {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

/// Ports from `first` to `last`, both included; `1 <= first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Every port, 1 to 65535.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// The ports from `first` to `last`; an error where that is no range, or holds port 0.
    pub fn new(first: u16, last: u16) -> Result<Self, PortError> {
        if first == 0 {
            return Err(PortError("port 0 cannot be dialled; ports go from 1 to 65535".to_owned()));
        }
        if first > last {
            return Err(PortError(format!("the range {first}-{last} is empty")));
        }
        Ok(Self { first, last })
    }

    /// The range of one port, which is not 0.
    pub fn single(port: u16) -> Result<Self, PortError> {
        Self::new(port, port)
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether the port is in the range.
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether all of `other` is in the range.
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = PortError;

    fn try_from((first, last): (u16, u16)) -> Result<Self, PortError> {
        Self::new(first, last)
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What one entry of a policy's `ports` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PortSpec {
    /// Ports of TCP, UDP or SCTP: `22/tcp`, `9000-9010/udp`.
    Ports(Protocol, PortRange),
    /// A protocol as a whole: `esp`, `gre`.
    Protocol(Protocol),
    /// Every port of every protocol, written `all`.
    All,
}

impl PortSpec {
    /// Whether a connection that `other` names is named by this too.
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (_, Self::All) => false,
            (Self::Ports(mine, range), Self::Ports(theirs, other)) => {
                mine == theirs && range.covers(other)
            }
            (Self::Ports(mine, range), Self::Protocol(theirs)) => {
                mine == theirs && range == PortRange::ALL
            }
            (Self::Protocol(mine), Self::Ports(theirs, _) | Self::Protocol(theirs)) => {
                mine == theirs
            }
        }
    }
}

impl FromStr for PortSpec {
    type Err = PortError;

    /// Reads `N/tcp`, `N-M/udp`, `esp`, `all`.
    fn from_str(text: &str) -> Result<Self, PortError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let Some((ports, protocol)) = text.split_once('/') else {
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(PortError(format!(
                    "`{text}` does not say which protocol: write `{text}/tcp` or `{text}/udp`"
                )));
            }
            let protocol: Protocol = text.parse()?;
            if protocol.has_ports() {
                return Ok(Self::Ports(protocol, PortRange::ALL));
            }
            return Ok(Self::Protocol(protocol));
        };
        let protocol: Protocol = protocol.parse()?;
        if !protocol.has_ports() {
            return Err(PortError(format!(
                "{protocol} has no ports; `{protocol}` alone names the whole protocol"
            )));
        }
        let port = |text: &str| -> Result<u16, PortError> {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(PortError(format!("`{text}` is no port number")));
            }
            text.parse().map_err(|_| {
                PortError(format!("port {text} is out of range; ports go from 1 to 65535"))
            })
        };
        let range = match ports.split_once('-') {
            Some((first, last)) => PortRange::new(port(first)?, port(last)?)?,
            None => PortRange::single(port(ports)?)?,
        };
        Ok(Self::Ports(protocol, range))
    }
}

impl TryFrom<String> for PortSpec {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<PortSpec> for String {
    fn from(spec: PortSpec) -> Self {
        spec.to_string()
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Ports(protocol, range) if *range == PortRange::ALL => protocol.to_string(),
            Self::Ports(protocol, range) => format!("{range}/{protocol}"),
            Self::Protocol(protocol) => protocol.to_string(),
            Self::All => "all".to_owned(),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_survive_their_own_text() {
        for text in ["22/tcp", "9000-9010/udp", "esp", "ip-200", "all", "tcp", "80/sctp"] {
            let spec: PortSpec = text.parse().expect(text);
            let again: PortSpec = spec.to_string().parse().expect("own text is read");
            assert_eq!(spec, again, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_says_why() {
        for (text, part) in [
            ("0/tcp", "port 0"),
            ("70000/tcp", "out of range"),
            ("10-9/tcp", "is empty"),
            ("22", "22/tcp"),
            ("22/esp", "has no ports"),
            ("ssh/tcp", "no port number"),
            ("-5/tcp", "no port number"),
            ("22/tpc", "no protocol"),
        ] {
            let error = text.parse::<PortSpec>().expect_err(text);
            assert!(error.0.contains(part), "{text}: {error}");
        }
    }
}
