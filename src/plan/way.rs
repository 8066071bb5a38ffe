//! Live + edits → the way on which no packet sees a mixture of two policies.
//!
//! The kernel chooses the rules of a generation when a packet enters a hook, and looks sets up as
//! they are at that moment (`nft_do_chain`, `nft_set_do_lookup`). A packet that is under way while
//! a transaction is committed goes on with the old rules, but may find the new elements. And sets of
//! intervals change a moment after the rules do, so another one may meet new rules and old elements:
//!
//! ```text
//! before   tcp_ports: 80 → tcp_22     tcp_22: everybody
//! after    tcp_ports: 80 → tcp_80     tcp_22: admin alone     tcp_80: everybody
//! between  tcp_ports: 80 → tcp_22     tcp_22: admin alone     (neither policy denies port 80)
//! ```
//!
//! So what is new is made in a transaction before the one that leads to it, and what is old goes in
//! one behind it. And where the elements that change lead to rules that change, or several lookups
//! of one packet change, or an interval takes the place of one that it overlaps, the new rules are put
//! beside the old ones, whole, as a change that waits to be confirmed is ([`super::pending`]). Pure.

use super::{Edit, transaction};
use crate::compile::MARKER_CHAIN;
use crate::model::nft::{Chain, Element, KeyType, Rule, Set, SetData, Statement, Table};
use std::collections::BTreeSet;

/// How edits are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Where they belong.
    InPlace(Steps),
    /// The new rules stand beside the old ones first, and packets are led over at once.
    Beside,
}

/// Transactions in the language of `nft(8)`, in this order; an empty one is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// Makes what nothing leads to yet.
    pub prepare: String,
    /// Makes the change.
    pub switch: String,
    /// Takes out what nothing leads to any more.
    pub clear: String,
}

impl Steps {
    /// The step that is made first.
    pub fn first(&self) -> &str {
        if self.prepare.is_empty() { &self.switch } else { &self.prepare }
    }
}

/// The way for these edits of `live`, which lead to `desired`.
pub fn way(live: Option<&Table>, edits: &[Edit], desired: &Table) -> Way {
    let whole = matches!(edits.first(), Some(Edit::AddTable | Edit::Rebuild { .. }));
    let Some(live) = live.filter(|_| !whole) else {
        let switch = transaction::text(edits, desired);
        return Way::InPlace(Steps { prepare: String::new(), switch, clear: String::new() });
    };
    if mixes(live, edits, desired) {
        return Way::Beside;
    }
    let is_new = |name: &str| {
        live.chain(name).is_none() && desired.chain(name).is_some_and(|own| own.hook.is_none())
    };
    let (mut prepare, mut switch, mut clear) = (Vec::new(), Vec::new(), Vec::new());
    for edit in edits {
        let step = match edit {
            Edit::AddSet { .. } => &mut prepare,
            Edit::AddChain { chain } if is_new(&chain.name) => &mut prepare,
            Edit::AddRule { chain, .. } if is_new(chain) => &mut prepare,
            Edit::DeleteSet { .. } | Edit::DeleteChain { .. } => &mut clear,
            _ => &mut switch,
        };
        step.push(edit.clone());
    }
    let text = |edits: Vec<Edit>| transaction::text(&edits, desired);
    Way::InPlace(Steps { prepare: text(prepare), switch: text(switch), clear: text(clear) })
}

/// The edits that take out what no packet can come to, nor a rule look up. The compiler makes no
/// such thing: it is what a change in place leaves that was not made to its end.
pub fn unused(live: &Table) -> Vec<Edit> {
    let (chains, sets) = live.used(&[MARKER_CHAIN]);
    let sets = live
        .sets
        .iter()
        .filter(|set| !set.flags.anonymous && !sets.contains(set.name.as_str()))
        .map(|set| Edit::DeleteSet { set: set.clone() });
    let chains = live
        .chains
        .iter()
        .filter(|chain| !chains.contains(chain.name.as_str()))
        .map(|chain| Edit::DeleteChain { chain: chain.clone() });
    sets.chain(chains).collect()
}

