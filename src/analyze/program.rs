//! A ruleset made ready: rules in their one form, names looked up once.

use super::buckets::Buckets;
use super::gate::Gate;
use super::passage::Passage;
use super::state::RuleId;
use crate::model::nft::{Elements, Family, Hook, Rule, Set, Statement, Table, XtKind};
use foldhash::{HashMap, HashSet};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Rules of a chain of fewer are sorted at once.
const LONG: usize = 512;
/// A longer one is gone through so often before its rules are sorted.
const FIRST: u32 = 8;

/// A ruleset, ready for many questions. What is not asked about is not looked at.
#[derive(Debug)]
pub struct Program<'s> {
    /// The tables.
    pub tables: Vec<&'s Table>,
    names: Vec<Names<'s>>,
}

/// What is found by name in a table, and its chains once they were asked about.
#[derive(Debug)]
struct Names<'s> {
    chains: HashMap<&'s str, usize>,
    sets: HashMap<&'s str, usize>,
    ready: Vec<OnceCell<Rules>>,
    filled: OnceCell<Filled>,
}

/// The sets of a table to which its rules add.
#[derive(Debug, Default)]
struct Filled {
    all: BTreeSet<String>,
    /// Those whose elements count packets.
    counted: BTreeSet<String>,
}

/// The rules of a chain.
#[derive(Debug)]
struct Rules {
    /// In their one form, where they are not in it as they are.
    canonical: Sparse<Rule>,
    gates: Vec<Gate>,
    /// Of those that ask for interfaces.
    passages: Sparse<Passage>,
    /// Those that may rewrite packets.
    rewriting: HashSet<usize>,
    buckets: OnceCell<Option<Buckets>>,
    /// How often they were asked for.
    asked: Cell<u32>,
}

/// What few rules of a chain have, or none; two rulesets may share it.
#[derive(Debug)]
struct Sparse<T>(Vec<Option<Rc<T>>>);

impl<T> Sparse<T> {
    fn get(&self, rule: usize) -> Option<&Rc<T>> {
        self.0.get(rule)?.as_ref()
    }

    /// Puts it to one of so many rules.
    fn put(&mut self, rule: usize, own: Option<Rc<T>>, rules: usize) {
        if own.is_some() {
            self.0.resize_with(rules, || None);
            self.0[rule] = own;
        }
    }
}

/// How the rules of a chain that may concern a packet are found.
#[derive(Debug, Clone, Copy)]
pub enum Sorted<'p> {
    /// All are looked at: they are few.
    Few,
    /// Each is held against the packet: to sort them takes longer, as long as few ask.
    NotYet,
    /// By what they are about.
    By(&'p Buckets),
}

/// What is known of a rule.
struct Ready {
    gate: Gate,
    passage: Option<Rc<Passage>>,
    rewrites: bool,
    /// Its one form, where it is not in it as it is.
    canonical: Option<Rc<Rule>>,
}

