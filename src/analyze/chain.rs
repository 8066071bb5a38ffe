//! Sources through one chain: only the rules that may concern the packet are looked at, and rules
//! that tell nothing but sources apart are one.

use super::buckets::Bucket;
use super::cuts::Cuts;
use super::facts::Known;
use super::gate::Gate;
use super::packet::number;
use super::program::Sorted;
use super::run::{Run, Segment, looks_on};
use super::state::{Exactness, Place, RuleId, State};
use super::step::Step;
use super::walk::{Exits, Walk};
use crate::model::nft::Verdict;

/// Of one chain, while states go through it.
#[derive(Clone, Copy)]
struct Here<'p> {
    id: RuleId,
    known: &'p Known,
    place: Place<'p>,
    depth: usize,
}

impl<'a> Walk<'a, '_> {
    /// Runs a chain; what comes out at its end, or by `return`, is given back.
    pub(super) fn chain(
        &mut self,
        id: RuleId,
        place: Place<'_>,
        states: Vec<State>,
        accepted: &mut Vec<State>,
        depth: usize,
    ) -> Vec<State> {
        let mut returned = Vec::new();
        let mut states = states;
        let analyzer = self.analyzer;
        let known = analyzer.known(id, self.packet);
        let here = Here { id, known: &known, place, depth };
        let gates = analyzer.program.gates(id.table, id.chain);
        let mut about = self.about(&states);
        let mut next = 0;
        let sorted = analyzer.program.sorted(id.table, id.chain);
        let bucket_of = |about: &Gate| match sorted {
            Sorted::Few => Some(Bucket::All),
            Sorted::NotYet => None,
            Sorted::By(buckets) => Some(buckets.bucket(about, place.passage)),
        };
        // Behind a rule that writes into packets other rules may concern them.
        'looked_up: while !states.is_empty() {
            let bucket = bucket_of(&about);
            let segments = match bucket {
                Some(bucket) => analyzer.segments(id, self.packet, (sorted, bucket)),
                None => analyzer.segments_about(id, self.packet, (&about, place.passage)),
            };
            let start = segments.partition_point(|segment| segment.end() <= next);
            for segment in &segments[start..] {
                let mut exits = Exits { next: Vec::new(), returned: &mut returned, accepted };
                match segment {
                    Segment::One(rule) if !gates[*rule].meets(&about) => continue,
                    Segment::One(rule) => self.rules(here, &[*rule], states, &mut exits),
                    Segment::Run(run) if segment.first() >= next => {
                        if !self.run_may_match(here, run, &about) {
                            continue;
                        }
                        for state in states {
                            self.run_of_rules(here, run, state, &mut exits);
                        }
                    }
                    Segment::Run(run) => {
                        let rest = run.rules.iter().map(|rule| *rule as usize);
                        let rest: Vec<usize> = rest.filter(|rule| *rule >= next).collect();
                        self.rules(here, &rest, states, &mut exits);
                    }
                }
                let left = exits.next;
                states = self.merged(left);
                next = segment.end();
                let now = self.about(&states);
                // Of the sources fewer may be left; they were not held against the rules.
                let source = now.source;
                let same = now == Gate { source, ..about }
                    || bucket.is_some() && bucket_of(&now) == bucket;
                about = now;
                if states.is_empty() || !same {
                    continue 'looked_up;
                }
            }
            break;
        }
        returned.extend(states);
        self.merged(returned)
    }

    /// Runs rules one behind the other.
    fn rules(
        &mut self,
        here: Here<'_>,
        rules: &[usize],
        states: Vec<State>,
        exits: &mut Exits<'_>,
    ) {
        let mut states = states;
        for rule in rules {
            let id = RuleId { rule: Some(*rule), ..here.id };
            // Others that are through already are not for the next rule.
            let mut own = Exits {
                next: Vec::new(),
                returned: &mut *exits.returned,
                accepted: &mut *exits.accepted,
            };
            for state in states {
                self.rule(id, here.known, here.place, state, &mut own, here.depth);
            }
            let left = own.next;
            states = self.merged(left);
        }
        exits.next.extend(states);
    }

    /// Whether the rules of a run are about such packets, from wherever they come.
    fn run_may_match(&self, here: Here<'_>, run: &Run, about: &Gate) -> bool {
        let gates = self.analyzer.program.gates(here.id.table, here.id.chain);
        let mut gate = gates[run.rules[0] as usize];
        gate.source = Gate::ANY.source;
        gate.meets(about)
    }

    /// Runs rules that test the same but for the source, at once where that can be.
    fn run_of_rules(&mut self, here: Here<'_>, run: &Run, state: State, exits: &mut Exits<'_>) {
        let analyzer = self.analyzer;
        let id = |rule: usize| RuleId { rule: Some(rule), ..here.id };
        let first = id(run.rules[0] as usize);
        let as_sent = state.env.source.is_none() && !state.env.overwritten;
        let tests = if as_sent { self.tests_of_run(first, here, &state) } else { None };
        let Some(passes) = tests else {
            let all: Vec<usize> = run.rules.iter().map(|rule| *rule as usize).collect();
            return self.rules(here, &all, vec![state], exits);
        };
        if !passes {
            return exits.next.push(state);
        }
        let map = analyzer.map(here.id, here.known, self.packet, run);
        if state.sources.at_most(1) {
            return match map.decider(&state.sources) {
                Some(rule) => {
                    self.rule(id(rule), here.known, here.place, state, exits, here.depth);
                }
                None => exits.next.push(state),
            };
        }
        let mut steps: Vec<Step<'a>> = Vec::with_capacity(map.groups.len());
        for (rule, _) in &map.groups {
            let statements = &analyzer.program.rule(here.id.table, here.id.chain, *rule as usize);
            let Some((last, source)) = statements.statements.last().zip(state.sources.first())
            else {
                continue;
            };
            let step = self.step(here.id.table, last, here.place, &state, source);
            let ends = matches!(
                step,
                Step::Reject(_) | Step::Verdict(Verdict::Accept | Verdict::Drop | Verdict::Return)
            );
            if !ends {
                let all: Vec<usize> = run.rules.iter().map(|rule| *rule as usize).collect();
                return self.rules(here, &all, vec![state], exits);
            }
            steps.push(step);
        }
        let mut state = state;
        for ((rule, intervals), step) in map.groups.iter().zip(&steps) {
            let sources = analyzer.shared.take(&mut state.sources, intervals);
            if sources.is_empty() {
                continue;
            }
            let part = State { sources, ..state.clone() };
            let mut going = Vec::new();
            let rule = id(*rule as usize);
            self.several = true;
            self.take(rule, 0, here.place, part, step, &mut going, exits, here.depth);
            self.several = false;
        }
        if !state.sources.is_empty() {
            exits.next.push(state);
        }
    }

    /// Whether a packet passes what all rules of a run test but the source; `None` where that is
    /// not known, or is not the same for all sources.
    fn tests_of_run(&self, first: RuleId, here: Here<'_>, state: &State) -> Option<bool> {
        let (analyzer, table) = (self.analyzer, first.table);
        let source = state.sources.first()?;
        let rule = analyzer.program.rule(table, first.chain, first.rule?);
        let (_, tests) = rule.statements.split_last()?;
        let mut all = true;
        let facts = here.known.of(analyzer, first, self.packet);
        for (test, fact) in tests.iter().zip(facts) {
            if looks_on(test) || fact.about.is_some() {
                continue;
            }
            if *fact.cuts(analyzer, table, test, self.packet) != Cuts::None {
                return None;
            }
            match self.step(table, test, here.place, state, source) {
                Step::Pass => {}
                Step::Fail => all = false,
                _ => return None,
            }
        }
        Some(all)
    }

    /// The values that stand in the packets of these states.
    fn about(&self, states: &[State]) -> Gate {
        let packet = self.packet;
        let version = if packet.destination.is_ipv4() { 4 } else { 6 };
        let protocol = packet.protocol.0;
        let mut gate =
            Gate { version: (version, version), protocol: (protocol, protocol), ..Gate::ANY };
        let overwritten = states.iter().any(|state| state.env.overwritten);
        if overwritten {
            return gate;
        }
        let all = |holds: fn(&State) -> bool| states.iter().all(holds);
        if all(|state| !state.env.source_port_changed) {
            gate.source_port = (packet.source_port, packet.source_port);
        }
        let mut ports = states.iter().map(|state| state.env.port);
        if let Some(Some(first)) = ports.next()
            && ports.all(|port| port == Some(first))
        {
            gate.port = (first, first);
        }
        let mut to = states.iter().map(|state| {
            (state.env.exactness == Exactness::Exact).then_some(state.env.destination)
        });
        if let Some(Some(first)) = to.next()
            && to.all(|own| own == Some(first))
        {
            gate.destination = (number(first), number(first));
        }
        if all(|state| state.env.source.is_none()) {
            let spans = || states.iter().map(|state| state.sources.spans());
            let first = spans().filter_map(|own| own.first()).map(|span| span.first).min();
            let last = spans().filter_map(|own| own.last()).map(|span| span.last).max();
            if let (Some(first), Some(last)) = (first, last) {
                gate.source = (first, last);
            }
        }
        gate
    }
}

