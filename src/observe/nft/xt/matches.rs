//! The matches (`-m`), apart from those about connections.

use super::connection;
use super::fields::{Fields, not};
use super::worded;
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
        ("comment", 0) => Some(XtMatch::Comment { text: raw.text(0, raw.raw.len())? }),
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
        _ => worded::options(name, revision, raw).map(|options| XtMatch::Other { options }),
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
