//! The small languages inside texts: rates, durations, ports, sources.

use crate::model::nft::RateUnit;
use crate::model::prefix::PrefixError;
use crate::model::{PortSpec, Prefix, ZoneName};
use crate::policy::Rate;
use crate::policy::diagnostic::{At, Problem, Problems};
use crate::policy::suggest::{did_you_mean, nearest};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How many may come at once where a rate does not say.
const DEFAULT_BURST: u32 = 5;

/// The bounds of `keep_generations`: there is always one to go back to.
const KEEP_BOUNDS: (u32, u32) = (2, 1000);

/// The bounds of `confirm_within`.
pub(super) const CONFIRM_BOUNDS: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(3600));

const UNITS: [(&str, RateUnit); 4] = [
    ("second", RateUnit::Second),
    ("minute", RateUnit::Minute),
    ("hour", RateUnit::Hour),
    ("day", RateUnit::Day),
];

/// Reads `6/minute` and `6/minute burst 10`.
pub(super) fn rate(problems: &mut Problems, text: &At<String>) -> Option<Rate> {
    let fail = |problems: &mut Problems, label: String, fix: String| {
        let message = format!("`{}` is no rate", text.value);
        problems.push(Problem::error("bad-rate", &text.at, message).label(label).fix(fix));
        None
    };
    let example = || "write `\"6/minute\"` or `\"6/minute burst 10\"`".to_owned();
    let words: Vec<&str> = text.value.split_whitespace().collect();
    let (amount, burst) = match words[..] {
        [amount] => (amount, None),
        [amount, "burst", burst] => (amount, Some(burst)),
        _ => return fail(problems, "not of the form N/UNIT".into(), example()),
    };
    let Some((count, unit)) = amount.split_once('/') else {
        return fail(problems, "not of the form N/UNIT".into(), example());
    };
    let Some(per) = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, unit)| *unit) else {
        let label = format!("`{unit}` is no unit; there are second, minute, hour and day");
        let by_start = UNITS.iter().find(|(name, _)| !unit.is_empty() && name.starts_with(unit));
        let meant = nearest(unit, UNITS.iter().map(|(name, _)| *name));
        let fix = match meant.or(by_start.map(|(name, _)| *name)) {
            Some(meant) => format!("write `\"{count}/{meant}\"`"),
            None => example(),
        };
        return fail(problems, label, fix);
    };
    let positive = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let Some(count) = positive(count) else {
        return fail(problems, format!("`{count}` is no whole number above 0"), example());
    };
    let burst = match burst.map(|burst| (burst, positive(burst))) {
        None => DEFAULT_BURST,
        Some((_, Some(burst))) => burst,
        Some((burst, None)) => {
            return fail(problems, format!("`{burst}` is no whole number above 0"), example());
        }
    };
    Some(Rate { count, per, burst })
}

/// Reads `60s`, `5m`, `1h`.
pub(super) fn duration(problems: &mut Problems, text: &At<String>) -> Option<Duration> {
    let digits = text.value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.value.split_at(digits);
    let factor = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
    let Some(seconds) = seconds else {
        problems.push(
            Problem::error("bad-duration", &text.at, format!("`{}` is no duration", text.value))
                .label("a number and its unit: s, m or h")
                .fix("write `\"60s\"` or `\"5m\"`"),
        );
        return None;
    };
    let duration = Duration::from_secs(seconds);
    let (least, most) = CONFIRM_BOUNDS;
    if duration < least || duration > most {
        let (label, fix) = if duration < least {
            ("shorter than 10 seconds: too little to look and type", "write `\"10s\"` or more")
        } else {
            ("longer than an hour", "write `\"1h\"` or less")
        };
        let message = format!("`{}` is out of bounds", text.value);
        problems.push(Problem::error("bad-duration", &text.at, message).label(label).fix(fix));
        return None;
    }
    Some(duration)
}

/// Reads how many generations are kept.
pub(super) fn keep_generations(problems: &mut Problems, number: &At<i64>) -> Option<u32> {
    let (least, most) = KEEP_BOUNDS;
    let kept = u32::try_from(number.value).ok().filter(|kept| (least..=most).contains(kept));
    if kept.is_none() {
        let message = format!("`keep_generations` cannot be {}", number.value);
        problems.push(
            Problem::error("bad-value", &number.at, message)
                .label(format!("not from {least} to {most}"))
                .fix("write `keep_generations = 32`"),
        );
    }
    kept
}

