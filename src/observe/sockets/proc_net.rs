//! `/proc/thread-self/net/{raw,raw6,sctp/eps}` → sockets that the kernel's diagnosis may not tell.
//!
//! A file that is not there holds no sockets; a line that is not understood is left out.

use super::diag::RawSocket;
use crate::model::Protocol;
use crate::observe::SocketState;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `IPPROTO_RAW`: such sockets only send.
const SEND_ONLY: u8 = 255;
/// `SCTP_SS_LISTENING`, the same number as `TCP_LISTEN`.
const SCTP_LISTENING: &str = "10";

/// Adds raw sockets. Their port is 0, and their protocol the one that they receive.
pub fn raw(sockets: &mut Vec<RawSocket>) {
    for name in ["raw", "raw6"] {
        if let Ok(text) = fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            sockets.extend(text.lines().skip(1).filter_map(raw_line));
        }
    }
}

/// Adds listening SCTP sockets.
pub fn sctp(sockets: &mut Vec<RawSocket>) {
    if let Ok(text) = fs::read_to_string("/proc/thread-self/net/sctp/eps") {
        sockets.extend(text.lines().skip(1).filter_map(sctp_line).flatten());
    }
}

/// How many sockets the lines of either file tell.
pub(super) fn count(text: &str) -> usize {
    let raw = text.lines().filter_map(raw_line).count();
    raw + text.lines().filter_map(sctp_line).flatten().count()
}

/// `sl local remote st queues timer retrnsmt uid timeout inode …`, with the protocol for a port.
fn raw_line(line: &str) -> Option<RawSocket> {
    let mut words = line.split_ascii_whitespace();
    let (address, protocol) = words.nth(1)?.split_once(':')?;
    let protocol = u8::from_str_radix(protocol, 16).ok()?;
    let (remote, _) = words.next()?.split_once(':')?;
    let local = SocketAddr::new(hex_address(address)?.to_canonical(), 0);
    let remote = SocketAddr::new(hex_address(remote)?.to_canonical(), 0);
    let uid = words.nth(4)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    let connected = !remote.ip().is_unspecified();
    (protocol != SEND_ONLY).then_some(RawSocket {
        protocol: Protocol(protocol),
        local,
        remote: connected.then_some(remote),
        state: if connected { SocketState::Connected } else { SocketState::Listening },
        v6only: false,
        device: 0,
        uid,
        inode,
        cookie: [0; 8],
    })
}

/// `ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS…`
fn sctp_line(line: &str) -> Option<Vec<RawSocket>> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, _, _, state, _, port, uid, inode, addresses @ ..] = words.as_slice() else {
        return None;
    };
    if *state != SCTP_LISTENING {
        return None;
    }
    let (port, uid, inode) = (port.parse().ok()?, uid.parse().ok()?, inode.parse().ok()?);
    let listener = |address: &&str| {
        // The primary address has a `*` before it.
        let address: IpAddr = address.trim_start_matches('*').parse().ok()?;
        Some(RawSocket {
            protocol: Protocol::SCTP,
            local: SocketAddr::new(address.to_canonical(), port),
            remote: None,
            state: SocketState::Listening,
            v6only: false,
            device: 0,
            uid,
            inode,
            cookie: [0; 8],
        })
    };
    Some(addresses.iter().filter_map(listener).collect())
}

/// An address as `/proc/net` prints it: words of 32 bits in the host's order.
fn hex_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_sockets_are_read_with_the_protocol_that_they_receive() {
        let line = " 112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000  \
                       0        0 41234 2 0000000000000000 0";
        let socket = raw_line(line).expect("read");
        assert_eq!((socket.protocol, socket.inode, socket.uid), (Protocol(112), 41234, 0));
        assert_eq!(socket.state, SocketState::Listening);
        assert_eq!(socket.local, "0.0.0.0:0".parse().expect("valid"));
        let line = "  58: 00000000000000000000000000000000:003A 00000000000000000000000000000000:0000 \
                    07 00000000:00000000 00:00000000 00000000   998 0 2222 2 0000000000000000 0";
        let socket = raw_line(line).expect("read");
        assert_eq!((socket.protocol, socket.uid), (Protocol::ICMPV6, 998));
        assert_eq!(raw_line(" 255: 00000000:00FF 00000000:0000 07"), None);
        assert_eq!(raw_line(""), None);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_are_in_the_order_of_the_host() {
        assert_eq!(hex_address("0100007F"), Some("127.0.0.1".parse().expect("valid")));
        assert_eq!(
            hex_address("B80D0120000000000000000001000000"),
            Some("2001:db8::1".parse().expect("valid"))
        );
    }

    #[test]
    fn sctp_listeners_have_all_their_addresses() {
        let line = "ffff888012345678 ffff888087654321 2   10  29   5060  1000 12345 *192.0.2.1 \
                    2001:db8::1 ";
        let found = sctp_line(line).expect("read");
        let local: Vec<_> = found.iter().map(|socket| socket.local.to_string()).collect();
        assert_eq!(local, ["192.0.2.1:5060", "[2001:db8::1]:5060"]);
        assert_eq!(sctp_line("a b 2 7 29 5060 0 1 0.0.0.0"), None, "not listening");
    }
}
