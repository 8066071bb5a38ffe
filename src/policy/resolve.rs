//! Every [`Document`] of a policy → one [`Policy`], with every name looked up.
//!
//! Rules append in the order of the files. Of services the nearest file's wins, of settings too;
//! any other name stands once.

use super::diagnostic::{At, Place, Problem, Problems};
use super::names::Names;
use super::read::document::{Document, RawDestination, RawExpectation, RawRule, RuleKind};
use super::read::values::{self, Word};
use super::settings;
use super::well_known::Catalogue;
use super::{AddressRef, Destination, Expectation, NamedSet, Policy, Rule, Source, Zone};
use crate::model::{PortRange, PortSpec, Prefix, ZoneName, ZoneRef};
use std::collections::BTreeMap;

/// Where the parts of a policy were written, beside what its origins say.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub allow: Vec<RulePlaces>,
    pub deny: Vec<RulePlaces>,
    pub expect: Vec<ExpectPlaces>,
    /// Where sets and zones are named.
    pub sets: Vec<(ZoneName, Place)>,
    pub zones: Vec<(ZoneName, Place)>,
}

/// The words of a rule.
#[derive(Debug)]
pub(super) struct RulePlaces {
    pub at: Place,
    /// As many as the rule has sources, once nothing is wrong.
    pub from: Vec<Place>,
}

/// The words of an expectation.
#[derive(Debug)]
pub(super) struct ExpectPlaces {
    pub from: Vec<At<Source>>,
    pub open: Vec<At<Vec<PortSpec>>>,
    pub closed: Vec<At<Vec<PortSpec>>>,
}

/// Unites the documents. The policy is whole only if no problem is an error.
pub(super) fn resolve(
    problems: &mut Problems,
    documents: &[Document],
    catalogue: &Catalogue,
) -> (Policy, Places) {
    let mut names = Names::collect(problems, documents, catalogue);
    let mut places = Places::default();
    let (mut allow, mut deny, mut expect) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        for raw in &document.rules {
            let rule = rule(problems, &mut names, raw);
            let (rules, at) = match raw.kind {
                RuleKind::Allow => (&mut allow, &mut places.allow),
                RuleKind::Deny => (&mut deny, &mut places.deny),
            };
            rules.push(rule);
            let from = raw.from.iter().map(|word| word.at.clone()).collect();
            at.push(RulePlaces { at: raw.at.clone(), from });
        }
        for raw in &document.expect {
            let (expectation, at) = expectation(problems, &mut names, raw);
            expect.push(expectation);
            places.expect.push(at);
        }
    }
    let default = settings::defaults(problems, documents);
    let guard = settings::guard(problems, documents, &mut names);
    let place = |(name, at): (&ZoneName, &Place)| (name.clone(), at.clone());
    places.sets = names.sets.iter().map(|(name, own)| (name, &own.name.at)).map(place).collect();
    places.zones = names.zones.iter().map(|(name, own)| (name, &own.name.at)).map(place).collect();
    let sets = sets(problems, &names);
    let zones = zones(problems, &mut names, &sets);
    // A mistyped name would make the right one look unused.
    if !problems.has_errors() {
        names.unused(problems);
    }
    let sources = Vec::new();
    (Policy { default, zones, sets, allow, deny, expect, guard, sources }, places)
}

fn sets(problems: &Problems, names: &Names<'_>) -> BTreeMap<ZoneName, NamedSet> {
    let mut sets = BTreeMap::new();
    for (name, set) in &names.sets {
        let mut prefixes = set.value.prefixes.clone();
        prefixes.sort_unstable();
        prefixes.dedup();
        let origin = problems.origin(&set.name.at);
        sets.insert(name.clone(), NamedSet { prefixes, origin });
    }
    sets
}

fn zones(
    problems: &mut Problems,
    names: &mut Names<'_>,
    sets: &BTreeMap<ZoneName, NamedSet>,
) -> BTreeMap<ZoneName, Zone> {
    let mut zones = BTreeMap::new();
    let entries: Vec<_> = names.zones.iter().map(|(name, zone)| (name.clone(), *zone)).collect();
    for (name, named) in entries {
        let raw = named.value;
        let addresses = raw.addresses.as_ref().map(|words| {
            words
                .iter()
                .filter_map(|word| address(problems, names, &word.value, &word.at))
                .collect::<Vec<_>>()
        });
        if let Some(list) = &addresses
            && raw.interfaces.is_empty()
            && !raw.world
        {
            whole_world(problems, &name, &named.name.at, list, sets);
        }
        let zone = Zone {
            interfaces: raw.interfaces.clone(),
            addresses,
            world: raw.world,
            origin: problems.origin(&named.name.at),
        };
        zones.insert(name, zone);
    }
    zones
}

/// Reports a zone whose sets hold a /0; one that names it itself has been reported.
fn whole_world(
    problems: &mut Problems,
    name: &ZoneName,
    at: &Place,
    list: &[AddressRef],
    sets: &BTreeMap<ZoneName, NamedSet>,
) {
    for entry in list {
        let AddressRef::Set(set) = entry else { continue };
        let all = sets.get(set).and_then(|set| set.prefixes.iter().find(|p| p.length() == 0));
        if let Some(prefix) = all {
            let message = format!("`@{set}` in [zone.{name}] holds `{prefix}`, the whole world");
            problems.push(
                Problem::error("whole-world", at, message)
                    .label("would leave the zone `internet` empty")
                    .fix(format!("add `world = true` to [zone.{name}] if that is meant")),
            );
        }
    }
}

