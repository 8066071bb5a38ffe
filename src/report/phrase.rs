//! How values are said to people; text, tables and Markdown use the same words.

use crate::model::{Bind, Endpoint, IpFamily, Owner, ServedBy, ZoneRef};
use crate::plan::{DecidedBy, Verdict, ZoneReach};
use crate::policy::Origin;
use std::fmt::Write as _;
use std::net::IpAddr;

/// `1 rule`, `3 rules`, `1,200 rules`.
pub fn count(number: usize, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", thousands(number))
}

/// A number with commas: `99,980`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A verdict.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Open => "open",
        Verdict::Limited => "limited",
        Verdict::Partial => "partial",
        Verdict::Closed => "closed",
        Verdict::Unknown => "unknown",
    }
}

/// An IP version as people write it.
pub fn family(family: IpFamily) -> &'static str {
    match family {
        IpFamily::Ipv4 => "IPv4",
        IpFamily::Ipv6 => "IPv6",
    }
}

/// What a client dials: `22/tcp`, `203.0.113.10:8080/tcp`, `[2001:db8::1]:53/udp`.
pub fn dialled(endpoint: &Endpoint) -> String {
    let port = format!("{}/{}", endpoint.ports, endpoint.protocol);
    let place = match endpoint.bind {
        Bind::Any | Bind::AnyIpv4 | Bind::AnyIpv6 => port,
        Bind::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
        Bind::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
    };
    match &endpoint.device {
        Some(device) => format!("{place} on {device}"),
        None => place,
    }
}

/// Who serves it: the container, else the process and its unit.
pub fn who(owner: &Owner) -> String {
    if let Some(container) = &owner.container {
        return format!("container {container}");
    }
    match (&owner.process, &owner.unit) {
        (Some(process), Some(unit)) if is_named_as(process, unit) => {
            unit.trim_end_matches(".service").to_owned()
        }
        (Some(process), Some(unit)) => format!("{process} ({unit})"),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => "owner not known".to_owned(),
    }
}

/// The same in a word, for narrow columns.
pub fn server(owner: &Owner) -> String {
    match owner {
        Owner { container: Some(container), .. } => container.clone(),
        Owner { process: Some(process), unit: Some(unit), .. } if is_named_as(process, unit) => {
            unit.trim_end_matches(".service").to_owned()
        }
        Owner { process: Some(only), .. } | Owner { unit: Some(only), .. } => only.clone(),
        Owner { .. } => "?".to_owned(),
    }
}

/// Whether a service is named as its process is. The kernel keeps 15 bytes of a process's name
/// (`TASK_COMM_LEN`).
fn is_named_as(process: &str, unit: &str) -> bool {
    let stem = unit.strip_suffix(".service");
    stem.is_some_and(|stem| stem == process || (process.len() == 15 && stem.starts_with(process)))
}

/// By which way it is served; empty for a socket of the host, the plain way.
pub fn path(served_by: &ServedBy) -> String {
    match served_by {
        ServedBy::HostSocket => String::new(),
        ServedBy::Proxy => "engine's proxy".to_owned(),
        ServedBy::Published { to: Some(IpAddr::V6(to)), to_port } => {
            format!("NAT to [{to}]:{to_port}")
        }
        ServedBy::Published { to: Some(to), to_port } => format!("NAT to {to}:{to_port}"),
        ServedBy::Published { to: None, to_port } => format!("NAT to port {to_port}"),
        ServedBy::Routed { network } => format!("in network {network}"),
    }
}

/// What decides, and where that is written: `allow policy.toml:12`, `default`,
/// `ip filter INPUT, though allow policy.toml:12`.
pub fn because(reach: &ZoneReach) -> String {
    let chain = reach.neighbour.as_ref().map(|rule| format!("{} {}", rule.table, rule.chain));
    let chain = chain.unwrap_or_else(|| "a neighbour".to_owned());
    match reach.decided_by {
        DecidedBy::Neighbour => {
            format!("{chain}, though {}", written(said(reach.policy), &reach.origins))
        }
        DecidedBy::PastPolicy => {
            format!("past {}", written(said(reach.policy), &reach.origins))
        }
        DecidedBy::Unclear => match &reach.depends_on[..] {
            [] => "not known".to_owned(),
            names => format!("depends on {}", list(names)),
        },
        decided_by => written(word(decided_by), &reach.origins),
    }
}

/// By which rule a neighbour keeps closed what the policy lets in; `None` where none does.
pub fn kept_by(reach: &ZoneReach) -> Option<String> {
    (reach.decided_by == DecidedBy::Neighbour).then(|| {
        let rule = reach.neighbour.as_ref().map(ToString::to_string);
        rule.unwrap_or_else(|| "a neighbour's rule".to_owned())
    })
}

/// What the policy says, in a word.
fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Closed => "deny",
        Verdict::Open | Verdict::Limited | Verdict::Partial | Verdict::Unknown => "allow",
    }
}

fn word(decided_by: DecidedBy) -> &'static str {
    match decided_by {
        DecidedBy::Allow => "allow",
        DecidedBy::Deny => "deny",
        DecidedBy::Default => "default",
        DecidedBy::Loopback => "bound to loopback",
        DecidedBy::Engine => "between containers: left to their engine",
        DecidedBy::ContainerNetwork => "container networks are closed",
        DecidedBy::Neighbour => "a neighbour",
        DecidedBy::Host => "the host does not take it there",
        DecidedBy::PastPolicy => "past the policy",
        DecidedBy::Unclear => "not known",
    }
}

/// A word and the lines of the policy that it stands for: `allow policy.toml:12`.
fn written(word: &str, origins: &[Origin]) -> String {
    let mut text = word.to_owned();
    let mut file = None;
    for (index, origin) in origins.iter().enumerate() {
        if index == 3 {
            let _ = write!(text, " and {} more", origins.len() - index);
            break;
        }
        if file == Some(&origin.file) {
            let _ = write!(text, ",{}", origin.line);
        } else {
            let _ = write!(text, "{}{origin}", if index == 0 { " " } else { ", " });
            file = Some(&origin.file);
        }
    }
    text
}

/// Where zones stand: those that strangers are in first, then the declared, then the host's own.
pub fn zone_order(zone: &ZoneRef) -> (u8, String) {
    let rank = match zone {
        ZoneRef::Internet => 0,
        ZoneRef::Declared(_) => 1,
        ZoneRef::Containers => 2,
        ZoneRef::Host => 3,
    };
    (rank, zone.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_read_as_people_write_them() {
        assert_eq!(count(1, "rule"), "1 rule");
        assert_eq!(count(0, "rule"), "0 rules");
        assert_eq!(thousands(99_980), "99,980");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn many_lines_of_a_policy_stay_short() {
        let origin = |file: &str, line| Origin { file: file.to_owned(), line };
        let origins = [
            origin("policy.toml", 3),
            origin("policy.toml", 9),
            origin("web", 4),
            origin("web", 7),
        ];
        assert_eq!(written("allow", &origins), "allow policy.toml:3,9, web:4 and 1 more");
        assert_eq!(written("default", &[]), "default");
    }

    #[test]
    fn a_unit_named_as_its_process_is_said_once() {
        let owner = |process: &str, unit: &str| Owner {
            process: Some(process.to_owned()),
            unit: Some(unit.to_owned()),
            container: None,
        };
        assert_eq!(who(&owner("nginx", "nginx.service")), "nginx");
        assert_eq!(who(&owner("sshd", "ssh.service")), "sshd (ssh.service)");
        let resolver = owner("systemd-resolve", "systemd-resolved.service");
        assert_eq!(who(&resolver), "systemd-resolved");
    }
}
