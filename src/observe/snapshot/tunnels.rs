//! The layers below an interface or a connection: tunnels over IP, and what comes by IPsec. No keys.

use crate::model::{IfaceName, Prefix, Protocol};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What carries the packets of an interface over IP; several where more than one protocol may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// The interface; a bridge too, for what comes by a tunnel among its ports.
    pub interface: IfaceName,
    /// The protocol of the outer packets.
    #[serde(default = "udp")]
    pub protocol: Protocol,
    /// The host's own address to which they come; `None` for any.
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// The port on which it listens; 0 for a protocol without ports.
    pub port: u16,
    /// Its other ends, without their keys.
    pub peers: Vec<TunnelPeer>,
}

/// Snapshots from before other tunnels were read speak of WireGuard alone.
fn udp() -> Protocol {
    Protocol::UDP
}

/// The other end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelPeer {
    /// From where its outer packets come, port 0 for any port; `None` where that is not known.
    pub endpoint: Option<SocketAddr>,
    /// The addresses behind it, as far as they are known.
    pub allowed: Vec<Prefix>,
}

/// What the kernel takes in by IPsec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipsec {
    /// Policies for what comes in, in the order in which they are asked.
    pub policies: Vec<IpsecPolicy>,
    /// Security associations of tunnels and transports that are set up, without their keys.
    pub associations: Vec<IpsecAssociation>,
}

/// Which packets must have come by IPsec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecPolicy {
    /// From where, inside.
    pub source: Prefix,
    /// To where, inside.
    pub destination: Prefix,
    /// The protocol, if it is for one only.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// The client's port, if it is for one only.
    #[serde(default)]
    pub source_port: Option<u16>,
    /// The dialled port, if it is for one only.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether it is for packets with a mark only, as those of a vti interface have.
    #[serde(default)]
    pub marked: bool,
    /// The xfrm interface by which they come; `None` for a policy without one.
    #[serde(default)]
    pub interface: Option<IfaceName>,
    /// What carries them; `None` where they may come in the clear.
    #[serde(default)]
    pub carried: Option<IpsecCarried>,
}

/// What carries a packet over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecCarried {
    /// The protocol of the outer packets: `esp`, `ah` or `ipcomp`.
    pub protocol: Protocol,
    /// As what rules see a packet that IPComp left as it was, once it is out of that.
    #[serde(default)]
    pub uncompressed: Option<Protocol>,
    /// The outer addresses, of the other end and of the host; `None` in transport mode, where they
    /// are the packet's own.
    #[serde(default)]
    pub outer: Option<(IpAddr, IpAddr)>,
}

/// A security association.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IpsecAssociation {
    /// The outer address from which it comes.
    pub source: IpAddr,
    /// The outer address to which it goes.
    pub destination: IpAddr,
    /// `esp`, `ah` or `ipcomp`.
    pub protocol: Protocol,
    /// The protocol, source and destination port around it, where it is encapsulated (RFC 3948).
    #[serde(default)]
    pub encapsulated: Option<(Protocol, u16, u16)>,
}
