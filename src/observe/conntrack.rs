//! Connection tracking's table → the connections that are open.
//!
//! Numbers of ctnetlink are those of linux/netfilter/nfnetlink_conntrack.h.

use super::netlink::{Channel, HEADER, NetlinkError, value, whole};
use super::short_file;
use crate::model::Protocol;
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::fs::File;
use std::io::Read as _;
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
pub type Tuple = (Protocol, SocketAddr, SocketAddr);

/// What the kernel tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// As its first packet was sent.
    pub original: Tuple,
    /// As it is answered.
    pub reply: Tuple,
    /// Since when, where the kernel keeps that.
    pub since: Option<jiff::Timestamp>,
}

/// The connections of this thread's network namespace that are open in both directions, where they
/// are so few that `/proc` tells them in one piece, and where it tells them whole.
///
/// The kernel goes through one table of the connections of all namespaces, which may have a quarter
/// of a million places. For netlink it locks each of them, for `/proc` none, which takes a
/// thirtieth of the time. Of what comes in more pieces than one the kernel may leave out some.
pub fn few() -> Option<Vec<Tracked>> {
    let count = short_file::read("/proc/sys/net/netfilter/nf_conntrack_count").ok()?;
    if count.trim_ascii() == b"0" {
        return Some(Vec::new());
    }
    let mut file = File::open("/proc/thread-self/net/nf_conntrack").ok()?;
    let mut piece = [0; 4096];
    let length = file.read(&mut piece).ok()?;
    if file.read(&mut [0; 1]).ok()? > 0 {
        return None;
    }
    from_text(std::str::from_utf8(piece.get(..length)?).ok()?)
}

/// Reads the text of `/proc/net/nf_conntrack`; `None` where it leaves out what netlink tells: when
/// a connection began, the state of one whose packets no longer pass the rules, and the keys of GRE
/// in the form of ports.
pub(super) fn from_text(text: &str) -> Option<Vec<Tracked>> {
    let partial = ["delta-time=", "[OFFLOAD]", "[HW_OFFLOAD]", "srckey="];
    if partial.iter().any(|word| text.contains(word)) {
        return None;
    }
    Some(text.lines().filter_map(line).collect())
}

/// `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… …`;
/// `None` for one that is not open in both directions, or whose protocol has no ports.
fn line(line: &str) -> Option<Tracked> {
    let words = || line.split_ascii_whitespace();
    let protocol = Protocol(words().nth(3)?.parse().ok()?);
    if words().any(|word| word == "[UNREPLIED]")
        || protocol == Protocol::TCP && words().nth(5)? != "ESTABLISHED"
    {
        return None;
    }
    let values = |key: &'static str| words().filter_map(move |word| word.strip_prefix(key));
    let tuple = |direction: usize| -> Option<Tuple> {
        let end = |address: &'static str, port: &'static str| -> Option<SocketAddr> {
            let address: IpAddr = values(address).nth(direction)?.parse().ok()?;
            Some(SocketAddr::new(address, values(port).nth(direction)?.parse().ok()?))
        };
        Some((protocol, end("src=", "sport=")?, end("dst=", "dport=")?))
    };
    Some(Tracked { original: tuple(0)?, reply: tuple(1)?, since: None })
}

/// All such connections, as netlink tells them.
pub fn all() -> Result<Vec<Tracked>, NetlinkError> {
    let mut entries = Vec::new();
    let asked = whole(ATTEMPTS, || {
        entries.clear();
        let mut channel = Channel::open(NETLINK_NETFILTER)?;
        channel.ask(GET, NLM_F_DUMP, &[0; NFGENMSG], |message| {
            entries.extend(message.get(HEADER + NFGENMSG..).and_then(parse));
        })
    });
    match asked {
        // Connections come and go all the time; what was there throughout is told even so.
        Ok(()) | Err(NetlinkError::Interrupted) => Ok(entries),
        Err(error) => Err(error),
    }
}

