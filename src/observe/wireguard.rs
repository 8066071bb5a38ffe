//! WireGuard interfaces → the UDP port that each listens on, and from where its peers come.
//!
//! Neither keys nor anything else that is secret is kept. Numbers are those of linux/wireguard.h.

use super::generic::{self, GENLMSGHDR};
use super::netlink::{self, Channel, HEADER, NetlinkError, attribute, attributes, u16_at};
use super::{Link, LinkKind, Tunnel, TunnelPeer};
use crate::model::{IfaceName, Prefix, Protocol};
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_GENERIC;
use std::net::{IpAddr, SocketAddr};

/// The tunnels of these interfaces.
pub fn read(links: &[Link]) -> Result<Vec<Tunnel>, NetlinkError> {
    let mut ours = links.iter().filter(|link| link.kind == LinkKind::Wireguard).peekable();
    if ours.peek().is_none() {
        return Ok(Vec::new());
    }
    let mut channel = Channel::open(NETLINK_GENERIC)?;
    let family = generic::family(&mut channel, "wireguard")?;
    let mut found = Vec::new();
    for link in ours {
        // WG_CMD_GET_DEVICE, version 1; WGDEVICE_A_IFNAME.
        let mut request = vec![0, 1, 0, 0];
        request.extend(attribute(2, format!("{}\0", link.name).as_bytes()));
        let mut tunnel = unread(link.name.clone());
        channel.ask(family, NLM_F_DUMP, &request, |message| {
            device(message.get(HEADER + GENLMSGHDR..).unwrap_or_default(), &mut tunnel);
        })?;
        found.push(tunnel);
    }
    Ok(found)
}

fn unread(interface: IfaceName) -> Tunnel {
    Tunnel { interface, protocol: Protocol::UDP, local: None, port: 0, peers: Vec::new() }
}

/// One message about a device; one with many peers comes in several.
fn device(body: &[u8], tunnel: &mut Tunnel) {
    for (kind, value) in attributes(body) {
        match kind {
            // WGDEVICE_A_LISTEN_PORT
            6 => tunnel.port = u16_at(value, 0).unwrap_or(tunnel.port),
            // WGDEVICE_A_PEERS
            8 => tunnel.peers.extend(attributes(value).map(|(_, own)| peer(own))),
            _ => {}
        }
    }
}

fn peer(body: &[u8]) -> TunnelPeer {
    let mut found = TunnelPeer { endpoint: None, allowed: Vec::new() };
    for (kind, value) in attributes(body) {
        match kind {
            // WGPEER_A_ENDPOINT
            4 => found.endpoint = endpoint(value),
            // WGPEER_A_ALLOWEDIPS
            9 => found.allowed.extend(attributes(value).filter_map(|(_, own)| allowed(own))),
            _ => {}
        }
    }
    found
}

/// `struct sockaddr_in`, `struct sockaddr_in6`.
fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let address: IpAddr = match u16_at(bytes, 0)? {
        2 => <[u8; 4]>::try_from(bytes.get(4..8)?).ok()?.into(),
        10 => <[u8; 16]>::try_from(bytes.get(8..24)?).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// WGALLOWEDIP_A_IPADDR and WGALLOWEDIP_A_CIDR_MASK.
fn allowed(body: &[u8]) -> Option<Prefix> {
    let value = |wanted| netlink::value(body, wanted);
    let address = netlink::address(value(2)?)?;
    Prefix::around(address, *value(3)?.first()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_peers_and_what_they_may_send_are_read() {
        let mut end = 2_u16.to_ne_bytes().to_vec();
        end.extend([0x1f, 0x90, 198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
        let ip =
            [attribute(1, &2_u16.to_ne_bytes()), attribute(2, &[10, 9, 0, 0]), attribute(3, &[24])];
        let ips = attribute(0, &ip.concat());
        // A key comes first; it is not kept.
        let peer = [attribute(1, &[7; 32]), attribute(4, &end), attribute(9, &ips)].concat();
        let body =
            [attribute(6, &51820_u16.to_ne_bytes()), attribute(8, &attribute(0, &peer))].concat();
        let mut tunnel = unread("wg0".parse().expect("a name"));
        device(&body, &mut tunnel);
        assert_eq!(tunnel.port, 51820);
        let peer = &tunnel.peers[0];
        assert_eq!(peer.endpoint, "198.51.100.7:8080".parse().ok());
        assert_eq!(peer.allowed, ["10.9.0.0/24".parse().expect("a prefix")]);
    }
}
