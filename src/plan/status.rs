//! What of ours is in force on a host, and whether it is as fwctl left it.

use super::pending::{self, Change, Phase};
use super::{Edit, Marker, build, marker};
use crate::compile::{Environment, TABLE};
use crate::model::nft::{Family, Statement, Table, Verdict};
use crate::observe::{By, End, How, Snapshot};
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
    /// The change that waits to be confirmed, and rules until then.
    #[serde(default)]
    pub pending: Option<Waiting>,
    /// The last change that was to be confirmed, where it was not.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// That the generation in force was put back after somebody took it away; `None` where nobody
    /// did since boot.
    #[serde(default)]
    pub put_back: Option<PutBack>,
    /// Files of the policy that are not as they were when it was applied: changed, new, gone, or
    /// broken.
    #[serde(default)]
    pub policy_changed: Vec<String>,
    /// What was changed by hand since; empty where nothing was, or where it cannot be known.
    pub drift: Vec<Edit>,
    /// What the rules have counted since they were made, most packets first.
    pub counters: Vec<Counted>,
}

/// That the rules were put back by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// The generation that was put back.
    pub generation: u32,
    /// When, the last time.
    pub at: jiff::Timestamp,
    /// Who had taken it away: the name of the process, where the kernel told.
    pub from: Option<String>,
    /// How often since boot.
    pub times: u32,
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its generation.
    pub generation: u32,
    /// Whether it takes our table out.
    pub off: bool,
    /// How long it still rules, in milliseconds, as the kernel counts.
    pub left: u64,
    /// When that is over, by the clock of the host.
    pub deadline: jiff::Timestamp,
    /// Who made it, where the disk knows it.
    pub by: Option<By>,
    /// Why.
    pub message: Option<String>,
}

/// A change that was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its generation.
    pub generation: u32,
    /// How and when it ended.
    #[serde(flatten)]
    pub end: End,
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
    let (pending, ended) = changes(snapshot);
    let without = pending::host_without(snapshot);
    let snapshot = without.as_ref();
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
        pending,
        ended,
        put_back: None,
        policy_changed: Vec::new(),
        drift: build::drift(snapshot, &Environment::of(snapshot), table, marker.as_ref()),
        counters: table.map_or_else(Vec::new, counters),
    }
}

/// What waits to be confirmed, and what was not. The kernel says what rules; the disk says who and
/// why.
fn changes(snapshot: &Snapshot) -> (Option<Waiting>, Option<Ended>) {
    let table = snapshot.ruleset.table(Family::Inet, TABLE);
    let found = table.and_then(pending::read);
    let attempt = snapshot.attempt.as_ref();
    if let Some(found) = &found {
        let known = attempt.filter(|attempt| attempt.generation == found.generation);
        if let Phase::Armed { left } = found.phase {
            let span = jiff::SignedDuration::from_millis(i64::try_from(left).unwrap_or(0));
            let waiting = Waiting {
                generation: found.generation,
                off: found.change == Some(Change::Off),
                left,
                deadline: snapshot.taken_at.checked_add(span).unwrap_or(snapshot.taken_at),
                by: known.and_then(|attempt| attempt.by.clone()),
                message: known.and_then(|attempt| attempt.message.clone()),
            };
            return (Some(waiting), None);
        }
    }
    let ended = attempt.and_then(|attempt| {
        let phase = found.filter(|own| own.generation == attempt.generation).map(|own| own.phase);
        let end = match (attempt.end, phase) {
            (Some(end), _) => end,
            // The next command that holds the lock records it.
            (None, Some(Phase::Kept)) => return None,
            (None, Some(Phase::Detached)) => End { how: How::RolledBack, at: snapshot.taken_at },
            (None, Some(Phase::Expired | Phase::Armed { .. })) => {
                End { how: How::Expired, at: attempt.deadline() }
            }
            (None, None) => End { how: How::Lost, at: snapshot.taken_at },
        };
        let ended = Ended { generation: attempt.generation, end };
        (end.how != How::Kept).then_some(ended)
    });
    (None, ended)
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
