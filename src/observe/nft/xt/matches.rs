//! The matches (`-m`), apart from those about connections.

use super::connection;
use super::fields::{Fields, not};
use crate::model::Protocol;
use crate::model::nft::XtMatch;

pub(super) fn decode(name: &str, revision: u32, raw: Fields) -> Option<XtMatch> {
    match (name, revision) {
        ("conntrack", _) => connection::conntrack(revision, raw),
        ("state", 0) => connection::state(raw),
        ("tcp", 0) => tcp(raw),
        ("udp", 0) => ports(raw, Protocol::UDP, [0, 4], raw.u8(8)?),
        ("udplite", 0) => ports(raw, Protocol::UDPLITE, [0, 4], raw.u8(8)?),
        ("sctp", 0) => sctp(raw),
        ("multiport", 0 | 1) => multiport(revision, raw),
        ("addrtype", 0 | 1) => addrtype(revision, raw),
        ("comment", 0) => Some(XtMatch::Comment(raw.text(0, raw.raw.len())?)),
        ("mark" | "connmark", 1) => Some(XtMatch::Mark {
            connection: name == "connmark",
            mark: raw.u32(0)?,
            mask: raw.u32(4)?,
            invert: raw.u8(8)? != 0,
        }),
        ("limit", 0) => Some(XtMatch::Limit { average: raw.u32(0)?, burst: raw.u32(4)? }),
        ("icmp" | "icmp6", 0) => Some(XtMatch::Icmp {
            kind: raw.u8(0)?,
            codes: (raw.u8(1)?, raw.u8(2)?),
            invert: raw.u8(3)? & 1 != 0,
        }),
        ("mac", 0) => {
            Some(XtMatch::Mac { address: *raw.raw.first_chunk()?, invert: raw.u32(8)? != 0 })
        }
        ("iprange", 1) => iprange(raw),
        ("pkttype", 0) => Some(XtMatch::PktType {
            kind: u8::try_from(raw.u32(0)?).ok()?,
            invert: raw.u32(4)? != 0,
        }),
        _ => other(name, revision, raw).map(|options| XtMatch::Other { options }),
    }
}

/// Source and destination ports at the two offsets; `inverted` has bit 0 for the source and bit
/// 1 for the destination.
fn ports(
    raw: Fields,
    protocol: Protocol,
    [source, destination]: [usize; 2],
    inverted: u8,
) -> Option<XtMatch> {
    Some(XtMatch::Ports {
        protocol,
        source: (raw.u16(source)?, raw.u16(source + 2)?),
        destination: (raw.u16(destination)?, raw.u16(destination + 2)?),
        invert_source: inverted & 1 != 0,
        invert_destination: inverted & 2 != 0,
        flags: None,
        invert_flags: false,
        option: None,
    })
}

/// `struct xt_tcp`.
fn tcp(raw: Fields) -> Option<XtMatch> {
    const INVERT_FLAGS: u8 = 4;
    const INVERT_OPTION: u8 = 8;
    let inverted = raw.u8(11)?;
    let (mask, value) = (raw.u8(9)?, raw.u8(10)?);
    let tcp_option = raw.u8(8)?;
    let mut decoded = ports(raw, Protocol::TCP, [0, 4], inverted)?;
    if let XtMatch::Ports { flags, invert_flags, option, .. } = &mut decoded {
        *invert_flags = inverted & INVERT_FLAGS != 0;
        *flags = (mask != 0 || value != 0 || *invert_flags).then_some((mask, value));
        let not = not(inverted & INVERT_OPTION != 0);
        *option = (tcp_option != 0).then(|| format!("{not}tcp-option {tcp_option}"));
    }
    Some(decoded)
}

