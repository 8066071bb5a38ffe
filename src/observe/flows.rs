//! Connection tracking's table and the sockets → the connections that came in and are open.
//!
//! In: what the kernel tracks ([`Tracked`]) and the sockets, for connections that nothing tracked
//! when they were opened. Out: each once, with what the client dialled and who answers it.

use super::conntrack::{Tracked, Tuple};
use super::{Flow, Link, LinkKind, Route, Socket, SocketState, routing};
use crate::model::{IfaceName, Protocol};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The connections that came in from elsewhere and are open, of those that the kernel tracks and of
/// the sockets.
pub fn read(
    tracked: Vec<Tracked>,
    links: &[Link],
    routes: &[Route],
    sockets: &[Socket],
) -> Vec<Flow> {
    let own: BTreeSet<IpAddr> =
        links.iter().flat_map(|link| &link.addresses).map(|own| own.address).collect();
    let is_own = |address: IpAddr| own.contains(&address) || address.is_loopback();
    let interface = |address| routing::interface_to(routes, address).cloned();
    let bridge = |name: &IfaceName| {
        links.iter().any(|link| link.name == *name && link.kind == LinkKind::Bridge)
    };
    let mut flows: Vec<Flow> = tracked
        .into_iter()
        .filter(|entry| !is_own(entry.original.1.ip()))
        .map(|entry| Flow {
            protocol: entry.original.0,
            source: entry.original.1,
            dialled: entry.original.2,
            served: entry.reply.1,
            seen: entry.reply.2,
            interface: interface(entry.original.1.ip()),
            since: entry.since,
            tracked: true,
        })
        // To the host, translated by it, or to a network of containers.
        .filter(|flow| {
            is_own(flow.dialled.ip())
                || flow.served != flow.dialled
                || interface(flow.served.ip()).is_some_and(|name| bridge(&name))
        })
        .collect();
    let rest: Vec<Tuple> = untracked(sockets, &flows, is_own).collect();
    flows.extend(rest.into_iter().map(|(protocol, source, local)| Flow {
        protocol,
        source,
        dialled: local,
        served: local,
        seen: source,
        interface: interface(source.ip()),
        since: None,
        tracked: false,
    }));
    flows.sort();
    flows.dedup();
    flows
}

/// Connections of the host's own sockets that no entry speaks of, to ports at which it listens.
fn untracked<'s>(
    sockets: &'s [Socket],
    flows: &'s [Flow],
    is_own: impl Fn(IpAddr) -> bool + 's,
) -> impl Iterator<Item = Tuple> + 's {
    let known: BTreeSet<(Protocol, SocketAddr, SocketAddr)> =
        flows.iter().map(|flow| (flow.protocol, flow.seen, flow.served)).collect();
    let on_host = || sockets.iter().filter(|socket| socket.namespace.is_none());
    let listening: BTreeSet<(Protocol, u16)> = on_host()
        .filter(|socket| socket.state == SocketState::Listening)
        .map(|socket| (socket.protocol, socket.local.port()))
        .collect();
    on_host()
        .filter(|socket| socket.state == SocketState::Connected && socket.protocol == Protocol::TCP)
        .filter_map(|socket| Some((socket.protocol, socket.remote?, socket.local)))
        .filter(move |(protocol, remote, local)| {
            listening.contains(&(*protocol, local.port()))
                && !is_own(remote.ip())
                && !known.contains(&(*protocol, *remote, *local))
        })
}
