//! Sources through chains: jump, goto, return, policies; verdicts as they fall.
//!
//! In: states at a base chain. Out: the states that it accepts; what it drops is added to the ends.
//! After each rule, states of which nothing but the sources differs are one state again: an unknown
//! that changes nothing leaves no trace.

use super::cuts::Cuts;
use super::facts::{Fact, Known};
use super::guard::{Guard, Guards};
use super::indexes::with_names;
use super::load::Scene;
use super::packet::{Packet, address};
use super::sources::{Sources, Span, add, union_all};
use super::state::{Place, RuleId, State};
use super::step::{Step, Unclear};
use super::translate::Translation;
use super::{Analyzer, End, Event, Fate, Happened, Unknown};
use crate::model::nft::{Statement, Verdict, text};
use foldhash::HashMap;
use std::rc::Rc;

/// The kernel refuses rulesets that jump deeper (`NFT_JUMP_STACK_SIZE`).
const DEPTH: usize = 16;
/// Sources that are looked at one by one where a statement may say something else for each.
const FEW: u128 = 64;

/// One question on its way.
pub(super) struct Walk<'a, 's> {
    pub analyzer: &'a Analyzer<'s>,
    pub packet: &'a Packet,
    pub guards: Guards,
    pub unknowns: Vec<Unknown>,
    facts: HashMap<String, u32>,
    pub ends: Vec<End>,
    /// What happened, if that is wanted.
    pub events: Option<Vec<Event>>,
    /// Whether the rule at hand stands for several.
    pub several: bool,
}

/// Where the states of one rule go.
pub(super) struct Exits<'e> {
    pub next: Vec<State>,
    pub returned: &'e mut Vec<State>,
    pub accepted: &'e mut Vec<State>,
}

impl<'a, 's> Walk<'a, 's> {
    pub fn new(analyzer: &'a Analyzer<'s>, packet: &'a Packet, traced: bool) -> Self {
        Self {
            analyzer,
            packet,
            guards: Guards::default(),
            unknowns: Vec::new(),
            facts: HashMap::default(),
            ends: Vec::new(),
            events: traced.then(Vec::new),
            several: false,
        }
    }

    /// A new unknown, or the one of this name where it is a fact.
    pub fn unknown(&mut self, name: String, unclear: Unclear, rule: Option<RuleId>) -> u32 {
        if unclear == Unclear::Fact
            && let Some(known) = self.facts.get(&name)
        {
            return *known;
        }
        let number = u32::try_from(self.unknowns.len()).expect("fewer than 2^32 unknowns");
        if unclear == Unclear::Fact {
            self.facts.insert(name.clone(), number);
        }
        self.unknowns.push(Unknown { name, unclear, rule });
        number
    }

    pub fn end(&mut self, mut state: State, fate: Fate, by: Option<RuleId>) {
        if !state.sources.is_empty() {
            // What accepted it before does not count where it is dropped.
            state.several = if fate.passes() { state.several } else { self.several };
            self.ends.push(End { state, fate, by });
        }
    }

    /// Makes states one where only their sources differ.
    pub fn merged(&mut self, states: Vec<State>) -> Vec<State> {
        if states.len() < 2 {
            return states;
        }
        let mut groups: Vec<(State, Vec<Sources>)> = Vec::new();
        for mut state in states {
            let sources = std::mem::take(&mut state.sources);
            match groups.iter_mut().find(|(own, _)| own.env == state.env) {
                Some((own, all)) => {
                    own.several |= state.several
                        || (own.accepted_by, own.translated_by)
                            != (state.accepted_by, state.translated_by);
                    all.push(sources);
                }
                None => groups.push((state, vec![sources])),
            }
        }
        let merged = groups.into_iter().map(|(state, all)| {
            let sources = union_all(all, &mut self.guards);
            State { sources, ..state }
        });
        merged.collect()
    }

    fn happened(&mut self, rule: RuleId, place: Place<'_>, state: &State, what: Happened) {
        let Some(events) = &mut self.events else { return };
        let guard = state.sources.spans().first().map_or(Guard::NEVER, |span| span.guard);
        events.push(Event {
            hook: place.hook,
            priority: place.base.priority,
            rule,
            what,
            guard,
            env: Rc::clone(&state.env),
        });
    }

    /// Runs a base chain.
    pub fn base_chain(&mut self, id: RuleId, place: Place<'_>, states: Vec<State>) -> Vec<State> {
        let mut accepted = Vec::new();
        for state in &states {
            self.happened(id, place, state, Happened::Entered);
        }
        let returned = self.chain(id, place, states, &mut accepted, 0);
        let dropped = place.base.policy == Verdict::Drop;
        for state in returned {
            if dropped {
                self.happened(id, place, &state, Happened::Dropped);
                self.end(state, Fate::Dropped, Some(id));
            } else {
                self.happened(id, place, &state, Happened::Accepted);
                accepted.push(state);
            }
        }
        self.merged(accepted)
    }

