//! The plan that was reviewed + the one of this moment → what is not as it was.
//!
//! Compared is what a reader of a plan goes by: the rules in force, what was changed by hand, the
//! table that it leads to, and who reaches what now and then. Who has come and gone without that
//! anything opens or closes for it is no difference, nor is a socket on a port that the kernel
//! gives to whoever connects out. Pure.

use super::{DecidedBy, Edit, EndpointExposure, Marker, Plan, Verdict, ZoneReach, openness};
use crate::model::{Bind, Endpoint, IpFamily, Owner, Protocol, ServedBy, ZoneRef};
use crate::observe::Sysctls;

/// Something that is not as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is another host.
    Host {
        /// The one that it was made for.
        then: String,
        /// This one.
        now: String,
    },
    /// Other rules of ours are in force.
    Live {
        /// The generation then; `None` where nothing of ours was in force.
        then: Option<u32>,
        /// The generation now.
        now: Option<u32>,
    },
    /// Somebody has changed our table by hand, or it was mended.
    ByHand,
    /// The policy makes another table here.
    Table,
    /// Something is served that was not.
    Served(Endpoint),
    /// Somebody else serves it.
    Owner {
        /// What.
        endpoint: Endpoint,
        /// Who served it.
        then: Owner,
    },
    /// A zone reaches it otherwise, now or afterwards.
    Reach {
        /// What.
        endpoint: Endpoint,
        /// From where.
        zone: ZoneRef,
        /// Over which IP version.
        family: IpFamily,
        /// Before and after, as the plan says; `None` where nothing could come from there.
        then: Option<(Verdict, Verdict)>,
        /// Before and after, now.
        now: Option<(Verdict, Verdict)>,
    },
}

/// What is not as it was reviewed.
pub fn moved(reviewed: &Plan, now: &Plan, sysctls: &Sysctls) -> Vec<Moved> {
    if reviewed.host != now.host {
        return vec![Moved::Host { then: reviewed.host.clone(), now: now.host.clone() }];
    }
    let mut moved = Vec::new();
    let digest = |marker: &Option<Marker>| marker.as_ref().map(|own| own.digest.clone());
    let number = |marker: &Option<Marker>| marker.as_ref().map(|own| own.generation);
    if digest(&reviewed.live) != digest(&now.live) {
        moved.push(Moved::Live { then: number(&reviewed.live), now: number(&now.live) });
    }
    if !same(&reviewed.drift, &now.drift) {
        moved.push(Moved::ByHand);
    }
    if reviewed.desired.digest != now.desired.digest {
        moved.push(Moved::Table);
    }
    for own in &now.exposure {
        moved.extend(exposed(own, &reviewed.exposure, sysctls));
    }
    moved.dedup();
    moved
}

/// What is not as it was with one endpoint.
fn exposed(now: &EndpointExposure, reviewed: &[EndpointExposure], sysctls: &Sysctls) -> Vec<Moved> {
    let dialled = Dialled::of(&now.endpoint);
    let then: Vec<&EndpointExposure> =
        reviewed.iter().filter(|own| Dialled::of(&own.endpoint) == dialled).collect();
    if then.iter().any(|own| fates(own) == fates(now) && own.endpoint.owner == now.endpoint.owner) {
        return Vec::new();
    }
    let endpoint = now.endpoint.clone();
    let Some(first) = then.first() else {
        let told = now.reach.iter().any(|own| openness(own.before) != openness(own.after));
        let passing = is_passing(&now.endpoint, sysctls);
        return if told && !passing { vec![Moved::Served(endpoint)] } else { Vec::new() };
    };
    if first.endpoint.owner != endpoint.owner {
        return vec![Moved::Owner { endpoint, then: first.endpoint.owner.clone() }];
    }
    let (then, now) = (fates(first), fates(now));
    let mut keys: Vec<&(ZoneRef, IpFamily)> = then.iter().chain(&now).map(|own| &own.0).collect();
    keys.sort();
    keys.dedup();
    let of = |fates: &[Fate], key: &(ZoneRef, IpFamily)| {
        fates.iter().find(|own| own.0 == *key).map(|own| own.1)
    };
    let reach = |key: &(ZoneRef, IpFamily)| {
        let (then, now) = (of(&then, key), of(&now, key));
        (then != now).then(|| Moved::Reach {
            endpoint: endpoint.clone(),
            zone: key.0.clone(),
            family: key.1,
            then,
            now,
        })
    };
    keys.into_iter().filter_map(reach).collect()
}

