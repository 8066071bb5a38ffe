//! Raw packets in, and where they arrive: the kernel's own answer, many packets at a time.

use crate::net::Namespace;
use nix::sys::socket::{setsockopt, sockopt::Mark};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// A packet to send. `id` tells it from all others.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: u32,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// 6, 17, or 1 and 58 for an echo request.
    pub protocol: u8,
    pub source_port: u16,
    pub port: u16,
    pub tcp_flags: u8,
}

/// Where a packet came to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub namespace: &'static str,
    pub address: IpAddr,
    /// 0 for an echo request.
    pub port: u16,
}

fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

impl Sent {
    /// The whole packet from the IP header on.
    pub fn bytes(&self) -> Vec<u8> {
        let (source, destination) = (octets(self.source), octets(self.destination));
        let ports = [self.source_port.to_be_bytes(), self.port.to_be_bytes()].concat();
        let (mut body, check_at) = match self.protocol {
            6 => {
                let mut tcp = ports;
                tcp.extend(self.id.to_be_bytes());
                tcp.extend([0, 0, 0, 0, 0x50, self.tcp_flags, 0x20, 0, 0, 0, 0, 0]);
                (tcp, 16)
            }
            17 => {
                let mut udp = ports;
                udp.extend([0, 12, 0, 0]);
                udp.extend(self.id.to_be_bytes());
                (udp, 6)
            }
            protocol => {
                let mut echo = vec![if protocol == 1 { 8 } else { 128 }, 0, 0, 0];
                // The identifier is what connection tracking takes for a port.
                echo.extend(&self.id.to_be_bytes()[2..]);
                echo.extend([0, 0]);
                echo.extend(self.id.to_be_bytes());
                (echo, 2)
            }
        };
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let pseudo = if self.protocol == 1 {
            Vec::new()
        } else {
            [&source[..], &destination, &length, &[0, 0, 0, self.protocol]].concat()
        };
        let sum = checksum(&[&pseudo, &body]).to_be_bytes();
        body[check_at..check_at + 2].copy_from_slice(&sum);
        let mut packet = if self.source.is_ipv4() {
            let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
            let id = self.id.to_be_bytes();
            [
                &[0x45, 0, total[0], total[1], id[2], id[3], 0x40, 0, 64, self.protocol, 0, 0][..],
                &source,
                &destination,
            ]
            .concat()
        } else {
            [&[0x60, 0, 0, 0, length[2], length[3], self.protocol, 64][..], &source, &destination]
                .concat()
        };
        packet.extend(body);
        packet
    }
}

/// Sends from a namespace, whatever the packet's own source; `via` is a neighbour in both versions.
#[derive(Debug)]
pub struct Sender {
    v4: OwnedFd,
    v6: OwnedFd,
    via: (IpAddr, IpAddr),
}

fn raw(namespace: &Namespace, family: AddressFamily, protocol: u8) -> OwnedFd {
    let protocol = rustix::net::Protocol::from_raw(u32::from(protocol).try_into().unwrap());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    namespace.enter(|| socket_with(family, SocketType::RAW, flags, Some(protocol)).unwrap())
}

impl Sender {
    pub fn new(namespace: &Namespace, via: (IpAddr, IpAddr)) -> Self {
        // IPPROTO_RAW: the header is ours. The mark tells these packets from the client's own.
        let of = |family| {
            let socket = raw(namespace, family, 255);
            setsockopt(&socket, Mark, &7).unwrap();
            socket
        };
        Self { v4: of(AddressFamily::INET), v6: of(AddressFamily::INET6), via }
    }

    pub fn send(&self, packet: &Sent) {
        let (socket, via) =
            if packet.source.is_ipv4() { (&self.v4, self.via.0) } else { (&self.v6, self.via.1) };
        let to = SocketAddr::new(via, 0);
        sendto(socket, &packet.bytes(), SendFlags::empty(), &to)
            .unwrap_or_else(|error| panic!("{packet:?}: {error}"));
    }
}

/// Raw sockets see what has passed the input hook.
#[derive(Debug)]
pub struct Receiver {
    namespace: &'static str,
    sockets: Vec<(OwnedFd, Option<Ipv6Addr>, u8)>,
}

impl Receiver {
    /// `v6` are the namespace's addresses: a socket each, as raw IPv6 sockets show no header.
    pub fn new(name: &'static str, namespace: &Namespace, v6: &[Ipv6Addr]) -> Self {
        let mut sockets = Vec::new();
        for protocol in [6, 17, 1] {
            sockets.push((raw(namespace, AddressFamily::INET, protocol), None, protocol));
        }
        for protocol in [6, 17, 58] {
            for address in v6 {
                let socket = raw(namespace, AddressFamily::INET6, protocol);
                bind(&socket, &SocketAddr::new((*address).into(), 0)).unwrap();
                sockets.push((socket, Some(*address), protocol));
            }
        }
        Self { namespace: name, sockets }
    }

    /// What has come since the last time, by id.
    pub fn drain(&self, seen: &mut BTreeMap<u32, Seen>) {
        let mut buffer = [0_u8; 2048];
        for (socket, address, protocol) in &self.sockets {
            while let Ok((length, _)) = recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
                let packet = &buffer[..length];
                let (address, body): (IpAddr, &[u8]) = if let Some(address) = address {
                    ((*address).into(), packet)
                } else {
                    let header = usize::from(packet[0] & 15) * 4;
                    let to: [u8; 4] = packet[16..20].try_into().unwrap();
                    (Ipv4Addr::from(to).into(), &packet[header..])
                };
                let number = |at: usize| {
                    body.get(at..at + 4).map_or(0, |id| u32::from_be_bytes(id.try_into().unwrap()))
                };
                let port = u16::from_be_bytes([body[2], body[3]]);
                let (id, port) = match protocol {
                    6 => (number(4), port),
                    17 => (number(8), port),
                    _ if matches!(body[0], 8 | 128) => (number(8), 0),
                    _ => continue,
                };
                seen.insert(id, Seen { namespace: self.namespace, address, port });
            }
        }
    }
}