/// `struct xt_sctp_info`: the destination stands first, and a range counts only with its flag.
fn sctp(raw: Fields) -> Option<XtMatch> {
    const SOURCE: u32 = 1;
    const DESTINATION: u32 = 2;
    const CHUNKS: u32 = 4;
    let (flags, inverted) = (raw.u32(284)?, raw.u32(288)?);
    let mut decoded = ports(raw, Protocol::SCTP, [4, 0], u8::try_from(inverted & 3).ok()?)?;
    if let XtMatch::Ports { source, destination, option, .. } = &mut decoded {
        if flags & SOURCE == 0 {
            *source = (0, u16::MAX);
        }
        if flags & DESTINATION == 0 {
            *destination = (0, u16::MAX);
        }
        *option = (flags & CHUNKS != 0).then(|| "chunk-types".to_owned());
    }
    Some(decoded)
}

/// `struct xt_multiport` and `xt_multiport_v1`.
fn multiport(revision: u32, raw: Fields) -> Option<XtMatch> {
    const MOST: usize = 15;
    let side = match raw.u8(0)? {
        0 => "source",
        1 => "destination",
        2 => "either",
        _ => return None,
    };
    let count = usize::from(raw.u8(1)?);
    if count > MOST {
        return None;
    }
    let port = |index: usize| raw.u16(2 + 2 * index);
    let mut ranges = Vec::new();
    let mut index = 0;
    while index < count {
        let low = port(index)?;
        // A flag says that the next port is the end of this one's range.
        let range = revision == 1 && raw.u8(32 + index)? != 0;
        let high = if range { port(index + 1)? } else { low };
        ranges.push((low, high));
        index += if range { 2 } else { 1 };
    }
    let invert = revision == 1 && raw.u8(47)? != 0;
    Some(XtMatch::Multiport { side: side.to_owned(), ranges, invert })
}

/// `struct xt_addrtype_info` and `xt_addrtype_info_v1`.
fn addrtype(revision: u32, raw: Fields) -> Option<XtMatch> {
    let (source, destination) = (raw.u16(0)?, raw.u16(2)?);
    let flags = if revision == 1 {
        raw.u32(4)?
    } else {
        u32::from(raw.u32(4)? != 0) | u32::from(raw.u32(8)? != 0) << 1
    };
    Some(XtMatch::AddrType {
        source,
        destination,
        invert_source: flags & 1 != 0,
        invert_destination: flags & 2 != 0,
        limit_iif: flags & 4 != 0,
        limit_oif: flags & 8 != 0,
    })
}

/// `struct xt_iprange_mtinfo`.
fn iprange(raw: Fields) -> Option<XtMatch> {
    let flags = raw.u8(64)?;
    let range = |flag: u8, low: usize| match flags & flag {
        0 => Some(None),
        _ => Some(Some((raw.address(low)?, raw.address(low + 16)?))),
    };
    Some(XtMatch::IpRange {
        source: range(1, 0)?,
        destination: range(2, 32)?,
        invert_source: flags & 0x10 != 0,
        invert_destination: flags & 0x20 != 0,
    })
}

/// Modules that depend on more than a packet and its connection: as text.
fn other(name: &str, revision: u32, raw: Fields) -> Option<Vec<String>> {
    match (name, revision) {
        ("owner", 1) => owner(raw),
        ("policy", 0) => policy(raw),
        ("rpfilter", 0) => {
            let flags = raw.u8(0)?;
            let names = [(1, "loose"), (2, "validmark"), (4, "accept-local"), (8, "invert")];
            Some(named(&names, flags))
        }
        ("physdev", 0) => physdev(raw),
        ("recent", 0 | 1) => recent(raw),
        ("hashlimit", 1..=3) => {
            let len = if revision == 1 { 16 } else { 255 };
            Some(vec![format!("name {}", raw.text(0, len)?)])
        }
        ("connlimit", 1) => {
            let flags = raw.u32(20)?;
            let word = if flags & 1 == 0 { "connlimit-above" } else { "connlimit-upto" };
            let per = if flags & 2 == 0 { "saddr" } else { "daddr" };
            Some(vec![format!("{word} {}", raw.u32(16)?), format!("connlimit-{per}")])
        }
        // The kernel keeps the set by number only.
        ("set", 1..=4) => {
            let directions = raw.u8(2)?;
            Some(vec![format!("set number {} of {directions} fields", raw.u16(0)?)])
        }
        ("length", 0) => {
            let range = format!("{}:{}", raw.u16(0)?, raw.u16(2)?);
            Some(vec![format!("{}length {range}", not(raw.u8(4)? != 0))])
        }
        ("ttl" | "hl", 0) => {
            let sign = ["eq", "ne", "lt", "gt"].get(usize::from(raw.u8(0)?))?;
            Some(vec![format!("{name}-{sign} {}", raw.u8(1)?)])
        }
        // `struct ip6t_rt`
        ("rt", 0) => {
            let (tested, inverted) = (raw.u8(16)?, raw.u8(17)?);
            let kind = format!("{}rt-type {}", not(inverted & 1 != 0), raw.u32(0)?);
            Some(if tested & 1 != 0 { vec![kind] } else { Vec::new() })
        }
        _ => None,
    }
}

