//! A ruleset made ready: rules in their one form, names looked up once.

use super::state::RuleId;
use crate::model::nft::{Family, Hook, Rule, Set, Statement, Table};
use std::collections::{BTreeSet, HashMap};

/// A ruleset, ready for many questions.
#[derive(Debug)]
pub struct Program<'s> {
    /// The tables.
    pub tables: Vec<&'s Table>,
    /// Canonical rules, by table and chain.
    rules: Vec<Vec<Vec<Rule>>>,
    chains: Vec<HashMap<&'s str, usize>>,
    sets: Vec<HashMap<&'s str, usize>>,
    /// Sets to which rules add.
    filled: Vec<BTreeSet<&'s str>>,
    /// Those of them whose elements count packets.
    counted: Vec<BTreeSet<&'s str>>,
}

impl<'s> Program<'s> {
    /// Prepares.
    pub fn new(tables: Vec<&'s Table>) -> Self {
        let canonical = |table: &&Table| -> Vec<Vec<Rule>> {
            let rules = |chain: &crate::model::nft::Chain| {
                chain.rules.iter().map(Rule::canonical).collect()
            };
            table.chains.iter().map(rules).collect()
        };
        let filled = |table: &&'s Table| {
            let statements = table.chains.iter().flat_map(|chain| &chain.rules);
            let statements = statements.flat_map(|rule| &rule.statements);
            let name = |statement: &'s Statement| match statement {
                Statement::UpdateSet { set, .. } => Some(set.as_str()),
                _ => None,
            };
            statements.filter_map(name).collect()
        };
        let counted = |table: &&'s Table| {
            let statements = table.chains.iter().flat_map(|chain| &chain.rules);
            let statements = statements.flat_map(|rule| &rule.statements);
            let name = |statement: &'s Statement| match statement {
                Statement::UpdateSet { set, statements, .. }
                    if statements.iter().any(|own| matches!(own, Statement::Limit(_))) =>
                {
                    Some(set.as_str())
                }
                _ => None,
            };
            statements.filter_map(name).collect()
        };
        Self {
            rules: tables.iter().map(canonical).collect(),
            chains: tables
                .iter()
                .map(|table| {
                    table
                        .chains
                        .iter()
                        .enumerate()
                        .map(|(at, own)| (own.name.as_str(), at))
                        .collect()
                })
                .collect(),
            sets: tables
                .iter()
                .map(|table| {
                    table.sets.iter().enumerate().map(|(at, own)| (own.name.as_str(), at)).collect()
                })
                .collect(),
            filled: tables.iter().map(filled).collect(),
            counted: tables.iter().map(counted).collect(),
            tables,
        }
    }

    /// The rules of a chain.
    pub fn rules(&self, table: usize, chain: usize) -> &[Rule] {
        &self.rules[table][chain]
    }

    /// The chain of this name.
    pub fn chain(&self, table: usize, name: &str) -> Option<usize> {
        self.chains[table].get(name).copied()
    }

    /// The set of this name.
    pub fn set(&self, table: usize, name: &str) -> Option<&'s Set> {
        let index = *self.sets[table].get(name)?;
        self.tables[table].sets.get(index)
    }

    /// Whether rules add to the set, so that what it holds is not only what was read.
    pub fn is_filled_by_rules(&self, table: usize, set: &Set) -> bool {
        set.flags.dynamic || self.filled[table].contains(set.name.as_str())
    }

    /// Whether rules add to the set whoever they count.
    pub fn is_filled_by_rate(&self, table: usize, set: &Set) -> bool {
        self.counted[table].contains(set.name.as_str())
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
