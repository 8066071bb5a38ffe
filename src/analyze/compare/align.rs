//! The rules of two rulesets, paired → the packets that may tell them apart.
//!
//! In: two programs. Out: boxes of packets; a packet in none of them meets the same rules in the
//! same order, or in another one that does not matter. No box at all: the two are equal.

use super::super::Analyzer;
use super::super::gate::Gate;
use super::super::program::{Making, Program};
use crate::model::nft::{
    Chain, Element, ElementKey, Operand, Rule, Selector, Set, Statement, Table, Verdict,
};
use foldhash::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many pairs of rules are looked at one by one.
const PAIRS: usize = 4_000_000;

/// What aligning two rulesets yields.
#[derive(Debug, Default)]
pub struct Aligned {
    /// Boxes of packets that may tell the rulesets apart, as they are where a rule looks.
    pub doubts: Vec<Gate>,
    /// Whether the same base chains stand at the same hooks with the same policies.
    pub same_frame: bool,
    /// For each chain of the first, by table and chain: the rules of the second for its own.
    pairs: HashMap<(usize, usize), Paired>,
}

/// The rules of a chain, and those of the other ruleset that do the same.
#[derive(Debug, Default)]
struct Paired {
    table: usize,
    chain: usize,
    /// So many at the beginning are the same.
    front: usize,
    /// From here on they are the same again, in both.
    back: (usize, usize),
    between: HashMap<usize, usize>,
}

impl Aligned {
    /// The rule of the second that does the same as a rule of the first.
    pub fn pair(
        &self,
        (table, chain, rule): (usize, usize, usize),
    ) -> Option<(usize, usize, usize)> {
        let paired = self.pairs.get(&(table, chain))?;
        let other = if rule < paired.front {
            rule
        } else if rule >= paired.back.0 {
            rule - paired.back.0 + paired.back.1
        } else {
            *paired.between.get(&rule)?
        };
        Some((paired.table, paired.chain, other))
    }
}

/// A table of one side.
#[derive(Clone, Copy)]
struct Side<'a, 's> {
    program: &'a Program<'s>,
    table: usize,
}

impl<'s> Side<'_, 's> {
    fn own(self) -> &'s Table {
        self.program.tables[self.table]
    }
}

/// Pairs rules.
pub fn align(one: &Analyzer<'_>, two: &Analyzer<'_>) -> Aligned {
    let (one, two) = (&one.program, &two.program);
    let mut aligned = Aligned { same_frame: true, ..Aligned::default() };
    let key = |table: &Table| (table.family, table.name.clone());
    let live = |program: &Program<'_>| -> HashMap<_, usize> {
        let tables = program.tables.iter().enumerate();
        tables.filter(|(_, own)| !own.dormant).map(|(at, own)| (key(own), at)).collect()
    };
    let (ones, twos) = (live(one), live(two));
    let mut names: Vec<_> = ones.keys().chain(twos.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        match (ones.get(name), twos.get(name)) {
            (Some(a), Some(b)) => {
                let sides = (Side { program: one, table: *a }, Side { program: two, table: *b });
                tables(sides.0, sides.1, &mut aligned);
            }
            (Some(a), None) => alone(Side { program: one, table: *a }, &mut aligned),
            (None, Some(b)) => alone(Side { program: two, table: *b }, &mut aligned),
            (None, None) => {}
        }
    }
    aligned.doubts.sort_by_key(|gate| (gate.version, gate.protocol, gate.port, gate.source));
    aligned.doubts.dedup();
    aligned
}

/// A table that only one side has.
fn alone(side: Side<'_, '_>, aligned: &mut Aligned) {
    for (index, chain) in side.own().chains.iter().enumerate() {
        alone_chain(side, index, chain, aligned);
    }
}

fn alone_chain(side: Side<'_, '_>, index: usize, chain: &Chain, aligned: &mut Aligned) {
    aligned.same_frame &= chain.hook.is_none();
    match &chain.hook {
        // It is entered by rules alone, and those are no pair either.
        None => {}
        Some(base) if base.policy == Verdict::Drop => {
            aligned.doubts.push(Gate::of_family(side.own().family));
        }
        Some(_) => aligned.doubts.extend(side.program.gates(side.table, index)),
    }
}

fn tables(one: Side<'_, '_>, two: Side<'_, '_>, aligned: &mut Aligned) {
    let sets = changed_sets(one, two);
    for (index, chain) in one.own().chains.iter().enumerate() {
        let Some(other) = two.program.chain(two.table, &chain.name) else {
            alone_chain(one, index, chain, aligned);
            continue;
        };
        if two.own().chains[other].hook != chain.hook {
            aligned.same_frame = false;
            aligned.doubts.push(Gate::of_family(one.own().family));
        }
        let chains = Chains { one, two, both: (index, other), sets: &sets };
        let paired = chains.paired(&mut aligned.doubts);
        aligned.pairs.insert((one.table, index), paired);
    }
    for (index, chain) in two.own().chains.iter().enumerate() {
        if one.program.chain(one.table, &chain.name).is_none() {
            alone_chain(two, index, chain, aligned);
        }
    }
}