fn named(names: &[(u8, &str)], flags: u8) -> Vec<String> {
    names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

/// `struct xt_owner_match_info`.
fn owner(raw: Fields) -> Option<Vec<String>> {
    let (tested, inverted) = (raw.u8(16)?, raw.u8(17)?);
    let mut options = Vec::new();
    for (flag, option, at) in [(1, "uid-owner", 0), (2, "gid-owner", 8)] {
        if tested & flag != 0 {
            let (low, high) = (raw.u32(at)?, raw.u32(at + 4)?);
            let range = if low == high { low.to_string() } else { format!("{low}-{high}") };
            options.push(format!("{}{option} {range}", not(inverted & flag != 0)));
        }
    }
    if tested & 4 != 0 {
        options.push(format!("{}socket-exists", not(inverted & 4 != 0)));
    }
    Some(options)
}

/// `struct xt_policy_info`.
fn policy(raw: Fields) -> Option<Vec<String>> {
    let flags = raw.u16(304)?;
    let direction = if flags & 1 != 0 { "in" } else { "out" };
    let policy = if flags & 4 != 0 { "none" } else { "ipsec" };
    Some(vec![format!("dir {direction}"), format!("pol {policy}")])
}

/// `struct xt_physdev_info`.
fn physdev(raw: Fields) -> Option<Vec<String>> {
    let (inverted, tested) = (raw.u8(64)?, raw.u8(65)?);
    let mut options = Vec::new();
    for (flag, option, at) in [(1, "physdev-in", 0), (2, "physdev-out", 32)] {
        if tested & flag != 0 {
            let not = not(inverted & flag != 0);
            options.push(format!("{not}{option} {}", raw.text(at, 16)?));
        }
    }
    for (flag, option) in [(4, "physdev-is-bridged"), (8, "physdev-is-in"), (16, "physdev-is-out")]
    {
        if tested & flag != 0 {
            options.push(format!("{}{option}", not(inverted & flag != 0)));
        }
    }
    Some(options)
}

/// `struct xt_recent_mtinfo` and `xt_recent_mtinfo_v1`, which only adds a mask.
fn recent(raw: Fields) -> Option<Vec<String>> {
    let (seconds, hits) = (raw.u32(0)?, raw.u32(4)?);
    let (op, invert) = (raw.u8(8)?, raw.u8(9)? != 0);
    let names = [(1, "rcheck"), (2, "set"), (4, "update"), (8, "remove")];
    let mut options = named(&names, op);
    if let Some(first) = options.first_mut() {
        *first = format!("{}{first}", not(invert));
    }
    if seconds != 0 {
        options.push(format!("seconds {seconds}"));
    }
    if hits != 0 {
        options.push(format!("hitcount {hits}"));
    }
    options.push(format!("name {}", raw.text(10, 200)?));
    options.push(if raw.u8(210)? == 0 { "rsource" } else { "rdest" }.to_owned());
    Some(options)
}
