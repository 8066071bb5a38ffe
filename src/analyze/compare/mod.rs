//! Two rulesets → whether they do the same to every packet, or one to which they do not.
//!
//! In: two analyzers, of one host with two rulesets, and a region: all packets, or some. Out: that
//! they are equal there, or a packet that shows how they differ, with the deciders of both.
//!
//! Rules that both have in one order are paired first; two that cannot both match, or that do the
//! same, may change places. What is left names the packets that can tell the two apart, and only
//! those are looked at: cut where a rule that concerns them may begin to say something else, each
//! piece asked once in both rulesets by the engine that answers every other question. So a
//! difference is one in the engine, and equality holds piece by piece. Conditions that packets do
//! not tell are matched by name: equal is what depends alike on the same unknowns.

mod align;
mod edges;
mod outcome;
mod rewrite;
mod search;

use super::Analyzer;
use super::arrivals::united;
use super::explain::Decider;
use super::gate::{Field, Gate};
use super::packet::{ConnectionState, From, Packet, highest, number};
use crate::model::{Endpoint, IpFamily, PortRange, Prefix, Protocol};

/// Which packets are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// How they come in; empty for every way.
    pub from: Vec<From>,
    /// From which addresses; empty for all.
    pub sources: Vec<Prefix>,
    /// To which addresses; empty for all.
    pub destinations: Vec<Prefix>,
    /// Of which protocol; `None` for all.
    pub protocol: Option<Protocol>,
    /// To which ports; `None` for all.
    pub ports: Option<PortRange>,
    /// What connection tracking says of them; empty for anything.
    pub states: Vec<ConnectionState>,
}

impl Region {
    /// Every packet of both IP versions.
    pub fn all() -> Self {
        Self {
            from: Vec::new(),
            sources: Vec::new(),
            destinations: Vec::new(),
            protocol: None,
            ports: None,
            states: Vec::new(),
        }
    }

    /// First packets to what an endpoint serves.
    pub fn of_endpoint(endpoint: &Endpoint) -> Self {
        Self {
            protocol: Some(endpoint.protocol),
            ports: endpoint.protocol.has_ports().then_some(endpoint.ports),
            states: vec![ConnectionState::New],
            ..Self::all()
        }
    }
}

/// How two rulesets compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// They do the same to every packet of the region.
    Equal,
    /// They do not.
    Differs(Box<Difference>),
    /// No difference was found, and equality is not proved.
    Undecided {
        /// Why not.
        why: Vec<String>,
    },
}

/// A packet to which two rulesets do different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The packet, from one source.
    pub packet: Packet,
    /// What the first does, in words.
    pub one: String,
    /// What the second does.
    pub two: String,
    /// Who decides in the first; `None` where no rule does.
    pub decided_by_one: Option<Decider>,
    /// Who decides in the second.
    pub decided_by_two: Option<Decider>,
    /// What the packet alone does not tell and on which the difference depends, by name.
    pub depends_on: Vec<String>,
}

/// Packets that may tell two rulesets apart: a box, and of its sources these.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Doubt {
    gate: Gate,
    sources: Vec<(u128, u128)>,
}

/// Compares the rulesets of two analyzers of one host.
pub fn compare<'a>(one: &'a Analyzer<'a>, two: &'a Analyzer<'a>, region: &Region) -> Comparison {
    let aligned = align::align(one, two);
    if aligned.doubts.is_empty() {
        return Comparison::Equal;
    }
    let mut search = search::Search::new(one, two, &aligned, region);
    let sent = search.as_sent(&aligned.doubts);
    for family in IpFamily::BOTH {
        for doubt in doubts(&sent, region, family) {
            if let Some(difference) = search.doubt(family, &doubt) {
                return Comparison::Differs(Box::new(difference));
            }
        }
    }
    match search.why() {
        why if why.is_empty() => Comparison::Equal,
        why => Comparison::Undecided { why },
    }
}

/// The doubts about one IP version within a region; those of which only the sources differ are one.
fn doubts(gates: &[Gate], region: &Region, family: IpFamily) -> Vec<Doubt> {
    let highest = highest(family);
    let of = |prefixes: &[Prefix]| -> Vec<(u128, u128)> {
        if prefixes.is_empty() {
            return vec![(0, highest)];
        }
        let own = prefixes.iter().filter(|prefix| prefix.family() == family);
        own.map(|prefix| (number(prefix.first()), number(prefix.last()))).collect()
    };
    let (sources, destinations) = (of(&region.sources), of(&region.destinations));
    let mut found: Vec<Doubt> = Vec::new();
    for gate in gates {
        let mut gate = *gate;
        let version = match family {
            IpFamily::Ipv4 => 4,
            IpFamily::Ipv6 => 6,
        };
        gate.narrow(Field::Version, version, version);
        gate.narrow(Field::Source, 0, highest);
        gate.narrow(Field::Destination, 0, highest);
        if let Some(protocol) = region.protocol {
            gate.narrow(Field::Protocol, protocol.0.into(), protocol.0.into());
        }
        if let Some(ports) = region.ports {
            gate.narrow(Field::Port, ports.first().into(), ports.last().into());
        }
        for (first, last) in &destinations {
            let mut gate = gate;
            gate.narrow(Field::Destination, *first, *last);
            let own = sources
                .iter()
                .map(|(first, last)| (gate.source.0.max(*first), gate.source.1.min(*last)));
            let own: Vec<(u128, u128)> = own.filter(|(first, last)| first <= last).collect();
            if gate.is_empty() || own.is_empty() {
                continue;
            }
            gate.source = (0, highest);
            found.push(Doubt { gate, sources: own });
        }
    }
    let key = |doubt: &Doubt| {
        let gate = &doubt.gate;
        (gate.protocol, gate.port, gate.destination, gate.source_port)
    };
    found.sort_by_key(key);
    let mut joined: Vec<Doubt> = Vec::new();
    for doubt in found {
        match joined.last_mut() {
            Some(last) if last.gate == doubt.gate => last.sources.extend(doubt.sources),
            _ => joined.push(doubt),
        }
    }
    for doubt in &mut joined {
        doubt.sources = united(std::mem::take(&mut doubt.sources));
    }
    joined
}

#[cfg(test)]
mod tests;
