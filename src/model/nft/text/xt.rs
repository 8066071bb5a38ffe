//! Matches and targets of iptables → words of `iptables-extensions(8)`, for people only.

use super::{Context, Network, value};
use crate::model::nft::{Bytes, NatKind, RejectWith, XtKind, XtMatch};
use std::net::IpAddr;

/// `xt match conntrack ctstate RELATED,ESTABLISHED`.
pub(super) fn text(
    kind: XtKind,
    name: &str,
    decoded: Option<&XtMatch>,
    raw: &Bytes,
    context: &Context,
) -> String {
    let kind = match kind {
        XtKind::Match => "match",
        XtKind::Target => "target",
    };
    let options = match decoded {
        Some(decoded) => options(decoded, context),
        None => vec![format!("of {} bytes that are not understood", raw.len())],
    };
    let mut text = format!("xt {kind} {name}");
    for option in options.into_iter().filter(|option| !option.is_empty()) {
        text.push(' ');
        text.push_str(&option);
    }
    text
}

fn not(invert: bool) -> &'static str {
    if invert { "! " } else { "" }
}

fn ports((low, high): (u16, u16)) -> String {
    if low == high { low.to_string() } else { format!("{low}:{high}") }
}

fn addresses((low, high): (IpAddr, IpAddr)) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

fn bits(names: &[(u16, &str)], set: u16) -> String {
    let known: Vec<_> =
        names.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name).collect();
    if known.is_empty() { format!("{set:#x}") } else { known.join(",") }
}

/// `NF_CT_STATE_BIT()` and `XT_CONNTRACK_STATE_*`, as `iptables` names them.
const STATES: [(u16, &str); 7] = [
    (1, "INVALID"),
    (2, "ESTABLISHED"),
    (4, "RELATED"),
    (8, "NEW"),
    (64, "UNTRACKED"),
    (128, "SNAT"),
    (256, "DNAT"),
];

/// `1 << RTN_*`.
const ADDRESS_TYPES: [(u16, &str); 12] = [
    (1, "UNSPEC"),
    (2, "UNICAST"),
    (4, "LOCAL"),
    (8, "BROADCAST"),
    (16, "ANYCAST"),
    (32, "MULTICAST"),
    (64, "BLACKHOLE"),
    (128, "UNREACHABLE"),
    (256, "PROHIBIT"),
    (512, "THROW"),
    (1024, "NAT"),
    (2048, "XRESOLVE"),
];

const TCP_FLAGS: [(u16, &str); 8] = [
    (1, "FIN"),
    (2, "SYN"),
    (4, "RST"),
    (8, "PSH"),
    (16, "ACK"),
    (32, "URG"),
    (64, "ECE"),
    (128, "CWR"),
];

fn marked(value: u32, mask: u32) -> String {
    if mask == u32::MAX { format!("{value:#x}") } else { format!("{value:#x}/{mask:#x}") }
}

