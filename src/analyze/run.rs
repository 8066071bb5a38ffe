//! Rules of a chain that stand behind one another and tell sources apart, as one.
//!
//! `ip saddr A tcp dport 22 drop`, `ip saddr B tcp dport 22 drop`, and ten thousand more: all test
//! the same but for the source, and end the chain. Together they are a map from sources to what
//! the first rule that matches does, made once: a packet's sources are cut by it at once.

use super::buckets::Bucket;
use super::facts::Known;
use super::gate::{Field, Gate};
use super::packet::Packet;
use super::passage::Passage;
use super::program::Sorted;
use super::sources::Sources;
use super::state::RuleId;
use super::{Analyzer, Intervals};
use crate::model::Protocol;
use crate::model::nft::{Rule, Statement, XtKind, XtMatch};
use foldhash::HashMap;
use std::cell::OnceCell;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// Fewer rules are sooner looked at one by one.
const FEW: usize = 8;
/// So many rules are kept in segments at most, before they are made anew.
const MOST: usize = 2_000_000;

/// What of a chain is looked at next.
#[derive(Debug, Clone)]
pub enum Segment {
    /// A rule.
    One(usize),
    /// Several.
    Run(Rc<Run>),
}

impl Segment {
    /// The first rule.
    pub fn first(&self) -> usize {
        match self {
            Self::One(rule) => *rule,
            Self::Run(run) => run.rules[0] as usize,
        }
    }

    /// The rule behind the last.
    pub fn end(&self) -> usize {
        match self {
            Self::One(rule) => *rule + 1,
            Self::Run(run) => run.rules[run.rules.len() - 1] as usize + 1,
        }
    }
}

/// Rules that test the same but for the source.
#[derive(Debug)]
pub struct Run {
    /// In their order.
    pub rules: Vec<u32>,
    map: OnceCell<Map>,
}

/// What a run does to whom.
#[derive(Debug)]
pub struct Map {
    /// From which source to which, by which rule; sorted and apart.
    pub deciders: Vec<(u128, u128, u32)>,
    /// For each thing that rules of the run do: the first that does it, and for whom.
    pub groups: Vec<(u32, Intervals)>,
}

/// The segments of chains, by which packets they are for, and the runs in them.
#[derive(Debug, Default)]
pub struct Segments {
    known: HashMap<(Whose, Protocol, Bucket), Rc<[Segment]>>,
    runs: HashMap<(Whose, Vec<u32>), Rc<Run>>,
    held: usize,
}

/// A table, a chain of it, and whether packets are of IPv4.
type Whose = (usize, usize, bool);

/// A rule as far as runs go: where it tests the source.
struct Shape<'r> {
    rule: &'r Rule,
    source: usize,
}

impl Shape<'_> {
    /// All but the source, and what only counts or logs.
    fn others(&self) -> impl Iterator<Item = &Statement> {
        let statements = self.rule.statements.iter().enumerate();
        statements.filter_map(|(at, own)| (at != self.source && !looks_on(own)).then_some(own))
    }

    /// Whether another rule tests the same but for the source; what both do may differ.
    fn fits(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.others().peekable(), other.others().peekable());
        loop {
            match (ours.next(), theirs.next()) {
                // The last is what the rule does.
                (Some(_), Some(_)) if ours.peek().is_none() && theirs.peek().is_none() => {
                    return true;
                }
                (Some(one), Some(two)) if one == two => {}
                _ => return false,
            }
        }
    }
}

/// Whether it lets everything pass, and changes nothing.
pub(super) fn looks_on(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Counter { .. }
            | Statement::Log(_)
            | Statement::Xt { kind: XtKind::Match, decoded: Some(XtMatch::Comment { .. }), .. }
    )
}

