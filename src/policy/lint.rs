//! What is sound and of no use: rules and entries that others make idle, expectations that nothing
//! can break, or that cannot both hold.
//!
//! In: a policy that holds together. Out: warnings, each with the line, what makes it so, and what
//! to do. None of them changes what the policy means, so none stops it.

use super::diagnostic::{Place, Problem, Problems};
use super::region::{self, DecidedBy, Judge, Kind, ReachVerdict};
use super::resolve::{ExpectPlaces, Places};
use super::sense::common;
use super::{AddressRef, Policy, Source};
use crate::model::{IpFamily, PortSpec, Prefix, ZoneRef};
use std::collections::BTreeSet;

/// Of one list so many entries are named; the rest is counted.
const SHOWN: usize = 3;

/// Reports all of it. The places are those of the policy's parts.
pub(super) fn check(problems: &mut Problems, policy: &Policy, places: &Places, judge: &Judge<'_>) {
    idle(problems, policy, places, judge, Kind::Allow);
    idle(problems, policy, places, judge, Kind::Deny);
    entries(problems, policy, places);
    expectations(problems, policy, places);
    unbreakable(problems, policy, places, judge);
}

/// Rules that decide nothing which others of their kind do not decide as well. Of two that are the
/// same, the one in the policy's own file is named: those that it uses are not its to edit.
fn idle(problems: &mut Problems, policy: &Policy, places: &Places, judge: &Judge<'_>, kind: Kind) {
    let (rules, at) = match kind {
        Kind::Allow => (&policy.allow, &places.allow),
        Kind::Deny => (&policy.deny, &places.deny),
    };
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by_key(|index| (at[*index].at.file, std::cmp::Reverse(*index)));
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for index in order {
        let rule = &rules[index];
        let parts = rule.ports.iter().flat_map(|spec| region::ports(policy, *spec));
        let over: Option<Vec<Vec<usize>>> =
            parts.map(|part| judge.alike_over(kind, index, part, &gone)).collect();
        let over: BTreeSet<usize> = over.into_iter().flatten().flatten().collect();
        if over.is_empty() {
            continue;
        }
        gone.insert(index);
        let (what, limited) = match kind {
            Kind::Allow => ("allow", rule.limit.is_some()),
            Kind::Deny => ("deny", false),
        };
        let unlimited = limited && over.iter().any(|other| rules[*other].limit.is_none());
        let message = format!("this {what} decides nothing: without it all would be the same");
        let fix = if unlimited {
            "take it out, or the other: a source that one allow admits without limit is not limited"
                .to_owned()
        } else {
            format!("take it out, or narrow the other {what}")
        };
        let mut problem =
            Problem::warning("idle-rule", &at[index].at, message).label("never decides").fix(fix);
        for other in over {
            let label = if kind == Kind::Allow { "allowed here" } else { "denied here" };
            problem = problem.also(&at[other].at, label);
        }
        problems.push(problem);
    }
}

/// Entries of a list that stand inside another of it.
fn entries(problems: &mut Problems, policy: &Policy, places: &Places) {
    for (name, at) in &places.sets {
        let Some(set) = policy.sets.get(name) else { continue };
        let inside = nested(&set.prefixes);
        nested_in_list(problems, at, &format!("set {name}"), &inside);
    }
    for (name, at) in &places.zones {
        let zone = policy.zones.get(name);
        let list = zone.and_then(|zone| zone.addresses.as_deref()).unwrap_or_default();
        let own = list.iter().filter_map(|entry| match entry {
            AddressRef::Prefix(prefix) => Some(*prefix),
            AddressRef::Set(_) => None,
        });
        let mut prefixes: Vec<Prefix> = own.collect();
        prefixes.sort_unstable();
        nested_in_list(problems, at, &format!("zone {name}"), &nested(&prefixes));
    }
    let rules = policy.allow.iter().zip(&places.allow);
    for (rule, at) in rules.chain(policy.deny.iter().zip(&places.deny)) {
        for (index, source) in rule.from.iter().enumerate() {
            let Source::Addresses(AddressRef::Prefix(own)) = source else { continue };
            let around = rule.from.iter().enumerate().find(|(other, source)| match source {
                Source::Addresses(AddressRef::Prefix(other_prefix)) => {
                    *other != index
                        && other_prefix.family() == own.family()
                        && other_prefix.contains(own.first())
                        && (other_prefix.length() < own.length()
                            || (other_prefix == own && *other < index))
                }
                _ => false,
            });
            let (Some((other, wider)), Some(place)) = (around, at.from.get(index)) else {
                continue;
            };
            let mut problem =
                Problem::warning("nested-entry", place, format!("{own} is inside {wider}"))
                    .label("adds nothing")
                    .fix("take it out");
            if let Some(place) = at.from.get(other) {
                problem = problem.also(place, "holds it already");
            }
            problems.push(problem);
        }
    }
}

