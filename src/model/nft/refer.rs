//! What the objects of a table name one another for: which sets rules look up, and where verdicts
//! lead.

use super::{Chain, Element, ElementData, Statement, Table, Verdict};
use std::collections::BTreeSet;

impl Table {
    /// The sets and maps that rules look up or put elements into.
    pub fn named_sets(&self) -> BTreeSet<&str> {
        self.chains.iter().flat_map(Chain::named_sets).collect()
    }

    /// The chains that a packet can come to from a hook or from `roots`, and the sets that they
    /// look up.
    pub fn used<'t>(&'t self, roots: &[&'t str]) -> (BTreeSet<&'t str>, BTreeSet<&'t str>) {
        let hooked = self.chains.iter().filter(|chain| chain.hook.is_some());
        let mut open: Vec<&str> = hooked.map(|chain| chain.name.as_str()).collect();
        open.extend(roots);
        let (mut chains, mut sets) = (BTreeSet::new(), BTreeSet::new());
        while let Some(name) = open.pop() {
            let Some(chain) = self.chain(name).filter(|_| chains.insert(name)) else { continue };
            open.extend(chain.named_chains());
            for set in chain.named_sets().filter_map(|set| self.set(set)) {
                if sets.insert(set.name.as_str()) {
                    open.extend(set.elements.listed().iter().filter_map(Element::leads_to));
                }
            }
        }
        (chains, sets)
    }
}

impl Chain {
    /// The sets and maps that the rules look up or put elements into.
    pub fn named_sets(&self) -> impl Iterator<Item = &str> {
        let statements = self.rules.iter().flat_map(|rule| &rule.statements);
        statements.filter_map(|statement| match statement {
            Statement::Lookup { set, .. } | Statement::UpdateSet { set, .. } => Some(set.as_str()),
            Statement::VerdictMap { map, .. } => Some(map.as_str()),
            _ => None,
        })
    }

    /// The chains that the rules' own verdicts lead to.
    pub fn named_chains(&self) -> impl Iterator<Item = &str> {
        let statements = self.rules.iter().flat_map(|rule| &rule.statements);
        statements.filter_map(|statement| match statement {
            Statement::Verdict(verdict) => verdict.leads_to(),
            _ => None,
        })
    }
}

impl Element {
    /// The chain that the element of a verdict map leads to.
    pub fn leads_to(&self) -> Option<&str> {
        match &self.data {
            Some(ElementData::Verdict(verdict)) => verdict.leads_to(),
            _ => None,
        }
    }
}

impl Verdict {
    /// The chain that it leads to.
    pub fn leads_to(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}
