//! Packets that may tell two rulesets apart → one that does, or none.
//!
//! A box is cut where a rule of either ruleset that concerns it may begin to say something else,
//! until nothing does; then one packet stands for all of the piece but their sources, and both
//! rulesets are asked about it.

use super::super::Analyzer;
use super::super::arrivals::united;
use super::super::gate::{Field, Gate};
use super::super::packet::{ConnectionState, From, Packet, address, number};
use super::align::Aligned;
use super::edges::{Edges, Finder};
use super::rewrite::{Rewrite, rewrites};
use super::{Difference, Doubt, Region, outcome};
use crate::model::{IpFamily, Protocol};
use std::net::IpAddr;

/// So many pieces are asked about.
const MOST: usize = 20_000;
/// Protocols behind which the engine reads a header.
const KNOWN: [u8; 7] = [6, 17, 1, 58, 132, 136, 33];

/// A search for a difference.
pub struct Search<'a> {
    one: &'a Analyzer<'a>,
    two: &'a Analyzer<'a>,
    aligned: &'a Aligned,
    /// Of both; `None` where anything may be rewritten to anything.
    rewrites: Option<Vec<Rewrite>>,
    from: Vec<From>,
    states: Vec<ConnectionState>,
    asked: usize,
    vague: bool,
}

/// The rules of one ruleset that concern a box: table, chain, rule; in order.
type Rules = Vec<(usize, usize, usize)>;

/// A box, and the sources in it.
#[derive(Clone, Copy)]
struct Piece<'d> {
    family: IpFamily,
    gate: Gate,
    sources: &'d [(u128, u128)],
}

impl<'a> Search<'a> {
    pub fn new(
        one: &'a Analyzer<'a>,
        two: &'a Analyzer<'a>,
        aligned: &'a Aligned,
        region: &Region,
    ) -> Self {
        let mut from = region.from.clone();
        if from.is_empty() {
            // What comes by loopback comes from the host itself.
            let loopback = one.host.loopback().map(|link| &link.name);
            let links = one.snapshot().links.iter().filter(|link| link.up);
            let others = links.filter(|link| Some(&link.name) != loopback);
            from = others.map(|link| From::Interface(link.name.clone())).collect();
            from.push(From::Host);
        }
        let mut states = region.states.clone();
        if states.is_empty() {
            states =
                vec![ConnectionState::New, ConnectionState::Established, ConnectionState::Invalid];
        }
        let both = rewrites(&one.program).zip(rewrites(&two.program));
        let rewrites = both.map(|(mut all, others)| {
            all.extend(others);
            all.sort_by_key(|own| (own.from.port, own.from.destination, own.to.port));
            all.dedup();
            all
        });
        Self { one, two, aligned, rewrites, from, states, asked: 0, vague: false }
    }

    /// Why equality is not proved; nothing where it is.
    pub fn why(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.asked > MOST {
            why.push(format!("more than {MOST} kinds of packets would have to be asked about"));
        }
        if self.vague {
            why.push(
                "a rule tests bits of an address or port that are no prefix, or computes with them"
                    .to_owned(),
            );
        }
        why
    }

    /// The packets as they were sent that may stand so before a rule.
    pub fn as_sent(&self, doubts: &[Gate]) -> Vec<Gate> {
        let Some(rewrites) = &self.rewrites else { return vec![Gate::ANY] };
        let mut all = Vec::new();
        for doubt in doubts {
            let mut doubt = *doubt;
            if rewrites.iter().any(|own| own.to.source == Gate::ANY.source) {
                doubt.source = Gate::ANY.source;
                doubt.source_port = Gate::ANY.source_port;
            }
            all.push(doubt);
            all.extend(rewrites.iter().filter(|own| own.to.meets(&doubt)).map(|own| own.from));
        }
        all.sort_by_key(|gate| (gate.version, gate.protocol, gate.port, gate.source));
        all.dedup();
        all
    }