/// Each prefix that is inside another, with that one; the list is sorted.
fn nested(sorted: &[Prefix]) -> Vec<(Prefix, Prefix)> {
    let mut open: Vec<Prefix> = Vec::new();
    let mut found = Vec::new();
    for prefix in sorted {
        while open
            .last()
            .is_some_and(|own| own.family() != prefix.family() || !own.contains(prefix.first()))
        {
            open.pop();
        }
        if let Some(around) = open.last() {
            found.push((*prefix, *around));
        }
        open.push(*prefix);
    }
    found
}

fn nested_in_list(problems: &mut Problems, at: &Place, what: &str, inside: &[(Prefix, Prefix)]) {
    for (index, (own, around)) in inside.iter().take(SHOWN).enumerate() {
        let more = inside.len() - SHOWN.min(inside.len());
        let also = if index + 1 == SHOWN && more > 0 {
            format!("; {more} more entries of this list are inside others")
        } else {
            String::new()
        };
        let message = format!("{own} is inside {around}, which {what} holds too{also}");
        problems.push(
            Problem::warning("nested-entry", at, message)
                .label(format!("{own} adds nothing"))
                .fix(format!("take {own} out, or {around} if it is too wide")),
        );
    }
}

/// Expectations of which one must fail: one says open what another says closed. Within one it has
/// been an error.
fn expectations(problems: &mut Problems, policy: &Policy, places: &Places) {
    let all: Vec<_> = policy.expect.iter().zip(&places.expect).collect();
    for (index, (one, at)) in all.iter().enumerate() {
        for (other, theirs) in
            all.iter().enumerate().filter(|(other, _)| *other != index).map(|own| own.1)
        {
            let shared = one.from.iter().find(|source| other.from.contains(source));
            let Some(source) = shared else { continue };
            for open in &at.open {
                for closed in &theirs.closed {
                    let mut pairs =
                        open.value.iter().flat_map(|a| closed.value.iter().map(move |b| (*a, *b)));
                    let Some(both) = pairs.find_map(|(a, b)| common(a, b)) else { continue };
                    let message = format!(
                        "{both} cannot be both open and closed from `{source}`: one of two \
                         expectations fails whatever the rules say"
                    );
                    problems.push(
                        Problem::warning("contradiction", &closed.at, message)
                            .label("expected closed")
                            .also(&open.at, "expected open")
                            .fix("take it out of one of the two"),
                    );
                }
            }
        }
    }
}

/// Expectations that hold whatever the rules say, so that they test nothing.
fn unbreakable(problems: &mut Problems, policy: &Policy, places: &Places, judge: &Judge<'_>) {
    let always = |source: &Source, spec: PortSpec| {
        IpFamily::BOTH.into_iter().all(|family| {
            let to = region::destinations(policy, family);
            let first = to.first().copied();
            let reach = first.and_then(|to| judge.reach_class(source, family, spec, to));
            reach.is_none_or(|reach| {
                reach.verdict == ReachVerdict::Open && reach.by == DecidedBy::AlwaysPasses
            })
        })
    };
    for at in &places.expect {
        for source in at.from.iter().filter(|source| source.value == Source::Zone(ZoneRef::Host)) {
            let specs = at.open.iter().flat_map(|word| &word.value);
            let mut parts = specs.flat_map(|spec| region::ports(policy, *spec));
            if at.open.is_empty() || !parts.all(|spec| always(&source.value, spec)) {
                continue;
            }
            let message =
                "this expectation cannot fail: what the host sends to itself always passes";
            problems.push(
                Problem::warning("idle-expectation", &source.at, message)
                    .label("no rule is asked about it")
                    .fix("take `host` out, or expect it from a zone that rules speak of"),
            );
        }
    }
    repeated(problems, policy, places);
}

/// Expectations that another one of the same file makes already. To say again what another file
/// expects is no mistake: that file may change.
fn repeated(problems: &mut Problems, policy: &Policy, places: &Places) {
    let covers = |wide: &[PortSpec], own: &[PortSpec]| {
        own.iter().all(|spec| wide.iter().any(|other| other.covers(*spec)))
    };
    let all: Vec<_> = policy.expect.iter().zip(&places.expect).collect();
    for (index, (own, at)) in all.iter().enumerate() {
        let same = all.iter().enumerate().find(|(other, (theirs, place))| {
            let wider = own.from.iter().all(|source| theirs.from.contains(source))
                && covers(&theirs.open, &own.open)
                && covers(&theirs.closed, &own.closed);
            let narrower = theirs.from.iter().all(|source| own.from.contains(source))
                && covers(&own.open, &theirs.open)
                && covers(&own.closed, &theirs.closed);
            let file = |at: &ExpectPlaces| at.from.first().map(|source| source.at.file);
            let here = file(at) == file(place);
            *other != index && here && wider && (!narrower || *other < index)
        });
        let Some((_, (_, theirs))) = same else { continue };
        let (Some(here), Some(there)) = (at.from.first(), theirs.from.first()) else { continue };
        problems.push(
            Problem::warning(
                "idle-expectation",
                &here.at,
                "this expectation tests nothing that another one does not test",
            )
            .label("said twice")
            .also(&there.at, "said here")
            .fix("take it out"),
        );
    }
}
