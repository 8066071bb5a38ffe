//! Offsets in headers → the fields' names in `nft(8)`.

use super::selector::Named;
use super::{Context, Network};
use crate::model::Protocol;
use crate::model::nft::KeyType;

/// A field of the Ethernet header.
pub(super) fn link(offset: u32, len: u32) -> Option<Named> {
    let (word, kind) = match (offset, len) {
        (0, 6) => ("ether daddr", KeyType::EtherAddr),
        (6, 6) => ("ether saddr", KeyType::EtherAddr),
        (12, 2) => ("ether type", KeyType::ETHER_TYPE),
        _ => return None,
    };
    Some(Named::new(word, kind).network_order(len))
}

/// A field of the IP or ARP header.
pub(super) fn network(offset: u32, len: u32, context: &Context) -> Option<Named> {
    let field = |word: &str, kind| Some(Named::new(word, kind).network_order(len));
    let part = |word: &str, kind: KeyType| {
        let whole = kind.width();
        Some(Named { whole, ..Named::new(word, kind).network_order(len) })
    };
    match (context.network?, offset, len) {
        (Network::Ipv4, 12, 4) => field("ip saddr", KeyType::Ipv4Addr),
        (Network::Ipv4, 16, 4) => field("ip daddr", KeyType::Ipv4Addr),
        (Network::Ipv4, 12, 1..4) => part("ip saddr", KeyType::Ipv4Addr),
        (Network::Ipv4, 16, 1..4) => part("ip daddr", KeyType::Ipv4Addr),
        (Network::Ipv4, 2, 2) => field("ip length", KeyType::INTEGER),
        (Network::Ipv4, 4, 2) => field("ip id", KeyType::INTEGER),
        (Network::Ipv4, 6, 2) => field("ip frag-off", KeyType::INTEGER),
        (Network::Ipv4, 8, 1) => field("ip ttl", KeyType::INTEGER),
        (Network::Ipv4, 9, 1) => field("ip protocol", KeyType::InetProto),
        (Network::Ipv4, 10, 2) => field("ip checksum", KeyType::INTEGER),
        (Network::Ipv6, 8, 16) => field("ip6 saddr", KeyType::Ipv6Addr),
        (Network::Ipv6, 24, 16) => field("ip6 daddr", KeyType::Ipv6Addr),
        (Network::Ipv6, 8, 1..16) => part("ip6 saddr", KeyType::Ipv6Addr),
        (Network::Ipv6, 24, 1..16) => part("ip6 daddr", KeyType::Ipv6Addr),
        (Network::Ipv6, 4, 2) => field("ip6 length", KeyType::INTEGER),
        (Network::Ipv6, 6, 1) => field("ip6 nexthdr", KeyType::InetProto),
        (Network::Ipv6, 7, 1) => field("ip6 hoplimit", KeyType::INTEGER),
        (Network::Arp, 0, 2) => field("arp htype", KeyType::INTEGER),
        (Network::Arp, 2, 2) => field("arp ptype", KeyType::ETHER_TYPE),
        (Network::Arp, 4, 1) => field("arp hlen", KeyType::INTEGER),
        (Network::Arp, 5, 1) => field("arp plen", KeyType::INTEGER),
        (Network::Arp, 6, 2) => field("arp operation", KeyType::ARP_OP),
        (Network::Arp, 8, 6) => field("arp saddr ether", KeyType::EtherAddr),
        (Network::Arp, 14, 4) => field("arp saddr ip", KeyType::Ipv4Addr),
        (Network::Arp, 18, 6) => field("arp daddr ether", KeyType::EtherAddr),
        (Network::Arp, 24, 4) => field("arp daddr ip", KeyType::Ipv4Addr),
        _ => None,
    }
}

/// A field of the header behind IP.
pub(super) fn transport(offset: u32, len: u32, protocol: Option<Protocol>) -> Option<Named> {
    let word = match protocol {
        Some(Protocol::TCP) => "tcp",
        Some(Protocol::UDP) => "udp",
        Some(Protocol::UDPLITE) => "udplite",
        Some(Protocol::SCTP) => "sctp",
        Some(Protocol::ICMP) => "icmp",
        Some(Protocol::ICMPV6) => "icmpv6",
        Some(Protocol::IGMP) => "igmp",
        Some(Protocol(33)) => "dccp",
        Some(Protocol(50)) => "esp",
        Some(Protocol(51)) => "ah",
        Some(Protocol(108)) => "comp",
        _ => "th",
    };
    let (field, kind) = match word {
        "icmp" | "icmpv6" | "igmp" => message_field(word, offset, len)?,
        "esp" | "ah" | "comp" => match (word, offset, len) {
            ("esp", 0, 4) | ("ah", 4, 4) => ("spi", KeyType::INTEGER),
            ("comp", 2, 2) => ("cpi", KeyType::INTEGER),
            _ => return None,
        },
        _ => port_field(word, offset, len)?,
    };
    Some(Named::new(format!("{word} {field}"), kind).network_order(len))
}

fn message_field(word: &str, offset: u32, len: u32) -> Option<(&'static str, KeyType)> {
    match (word, offset, len) {
        ("icmp", 0, 1) => Some(("type", KeyType::ICMP_TYPE)),
        ("icmpv6", 0, 1) => Some(("type", KeyType::ICMPV6_TYPE)),
        ("igmp", 0, 1) => Some(("type", KeyType::IGMP_TYPE)),
        ("icmp" | "icmpv6", 1, 1) => Some(("code", KeyType::INTEGER)),
        (_, 2, 2) => Some(("checksum", KeyType::INTEGER)),
        ("icmp" | "icmpv6", 4, 2) => Some(("id", KeyType::INTEGER)),
        ("icmp" | "icmpv6", 6, 2) => Some(("sequence", KeyType::INTEGER)),
        _ => None,
    }
}

fn port_field(word: &str, offset: u32, len: u32) -> Option<(&'static str, KeyType)> {
    match (word, offset, len) {
        (_, 0, 2) => Some(("sport", KeyType::InetService)),
        (_, 2, 2) => Some(("dport", KeyType::InetService)),
        ("tcp", 4, 4) => Some(("sequence", KeyType::INTEGER)),
        ("tcp", 8, 4) => Some(("ackseq", KeyType::INTEGER)),
        ("tcp", 13, 1) => Some(("flags", KeyType::TCP_FLAG)),
        ("tcp", 14, 2) => Some(("window", KeyType::INTEGER)),
        ("tcp", 16, 2) | ("udp", 6, 2) => Some(("checksum", KeyType::INTEGER)),
        ("tcp", 18, 2) => Some(("urgptr", KeyType::INTEGER)),
        ("udp", 4, 2) => Some(("length", KeyType::INTEGER)),
        ("sctp", 4, 4) => Some(("vtag", KeyType::INTEGER)),
        _ => None,
    }
}
