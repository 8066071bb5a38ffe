//! What of ours is in force on a host, and whether it is as fwctl left it.

use super::{Edit, Marker, build, marker};
use crate::compile::{Environment, TABLE};
use crate::model::nft::{Family, Statement, Table, Verdict};
use crate::observe::Snapshot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The value of `format` in a status that this version writes.
pub const STATUS_FORMAT: &str = "fwctl.status/1";

/// What of ours is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`STATUS_FORMAT`].
    pub format: String,
    /// The name of the host.
    pub host: String,
    /// What the host runs.
    pub state: State,
    /// What was changed by hand since; empty where nothing was, or where it cannot be known.
    pub drift: Vec<Edit>,
    /// What the rules have counted since they were made, most packets first.
    pub counters: Vec<Counted>,
}

/// What the host runs of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No table of ours.
    Off,
    /// A generation.
    InForce {
        /// Which.
        marker: Marker,
        /// When it was applied, where the disk knows it.
        since: Option<jiff::Timestamp>,
        /// The files of its policy, where the disk knows them.
        policy: Vec<String>,
    },
    /// A table of our name without a marker that can be read.
    Foreign,
}

/// What rules of one origin have counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The rules' comment: where in the policy they come from.
    pub comment: String,
    /// Whether what they count is dropped or refused.
    pub denied: bool,
    /// Packets that began a connection, and that no connection was open for.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What of ours is in force on the host of this snapshot.
pub fn status(snapshot: &Snapshot) -> Status {
    let table = snapshot.ruleset.table(Family::Inet, TABLE);
    let marker = table.and_then(marker::read);
    let state = match (table, marker.clone()) {
        (None, _) => State::Off,
        (Some(_), None) => State::Foreign,
        (Some(_), Some(marker)) => {
            let known = snapshot.installed.as_ref().filter(|known| known.digest == marker.digest);
            State::InForce {
                since: known.map(|known| known.applied_at),
                policy: known.map_or_else(Vec::new, |known| {
                    known.policy.sources.iter().map(|source| source.name.clone()).collect()
                }),
                marker,
            }
        }
    };
    Status {
        format: STATUS_FORMAT.to_owned(),
        host: snapshot.host.name.clone(),
        state,
        drift: build::drift(snapshot, &Environment::of(snapshot), table, marker.as_ref()),
        counters: table.map_or_else(Vec::new, counters),
    }
}

fn counters(table: &Table) -> Vec<Counted> {
    let mut sums: BTreeMap<(String, bool), (u64, u64)> = BTreeMap::new();
    for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
        let counted = rule.statements.iter().find_map(|statement| match statement {
            Statement::Counter { packets, bytes } => Some((*packets, *bytes)),
            _ => None,
        });
        let (Some((packets, bytes)), Some(comment)) = (counted, &rule.comment) else { continue };
        let denied = !matches!(rule.statements.last(), Some(Statement::Verdict(Verdict::Accept)));
        let sum = sums.entry((comment.clone(), denied)).or_default();
        *sum = (sum.0 + packets, sum.1 + bytes);
    }
    let mut counters: Vec<Counted> = sums
        .into_iter()
        .map(|((comment, denied), (packets, bytes))| Counted { comment, denied, packets, bytes })
        .collect();
    counters.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.comment.cmp(&b.comment)));
    counters
}