/// Looks a set up, or takes the prefix.
fn address(
    problems: &mut Problems,
    names: &mut Names<'_>,
    word: &Word,
    at: &Place,
) -> Option<AddressRef> {
    match word {
        Word::Address(prefix) => Some(AddressRef::Prefix(*prefix)),
        Word::Set(name) => names.set(problems, name, at).then(|| AddressRef::Set(name.clone())),
        // Only `from` has words that are names, and looks them up itself.
        Word::Name(_) => None,
    }
}

pub(super) fn source(
    problems: &mut Problems,
    names: &mut Names<'_>,
    word: &At<Word>,
) -> Option<At<Source>> {
    let value = match &word.value {
        Word::Name(name) => Source::Zone(names.zone(problems, name, &word.at)?),
        Word::Set(_) | Word::Address(_) => {
            Source::Addresses(address(problems, names, &word.value, &word.at)?)
        }
    };
    Some(At { value, at: word.at.clone() })
}

fn rule(problems: &mut Problems, names: &mut Names<'_>, raw: &RawRule) -> Rule {
    let mut ports: Vec<PortSpec> = raw.ports.iter().map(|spec| spec.value).collect();
    let mut services = Vec::new();
    for service in &raw.services {
        if let Some(found) = names.ports_of_service(problems, service) {
            ports.extend(found);
            services.push(service.value.clone());
        }
    }
    let from: Vec<Source> =
        raw.from.iter().filter_map(|word| source(problems, names, word)).map(|s| s.value).collect();
    if raw.kind == RuleKind::Deny {
        for (source, word) in from.iter().zip(&raw.from) {
            if *source == Source::Zone(ZoneRef::Host) {
                problems.push(
                    Problem::error("deny-host", &word.at, "the host itself cannot be denied")
                        .label("loopback always passes")
                        .fix("take it out"),
                );
            }
        }
    }
    let to = raw.to.iter().filter_map(|to| match &to.value {
        RawDestination::Container(network) => Some(Destination::ContainerNetwork(network.clone())),
        RawDestination::Address(word) => {
            address(problems, names, word, &to.at).map(Destination::Address)
        }
    });
    let to = to.collect();
    Rule {
        ports: united(ports),
        services,
        from,
        to,
        limit: raw.limit,
        log: raw.log,
        note: raw.note.clone(),
        origin: problems.origin(&raw.at),
    }
}

/// The ports of words of which each is a service or a port.
pub(super) fn words(
    problems: &mut Problems,
    names: &mut Names<'_>,
    words: &[At<String>],
) -> Vec<At<Vec<PortSpec>>> {
    let mut out = Vec::new();
    for word in words {
        let ports = if values::like_a_port(&word.value) || word.value == "all" {
            values::port(problems, word).map(|spec| vec![spec])
        } else if let Some(ports) = names.known_service(&word.value) {
            Some(ports)
        } else if let Ok(spec) = word.value.parse::<PortSpec>() {
            Some(vec![spec])
        } else {
            names.ports_of_service(problems, word)
        };
        out.extend(ports.map(|value| At { value, at: word.at.clone() }));
    }
    out
}

fn expectation(
    problems: &mut Problems,
    names: &mut Names<'_>,
    raw: &RawExpectation,
) -> (Expectation, ExpectPlaces) {
    let from: Vec<_> = raw.from.iter().filter_map(|word| source(problems, names, word)).collect();
    let open = words(problems, names, &raw.open);
    let closed = words(problems, names, &raw.closed);
    let unite = |list: &[At<Vec<PortSpec>>]| {
        united(list.iter().flat_map(|word| word.value.iter().copied()).collect())
    };
    let expectation = Expectation {
        from: from.iter().map(|source| source.value.clone()).collect(),
        open: unite(&open),
        closed: unite(&closed),
        words: raw.open.iter().chain(&raw.closed).map(|word| word.value.clone()).collect(),
        origin: problems.origin(&raw.at),
    };
    (expectation, ExpectPlaces { from, open, closed })
}

/// The same ports, sorted, without what another one covers; ranges that overlap become one.
pub(super) fn united(mut ports: Vec<PortSpec>) -> Vec<PortSpec> {
    ports.sort_unstable();
    let mut out: Vec<PortSpec> = Vec::with_capacity(ports.len());
    for spec in ports {
        if let (Some(PortSpec::Ports(before, first)), PortSpec::Ports(protocol, range)) =
            (out.last_mut(), spec)
            && *before == protocol
            && range.first() <= first.last()
        {
            let last = first.last().max(range.last());
            *first = PortRange::new(first.first(), last).unwrap_or(*first);
        } else {
            out.push(spec);
        }
    }
    let all = out.clone();
    out.retain(|spec| !all.iter().any(|other| other != spec && other.covers(*spec)));
    out.dedup();
    out
}

/// The prefixes of a list, its sets included.
pub fn prefixes<'p>(
    policy: &'p Policy,
    list: &'p [AddressRef],
) -> impl Iterator<Item = Prefix> + 'p {
    list.iter()
        .flat_map(|entry| match entry {
            AddressRef::Prefix(prefix) => std::slice::from_ref(prefix),
            AddressRef::Set(name) => {
                policy.sets.get(name).map(|set| set.prefixes.as_slice()).unwrap_or_default()
            }
        })
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_unite_where_they_overlap_and_not_where_they_touch() {
        let specs = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("valid")).collect();
        let out = united(specs(&["20-30/tcp", "25-40/tcp", "41/tcp", "22/tcp", "22/udp", "esp"]));
        let texts: Vec<_> = out.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["20-40/tcp", "41/tcp", "22/udp", "esp"]);
        assert_eq!(united(specs(&["22/tcp", "all", "esp"])), [PortSpec::All]);
    }
}
