//! One endpoint, zone and IP version: the questions that are asked of the engine, and the answer.

use super::explain::Decider;
use super::exposed::{Exposed, Violation, Witness, ZoneReach};
use super::exposure::push;
use super::kept::{Known, Names};
use super::packet::{From, Packet, number};
use super::ports::Classes;
use super::reach::{Reach, Summary};
use super::served::{path, serves};
use super::together::Together;
use super::{Analyzer, Arrival, End, Fate};
use crate::model::{Bind, Endpoint, IpFamily, Owner, PortRange, Protocol, ServedBy, ZoneRef};
use crate::observe::{Socket, SocketState};
use crate::policy::{self, Judge, Policy, ReachVerdict, Target};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

fn zones(policy: Option<&Policy>) -> Vec<ZoneRef> {
    let declared = policy.iter().flat_map(|policy| policy.zones.keys());
    let mut zones = vec![ZoneRef::Internet];
    zones.extend(declared.map(|name| ZoneRef::Declared(name.clone())));
    zones.push(ZoneRef::Containers);
    zones
}

/// The questions' common ground.
pub(super) struct Asked<'a, 's> {
    pub analyzer: &'a Analyzer<'s>,
    pub judge: Option<&'a Judge<'a>>,
    pub arrivals: &'a [(ZoneRef, IpFamily, Vec<Arrival>)],
    /// What was answered, for dialled addresses and ports of the same classes.
    pub known: RefCell<Known>,
}

impl<'a, 's> Asked<'a, 's> {
    /// Nothing was asked yet.
    pub fn new(
        analyzer: &'a Analyzer<'s>,
        judge: Option<&'a Judge<'a>>,
        arrivals: &'a [(ZoneRef, IpFamily, Vec<Arrival>)],
    ) -> Self {
        Self { analyzer, judge, arrivals, known: RefCell::default() }
    }
}

/// The ways in of every zone, over each IP version.
pub(super) fn arrivals(
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The dialled address.
    pub address: IpAddr,
    /// How much gets through.
    pub summary: Summary,
    /// A source for which it is so.
    pub witness: Option<Witness>,
    /// Who decides for that source; `None` where no rule does.
    pub decided_by: Option<Decider>,
    /// Who keeps out those of the zone that do not get through.
    pub refused_by: Option<Decider>,
    /// By which way it is served.
    pub path: String,
}

impl Analyzer<'_> {
    /// Who reaches an address and port by these ways, whether something listens there or not;
    /// `None` where there is no way. The port is 0 for a protocol without ports.
    pub fn dial(
        &self,
        ways: &[Arrival],
        address: IpAddr,
        dialled: (Protocol, u16),
    ) -> Option<Told> {
        self.told(dialled, ways.iter(), address, None, &|end| end.fate.passes())
    }

    /// Whether nothing of these ways reaches an address and port: known to, and for all of them.
    pub fn is_closed(
        &self,
        ways: &[Arrival],
        address: IpAddr,
        (protocol, port): (Protocol, u16),
    ) -> bool {
        let family = IpFamily::of(address);
        ways.iter().all(|way| {
            let Some(source) = way.first(family) else { return true };
            let one = Packet::new(way.from.clone(), source, address, protocol, port);
            let packet = Packet { sources: way.sources.clone(), ..one };
            let answer = self.ask_again(&packet);
            answer.summary_of_shared(family, |end| end.fate.passes()).reach == Reach::Closed
        })
    }

    /// The same, where only some ends are arrivals.
    pub(super) fn told<'a>(
        &self,
        (protocol, port): (Protocol, u16),
        arrivals: impl Iterator<Item = &'a Arrival>,
        address: IpAddr,
        listener: Option<&Endpoint>,
        arrives: &dyn Fn(&End) -> bool,
    ) -> Option<Told> {
        let family = IpFamily::of(address);
        let mut all = Together::default();
        for arrival in arrivals {
            let source = arrival.first(family)?;
            let one = Packet::new(arrival.from.clone(), source, address, protocol, port);
            let packet = Packet { sources: arrival.sources.clone(), ..one.clone() };
            all.add(&Rc::new(self.told_of(&packet, listener, arrives)));
        }
        all.told()
    }

    /// How a packet from any of its sources fares.
    pub fn fare(&self, packet: &Packet, arrives: &dyn Fn(&End) -> bool) -> Told {
        self.told_of(packet, None, arrives)
    }

    fn told_of(
        &self,
        packet: &Packet,
        listener: Option<&Endpoint>,
        arrives: &dyn Fn(&End) -> bool,
    ) -> Told {
        let family = packet.family();
        let answer = self.ask_again(packet);
        let summary = answer.summary_of_shared(family, arrives);
        let chosen = match summary.reach {
            Reach::Open | Reach::Limited | Reach::Partial => summary.admitted,
            Reach::Closed => summary.refused,
            Reach::Unknown => summary.doubtful,
        };
        let first = packet.sources.first().map_or(0, |(first, _)| *first);
        let source = chosen.unwrap_or(super::packet::address(family, first));
        let single = packet.sources == [(number(source), number(source))];
        let alone = |source: IpAddr| {
            let source = number(source);
            let known = answer.alone(source).filter(|_| summary.reach != Reach::Unknown);
            let packet = || Packet { sources: vec![(source, source)], ..packet.clone() };
            known.unwrap_or_else(|| self.ask_again(&packet()).ends.clone())
        };
        let refused = match (summary.reach, summary.refused) {
            (Reach::Partial, Some(refused)) => Some(alone(refused)),
            _ => None,
        };
        let ends = if single { Cow::Borrowed(&answer.ends[..]) } else { Cow::Owned(alone(source)) };
        let refused_by = match summary.reach {
            Reach::Closed => self.refuser(&ends),
            _ => refused.and_then(|ends| self.refuser(&ends)),
        };
        let interface = match &packet.from {
            From::Interface(name) => Some(name.to_string()),
            From::Host => None,
        };
        Told {
            address: packet.destination,
            decided_by: self.decider(&ends, arrives),
            refused_by,
            path: path(listener, &ends),
            summary,
            witness: Some(Witness { source, interface }),
        }
    }
}

