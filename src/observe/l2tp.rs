//! L2TP's tunnels in the kernel → what carries the Ethernet interfaces of their sessions, which have
//! no kind of their own. Numbers are those of linux/l2tp.h. Cookies are not kept.

use super::generic::{self, GENLMSGHDR};
use super::netlink::{self, Channel, HEADER, NetlinkError, u16_at, u32_at};
use super::tunnels::address;
use super::{Tunnel, TunnelPeer};
use crate::model::{IfaceName, Prefix, Protocol};
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_GENERIC;
use std::net::SocketAddr;
use std::path::Path;

/// `L2TP_CMD_TUNNEL_GET`, `L2TP_CMD_SESSION_GET`.
const TUNNELS: u8 = 4;
const SESSIONS: u8 = 8;

/// Reads them where the kernel's module for that is loaded.
pub fn read() -> Result<Vec<Tunnel>, NetlinkError> {
    if !Path::new("/sys/module/l2tp_netlink").exists() {
        return Ok(Vec::new());
    }
    let mut channel = Channel::open(NETLINK_GENERIC)?;
    let family = generic::family(&mut channel, "l2tp")?;
    let (mut carriers, mut interfaces) = (Vec::new(), Vec::new());
    for command in [TUNNELS, SESSIONS] {
        channel.ask(family, NLM_F_DUMP, &[command, 1, 0, 0], |message| match command {
            TUNNELS => carriers.extend(carrier(message)),
            _ => interfaces.extend(interface(message)),
        })?;
    }
    let carried = |(number, interface): (u32, IfaceName)| {
        let (_, own) = carriers.iter().find(|(own, _)| *own == number)?;
        Some(own.of(interface))
    };
    Ok(interfaces.into_iter().filter_map(carried).collect())
}

/// What carries a tunnel.
pub(super) struct Carrier {
    protocol: Protocol,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Carrier {
    fn of(&self, interface: IfaceName) -> Tunnel {
        let everything =
            ["0.0.0.0/0", "::/0"].map(|own| own.parse::<Prefix>().expect("a prefix")).to_vec();
        Tunnel {
            interface,
            protocol: self.protocol,
            local: Some(self.local.ip()),
            port: self.local.port(),
            peers: vec![TunnelPeer { endpoint: Some(self.remote), allowed: everything }],
        }
    }
}

fn attribute_of(message: &[u8], wanted: u16) -> Option<&[u8]> {
    netlink::value(message.get(HEADER + GENLMSGHDR..)?, wanted)
}

/// A tunnel's number and what carries it.
pub(super) fn carrier(message: &[u8]) -> Option<(u32, Carrier)> {
    let value = |wanted| attribute_of(message, wanted);
    let number = u32_at(value(9)?, 0)?;
    let ends = |four, six| value(four).or_else(|| value(six)).and_then(address);
    let port = |wanted| value(wanted).and_then(|own| u16_at(own, 0)).unwrap_or(0);
    // L2TP_ATTR_IP_SADDR, L2TP_ATTR_IP_DADDR and those of IPv6.
    let (local, remote) = (ends(24, 31)?, ends(25, 32)?);
    // L2TP_ATTR_ENCAP_TYPE; L2TP_ATTR_UDP_SPORT, L2TP_ATTR_UDP_DPORT.
    let (protocol, ports) = match u16_at(value(2)?, 0)? {
        0 => (Protocol::UDP, (port(26), port(27))),
        _ => (Protocol(115), (0, 0)),
    };
    let (local, remote) = (SocketAddr::new(local, ports.0), SocketAddr::new(remote, ports.1));
    Some((number, Carrier { protocol, local, remote }))
}

/// The number of a session's tunnel, and its interface.
pub(super) fn interface(message: &[u8]) -> Option<(u32, IfaceName)> {
    let number = u32_at(attribute_of(message, 9)?, 0)?;
    // L2TP_ATTR_IFNAME.
    let name = attribute_of(message, 8)?;
    let name = std::str::from_utf8(name.strip_suffix(b"\0").unwrap_or(name)).ok()?;
    Some((number, name.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::netlink::attribute;

    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut all = vec![0; HEADER + GENLMSGHDR];
        all.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        all
    }

    #[test]
    fn an_interface_is_carried_by_the_tunnel_of_its_session() {
        let (udp, ip) = (0_u16.to_ne_bytes(), 1_u16.to_ne_bytes());
        let number = 3000_u32.to_ne_bytes();
        let ports = [5000_u16.to_ne_bytes(), 6000_u16.to_ne_bytes()];
        let ends: [(u16, &[u8]); 2] = [(24, &[203, 0, 113, 10]), (25, &[198, 51, 100, 7])];
        let cookie: (u16, &[u8]) = (15, &[0xc0; 8]);
        let session = message(&[(9, &number), cookie, (8, b"l2tpeth0\0")]);
        let (of, name) = interface(&session).expect("a session");
        assert_eq!((of, name.as_str()), (3000, "l2tpeth0"));
        let tunnel = |kind: &[u8]| {
            let all = [&[(2, kind), (9, &number), (26, &ports[0]), (27, &ports[1])], &ends[..]];
            let (number, carrier) = carrier(&message(&all.concat())).expect("a tunnel");
            assert_eq!(number, 3000);
            carrier.of(name.clone())
        };
        let over_udp = tunnel(&udp);
        assert_eq!((over_udp.protocol, over_udp.port), (Protocol::UDP, 5000));
        assert_eq!(over_udp.local, "203.0.113.10".parse().ok());
        assert_eq!(over_udp.peers[0].endpoint, "198.51.100.7:6000".parse().ok());
        let over_ip = tunnel(&ip);
        assert_eq!((over_ip.protocol.to_string().as_str(), over_ip.port), ("l2tp", 0));
        assert_eq!(over_ip.peers[0].endpoint, "198.51.100.7:0".parse().ok());
    }
}