impl<'s> Program<'s> {
    /// Prepares.
    pub fn new(tables: Vec<&'s Table>) -> Self {
        let names = |table: &&'s Table| Names {
            chains: table.chains.iter().enumerate().map(|(at, own)| (&*own.name, at)).collect(),
            sets: table.sets.iter().enumerate().map(|(at, own)| (&*own.name, at)).collect(),
            ready: table.chains.iter().map(|_| OnceCell::new()).collect(),
            filled: OnceCell::new(),
        };
        Self { names: tables.iter().map(names).collect(), tables }
    }

    fn ready(&self, table: usize, chain: usize) -> &Rules {
        self.names[table].ready[chain].get_or_init(|| self.made_ready(table, chain, |_| None))
    }

    fn made_ready(
        &self,
        table: usize,
        chain: usize,
        known: impl Fn(usize) -> Option<Ready>,
    ) -> Rules {
        let mut making = Making::new(self, table, chain);
        for rule in 0..making.rules.gates.len() {
            match known(rule) {
                Some(known) => making.put(rule, known),
                None => making.make(rule),
            }
        }
        making.rules
    }

    /// Begins to make a chain ready, rule by rule, for whoever reads its rules at the same time:
    /// what is in the processor's cache need not be fetched again. `None` where it is ready.
    pub fn making(&self, table: usize, chain: usize) -> Option<Making<'_, 's>> {
        let ready = self.names[table].ready[chain].get().is_some();
        (!ready).then(|| Making::new(self, table, chain))
    }

    /// Makes a chain ready of which another program has rules that do the same: `pair` names them,
    /// and what is known of those need not be found again.
    pub fn learn(
        &self,
        (table, chain): (usize, usize),
        other: &Program<'_>,
        (their_table, their_chain): (usize, usize),
        pair: impl Fn(usize) -> Option<usize>,
    ) {
        let theirs = other.ready(their_table, their_chain);
        let known = |rule: usize| {
            let theirs_at = pair(rule)?;
            Some(Ready {
                gate: theirs.gates[theirs_at],
                passage: theirs.passages.get(theirs_at).cloned(),
                rewrites: theirs.rewriting.contains(&theirs_at),
                canonical: theirs.canonical.get(theirs_at).cloned(),
            })
        };
        self.names[table].ready[chain].get_or_init(|| self.made_ready(table, chain, known));
    }

    /// A rule of a chain in its one form.
    pub fn rule(&self, table: usize, chain: usize, rule: usize) -> &Rule {
        match self.ready(table, chain).canonical.get(rule) {
            Some(changed) => changed,
            None => &self.tables[table].chains[chain].rules[rule],
        }
    }

    /// The rules of a chain in their one form.
    pub fn rules(&self, table: usize, chain: usize) -> impl Iterator<Item = &Rule> {
        let count = self.tables[table].chains[chain].rules.len();
        (0..count).map(move |rule| self.rule(table, chain, rule))
    }

    /// What each rule of a chain can be about at most.
    pub fn gates(&self, table: usize, chain: usize) -> &[Gate] {
        &self.ready(table, chain).gates
    }

    /// How to find the rules of a chain that may concern a packet.
    pub fn sorted(&self, table: usize, chain: usize) -> Sorted<'_> {
        let ready = self.ready(table, chain);
        if ready.gates.len() >= LONG && ready.asked.get() < FIRST {
            ready.asked.set(ready.asked.get() + 1);
            return Sorted::NotYet;
        }
        let new = || Buckets::new(&ready.gates, |rule| ready.passages.get(rule).map(|own| &**own));
        ready.buckets.get_or_init(new).as_ref().map_or(Sorted::Few, Sorted::By)
    }

    /// The interfaces that a rule asks for, if it does.
    pub fn passage(&self, table: usize, chain: usize, rule: usize) -> Option<&Passage> {
        self.ready(table, chain).passages.get(rule).map(|own| &**own)
    }

    /// The rules of a chain that may rewrite packets, in their order.
    pub fn rewriting(&self, table: usize, chain: usize) -> Vec<usize> {
        let mut rules: Vec<usize> = self.ready(table, chain).rewriting.iter().copied().collect();
        rules.sort_unstable();
        rules
    }

    /// The set of this name, if it holds what was read whatever packets come.
    pub fn settled(&self, table: usize, name: &str) -> Option<&'s Set> {
        self.set(table, name).filter(|set| {
            !set.flags.timeout
                && set.statements.is_empty()
                && matches!(&set.elements, Elements::Listed(all) if !all.is_empty())
                && !self.is_filled_by_rules(table, set)
        })
    }

    /// The chain of this name.
    pub fn chain(&self, table: usize, name: &str) -> Option<usize> {
        self.names[table].chains.get(name).copied()
    }

    /// The set of this name.
    pub fn set(&self, table: usize, name: &str) -> Option<&'s Set> {
        self.tables[table].sets.get(self.set_index(table, name)?)
    }

    /// Where among the sets of its table the set of this name stands.
    pub fn set_index(&self, table: usize, name: &str) -> Option<usize> {
        self.names[table].sets.get(name).copied()
    }

    /// Whether rules add to the set, so that what it holds is not only what was read.
    pub fn is_filled_by_rules(&self, table: usize, set: &Set) -> bool {
        set.flags.dynamic || self.filled(table).all.contains(set.name.as_str())
    }

    /// Whether rules add to the set whoever they count.
    pub fn is_filled_by_rate(&self, table: usize, set: &Set) -> bool {
        self.filled(table).counted.contains(set.name.as_str())
    }

    fn filled(&self, table: usize) -> &Filled {
        self.names[table].filled.get_or_init(|| {
            let mut filled = Filled::default();
            let rules = self.tables[table].chains.iter().flat_map(|chain| &chain.rules);
            for statement in rules.flat_map(|rule| &rule.statements) {
                if let Statement::UpdateSet { set, statements, .. } = statement {
                    filled.all.insert(set.clone());
                    if statements.iter().any(|own| matches!(own, Statement::Limit(_))) {
                        filled.counted.insert(set.clone());
                    }
                }
            }
            filled
        })
    }

    /// The base chains at a hook that see packets of an IP version: table, chain.
    pub fn base_chains(&self, hook: Hook, families: &[Family]) -> Vec<RuleId> {
        let mut found = Vec::new();
        for (table, own) in self.tables.iter().enumerate() {
            if own.dormant || !families.contains(&own.family) {
                continue;
            }
            for (chain, own) in own.chains.iter().enumerate() {
                if own.hook.as_ref().is_some_and(|base| base.hook == hook) {
                    found.push(RuleId { table, chain, rule: None });
                }
            }
        }
        found
    }
}