/// Named sets that do not hold the same in both.
fn changed_sets<'s>(one: Side<'_, 's>, two: Side<'_, 's>) -> Vec<&'s str> {
    let differs = |set: &&'s Set| {
        let other = two.program.set(two.table, &set.name);
        !set.flags.anonymous && other.is_none_or(|other| !same_set(set, other))
    };
    let mut changed: Vec<&str> =
        one.own().sets.iter().filter(differs).map(|set| &*set.name).collect();
    let added = two
        .own()
        .sets
        .iter()
        .filter(|set| !set.flags.anonymous && one.program.set(one.table, &set.name).is_none());
    changed.extend(added.map(|set| &*set.name));
    changed
}

fn same_set(one: &Set, two: &Set) -> bool {
    fn held(element: &Element) -> (&ElementKey, &Option<crate::model::nft::ElementData>) {
        (&element.key, &element.data)
    }
    let (a, b) = (one.elements.listed(), two.elements.listed());
    one.flags == two.flags
        && one.key == two.key
        && one.key_len == two.key_len
        && one.statements == two.statements
        && std::mem::discriminant(&one.elements) == std::mem::discriminant(&two.elements)
        && a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| held(a) == held(b) && a.statements == b.statements)
}

/// One chain in both.
struct Chains<'a, 's> {
    one: Side<'a, 's>,
    two: Side<'a, 's>,
    both: (usize, usize),
    /// Named sets that differ.
    sets: &'a [&'s str],
}

impl<'s> Chains<'_, 's> {
    fn rules(&self) -> (&'s [Rule], &'s [Rule]) {
        let (one, two) = (self.one.own(), self.two.own());
        (&one.chains[self.both.0].rules, &two.chains[self.both.1].rules)
    }

    fn paired(&self, doubts: &mut Vec<Gate>) -> Paired {
        let (a, b) = self.rules();
        let short = a.len().min(b.len());
        let mut making = self.one.program.making(self.one.table, self.both.0);
        let mut make = |rule: usize| making.iter_mut().for_each(|making| making.make(rule));
        let same = |one: usize, two: usize| self.same(&a[one], &b[two]);
        let mut front = 0;
        while front < short && same(front, front) {
            make(front);
            front += 1;
        }
        let mut paired =
            Paired { table: self.two.table, chain: self.both.1, front, ..Paired::default() };
        paired.back = (a.len(), b.len());
        if front == short && a.len() == b.len() {
            return paired;
        }
        let mut back = 0;
        while front + back < short && same(a.len() - 1 - back, b.len() - 1 - back) {
            make(a.len() - 1 - back);
            back += 1;
        }
        paired.back = (a.len() - back, b.len() - back);
        (front..a.len() - back).for_each(make);
        making.into_iter().for_each(Making::finish);
        let gates = self.one.program.gates(self.one.table, self.both.0);
        let mut waiting: HashMap<u64, std::collections::VecDeque<usize>> = HashMap::default();
        for (at, rule) in b.iter().enumerate().take(b.len() - back).skip(front) {
            waiting.entry(digest(rule, self.two)).or_default().push_back(at);
        }
        // Pairs, in the first's order.
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for at in front..a.len() - back {
            let same = waiting.get_mut(&digest(&a[at], self.one));
            match same.and_then(|all| {
                let found = all.iter().position(|other| self.same(&a[at], &b[*other]))?;
                all.remove(found)
            }) {
                Some(other) => pairs.push((at, other)),
                None => doubts.push(gates[at]),
            }
        }
        let back_again: HashMap<usize, usize> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
        let pair = |at: usize| {
            if at < front {
                Some(at)
            } else if at >= paired.back.1 {
                Some(at - paired.back.1 + paired.back.0)
            } else {
                back_again.get(&at).copied()
            }
        };
        let (own, theirs) = ((self.one.table, self.both.0), (self.two.table, self.both.1));
        self.two.program.learn(theirs, self.one.program, own, pair);
        let others = self.two.program.gates(theirs.0, theirs.1);
        doubts.extend(waiting.values().flatten().map(|at| others[*at]));
        self.crossed(&pairs, gates, doubts);
        paired.between = pairs.into_iter().collect();
        paired
    }

    /// Pairs that stand the other way round in the second, where that may matter.
    fn crossed(&self, pairs: &[(usize, usize)], gates: &[Gate], doubts: &mut Vec<Gate>) {
        if pairs.windows(2).all(|two| two[0].1 < two[1].1) {
            return;
        }
        let rules = self.rules().0;
        let tables = [self.one.own(), self.two.own()].into_iter().flat_map(|own| &own.chains);
        let mut statements = tables.flat_map(|own| &own.rules).flat_map(|rule| &rule.statements);
        if statements.any(|own| matches!(own, Statement::SetPayload { .. })) {
            // Behind such a rule a packet may be another one.
            return doubts.push(Gate::of_family(self.one.own().family));
        }
        let effects: Vec<Option<&Statement>> =
            pairs.iter().map(|(at, _)| effect(&rules[*at])).collect();
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|index| gates[pairs[*index].0].source);
        let mut left = PAIRS;
        for (place, index) in order.iter().enumerate() {
            let gate = &gates[pairs[*index].0];
            for other in &order[place + 1..] {
                let theirs = &gates[pairs[*other].0];
                if theirs.source.0 > gate.source.1 {
                    break;
                }
                left -= 1;
                if left == 0 {
                    doubts.push(Gate::of_family(self.one.own().family));
                    return;
                }
                let crossed = (index < other) != (pairs[*index].1 < pairs[*other].1);
                let alike = effects[*index].is_some() && effects[*index] == effects[*other];
                if crossed && !alike && gate.meets(theirs) {
                    doubts.push(gate.and(theirs));
                }
            }
        }
    }

    /// Whether two rules do the same.
    fn same(&self, one: &Rule, two: &Rule) -> bool {
        one.statements.len() == two.statements.len()
            && one.statements.iter().zip(&two.statements).all(|(a, b)| self.same_statement(a, b))
    }

    fn same_statement(&self, one: &Statement, two: &Statement) -> bool {
        match (one, two) {
            (
                Statement::Lookup { key, set, invert },
                Statement::Lookup { key: other_key, set: other, invert: other_invert },
            ) => {
                key == other_key
                    && invert == other_invert
                    && !key.iter().any(|own| self.touches(own))
                    && self.holds_same(set, other)
            }
            (
                Statement::VerdictMap { key, map },
                Statement::VerdictMap { key: other_key, map: other },
            )
            | (
                Statement::ObjectMap { key, map },
                Statement::ObjectMap { key: other_key, map: other },
            ) => {
                key == other_key
                    && !key.iter().any(|own| self.touches(own))
                    && self.holds_same(map, other)
            }
            _ => one.same_as(two) && !any_operand(one, |own| self.touches(own)),
        }
    }

    fn holds_same(&self, one: &str, two: &str) -> bool {
        let (a, b) =
            (self.one.program.set(self.one.table, one), self.two.program.set(self.two.table, two));
        match (a, b) {
            (Some(a), Some(b)) if one == two && !a.flags.anonymous && !b.flags.anonymous => {
                !self.sets.contains(&one)
            }
            (Some(a), Some(b)) => a.flags.anonymous && b.flags.anonymous && same_set(a, b),
            _ => false,
        }
    }

    /// Whether the operand asks a map that may not be the same in both.
    fn touches(&self, operand: &Operand) -> bool {
        match &operand.selector {
            Selector::Map { key, map } => {
                !self.holds_same(map, map) || key.iter().any(|own| self.touches(own))
            }
            _ => false,
        }
    }
}

