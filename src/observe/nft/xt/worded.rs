//! Matches whose options are kept as text: they depend on more than a packet and its connection, or
//! on what is in a packet that no zone tells apart.

use super::fields::{Fields, not};

/// The module's options; `None` for one that is not known, or too short.
pub(super) fn options(name: &str, revision: u32, raw: Fields) -> Option<Vec<String>> {
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
        ("set", 1..=4) => ipset(revision, raw),
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
        ("statistic", 0) => statistic(raw),
        ("time", 0) => time(raw),
        ("string", 0 | 1) => {
            let len = usize::from(raw.u8(148)?);
            let pattern = raw.raw.get(20..20 + len.min(128))?;
            let not = not(raw.u8(149)? & 1 != 0);
            let (algorithm, from, to) = (raw.text(4, 16)?, raw.u16(0)?, raw.u16(2)?);
            let pattern = String::from_utf8_lossy(pattern).into_owned();
            Some(vec![format!("{not}string {pattern:?} algo {algorithm} from {from} to {to}")])
        }
        ("tcpmss", 0) => {
            let range = format!("{}:{}", raw.u16(0)?, raw.u16(2)?);
            Some(vec![format!("{}mss {range}", not(raw.u8(4)? != 0))])
        }
        ("dscp", 0) => Some(vec![format!("{}dscp {:#04x}", not(raw.u8(1)? != 0), raw.u8(0)?)]),
        ("tos", 1) => {
            let (mask, value) = (raw.u8(0)?, raw.u8(1)?);
            Some(vec![format!("{}tos {value:#04x}/{mask:#04x}", not(raw.u8(2)? != 0))])
        }
        ("ecn", 0) => Some(vec![format!("of operations {:#x}", raw.u8(0)?)]),
        // `struct xt_helper_info`
        ("helper", 0) => {
            let helper = raw.text(4, 30)?;
            Some(vec![format!("{}helper {helper}", not(raw.u32(0)? != 0))])
        }
        ("connbytes", 0) => {
            let (low, high) = (raw.u64(0)?, raw.u64(8)?);
            let what = ["packets", "bytes", "avgpkt"].get(usize::from(raw.u8(16)?))?;
            let direction = ["original", "reply", "both"].get(usize::from(raw.u8(17)?))?;
            Some(vec![format!("connbytes {low}:{high} of {what} {direction}")])
        }
        ("connlabel", 1 | 0) => {
            let options = raw.u16(2)?;
            let mut words = vec![format!("{}label {}", not(options & 1 != 0), raw.u16(0)?)];
            if options & 2 != 0 {
                words.push("set".to_owned());
            }
            Some(words)
        }
        ("cgroup", 0) => Some(vec![format!("{}cgroup {}", not(raw.u32(4)? != 0), raw.u32(0)?)]),
        ("cgroup", 1 | 2) => {
            if raw.u8(0)? == 0 {
                return Some(vec![format!("{}of a class", not(raw.u8(3)? != 0))]);
            }
            let len = if revision == 1 { 4096 } else { 512 };
            Some(vec![format!("{}path {}", not(raw.u8(2)? != 0), raw.text(4, len)?)])
        }
        ("cpu", 0) => Some(vec![format!("{}cpu {}", not(raw.u32(4)? != 0), raw.u32(0)?)]),
        ("devgroup", 0) => devgroup(raw),
        ("realm", 0) => {
            let (id, mask) = (raw.u32(0)?, raw.u32(4)?);
            Some(vec![format!("{}realm {id:#x}/{mask:#x}", not(raw.u8(8)? != 0))])
        }
        // `struct ipt_ah`, `struct xt_esp`, and `struct ip6t_ah`, which begins the same.
        ("ah" | "esp", 0) => {
            let range = format!("{}:{}", raw.u32(0)?, raw.u32(4)?);
            Some(vec![format!("{name}spi {range}")])
        }
        ("osf", 0) => Some(vec![format!("genre {}", raw.text(0, 32)?)]),
        ("quota", 0) => Some(vec![format!("{}quota {}", not(raw.u32(0)? & 1 != 0), raw.u64(8)?)]),
        ("socket", 0) => Some(vec!["of any socket".to_owned()]),
        ("socket", 1..=3) => {
            let names = [(1, "transparent"), (2, "nowildcard"), (4, "restore-skmark")];
            Some(named(&names, raw.u8(0)?))
        }
        // `struct ip6t_frag`, `struct ip6t_opts`, `struct ip6t_mh`: extension headers.
        ("frag" | "hbh" | "dst" | "mh", 0) => Some(vec!["of an extension header".to_owned()]),
        ("ipv6header", 0) => Some(vec![format!("headers {:#x} of {:#x}", raw.u8(0)?, raw.u8(0)?)]),
        ("eui64", 0) => Some(vec!["of the source".to_owned()]),
        // Countries as two letters each, of the country databases of xtables-addons.
        ("geoip", 1) => geoip(raw),
        // Programs of their own: what they say is not in the rule's words.
        ("u32" | "bpf" | "rateest" | "cluster" | "nfacct" | "dccp" | "l2tp" | "ipcomp", _) => {
            Some(vec!["of a program that is not read".to_owned()])
        }
        _ => None,
    }
}