impl Asked<'_, '_> {
    pub fn all_ports(&self, classes: &Classes) -> Vec<Exposed> {
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

    pub fn reach(&self, endpoint: &Endpoint, listener: Option<&Endpoint>) -> Vec<ZoneReach> {
        let mut found = Vec::new();
        for (zone, family, arrivals) in self.arrivals {
            if arrivals.is_empty() {
                continue;
            }
            let told = self.told_of_each(endpoint, listener, arrivals, *family);
            let Some((_, first)) = told.first() else { continue };
            let differs = told.iter().any(|(_, own)| {
                !Rc::ptr_eq(own, first)
                    && (own.summary.reach, &own.decided_by, &own.path)
                        != (first.summary.reach, &first.decided_by, &first.path)
            });
            let shown = if differs { told.len() } else { 1 };
            for (address, own) in told.iter().take(shown) {
                found.push(self.judged(endpoint, (zone, *family), own, *address, differs));
            }
        }
        found
    }

    /// The addresses that can be dialled for it; one that is bound to every address answers on
    /// each of the host's.
    pub fn dialled(&self, endpoint: &Endpoint, family: IpFamily) -> Vec<IpAddr> {
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

    /// The answer for one dialled address, by whichever way the zone comes; and whether it may name
    /// that address, or the port.
    pub fn told(
        &self,
        endpoint: &Endpoint,
        listener: Option<&Endpoint>,
        arrivals: &[Arrival],
        address: IpAddr,
    ) -> (Option<Told>, Names) {
        let dialled = (endpoint.protocol, endpoint.ports.first());
        let names = Cell::new(Names::default());
        let arrives = |end: &End| {
            if end.state.translated_by.is_some() {
                let before = names.get();
                names.set(Names {
                    address: before.address || end.state.env.destination == address,
                    port: before.port || end.state.env.port == Some(dialled.1),
                });
            }
            match listener {
                Some(listener) => serves(listener, end) || self.proxied(listener, end),
                None => end.fate.passes(),
            }
        };
        // Of a port that nobody listens at, only the rules are asked.
        let by_socket = matches!(endpoint.served_by, ServedBy::HostSocket | ServedBy::Proxy);
        let of_socket = listener.is_some() && by_socket || endpoint.device.is_some();
        let hears = |arrival: &&Arrival| match &arrival.from {
            From::Interface(name) if of_socket => {
                self.analyzer.host.is_heard(name, endpoint.device.as_ref(), endpoint.protocol)
            }
            From::Interface(_) | From::Host => true,
        };
        let arrivals = arrivals.iter().filter(hears);
        let told = self.analyzer.told(dialled, arrivals, address, listener, &arrives);
        (told, names.get())
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
        (zone, family): (&ZoneRef, IpFamily),
        told: &Told,
        address: IpAddr,
        differs: bool,
    ) -> ZoneReach {
        let target = target(endpoint, address);
        let says = self.judge.and_then(|judge| judge.reach(zone, family, &target));
        let verdict = told.summary.reach;
        let violation = says.as_ref().and_then(|says| violation(verdict, says.verdict));
        ZoneReach {
            zone: zone.clone(),
            family,
            address: differs.then_some(address),
            verdict,
            path: told.path.clone(),
            decided_by: told.decided_by.clone(),
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
            witness: told.witness.clone(),
            depends_on: told.summary.depends_on.clone(),
        }
    }
}

/// What a client dials who dials this address.
pub(super) fn target(endpoint: &Endpoint, address: IpAddr) -> Target {
    let (dialled, network) = match &endpoint.served_by {
        ServedBy::Routed { network } => (None, Some(network.clone())),
        ServedBy::HostSocket | ServedBy::Proxy | ServedBy::Published { .. } => {
            (Some(address), None)
        }
    };
    let port = endpoint.protocol.has_ports().then_some(endpoint.ports.first());
    Target { protocol: endpoint.protocol, port, dialled, network }
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
