//! Regions: sets of sources, each an address and the way on which it comes in.

use super::arrival::{Arrival, Atom, Engines, atoms};
use super::interval::{Intervals, address};
use crate::model::{IpFamily, ZoneRef};
use crate::policy::{AddressRef, Policy, Source, prefixes};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A source, to show that a region is not empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Witness {
    /// How it comes in.
    pub arrival: Arrival,
    /// From which address.
    pub address: IpAddr,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} by {}", self.address, self.arrival)
    }
}

/// For each atom of a [`Space`] the addresses of both IP versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region(Vec<[Intervals; 2]>);

impl Region {
    fn zip(&self, other: &Self, with: impl Fn(&Intervals, &Intervals) -> Intervals) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(a, b)| [with(&a[0], &b[0]), with(&a[1], &b[1])]).collect())
    }

    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, Intervals::union)
    }

    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, Intervals::intersection)
    }

    pub fn complement(&self) -> Self {
        let [v4, v6] = IpFamily::BOTH;
        let each = self.0.iter().map(|both| [both[0].complement(v4), both[1].complement(v6)]);
        Self(each.collect())
    }

    pub fn without(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().flatten().all(Intervals::is_empty)
    }

    pub fn is_subset(&self, other: &Self) -> bool {
        self.without(other).is_empty()
    }

    /// The part of one IP version.
    pub fn only(&self, family: IpFamily) -> Self {
        let each = self.0.iter().map(|[v4, v6]| match family {
            IpFamily::Ipv4 => [v4.clone(), Intervals::empty()],
            IpFamily::Ipv6 => [Intervals::empty(), v6.clone()],
        });
        Self(each.collect())
    }
}

/// The sources that a policy can tell apart, and its zones as regions of them.
#[derive(Debug)]
pub(super) struct Space<'p> {
    policy: &'p Policy,
    atoms: Vec<Atom>,
    zones: BTreeMap<ZoneRef, Region>,
    /// Addresses that hosts of the world have, by IP version.
    ordinary: [Intervals; 2],
}

impl<'p> Space<'p> {
    pub fn new(policy: &'p Policy, engines: Engines<'_>) -> Self {
        let mut space = Self {
            policy,
            atoms: atoms(policy, engines),
            zones: BTreeMap::new(),
            ordinary: IpFamily::BOTH.map(ordinary),
        };
        let mut declared = space.nothing();
        for (name, zone) in &policy.zones {
            let addresses = zone.addresses.as_deref().map(|list| space.intervals(list));
            let addresses = addresses.unwrap_or(IpFamily::BOTH.map(Intervals::full));
            let region = space.region(&addresses, |atom| match zone.interfaces.as_slice() {
                [] => matches!(atom.example, Arrival::Interface(_)),
                named => named.iter().any(|pattern| atom.is_named_by(pattern)),
            });
            declared = declared.union(&region);
            space.zones.insert(ZoneRef::Declared(name.clone()), region);
        }
        let all = IpFamily::BOTH.map(Intervals::full);
        let host = space.region(&all, |atom| atom.example == Arrival::Host);
        let containers = space.region(&all, Atom::is_container);
        let internet = declared.union(&host).union(&containers).complement();
        space.zones.insert(ZoneRef::Host, host);
        space.zones.insert(ZoneRef::Containers, containers);
        space.zones.insert(ZoneRef::Internet, internet);
        space
    }

    /// These addresses on each atom that fits.
    fn region(&self, addresses: &[Intervals; 2], fits: impl Fn(&Atom) -> bool) -> Region {
        let none = [Intervals::empty(), Intervals::empty()];
        let each = self.atoms.iter().map(|atom| if fits(atom) { addresses } else { &none });
        Region(each.cloned().collect())
    }

    fn intervals(&self, list: &[AddressRef]) -> [Intervals; 2] {
        IpFamily::BOTH.map(|family| Intervals::of(family, prefixes(self.policy, list)))
    }

    pub fn nothing(&self) -> Region {
        self.everything().complement()
    }

    pub fn everything(&self) -> Region {
        self.region(&IpFamily::BOTH.map(Intervals::full), |_| true)
    }

    pub fn containers(&self) -> Region {
        self.zone(&ZoneRef::Containers)
    }

    /// The sources of a zone; none where the policy declares no such zone.
    pub fn zone(&self, zone: &ZoneRef) -> Region {
        self.zones.get(zone).cloned().unwrap_or_else(|| self.nothing())
    }

    pub fn source(&self, source: &Source) -> Region {
        match source {
            Source::Zone(zone) => self.zone(zone),
            Source::Addresses(addresses) => {
                let addresses = self.intervals(std::slice::from_ref(addresses));
                self.region(&addresses, |atom| matches!(atom.example, Arrival::Interface(_)))
            }
        }
    }

    /// The sources of a `from`; everything where it is empty.
    pub fn from(&self, from: &[Source]) -> Region {
        match from {
            [] => self.everything(),
            [one] => self.source(one),
            more => more.iter().fold(self.nothing(), |all, one| all.union(&self.source(one))),
        }
    }

    /// A source in the region: rather an unnamed interface, and no address that never is one.
    pub fn witness(&self, region: &Region) -> Option<Witness> {
        let ordinary = &self.ordinary;
        let usual = Region(
            region
                .0
                .iter()
                .map(|both| {
                    [both[0].intersection(&ordinary[0]), both[1].intersection(&ordinary[1])]
                })
                .collect(),
        );
        let chosen = if usual.is_empty() { region } else { &usual };
        let pick = |(atom, both): (&Atom, &[Intervals; 2])| {
            let first = IpFamily::BOTH
                .iter()
                .zip(both)
                .find_map(|(family, set)| Some(address(*family, set.first()?)))?;
            Some(Witness { arrival: atom.example.clone(), address: first })
        };
        self.atoms.iter().zip(&chosen.0).rev().find_map(pick)
    }
}

/// Addresses that hosts of the world have: unicast, and no loopback or "this network".
fn ordinary(family: IpFamily) -> Intervals {
    let list: &[&str] = match family {
        IpFamily::Ipv4 => &[
            "1.0.0.0/8",
            "2.0.0.0/7",
            "4.0.0.0/6",
            "8.0.0.0/5",
            "16.0.0.0/4",
            "32.0.0.0/3",
            "64.0.0.0/3",
            "96.0.0.0/4",
            "112.0.0.0/5",
            "120.0.0.0/6",
            "124.0.0.0/7",
            "126.0.0.0/8",
            "128.0.0.0/2",
            "192.0.0.0/3",
        ],
        IpFamily::Ipv6 => &["2000::/3", "fc00::/7", "fe80::/10"],
    };
    Intervals::of(family, list.iter().filter_map(|text| text.parse().ok()))
}
