//! Tests that need no cutting: those about the source alone, whose sources are found once, and
//! those that have nothing to do with it.

use super::cuts::Cuts;
use super::load::Scene;
use super::packet::{Packet, address};
use super::sources::Sources;
use super::state::{Env, Place, State};
use super::step::Step;
use super::walk::Walk;
use super::{Analyzer, Intervals};
use crate::model::nft::{BaseChain, Hook, Statement, Verdict};

/// Which sources pass a statement that is about the source alone; `None` where that is not so.
pub(super) fn passing(
    analyzer: &Analyzer<'_>,
    statement: &Statement,
    table: usize,
    packet: &Packet,
) -> Option<Intervals> {
    let highest = match packet.destination {
        std::net::IpAddr::V4(_) => u128::from(u32::MAX),
        std::net::IpAddr::V6(_) => u128::MAX,
    };
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
    let mut found = Sources::default();
    for piece in Sources::of(&[(0, highest)]).pieces(&cuts) {
        let scene = Scene {
            program: &analyzer.program,
            host: &analyzer.host,
            packet,
            place: Place { hook: base.hook, input: None, output: None, base: &base },
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
        statements: &'a [Statement],
        place: Place<'_>,
        state: &State,
    ) -> bool {
        let tests = statements.iter().take_while(|own| own.only_tests());
        for test in tests {
            if self.analyzer.about_source(test, table, self.packet).is_some() {
                continue;
            }
            let cuts = self.analyzer.cuts(test, table, self.packet);
            if *cuts == Cuts::None
                && let Some(first) = state.sources.first()
                && self.step(table, test, place, state, first) == Step::Fail
            {
                return true;
            }
        }
        false
    }
}
