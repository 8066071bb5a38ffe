//! A [`Snapshot`] → what can be dialled on the host, and who serves it.
//!
//! Pure. Sorted, each endpoint once. The many sockets of one service on one port are one endpoint;
//! a proxy's socket is the published port that it serves, or the proxy path where nothing
//! translates to the container.

use super::{Container, ContainerState, PublishedPort, Snapshot, Socket, SocketState};
use crate::model::{Bind, Endpoint, IpFamily, Owner, PortRange, ServedBy};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Processes that carry what is sent to a published port.
const PROXIES: [&str; 2] = ["docker-proxy", "rootlessport"];
/// Processes that may do so, or only hold a published port so that nobody else takes it.
const PERHAPS_PROXIES: [&str; 4] = ["conmon", "dockerd", "pasta", "slirp4netns"];

/// Everything that can be dialled.
pub fn endpoints(snapshot: &Snapshot) -> Vec<Endpoint> {
    let offers = offers(snapshot);
    let mut sockets = BTreeSet::new();
    for socket in &snapshot.sockets {
        let Ok(ports) = PortRange::single(socket.local.port()) else { continue };
        if socket.state == SocketState::Listening {
            match &socket.namespace {
                Some(container) => sockets.extend(routed(snapshot, socket, ports, container)),
                None => sockets.extend(on_host(socket, ports, &offers)),
            }
        }
    }
    let mut found = both_versions(&sockets);
    found.extend(ranges(offers.iter().filter_map(Offer::endpoint).collect()));
    found.into_iter().collect()
}

/// A port that a running container publishes.
struct Offer<'a> {
    container: &'a Container,
    port: &'a PublishedPort,
    /// The container's address that the engine translates to. `None` where it has none of this IP
    /// version on a bridge of the host: then only a proxy can serve it.
    to: Option<IpAddr>,
}

impl Offer<'_> {
    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint {
            protocol: self.port.protocol,
            ports: PortRange::single(self.port.host_port).ok()?,
            bind: bind_of(self.port.host_address, true),
            device: None,
            owner: Owner { container: Some(self.container.name.clone()), ..Owner::default() },
            served_by: ServedBy::Published {
                to: Some(self.to?),
                to_port: self.port.container_port,
            },
        })
    }
}

fn offers(snapshot: &Snapshot) -> Vec<Offer<'_>> {
    let mut found = Vec::new();
    for engine in &snapshot.engines {
        let bridged = |network: &String| {
            engine
                .networks
                .iter()
                .find(|own| own.name == *network)
                .is_none_or(|own| matches!(own.driver.as_str(), "bridge" | "overlay"))
        };
        for container in &engine.containers {
            if container.state != ContainerState::Running || container.host_network {
                continue;
            }
            for port in &container.published {
                let family = IpFamily::of(port.host_address);
                let to = container
                    .addresses
                    .iter()
                    .filter(|(network, _)| bridged(network))
                    .flat_map(|(_, addresses)| addresses)
                    .find(|address| IpFamily::of(**address) == family)
                    .copied();
                found.push(Offer { container, port, to });
            }
        }
    }
    found
}