/// An entry that is open in both directions.
fn parse(entry: &[u8]) -> Option<Tracked> {
    let status = value(entry, STATUS)?;
    let original = tuple(value(entry, ORIGINAL)?)?;
    if u32::from_be_bytes(status.try_into().ok()?) & SEEN_REPLY == 0 {
        return None;
    }
    if original.0 == Protocol::TCP {
        let state = value(entry, PROTOINFO).and_then(|info| value(value(info, 1)?, 1));
        if state.is_some_and(|state| state != [ESTABLISHED]) {
            return None;
        }
    }
    let start = value(entry, TIMESTAMP).and_then(|stamp| value(stamp, 1));
    let start = start.and_then(|start| Some(u64::from_be_bytes(start.try_into().ok()?)));
    Some(Tracked {
        original,
        reply: tuple(value(entry, REPLY)?)?,
        since: start.and_then(|start| jiff::Timestamp::from_nanosecond(start.into()).ok()),
    })
}

/// `CTA_TUPLE_*`, of a protocol that has ports.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (addresses, protocol) = (value(bytes, 1)?, value(bytes, 2)?);
    let address = |four, six| -> Option<IpAddr> {
        match (value(addresses, four), value(addresses, six)) {
            (Some(value), _) => Some(<[u8; 4]>::try_from(value).ok()?.into()),
            (None, Some(value)) => Some(<[u8; 16]>::try_from(value).ok()?.into()),
            (None, None) => None,
        }
    };
    let port = |kind| Some(u16::from_be_bytes(value(protocol, kind)?.try_into().ok()?));
    let number = Protocol(*value(protocol, 1)?.first()?);
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

    #[test]
    fn proc_tells_the_same_connections() {
        let open = "ipv4     2 tcp      6 431999 ESTABLISHED src=203.0.113.1 dst=203.0.113.10 \
                    sport=50000 dport=5432 src=172.17.0.2 dst=203.0.113.1 sport=5432 dport=50000 \
                    [ASSURED] mark=0 zone=0 use=2\n";
        let at = |text: &str| text.parse::<SocketAddr>().expect("valid");
        let expected = Tracked {
            original: (Protocol::TCP, at("203.0.113.1:50000"), at("203.0.113.10:5432")),
            reply: (Protocol::TCP, at("172.17.0.2:5432"), at("203.0.113.1:50000")),
            since: None,
        };
        let six = "ipv6     10 udp      17 29 src=2001:0db8:0000:0000:0000:0000:0000:0001 \
                   dst=2001:0db8:0000:0000:0000:0000:0000:0010 sport=5353 dport=53 packets=2 bytes=99 \
                   src=2001:0db8:0000:0000:0000:0000:0000:0010 \
                   dst=2001:0db8:0000:0000:0000:0000:0000:0001 sport=53 dport=5353 packets=1 bytes=9 \
                   mark=0 zone=0 use=2\n";
        let others = "ipv4     2 udp      17 29 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=2 \
                      [UNREPLIED] src=192.0.2.2 dst=192.0.2.1 sport=2 dport=1 mark=0 use=2\n\
                      ipv4     2 icmp     1 29 src=192.0.2.1 dst=192.0.2.2 type=8 code=0 id=7 \
                      src=192.0.2.2 dst=192.0.2.1 type=0 code=0 id=7 mark=0 use=2\n\
                      ipv4     2 tcp      6 9 TIME_WAIT src=192.0.2.1 dst=192.0.2.2 sport=1 dport=2 \
                      src=192.0.2.2 dst=192.0.2.1 sport=2 dport=1 [ASSURED] mark=0 use=2\n";
        let read = from_text(&[open, six, others].concat()).expect("is whole");
        assert_eq!(read.first(), Some(&expected));
        let ends: Vec<_> = read[1..].iter().map(|own| (own.original.1, own.reply.1)).collect();
        assert_eq!(ends, [(at("[2001:db8::1]:5353"), at("[2001:db8::10]:53"))]);
        // What it tells less of than netlink is read there.
        let since = open.replace("use=2", "delta-time=12 use=2");
        let offloaded = open.replace("[ASSURED]", "[OFFLOAD]");
        let gre = open.replace("sport=", "srckey=0x");
        for text in [since, offloaded, gre] {
            assert_eq!(from_text(&text), None, "{text}");
        }
        for length in 0..open.len() {
            let _ = from_text(&open[..length]);
        }
    }
}
