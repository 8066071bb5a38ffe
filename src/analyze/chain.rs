//! Sources through one chain: only the rules that may concern the packet are looked at, and rules
//! that tell nothing but sources apart are one.

use super::buckets::Bucket;
use super::cuts::Cuts;
use super::facts::Known;
use super::gate::Gate;
use super::packet::number;
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
        // Behind a rule that writes into packets other rules may concern them.
        'looked_up: while !states.is_empty() {
            let bucket = self.bucket(id, &about);
            let segments = analyzer.segments(id, self.packet, bucket);
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
                about = self.about(&states);
                if states.is_empty() || self.bucket(id, &about) != bucket {
                    continue 'looked_up;
                }
            }
            break;
        }
        returned.extend(states);
        self.merged(returned)
    }

    fn bucket(&self, id: RuleId, about: &Gate) -> Bucket {
        let buckets = self.analyzer.program.buckets(id.table, id.chain);
        buckets.map_or(Bucket::All, |buckets| buckets.bucket(about))
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
            for state in states {
                self.rule(id, here.known, here.place, state, exits, here.depth);
            }
            let left = std::mem::take(&mut exits.next);
            states = self.merged(left);
        }
        exits.next = states;
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
