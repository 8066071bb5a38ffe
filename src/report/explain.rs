//! An [`Explanation`] → text for a terminal, JSON for a program.
//!
//! The answer first, then the way, hook by hook: what each rule did stands before the rule.

use super::layout::{labelled, styled};
use super::{phrase, style};
use crate::analyze::{Arrived, Ending, Explanation, Matched, Reach, Step};
use crate::model::nft::{Hook, RejectWith};
use anstyle::Style;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// As JSON; `docs/json.md` says what the fields mean.
#[allow(clippy::missing_panics_doc, reason = "the invariant holds for every explanation")]
pub fn json(explanation: &Explanation) -> String {
    let mut text = serde_json::to_string_pretty(explanation)
        .expect("an explanation's maps have text for keys, and its types do not fail to serialise");
    text.push('\n');
    text
}

/// As text of so many columns.
pub fn text(explanation: &Explanation, width: usize) -> String {
    let mut out = headline(explanation, width);
    for arrived in &explanation.ends {
        if explanation.ends.len() > 1 {
            let when = condition(&arrived.depends_on);
            let text = format!("{}{when}", end(arrived, explanation.protocol.to_string().as_str()));
            out += &labelled(2, "either", style::STRONG, &text, width);
        }
    }
    for name in &explanation.depends_on {
        out += &labelled(2, "depends on", style::STRONG, name, width);
    }
    if let Some(decider) = &explanation.decided_by {
        let place = format!("{} {}: {}", decider.table, decider.chain, decider.rule);
        out += &labelled(2, "decided by", style::STRONG, &place, width);
    } else if explanation.verdict == Reach::Open {
        out += &labelled(2, "decided by", style::STRONG, "no rule: nothing filters it", width);
    }
    let mut hook: Option<Hook> = None;
    for step in &explanation.steps {
        match step {
            Step::Routing { decision, .. } => {
                let _ = writeln!(out, "\n{}", styled(style::STRONG, "routing"));
                out += &labelled(2, "goes", Style::new(), decision, width);
                hook = None;
            }
            Step::Chain { hook: own, priority, table, chain, policy, rules } => {
                if hook != Some(*own) {
                    let _ = writeln!(out, "\n{}", styled(style::STRONG, own.as_str()));
                    hook = Some(*own);
                }
                let place = styled(style::FAINT, &format!("priority {priority}"));
                let _ = writeln!(out, "  {table} {chain} {place}");
                if rules.iter().all(|rule| rule.handle.is_none()) {
                    let effect = if *policy == "policy drop" { "drops" } else { "accepts" };
                    let text = format!("{policy}: no rule decides");
                    out +=
                        &labelled(4, &format!("{effect:<8}"), effect_style(effect), &text, width);
                    continue;
                }
                for rule in rules {
                    out += &matched(rule, chain, width);
                }
            }
        }
    }
    out
}

fn headline(explanation: &Explanation, width: usize) -> String {
    let Explanation { source, destination, port, protocol, .. } = explanation;
    let from = match (&explanation.zone, &explanation.interface) {
        (Some(zone), Some(interface)) => format!("{zone} ({source} by {interface})"),
        (Some(zone), None) => format!("{zone} ({source})"),
        (None, Some(interface)) => format!("{source} by {interface}"),
        (None, None) => format!("{source}, from the host itself,"),
    };
    let to = dialled(*destination, *port, &protocol.to_string());
    let (word, style) = match explanation.verdict {
        Reach::Open => ("open", style::ADDED),
        Reach::Limited => ("limited", style::WARNING),
        Reach::Partial => ("partial", style::WARNING),
        Reach::Closed => ("closed", style::ERROR),
        Reach::Unknown => ("not known", style::WARNING),
    };
    let what = match &explanation.ends[..] {
        [only] => format!(": {}", end(only, &protocol.to_string())),
        _ if explanation.verdict == Reach::Limited => ", only so often".to_owned(),
        _ => String::new(),
    };
    let text = format!("{from} to {to}{what}");
    labelled(0, word, style, &text, width)
}

fn dialled(address: IpAddr, port: u16, protocol: &str) -> String {
    if port == 0 {
        return format!("{address} {protocol}");
    }
    format!("{}/{protocol}", SocketAddr::new(address, port))
}

fn end(arrived: &Arrived, protocol: &str) -> String {
    let place = dialled(arrived.address, arrived.port.unwrap_or(0), protocol);
    let nobody = "nothing that fwctl knows of answers there";
    let who = arrived
        .owner
        .as_ref()
        .map_or_else(|| nobody.to_owned(), |owner| format!("{} answers", phrase::who(owner)));
    match &arrived.fate {
        Ending::Delivered => format!("comes to the host at {place}; {who}"),
        Ending::Forwarded(Some(name)) => format!("goes on by {name} to {place}; {who}"),
        Ending::Forwarded(None) => format!("goes on to {place}; {who}"),
        Ending::Dropped => "is dropped".to_owned(),
        Ending::Rejected(RejectWith::TcpReset) => "is answered with a reset".to_owned(),
        Ending::Rejected(_) => "is answered with an ICMP error".to_owned(),
        Ending::Host(why) => format!("goes nowhere: {why}"),
        Ending::Unknown => "is decided by something that fwctl cannot read".to_owned(),
    }
}

fn condition(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", depending on {}", phrase::list(names)) }
}

fn effect_style(effect: &str) -> Style {
    match effect {
        "accepts" => style::ADDED,
        "drops" | "rejects" => style::ERROR,
        "rewrites" | "changes" => style::CHANGED,
        "unclear" => style::WARNING,
        _ => Style::new(),
    }
}

fn matched(rule: &Matched, base: &str, width: usize) -> String {
    let mut text = rule.rule.clone();
    if rule.handle.is_none() {
        text += ": no rule decides";
    }
    if rule.chain != base {
        text = format!("{}: {text}", rule.chain);
    }
    if let Some(result) = &rule.result {
        text = format!("{text} ({result})");
    }
    text += &condition(&rule.depends_on);
    labelled(4, &format!("{:<8}", rule.effect), effect_style(rule.effect), &text, width)
}