/// Whether a word is written like a port rather than like a name.
pub(crate) fn like_a_port(word: &str) -> bool {
    word.contains('/') || word.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads an entry of `ports`.
pub(crate) fn port(problems: &mut Problems, text: &At<String>) -> Option<PortSpec> {
    let error = match text.value.parse::<PortSpec>() {
        Ok(spec) => return Some(spec),
        Err(error) => error,
    };
    let message = format!("`{}` is no port", text.value);
    let label = match text.value.split_once('/') {
        None if like_a_port(&text.value) => "which protocol?".to_owned(),
        Some((protocol, port)) if port_first(protocol, port) => {
            "the port comes first, then the protocol".to_owned()
        }
        _ => error.0,
    };
    let problem = Problem::error("bad-port", &text.at, message).label(label);
    problems.push(problem.maybe_fix(port_fix(&text.value)));
    None
}

/// Whether it is `tcp/22`, as users of other firewalls write it.
fn port_first(protocol: &str, port: &str) -> bool {
    ["tcp", "udp", "sctp"].contains(&protocol) && like_a_port(port)
}

fn port_fix(text: &str) -> Option<String> {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let lower = text.trim().to_ascii_lowercase();
    let candidate = match lower.split_once('/') {
        None if lower.starts_with(|c: char| c.is_ascii_digit()) => {
            let spec = format!("{}/tcp", lower.replace([':', ' '], "-"));
            return spec
                .parse::<PortSpec>()
                .ok()
                .map(|spec| format!("write `\"{spec}\"`, or `/udp` where it is UDP"));
        }
        None => {
            return Some(
                did_you_mean(
                    text,
                    ["icmp", "icmpv6", "igmp", "gre", "esp", "ah", "vrrp", "tcp", "udp", "all"],
                )
                .unwrap_or_else(|| {
                    format!(
                        "a service is named in `service = [\"{text}\"]`; a port is `\"8080/tcp\"`"
                    )
                }),
            );
        }
        Some((ports, protocol)) => {
            // `tcp/22` as ufw and firewalld users may write it.
            let (ports, protocol) =
                if PROTOCOLS.contains(&ports) { (protocol, ports) } else { (ports, protocol) };
            let ports = ports.replace(':', "-");
            let ports = match ports.split_once('-') {
                Some((first, last)) if first.parse::<u16>().ok() > last.parse::<u16>().ok() => {
                    format!("{last}-{first}")
                }
                _ => ports,
            };
            match protocol.parse::<crate::model::Protocol>() {
                Ok(protocol) if !protocol.has_ports() => protocol.to_string(),
                Ok(_) => format!("{ports}/{protocol}"),
                Err(_) => format!("{ports}/{}", nearest(protocol, PROTOCOLS)?),
            }
        }
    };
    candidate.parse::<PortSpec>().ok().map(|spec| format!("write `\"{spec}\"`"))
}

/// Reads a prefix.
pub(crate) fn prefix(problems: &mut Problems, text: &At<String>) -> Option<Prefix> {
    let error = match text.value.parse::<Prefix>() {
        Ok(prefix) => return Some(prefix),
        Err(error) => error,
    };
    let problem = match &error {
        PrefixError::HostBits { given, meant } => {
            Problem::error("host-bits", &text.at, format!("`{given}` has host bits set"))
                .label(format!("the prefix is `{meant}`"))
                .fix(host_bits_fix(given, *meant))
        }
        PrefixError::Syntax(given) => Problem::error(
            "bad-address",
            &text.at,
            format!("`{given}` is no address and no prefix"),
        )
        .label("neither IPv4 nor IPv6")
        .fix(address_fix(given)),
    };
    problems.push(problem);
    None
}

fn host_bits_fix(given: &str, meant: Prefix) -> String {
    match given.split_once('/') {
        Some((address, _)) => {
            format!("write `{meant}` for the network, or `{address}` for the one address")
        }
        None => format!("write `{meant}`"),
    }
}

fn address_fix(given: &str) -> String {
    if let Some((address, length)) = given.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        if let Ok(mask) = length.parse::<Ipv4Addr>() {
            let bits = mask.to_bits();
            let length = u8::try_from(bits.leading_ones()).unwrap_or(32);
            if let Some(prefix) = Prefix::around(address, length)
                && bits.leading_ones() + bits.trailing_zeros() == 32
            {
                return format!("write `{prefix}`");
            }
        }
        let (version, most) = if address.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
        return format!("the length of an {version} prefix is 0 to {most}");
    }
    if let Some((first, last)) = given.split_once('-')
        && first.trim().parse::<IpAddr>().is_ok()
        && last.trim().parse::<IpAddr>().is_ok()
    {
        return "write the range as prefixes, such as `192.0.2.0/25`".to_owned();
    }
    if given.contains(|c: char| c.is_ascii_alphabetic()) && !given.contains([':', '/']) {
        return "names are not looked up: write the addresses".to_owned();
    }
    "write an address such as `192.0.2.7`, or a prefix such as `192.0.2.0/24`".to_owned()
}

/// An entry of `from` before names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// A zone's name.
    Name(String),
    /// `@name`.
    Set(ZoneName),
    /// A prefix.
    Address(Prefix),
}

/// Reads an entry of `from`: what begins like a name is one.
pub(super) fn word(problems: &mut Problems, text: At<String>) -> Option<At<Word>> {
    let like_an_address =
        text.value.contains(['/', ':']) || text.value.starts_with(|c: char| c.is_ascii_digit());
    let value = match text.value.strip_prefix('@') {
        Some(_) => Word::Set(set_name(problems, &text)?),
        None if like_an_address => Word::Address(prefix(problems, &text)?),
        None => Word::Name(text.value),
    };
    Some(At { value, at: text.at })
}

/// Reads an entry of `addresses`: a prefix or `@set`.
pub(super) fn address(problems: &mut Problems, text: At<String>) -> Option<At<Word>> {
    let value = if text.value.starts_with('@') {
        Word::Set(set_name(problems, &text)?)
    } else {
        Word::Address(prefix(problems, &text)?)
    };
    Some(At { value, at: text.at })
}

fn set_name(problems: &mut Problems, text: &At<String>) -> Option<ZoneName> {
    name(
        problems,
        "set",
        &At { value: text.value.trim_start_matches('@').to_owned(), at: text.at.clone() },
    )
}

/// Reads the name of a zone, set or service.
pub(super) fn name(problems: &mut Problems, what: &str, text: &At<String>) -> Option<ZoneName> {
    let name = text.value.parse::<ZoneName>().ok();
    if name.is_none() {
        let message = format!("`{}` is no name of a {what}", text.value);
        problems.push(
            Problem::error("bad-name", &text.at, message)
                .label("a letter, then at most 31 letters, digits, `-` or `_`"),
        );
    }
    name
}