    /// A difference among these packets.
    pub fn doubt(&mut self, family: IpFamily, doubt: &Doubt) -> Option<Difference> {
        let mut gate = doubt.gate;
        // Every source of the doubt, for a start.
        gate.source = (
            doubt.sources.first().map_or(0, |own| own.0),
            doubt.sources.last().map_or(0, |own| own.1),
        );
        let piece = Piece { family, gate, sources: &doubt.sources };
        let mut rules = (all(self.one), all(self.two));
        self.narrow(&gate, &mut rules);
        if self.is_same(&rules) {
            return None;
        }
        let edges = self.edges(piece, &rules);
        let (first, last) = gate.protocol;
        let mut protocols: Vec<u8> = KNOWN.to_vec();
        protocols.retain(|own| (first..=last).contains(own));
        // Of those that nothing tells apart one is enough, but it must be none of the known.
        let others = edges.protocol.classes(gate.protocol, &KNOWN);
        protocols.extend(others);
        for protocol in protocols {
            let mut gate = gate;
            gate.narrow(Field::Protocol, protocol.into(), protocol.into());
            if !Protocol(protocol).has_ports() && Protocol(protocol) != Protocol::UDPLITE {
                gate.port = (0, 0);
                gate.source_port = (0, 0);
            }
            if let Some(found) = self.cut(Piece { gate, ..piece }, &rules) {
                return Some(found);
            }
        }
        None
    }

    /// Leaves those rules that can match or change a packet of the box, as it is or as it was
    /// rewritten.
    fn narrow(&self, gate: &Gate, rules: &mut (Rules, Rules)) {
        let mut boxes = vec![*gate];
        match &self.rewrites {
            None => boxes = vec![Gate::ANY],
            Some(rewrites) => {
                let own = rewrites.iter().filter(|own| own.from.meets(gate)).map(|own| own.to);
                boxes.extend(own);
                if boxes.iter().any(|own| own.source == Gate::ANY.source) {
                    boxes.push(Gate {
                        source: Gate::ANY.source,
                        source_port: Gate::ANY.source_port,
                        ..*gate
                    });
                }
            }
        }
        for (analyzer, rules) in [(self.one, &mut rules.0), (self.two, &mut rules.1)] {
            rules.retain(|(table, chain, rule)| {
                let own = &analyzer.program.gates(*table, *chain)[*rule];
                boxes.iter().any(|gate| own.meets(gate))
            });
        }
    }

    /// Whether the same rules in the same order are left of both.
    fn is_same(&self, rules: &(Rules, Rules)) -> bool {
        self.aligned.same_frame && rules.0.len() == rules.1.len() && {
            let mut paired: Vec<_> = Vec::with_capacity(rules.0.len());
            for rule in &rules.0 {
                let Some(other) = self.aligned.pair(*rule) else { return false };
                paired.push(other);
            }
            // Chains may stand in another order; rules of one chain may not.
            paired.sort_by_key(|(table, chain, _)| (*table, *chain));
            paired == rules.1
        }
    }

    fn edges(&self, piece: Piece<'_>, rules: &(Rules, Rules)) -> Edges {
        let mut edges = Edges::default();
        for (analyzer, rules) in [(self.one, &rules.0), (self.two, &rules.1)] {
            for (table, chain, rule) in rules {
                let finder =
                    Finder { program: &analyzer.program, family: piece.family, table: *table };
                for statement in &analyzer.program.rule(*table, *chain, *rule).statements {
                    finder.statement(statement, &mut edges);
                }
            }
        }
        edges.destination.extend(self.one.host.cuts(piece.family));
        edges
    }

    /// Cuts a box in two, as long as there is an edge in it; then asks.
    fn cut(&mut self, piece: Piece<'_>, before: &(Rules, Rules)) -> Option<Difference> {
        if self.asked > MOST {
            return None;
        }
        let mut rules = before.clone();
        self.narrow(&piece.gate, &mut rules);
        if self.is_same(&rules) {
            return None;
        }
        let edges = self.edges(piece, &rules);
        let fields = [
            (Field::Port, &edges.port),
            (Field::Destination, &edges.destination),
            (Field::SourcePort, &edges.source_port),
        ];
        for (field, cuts) in fields {
            let (first, last) = piece.gate.range(field);
            let mut inside: Vec<u128> =
                cuts.iter().copied().filter(|at| first < *at && *at <= last).collect();
            inside.sort_unstable();
            inside.dedup();
            let Some(middle) = inside.get(inside.len() / 2) else { continue };
            let (mut low, mut high) = (piece.gate, piece.gate);
            low.narrow(field, first, middle - 1);
            high.narrow(field, *middle, last);
            return self
                .cut(Piece { gate: low, ..piece }, &rules)
                .or_else(|| self.cut(Piece { gate: high, ..piece }, &rules));
        }
        self.vague |= edges.vague
            && fields.iter().any(|(field, _)| {
                let (first, last) = piece.gate.range(*field);
                first != last
            });
        self.ask(piece, &edges)
    }