/// The endpoints of a socket of the host, one for each IP version that it serves by itself.
fn on_host(socket: &Socket, ports: PortRange, offers: &[Offer<'_>]) -> Vec<Endpoint> {
    let owner = representative(&socket.owners);
    let name = owner.process.as_deref().unwrap_or_default();
    let is_proxy = PROXIES.contains(&name);
    let mut found = Vec::new();
    for bind in versions(bind_of(socket.local.ip(), socket.v6only)) {
        let mut owner = owner.clone();
        let mut served_by = if is_proxy { ServedBy::Proxy } else { ServedBy::HostSocket };
        let offer = offers.iter().find(|offer| {
            offer.port.protocol == socket.protocol
                && offer.port.host_port == ports.first()
                && bind_of(offer.port.host_address, true) == bind
        });
        if let Some(offer) = offer
            && (is_proxy || PERHAPS_PROXIES.contains(&name))
        {
            if offer.to.is_some() {
                continue; // Translated before this socket could see it.
            }
            served_by = ServedBy::Proxy;
            owner.container = Some(offer.container.name.clone());
        }
        found.push(Endpoint {
            protocol: socket.protocol,
            ports,
            bind,
            device: socket.device.clone(),
            owner,
            served_by,
        });
    }
    found
}

/// The container's own addresses on which a socket inside it answers whoever routes to them.
fn routed(snapshot: &Snapshot, socket: &Socket, ports: PortRange, name: &str) -> Vec<Endpoint> {
    let bind = bind_of(socket.local.ip(), socket.v6only);
    let mut found = Vec::new();
    for container in snapshot.engines.iter().flat_map(|engine| &engine.containers) {
        if container.name != name || container.state != ContainerState::Running {
            continue;
        }
        for (network, addresses) in &container.addresses {
            found.extend(addresses.iter().filter(|address| bind.covers(**address)).map(
                |address| {
                    let mut owner = representative(&socket.owners);
                    owner.container.get_or_insert_with(|| name.to_owned());
                    Endpoint {
                        protocol: socket.protocol,
                        ports,
                        bind: Bind::Address(*address),
                        device: None,
                        owner,
                        served_by: ServedBy::Routed { network: network.clone() },
                    }
                },
            ));
        }
    }
    found
}

/// Who stands for a socket that several share: the first with a unit, else the first.
fn representative(owners: &[Owner]) -> Owner {
    owners.iter().find(|owner| owner.unit.is_some()).or(owners.first()).cloned().unwrap_or_default()
}

fn bind_of(address: IpAddr, v6only: bool) -> Bind {
    match address {
        address if !address.is_unspecified() => Bind::Address(address),
        IpAddr::V4(_) => Bind::AnyIpv4,
        IpAddr::V6(_) if v6only => Bind::AnyIpv6,
        IpAddr::V6(_) => Bind::Any,
    }
}

fn versions(bind: Bind) -> Vec<Bind> {
    match bind {
        Bind::Any => vec![Bind::AnyIpv4, Bind::AnyIpv6],
        one @ (Bind::AnyIpv4 | Bind::AnyIpv6 | Bind::Address(_)) => vec![one],
    }
}

/// Joins what is the same but for the IP version, as with one socket for each.
fn both_versions(sockets: &BTreeSet<Endpoint>) -> BTreeSet<Endpoint> {
    let with = |endpoint: &Endpoint, bind| Endpoint { bind, ..endpoint.clone() };
    sockets
        .iter()
        .map(|endpoint| {
            let other = match endpoint.bind {
                Bind::AnyIpv4 => Bind::AnyIpv6,
                Bind::AnyIpv6 => Bind::AnyIpv4,
                Bind::Any | Bind::Address(_) => return endpoint.clone(),
            };
            if sockets.contains(&with(endpoint, other)) {
                with(endpoint, Bind::Any)
            } else {
                endpoint.clone()
            }
        })
        .collect()
}

/// Joins neighbouring ports that are published one to one (`9000-9010:9000-9010/udp`).
fn ranges(published: BTreeSet<Endpoint>) -> Vec<Endpoint> {
    let mut published: Vec<Endpoint> = published.into_iter().collect();
    let same = |a: &Endpoint| (a.protocol, a.bind, a.owner.clone());
    published.sort_by_key(|endpoint| (same(endpoint), endpoint.ports));
    let mut found: Vec<Endpoint> = Vec::new();
    for endpoint in published {
        if let Some(last) = found.last_mut()
            && same(last) == same(&endpoint)
            && follows(last, &endpoint)
            && let Ok(ports) = PortRange::new(last.ports.first(), endpoint.ports.last())
        {
            last.ports = ports;
        } else {
            found.push(endpoint);
        }
    }
    found
}

/// Whether the port is the next one behind the range, on both sides of the translation.
fn follows(range: &Endpoint, next: &Endpoint) -> bool {
    let (
        ServedBy::Published { to, to_port },
        ServedBy::Published { to: next_to, to_port: next_port },
    ) = (&range.served_by, &next.served_by)
    else {
        return false;
    };
    let length = u32::from(range.ports.last() - range.ports.first()) + 1;
    to == next_to
        && u32::from(range.ports.last()) + 1 == u32::from(next.ports.first())
        && u32::from(*to_port) + length == u32::from(*next_port)
}