    #[allow(clippy::too_many_arguments, reason = "the place of a packet has as many parts")]
    pub(super) fn rule(
        &mut self,
        id: RuleId,
        known: &Known,
        place: Place<'_>,
        state: State,
        exits: &mut Exits<'_>,
        depth: usize,
    ) {
        let analyzer = self.analyzer;
        let rule = analyzer.program.rule(id.table, id.chain, id.rule.unwrap_or(0));
        let facts = known.of(analyzer, id, self.packet);
        if self.fails_for_all(id.table, (&rule.statements, facts), place, &state) {
            return exits.next.push(state);
        }
        let mut current = vec![state];
        for (index, (statement, fact)) in rule.statements.iter().zip(facts).enumerate() {
            let mut going = Vec::new();
            for mut state in current {
                if let Some(passing) = &fact.about
                    && state.env.source.is_none()
                    && !state.env.overwritten
                {
                    let sources = analyzer.shared.take(&mut state.sources, passing);
                    if !sources.is_empty() {
                        going.push(State { sources, ..state.clone() });
                    }
                    if !state.sources.is_empty() {
                        exits.next.push(state);
                    }
                    continue;
                }
                for (step, sources) in self.steps(id.table, (statement, fact), place, &state) {
                    let state = State { sources, ..state.clone() };
                    self.take(id, index, place, state, &step, &mut going, exits, depth);
                }
            }
            current = self.merged(going);
            if current.is_empty() {
                return;
            }
        }
        for state in &current {
            self.happened(id, place, state, Happened::Matched);
        }
        exits.next.extend(current);
    }

