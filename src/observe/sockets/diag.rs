//! The kernel's socket diagnosis (`NETLINK_SOCK_DIAG`, sock_diag(7)) → the sockets of the network
//! namespace that the calling thread is in.
//!
//! Where the kernel has no diagnosis for a protocol (SCTP without `sctp_diag`), and for raw
//! sockets, `/proc/thread-self/net` is read instead. Addresses of IPv4 inside IPv6
//! (`::ffff:192.0.2.1`) come out as IPv4.

use super::in_use::InUse;
use crate::model::Protocol;
use crate::observe::SocketState;
use crate::observe::netlink::{Channel, HEADER, NetlinkError, attributes, u32_at, whole};
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A socket as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSocket {
    /// The protocol.
    pub protocol: Protocol,
    /// The local address and port.
    pub local: SocketAddr,
    /// The other end, if it is connected.
    pub remote: Option<SocketAddr>,
    /// What it is doing.
    pub state: SocketState,
    /// `IPV6_V6ONLY`.
    pub v6only: bool,
    /// The index of the interface that it is bound to; 0 for none.
    pub device: u32,
    /// The user id of its owner.
    pub uid: u32,
    /// Its inode; 0 where no process holds it any more.
    pub inode: u64,
    /// The kernel's own name for it (`idiag_cookie`): no other socket has, or had, the same. Zeroes
    /// where `/proc` was read.
    pub cookie: [u8; 8],
}

/// The length of `struct inet_diag_msg` (linux/inet_diag.h).
const MESSAGE: usize = 72;
/// The older request (linux/inet_diag.h), which asks for TCP sockets of both IP versions.
const TCPDIAG_GETSOCK: u16 = 18;
/// `INET_DIAG_SKV6ONLY`.
const SKV6ONLY: u16 = 11;
/// `TCP_CLOSE`, `TCP_LISTEN` (net/tcp_states.h).
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// What a kernel answers that has no diagnosis for a protocol.
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
/// How often a dump is taken again when it was interrupted.
const ATTEMPTS: usize = 3;

/// Reads all sockets that a packet from outside could reach, and live connections.
///
/// The second value names the protocols that the kernel does not tell.
pub fn read() -> Result<(Vec<RawSocket>, Vec<Protocol>), NetlinkError> {
    read_states(true)
}

/// The same without TCP and SCTP connections: for those the kernel goes through one table of the
/// connections of all namespaces each time, which takes as long as all the rest.
pub fn read_listening() -> Result<(Vec<RawSocket>, Vec<Protocol>), NetlinkError> {
    read_states(false)
}

/// The TCP connections of the calling thread's namespace, also those that are being opened.
pub fn read_connections() -> Result<Vec<RawSocket>, NetlinkError> {
    let mut channel = Channel::open(NETLINK_SOCK_DIAG)?;
    let mut sockets = Vec::new();
    tcp(&mut channel, &InUse::read(), &live(), &mut sockets)?;
    sockets.retain(|socket| socket.remote.is_some());
    Ok(sockets)
}

/// A socket that only waits for the last packets of a closed connection (`TIME_WAIT`) is left
/// out: nothing is lost with it.
fn live() -> StateFlags {
    StateFlags::ESTABLISHED
        | StateFlags::SYN_SENT
        | StateFlags::SYN_RECV
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING
}

