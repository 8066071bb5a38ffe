//! `-m conntrack` and `-m state`.

use super::fields::{Fields, not};
use crate::model::nft::XtMatch;
use std::net::IpAddr;

/// `XT_CONNTRACK_*` of `linux/netfilter/xt_conntrack.h`, less the state: flag and option.
const STATE: u16 = 1 << 0;
const PROTO: u16 = 1 << 1;
const STATUS: u16 = 1 << 6;
const EXPIRES: u16 = 1 << 7;
const DIRECTION: u16 = 1 << 12;
/// Flag, option, offset of the address; the mask stands 16 bytes behind it.
const ADDRESSES: [(u16, &str, usize); 4] = [
    (1 << 2, "ctorigsrc", 0),
    (1 << 3, "ctorigdst", 32),
    (1 << 4, "ctreplsrc", 64),
    (1 << 5, "ctrepldst", 96),
];
/// Flag, option, offset of the port, offset of the highest port.
const PORTS: [(u16, &str, usize, usize); 4] = [
    (1 << 8, "ctorigsrcport", 138, 154),
    (1 << 9, "ctorigdstport", 140, 156),
    (1 << 10, "ctreplsrcport", 142, 158),
    (1 << 11, "ctrepldstport", 144, 160),
];
/// `IPS_*` of `linux/netfilter/nf_conntrack_common.h`.
const STATUSES: [(u16, &str); 4] =
    [(1, "EXPECTED"), (2, "SEEN_REPLY"), (4, "ASSURED"), (8, "CONFIRMED")];

/// `XT_CONNTRACK_STATE_*` as the bits of nft's `ct state`, with 128 for SNAT and 256 for DNAT.
fn nft_states(mask: u16) -> u16 {
    const SNAT: u16 = 1 << 6;
    const DNAT: u16 = 1 << 7;
    const UNTRACKED: u16 = 1 << 8;
    let moved = [(SNAT, 128), (DNAT, 256), (UNTRACKED, 64)];
    let known = mask & 0xf;
    moved.iter().filter(|(bit, _)| mask & bit != 0).fold(known, |all, (_, bit)| all | bit)
}

/// `struct xt_conntrack_mtinfo1`, `2` and `3`.
pub(super) fn conntrack(revision: u32, raw: Fields) -> Option<XtMatch> {
    if !(1..=3).contains(&revision) {
        return None;
    }
    let (flags, inverted) = (raw.u16(146)?, raw.u16(148)?);
    let (state, status) = if revision == 1 {
        (raw.u8(150)?.into(), raw.u8(151)?.into())
    } else {
        (raw.u16(150)?, raw.u16(152)?)
    };
    let tested = |flag: u16| flags & flag != 0;
    let not = |flag: u16| not(inverted & flag != 0);
    let mut others = Vec::new();
    if tested(PROTO) {
        others.push(format!("{}ctproto {}", not(PROTO), raw.u16(136)?));
    }
    for (flag, option, at) in ADDRESSES {
        if tested(flag) {
            let (address, mask) = (raw.address(at)?, raw.address(at + 16)?);
            others.push(format!("{}{option} {}", not(flag), prefix(address, mask)));
        }
    }
    for (flag, option, low, high) in PORTS {
        if tested(flag) {
            // Ranges came with revision 3, which has them in host order.
            let (low, high) = if revision == 3 {
                (raw.u16(low)?, raw.u16(high)?)
            } else {
                (raw.be16(low)?, raw.be16(low)?)
            };
            let range = if low == high { low.to_string() } else { format!("{low}:{high}") };
            others.push(format!("{}{option} {range}", not(flag)));
        }
    }
    if tested(STATUS) {
        let names: Vec<_> =
            STATUSES.iter().filter(|(bit, _)| status & bit != 0).map(|(_, name)| *name).collect();
        let names = if names.is_empty() { "NONE".to_owned() } else { names.join(",") };
        others.push(format!("{}ctstatus {names}", not(STATUS)));
    }
    if tested(EXPIRES) {
        let (low, high) = (raw.u32(128)?, raw.u32(132)?);
        others.push(format!("{}ctexpire {low}:{high}", not(EXPIRES)));
    }
    if tested(DIRECTION) {
        // Without inversion the kernel means the original direction.
        let direction = if inverted & DIRECTION == 0 { "ORIGINAL" } else { "REPLY" };
        others.push(format!("ctdir {direction}"));
    }
    others.sort();
    Some(XtMatch::Conntrack {
        states: tested(STATE).then(|| nft_states(state)),
        others,
        invert: inverted & STATE != 0,
    })
}

fn prefix(address: IpAddr, mask: IpAddr) -> String {
    let (ones, bits) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), 32),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), 128),
    };
    if ones == bits { address.to_string() } else { format!("{address}/{ones}") }
}

/// `struct xt_state_info`: the same states, but untracked where conntrack has SNAT.
pub(super) fn state(raw: Fields) -> Option<XtMatch> {
    const UNTRACKED: u32 = 1 << 6;
    let mask = raw.u32(0)?;
    let known = u16::try_from(mask & (0xf | UNTRACKED)).ok()?;
    Some(XtMatch::Conntrack { states: Some(known), others: Vec::new(), invert: false })
}