/// Equal for rules that do the same.
fn digest(rule: &Rule, side: Side<'_, '_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for statement in &rule.statements {
        match statement {
            Statement::Counter { .. } | Statement::Quota { .. } => 0_u8.hash(&mut hasher),
            Statement::Lookup { key, set, .. }
            | Statement::VerdictMap { key, map: set }
            | Statement::ObjectMap { key, map: set } => {
                key.hash(&mut hasher);
                if let Some(set) = side.program.set(side.table, set)
                    && set.flags.anonymous
                {
                    let elements = set.elements.listed();
                    elements.len().hash(&mut hasher);
                    elements.first().map(|own| &own.key).hash(&mut hasher);
                }
            }
            other => other.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// Whether something holds for an operand that a statement takes, besides those of its key.
fn any_operand(statement: &Statement, holds: impl Fn(&Operand) -> bool) -> bool {
    match statement {
        Statement::Compare { left, .. } => left.iter().any(holds),
        Statement::Range { left, .. } => holds(left),
        Statement::SetMeta { value, .. }
        | Statement::SetCt { value, .. }
        | Statement::SetPayload { value, .. } => holds(value),
        Statement::Nat { range, .. } => {
            let pairs = [&range.address, &range.port].into_iter().flatten();
            pairs.flat_map(|(low, high)| std::iter::once(low).chain(high)).any(holds)
        }
        _ => false,
    }
}

/// What a rule does to those that pass its tests, where that is one thing that ends the chain.
fn effect(rule: &Rule) -> Option<&Statement> {
    let (last, before) = rule.statements.split_last()?;
    let tests = before.iter().all(Statement::only_tests);
    let ends = matches!(
        last,
        Statement::Verdict(Verdict::Accept | Verdict::Drop | Verdict::Return | Verdict::Goto(_))
            | Statement::Reject(_)
    );
    (tests && ends).then_some(last)
}