#[cfg(test)]
mod tests {
    use crate::analyze::{Analyzer, From, Packet};
    use crate::model::nft::{
        BaseChain, Chain, CompareOp, Family, Hook, MetaKey, Operand, Rule, Ruleset, Selector,
        Statement, Table, Verdict, build,
    };
    use crate::model::{IpFamily, Prefix, Protocol};
    use crate::observe::Snapshot;

    fn from(prefix: &str) -> Vec<Statement> {
        let prefix: Prefix = prefix.parse().expect("a prefix");
        let family = prefix.family();
        vec![build::nfproto(family), build::in_prefix(build::saddr(family), prefix)]
    }

    /// A web server whose input is filtered by these rules alone.
    fn host(rules: Vec<Vec<Statement>>) -> Snapshot {
        let text = include_str!("../../tests/golden/cli/web1.json");
        let mut snapshot = Snapshot::from_json(text).expect("a snapshot");
        let mut input = Chain::new("input");
        input.hook = Some(BaseChain {
            kind: "filter".to_owned(),
            hook: Hook::Input,
            priority: 0,
            policy: Verdict::Accept,
            devices: Vec::new(),
        });
        input.rules = rules.into_iter().map(|own| Rule::new(own, None)).collect();
        let mut table = Table::new(Family::Inet, "t");
        table.chains = vec![input];
        snapshot.ruleset = Ruleset { generation: 1, tables: vec![table] };
        snapshot.warnings.clear();
        snapshot
    }

