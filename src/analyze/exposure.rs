//! Every endpoint × zone × IP version: who reaches it through all rules of the host.
//!
//! In: a policy, if there is one, and a host. Out: one answer each, with the rule that decides, the
//! way, and a source for which it is so; beside it what the policy says, and where the two do not
//! agree. Pure.

use super::explain::Decider;
use super::exposed::{EXPOSURE_FORMAT, Exposed, Exposure, Violation, Witness, ZoneReach};
use super::packet::{From, Packet};
use super::ports::{Classes, classes};
use super::reach::{Reach, Summary};
use super::served::{path, serves};
use super::{Analyzer, Arrival, End, Fate};
use crate::compile::Environment;
use crate::model::{Bind, Endpoint, IpFamily, Owner, PortRange, Protocol, ServedBy, ZoneRef};
use crate::observe::{EngineState, Snapshot, Socket, SocketState, endpoints};
use crate::policy::{self, Judge, Policy, ReachVerdict, Target};
use std::net::IpAddr;

/// Finds out who reaches what; `ports` asks for every port too.
pub fn exposure(analyzer: &Analyzer<'_>, policy: Option<&Policy>, ports: bool) -> Exposure {
    let snapshot = analyzer.snapshot();
    let containers = Environment::of(snapshot).container_interfaces(snapshot);
    let asked = Asked {
        analyzer,
        judge: policy.map(|policy| Judge::with_containers(policy, &containers)),
        arrivals: arrivals(analyzer, policy),
    };
    let classes = classes(analyzer, policy);
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
fn push(found: &mut Vec<Exposed>, endpoint: Endpoint, reach: Vec<ZoneReach>, listens: bool) {
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

/// What filters or serves past all rules, or was not read, in words.
fn unseen(snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for link in snapshot.links.iter().filter(|link| link.xdp) {
        found.push(format!("an XDP program on {} sees packets before any rule", link.name));
    }
    for table in &snapshot.legacy_tables {
        found.push(format!("the legacy iptables table {table} is loaded, and was not read"));
    }
    for engine in &snapshot.engines {
        for network in &engine.networks {
            if matches!(network.driver.as_str(), "macvlan" | "ipvlan") {
                found.push(format!(
                    "containers on the {} network {} are reached past the rules of this host",
                    network.driver, network.name
                ));
            }
        }
        if !matches!(engine.state, EngineState::Answered | EngineState::Absent) {
            found.push(format!("the container engine at {} did not answer", engine.socket));
        }
    }
    for table in &snapshot.ruleset.tables {
        for object in table.objects.iter().filter(|own| own.kind == "flowtable") {
            found.push(format!(
                "connections in the flowtable {} of table {} {} are forwarded past the rules",
                object.name,
                table.family.as_str(),
                table.name
            ));
        }
    }
    found.extend(snapshot.warnings.iter().map(|own| format!("{}: {}", own.subject, own.message)));
    found
}

fn zones(policy: Option<&Policy>) -> Vec<ZoneRef> {
    let declared = policy.iter().flat_map(|policy| policy.zones.keys());
    let mut zones = vec![ZoneRef::Internet];
    zones.extend(declared.map(|name| ZoneRef::Declared(name.clone())));
    zones.push(ZoneRef::Containers);
    zones
}

/// The questions' common ground.
struct Asked<'a, 's> {
    analyzer: &'a Analyzer<'s>,
    judge: Option<Judge<'a>>,
    arrivals: Vec<(ZoneRef, IpFamily, Vec<Arrival>)>,
}

/// The ways in of every zone, over each IP version.
fn arrivals(
    analyzer: &Analyzer<'_>,
    policy: Option<&Policy>,
) -> Vec<(ZoneRef, IpFamily, Vec<Arrival>)> {
    let mut all = Vec::new();
    for zone in zones(policy) {
        for family in IpFamily::BOTH {
            all.push((zone.clone(), family, analyzer.arrivals(policy, &zone, family)));
        }
    }
    all
}

/// An answer about one dialled address.
struct Told {
    address: IpAddr,
    summary: Summary,
    witness: Option<Witness>,
    decided_by: Option<Decider>,
    path: String,
}

impl Asked<'_, '_> {
    fn all_ports(&self, classes: &Classes) -> Vec<Exposed> {
        let mut found = Vec::new();
        for protocol in [Protocol::TCP, Protocol::UDP] {
            for ports in classes.split(protocol, PortRange::ALL) {
                let port = Endpoint {
                    protocol,
                    ports,
                    bind: Bind::Any,
                    device: None,
                    owner: Owner::default(),
                    served_by: ServedBy::HostSocket,
                };
                let reach = self.reach(&port, None);
                push(&mut found, port, reach, false);
            }
        }
        found.retain(|exposed| exposed.reach.iter().any(|reach| reach.verdict != Reach::Closed));
        found
    }

    fn reach(&self, endpoint: &Endpoint, listener: Option<&Endpoint>) -> Vec<ZoneReach> {
        let mut found = Vec::new();
        for (zone, family, arrivals) in &self.arrivals {
            let dialled = self.dialled(endpoint, *family);
            if dialled.is_empty() || arrivals.is_empty() {
                continue;
            }
            let told: Vec<Told> = dialled
                .iter()
                .filter_map(|address| self.told(endpoint, listener, arrivals, *address))
                .collect();
            let differs = told.iter().any(|own| {
                (own.summary.reach, &own.decided_by, &own.path)
                    != (told[0].summary.reach, &told[0].decided_by, &told[0].path)
            });
            let shown = if differs { told.len() } else { 1 };
            for own in told.into_iter().take(shown) {
                found.push(self.judged(endpoint, zone, *family, own, differs));
            }
        }
        found
    }

    /// The addresses that can be dialled for it; one that is bound to every address answers on
    /// each of the host's.
    fn dialled(&self, endpoint: &Endpoint, family: IpFamily) -> Vec<IpAddr> {
        let any = match endpoint.bind {
            Bind::Address(address) => {
                return if IpFamily::of(address) == family { vec![address] } else { Vec::new() };
            }
            Bind::Any => true,
            Bind::AnyIpv4 => family == IpFamily::Ipv4,
            Bind::AnyIpv6 => family == IpFamily::Ipv6,
        };
        if any { self.analyzer.own_addresses(family) } else { Vec::new() }
    }

    fn told(
        &self,
        endpoint: &Endpoint,
        listener: Option<&Endpoint>,
        arrivals: &[Arrival],
        address: IpAddr,
    ) -> Option<Told> {
        let family = IpFamily::of(address);
        let mut all: Option<Told> = None;
        for arrival in arrivals {
            if let (Some(device), From::Interface(name)) = (&endpoint.device, &arrival.from)
                && device != name
            {
                continue;
            }
            let source = arrival.first(family)?;
            let port = endpoint.ports.first();
            let from = arrival.from.clone();
            let one = Packet::new(from, source, address, endpoint.protocol, port);
            let packet = Packet { sources: arrival.sources.clone(), ..one.clone() };
            let arrives = |end: &End| match listener {
                Some(listener) => serves(listener, end) || self.proxied(listener, end),
                None => end.fate.passes(),
            };
            let summary = self.analyzer.ask(&packet).summary(family, arrives);
            let chosen = match summary.reach {
                Reach::Open | Reach::Limited | Reach::Partial => summary.admitted,
                Reach::Closed => summary.refused,
                Reach::Unknown => summary.doubtful,
            };
            let source = chosen.unwrap_or(source);
            let sources = vec![(super::packet::number(source), super::packet::number(source))];
            let answer = self.analyzer.ask(&Packet { sources, ..one });
            let interface = match &arrival.from {
                From::Interface(name) => Some(name.to_string()),
                From::Host => None,
            };
            let told = Told {
                address,
                summary,
                witness: Some(Witness { source, interface }),
                decided_by: self.analyzer.decider(&answer, arrives),
                path: path(listener, &answer.ends),
            };
            all = Some(match all {
                None => told,
                Some(other) => both(other, told),
            });
        }
        all
    }

    /// Whether the engine's proxy takes in what nothing translated.
    fn proxied(&self, endpoint: &Endpoint, end: &End) -> bool {
        let ServedBy::Published { .. } = endpoint.served_by else { return false };
        let to = end.state.env.destination;
        let listens = |socket: &Socket| {
            socket.state == SocketState::Listening
                && socket.namespace.is_none()
                && socket.protocol == endpoint.protocol
                && Some(socket.local.port()) == end.state.env.port
                && (socket.local.ip() == to || socket.local.ip().is_unspecified())
                && (socket.local.is_ipv4() == to.is_ipv4() || !socket.v6only)
        };
        end.fate == Fate::Delivered && self.analyzer.snapshot().sockets.iter().any(listens)
    }

    fn judged(
        &self,
        endpoint: &Endpoint,
        zone: &ZoneRef,
        family: IpFamily,
        told: Told,
        differs: bool,
    ) -> ZoneReach {
        let (dialled, network) = match &endpoint.served_by {
            ServedBy::Routed { network } => (None, Some(network.clone())),
            _ => (Some(told.address), None),
        };
        let port = endpoint.protocol.has_ports().then_some(endpoint.ports.first());
        let target = Target { protocol: endpoint.protocol, port, dialled, network };
        let says = self.judge.as_ref().and_then(|judge| judge.reach(zone, family, &target));
        let verdict = told.summary.reach;
        let violation = says.as_ref().and_then(|says| violation(verdict, says.verdict));
        ZoneReach {
            zone: zone.clone(),
            family,
            address: differs.then_some(told.address),
            verdict,
            path: told.path,
            decided_by: told.decided_by,
            policy: says.as_ref().map(|says| match says.by {
                policy::DecidedBy::Allow => "allow",
                policy::DecidedBy::Deny => "deny",
                policy::DecidedBy::Default
                | policy::DecidedBy::AlwaysPasses
                | policy::DecidedBy::LeftToEngine => "default",
            }),
            policy_verdict: says.as_ref().map(|says| says.verdict),
            origins: says.map(|says| says.origins).unwrap_or_default(),
            violation,
            witness: told.witness,
            depends_on: told.summary.depends_on,
        }
    }
}

/// The answer for two ways in together.
fn both(one: Told, two: Told) -> Told {
    let reach = match (one.summary.reach, two.summary.reach) {
        (a, b) if a == b => a,
        (Reach::Unknown, _) | (_, Reach::Unknown) => Reach::Unknown,
        (Reach::Open, Reach::Limited) | (Reach::Limited, Reach::Open) => Reach::Limited,
        _ => Reach::Partial,
    };
    let mut depends_on = one.summary.depends_on.clone();
    for name in &two.summary.depends_on {
        if !depends_on.contains(name) {
            depends_on.push(name.clone());
        }
    }
    // The way that lets more through, or is less known, tells more.
    let rank = |reach: Reach| match reach {
        Reach::Unknown => 4,
        Reach::Open => 3,
        Reach::Limited => 2,
        Reach::Partial => 1,
        Reach::Closed => 0,
    };
    let more = if rank(two.summary.reach) > rank(one.summary.reach) { two } else { one };
    Told { summary: Summary { reach, depends_on, ..more.summary.clone() }, ..more }
}

/// Whether more gets through than may.
fn violation(verdict: Reach, says: ReachVerdict) -> Option<Violation> {
    match (verdict, says) {
        (Reach::Closed, _)
        | (_, ReachVerdict::Open)
        | (Reach::Limited, ReachVerdict::Limited)
        | (Reach::Partial, ReachVerdict::Partial | ReachVerdict::Limited) => None,
        (Reach::Unknown, _) => Some(Violation::NotProved),
        (Reach::Limited, ReachVerdict::Partial | ReachVerdict::Closed)
        | (Reach::Partial, ReachVerdict::Closed)
        | (Reach::Open, ReachVerdict::Limited | ReachVerdict::Partial | ReachVerdict::Closed) => {
            Some(Violation::Forbidden)
        }
    }
}
