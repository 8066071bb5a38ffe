//! The little of a host that the table must name.
//!
//! Everything else is left to the kernel to recognise at run time (kinds of interfaces, local
//! addresses), so that the same rules are right after a reboot and for containers made tomorrow.

use crate::model::nft::{Element, ElementKey, Family, Table};
use crate::model::{IfaceName, Protocol};
use crate::observe::{Link, LinkKind, Route, Snapshot, SocketState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The sets that carry connections over, by protocol and IP version.
pub const CARRIED_SETS: [&str; 4] =
    ["carried_tcp_4", "carried_tcp_6", "carried_udp_4", "carried_udp_6"];

/// What the table must name of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Bridges that carry an uplink, and so are no container networks; sorted.
    pub uplink_bridges: Vec<IfaceName>,
    /// Interfaces that hold a default route; sorted.
    pub default_route_interfaces: Vec<IfaceName>,
    /// Ports of VRFs, which the hooks behind prerouting see as the VRF; sorted.
    pub vrf_ports: Vec<IfaceName>,
    /// Container engines' bridges that are ports of a VRF, with that; sorted.
    pub vrf_bridges: Vec<(IfaceName, IfaceName)>,
    /// The bridge of each container network, by the network's name.
    pub networks: BTreeMap<String, IfaceName>,
    /// Connections that nothing tracked before and that must go on.
    pub carried: Carried,
}

/// Connections that were established before anything tracked them. To the first rule that asks,
/// their packets look like those of new connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Carried {
    /// None, and the table has no place for them.
    #[default]
    None,
    /// The live table still has sets for them; they stay until they run out.
    Live,
    /// These, by protocol, remote and local end; sorted.
    Connections(Vec<(Protocol, SocketAddr, SocketAddr)>),
}

