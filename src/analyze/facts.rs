//! What is known of a rule's statements before any packet comes: which sources pass a test that is
//! about the source alone, and where another one may begin to say something else.

use super::cuts::{Cuts, Cutter};
use super::load::Scene;
use super::packet::{Packet, address, highest};
use super::passage::Passage;
use super::sources::Sources;
use super::state::{Env, Place, RuleId, State};
use super::step::Step;
use super::walk::Walk;
use super::{Analyzer, Intervals};
use crate::model::nft::{BaseChain, Hook, Statement, Verdict};
use foldhash::HashMap;
use std::cell::OnceCell;
use std::rc::Rc;

/// Of one statement, for packets of one IP version.
#[derive(Debug)]
pub struct Fact {
    /// The sources that pass, where it is about the source alone.
    pub about: Option<Intervals>,
    cuts: OnceCell<Cuts>,
}

/// Of each statement of each rule of a chain, once it was asked about.
type OfChain = Rc<[OnceCell<Box<[Fact]>>]>;

/// Of every rule, by table, chain and whether packets are of IPv4.
#[derive(Debug, Default)]
pub struct Facts(std::cell::RefCell<HashMap<(usize, usize, bool), OfChain>>);

/// A chain's facts at hand.
#[derive(Debug, Clone)]
pub struct Known(OfChain);

impl Known {
    /// Of the statements of a rule.
    pub fn of<'k>(&'k self, analyzer: &Analyzer<'_>, id: RuleId, packet: &Packet) -> &'k [Fact] {
        let rule = id.rule.unwrap_or(0);
        self.0[rule].get_or_init(|| {
            let statements = &analyzer.program.rule(id.table, id.chain, rule).statements;
            let each = statements.iter().map(|statement| Fact {
                about: about_source(analyzer, statement, id.table, packet),
                cuts: OnceCell::new(),
            });
            each.collect()
        })
    }
}

impl Fact {
    /// Where the statement may begin to say something else.
    pub fn cuts(
        &self,
        analyzer: &Analyzer<'_>,
        table: usize,
        statement: &Statement,
        packet: &Packet,
    ) -> &Cuts {
        self.cuts.get_or_init(|| analyzer.cutter(table, packet).cuts(statement))
    }
}

impl<'s> Analyzer<'s> {
    fn cutter(&self, table: usize, packet: &Packet) -> Cutter<'_, 's> {
        Cutter { program: &self.program, host: &self.host, family: packet.family(), table }
    }

    /// What is known of the rules of a chain.
    pub(super) fn known(&self, id: RuleId, packet: &Packet) -> Known {
        let key = (id.table, id.chain, packet.destination.is_ipv4());
        if let Some(known) = self.facts.0.borrow().get(&key) {
            return Known(Rc::clone(known));
        }
        let rules = self.program.gates(id.table, id.chain).iter();
        let new: OfChain = rules.map(|_| OnceCell::new()).collect();
        self.facts.0.borrow_mut().insert(key, Rc::clone(&new));
        Known(new)
    }
}

/// Which sources pass a statement that is about the source alone.
fn about_source(
    analyzer: &Analyzer<'_>,
    statement: &Statement,
    table: usize,
    packet: &Packet,
) -> Option<Intervals> {
    let tests = matches!(
        statement,
        Statement::Compare { .. } | Statement::Range { .. } | Statement::Lookup { .. }
    );
    let alone = tests && analyzer.cutter(table, packet).is_about_source_alone(statement);
    alone.then(|| passing(analyzer, statement, table, packet)).flatten()
}

/// The same, found by asking about each piece; `None` where a piece depends on more.
fn passing(
    analyzer: &Analyzer<'_>,
    statement: &Statement,
    table: usize,
    packet: &Packet,
) -> Option<Intervals> {
    let cutter = analyzer.cutter(table, packet);
    if let Some(found) = cutter.held(statement) {
        return Some(found.into());
    }
    let Cuts::At(cuts) = cutter.cuts(statement) else { return None };
    let base = BaseChain {
        kind: "filter".to_owned(),
        hook: Hook::Prerouting,
        priority: 0,
        policy: Verdict::Accept,
        devices: Vec::new(),
    };
    let env = Env::start(packet);
    let passage = &Passage::ANY;
    let place =
        Place { hook: base.hook, input: None, port: None, output: None, passage, base: &base };
    let mut found = Sources::default();
    for piece in Sources::of(&[(0, highest(packet.family()))]).pieces(&cuts) {
        let scene = Scene {
            program: &analyzer.program,
            host: &analyzer.host,
            packet,
            place,
            env: &env,
            table,
            source: address(packet.family(), piece.first),
        };
        match scene.step(statement) {
            Step::Pass => found.push(piece),
            Step::Fail => {}
            _ => return None,
        }
    }
    Some(found.spans().iter().map(|span| (span.first, span.last)).collect())
}

impl<'a> Walk<'a, '_> {
    /// Whether a test that has nothing to do with the source fails, before the rule does anything:
    /// then the sources need not be cut and put together again.
    pub(super) fn fails_for_all(
        &self,
        table: usize,
        (statements, facts): (&'a [Statement], &[Fact]),
        place: Place<'_>,
        state: &State,
    ) -> bool {
        let tests = statements.iter().zip(facts).take_while(|(own, _)| own.only_tests());
        for (test, fact) in tests {
            if fact.about.is_none()
                && *fact.cuts(self.analyzer, table, test, self.packet) == Cuts::None
                && let Some(first) = state.sources.first()
                && self.step(table, test, place, state, first) == Step::Fail
            {
                return true;
            }
        }
        false
    }
}
