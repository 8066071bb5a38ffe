//! What is written soundly and yet cannot be meant: rules that decide nothing, expectations that
//! contradict themselves, words about nobody.

use super::diagnostic::{At, Place, Problem, Problems};
use super::region::{self, Judge};
use super::resolve::{ExpectPlaces, Places};
use super::{AddressRef, Destination, Inbound, Policy, Source};
use crate::model::{PortSpec, ZoneRef};
use std::collections::BTreeSet;

/// Reports them. The policy is whole, and the places are those of its parts.
pub(super) fn check(problems: &mut Problems, policy: &Policy, places: &Places) {
    let judge = Judge::new(policy);
    covered_allows(problems, policy, places, &judge);
    for (rule, at) in policy.deny.iter().zip(&places.deny) {
        for (source, at) in rule.from.iter().zip(at.from.iter()) {
            if judge.is_empty(source) {
                problems.push(empty(policy, "deny", source, at));
            }
        }
    }
    for (rule, at) in policy.allow.iter().zip(&places.allow) {
        for (source, at) in rule.from.iter().zip(at.from.iter()) {
            if judge.is_empty(source) {
                let message = format!("nothing comes from `{source}`");
                problems.push(
                    Problem::warning("empty-source", at, message)
                        .label("empty: this rule lets nobody in by it")
                        .fix("fill it, or take it out"),
                );
            }
        }
    }
    limits(problems, policy, places);
    for expectation in &places.expect {
        for source in &expectation.from {
            if judge.is_empty(&source.value) {
                problems.push(empty(policy, "expectation", &source.value, &source.at));
            }
        }
        contradiction(problems, expectation);
    }
    super::lint::check(problems, policy, places, &judge);
}

/// A deny or expectation about nobody. An empty list of one's own is no mistake in a deny: it may
/// be filled tomorrow.
fn empty(policy: &Policy, what: &str, source: &Source, at: &Place) -> Problem {
    let message = format!("this {what} speaks of nobody: `{source}` is empty");
    match source {
        Source::Addresses(AddressRef::Set(_)) if what == "deny" => {
            Problem::warning("empty-source", at, message)
                .label("the set is empty")
                .fix("fill the set, or take it out")
        }
        Source::Addresses(_) => Problem::error("empty-source", at, message)
            .label("empty")
            .fix("fill it, or take it out"),
        Source::Zone(zone) => {
            let fix = match zone {
                ZoneRef::Internet => {
                    let world: Vec<String> = policy
                        .zones
                        .iter()
                        .filter(|(_, zone)| zone.world)
                        .map(|(name, _)| format!("`{name}`"))
                        .collect();
                    format!("name {} instead, which holds every source", world.join(" or "))
                }
                ZoneRef::Containers | ZoneRef::Host | ZoneRef::Declared(_) => {
                    "fill the sets that the zone names, or take it out".to_owned()
                }
            };
            Problem::error("empty-zone", at, message).label("no source is in this zone").fix(fix)
        }
    }
}

/// Allows of which no part decides anything.
fn covered_allows(problems: &mut Problems, policy: &Policy, places: &Places, judge: &Judge<'_>) {
    for (index, rule) in policy.allow.iter().enumerate() {
        let parts = rule.ports.iter().flat_map(|spec| region::ports(policy, *spec));
        let over: Option<Vec<Vec<usize>>> =
            parts.map(|part| judge.denies_over(index, part)).collect();
        let over: BTreeSet<usize> = over.into_iter().flatten().flatten().collect();
        if over.is_empty() {
            continue;
        }
        let at = &places.allow[index].at;
        let message = "this allow lets nothing in: a deny covers all of it";
        let mut problem = Problem::error("covered-allow", at, message)
            .label("never decides")
            .fix("take the allow out, or narrow the deny: deny beats allow, wherever it stands");
        for deny in over {
            problem = problem.also(&places.deny[deny].at, "denied here");
        }
        problems.push(problem);
    }
}

/// Limits that hold nobody back, since the default lets in what exceeds them. Into a container
/// network it does not.
fn limits(problems: &mut Problems, policy: &Policy, places: &Places) {
    if policy.default.inbound != Inbound::Accept {
        return;
    }
    for (rule, at) in policy.allow.iter().zip(&places.allow) {
        let routed = |to: &Destination| matches!(to, Destination::ContainerNetwork(_));
        if rule.limit.is_none() || (!rule.to.is_empty() && rule.to.iter().all(routed)) {
            continue;
        }
        problems.push(
            Problem::error("idle-limit", &at.at, "the limit of this allow holds nobody back")
                .label("`inbound = \"accept\"` lets in what exceeds it")
                .fix("write `inbound = \"drop\"` in [default], and allow what shall be open"),
        );
    }
}

fn contradiction(problems: &mut Problems, expectation: &ExpectPlaces) {
    let meet = |one: &At<Vec<PortSpec>>, other: &At<Vec<PortSpec>>| {
        let mut pairs = one.value.iter().flat_map(|a| other.value.iter().map(move |b| (*a, *b)));
        pairs.find_map(|(a, b)| common(a, b))
    };
    for open in &expectation.open {
        for closed in &expectation.closed {
            let Some(common) = meet(open, closed) else { continue };
            let message = format!("{common} cannot be both open and closed");
            problems.push(
                Problem::error("contradiction", &closed.at, message)
                    .label("expected closed")
                    .also(&open.at, "expected open")
                    .fix("take it out of one of the two"),
            );
        }
    }
}

/// What both name.
pub(super) fn common(one: PortSpec, other: PortSpec) -> Option<PortSpec> {
    if one.covers(other) {
        return Some(other);
    }
    if other.covers(one) {
        return Some(one);
    }
    match (one, other) {
        (PortSpec::Ports(protocol, a), PortSpec::Ports(theirs, b)) if protocol == theirs => {
            let (first, last) = (a.first().max(b.first()), a.last().min(b.last()));
            let range = crate::model::PortRange::new(first, last).ok()?;
            Some(PortSpec::Ports(protocol, range))
        }
        _ => None,
    }
}