/// Whether a packet that is under way could meet rules of the one and elements of the other policy
/// that together are neither.
fn mixes(live: &Table, edits: &[Edit], desired: &Table) -> bool {
    let changed: BTreeSet<&str> = edits
        .iter()
        .filter_map(|edit| match edit {
            Edit::AddElements { set, .. } | Edit::DeleteElements { set, .. } => Some(set.as_str()),
            _ => None,
        })
        .collect();
    if changed.is_empty() {
        return false;
    }
    if transaction::displaces(edits, desired) {
        return true;
    }
    // The compiler looks up at most one port of a packet, and goes to where that leads: in the map
    // of single ports, and then in that of ranges.
    let of_ports = |name: &&str| live.set(name).is_some_and(is_port_map);
    if changed.len() > 1 && !changed.iter().all(of_ports) {
        return true;
    }
    if live.chains.iter().any(|chain| asks_twice(chain, &changed)) {
        return true;
    }
    let asking: BTreeSet<&str> = live
        .chains
        .iter()
        .filter(|chain| chain.named_sets().any(|set| changed.contains(set)))
        .map(|chain| chain.name.as_str())
        .collect();
    let targets = edits.iter().flat_map(|edit| match edit {
        Edit::AddElements { elements, .. } | Edit::DeleteElements { elements, .. } => {
            elements.as_slice()
        }
        _ => &[],
    });
    let targets = targets.filter_map(Element::leads_to);
    let open = asking.iter().copied().chain(targets).collect();
    let mut touched = below((live, desired), open);
    touched.extend(above(live, asking));
    let acts_alike = |name: &str| {
        let (Some(old), Some(new)) = (live.chain(name), desired.chain(name)) else { return true };
        old.hook == new.hook
            && old.rules.len() == new.rules.len()
            && old.rules.iter().zip(&new.rules).all(|(old, new)| does_the_same(old, new))
    };
    touched.into_iter().any(|name| name != MARKER_CHAIN && !acts_alike(name))
}

/// Whether the same packets may be looked up in two of these maps of ports: by rules that differ in
/// nothing but the map.
fn asks_twice(chain: &Chain, maps: &BTreeSet<&str>) -> bool {
    let mut conditions: Vec<&[Statement]> = Vec::new();
    chain.rules.iter().any(|rule| {
        let Some((Statement::VerdictMap { map, .. }, conditions_here)) =
            rule.statements.split_last()
        else {
            return false;
        };
        if !maps.contains(map.as_str()) {
            return false;
        }
        let again = conditions.contains(&conditions_here);
        conditions.push(conditions_here);
        again
    })
}

fn is_port_map(set: &Set) -> bool {
    set.key == [KeyType::InetService] && matches!(set.data, Some(SetData::Verdict))
}

/// Whether rules differ at most in their comments.
fn does_the_same(old: &Rule, new: &Rule) -> bool {
    Rule { comment: None, ..old.clone() }.same_as(&Rule { comment: None, ..new.clone() })
}

/// These chains, and all that their rules go on to, except through maps: where an element leads
/// that stays, is no matter of those that change.
fn below<'t>((live, desired): (&'t Table, &'t Table), mut open: Vec<&'t str>) -> BTreeSet<&'t str> {
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            let chain = live.chain(name).or_else(|| desired.chain(name));
            open.extend(chain.into_iter().flat_map(Chain::named_chains));
        }
    }
    seen
}

/// All chains that lead to these, through maps too.
fn above<'t>(live: &'t Table, mut seen: BTreeSet<&'t str>) -> BTreeSet<&'t str> {
    loop {
        let leads = |chain: &&Chain| {
            let maps = chain.named_sets().filter_map(|set| live.set(set));
            let through = maps.flat_map(|set| set.elements.listed()).filter_map(Element::leads_to);
            chain.named_chains().chain(through).any(|name| seen.contains(name))
        };
        let more: Vec<&str> = live
            .chains
            .iter()
            .filter(|chain| !seen.contains(chain.name.as_str()))
            .filter(leads)
            .map(|chain| chain.name.as_str())
            .collect();
        if more.is_empty() {
            return seen;
        }
        seen.extend(more);
    }
}
