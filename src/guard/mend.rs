//! What mends a way in that would be lost: TOML to add, or what else there is to do.

use super::{Cause, Lost, What};
use crate::analyze::Decider;
use crate::model::{PortSpec, Protocol};

/// The ports that mosh takes by itself (`mosh-server(1)`).
const MOSH: std::ops::RangeInclusive<u16> = 60000..=61000;

/// The TOML that lets it in; `None` where adding something mends nothing.
pub(super) fn toml(lost: &Lost) -> Option<String> {
    if lost.cause != Cause::NoRule {
        return None;
    }
    let port = match (&lost.what, lost.port) {
        // The next session takes the next port.
        (What::Mosh, PortSpec::Ports(_, range)) if MOSH.contains(&range.first()) => {
            format!("{}-{}/udp", MOSH.start(), MOSH.end())
        }
        _ => lost.port.to_string(),
    };
    // A link-local address is another one on each link.
    let Some((_, interface)) = lost.from.split_once('%') else {
        return Some(format!("[[allow]]\nports = [\"{port}\"]\nfrom  = [\"{}\"]\n", lost.from));
    };
    let name = port.replace('/', "-");
    let name: String = format!("link-{interface}-{name}")
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    Some(format!(
        "[zone.{name}]\ninterfaces = [\"{interface}\"]\naddresses  = [\"fe80::/10\"]\n\n\
         [[allow]]\nports = [\"{port}\"]\nfrom  = [\"{name}\"]\n"
    ))
}

/// What else there is to do.
pub(super) fn advice(lost: &Lost) -> Option<String> {
    match (&lost.cause, &lost.what) {
        (Cause::Denied(origins), _) => {
            let origin = origins.first()?;
            Some(format!("a deny beats every allow: narrow `from` or the ports of {origin}"))
        }
        (Cause::Neighbour { rule, manager }, _) => Some(format!(
            "no policy mends that, since a drop of another table is final: {}",
            command(lost, rule, *manager)
        )),
        (Cause::NoRule, What::Listener(_) | What::Keep) if lost.from == "internet" => Some(
            "where SSH is meant for some only, say for whom it must stay open: \
             `[guard]` with `from = [...]`"
                .to_owned(),
        ),
        (Cause::FromTheHost, _) => Some(
            "log in by an address of this host from outside, end that session, and try again; or \
             say with `--override-guard` that you have another way in"
                .to_owned(),
        ),
        (Cause::Unclear(_), What::Tunnel { .. } | What::Ipsec { .. }) => Some(
            "say which port the VPN needs, so that it can be proved: `[guard]` with \
             `keep = [\"ssh\", \"1194/udp\"]`"
                .to_owned(),
        ),
        (Cause::Unclear(_), _) => Some(
            "what is not known is no proof; if it is right as it is, say so with \
             `--override-guard`"
                .to_owned(),
        ),
        (Cause::NoRule | Cause::Host(_), _) => None,
    }
}

/// The command that opens it in another's table.
fn command(lost: &Lost, rule: &Decider, manager: Option<&str>) -> String {
    let (port, protocol) = match lost.port {
        PortSpec::Ports(protocol, range) => (range.to_string(), protocol),
        PortSpec::Protocol(protocol) => return command_for(lost, rule, manager, protocol),
        PortSpec::All => (String::new(), Protocol::TCP),
    };
    let source = lost.witness.as_deref().and_then(|own| own.split(' ').next());
    match manager {
        Some("ufw") => format!("`ufw allow {port}/{protocol}`"),
        Some("firewalld") => format!(
            "`firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload`"
        ),
        Some("fail2ban") => match source {
            Some(source) => format!("`fail2ban-client unban {source}`"),
            None => "`fail2ban-client unban ADDRESS`".to_owned(),
        },
        _ => by_hand(rule, &port, protocol),
    }
}

/// The same for a protocol without ports.
fn command_for(lost: &Lost, rule: &Decider, manager: Option<&str>, protocol: Protocol) -> String {
    let builtin = matches!(rule.chain.as_str(), "INPUT" | "FORWARD");
    let number = protocol.0;
    let chain = &rule.chain;
    // Those that ufw(8) knows: igmp, ipv6, gre, esp, ah.
    let known = matches!(number, 2 | 41 | 47 | 50 | 51);
    let from = if lost.from == "internet" { "any" } else { &lost.from };
    match (manager, rule.table.as_str(), rule.handle) {
        (Some("ufw"), ..) if known => format!("`ufw allow proto {protocol} from {from}`"),
        (Some("ufw"), ..) => format!(
            "`-A ufw-before-input -p {number} -j ACCEPT` in /etc/ufw/before.rules, then `ufw reload`"
        ),
        (Some("firewalld"), ..) => {
            format!("`firewall-cmd --permanent --add-protocol={number} && firewall-cmd --reload`")
        }
        (_, "ip filter", _) if builtin => format!("`iptables -I {chain} -p {number} -j ACCEPT`"),
        (_, "ip6 filter", _) if builtin => format!("`ip6tables -I {chain} -p {number} -j ACCEPT`"),
        (_, table, Some(handle)) => format!("`nft delete rule {table} {chain} handle {handle}`"),
        (_, table, None) => {
            format!("`nft insert rule {table} {chain} meta l4proto {number} accept`")
        }
    }
}

fn by_hand(rule: &Decider, port: &str, protocol: Protocol) -> String {
    let builtin = matches!(rule.chain.as_str(), "INPUT" | "FORWARD");
    match (rule.table.as_str(), rule.handle) {
        ("ip filter", _) if builtin => {
            format!("`iptables -I {} -p {protocol} --dport {port} -j ACCEPT`", rule.chain)
        }
        ("ip6 filter", _) if builtin => {
            format!("`ip6tables -I {} -p {protocol} --dport {port} -j ACCEPT`", rule.chain)
        }
        (table, Some(handle)) => {
            format!("`nft delete rule {table} {} handle {handle}`", rule.chain)
        }
        (table, None) => {
            format!("`nft insert rule {table} {} {protocol} dport {port} accept`", rule.chain)
        }
    }
}

/// The program that manages a rule, as its names tell, where it is on the host.
pub(super) fn manager(rule: &Decider, managers: &[String]) -> Option<&'static str> {
    let here = |name: &str| managers.iter().any(|own| own == name);
    let filter = matches!(rule.table.as_str(), "ip filter" | "ip6 filter");
    if rule.chain.starts_with("ufw")
        || (filter && rule.chain == "INPUT" && rule.handle.is_none() && here("ufw"))
    {
        Some("ufw")
    } else if rule.table == "inet firewalld" {
        Some("firewalld")
    } else if rule.chain.starts_with("f2b-") || rule.table == "inet f2b-table" {
        Some("fail2ban")
    } else {
        None
    }
}