impl Environment {
    /// What the table must name of the host of this snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let networks = snapshot
            .engines
            .iter()
            .flat_map(|engine| &engine.networks)
            .filter_map(|network| Some((network.name.clone(), network.bridge.clone()?)))
            .collect();
        let carried = Carried::of(snapshot);
        Self { networks, carried, ..Self::of_links(&snapshot.links, &snapshot.routes) }
    }

    /// What it must name of interfaces and routes alone.
    pub fn of_links(links: &[Link], routes: &[Route]) -> Self {
        let vrf = |port: &Link| {
            let is = |link: &&Link| {
                link.kind == LinkKind::Vrf && Some(&link.name) == port.master.as_ref()
            };
            links.iter().find(is).map(|vrf| (port.name.clone(), vrf.name.clone()))
        };
        let in_vrf: BTreeMap<IfaceName, IfaceName> = links.iter().filter_map(vrf).collect();
        let default_route_interfaces: BTreeSet<IfaceName> = routes
            .iter()
            .filter(|route| route.is_default())
            .filter_map(|route| route.interface.as_ref())
            .flat_map(|name| std::iter::once(name).chain(in_vrf.get(name)))
            .cloned()
            .collect();
        let is_uplink = |bridge: &IfaceName| {
            default_route_interfaces.contains(bridge)
                || links.iter().any(|port| {
                    port.master.as_ref() == Some(bridge)
                        && !matches!(port.kind, LinkKind::Veth | LinkKind::Tun)
                })
        };
        let uplink_bridges: BTreeSet<IfaceName> = links
            .iter()
            .filter(|link| link.kind == LinkKind::Bridge && is_uplink(&link.name))
            .map(|link| link.name.clone())
            .collect();
        let is_container = |name: &IfaceName| {
            let bridge = |link: &Link| link.kind == LinkKind::Bridge && link.name == *name;
            links.iter().any(bridge) && !uplink_bridges.contains(name)
        };
        Self {
            vrf_ports: in_vrf.keys().cloned().collect(),
            vrf_bridges: in_vrf
                .iter()
                .filter(|(port, _)| is_container(port))
                .map(|(port, vrf)| (port.clone(), vrf.clone()))
                .collect(),
            uplink_bridges: uplink_bridges.into_iter().collect(),
            default_route_interfaces: default_route_interfaces.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Environment {
    /// The container engines' interfaces as the table recognises them: bridges without an uplink.
    pub fn container_interfaces(&self, snapshot: &Snapshot) -> BTreeSet<IfaceName> {
        snapshot
            .links
            .iter()
            .filter(|link| link.kind == LinkKind::Bridge)
            .filter(|link| !self.uplink_bridges.contains(&link.name))
            .map(|link| link.name.clone())
            .collect()
    }
}

impl Carried {
    /// On a first apply every live connection is carried over: what was idle since before
    /// something began to track connections has no entry, whoever tracks now. Later the live
    /// table's own sets tell.
    fn of(snapshot: &Snapshot) -> Self {
        if let Some(table) = snapshot.ruleset.table(Family::Inet, super::TABLE) {
            return Self::in_table(table);
        }
        let connections: BTreeSet<(Protocol, SocketAddr, SocketAddr)> = snapshot
            .sockets
            .iter()
            .filter(|socket| socket.namespace.is_none() && socket.state == SocketState::Connected)
            .filter(|socket| matches!(socket.protocol, Protocol::TCP | Protocol::UDP))
            .filter_map(|socket| Some((socket.protocol, socket.remote?, socket.local)))
            .map(|(protocol, remote, local)| (protocol, unmapped(remote), unmapped(local)))
            .filter(|(_, remote, local)| !remote.ip().is_loopback() && !local.ip().is_loopback())
            .filter(|(_, remote, local)| remote.is_ipv4() == local.is_ipv4())
            .collect();
        if connections.is_empty() {
            Self::None
        } else {
            Self::Connections(connections.into_iter().collect())
        }
    }

    /// Whether this live table of ours still carries connections over.
    pub fn in_table(table: &Table) -> Self {
        let mut sets = CARRIED_SETS.iter().filter_map(|name| table.set(name));
        if sets.any(|set| !set.elements.listed().is_empty()) { Self::Live } else { Self::None }
    }

    /// The elements of one of [`CARRIED_SETS`].
    pub(super) fn elements(&self, protocol: Protocol, ipv4: bool) -> Vec<Element> {
        let Self::Connections(connections) = self else { return Vec::new() };
        let wanted = connections
            .iter()
            .filter(|(own, remote, _)| *own == protocol && remote.is_ipv4() == ipv4);
        let mut elements: Vec<Element> = wanted
            .map(|(_, remote, local)| {
                let mut key = Vec::with_capacity(40);
                for end in [remote, local] {
                    match end.ip() {
                        IpAddr::V4(address) => key.extend(address.octets()),
                        IpAddr::V6(address) => key.extend(address.octets()),
                    }
                    // A field of a concatenation fills whole 32-bit registers.
                    key.extend(end.port().to_be_bytes());
                    key.extend([0, 0]);
                }
                Element::new(ElementKey::Value(key.into()))
            })
            .collect();
        elements.sort_by(|a, b| a.key.cmp(&b.key));
        elements.dedup();
        elements
    }
}

/// An IPv4-mapped IPv6 address is IPv4 on the wire (RFC 4291, 2.5.5.2). Scopes do not reach it.
fn unmapped(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{CompileError, compile};
    use crate::policy::load_shipped;

    #[test]
    fn a_bridge_of_containers_in_a_vrf_is_an_error() {
        let name = |text: &str| text.parse::<IfaceName>().expect("a name");
        let link = |index, own: &str, kind| Link::new(index, name(own), kind);
        let in_vrf = |link| Link { master: Some(name("blue")), ..link };
        let mut links = vec![
            link(1, "blue", LinkKind::Vrf),
            in_vrf(link(2, "eth1", LinkKind::Physical)),
            link(3, "br0", LinkKind::Bridge),
        ];
        let policy = load_shipped("ssh-only").expect("is valid").policy;
        let environment = Environment::of_links(&links, &[]);
        assert_eq!(environment.vrf_ports, [name("eth1")]);
        assert!(compile(&policy, &environment).is_ok());
        links[2] = in_vrf(links[2].clone());
        let error = CompileError::ContainersInVrf { bridge: name("br0"), vrf: name("blue") };
        assert_eq!(compile(&policy, &Environment::of_links(&links, &[])), Err(vec![error]));
    }
}