impl Analyzer<'_> {
    /// The rules of a chain that may concern packets of a bucket; `sorted` has those of each.
    pub(super) fn segments(
        &self,
        id: RuleId,
        packet: &Packet,
        (sorted, bucket): (Sorted<'_>, Bucket),
    ) -> Rc<[Segment]> {
        let v4 = packet.destination.is_ipv4();
        let key = ((id.table, id.chain, v4), packet.protocol, bucket);
        if let Some(known) = self.segments.borrow().known.get(&key) {
            return Rc::clone(known);
        }
        let gates = self.program.gates(id.table, id.chain);
        let all = || 0..u32::try_from(gates.len()).unwrap_or(0);
        let found = if let Sorted::By(buckets) = sorted { buckets.rules(bucket) } else { None };
        let mut rules = found.unwrap_or_else(|| all().collect());
        let mut about = Gate::ANY;
        let version = if v4 { 4 } else { 6 };
        about.narrow(Field::Version, version, version);
        about.narrow(Field::Protocol, packet.protocol.0.into(), packet.protocol.0.into());
        rules.retain(|rule| gates[*rule as usize].meets(&about));
        let made: Rc<[Segment]> = self.cut_into_segments(id, packet, &rules).into();
        let mut segments = self.segments.borrow_mut();
        if segments.held + rules.len() > MOST {
            *segments = Segments::default();
        }
        segments.held += rules.len() + 1;
        segments.known.insert(key, Rc::clone(&made));
        made
    }

    /// The rules of a chain that may concern packets with these values, from wherever they come,
    /// each held against them.
    pub(super) fn segments_about(
        &self,
        id: RuleId,
        packet: &Packet,
        (about, passage): (&Gate, &Passage),
    ) -> Rc<[Segment]> {
        let about = Gate { source: Gate::ANY.source, ..*about };
        let gates = (0..).zip(self.program.gates(id.table, id.chain));
        let meets = |rule: u32| {
            let own = self.program.passage(id.table, id.chain, rule as usize);
            own.is_none_or(|own| own.meets(passage))
        };
        let rules: Vec<u32> = gates
            .filter(|(rule, gate)| gate.meets(&about) && meets(*rule))
            .map(|(rule, _)| rule)
            .collect();
        self.cut_into_segments(id, packet, &rules).into()
    }

    fn cut_into_segments(&self, id: RuleId, packet: &Packet, rules: &[u32]) -> Vec<Segment> {
        if rules.len() < FEW {
            return rules.iter().map(|rule| Segment::One(*rule as usize)).collect();
        }
        let known = self.known(id, packet);
        let shape = |rule: u32| self.shape(id, &known, packet, rule);
        let mut segments = Vec::new();
        let mut at = 0;
        while at < rules.len() {
            let length = match shape(rules[at]) {
                None => 1,
                Some(first) => {
                    let fits = |rule: &&u32| shape(**rule).is_some_and(|own| own.fits(&first));
                    1 + rules[at + 1..].iter().take_while(fits).count()
                }
            };
            let here = &rules[at..at + length];
            if length < FEW {
                segments.extend(here.iter().map(|rule| Segment::One(*rule as usize)));
            } else {
                segments.push(Segment::Run(self.run(id, packet, here)));
            }
            at += length;
        }
        segments
    }

    fn run(&self, id: RuleId, packet: &Packet, rules: &[u32]) -> Rc<Run> {
        let key = ((id.table, id.chain, packet.destination.is_ipv4()), rules.to_vec());
        let mut segments = self.segments.borrow_mut();
        let new = || Rc::new(Run { rules: rules.to_vec(), map: OnceCell::new() });
        Rc::clone(segments.runs.entry(key).or_insert_with(new))
    }

    /// How a rule tests the source, if that is all that makes it different from its neighbours.
    fn shape(&self, id: RuleId, known: &Known, packet: &Packet, rule: u32) -> Option<Shape<'_>> {
        let id = RuleId { rule: Some(rule as usize), ..id };
        let rule = self.program.rule(id.table, id.chain, rule as usize);
        let (last, before) = rule.statements.split_last()?;
        let tests = before.iter().all(|own| own.only_tests() || looks_on(own));
        if !tests || last.only_tests() || looks_on(last) {
            return None;
        }
        let facts = known.of(self, id, packet);
        let mut found = facts.iter().enumerate().filter(|(_, own)| own.about.is_some());
        let (source, _) = found.next()?;
        found.next().is_none().then_some(Shape { rule, source })
    }

    /// What a run does to whom.
    pub(super) fn map<'r>(
        &self,
        id: RuleId,
        known: &Known,
        packet: &Packet,
        run: &'r Run,
    ) -> &'r Map {
        run.map.get_or_init(|| {
            let mut passing: Vec<(u128, u128, u32)> = Vec::new();
            let mut does: Vec<(&Statement, u32)> = Vec::new();
            let mut kinds: HashMap<u32, usize> = HashMap::default();
            for number in &run.rules {
                let Some(Shape { rule, source }) = self.shape(id, known, packet, *number) else {
                    continue;
                };
                let last = &rule.statements[rule.statements.len() - 1];
                let id = RuleId { rule: Some(*number as usize), ..id };
                let sources = known.of(self, id, packet)[source].about.iter();
                passing.extend(sources.flat_map(|own| own.iter()).map(|(a, b)| (*a, *b, *number)));
                let known = does.iter().position(|(own, _)| *own == last);
                let kind = known.unwrap_or_else(|| {
                    does.push((last, *number));
                    does.len() - 1
                });
                kinds.insert(*number, kind);
            }
            let deciders = first_matches(passing);
            let mut groups: Vec<Vec<(u128, u128)>> = vec![Vec::new(); does.len()];
            for (first, last, rule) in &deciders {
                groups[kinds[rule]].push((*first, *last));
            }
            let groups = does
                .iter()
                .zip(groups)
                .map(|((_, rule), intervals)| (*rule, super::arrivals::united(intervals).into()));
            Map { groups: groups.collect(), deciders }
        })
    }
}

