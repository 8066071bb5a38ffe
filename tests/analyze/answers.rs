//! A packet that was sent, as a question; and whether where it arrived is what the analysis says.

use crate::packets::{Seen, Sent};
use fwctl::analyze::guard::Guard;
use fwctl::analyze::{Answer, ConnectionState, Fate, From, Packet};
use fwctl::model::Protocol;
use std::net::IpAddr;

/// The same packet as the analysis takes it.
pub fn question(interface: &str, sent: &Sent) -> Packet {
    /// FIN, SYN, RST and ACK. At the beginning of a connection may stand SYN alone, or ACK of one
    /// that was not seen from its beginning (`tcp_new()`, `tcp_error()`).
    const CONTROL: u8 = 0x17;
    let from = From::Interface(interface.parse().unwrap());
    let protocol = Protocol(sent.protocol);
    let mut packet = Packet::new(from, sent.source, sent.destination, protocol, sent.port);
    if protocol.has_ports() {
        packet.source_port = sent.source_port;
    }
    if protocol == Protocol::TCP {
        packet.tcp_flags = sent.tcp_flags;
        if !matches!(sent.tcp_flags & CONTROL, 2 | 16) {
            packet.state = ConnectionState::Invalid;
        }
    }
    packet
}

/// Whether what was seen is one of the possible ends; the second: whether only one was possible.
pub fn agrees(
    answer: &Answer,
    seen: Option<&Seen>,
    arrives: impl Fn(&Fate, IpAddr, Option<u16>) -> Option<Seen>,
) -> (bool, bool) {
    let possible = answer.ends.iter().filter(|end| answer.guard(end) != Guard::NEVER);
    let unknown = possible.clone().any(|end| matches!(end.fate, Fate::Unknown(_)));
    let places: Vec<(Option<Seen>, bool)> = possible
        .filter(|end| !matches!(end.fate, Fate::Unknown(_)))
        .map(|end| {
            let env = &end.state.env;
            (arrives(&end.fate, env.destination, env.port), env.port.is_none())
        })
        .collect();
    let agrees = unknown
        || places.iter().any(|(place, any_port)| match (place, seen) {
            (Some(place), Some(seen)) if *any_port => {
                (place.namespace, place.address) == (seen.namespace, seen.address)
            }
            (place, seen) => place.as_ref() == seen,
        });
    let one = places.windows(2).all(|two| two[0] == two[1]);
    (agrees, one && !unknown)
}