    #[test]
    fn a_state_goes_through_a_run_once() {
        // Two marks, so two states; what decides of the run is not known, each time anew.
        let one = Operand::plain(Selector::Immediate([1, 0, 0, 0].into()));
        let mark = Statement::SetMeta { key: MetaKey::Mark, value: one };
        let mut rules = vec![[from("198.51.100.0/25"), vec![mark]].concat()];
        for last in 1..=20_u8 {
            let random = build::meta(MetaKey::Random);
            let random = build::compare(random, CompareOp::Lt, [0, 0, 1, 0]);
            let source = from(&format!("198.51.100.{}/32", 118 + last));
            rules.push([source, vec![random, build::drop()]].concat());
        }
        let snapshot = host(rules);
        let analyzer = Analyzer::new(&snapshot);
        let to = analyzer.own_addresses(IpFamily::Ipv4)[0];
        let link =
            snapshot.links.iter().find(|link| link.addresses.iter().any(|a| a.address == to));
        let input = From::Interface(link.expect("an uplink").name.clone());
        let source = "198.51.100.1".parse().expect("an address");
        let packet = Packet::new(input, source, to, Protocol::TCP, 22);
        let all = Packet { sources: vec![(0xc633_6400, 0xc633_64ff)], ..packet };
        let answer = analyzer.ask(&all);
        // Each of twenty rules asks once, of one of both states.
        assert_eq!(answer.unknowns.len(), 20, "{:?}", answer.unknowns);
        for last in [119_u128, 127, 128, 138] {
            let ends = answer.ends.iter();
            let ends = ends.filter(|end| {
                end.state.sources.at(0xc633_6400 + last).ne(&crate::analyze::guard::Guard::NEVER)
            });
            assert_eq!(ends.count(), 2, "dropped at random, else accepted: {last}");
        }
    }

    #[test]
    fn rules_are_the_same_whether_they_are_sorted_or_held_against_the_packet() {
        let named = |name: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(16, 0);
            build::compare(build::meta(MetaKey::Iifname), CompareOp::Eq, bytes)
        };
        // By port, by interface and by source, and each thousandth what is looked for.
        let rules = (0..1_200_u16).map(|at| {
            let port = build::compare(build::dport(), CompareOp::Eq, (at / 2).to_be_bytes());
            let mark = Operand::plain(Selector::Immediate(u32::from(at).to_ne_bytes().into()));
            let mark = Statement::SetMeta { key: MetaKey::Mark, value: mark };
            match at % 4 {
                0 => vec![build::l4proto(Protocol::TCP), port, mark],
                1 => vec![named(if at % 100 == 1 { "eth0" } else { "eth7" }), mark],
                2 if at % 500 == 2 => [from("198.51.100.0/25"), vec![build::drop()]].concat(),
                _ => vec![build::l4proto(Protocol::UDP), port, build::drop()],
            }
        });
        let snapshot = host(rules.collect());
        let analyzer = Analyzer::new(&snapshot);
        let to = analyzer.own_addresses(IpFamily::Ipv4)[0];
        let source = "198.51.100.1".parse().expect("an address");
        for port in [22, 100, 599] {
            let packet = |name: &str| {
                let input = From::Interface(name.parse().expect("a name"));
                let one = Packet::new(input, source, to, Protocol::TCP, port);
                Packet { sources: vec![(0, u32::MAX.into())], ..one }
            };
            let fresh = Analyzer::new(&snapshot);
            let told = |analyzer: &Analyzer<'_>, name: &str| {
                let answer = analyzer.ask(&packet(name));
                let ends = answer.ends.iter();
                ends.map(|own| format!("{own:?}")).collect::<Vec<_>>()
            };
            let first = told(&fresh, "eth0");
            assert!(first.iter().any(|own| own.contains("mark: Some(1101)")), "{first:?}");
            for _ in 0..10 {
                assert_eq!(told(&analyzer, "eth0"), first, "{port}");
            }
        }
    }
}