/// How a zone fares over an IP version, before and after.
type Fate = ((ZoneRef, IpFamily), (Verdict, Verdict));

fn fates(own: &EndpointExposure) -> Vec<Fate> {
    // What containers reach of each other is their engine's, and another network changes it.
    let told = |reach: &&ZoneReach| match reach.decided_by {
        DecidedBy::Loopback => false,
        DecidedBy::Engine => reach.before != reach.after,
        DecidedBy::Allow
        | DecidedBy::Deny
        | DecidedBy::Default
        | DecidedBy::ContainerNetwork
        | DecidedBy::Neighbour
        | DecidedBy::Host
        | DecidedBy::PastPolicy
        | DecidedBy::Unclear => true,
    };
    let fate =
        |reach: &ZoneReach| ((reach.zone.clone(), reach.family), (reach.before, reach.after));
    own.reach.iter().filter(told).map(fate).collect()
}

/// What a client dials. A container has another address of its own each time that it starts.
#[derive(PartialEq, Eq)]
struct Dialled<'e> {
    protocol: Protocol,
    ports: crate::model::PortRange,
    bind: Option<Bind>,
    device: Option<&'e crate::model::IfaceName>,
    network: Option<&'e str>,
    proxy: bool,
}

impl<'e> Dialled<'e> {
    fn of(endpoint: &'e Endpoint) -> Self {
        let network = match &endpoint.served_by {
            ServedBy::Routed { network } => Some(network.as_str()),
            ServedBy::HostSocket | ServedBy::Proxy | ServedBy::Published { .. } => None,
        };
        Self {
            protocol: endpoint.protocol,
            ports: endpoint.ports,
            bind: network.is_none().then_some(endpoint.bind),
            device: endpoint.device.as_ref(),
            network,
            proxy: endpoint.served_by == ServedBy::Proxy,
        }
    }
}

/// Whether it is a socket from which somebody sends datagrams, such as one of a resolver: the
/// kernel gave it its port, and will give the next one another.
fn is_passing(endpoint: &Endpoint, sysctls: &Sysctls) -> bool {
    let number = |name: &str, usual: i64| sysctls.0.get(name).copied().unwrap_or(usual);
    let first = number("ipv4.ip_local_port_range", 32768);
    let last = number("ipv4.ip_local_port_range.max", 60999);
    let port = i64::from(endpoint.ports.first());
    endpoint.protocol == Protocol::UDP
        && endpoint.served_by == ServedBy::HostSocket
        && (first..=last).contains(&port)
}

/// Whether two lists of edits do the same, whatever was counted and however the kernel numbers it.
fn same(then: &[Edit], now: &[Edit]) -> bool {
    let alike = |(then, now): (&Edit, &Edit)| match (then, now) {
        (
            Edit::AddRule { chain, rule, .. } | Edit::DeleteRule { chain, rule },
            Edit::AddRule { chain: other, rule: theirs, .. }
            | Edit::DeleteRule { chain: other, rule: theirs },
        ) => {
            std::mem::discriminant(then) == std::mem::discriminant(now)
                && chain == other
                && rule.same_as(theirs)
        }
        (Edit::DeleteChain { chain }, Edit::DeleteChain { chain: other }) => {
            chain.name == other.name
        }
        (Edit::DeleteSet { set }, Edit::DeleteSet { set: other }) => set.name == other.name,
        (then, now) => then == now,
    };
    then.len() == now.len() && then.iter().zip(now).all(alike)
}
