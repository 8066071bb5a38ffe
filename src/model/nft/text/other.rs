//! What fwctl reads by name and attributes alone → nft's words: loads of sockets, routes, hashes and
//! options, and what sends packets elsewhere.
//!
//! In: a name and the attributes as the reader wrote them (`key=0 level=2`). Out: words; `None` for
//! what nft has none for.

use crate::model::nft::KeyType;

/// The number of an attribute.
fn number(detail: &str, name: &str) -> Option<u32> {
    let own = detail.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    own.and_then(|number| number.parse().ok())
}

/// What stands behind a word, to the end.
fn rest<'d>(detail: &'d str, word: &str) -> Option<&'d str> {
    detail.split_once(word).map(|(_, rest)| rest)
}

/// How many bytes of a load stand as they came, if they do.
pub(super) fn network_order(name: &str, detail: &str) -> Option<u32> {
    let as_sent = match name {
        "exthdr" => number(detail, "flags").unwrap_or(0) & 1 == 0,
        "xfrm" => number(detail, "key") == Some(6),
        _ => false,
    };
    as_sent.then(|| number(detail, "len").unwrap_or(4))
}

/// The words of a load, and the type of its values.
pub(super) fn load(name: &str, detail: &str) -> Option<(String, KeyType)> {
    let field = |name: &str| number(detail, name);
    let plain = |words: &str| Some((words.to_owned(), KeyType::INTEGER));
    match name {
        "socket" => match field("key")? {
            0 => plain("socket transparent"),
            1 => plain("socket mark"),
            2 => plain("socket wildcard"),
            3 => plain(&format!("socket cgroupv2 level {}", field("level").unwrap_or(0))),
            _ => None,
        },
        "osf" => {
            let ttl = match field("ttl") {
                Some(1) => " ttl loose",
                Some(2) => " ttl skip",
                _ => "",
            };
            let what = if field("flags").unwrap_or(0) & 1 != 0 { "version" } else { "name" };
            Some((format!("osf{ttl} {what}"), KeyType::STRING))
        }
        "rt" => match field("key")? {
            0 => plain("rt classid"),
            1 => Some(("rt ip nexthop".to_owned(), KeyType::Ipv4Addr)),
            2 => Some(("rt ip6 nexthop".to_owned(), KeyType::Ipv6Addr)),
            3 => plain("rt mtu"),
            4 => Some(("rt ipsec".to_owned(), KeyType::BOOLEAN)),
            _ => None,
        },
        "numgen" => {
            let kind = if field("type") == Some(0) { "inc" } else { "random" };
            plain(&format!("numgen {kind} mod {}{}", field("mod")?, offset(detail)))
        }
        "hash" if field("type") == Some(1) => {
            plain(&format!("symhash mod {}{}", field("mod")?, offset(detail)))
        }
        "hash" => {
            let seed = field("seed").map_or(String::new(), |own| format!(" seed {own:#x}"));
            let of = rest(detail, " of=")?;
            plain(&format!("jhash {of} mod {}{seed}{}", field("mod")?, offset(detail)))
        }
        "tunnel" => match field("key")? {
            0 => Some(("tunnel path".to_owned(), KeyType::BOOLEAN)),
            1 => plain("tunnel id"),
            _ => None,
        },
        "xfrm" => {
            let way = if field("dir") == Some(1) { "out" } else { "in" };
            let nth = match field("spnum") {
                None | Some(0) => String::new(),
                Some(nth) => format!(" spnum {nth}"),
            };
            let (what, kind) = match field("key")? {
                1 => ("ip daddr", KeyType::Ipv4Addr),
                2 => ("ip6 daddr", KeyType::Ipv6Addr),
                3 => ("ip saddr", KeyType::Ipv4Addr),
                4 => ("ip6 saddr", KeyType::Ipv6Addr),
                5 => ("reqid", KeyType::INTEGER),
                6 => ("spi", KeyType::INTEGER),
                _ => return None,
            };
            Some((format!("ipsec {way}{nth} {what}"), kind))
        }
        "exthdr" => {
            let presence = field("flags").unwrap_or(0) & 1 != 0;
            let kind = if presence { KeyType::BOOLEAN } else { KeyType::INTEGER };
            Some((option(detail, presence)?, kind))
        }
        _ => None,
    }
}

fn offset(detail: &str) -> String {
    match number(detail, "offset") {
        None | Some(0) => String::new(),
        Some(offset) => format!(" offset {offset}"),
    }
}