/// A chain that is being made ready.
#[derive(Debug)]
pub struct Making<'p, 's> {
    program: &'p Program<'s>,
    table: usize,
    chain: usize,
    rules: Rules,
}

impl<'p, 's> Making<'p, 's> {
    fn new(program: &'p Program<'s>, table: usize, chain: usize) -> Self {
        let gates = vec![Gate::ANY; program.tables[table].chains[chain].rules.len()];
        let rules = Rules {
            canonical: Sparse(Vec::new()),
            gates,
            passages: Sparse(Vec::new()),
            rewriting: HashSet::default(),
            asked: Cell::new(0),
            buckets: OnceCell::new(),
        };
        Self { program, table, chain, rules }
    }

    /// Makes one rule ready.
    pub fn make(&mut self, rule: usize) {
        let own = self.program.tables[self.table];
        let form = own.chains[self.chain].rules[rule].in_one_form();
        let settled = |name: &str| self.program.settled(self.table, name);
        let gate = Gate::of(&form, own.family, &settled);
        let passage = Passage::of(&form, &settled);
        let rewrites = form.statements.iter().any(rewrites);
        let canonical = if let Cow::Owned(form) = form { Some(Rc::new(form)) } else { None };
        self.put(rule, Ready { gate, passage: passage.map(Rc::new), rewrites, canonical });
    }

    fn put(&mut self, rule: usize, own: Ready) {
        let Ready { gate, passage, rewrites, canonical } = own;
        let count = self.rules.gates.len();
        self.rules.gates[rule] = gate;
        self.rules.passages.put(rule, passage, count);
        self.rules.canonical.put(rule, canonical, count);
        if rewrites {
            self.rules.rewriting.insert(rule);
        }
    }

    /// The chain is ready, once each of its rules was made.
    pub fn finish(self) {
        let Self { program, table, chain, rules } = self;
        program.names[table].ready[chain].get_or_init(|| rules);
    }
}

/// Whether it may give a packet other addresses, ports or bytes.
fn rewrites(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Nat { .. }
            | Statement::SetPayload { .. }
            | Statement::Xt { kind: XtKind::Target, .. }
    )
}
