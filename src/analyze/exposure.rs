//! Every endpoint × zone × IP version: who reaches it through all rules of the host.
//!
//! In: a policy, if there is one, and a host. Out: one answer each, with the rule that decides, the
//! way, and a source for which it is so; beside it what the policy says, and where the two do not
//! agree. Pure.

use super::Analyzer;
use super::asked::{Asked, arrivals};
use super::exposed::{EXPOSURE_FORMAT, Exposed, Exposure, ZoneReach};
use super::ports::Classes;
use super::unseen::unseen;
use crate::compile::Environment;
use crate::model::{Bind, Endpoint, PortRange};
use crate::observe::endpoints;
use crate::policy::{Judge, Policy};

/// Finds out who reaches what; `ports` asks for every port too.
///
/// An analyzer keeps its answers: whoever looks at a host again and again, and finds its ruleset at
/// the generation of before ([`crate::observe::nft::generation`]), asks the same one again.
pub fn exposure(analyzer: &Analyzer<'_>, policy: Option<&Policy>, ports: bool) -> Exposure {
    let texts: Vec<String> =
        policy.iter().flat_map(|own| &own.sources).map(|own| own.sha256.clone()).collect();
    // A policy that came from no text is known by nothing.
    let key = (policy.is_none() || !texts.is_empty()).then_some((texts, ports));
    let mut kept = analyzer.exposures.borrow_mut();
    match key {
        None => found(analyzer, policy, ports),
        Some(key) => kept.entry(key).or_insert_with(|| found(analyzer, policy, ports)).clone(),
    }
}

fn found(analyzer: &Analyzer<'_>, policy: Option<&Policy>, ports: bool) -> Exposure {
    let snapshot = analyzer.snapshot();
    let containers =
        Environment::of_links(&snapshot.links, &snapshot.routes).container_interfaces(snapshot);
    let judge = policy.map(|policy| Judge::with_containers(policy, &containers));
    let arrivals = arrivals(analyzer, policy);
    let asked = Asked::new(analyzer, judge.as_ref(), &arrivals);
    let mut classes = Classes::default();
    classes.of_rules(analyzer);
    if let Some(policy) = policy {
        classes.of_policy(policy);
    }
    let mut found = Vec::new();
    for endpoint in endpoints(snapshot) {
        for ports in classes.split(endpoint.protocol, endpoint.ports) {
            let endpoint = Endpoint { ports, ..endpoint.clone() };
            let reach = asked.reach(&endpoint, Some(&endpoint));
            push(&mut found, endpoint, reach, true);
        }
    }
    Exposure {
        format: EXPOSURE_FORMAT,
        host: snapshot.host.name.clone(),
        taken_at: snapshot.taken_at,
        policy: policy.is_some(),
        unseen: unseen(snapshot),
        endpoints: found,
        ports: ports.then(|| asked.all_ports(&classes)),
    }
}

/// Adds an endpoint, or joins it with the one of the ports before it.
pub(super) fn push(
    found: &mut Vec<Exposed>,
    endpoint: Endpoint,
    reach: Vec<ZoneReach>,
    listens: bool,
) {
    if let Some(last) = found.last_mut() {
        let end = last.last_port.unwrap_or(last.port);
        let same = last.reach == reach
            && last.protocol == endpoint.protocol
            && last.owner == endpoint.owner
            && last.endpoint.as_ref().map(|own| own.bind) == listens.then_some(endpoint.bind)
            && end.checked_add(1) == Some(endpoint.ports.first());
        if same {
            last.last_port = Some(endpoint.ports.last());
            if let Some(own) = &mut last.endpoint
                && let Ok(ports) = PortRange::new(own.ports.first(), endpoint.ports.last())
            {
                own.ports = ports;
            }
            return;
        }
    }
    let (first, last) = (endpoint.ports.first(), endpoint.ports.last());
    found.push(Exposed {
        address: match endpoint.bind {
            Bind::Address(address) => Some(address),
            Bind::Any | Bind::AnyIpv4 | Bind::AnyIpv6 => None,
        },
        protocol: endpoint.protocol,
        port: first,
        last_port: (first != last).then_some(last),
        owner: endpoint.owner.clone(),
        reach,
        endpoint: listens.then_some(endpoint),
    });
}
