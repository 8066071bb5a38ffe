//! Connection tracking's table and the sockets → the connections that came in and are open.
//!
//! In: what the kernel tracks (ctnetlink; numbers are those of linux/netfilter/nfnetlink_conntrack.h)
//! and the sockets, for connections that nothing tracked when they were opened. Out: each once, with
//! what the client dialled and who answers it.

use super::netlink::{Channel, HEADER, NetlinkError, attributes};
use super::{Flow, Link, LinkKind, Route, Socket, SocketState, routing};
use crate::model::{IfaceName, Protocol};
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
/// The length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_STATUS`, `CTA_PROTOINFO`, `CTA_TIMESTAMP`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOINFO: u16 = 4;
const TIMESTAMP: u16 = 20;
/// `IPS_SEEN_REPLY`.
const SEEN_REPLY: u32 = 2;
/// `TCP_CONNTRACK_ESTABLISHED`.
const ESTABLISHED: u8 = 3;
/// How often a dump is taken again when it was interrupted.
const ATTEMPTS: usize = 3;

/// One direction of a connection: protocol, sender, receiver.
type Tuple = (Protocol, SocketAddr, SocketAddr);

/// What the kernel tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tracked {
    original: Tuple,
    reply: Tuple,
    since: Option<jiff::Timestamp>,
}

/// The connections that came in from elsewhere and are open.
pub fn read(
    links: &[Link],
    routes: &[Route],
    sockets: &[Socket],
) -> Result<Vec<Flow>, NetlinkError> {
    let own: BTreeSet<IpAddr> =
        links.iter().flat_map(|link| &link.addresses).map(|own| own.address).collect();
    let is_own = |address: IpAddr| own.contains(&address) || address.is_loopback();
    let interface = |address| routing::interface_to(routes, address).cloned();
    let bridge = |name: &IfaceName| {
        links.iter().any(|link| link.name == *name && link.kind == LinkKind::Bridge)
    };
    let mut flows: Vec<Flow> = tracked()?
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
    Ok(flows)
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

fn tracked() -> Result<Vec<Tracked>, NetlinkError> {
    let mut entries = Vec::new();
    for attempt in 1.. {
        entries.clear();
        let mut channel = Channel::open(NETLINK_NETFILTER)?;
        let asked = channel.ask(GET, NLM_F_DUMP, &[0; NFGENMSG], |message| {
            entries.extend(message.get(HEADER + NFGENMSG..).and_then(parse));
        });
        match asked {
            Err(NetlinkError::Interrupted) if attempt < ATTEMPTS => {}
            // Connections come and go all the time; what was there throughout is told even so.
            Ok(()) | Err(NetlinkError::Interrupted) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// An entry that is open in both directions.
fn parse(entry: &[u8]) -> Option<Tracked> {
    let status = inside(entry, STATUS)?;
    let original = tuple(inside(entry, ORIGINAL)?)?;
    if u32::from_be_bytes(status.try_into().ok()?) & SEEN_REPLY == 0 {
        return None;
    }
    if original.0 == Protocol::TCP {
        let state = inside(entry, PROTOINFO).and_then(|info| inside(inside(info, 1)?, 1));
        if state.is_some_and(|state| state != [ESTABLISHED]) {
            return None;
        }
    }
    let start = inside(entry, TIMESTAMP).and_then(|stamp| inside(stamp, 1));
    let start = start.and_then(|start| Some(u64::from_be_bytes(start.try_into().ok()?)));
    Some(Tracked {
        original,
        reply: tuple(inside(entry, REPLY)?)?,
        since: start.and_then(|start| jiff::Timestamp::from_nanosecond(start.into()).ok()),
    })
}

fn inside(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// `CTA_TUPLE_*`, of a protocol that has ports.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (addresses, protocol) = (inside(bytes, 1)?, inside(bytes, 2)?);
    let address = |four, six| -> Option<IpAddr> {
        match (inside(addresses, four), inside(addresses, six)) {
            (Some(value), _) => Some(<[u8; 4]>::try_from(value).ok()?.into()),
            (None, Some(value)) => Some(<[u8; 16]>::try_from(value).ok()?.into()),
            (None, None) => None,
        }
    };
    let port = |kind| Some(u16::from_be_bytes(inside(protocol, kind)?.try_into().ok()?));
    let number = Protocol(*inside(protocol, 1)?.first()?);
    let end = |four, six, kind| Some(SocketAddr::new(address(four, six)?, port(kind)?));
    // ICMP has an id where others have ports, under another number.
    Some((number, end(1, 3, 2)?, end(2, 4, 3)?))
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attribute;
    use super::*;

    const NESTED: u16 = 0x8000;

    fn ends(from: ([u8; 4], u16), to: ([u8; 4], u16), protocol: u8) -> Vec<u8> {
        let addresses = [attribute(1, &from.0), attribute(2, &to.0)].concat();
        let ports = [
            attribute(1, &[protocol]),
            attribute(2, &from.1.to_be_bytes()),
            attribute(3, &to.1.to_be_bytes()),
        ];
        [attribute(1 | NESTED, &addresses), attribute(2 | NESTED, &ports.concat())].concat()
    }

    fn entry(protocol: u8, status: u32, state: u8) -> Vec<u8> {
        let (client, host) = (([203, 0, 113, 1], 50000), ([203, 0, 113, 10], 5432));
        let container = ([172, 17, 0, 2], 5432);
        let info = attribute(1 | NESTED, &attribute(1, &[state]));
        [
            attribute(ORIGINAL | NESTED, &ends(client, host, protocol)),
            attribute(REPLY | NESTED, &ends(container, client, protocol)),
            attribute(STATUS, &status.to_be_bytes()),
            attribute(PROTOINFO | NESTED, &info),
            attribute(TIMESTAMP | NESTED, &attribute(1, &1_500_000_000_u64.to_be_bytes())),
        ]
        .concat()
    }

    #[test]
    fn an_open_connection_is_read_with_what_was_dialled_and_who_answers() {
        let read = parse(&entry(6, SEEN_REPLY, ESTABLISHED)).expect("is open");
        let at = |text: &str| text.parse::<SocketAddr>().expect("valid");
        assert_eq!(
            read,
            Tracked {
                original: (Protocol::TCP, at("203.0.113.1:50000"), at("203.0.113.10:5432")),
                reply: (Protocol::TCP, at("172.17.0.2:5432"), at("203.0.113.1:50000")),
                since: jiff::Timestamp::from_millisecond(1500).ok(),
            }
        );
    }

    #[test]
    fn what_is_not_open_both_ways_is_none() {
        assert_eq!(parse(&entry(6, 0, ESTABLISHED)), None, "nobody has answered");
        assert_eq!(parse(&entry(6, SEEN_REPLY, 7)), None, "it is being closed");
        let whole = entry(6, SEEN_REPLY, ESTABLISHED);
        for length in 0..whole.len() - 20 {
            let _ = parse(&whole[..length]);
        }
    }
}
