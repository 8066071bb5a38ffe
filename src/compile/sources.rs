//! From where a rule speaks, in the world in which it is asked.

use crate::model::{IfacePattern, Prefix, ZoneRef};
use crate::policy::{AddressRef, Destination, Policy, Rule, Source, Zone};

/// Where packets of new connections come from and go to. A rule can mean different sources in
/// each: a zone of addresses never claims what comes in by a container engine's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World<'p> {
    /// From outside, to a port that a client dials on the host, whoever serves it.
    Outside,
    /// From a container, to a port of the host itself.
    Containers,
    /// From outside, routed to the containers' own addresses on the network of this name.
    Network(&'p str),
}

impl World<'_> {
    /// Whether an allow opens anything here. One that names no destination opens ports of the
    /// host, and never a container's own address; a deny without one holds everywhere.
    pub fn opened_by(self, allow: &Rule) -> bool {
        match self {
            Self::Outside | Self::Containers => true,
            Self::Network(_) => !allow.to.is_empty(),
        }
    }
}

/// One source that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// Every source of this world.
    Any,
    /// Every source that no declared zone holds.
    Internet,
    /// These interfaces (empty for any) and these addresses.
    Match { interfaces: Vec<IfacePattern>, addresses: Addresses },
}

/// The addresses of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Any.
    Any,
    /// A named list; the name begins the name of its nftables sets.
    Named { name: String, references: Vec<AddressRef> },
    /// One prefix of a rule's own.
    Literal(Prefix),
}

/// The sources that the rule names in this world; empty where it does not speak there.
pub(super) fn terms(policy: &Policy, rule: &Rule, world: World<'_>) -> Vec<Term> {
    if !speaks_in(rule, world) {
        return Vec::new();
    }
    if rule.from.is_empty() {
        return vec![Term::Any];
    }
    rule.from.iter().filter_map(|source| term(policy, source, world)).collect()
}

/// Whether the rule's destinations are of this world.
fn speaks_in(rule: &Rule, world: World<'_>) -> bool {
    let to_network = |destination: &Destination| match (destination, world) {
        (Destination::ContainerNetwork(own), World::Network(name)) => own == name,
        (Destination::ContainerNetwork(_), World::Outside | World::Containers)
        | (Destination::Address(_), World::Network(_)) => false,
        (Destination::Address(_), World::Outside | World::Containers) => true,
    };
    rule.to.is_empty() || rule.to.iter().any(to_network)
}

fn term(policy: &Policy, source: &Source, world: World<'_>) -> Option<Term> {
    let inside = world == World::Containers;
    match source {
        Source::Zone(ZoneRef::Host) => None,
        Source::Zone(ZoneRef::Containers) => inside.then_some(Term::Any),
        Source::Zone(ZoneRef::Internet) | Source::Addresses(_) if inside => None,
        Source::Zone(ZoneRef::Internet) if policy.zones.is_empty() => Some(Term::Any),
        Source::Zone(ZoneRef::Internet) => Some(Term::Internet),
        Source::Zone(ZoneRef::Declared(name)) => {
            let zone = policy.zones.get(name).expect("the policy resolved every zone");
            if inside && zone.interfaces.is_empty() {
                return None;
            }
            Some(of_zone(name.as_str(), zone))
        }
        Source::Addresses(reference) => Some(Term::Match {
            interfaces: Vec::new(),
            addresses: match reference {
                AddressRef::Prefix(prefix) => Addresses::Literal(*prefix),
                AddressRef::Set(_) => named("", std::slice::from_ref(reference)),
            },
        }),
    }
}

fn of_zone(name: &str, zone: &Zone) -> Term {
    let addresses = match &zone.addresses {
        None => Addresses::Any,
        Some(references) => named(name, references),
    };
    Term::Match { interfaces: zone.interfaces.clone(), addresses }
}

/// A list of its own for a zone; the set's where it is just one set.
fn named(zone: &str, references: &[AddressRef]) -> Addresses {
    let name = match references {
        [AddressRef::Set(set)] => format!("set_{set}"),
        _ => format!("zone_{zone}"),
    };
    Addresses::Named { name, references: references.to_vec() }
}

/// How many prefixes a list has, those of its sets included.
pub(super) fn length(policy: &Policy, references: &[AddressRef]) -> usize {
    let one = |reference: &AddressRef| match reference {
        AddressRef::Prefix(_) => 1,
        AddressRef::Set(name) => policy.sets.get(name).map_or(0, |set| set.prefixes.len()),
    };
    references.iter().map(one).sum()
}

/// Every prefix of a list, those of its sets included.
pub(super) fn prefixes(policy: &Policy, references: &[AddressRef]) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for reference in references {
        match reference {
            AddressRef::Prefix(prefix) => prefixes.push(*prefix),
            AddressRef::Set(name) => {
                let set = policy.sets.get(name).expect("the policy resolved every set");
                prefixes.extend(&set.prefixes);
            }
        }
    }
    prefixes
}

/// Every declared zone, for what is to be none of them.
pub(super) fn declared(policy: &Policy) -> Vec<Term> {
    policy.zones.iter().map(|(name, zone)| of_zone(name.as_str(), zone)).collect()
}
