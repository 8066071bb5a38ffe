//! One connection, judged as the language says it, word by word.

use super::{Arrival, Target, To, allows_to, denies_to, names_port};
use crate::model::ZoneRef;
use crate::policy::{AddressRef, Inbound, Origin, Policy, Source, Zone, prefixes};
use std::net::IpAddr;

/// A new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// How its first packet comes in.
    pub arrival: Arrival,
    /// From which address.
    pub source: IpAddr,
    /// What it dials.
    pub target: Target,
}

/// What becomes of a connection, and the rules that decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It comes from the host itself.
    AlwaysPasses,
    /// It goes from a container to a container, which is left to the engine.
    LeftToEngine,
    /// These allows let it in.
    Allow(Vec<Origin>),
    /// These allows let it in as long as its source opens few.
    Limited(Vec<Origin>),
    /// These denies keep it out.
    Deny(Vec<Origin>),
    /// No rule speaks of it.
    Default(Inbound),
    /// No rule speaks of it, and it dials a container's own address: it is dropped.
    NoRoute,
}

impl Decision {
    /// Whether it is let in, at least at times.
    pub fn passes(&self) -> bool {
        match self {
            Self::AlwaysPasses | Self::LeftToEngine | Self::Allow(_) | Self::Limited(_) => true,
            Self::Deny(_) | Self::NoRoute => false,
            Self::Default(inbound) => *inbound == Inbound::Accept,
        }
    }
}

/// Judges one connection: deny beats allow, allow beats default, and an allow without a limit
/// beats one with a limit.
pub fn decide(policy: &Policy, connection: &Connection) -> Decision {
    let Connection { arrival, source, target } = connection;
    match arrival {
        Arrival::Host => return Decision::AlwaysPasses,
        Arrival::Container(_) if target.network.is_some() => return Decision::LeftToEngine,
        Arrival::Container(_) | Arrival::Interface(_) => {}
    }
    let (spec, to) = (target.spec(), To::of(target));
    let comes_from = |from: &[Source]| {
        from.is_empty() || from.iter().any(|one| holds(policy, one, arrival, *source))
    };
    let denies = policy.deny.iter().filter(|rule| {
        names_port(rule, spec) && denies_to(policy, rule, to) && comes_from(&rule.from)
    });
    let denies: Vec<Origin> = denies.map(|rule| rule.origin.clone()).collect();
    if !denies.is_empty() {
        return Decision::Deny(denies);
    }
    let allows = policy.allow.iter().filter(|rule| {
        names_port(rule, spec) && allows_to(policy, rule, to) && comes_from(&rule.from)
    });
    let (free, limited): (Vec<_>, Vec<_>) = allows.partition(|rule| rule.limit.is_none());
    let origins = |rules: Vec<&crate::policy::Rule>| {
        rules.into_iter().map(|rule| rule.origin.clone()).collect()
    };
    if !free.is_empty() {
        Decision::Allow(origins(free))
    } else if !limited.is_empty() {
        Decision::Limited(origins(limited))
    } else if target.network.is_some() {
        Decision::NoRoute
    } else {
        Decision::Default(policy.default.inbound)
    }
}

fn holds(policy: &Policy, source: &Source, arrival: &Arrival, address: IpAddr) -> bool {
    match source {
        Source::Addresses(list) => {
            matches!(arrival, Arrival::Interface(_)) && in_list(policy, list, address)
        }
        Source::Zone(ZoneRef::Host) => *arrival == Arrival::Host,
        Source::Zone(ZoneRef::Containers) => matches!(arrival, Arrival::Container(_)),
        Source::Zone(ZoneRef::Declared(name)) => {
            policy.zones.get(name).is_some_and(|zone| in_zone(policy, zone, arrival, address))
        }
        Source::Zone(ZoneRef::Internet) => {
            matches!(arrival, Arrival::Interface(_))
                && !policy.zones.values().any(|zone| in_zone(policy, zone, arrival, address))
        }
    }
}

fn in_zone(policy: &Policy, zone: &Zone, arrival: &Arrival, address: IpAddr) -> bool {
    let comes_in = match arrival {
        Arrival::Host => false,
        Arrival::Container(_) if zone.interfaces.is_empty() => false,
        Arrival::Interface(_) if zone.interfaces.is_empty() => true,
        Arrival::Container(name) | Arrival::Interface(name) => {
            zone.interfaces.iter().any(|pattern| pattern.matches(name))
        }
    };
    let listed = |list: &Vec<_>| list.iter().any(|one| in_list(policy, one, address));
    comes_in && zone.addresses.as_ref().is_none_or(listed)
}

fn in_list(policy: &Policy, list: &AddressRef, address: IpAddr) -> bool {
    prefixes(policy, std::slice::from_ref(list)).any(|prefix| prefix.contains(address))
}