    /// What the statement does to one source.
    pub(super) fn step(
        &self,
        table: usize,
        statement: &'a Statement,
        place: Place<'_>,
        state: &State,
        source: u128,
    ) -> Step<'a> {
        let analyzer = self.analyzer;
        let scene = Scene {
            program: &analyzer.program,
            host: &analyzer.host,
            packet: self.packet,
            place,
            env: &state.env,
            table,
            source: address(self.packet.family(), source),
        };
        scene.step(statement)
    }

    /// What the statement does to each part of the sources.
    fn steps(
        &self,
        table: usize,
        (statement, fact): (&'a Statement, &Fact),
        place: Place<'_>,
        state: &State,
    ) -> Vec<(Step<'a>, Sources)> {
        let analyzer = self.analyzer;
        let step = |source: u128| self.step(table, statement, place, state, source);
        let Some(first) = state.sources.first() else { return Vec::new() };
        if state.sources.at_most(1) {
            return vec![(step(first), state.sources.clone())];
        }
        let pieces = match fact.cuts(analyzer, table, statement, self.packet) {
            Cuts::None => return vec![(step(first), state.sources.clone())],
            Cuts::At(cuts) => state.sources.pieces(cuts),
            Cuts::Anywhere if state.sources.at_most(FEW) => singles(&state.sources),
            Cuts::Anywhere => {
                let tests = matches!(
                    statement,
                    Statement::Compare { .. } | Statement::Range { .. } | Statement::Lookup { .. }
                );
                let step = if tests { Step::Perhaps(Unclear::Fact) } else { Step::Anything };
                return vec![(step, state.sources.clone())];
            }
        };
        let mut groups: Vec<(Step<'a>, Sources)> = Vec::new();
        for piece in pieces {
            let step = step(piece.first);
            add(&mut groups, step, piece);
        }
        groups
    }

    #[allow(clippy::too_many_arguments, reason = "the place of a packet has as many parts")]
    pub(super) fn take(
        &mut self,
        id: RuleId,
        index: usize,
        place: Place<'_>,
        mut state: State,
        step: &Step<'_>,
        going: &mut Vec<State>,
        exits: &mut Exits<'_>,
        depth: usize,
    ) {
        match step {
            Step::Pass => going.push(state),
            Step::Fail => exits.next.push(state),
            Step::Perhaps(unclear) => {
                let name = self.name(id, index);
                let unknown = self.unknown(name, *unclear, Some(id));
                let yes = self.guards.holds(unknown);
                let no = self.guards.not(yes);
                let split = |sources: Sources| State { sources, ..state.clone() };
                let passing = split(state.sources.and(yes, &mut self.guards));
                let failing = split(state.sources.and(no, &mut self.guards));
                going.extend(Some(passing).filter(|state| !state.sources.is_empty()));
                exits.next.extend(Some(failing).filter(|state| !state.sources.is_empty()));
            }
            Step::Verdict(verdict) => self.verdict(id, place, state, verdict, going, exits, depth),
            Step::Reject(with) => {
                self.happened(id, place, &state, Happened::Rejected);
                self.end(state, Fate::Rejected(*with), Some(id));
            }
            Step::OneOf { verdicts, misses } => {
                let last = if *misses { None } else { verdicts.len().checked_sub(1) };
                for (at, verdict) in verdicts.iter().enumerate() {
                    if Some(at) == last {
                        break;
                    }
                    let name = self.name(id, index);
                    let unknown = self.unknown(name, Unclear::Chance, Some(id));
                    let yes = self.guards.holds(unknown);
                    let no = self.guards.not(yes);
                    let taken = state.sources.and(yes, &mut self.guards);
                    state.sources = state.sources.and(no, &mut self.guards);
                    let part = State { sources: taken, ..state.clone() };
                    self.verdict(id, place, part, verdict, going, exits, depth);
                }
                match last.map(|last| verdicts[last]) {
                    Some(verdict) => self.verdict(id, place, state, verdict, going, exits, depth),
                    None => exits.next.push(state),
                }
            }
            Step::Anything => {
                let name = self.name(id, index);
                let unknown = self.unknown(name, Unclear::Chance, Some(id));
                self.happened(id, place, &state, Happened::Unclear);
                self.end(state, Fate::Unknown(unknown), Some(id));
            }
            Step::Change(change) => {
                let env = Rc::make_mut(&mut state.env);
                env.change(change);
                self.happened(id, place, &state, Happened::Changed);
                going.push(state);
            }
            Step::Translate(translation) => {
                if *translation == Translation::Nothing {
                    self.happened(id, place, &state, Happened::Dropped);
                    return self.end(state, Fate::Dropped, Some(id));
                }
                Rc::make_mut(&mut state.env).translate(translation);
                if matches!(translation, Translation::Destination { .. }) {
                    state.translated_by = Some(id);
                }
                state.accepted_by = Some(id);
                state.several = self.several;
                self.happened(id, place, &state, Happened::Translated);
                exits.accepted.push(state);
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the place of a packet has as many parts")]
    fn verdict(
        &mut self,
        id: RuleId,
        place: Place<'_>,
        mut state: State,
        verdict: &Verdict,
        going: &mut Vec<State>,
        exits: &mut Exits<'_>,
        depth: usize,
    ) {
        match verdict {
            Verdict::Continue => going.push(state),
            Verdict::Accept => {
                state.accepted_by = Some(id);
                state.several = self.several;
                self.happened(id, place, &state, Happened::Accepted);
                exits.accepted.push(state);
            }
            Verdict::Drop => {
                self.happened(id, place, &state, Happened::Dropped);
                self.end(state, Fate::Dropped, Some(id));
            }
            Verdict::Return => {
                self.happened(id, place, &state, Happened::Returned);
                exits.returned.push(state);
            }
            Verdict::Jump(name) | Verdict::Goto(name) => {
                let chain = self.analyzer.program.chain(id.table, name);
                let Some(chain) = chain.filter(|_| depth < DEPTH) else {
                    let name = format!("chain {name}, which is not there");
                    let unknown = self.unknown(name, Unclear::Chance, Some(id));
                    return self.end(state, Fate::Unknown(unknown), Some(id));
                };
                self.happened(id, place, &state, Happened::Jumped);
                let inner = RuleId { chain, rule: None, ..id };
                let back = self.chain(inner, place, vec![state], exits.accepted, depth + 1);
                if matches!(verdict, Verdict::Jump(_)) {
                    exits.next.extend(back);
                } else {
                    exits.returned.extend(back);
                }
            }
            Verdict::Queue => {
                let unknown = self.unknown(self.name(id, 0), Unclear::Chance, Some(id));
                self.end(state, Fate::Unknown(unknown), Some(id));
            }
        }
    }

    /// The statement in nft's words.
    fn name(&self, id: RuleId, index: usize) -> String {
        let table = self.analyzer.program.tables[id.table];
        let rule = self.analyzer.program.rule(id.table, id.chain, id.rule.unwrap_or(0));
        let mut context = text::Context::new(table);
        for statement in rule.statements.iter().take(index) {
            context.pass(statement);
        }
        let text = rule.statements.get(index).map(|own| text::statement(own, &context));
        with_names(text.unwrap_or_default(), &self.analyzer.snapshot.links)
    }
}

fn singles(sources: &Sources) -> Vec<Span> {
    let each = sources.spans().iter().flat_map(|span| {
        (span.first..=span.last).map(|address| Span { first: address, last: address, ..*span })
    });
    each.collect()
}