fn read_states(connections: bool) -> Result<(Vec<RawSocket>, Vec<Protocol>), NetlinkError> {
    let mut channel = Channel::open(NETLINK_SOCK_DIAG)?;
    let mut sockets = Vec::new();
    let mut untold = Vec::new();
    let stream = if connections { live() | StateFlags::LISTEN } else { StateFlags::LISTEN };
    // Datagram sockets that anyone may send to are in state CLOSE.
    let datagram = StateFlags::ESTABLISHED | StateFlags::CLOSE;
    let in_use = InUse::read();
    match tcp(&mut channel, &in_use, &stream, &mut sockets) {
        Ok(()) => {}
        Err(NetlinkError::Kernel(ENOENT | EINVAL)) => untold.push(Protocol::TCP),
        Err(error) => return Err(error),
    }
    for (protocol, states) in
        [(Protocol::UDP, &datagram), (Protocol::UDPLITE, &datagram), (Protocol::SCTP, &stream)]
    {
        for family in [AF_INET, AF_INET6] {
            if in_use.none_of(protocol, family == AF_INET6) {
                continue;
            }
            match dump(&mut channel, family, protocol, states, &mut sockets) {
                Ok(()) => {}
                // Not built in, or not loaded: then there are no such sockets, save where the
                // protocol is loaded without its diagnosis.
                Err(NetlinkError::Kernel(ENOENT | EINVAL)) => {
                    if protocol == Protocol::SCTP && family == AF_INET {
                        super::proc_net::sctp(&mut sockets);
                    } else if protocol == Protocol::UDP {
                        untold.push(protocol);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    super::proc_net::raw(&mut sockets);
    untold.dedup();
    // As they are told in the end: later each is longer, by its owners.
    sockets.sort_unstable_by(|a, b| {
        let kind = |raw: &RawSocket| (raw.protocol, raw.state);
        let ends = || a.local.cmp(&b.local).then_with(|| a.remote.cmp(&b.remote));
        kind(a).cmp(&kind(b)).then_with(ends)
    });
    Ok((sockets, untold))
}

/// TCP sockets of both IP versions. The kernel goes through one table of the connections of all
/// namespaces for each question; the older form of it asks for both versions at once.
fn tcp(
    channel: &mut Channel,
    in_use: &InUse,
    states: &StateFlags,
    sockets: &mut Vec<RawSocket>,
) -> Result<(), NetlinkError> {
    let families = [AF_INET, AF_INET6];
    let some: Vec<u8> = families
        .into_iter()
        .filter(|family| !in_use.none_of(Protocol::TCP, *family == AF_INET6))
        .collect();
    if some.len() == families.len() {
        let before = sockets.len();
        match dump_both(channel, states, sockets) {
            // The newer form is for every kernel.
            Err(NetlinkError::Kernel(_)) => sockets.truncate(before),
            other => return other,
        }
    }
    some.into_iter().try_for_each(|family| dump(channel, family, Protocol::TCP, states, sockets))
}

/// TCP sockets of both IP versions by `struct inet_diag_req` (linux/inet_diag.h).
fn dump_both(
    channel: &mut Channel,
    states: &StateFlags,
    sockets: &mut Vec<RawSocket>,
) -> Result<(), NetlinkError> {
    // Family, prefix lengths and extensions, and which socket: none of them asked for.
    let mut request = vec![0; 52];
    request.extend(states.bits().to_ne_bytes());
    // `idiag_dbs`: tables, of which the kernel chooses by the states.
    request.extend([0; 4]);
    taken_whole(sockets, |sockets| {
        channel.ask(TCPDIAG_GETSOCK, NLM_F_DUMP, &request, |message| {
            if let Some(body) = message.get(HEADER..) {
                sockets.extend(parse(Protocol::TCP, body));
            }
        })
    })
}

fn dump(
    channel: &mut Channel,
    family: u8,
    protocol: Protocol,
    states: &StateFlags,
    sockets: &mut Vec<RawSocket>,
) -> Result<(), NetlinkError> {
    taken_whole(sockets, |sockets| {
        let request = InetRequest {
            family,
            protocol: protocol.0,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
        };
        channel.dump(SockDiagMessage::InetRequest(request), |message| {
            if let Some(body) = message.get(HEADER..) {
                sockets.extend(parse(protocol, body));
            }
        })
    })
}

/// Takes a dump again where it was interrupted, and what there is of it in the end.
fn taken_whole(
    sockets: &mut Vec<RawSocket>,
    mut take: impl FnMut(&mut Vec<RawSocket>) -> Result<(), NetlinkError>,
) -> Result<(), NetlinkError> {
    let before = sockets.len();
    let taken = whole(ATTEMPTS, || {
        sockets.truncate(before);
        take(sockets)
    });
    match taken {
        // Sockets come and go all the time; what was there throughout is told even so.
        Err(NetlinkError::Interrupted) => Ok(()),
        other => other,
    }
}

/// Whether these bytes tell a socket.
pub(super) fn is_socket(body: &[u8]) -> bool {
    parse(Protocol::TCP, body).is_some()
}

/// Reads `struct inet_diag_msg` and its attributes; `None` for what is no endpoint.
fn parse(protocol: Protocol, body: &[u8]) -> Option<RawSocket> {
    let family = *body.first()?;
    let state = *body.get(1)?;
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let device = u32_at(body, 40)?;
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            AF_INET => {
                Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?).into())
            }
            AF_INET6 => {
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?).into())
            }
            _ => None,
        }
    };
    let local = with_scope(address(8)?.to_canonical(), port(4)?, device);
    let remote = with_scope(address(24)?.to_canonical(), port(6)?, device);
    let state = match state {
        LISTEN | CLOSE => SocketState::Listening,
        _ => SocketState::Connected,
    };
    if local.port() == 0 {
        return None; // Not bound yet.
    }
    let v6only = attributes(body.get(MESSAGE..)?)
        .any(|(kind, value)| kind == SKV6ONLY && value.first().is_some_and(|flag| *flag != 0));
    Some(RawSocket {
        protocol,
        local,
        remote: (state == SocketState::Connected).then_some(remote),
        state,
        v6only,
        device,
        uid: u32_at(body, 64)?,
        inode: u32_at(body, 68)?.into(),
        cookie: body.get(44..52)?.try_into().ok()?,
    })
}

/// The socket address; a link-local one with its interface.
fn with_scope(address: IpAddr, port: u16, device: u32) -> SocketAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, port, 0, device).into()
        }
        address => SocketAddr::new(address, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(family: u8, state: u8, local: [u8; 16], port: u16, v6only: Option<u8>) -> Vec<u8> {
        let mut body = vec![0; MESSAGE];
        body[0] = family;
        body[1] = state;
        body[4..6].copy_from_slice(&port.to_be_bytes());
        body[8..24].copy_from_slice(&local);
        body[64..68].copy_from_slice(&33_u32.to_ne_bytes());
        body[68..72].copy_from_slice(&77_u32.to_ne_bytes());
        if let Some(flag) = v6only {
            body.extend([5, 0, 11, 0, flag, 0, 0, 0]);
        }
        body
    }

    #[test]
    fn a_listener_is_read_whole() {
        let body = message(AF_INET6, LISTEN, [0; 16], 22, Some(1));
        let expected = RawSocket {
            protocol: Protocol::TCP,
            local: "[::]:22".parse().expect("valid"),
            remote: None,
            state: SocketState::Listening,
            v6only: true,
            device: 0,
            uid: 33,
            inode: 77,
            cookie: [0; 8],
        };
        assert_eq!(parse(Protocol::TCP, &body), Some(expected));
        for length in 0..MESSAGE {
            assert_eq!(parse(Protocol::TCP, &body[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[255, 255, 192, 0, 2, 1]);
        let socket = parse(Protocol::TCP, &message(AF_INET6, 1, mapped, 22, None));
        assert_eq!(socket.expect("read").local, "192.0.2.1:22".parse().expect("valid"));
    }

    #[test]
    fn a_socket_without_a_port_is_no_endpoint() {
        assert_eq!(parse(Protocol::UDP, &message(AF_INET, CLOSE, [0; 16], 0, None)), None);
    }
}
