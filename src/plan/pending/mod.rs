//! A change that waits to be confirmed, as it stands in the kernel.
//!
//! In: the live table. Out: whether a change is pending in it, and the table without it. The
//! pending chains and sets stand beside those in force, under names of their own (`p7_…`), and the
//! base chains look them up in a map whose elements the kernel itself forgets at the deadline:
//!
//! ```text
//! map armed_7_input { type nf_proto : verdict; flags timeout;
//!     elements = { ipv4 timeout 60s : goto p7_input, ipv6 timeout 60s : goto p7_input } }
//! chain input { ct state established accept; meta nfproto vmap @armed_7_input; …the rules in force… }
//! ```
//!
//! `goto`, not `jump`: what comes back from a jump would go on to the rules in force. Names carry
//! the generation, so that whoever confirms one cannot confirm another. Pure.

mod arm;
mod end;
#[cfg(test)]
mod tests;

pub use arm::{Arming, arm};
pub use end::{detach, keep, leads_to, off_was_kept, sweep, take_out};

use super::marker;
use crate::compile::{MARKER_CHAIN, TABLE};
use crate::model::nft::{Chain, Family, Rule, Statement, Table};
use crate::observe::Snapshot;
use std::borrow::Cow;

/// What the comment of each rule begins with that is there only while a change is pending.
const COMMENT: &str = "fwctl pending ";
/// What the marker of a pending `off` says.
const OFF: &str = "fwctl off";

/// A change that is there beside the rules in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its generation.
    pub generation: u32,
    /// What it leads to; `None` where somebody broke it by hand.
    pub change: Option<Change>,
    /// How far it is.
    pub phase: Phase,
}

/// What a pending change leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A table with this digest.
    Table(String),
    /// No table of ours.
    Off,
}

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It rules until the kernel forgets it, in so many milliseconds.
    Armed {
        /// Milliseconds.
        left: u64,
    },
    /// The kernel has forgotten it: the rules from before rule again.
    Expired,
    /// It was confirmed and stays; what made it pending is still to be cleared away.
    Kept,
    /// Nothing leads to it any more; it is still to be cleared away.
    Detached,
}

fn prefix(generation: u32) -> String {
    format!("p{generation}_")
}

fn map_name(generation: u32, base: &str) -> String {
    format!("armed_{generation}_{base}")
}

/// The generation that an object's name belongs to, if it is one of a pending change.
fn generation_of(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("armed_").or_else(|| name.strip_prefix('p'))?;
    let (number, _) = rest.split_once('_')?;
    number.parse().ok()
}

/// Whether the rule is there only while a change is pending.
fn is_pending_rule(rule: &Rule) -> bool {
    rule.comment.as_ref().is_some_and(|comment| comment.starts_with(COMMENT))
}

/// The map that a rule of a base chain looks a pending change up in.
fn looks_up(rule: &Rule) -> Option<&str> {
    rule.statements.iter().find_map(|statement| match statement {
        Statement::VerdictMap { map, .. } if map.starts_with("armed_") => Some(map.as_str()),
        _ => None,
    })
}

/// The change that is pending in a live table, or what is left of one.
pub fn read(live: &Table) -> Option<Pending> {
    let names = live.chains.iter().map(|chain| &chain.name);
    let names = names.chain(live.sets.iter().map(|set| &set.name));
    let generation = names.filter_map(|name| generation_of(name)).max()?;
    let asked = |map: &str| {
        live.chains.iter().flat_map(|chain| &chain.rules).any(|rule| looks_up(rule) == Some(map))
    };
    let start = format!("armed_{generation}_");
    let maps: Vec<_> =
        live.sets.iter().filter(|set| set.name.starts_with(&start) && asked(&set.name)).collect();
    let elements = || maps.iter().flat_map(|map| map.elements.listed());
    let whole = maps.iter().all(|map| map.elements.listed().len() == 2);
    let phase = if maps.is_empty() {
        Phase::Detached
    } else if whole && elements().all(|element| element.timeout.is_none()) {
        Phase::Kept
    } else if whole && elements().all(|element| element.timeout.is_some()) {
        Phase::Armed { left: elements().filter_map(|element| element.expires).min().unwrap_or(0) }
    } else {
        Phase::Expired
    };
    let mark = live.chain(&format!("{}{MARKER_CHAIN}", prefix(generation)));
    Some(Pending { generation, change: mark.and_then(change), phase })
}

fn change(mark: &Chain) -> Option<Change> {
    if mark.rules.first()?.comment.as_deref() == Some(OFF) {
        return Some(Change::Off);
    }
    marker::of(mark).map(|marker| Change::Table(marker.digest))
}

/// Whether the table holds anything that is there only for a pending change.
pub fn is_there(live: &Table) -> bool {
    read(live).is_some() || live.chains.iter().any(|chain| chain.rules.iter().any(is_pending_rule))
}

/// The table less all that is there only for a pending change; `None` where nothing is left.
pub fn without(live: &Table) -> Option<Table> {
    let mut table = live.clone();
    let pending = is_there(live);
    table.sets.retain(|set| generation_of(&set.name).is_none());
    table.chains.retain_mut(|chain| {
        chain.rules.retain(|rule| !is_pending_rule(rule));
        // A base chain that was made for it holds nothing else; one of ours is never empty.
        let made_for_it = pending && chain.hook.is_some() && chain.rules.is_empty();
        generation_of(&chain.name).is_none() && !made_for_it
    });
    let empty = table.chains.is_empty() && table.sets.is_empty() && table.objects.is_empty();
    (!empty || *live == table).then_some(table)
}

/// The host as it is without what is pending: what a plan starts from, and what drift is told by.
pub fn host_without(snapshot: &Snapshot) -> Cow<'_, Snapshot> {
    let Some(live) = snapshot.ruleset.table(Family::Inet, TABLE) else {
        return Cow::Borrowed(snapshot);
    };
    if !is_there(live) {
        return Cow::Borrowed(snapshot);
    }
    let table = without(live);
    let mut snapshot = snapshot.clone();
    snapshot.ruleset.tables.retain(|table| table.family != Family::Inet || table.name != TABLE);
    snapshot.ruleset.tables.extend(table);
    snapshot.ruleset.tables.sort_by(|a, b| (a.family, &a.name).cmp(&(b.family, &b.name)));
    Cow::Owned(snapshot)
}
