//! The packet that is asked about: all but the source address is one value.

use super::value::{Bits, Value};
use crate::model::nft::PayloadBase;
use crate::model::{IfaceName, IpFamily, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a packet comes to the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// By this interface.
    Interface(IfaceName),
    /// From a process of the host, to the host, over loopback.
    Host,
}

/// What connection tracking says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// It opens a connection.
    New,
    /// It belongs to a connection that was answered, in the client's direction. What NAT did to
    /// the connection is not known.
    Established,
    /// It cannot be assigned.
    Invalid,
}

/// A packet from any of several sources.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packet {
    /// How it comes in.
    pub from: From,
    /// From which addresses, as numbers: sorted, apart from each other.
    pub sources: Vec<(u128, u128)>,
    /// From which port; for a protocol without ports, 0.
    pub source_port: u16,
    /// To which address.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// To which port; for a protocol without ports, 0.
    pub port: u16,
    /// ICMP type and code.
    pub icmp: (u8, u8),
    /// TCP flags (RFC 9293): 2 is SYN.
    pub tcp_flags: u8,
    /// What connection tracking says of it.
    pub state: ConnectionState,
}

/// The port that clients are taken to speak from: the middle of Linux's and IANA's ranges.
pub const CLIENT_PORT: u16 = 50_000;
/// SYN.
const SYN: u8 = 2;

impl Packet {
    /// The first packet of a connection from one source, or an echo request.
    pub fn new(
        from: From,
        source: IpAddr,
        destination: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Self {
        let echo = if protocol == Protocol::ICMPV6 { 128 } else { 8 };
        Self {
            from,
            sources: vec![(number(source), number(source))],
            source_port: if protocol.has_ports() { CLIENT_PORT } else { 0 },
            destination,
            protocol,
            port,
            icmp: (echo, 0),
            tcp_flags: SYN,
            state: ConnectionState::New,
        }
    }

    /// The IP version.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.destination)
    }
}

/// An address as a number; of IPv4 the low 32 bits.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number of this IP version.
pub fn address(family: IpFamily, number: u128) -> IpAddr {
    match family {
        IpFamily::Ipv4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpFamily::Ipv6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// The highest address of this IP version, as a number.
pub fn highest(family: IpFamily) -> u128 {
    match family {
        IpFamily::Ipv4 => u128::from(u32::MAX),
        IpFamily::Ipv6 => u128::MAX,
    }
}

/// The bytes of an address.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

/// Where the source address stands in the IP header: offset and length.
pub fn source_field(family: IpFamily) -> (u32, u32) {
    match family {
        IpFamily::Ipv4 => (12, 4),
        IpFamily::Ipv6 => (8, 16),
    }
}

/// The addresses and ports that stand in a packet where a rule looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The source; `None` where it was rewritten to one of several.
    pub source: Option<IpAddr>,
    /// The destination; `None` where it was rewritten to one of several.
    pub destination: Option<IpAddr>,
    /// The source port.
    pub source_port: Option<u16>,
    /// The destination port.
    pub port: Option<u16>,
}

/// Bytes of a header. What a client can choose freely (TTL, lengths, sequence numbers, payload) is
/// not known; IPv4 options, IPv6 extension headers and fragments are taken not to be there.
pub fn payload(packet: &Packet, fields: Fields, base: PayloadBase, offset: u32, len: u32) -> Value {
    let header = match base {
        PayloadBase::Network => network(packet, fields),
        PayloadBase::Transport => transport(packet, fields),
        PayloadBase::Link => match packet.from {
            From::Interface(_) => link(packet.family()),
            From::Host => return Value::Absent,
        },
        PayloadBase::Inner => Bits { value: Vec::new(), known: Vec::new() },
    };
    let (from, to) = (offset as usize, offset.saturating_add(len) as usize);
    let byte = |bytes: &[u8]| (from..to).map(|at| bytes.get(at).copied().unwrap_or(0)).collect();
    Value::Bits(Bits { value: byte(&header.value), known: byte(&header.known) })
}

fn put(bits: &mut Bits, at: usize, bytes: Option<Vec<u8>>) {
    let Some(bytes) = bytes else { return };
    bits.value[at..at + bytes.len()].copy_from_slice(&bytes);
    bits.known[at..at + bytes.len()].fill(0xff);
}

fn blank(len: usize) -> Bits {
    Bits { value: vec![0; len], known: vec![0; len] }
}

fn network(packet: &Packet, fields: Fields) -> Bits {
    match packet.family() {
        IpFamily::Ipv4 => {
            let mut bits = blank(20);
            put(&mut bits, 0, Some(vec![0x45]));
            // No fragment: offset 0 and no more to come; "do not fragment" is the sender's choice.
            bits.known[6] = 0x3f;
            put(&mut bits, 7, Some(vec![0]));
            put(&mut bits, 9, Some(vec![packet.protocol.0]));
            put(&mut bits, 12, fields.source.map(octets));
            put(&mut bits, 16, fields.destination.map(octets));
            bits
        }
        IpFamily::Ipv6 => {
            let mut bits = blank(40);
            bits.value[0] = 0x60;
            bits.known[0] = 0xf0;
            put(&mut bits, 6, Some(vec![packet.protocol.0]));
            put(&mut bits, 8, fields.source.map(octets));
            put(&mut bits, 24, fields.destination.map(octets));
            bits
        }
    }
}

fn transport(packet: &Packet, fields: Fields) -> Bits {
    let mut bits = blank(20);
    let port = |port: Option<u16>| port.map(|port| port.to_be_bytes().to_vec());
    match packet.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => {
            put(&mut bits, 0, Some(vec![packet.icmp.0, packet.icmp.1]));
        }
        protocol if protocol.has_ports() || protocol == Protocol::UDPLITE => {
            put(&mut bits, 0, port(fields.source_port));
            put(&mut bits, 2, port(fields.port));
            if protocol == Protocol::TCP {
                put(&mut bits, 13, Some(vec![packet.tcp_flags]));
            }
        }
        _ => {}
    }
    bits
}

fn link(family: IpFamily) -> Bits {
    let mut bits = blank(14);
    put(&mut bits, 12, Some(ether_type(family).to_be_bytes().to_vec()));
    bits
}

/// `ETH_P_IP`, `ETH_P_IPV6`.
pub fn ether_type(family: IpFamily) -> u16 {
    match family {
        IpFamily::Ipv4 => 0x0800,
        IpFamily::Ipv6 => 0x86dd,
    }
}
