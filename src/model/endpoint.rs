//! What can be dialled on a host, and who serves it.

use super::{PortRange, Protocol};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an endpoint can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bind {
    /// Every address of both IP versions (`[::]` without `IPV6_V6ONLY`).
    Any,
    /// Every IPv4 address (`0.0.0.0`).
    AnyIpv4,
    /// Every IPv6 address (`[::]` with `IPV6_V6ONLY`).
    AnyIpv6,
    /// One address.
    Address(IpAddr),
}

impl Bind {
    /// Whether the endpoint answers for this address.
    pub fn covers(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::AnyIpv4 => address.is_ipv4(),
            Self::AnyIpv6 => address.is_ipv6(),
            Self::Address(own) => own == address,
        }
    }

    /// The address as sockets show it: the unspecified one for "any".
    pub fn address(self) -> IpAddr {
        match self {
            Self::AnyIpv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::Any | Self::AnyIpv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Self::Address(own) => own,
        }
    }
}

/// Who holds an endpoint. A field is `None` where it does not apply or could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The process name (`comm`), never its arguments.
    pub process: Option<String>,
    /// The systemd unit; for a socket that systemd holds, the unit that it starts.
    pub unit: Option<String>,
    /// The container's name.
    pub container: Option<String>,
}

/// The way on which a packet for an endpoint is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "path")]
pub enum ServedBy {
    /// A socket of the host's own network namespace.
    HostSocket,
    /// A container engine's proxy process on the host (`docker-proxy`, `rootlessport`).
    Proxy,
    /// A port that a container engine publishes by destination NAT.
    Published {
        /// The container's own address that the port is translated to, where it is known.
        to: Option<IpAddr>,
        /// The container's port.
        to_port: u16,
    },
    /// A container's own address and port, for whoever routes to it.
    Routed {
        /// The engine's name of the network.
        network: String,
    },
}

/// An address, protocol and port that something listens on or that is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The protocol.
    pub protocol: Protocol,
    /// The ports; one, or the range that a container publishes.
    pub ports: PortRange,
    /// Where it can be dialled.
    pub bind: Bind,
    /// The interface that the socket is bound to (`SO_BINDTODEVICE`), if any.
    pub device: Option<super::IfaceName>,
    /// Who holds it.
    pub owner: Owner,
    /// The way on which it is served.
    #[serde(flatten)]
    pub served_by: ServedBy,
}
