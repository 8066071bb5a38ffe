//! What bridges and VXLAN interfaces have learned, and the neighbours: behind which port or which
//! other end an address is. Numbers are those of linux/neighbour.h.

use super::netlink::{self, Channel, HEADER, NetlinkError, u32_at};
use super::tunnels::address;
use super::{Link, LinkKind, Tunnel, TunnelPeer};
use crate::model::{IfaceName, Prefix};
use netlink_packet_core::NLM_F_DUMP;
use std::net::{IpAddr, SocketAddr};

const RTM_GETNEIGH: u16 = 30;
/// The length of `struct ndmsg`.
const NDMSG: usize = 12;
/// `AF_BRIDGE`: the forwarding tables, not the neighbours.
const BRIDGE: u8 = 7;

/// An address of the link layer.
type Hardware = [u8; 6];

/// Both tables.
#[derive(Debug, Default)]
pub struct Forwarding {
    /// The interface, the hardware address behind it, and for VXLAN the other end.
    entries: Vec<(u32, Hardware, Option<IpAddr>)>,
    /// The interface, the neighbour's address and its hardware address.
    neighbours: Vec<(u32, IpAddr, Hardware)>,
}

/// Reads both; what changes meanwhile is not taken again, as it does all the time.
pub fn read(channel: &mut Channel) -> Result<Forwarding, NetlinkError> {
    let mut found = Forwarding::default();
    for family in [BRIDGE, 0] {
        let mut request = [0; NDMSG];
        request[0] = family;
        match channel.ask(RTM_GETNEIGH, NLM_F_DUMP, &request, |message| found.take(message)) {
            Ok(()) | Err(NetlinkError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

impl Forwarding {
    pub(super) fn take(&mut self, message: &[u8]) {
        let body = message.get(HEADER..).unwrap_or_default();
        let (Some(family), Some(index)) = (body.first(), u32_at(body, 4)) else { return };
        let inside = body.get(NDMSG..).unwrap_or_default();
        let value = |wanted: u16| netlink::value(inside, wanted);
        // NDA_LLADDR, NDA_DST.
        let Some(hardware) = value(2).and_then(|own| Hardware::try_from(own).ok()) else { return };
        let to = value(1).and_then(address);
        if *family == BRIDGE {
            self.entries.push((index, hardware, to));
        } else if let Some(to) = to {
            self.neighbours.push((index, to, hardware));
        }
    }

    /// Fills in which addresses are behind which end, and adds tunnels that are ports of bridges to
    /// these, where the neighbours of either are known.
    pub fn place(&self, tunnels: &mut Vec<Tunnel>, links: &[Link]) {
        let of = |name: &IfaceName| links.iter().find(|link| link.name == *name);
        let mut more: Vec<Tunnel> = Vec::new();
        for tunnel in tunnels.iter_mut() {
            let Some(link) = of(&tunnel.interface) else { continue };
            if link.kind == LinkKind::Vxlan {
                let ends = self.ends_of(link.index);
                // One that is not known is none beside those that are.
                tunnel.peers.retain(|peer| peer.endpoint.is_some() || ends.is_empty());
                for end in ends {
                    let is_end = |peer: &TunnelPeer| peer.endpoint.map(|own| own.ip()) == Some(end);
                    if !tunnel.peers.iter().any(is_end) {
                        let endpoint = Some(SocketAddr::new(end, 0));
                        tunnel.peers.push(TunnelPeer { endpoint, allowed: Vec::new() });
                    }
                }
                for peer in &mut tunnel.peers {
                    let Some(end) = peer.endpoint else { continue };
                    peer.allowed = hosts(&self.neighbours_behind(link.index, link.index, end.ip()));
                }
            }
            let Some(bridge) = link.master.as_ref().and_then(of) else { continue };
            if bridge.kind != LinkKind::Bridge {
                continue;
            }
            let at_port = self.neighbours_at(bridge.index, link.index);
            let of_peer = |peer: &TunnelPeer| {
                let known = match peer.endpoint {
                    Some(end) if link.kind == LinkKind::Vxlan => {
                        self.neighbours_behind(bridge.index, link.index, end.ip())
                    }
                    Some(_) | None => at_port.clone(),
                };
                TunnelPeer { endpoint: peer.endpoint, allowed: hosts(&known) }
            };
            let peers: Vec<_> = tunnel.peers.iter().map(of_peer).collect();
            let peers: Vec<_> = peers.into_iter().filter(|peer| !peer.allowed.is_empty()).collect();
            if !peers.is_empty() {
                more.push(Tunnel { interface: bridge.name.clone(), peers, ..tunnel.clone() });
            }
        }
        tunnels.append(&mut more);
    }

    /// The other ends that a VXLAN interface sends to, without groups.
    pub fn ends_of(&self, interface: u32) -> Vec<IpAddr> {
        let own = self.entries.iter().filter(|entry| entry.0 == interface);
        let mut ends: Vec<IpAddr> =
            own.filter_map(|entry| entry.2).filter(|end| !end.is_multicast()).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The neighbours on `interface` that are behind this end of a VXLAN interface, which may be a
    /// port of it.
    pub fn neighbours_behind(&self, interface: u32, vxlan: u32, end: IpAddr) -> Vec<IpAddr> {
        self.neighbours(interface, |entry| entry.0 == vxlan && entry.2 == Some(end))
    }

    /// The neighbours on a bridge that are behind this port.
    pub fn neighbours_at(&self, bridge: u32, port: u32) -> Vec<IpAddr> {
        self.neighbours(bridge, |entry| entry.0 == port)
    }

    fn neighbours(
        &self,
        interface: u32,
        is_there: impl Fn(&(u32, Hardware, Option<IpAddr>)) -> bool,
    ) -> Vec<IpAddr> {
        let there = self.entries.iter().filter(|entry| is_there(entry));
        let known: Vec<Hardware> = there.map(|entry| entry.1).collect();
        let own = self.neighbours.iter().filter(|own| own.0 == interface && known.contains(&own.2));
        let mut found: Vec<IpAddr> = own.map(|own| own.1).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn hosts(addresses: &[IpAddr]) -> Vec<Prefix> {
    let whole = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
    addresses.iter().filter_map(|own| Prefix::around(*own, whole(own))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;
    use crate::observe::netlink::attribute;

    const PEER: [u8; 4] = [198, 51, 100, 7];

    /// RTM_NEWNEIGH: of a forwarding table where `end` may be, else of the neighbours.
    fn entry(bridge: bool, index: u8, hardware: u8, to: Option<[u8; 4]>) -> Vec<u8> {
        let mut all = vec![0; HEADER + 12];
        all[HEADER] = if bridge { 7 } else { 2 };
        all[HEADER + 4] = index;
        all.extend(to.map(|own| attribute(1, &own)).unwrap_or_default());
        all.extend(attribute(2, &[2, 0, 0, 0, 0, hardware]));
        all
    }

    #[test]
    fn who_is_behind_which_end_is_learned() {
        let link = |index: u32, name: &str, kind, master: Option<&str>| Link {
            master: master.map(|own| own.parse().expect("a name")),
            ..Link::new(index, name.parse().expect("a name"), kind)
        };
        let links =
            [link(7, "t0", LinkKind::Vxlan, Some("br0")), link(8, "br0", LinkKind::Bridge, None)];
        let mut learned = Forwarding::default();
        for message in [
            // Two ends and a group; two neighbours on the bridge, of whom one is behind an end.
            entry(true, 7, 0, Some([239, 1, 1, 1])),
            entry(true, 7, 1, Some(PEER)),
            entry(true, 7, 2, Some([198, 51, 100, 8])),
            entry(true, 7, 1, None),
            entry(false, 8, 1, Some([10, 9, 0, 2])),
            entry(false, 8, 3, Some([10, 9, 0, 3])),
        ] {
            learned.take(&message);
        }
        let mut tunnels = vec![Tunnel {
            interface: "t0".parse().expect("a name"),
            protocol: Protocol::UDP,
            local: None,
            port: 4789,
            peers: vec![TunnelPeer { endpoint: None, allowed: Vec::new() }],
        }];
        learned.place(&mut tunnels, &links);
        let names: Vec<&str> = tunnels.iter().map(|own| own.interface.as_str()).collect();
        assert_eq!(names, ["t0", "br0"]);
        let end = |address: [u8; 4], behind: &[&str]| TunnelPeer {
            endpoint: Some(SocketAddr::new(address.into(), 0)),
            allowed: behind.iter().map(|own| own.parse().expect("a prefix")).collect(),
        };
        assert_eq!(tunnels[0].peers, [end(PEER, &[]), end([198, 51, 100, 8], &[])]);
        assert_eq!(tunnels[1].peers, [end(PEER, &["10.9.0.2/32"])]);
    }
}
