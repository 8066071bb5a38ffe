//! The targets (`-j`).

use super::fields::Fields;
use crate::model::nft::{NatKind, RejectWith, XtMatch};
use std::net::{IpAddr, Ipv4Addr};

/// Targets that change or report a packet and let it go on with the next rule.
const PASSING: [&str; 18] = [
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNSECMARK",
    "DSCP",
    "ECN",
    "HL",
    "IDLETIMER",
    "LED",
    "RATEEST",
    "SECMARK",
    "SET",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TRACE",
    "TTL",
];

pub(super) fn decode(name: &str, revision: u32, raw: Fields) -> Option<XtMatch> {
    match (name, revision) {
        ("DNAT", 0..=2) => nat(NatKind::Dnat, raw),
        ("SNAT", 0..=2) => nat(NatKind::Snat, raw),
        // `struct nf_nat_ipv4_multi_range_compat`, `struct nf_nat_range`: one address for each.
        ("NETMAP", 0) => nat(NatKind::Dnat, raw).map(netmap),
        ("REDIRECT", 0) => nat(NatKind::Redirect, raw),
        ("MASQUERADE", 0) => nat(NatKind::Masquerade, raw),
        ("MARK", 2) => Some(set_mark(false, raw.u32(0)?, raw.u32(4)?, "set")),
        // Revision 2 has a shift before the mode.
        ("CONNMARK", 1) => connmark(raw, raw.u8(12)?),
        ("CONNMARK", 2) => connmark(raw, raw.u8(14)?),
        ("REJECT", 0) => reject(raw),
        ("LOG", 0) => Some(XtMatch::Log { prefix: raw.text(2, 30)? }),
        ("NFLOG", 0) => Some(XtMatch::Log { prefix: raw.text(12, 64)? }),
        // `struct xt_ct_target_info`: XT_CT_NOTRACK keeps the packet out of connection tracking.
        ("CT", 0..=2) => {
            let notrack = raw.u16(0)? & 1 != 0;
            let options = if notrack { vec!["notrack".to_owned()] } else { Vec::new() };
            Some(XtMatch::Other { options })
        }
        ("NOTRACK", 0) => Some(XtMatch::Other { options: vec!["notrack".to_owned()] }),
        ("NFQUEUE", 0..=3) => {
            Some(XtMatch::Other { options: vec![format!("queue-num {}", raw.u16(0)?)] })
        }
        // `struct xt_tproxy_target_info` and `_v1`.
        ("TPROXY", 0 | 1) => {
            let port_at = if revision == 0 { 12 } else { 24 };
            let mut options =
                vec![format!("on-ip {} on-port {}", raw.address(8)?, raw.be16(port_at)?)];
            let (mask, value) = (raw.u32(0)?, raw.u32(4)?);
            if mask != 0 {
                options.push(format!("tproxy-mark {value:#x}/{mask:#x}"));
            }
            Some(XtMatch::Other { options })
        }
        ("SYNPROXY", 0) => Some(XtMatch::Other { options: vec![format!("mss {}", raw.u16(2)?)] }),
        _ if PASSING.contains(&name) => Some(XtMatch::Other { options: Vec::new() }),
        _ => None,
    }
}

/// The part behind the network is kept; the direction is the hook's.
fn netmap(decoded: XtMatch) -> XtMatch {
    const NF_NAT_RANGE_NETMAP: u32 = 1 << 6;
    match decoded {
        XtMatch::Nat { kind, addresses, ports, flags } => {
            XtMatch::Nat { kind, addresses, ports, flags: flags | NF_NAT_RANGE_NETMAP }
        }
        other => other,
    }
}

fn set_mark(connection: bool, xor: u32, clear: u32, mode: &str) -> XtMatch {
    XtMatch::SetMark { connection, clear, xor, mode: mode.to_owned() }
}

/// `struct xt_connmark_tginfo1` and `2`: mark, its mask, the packet's mask, mode. Saving and restoring
/// keep the two masks as `clear` (of what is written) and `xor` (of what is read).
fn connmark(raw: Fields, mode: u8) -> Option<XtMatch> {
    let (value, mask, packet) = (raw.u32(0)?, raw.u32(4)?, raw.u32(8)?);
    match mode {
        0 => Some(set_mark(true, value, mask, "set")),
        1 => Some(set_mark(true, packet, mask, "save")),
        2 => Some(set_mark(true, mask, packet, "restore")),
        _ => None,
    }
}

/// `struct nf_nat_ipv4_multi_range_compat` (one range of IPv4), or `struct nf_nat_range` and
/// `nf_nat_range2`, which are longer.
fn nat(kind: NatKind, raw: Fields) -> Option<XtMatch> {
    const COMPAT_LEN: usize = 24;
    const MAP_IPS: u32 = 1;
    const PROTO_SPECIFIED: u32 = 2;
    let compat = raw.raw.len() <= COMPAT_LEN;
    let (flags_at, ports_at) = if compat { (4, 16) } else { (0, 36) };
    let flags = raw.u32(flags_at)?;
    let address = |at: usize| -> Option<IpAddr> {
        if compat {
            let bytes: &[u8; 4] = raw.raw.get(at..)?.first_chunk()?;
            return Some(Ipv4Addr::from(*bytes).into());
        }
        raw.address(at)
    };
    let (low, high) = if compat { (8, 12) } else { (4, 20) };
    let addresses = match flags & MAP_IPS {
        0 => None,
        _ => Some((address(low)?, address(high)?)),
    };
    let ports = match flags & PROTO_SPECIFIED {
        0 => None,
        _ => Some((raw.be16(ports_at)?, raw.be16(ports_at + 2)?)),
    };
    let flags = flags & !(MAP_IPS | PROTO_SPECIFIED);
    Some(XtMatch::Nat { kind, addresses, ports, flags })
}

/// `struct ipt_reject_info`, `struct ip6t_reject_info`: an index of answers → ICMP codes.
fn reject(raw: Fields) -> Option<XtMatch> {
    let index = raw.u32(0)?;
    let with = match (raw.ipv6, index) {
        (false, 7) | (true, 6) => RejectWith::TcpReset,
        (false, code @ 0..=3) | (true, code @ 0..=4) => RejectWith::Icmp(u8::try_from(code).ok()?),
        // IPT_ICMP_NET_PROHIBITED, IPT_ICMP_HOST_PROHIBITED, IPT_ICMP_ADMIN_PROHIBITED.
        (false, 5) => RejectWith::Icmp(9),
        (false, 6) => RejectWith::Icmp(10),
        (false, 8) => RejectWith::Icmp(13),
        // IP6T_ICMP6_POLICY_FAIL, IP6T_ICMP6_REJECT_ROUTE.
        (true, 7) => RejectWith::Icmp(5),
        (true, 8) => RejectWith::Icmp(6),
        _ => return None,
    };
    Some(XtMatch::Reject { with })
}
