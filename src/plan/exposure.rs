//! Who reaches which endpoint, as far as the policy decides: now and when the plan is applied.

use super::{DecidedBy, EndpointExposure, Verdict, ZoneReach};
use crate::compile::Environment;
use crate::model::{Bind, Endpoint, IpFamily, PortRange, PortSpec, Protocol, ServedBy, ZoneRef};
use crate::observe::{Snapshot, endpoints};
use crate::policy::{self, Judge, Policy, Reach, ReachVerdict, Target};
use std::collections::BTreeSet;

/// What holds now.
#[derive(Debug)]
pub(super) enum Now<'p> {
    /// No table of ours.
    Unfiltered,
    /// A table of ours that came from this policy.
    Policy(&'p Policy),
    /// A table of ours, and nobody knows from which policy.
    Unknown,
}

/// Every endpoint of the host.
pub(super) fn exposure(
    policy: &Policy,
    now: &Now<'_>,
    snapshot: &Snapshot,
    environment: &Environment,
) -> Vec<EndpointExposure> {
    let containers = environment.container_interfaces(snapshot);
    let after = Judge::with_containers(policy, &containers);
    let before = match now {
        Now::Policy(policy) => Some(Judge::with_containers(policy, &containers)),
        Now::Unfiltered | Now::Unknown => None,
    };
    let zones = zones(policy);
    let mut cuts = cuts(policy);
    if let Now::Policy(policy) = now {
        cuts.extend(self::cuts(policy));
    }
    let mut exposure: Vec<EndpointExposure> = Vec::new();
    for endpoint in endpoints(snapshot) {
        for ports in split(endpoint.protocol, endpoint.ports, &cuts) {
            let endpoint = Endpoint { ports, ..endpoint.clone() };
            let mut reach = Vec::new();
            for zone in &zones {
                for family in families(endpoint.bind) {
                    let before = before.as_ref().map_or(
                        match now {
                            Now::Unknown => Verdict::Unknown,
                            Now::Unfiltered | Now::Policy(_) => Verdict::Unfiltered,
                        },
                        |judge| {
                            answer(judge, &endpoint, zone, family)
                                .map_or(Verdict::Unknown, |reach| reach.after)
                        },
                    );
                    if let Some(answer) = answer(&after, &endpoint, zone, family) {
                        let before = if answer.decided_by == DecidedBy::Loopback {
                            Verdict::Closed
                        } else {
                            before
                        };
                        reach.push(ZoneReach { before, ..answer });
                    }
                }
            }
            let again = exposure.last_mut().filter(|last| {
                last.reach == reach
                    && last.endpoint.ports.last().checked_add(1) == Some(ports.first())
                    && Endpoint { ports, ..last.endpoint.clone() } == endpoint
            });
            match again {
                Some(last) => {
                    last.endpoint.ports = PortRange::new(last.endpoint.ports.first(), ports.last())
                        .expect("one range behind the other ascends");
                }
                None => exposure.push(EndpointExposure { endpoint, reach }),
            }
        }
    }
    exposure
}

/// The zones that the table is about: what comes from outside, widest first, and containers. The
/// host itself reaches everything.
fn zones(policy: &Policy) -> Vec<ZoneRef> {
    let declared = policy.zones.keys().map(|name| ZoneRef::Declared(name.clone()));
    let mut zones = vec![ZoneRef::Internet];
    zones.extend(declared);
    zones.push(ZoneRef::Containers);
    zones
}

fn families(bind: Bind) -> Vec<IpFamily> {
    match bind {
        Bind::Any => IpFamily::BOTH.to_vec(),
        Bind::AnyIpv4 => vec![IpFamily::Ipv4],
        Bind::AnyIpv6 => vec![IpFamily::Ipv6],
        Bind::Address(address) => vec![IpFamily::of(address)],
    }
}

fn answer(
    judge: &Judge<'_>,
    endpoint: &Endpoint,
    zone: &ZoneRef,
    family: IpFamily,
) -> Option<ZoneReach> {
    let (dialled, network) = match (&endpoint.bind, &endpoint.served_by) {
        (_, ServedBy::Routed { network }) => (None, Some(network.clone())),
        (Bind::Address(address), _) => (Some(*address), None),
        (Bind::Any | Bind::AnyIpv4 | Bind::AnyIpv6, _) => (None, None),
    };
    let port = endpoint.protocol.has_ports().then_some(endpoint.ports.first());
    let target = Target { protocol: endpoint.protocol, port, dialled, network };
    let reach = judge.reach(zone, family, &target)?;
    let loopback = matches!(endpoint.bind, Bind::Address(address) if address.is_loopback());
    // A container that dials a published port is translated to another container: what containers
    // send to each other is left to the engine.
    let between = *zone == ZoneRef::Containers
        && matches!(endpoint.served_by, ServedBy::Published { .. } | ServedBy::Routed { .. });
    let (after, decided_by) = if loopback {
        (Verdict::Closed, DecidedBy::Loopback)
    } else if between {
        (Verdict::Unfiltered, DecidedBy::Engine)
    } else {
        (verdict(&reach), decided_by(&reach, target.network.is_some()))
    };
    let origins = if loopback || between { Vec::new() } else { reach.origins };
    Some(ZoneReach {
        zone: zone.clone(),
        family,
        before: after,
        after,
        decided_by,
        origins,
        witness: Some(reach.witness.address),
    })
}

fn verdict(reach: &Reach) -> Verdict {
    match reach.verdict {
        ReachVerdict::Open => Verdict::Open,
        ReachVerdict::Limited => Verdict::Limited,
        ReachVerdict::Partial => Verdict::Partial,
        ReachVerdict::Closed => Verdict::Closed,
    }
}

fn decided_by(reach: &Reach, routed: bool) -> DecidedBy {
    match reach.by {
        policy::DecidedBy::Deny => DecidedBy::Deny,
        policy::DecidedBy::Default if routed => DecidedBy::ContainerNetwork,
        policy::DecidedBy::Default => DecidedBy::Default,
        policy::DecidedBy::Allow | policy::DecidedBy::AlwaysPasses => DecidedBy::Allow,
        policy::DecidedBy::LeftToEngine => DecidedBy::Engine,
    }
}

/// The ports at which some rule begins, or has just ended, by protocol.
fn cuts(policy: &Policy) -> BTreeSet<(Protocol, u16)> {
    let mut cuts = BTreeSet::new();
    for rule in policy.allow.iter().chain(&policy.deny) {
        for spec in &rule.ports {
            if let PortSpec::Ports(protocol, range) = spec {
                cuts.insert((*protocol, range.first()));
                cuts.extend(range.last().checked_add(1).map(|behind| (*protocol, behind)));
            }
        }
    }
    cuts
}

/// A range of ports, cut wherever the policy may say something else.
fn split(protocol: Protocol, ports: PortRange, cuts: &BTreeSet<(Protocol, u16)>) -> Vec<PortRange> {
    let mut firsts = vec![ports.first()];
    let inside = (protocol, ports.first())..=(protocol, ports.last());
    firsts.extend(cuts.range(inside).map(|(_, port)| *port).filter(|port| *port > ports.first()));
    let lasts = firsts.iter().skip(1).map(|first| first - 1).chain([ports.last()]);
    firsts.iter().zip(lasts).filter_map(|(first, last)| PortRange::new(*first, last).ok()).collect()
}