/// `struct xt_set_info`, and behind it in later revisions the comparison of counters. The kernel
/// keeps the set by its number.
fn ipset(revision: u32, raw: Fields) -> Option<Vec<String>> {
    let (index, dimensions, flags) = (raw.u16(0)?, raw.u8(2)?, raw.u8(3)?);
    let sides: Vec<&str> = (1..=dimensions.min(3))
        .map(|dimension| if flags & 1 << dimension != 0 { "src" } else { "dst" })
        .collect();
    let mut words = vec![format!("{}number {index} {}", not(flags & 1 != 0), sides.join(","))];
    let (packets, bytes) = match revision {
        3 => (raw.u8(8)?, raw.u8(24)?),
        4 => (raw.u8(16)?, raw.u8(32)?),
        _ => (0, 0),
    };
    let more = if revision >= 3 { raw.u32(40)? } else { 0 };
    if packets != 0 || bytes != 0 || more != 0 {
        words.push("with counters or flags".to_owned());
    }
    Some(words)
}

/// `struct xt_statistic_info`.
fn statistic(raw: Fields) -> Option<Vec<String>> {
    let not = not(raw.u16(2)? & 1 != 0);
    Some(match raw.u16(0)? {
        0 => {
            let probability = f64::from(raw.u32(4)?) / f64::from(1_u32 << 31);
            vec![format!("mode random {not}probability {probability:.5}")]
        }
        1 => {
            let (every, packet) = (u64::from(raw.u32(4)?) + 1, raw.u32(8)?);
            vec![format!("mode nth {not}every {every} packet {packet}")]
        }
        _ => return None,
    })
}

/// `struct xt_time_info`.
fn time(raw: Fields) -> Option<Vec<String>> {
    const SECONDS_OF_DAY: u32 = 86_400;
    let clock = |seconds: u32| {
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    };
    let (date_start, date_stop) = (raw.u32(0)?, raw.u32(4)?);
    let (start, stop) = (raw.u32(8)?, raw.u32(12)?);
    let (days_of_month, days_of_week) = (raw.u32(16)?, raw.u8(20)?);
    let mut words = Vec::new();
    if date_start != 0 || date_stop != u32::MAX >> 1 {
        words.push(format!("seconds {date_start}-{date_stop}"));
    }
    if start != 0 || stop.saturating_add(1) < SECONDS_OF_DAY {
        words.push(format!("timestart {} timestop {}", clock(start), clock(stop)));
    }
    if days_of_month != 0xffff_fffe {
        words.push(format!("monthdays {days_of_month:#x}"));
    }
    if days_of_week != 0xfe {
        words.push(format!("weekdays {days_of_week:#x}"));
    }
    Some(words)
}

/// `struct xt_devgroup_info`.
fn devgroup(raw: Fields) -> Option<Vec<String>> {
    let flags = raw.u32(0)?;
    let mut words = Vec::new();
    for (matched, inverted, option, at) in [(1, 2, "src-group", 4), (4, 8, "dst-group", 12)] {
        if flags & matched != 0 {
            let (group, mask) = (raw.u32(at)?, raw.u32(at + 4)?);
            words.push(format!("{}{option} {group:#x}/{mask:#x}", not(flags & inverted != 0)));
        }
    }
    Some(words)
}

/// `struct xt_geoip_match_info` of xtables-addons: flags, how many, two letters each.
fn geoip(raw: Fields) -> Option<Vec<String>> {
    const DESTINATION: u8 = 2;
    const INVERTED: u8 = 4;
    let flags = raw.u8(0)?;
    let countries: Option<Vec<String>> = (0..usize::from(raw.u8(1)?).min(15))
        .map(|index| {
            let [first, second] = raw.u16(2 + 2 * index)?.to_be_bytes();
            Some(format!("{}{}", char::from(first), char::from(second)))
        })
        .collect();
    let side = if flags & DESTINATION != 0 { "destination" } else { "source" };
    let not = not(flags & INVERTED != 0);
    Some(vec![format!("{not}{side}-country {}", countries?.join(","))])
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
