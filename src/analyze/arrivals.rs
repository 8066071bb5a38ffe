//! A zone of a policy → by which interfaces of this host its packets come, and from which addresses.
//!
//! In: a policy and a host. Out: for each interface the sources that come by it: those to which
//! the host itself would send by it, so that no answer is about packets that a forger alone could
//! send. Link-local sources are left out.

use super::Analyzer;
use super::packet::{From, address, highest, number};
use super::sources::Sources;
use crate::compile::Environment;
use crate::model::prefix::joined;
use crate::model::{IfaceName, IpFamily, ZoneRef};
use crate::observe::LinkKind;
use crate::policy::{AddressRef, Policy, Source, Zone, prefixes};
use foldhash::HashMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A way in, and the sources that take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The way.
    pub from: From,
    /// The sources, as numbers: sorted, apart from each other.
    pub sources: Vec<(u128, u128)>,
}

impl Arrival {
    /// The lowest source.
    pub fn first(&self, family: IpFamily) -> Option<IpAddr> {
        self.sources.first().map(|(first, _)| address(family, *first))
    }
}

impl Analyzer<'_> {
    /// The ways in of a source of the policy. Addresses never claim what comes in by a container
    /// engine's interface.
    pub fn arrivals_of(&self, policy: &Policy, source: &Source, family: IpFamily) -> Vec<Arrival> {
        let list = match source {
            Source::Zone(zone) => return self.arrivals(Some(policy), zone, family),
            Source::Addresses(list) => list,
        };
        let snapshot = self.snapshot();
        let containers = self.containers();
        let wanted = intervals(policy, std::slice::from_ref(list), family);
        let links = snapshot.links.iter();
        let outside = links.filter(|link| link.up && !containers.contains(&link.name));
        let way = |link: &crate::observe::Link| {
            let sources = self.routed_by(&link.name, family).take(&wanted);
            let sources: Vec<_> =
                sources.spans().iter().map(|span| (span.first, span.last)).collect();
            let from = From::Interface(link.name.clone());
            (!sources.is_empty()).then_some(Arrival { from, sources })
        };
        outside.filter_map(way).collect()
    }

    /// The ways in of a zone; without a policy no zone is declared.
    pub fn arrivals(
        &self,
        policy: Option<&Policy>,
        zone: &ZoneRef,
        family: IpFamily,
    ) -> Vec<Arrival> {
        let snapshot = self.snapshot();
        let containers = self.containers();
        if *zone == ZoneRef::Host {
            let loopback: IpAddr = match family {
                IpFamily::Ipv4 => std::net::Ipv4Addr::LOCALHOST.into(),
                IpFamily::Ipv6 => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            let own = (number(loopback), number(loopback));
            return vec![Arrival { from: From::Host, sources: vec![own] }];
        }
        let mut found = Vec::new();
        for link in snapshot.links.iter().filter(|link| link.up) {
            let is_container = containers.contains(&link.name);
            let mut sources = self.routed_by(&link.name, family);
            let named = |own: &Zone| {
                let vrf = self.host.vrf_over(&link.name).map(|vrf| &vrf.name);
                let mut names = std::iter::once(&link.name).chain(vrf);
                let by_name =
                    names.any(|name| own.interfaces.iter().any(|pattern| pattern.matches(name)));
                if own.interfaces.is_empty() { !is_container } else { by_name }
            };
            let addresses = |own: &Zone| match (&own.addresses, policy) {
                (Some(list), Some(policy)) => intervals(policy, list, family),
                _ => vec![(0, u128::MAX)],
            };
            match zone {
                ZoneRef::Host => {}
                ZoneRef::Containers if is_container => {}
                ZoneRef::Internet if !is_container => {
                    let declared = policy.iter().flat_map(|policy| policy.zones.values());
                    for own in declared.filter(|own| named(own)) {
                        let _ = sources.take(&addresses(own));
                    }
                }
                ZoneRef::Declared(name) => match policy.and_then(|policy| policy.zones.get(name)) {
                    Some(own) if named(own) => sources = sources.take(&addresses(own)),
                    _ => continue,
                },
                ZoneRef::Containers | ZoneRef::Internet => continue,
            }
            if !sources.is_empty() {
                let sources = sources.spans().iter().map(|span| (span.first, span.last)).collect();
                found.push(Arrival { from: From::Interface(link.name.clone()), sources });
            }
        }
        // What strangers use comes first: the interface with the most sources.
        found.sort_by_key(|arrival| {
            let size = |(first, last): &(u128, u128)| (last - first) >> 1;
            std::cmp::Reverse(arrival.sources.iter().map(size).sum::<u128>())
        });
        found
    }

    /// The sources to which the host would send by this interface.
    fn routed_by(&self, interface: &IfaceName, family: IpFamily) -> Sources {
        let by = &self.routing.by[usize::from(family == IpFamily::Ipv6)];
        let by = by.get_or_init(|| self.sources_by_interface(family));
        by.get(interface).cloned().unwrap_or_default()
    }

    /// The sources to which the host would send, by interface.
    fn sources_by_interface(&self, family: IpFamily) -> HashMap<IfaceName, Sources> {
        let mut found: HashMap<IfaceName, Sources> = HashMap::default();
        for piece in Sources::of(&[(0, highest(family))]).pieces(self.host.cuts(family)) {
            let source = address(family, piece.first);
            if !is_ordinary(source) {
                continue;
            }
            let mut interfaces: Vec<&IfaceName> = self.host.may_come_by(source).collect();
            interfaces.sort_unstable();
            interfaces.dedup();
            for interface in interfaces {
                if let Some(sources) = found.get_mut(interface) {
                    sources.push(piece);
                } else {
                    let mut sources = Sources::default();
                    sources.push(piece);
                    found.insert(interface.clone(), sources);
                }
            }
        }
        found
    }

    /// By which way packets from this address come: from the host itself, or by the interface by
    /// which the host would answer; `None` where it has no route to it.
    pub fn way_of(&self, source: IpAddr) -> Option<From> {
        if source.is_loopback() || self.host.address_type(source, None) == 2 {
            return Some(From::Host);
        }
        let vrfs = self.snapshot().links.iter().filter(|link| link.kind == LinkKind::Vrf);
        let tables = vrfs.filter_map(|vrf| vrf.table);
        let in_vrf = || {
            let routes = tables.filter_map(|table| self.host.route_in(table, source));
            let mut routes = routes.filter(|route| route.kind == "unicast");
            routes.find_map(|route| self.host.interfaces(route).next())
        };
        self.host.leaves_by(source, None).or_else(in_vrf).cloned().map(From::Interface)
    }

    /// The way in of what a connection says that it came by: sockets know a VRF, rules its port.
    pub fn port_of(&self, interface: &IfaceName, source: IpAddr) -> From {
        let vrf = self.host.link(interface).filter(|link| link.kind == LinkKind::Vrf);
        let port = vrf.and_then(|vrf| {
            let route = self.host.route_in(vrf.table?, source)?;
            self.host.interfaces(route).next()
        });
        From::Interface(port.unwrap_or(interface).clone())
    }

    /// The VRF that an interface is a port of: the table counts what comes by the one as coming by the
    /// other, too.
    pub fn vrf_of(&self, port: &IfaceName) -> Option<&IfaceName> {
        self.host.vrf_over(port).map(|vrf| &vrf.name)
    }

    /// Whether this is a container engine's interface.
    pub fn is_container(&self, from: &From) -> bool {
        let From::Interface(name) = from else { return false };
        self.containers().contains(name)
    }

    /// The interfaces of container engines.
    fn containers(&self) -> &BTreeSet<IfaceName> {
        self.routing.containers.get_or_init(|| {
            let snapshot = self.snapshot();
            let environment = Environment::of_links(&snapshot.links, &snapshot.routes);
            environment.container_interfaces(snapshot)
        })
    }

    /// The address that clients behind an interface dial: its first one of this IP version that
    /// is not link-local.
    pub fn dialled_at(&self, from: &From, family: IpFamily) -> Option<IpAddr> {
        let link = match from {
            From::Host => self.host.loopback(),
            From::Interface(name) => self.host.link(name),
        };
        let own = link.iter().flat_map(|link| &link.addresses).map(|own| own.address);
        let mut own: Vec<IpAddr> = own.filter(|own| IpFamily::of(*own) == family).collect();
        own.sort_by_key(|own| !is_ordinary(*own));
        own.first().copied()
    }
}

