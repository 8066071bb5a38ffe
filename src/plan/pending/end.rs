//! How a pending change ends: kept, taken back, cleared away.
//!
//! No packet sees a mixture. A packet that is in the middle of a chain while a transaction is
//! committed goes on with the rules that it began with, but looks sets up as they are now. So what
//! it may still look up is only taken out by a later transaction: keeping makes the map's elements
//! last (so both ways lead to the same rules), then nothing leads there, then all of it goes.

use super::arm::Names;
use super::{Pending, is_pending_rule, prefix, without};
use crate::compile::TABLE;
use crate::model::nft::{Chain, Element, Elements, Family, Set, Table, text};
use crate::plan::{Edit, diff, transaction};
use std::fmt::Write as _;

/// The table that the pending change leads to, made of what stands in the kernel.
pub fn leads_to(live: &Table, pending: &Pending) -> Table {
    let prefix = prefix(pending.generation);
    let strip = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
    let names = Names { chain: &strip, set: &strip };
    let mut table = Table::new(Family::Inet, TABLE);
    for chain in live.chains.iter().filter(|chain| chain.name.starts_with(&prefix)) {
        let chain = names.chain(chain);
        let hook = live.chain(&chain.name).and_then(|base| base.hook.clone());
        table.chains.push(Chain { hook, ..chain });
    }
    for set in live.sets.iter().filter(|set| set.name.starts_with(&prefix)) {
        table.sets.push(as_made(names.set(set)));
    }
    let shared: Vec<Set> = table
        .named_sets()
        .into_iter()
        .filter(|name| table.set(name).is_none())
        .filter_map(|name| live.set(name).cloned())
        .collect();
    table.sets.extend(shared);
    table
}

/// The set as a policy makes it: what rules have put into it, and how long its elements still live,
/// belongs to the copy.
fn as_made(mut set: Set) -> Set {
    match &mut set.elements {
        Elements::Listed(elements) if set.flags.dynamic => elements.clear(),
        Elements::Listed(elements) => elements.iter_mut().for_each(|own| own.expires = None),
        Elements::NotListed { .. } => {}
    }
    set
}

/// The transaction that makes a pending change stay. It fails, and changes nothing, where the
/// kernel has forgotten the change already: an element that is not there cannot be deleted. Adding
/// alone would arm an expired change anew.
pub fn keep(live: &Table, pending: &Pending, desired: Option<&Table>) -> String {
    let mut out = String::new();
    for map in armed(live, pending) {
        let context = text::Context::new(live);
        let elements: Vec<String> = map
            .elements
            .listed()
            .iter()
            .map(|element| Element { timeout: None, expires: None, ..element.clone() })
            .map(|element| text::element(&element, map, &context))
            .collect();
        let list = elements.join(", ");
        for word in ["delete", "add"] {
            let _ = writeln!(out, "{word} element inet {TABLE} {} {{ {list} }}", map.name);
        }
    }
    if let Some(desired) = desired {
        let before = without(live).unwrap_or_else(|| Table::new(Family::Inet, TABLE));
        out.push_str(&transaction::text(&edits(live, &before, desired), desired));
    }
    out
}

/// The edits in place; rules that end up in the same base chains as the pending ones included.
fn edits(live: &Table, before: &Table, desired: &Table) -> Vec<Edit> {
    let mut edits = diff::diff(Some(before), desired);
    // A base chain that was made for the pending change is there already.
    edits.retain(|edit| match edit {
        Edit::AddChain { chain } => live.chain(&chain.name).is_none(),
        _ => true,
    });
    edits
}

fn armed<'t>(live: &'t Table, pending: &Pending) -> impl Iterator<Item = &'t Set> {
    let start = format!("armed_{}_", pending.generation);
    live.sets.iter().filter(move |set| set.name.starts_with(&start))
}

/// The transaction after which nothing leads to a pending change any more.
pub fn detach(live: &Table) -> String {
    let mut out = String::new();
    for chain in &live.chains {
        for rule in chain.rules.iter().filter(|rule| is_pending_rule(rule)) {
            let _ = writeln!(out, "delete rule inet {TABLE} {} handle {}", chain.name, rule.handle);
        }
    }
    out
}

/// The transaction that clears away what nothing leads to any more, or what the kernel has
/// forgotten; with it the whole table, where it was made for the change.
pub fn sweep(live: &Table) -> String {
    match without(live) {
        None => format!("delete table inet {TABLE}\n"),
        Some(rest) => transaction::text(&diff::diff(Some(live), &rest), live),
    }
}

/// The transaction after which our base chains let everything pass; the table can be deleted then
/// without a packet noticing.
pub fn take_out(live: &Table) -> String {
    let mut out = String::new();
    for chain in live.chains.iter().filter(|chain| chain.hook.is_some()) {
        let _ = writeln!(out, "flush chain inet {TABLE} {}", chain.name);
    }
    out
}

/// Whether a pending `off` had been kept when its command died: the base chains are empty.
pub fn off_was_kept(live: &Table) -> bool {
    live.chains.iter().filter(|chain| chain.hook.is_some()).all(|chain| chain.rules.is_empty())
}
