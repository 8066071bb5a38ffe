//! What the policy forbids and the rules let through, for a person: each thing that can be dialled
//! once, and under it from where, by which way and by whose decision.

use super::layout::{labelled, styled};
use super::reachability::{names, why, word};
use super::{phrase, style};
use crate::analyze::{Exposed, Exposure, Violation, ZoneReach};
use crate::model::{IpFamily, ZoneRef};
use std::fmt::Write as _;

/// All of them, or that there are none.
pub(super) fn text(exposure: &Exposure, width: usize) -> String {
    let mut out = String::new();
    let mut before: Option<String> = None;
    for exposed in &exposure.endpoints {
        let groups = groups(exposed);
        if groups.is_empty() {
            continue;
        }
        if before.is_none() {
            let _ = writeln!(out, "\n{}", styled(style::ERROR, "Not as the policy says"));
        }
        let (dialled, who) = names(exposed);
        let head = format!("{dialled}  {who}");
        // The sockets of both IP versions of one service are one to whoever dials.
        if before.as_ref() != Some(&head) {
            let _ = writeln!(out, "  {}  {who}", styled(style::STRONG, &dialled));
        }
        before = Some(head);
        for group in groups {
            let first = group[0];
            let open = format!("{} for {}", word(first.verdict), from(exposed, &group));
            let open = match first.violation {
                Some(Violation::NotProved) => format!("{open}: it is not known that it is closed"),
                _ => format!("{open}; {}", says(first)),
            };
            out.push_str(&labelled(4, "-", style::ERROR, &open, width));
            out.push_str(&labelled(6, "through", style::FAINT, &why(first), width));
            if let Some(witness) = &first.witness {
                let witness = witness.to_string();
                out.push_str(&labelled(6, "for example", style::FAINT, &witness, width));
            }
        }
    }
    if before.is_none() && exposure.policy {
        let nothing = "nothing is open that the policy closes";
        let _ = writeln!(out, "\n  {}", styled(style::ADDED, nothing));
    }
    out
}

/// Violations of which nothing but the zone and the IP version differs.
fn groups(exposed: &Exposed) -> Vec<Vec<&ZoneReach>> {
    let mut groups: Vec<Vec<&ZoneReach>> = Vec::new();
    for reach in exposed.reach.iter().filter(|reach| reach.violation.is_some()) {
        let told = |own: &ZoneReach| (own.verdict, own.violation, own.address, says(own), why(own));
        match groups.iter_mut().find(|group| told(group[0]) == told(reach)) {
            Some(group) => group.push(reach),
            None => groups.push(vec![reach]),
        }
    }
    groups
}

/// The zones of a group; an IP version only where it does not hold for both.
fn from(exposed: &Exposed, group: &[&ZoneReach]) -> String {
    let families = |reach: &mut dyn Iterator<Item = &ZoneReach>, zone: &ZoneRef| {
        let own = reach.filter(|own| own.zone == *zone).map(|own| own.family);
        let mut families: Vec<IpFamily> = own.collect();
        families.dedup();
        families
    };
    // A port that is bound to all addresses of one IP version has a sibling of the other.
    let of_one = exposed.address.is_none();
    let mut zones: Vec<(&ZoneRef, Option<IpFamily>)> = Vec::new();
    for reach in group {
        let here = families(&mut group.iter().copied(), &reach.zone);
        let all = families(&mut exposed.reach.iter(), &reach.zone);
        let only = (here.len() == 1 && (of_one || all.len() > 1)).then_some(reach.family);
        if !zones.contains(&(&reach.zone, only)) {
            zones.push((&reach.zone, only));
        }
    }
    let one = zones[0].1.filter(|family| zones.iter().all(|own| own.1 == Some(*family)));
    let each: Vec<String> = zones
        .iter()
        .map(|(zone, family)| match family.filter(|_| one.is_none()) {
            Some(family) => format!("{zone} over {}", phrase::family(family)),
            None => zone.to_string(),
        })
        .collect();
    let mut text = phrase::list(&each);
    if let Some(family) = one {
        let _ = write!(text, " over {}", phrase::family(family));
    }
    if let Some(address) = group[0].address {
        let _ = write!(text, " at {address}");
    }
    text
}

/// What the policy says, and where.
fn says(reach: &ZoneReach) -> String {
    let origins: Vec<String> = reach.origins.iter().map(ToString::to_string).collect();
    let place =
        if origins.is_empty() { String::new() } else { format!(" ({})", origins.join(", ")) };
    match reach.policy.unwrap_or_default() {
        "deny" => format!("the policy denies it{place}"),
        "allow" => format!("the policy allows less{place}"),
        _ => format!("the policy closes it by default{place}"),
    }
}
