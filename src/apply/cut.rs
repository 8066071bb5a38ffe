//! Connections → closed, so that both ends know.
//!
//! The socket that answers is destroyed (`SOCK_DESTROY`, sock_diag(7)): it sends a reset, and what
//! the other side sends from then on meets no connection. Then the entry in connection tracking
//! goes, so that nothing of it counts as established. The entry alone would not do: a side that
//! goes on sending is let out as a new connection, and what answers it comes in with that. For a
//! container the socket is looked for in its network namespace.

use crate::observe::netlink::{Channel, NetlinkError, attribute};
use crate::observe::{self, Flow};
use netlink_packet_core::NLM_F_ACK;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_SOCK_DIAG};
use nix::libc;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

/// `SOCK_DESTROY` (linux/sock_diag.h).
const DESTROY: u16 = 21;
/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
const NESTED: u16 = 0x8000;

/// What came of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It is closed at the end that answers.
    Closed,
    /// It is not tracked any more, but its socket could not be closed: it ends unless the side that
    /// answers goes on sending by itself.
    Forgotten,
    /// It had ended already.
    Gone,
}

/// Closes connections; the result is in their order.
pub fn cut(flows: &[Flow]) -> Vec<Cut> {
    let mut closed = vec![false; flows.len()];
    destroy(flows, &mut closed);
    if closed.contains(&false) {
        in_other_namespaces(flows, &mut closed);
    }
    let result = |(flow, closed): (&Flow, bool)| match (closed, forget(flow)) {
        (true, _) => Cut::Closed,
        (false, Ok(())) => Cut::Forgotten,
        (false, Err(_)) => Cut::Gone,
    };
    flows.iter().zip(closed).map(result).collect()
}

/// Closes what is answered in another network namespace, on a thread that does not come back.
fn in_other_namespaces(flows: &[Flow], closed: &mut [bool]) {
    let visit = || {
        for path in namespaces().into_values() {
            let Ok(file) = File::open(path) else { continue };
            if move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).is_ok() {
                destroy(flows, closed);
            }
        }
    };
    std::thread::scope(|scope| {
        // What it could not close is forgotten all the same.
        let _ = scope.spawn(visit).join();
    });
}

/// Every network namespace that a process is in, by its number.
fn namespaces() -> BTreeMap<PathBuf, PathBuf> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let of = |entry: std::fs::DirEntry| {
        let path = entry.path().join("ns/net");
        Some((std::fs::read_link(&path).ok()?, path))
    };
    processes.flatten().filter_map(of).collect()
}

/// Destroys the sockets of this thread's namespace that answer, each by its cookie: asked by
/// addresses alone, the kernel takes a listener where there is no connection.
fn destroy(flows: &[Flow], closed: &mut [bool]) {
    let Ok(sockets) = observe::connected() else { return };
    let Ok(mut channel) = Channel::open(NETLINK_SOCK_DIAG) else { return };
    for (flow, closed) in flows.iter().zip(closed) {
        let ends = (flow.protocol, flow.served, flow.seen);
        if let Some(cookie) = sockets.get(&ends).filter(|_| !*closed) {
            *closed = channel.ask(DESTROY, NLM_F_ACK, &request(flow, *cookie), |_| {}).is_ok();
        }
    }
}

/// `struct inet_diag_req_v2` (linux/inet_diag.h): the socket whose own end is `served`.
fn request(flow: &Flow, cookie: [u8; 8]) -> Vec<u8> {
    let address = |end: SocketAddr| match end.ip().to_canonical() {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    };
    let mut bytes = vec![family(flow), flow.protocol.0, 0, 0];
    // All states.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(flow.served.port().to_be_bytes());
    bytes.extend(flow.seen.port().to_be_bytes());
    bytes.extend(address(flow.served));
    bytes.extend(address(flow.seen));
    let scope = match flow.seen {
        SocketAddr::V6(end) => end.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    bytes.extend(scope.to_ne_bytes());
    bytes.extend(cookie);
    bytes
}

/// Deletes the entry in connection tracking.
fn forget(flow: &Flow) -> Result<(), NetlinkError> {
    let addresses = match (flow.source.ip(), flow.dialled.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            [attribute(1, &from.octets()), attribute(2, &to.octets())]
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            [attribute(3, &from.octets()), attribute(4, &to.octets())]
        }
        _ => return Err(NetlinkError::Kernel(libc::ENOENT)),
    };
    let protocol = [
        attribute(1, &[flow.protocol.0]),
        attribute(2, &flow.source.port().to_be_bytes()),
        attribute(3, &flow.dialled.port().to_be_bytes()),
    ];
    let tuple =
        [attribute(1 | NESTED, &addresses.concat()), attribute(2 | NESTED, &protocol.concat())];
    let mut request = vec![family(flow), 0, 0, 0];
    // `CTA_TUPLE_ORIG`.
    request.extend(attribute(1 | NESTED, &tuple.concat()));
    Channel::open(NETLINK_NETFILTER)?.ask(DELETE, NLM_F_ACK, &request, |_| {})
}

fn family(flow: &Flow) -> u8 {
    let family =
        if flow.served.ip().to_canonical().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).expect("is a small number")
}