    /// Asks about the packets of a box that nothing cuts.
    fn ask(&mut self, piece: Piece<'_>, edges: &Edges) -> Option<Difference> {
        let gate = piece.gate;
        let protocol = Protocol(gate.protocol.0);
        let port = |(first, last): (u16, u16), wanted: u16| {
            if (first..=last).contains(&wanted) { wanted } else { last }
        };
        let destination = address(piece.family, gate.destination.0);
        let source = address(piece.family, gate.source.0);
        let mut packet =
            Packet::new(From::Host, source, destination, protocol, port(gate.port, gate.port.0));
        packet.source_port = port(gate.source_port, packet.source_port);
        let icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
        let bytes = (0, u8::MAX);
        let (kinds, codes) = if icmp {
            let first = packet.icmp.0;
            (edges.icmp_type.with(bytes, first), edges.icmp_code.with(bytes, 0))
        } else {
            (vec![packet.icmp.0], vec![0])
        };
        let flags = match protocol {
            Protocol::TCP => edges.flags.with(bytes, packet.tcp_flags),
            _ => vec![packet.tcp_flags],
        };
        let mut states = self.states.clone();
        if !edges.state {
            // Nothing asks what connection tracking says.
            states.truncate(1);
        }
        for state in states {
            for from in self.from.clone() {
                let sources = self.sources(&from, piece, destination);
                if sources.is_empty() {
                    continue;
                }
                for (kind, code) in kinds.iter().flat_map(|k| codes.iter().map(|c| (*k, *c))) {
                    for flags in &flags {
                        self.asked += 1;
                        if self.asked > MOST {
                            return None;
                        }
                        let packet = Packet {
                            from: from.clone(),
                            sources: sources.clone(),
                            icmp: (kind, code),
                            tcp_flags: *flags,
                            state,
                            ..packet.clone()
                        };
                        if let Some(found) = self.difference(packet) {
                            return Some(found);
                        }
                    }
                }
            }
        }
        None
    }

    /// The sources that come this way: from the host itself only its own, to itself.
    fn sources(&self, from: &From, piece: Piece<'_>, destination: IpAddr) -> Vec<(u128, u128)> {
        const LOCAL: u32 = 2;
        if *from != From::Host {
            return piece.sources.to_vec();
        }
        if self.one.host.address_type(destination, None) != LOCAL {
            return Vec::new();
        }
        let links = self.one.snapshot().links.iter().flat_map(|link| &link.addresses);
        let own = links.filter(|own| IpFamily::of(own.address) == piece.family);
        let own = own.map(|own| number(own.address));
        let inside = |at: &u128| piece.sources.iter().any(|(a, b)| (a..=b).contains(&at));
        united(own.filter(inside).map(|at| (at, at)).collect())
    }

    /// Asks both rulesets.
    fn difference(&mut self, packet: Packet) -> Option<Difference> {
        let (one, two) = (self.one, self.two);
        let (a, b) = (one.ask(&packet), two.ask(&packet));
        let (source, _) = outcome::difference((one, &a), (two, &b))?;
        let packet = Packet { sources: vec![(source, source)], ..packet };
        let (a, b) = (one.ask(&packet), two.ask(&packet));
        let Some((_, depends_on)) = outcome::difference((one, &a), (two, &b)) else {
            // For all sources at once it was not decided.
            self.vague = true;
            return None;
        };
        Some(Difference {
            one: outcome::words(&a),
            two: outcome::words(&b),
            decided_by_one: one.decider(&a.ends, |end| end.fate.passes()),
            decided_by_two: two.decider(&b.ends, |end| end.fate.passes()),
            depends_on,
            packet,
        })
    }
}

/// Every rule of a ruleset.
fn all(analyzer: &Analyzer<'_>) -> Rules {
    let mut rules = Rules::new();
    for (table, own) in analyzer.program.tables.iter().enumerate().filter(|(_, own)| !own.dormant) {
        for (chain, own) in own.chains.iter().enumerate() {
            rules.extend((0..own.rules.len()).map(|rule| (table, chain, rule)));
        }
    }
    rules
}