impl Map {
    /// The rule that decides for the lowest of these sources.
    pub fn decider(&self, sources: &Sources) -> Option<usize> {
        let source = sources.first()?;
        let index = self.deciders.partition_point(|(_, last, _)| *last < source);
        let (first, _, rule) = self.deciders.get(index)?;
        (*first <= source).then_some(*rule as usize)
    }
}

/// Intervals of rules → for each source the first rule that has it.
fn first_matches(mut intervals: Vec<(u128, u128, u32)>) -> Vec<(u128, u128, u32)> {
    intervals.sort_unstable();
    let mut found: Vec<(u128, u128, u32)> = Vec::with_capacity(intervals.len());
    let mut say = |first: u128, last: u128, rule: u32| match found.last_mut() {
        Some((_, end, own)) if *own == rule && end.checked_add(1) == Some(first) => *end = last,
        _ => found.push((first, last, rule)),
    };
    // Those that hold what comes next: the lowest rule on top, with its end.
    let mut open: BinaryHeap<std::cmp::Reverse<(u32, u128)>> = BinaryHeap::new();
    let mut next = intervals.into_iter().peekable();
    let mut at = 0_u128;
    loop {
        while open.peek().is_some_and(|top| top.0.1 < at) {
            open.pop();
        }
        if open.is_empty() {
            let Some((first, ..)) = next.peek() else { return found };
            at = at.max(*first);
        }
        while let Some((_, last, rule)) = next.next_if(|own| own.0 <= at) {
            open.push(std::cmp::Reverse((rule, last)));
        }
        while open.peek().is_some_and(|top| top.0.1 < at) {
            open.pop();
        }
        let Some(std::cmp::Reverse((rule, last))) = open.peek().copied() else { continue };
        let end = match next.peek() {
            Some((first, ..)) => last.min(first - 1),
            None => last,
        };
        say(at, end, rule);
        let Some(behind) = end.checked_add(1) else { return found };
        at = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_rule_that_has_a_source_decides(
            all in proptest::collection::vec((0_u128..60, 0_u128..12, 0_u32..30), 0..30)
        ) {
            let intervals: Vec<_> =
                all.iter().map(|(first, more, rule)| (*first, first + more, *rule)).collect();
            let found = first_matches(intervals.clone());
            prop_assert!(found.windows(2).all(|two| two[0].1 < two[1].0));
            for source in 0..80 {
                let has = |(first, last, _): &&(u128, u128, u32)| (*first..=*last).contains(&source);
                let expected = intervals.iter().filter(has).map(|own| own.2).min();
                prop_assert_eq!(found.iter().find(has).map(|own| own.2), expected);
            }
        }
    }

    #[test]
    fn the_highest_address_has_an_end() {
        let found = first_matches(vec![(0, u128::MAX, 3), (9, u128::MAX, 1), (5, 6, 2)]);
        assert_eq!(found, [(0, 4, 3), (5, 6, 2), (7, 8, 3), (9, u128::MAX, 1)]);
    }
}