/// An extension header of IPv6, or an option of TCP or IPv4; with `presence`, whether it is there.
fn option(detail: &str, presence: bool) -> Option<String> {
    let (kind, at, len) =
        (number(detail, "type")?, number(detail, "offset"), number(detail, "len"));
    let (name, fields): (String, &[(u32, &str)]) = match number(detail, "op").unwrap_or(0) {
        0 => {
            let (name, fields): (&str, &[(u32, &str)]) = match kind {
                0 => ("exthdr hbh", &[(0, "nexthdr"), (1, "hdrlength")]),
                43 => {
                    ("exthdr rt", &[(0, "nexthdr"), (1, "hdrlength"), (2, "type"), (3, "seg-left")])
                }
                44 => ("exthdr frag", &[(0, "nexthdr"), (2, "frag-off"), (4, "id")]),
                60 => ("exthdr dst", &[(0, "nexthdr"), (1, "hdrlength")]),
                135 => ("exthdr mh", &[(0, "nexthdr"), (1, "hdrlength"), (2, "type")]),
                _ => ("", &[]),
            };
            let name = if name.is_empty() { format!("exthdr {kind}") } else { name.to_owned() };
            // nft leaves the first word out in front of a field.
            let name = if presence { name } else { name.trim_start_matches("exthdr ").to_owned() };
            (name, fields)
        }
        1 => {
            let (name, fields): (&str, &[(u32, &str)]) = match kind {
                2 => ("maxseg", &[(2, "size")]),
                3 => ("window", &[(2, "count")]),
                4 => ("sack-perm", &[]),
                5 => ("sack", &[(2, "left"), (6, "right")]),
                8 => ("timestamp", &[(2, "tsval"), (6, "tsecr")]),
                30 => ("mptcp", &[(2, "subtype")]),
                _ => ("", &[]),
            };
            let name = if name.is_empty() { kind.to_string() } else { name.to_owned() };
            (format!("tcp option {name}"), fields)
        }
        2 => {
            let name = match kind {
                7 => "rr".to_owned(),
                131 => "lsrr".to_owned(),
                137 => "ssrr".to_owned(),
                148 => "ra".to_owned(),
                kind => kind.to_string(),
            };
            (format!("ip option {name}"), &[(0, "type"), (1, "length"), (2, "ptr")])
        }
        3 => (format!("sctp chunk {kind}"), &[(0, "type"), (1, "flags"), (2, "length")]),
        4 => (format!("dccp option {kind}"), &[]),
        _ => return None,
    };
    if presence {
        return Some(name);
    }
    let (at, len) = (at.unwrap_or(0), len.unwrap_or(0));
    Some(match fields.iter().find(|(own, _)| *own == at) {
        Some((_, field)) => format!("{name} {field}"),
        None => format!("{name} bytes {at}-{}", (at + len).saturating_sub(1)),
    })
}

/// The words of a statement.
pub(super) fn statement(name: &str, detail: &str) -> Option<String> {
    match name {
        "last" => Some("last".to_owned()),
        "dup" | "fwd" => Some(format!("{name} {detail}")),
        "flow_offload" => Some(format!("flow add {detail}")),
        "synproxy" => {
            /// `NF_SYNPROXY_OPT_*`.
            const SACK: u32 = 4;
            const TIMESTAMP: u32 = 8;
            let flags = number(detail, "flags").unwrap_or(0);
            let field = |own: &str| number(detail, own).map(|number| format!(" {own} {number}"));
            let flag = |bit: u32, word: &str| {
                if flags & bit != 0 { format!(" {word}") } else { String::new() }
            };
            Some(format!(
                "synproxy{}{}{}{}",
                field("mss").unwrap_or_default(),
                field("wscale").unwrap_or_default(),
                flag(TIMESTAMP, "timestamp"),
                flag(SACK, "sack-perm"),
            ))
        }
        "exthdr" => {
            let (what, value) = detail.strip_prefix("set ")?.split_once(" to ")?;
            Some(format!("{} set {value}", option(what, false)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_written_in_nfts_words() {
        let words = |name, detail| load(name, detail).map(|own| own.0);
        for (name, detail, wanted) in [
            ("socket", "key=0 level=0", "socket transparent"),
            ("socket", "key=3 level=2", "socket cgroupv2 level 2"),
            ("osf", "ttl=1 flags=1", "osf ttl loose version"),
            ("rt", "key=1", "rt ip nexthop"),
            ("numgen", "type=0 mod=3 offset=0", "numgen inc mod 3"),
            ("numgen", "type=1 mod=2 offset=5", "numgen random mod 2 offset 5"),
            ("hash", "type=1 mod=4", "symhash mod 4"),
            (
                "hash",
                "type=0 mod=2 seed=7 len=8 of=ip saddr . ip daddr",
                "jhash ip saddr . ip daddr mod 2 seed 0x7",
            ),
            ("xfrm", "key=5 dir=0 spnum=0", "ipsec in reqid"),
            ("xfrm", "key=3 dir=1 spnum=2", "ipsec out spnum 2 ip saddr"),
            ("exthdr", "op=1 type=2 offset=2 len=2 flags=0", "tcp option maxseg size"),
            ("exthdr", "op=1 type=4 offset=0 len=1 flags=1", "tcp option sack-perm"),
            ("exthdr", "op=1 type=99 offset=3 len=2", "tcp option 99 bytes 3-4"),
            ("exthdr", "op=0 type=44 offset=0 len=1 flags=1", "exthdr frag"),
            ("exthdr", "type=43 offset=2 len=1 flags=0", "rt type"),
            ("exthdr", "op=2 type=131 offset=0 len=1 flags=1", "ip option lsrr"),
        ] {
            assert_eq!(words(name, detail).as_deref(), Some(wanted));
        }
        assert_eq!(words("socket", "key=9"), None);
        assert_eq!(words("hash", "type=0 mod=2"), None);
    }

    #[test]
    fn statements_are_written_in_nfts_words() {
        let set = "set op=1 type=2 offset=2 len=2 flags=0 to rt mtu";
        assert_eq!(statement("exthdr", set).as_deref(), Some("tcp option maxseg size set rt mtu"));
        let proxy = "mss=1460 wscale=7 flags=15";
        assert_eq!(
            statement("synproxy", proxy).as_deref(),
            Some("synproxy mss 1460 wscale 7 timestamp sack-perm")
        );
        assert_eq!(statement("synproxy", "flags=0").as_deref(), Some("synproxy"));
        assert_eq!(statement("fwd", "to device 3").as_deref(), Some("fwd to device 3"));
        assert_eq!(statement("future", ""), None);
    }
}