fn options(decoded: &XtMatch, context: &Context) -> Vec<String> {
    match decoded {
        XtMatch::Conntrack { states, others, invert } => {
            let states =
                states.map(|set| format!("{}ctstate {}", not(*invert), bits(&STATES, set)));
            states.into_iter().chain(others.iter().cloned()).collect()
        }
        XtMatch::Ports {
            protocol: _,
            source,
            destination,
            invert_source,
            invert_destination,
            flags,
            invert_flags,
            option,
        } => {
            let mut words = Vec::new();
            let any = |range: (u16, u16), invert: bool| range == (0, u16::MAX) && !invert;
            if !any(*source, *invert_source) {
                words.push(format!("{}sport {}", not(*invert_source), ports(*source)));
            }
            if !any(*destination, *invert_destination) {
                words.push(format!("{}dport {}", not(*invert_destination), ports(*destination)));
            }
            if let Some((mask, value)) = flags {
                let list = |set: u8| match set {
                    0 => "NONE".to_owned(),
                    _ => bits(&TCP_FLAGS, set.into()),
                };
                let not = not(*invert_flags);
                words.push(format!("{not}tcp-flags {} {}", list(*mask), list(*value)));
            }
            words.extend(option.clone());
            words
        }
        XtMatch::Multiport { side, ranges, invert } => {
            let side = match side.as_str() {
                "source" => "sports",
                "destination" => "dports",
                _ => "ports",
            };
            let list: Vec<_> = ranges.iter().map(|range| ports(*range)).collect();
            vec![format!("{}{side} {}", not(*invert), list.join(","))]
        }
        XtMatch::AddrType {
            source,
            destination,
            invert_source,
            invert_destination,
            limit_iif,
            limit_oif,
        } => {
            let mut words = Vec::new();
            if *source != 0 {
                let types = bits(&ADDRESS_TYPES, *source);
                words.push(format!("{}src-type {types}", not(*invert_source)));
            }
            if *destination != 0 {
                let types = bits(&ADDRESS_TYPES, *destination);
                words.push(format!("{}dst-type {types}", not(*invert_destination)));
            }
            if *limit_iif {
                words.push("limit-iface-in".to_owned());
            }
            if *limit_oif {
                words.push("limit-iface-out".to_owned());
            }
            words
        }
        XtMatch::Nat { kind, addresses: to, ports: range, flags } => {
            nat(*kind, *to, *range, *flags)
        }
        XtMatch::Mark { connection: _, mark, mask: bits, invert } => {
            vec![format!("{}mark {}", not(*invert), marked(*mark, *bits))]
        }
        XtMatch::SetMark { connection: _, clear, xor, mode } => match mode.as_str() {
            "set" => vec![format!("set-xmark {}", marked(*xor, *clear))],
            mode => vec![format!("{mode}-mark clear {clear:#x} xor {xor:#x}")],
        },
        XtMatch::Comment { text } => vec![value::quoted(text)],
        XtMatch::Limit { average, burst } => vec![limit(*average), format!("burst {burst}")],
        XtMatch::Reject { with } => vec![match (with, context.network) {
            (RejectWith::TcpReset, _) => "with tcp-reset".to_owned(),
            (RejectWith::Icmp(code), Some(Network::Ipv6)) => format!("with icmpv6 code {code}"),
            (RejectWith::Icmp(code) | RejectWith::Icmpx(code), _) => {
                format!("with icmp code {code}")
            }
        }],
        XtMatch::Log { prefix } => vec![format!("prefix {}", value::quoted(prefix))],
        XtMatch::Icmp { kind: 255, .. } => vec!["type any".to_owned()],
        XtMatch::Icmp { kind, codes, invert } => {
            let code = match codes {
                (0, 255) => String::new(),
                (low, high) if low == high => format!("/{low}"),
                (low, high) => format!("/{low}-{high}"),
            };
            vec![format!("{}type {kind}{code}", not(*invert))]
        }
        XtMatch::Mac { address, invert } => {
            let address: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            vec![format!("{}source {}", not(*invert), address.join(":"))]
        }
        XtMatch::IpRange { source, destination, invert_source, invert_destination } => {
            let source =
                source.map(|range| format!("{}src {}", not(*invert_source), addresses(range)));
            let destination = destination
                .map(|range| format!("{}dst {}", not(*invert_destination), addresses(range)));
            source.into_iter().chain(destination).collect()
        }
        XtMatch::PktType { kind, invert } => {
            let name = match kind {
                0 => "host",
                1 => "broadcast",
                2 => "multicast",
                3 => "otherhost",
                _ => "unknown",
            };
            vec![format!("{}type {name}", not(*invert))]
        }
        XtMatch::Other { options } => options.clone(),
    }
}

/// `average` is the time between two packets in units of 1/10,000 s (`XT_LIMIT_SCALE`).
fn limit(average: u32) -> String {
    const SCALE: u32 = 10_000;
    const UNITS: [(u32, &str); 4] =
        [(1, "second"), (60, "minute"), (3_600, "hour"), (86_400, "day")];
    let average = average.max(1);
    let exact = UNITS.iter().find(|(seconds, _)| {
        (seconds * SCALE).is_multiple_of(average) && seconds * SCALE >= average
    });
    match exact {
        Some((seconds, name)) => format!("limit {}/{name}", seconds * SCALE / average),
        None => format!("limit 1 every {} ms", average / 10),
    }
}

fn nat(
    kind: NatKind,
    to: Option<(IpAddr, IpAddr)>,
    range: Option<(u16, u16)>,
    flags: u32,
) -> Vec<String> {
    let word = match kind {
        NatKind::Snat => "to-source ",
        NatKind::Dnat => "to-destination ",
        NatKind::Masquerade | NatKind::Redirect => "to-ports ",
        NatKind::Tproxy => "on ",
    };
    let ports = range.map(
        |(low, high)| {
            if low == high { low.to_string() } else { format!("{low}-{high}") }
        },
    );
    let mut words = match (to, ports) {
        (None, None) => Vec::new(),
        (None, Some(ports)) => vec![format!("{word}{ports}")],
        (Some(to), None) => vec![format!("{word}{}", addresses(to))],
        (Some(to), Some(ports)) if to.0.is_ipv6() => {
            vec![format!("{word}[{}]:{ports}", addresses(to))]
        }
        (Some(to), Some(ports)) => vec![format!("{word}{}:{ports}", addresses(to))],
    };
    for (flag, name) in [(4, "random"), (8, "persistent"), (16, "random-fully")] {
        if flags & flag != 0 {
            words.push(name.to_owned());
        }
    }
    words
}