impl Analyzer<'_> {
    /// The host's addresses that others can dial: all but loopback and link-local ones, those of
    /// the interface with a default route first.
    pub fn own_addresses(&self, family: IpFamily) -> Vec<IpAddr> {
        let known = &self.routing.dialled[usize::from(family == IpFamily::Ipv6)];
        known.get_or_init(|| self.addresses_that_can_be_dialled(family)).clone()
    }

    fn addresses_that_can_be_dialled(&self, family: IpFamily) -> Vec<IpAddr> {
        let defaults = self.snapshot().routes.iter().filter(|route| route.is_default());
        let uplinks: BTreeSet<&IfaceName> =
            defaults.filter_map(|route| route.interface.as_ref()).collect();
        let mut links: Vec<_> = self.snapshot().links.iter().collect();
        links.sort_by_key(|link| !uplinks.contains(&link.name));
        let own = links.iter().flat_map(|link| &link.addresses).map(|own| own.address);
        own.filter(|own| IpFamily::of(*own) == family && is_ordinary(*own)).collect()
    }
}

/// An address that hosts of the world, or of a site, have: unicast, and not link-local.
fn is_ordinary(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(own) => {
            let first = own.octets()[0];
            first != 0 && first != 127 && first < 224
        }
        IpAddr::V6(own) => {
            let first = own.segments()[0];
            first & 0xe000 == 0x2000 || first & 0xfe00 == 0xfc00
        }
    }
}

/// The prefixes of a list as sorted intervals.
fn intervals(policy: &Policy, list: &[AddressRef], family: IpFamily) -> Vec<(u128, u128)> {
    let own = prefixes(policy, list).filter(|prefix| prefix.family() == family);
    united(own.map(|prefix| (number(prefix.first()), number(prefix.last()))).collect())
}

/// Intervals, sorted and apart.
pub(super) fn united(mut all: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    all.sort_unstable();
    joined(all.into_iter())
}
