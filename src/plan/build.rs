//! Puts a plan together.

use super::Edit;
use super::{
    FORMAT, Marker, Notice, Outcome, Plan, diff::diff, expectations::expectations, exposure,
    marker, pending,
};
use crate::analyze::{Analyzer, past_the_rules};
use crate::compile::{self, CARRIED_SETS, Carried, CompileError, Environment, TABLE, compile};
use crate::model::nft::{Family, Table};
use crate::observe::{EngineState, LinkKind, Snapshot};
use crate::policy::Policy;

/// What apply would change on the host of this snapshot.
pub fn plan(policy: &Policy, snapshot: &Snapshot) -> Result<Plan, Vec<CompileError>> {
    let without = pending::host_without(snapshot);
    let snapshot = without.as_ref();
    let environment = Environment::of(snapshot);
    let live_table = snapshot.ruleset.table(Family::Inet, TABLE);
    let live = live_table.and_then(marker::read);
    let (mut table, marker) = desired(policy, snapshot, &environment, live.as_ref())?;
    let mut edits = diff(live_table, &table);
    if live_table.is_some() && !edits.is_empty() && environment.carried == Carried::None {
        // Where all that is left to do is to clear away what carried connections over, and has
        // run out, the table is as it should be; that goes with the next real change.
        let kept = Environment { carried: Carried::Live, ..environment.clone() };
        let (table_with, _) = desired(policy, snapshot, &kept, live.as_ref())?;
        if diff(live_table, &table_with).is_empty() {
            (table, edits) = (table_with, Vec::new());
        }
    }
    let outcome = match (live_table, edits.is_empty()) {
        (None, _) => Outcome::Create,
        (Some(_), false) => Outcome::Update,
        (Some(_), true) => Outcome::Unchanged,
    };
    if let (Some(live_table), Some(Edit::Rebuild { .. })) = (live_table, edits.first()) {
        // What is made anew starts with the connections that are carried over now.
        for set in &mut table.sets {
            if CARRIED_SETS.contains(&set.name.as_str())
                && let Some(old) = live_table.set(&set.name)
            {
                set.elements = old.elements.clone();
            }
        }
        edits = diff(Some(live_table), &table);
    }
    // New connections are what is asked about; those that are carried over open nothing anew.
    let lasting = compile::lasting(&table);
    let now = Analyzer::new(snapshot);
    let later = (outcome != Outcome::Unchanged).then(|| now.with_own(Some(lasting.as_ref())));
    let exposure = exposure::exposure(policy, &now, later.as_ref());
    let expectations = expectations(policy, later.as_ref().unwrap_or(&now));
    Ok(Plan {
        format: FORMAT.to_owned(),
        taken_at: snapshot.taken_at,
        host: snapshot.host.name.clone(),
        outcome,
        drift: drift(snapshot, &environment, live_table, live.as_ref()),
        exposure,
        expectations,
        established: super::established(policy, snapshot),
        notices: notices(snapshot, &environment),
        live,
        desired: marker,
        table,
        edits,
    })
}

/// The table with its marker. It keeps its number where its content is what is in force already.
fn desired(
    policy: &Policy,
    snapshot: &Snapshot,
    environment: &Environment,
    live: Option<&Marker>,
) -> Result<(Table, Marker), Vec<CompileError>> {
    let mut table = compile(policy, environment)?;
    let digest = compile::digest(&table);
    let installed = snapshot.installed.as_ref();
    let generation = match (live, installed) {
        (Some(live), _) if live.digest == digest => live.generation,
        // Someone took the table or its marker away.
        (None, Some(installed)) if installed.digest == digest => installed.generation,
        _ => {
            let known = [
                snapshot.last_generation,
                installed.map_or(0, |installed| installed.generation),
                live.map_or(0, |live| live.generation),
            ];
            known.into_iter().max().unwrap_or(0) + 1
        }
    };
    let marker = Marker { generation, digest };
    table.chains.push(marker::chain(&marker));
    Ok((table, marker))
}

/// What was changed by hand since fwctl applied the generation in force. Known only where that
/// generation can be compiled again as it was.
pub(super) fn drift(
    snapshot: &Snapshot,
    environment: &Environment,
    live_table: Option<&Table>,
    live: Option<&Marker>,
) -> Vec<super::Edit> {
    let (Some(live_table), Some(installed)) = (live_table, &snapshot.installed) else {
        return Vec::new();
    };
    let Ok((table, marker)) = desired(&installed.policy, snapshot, environment, live) else {
        return Vec::new();
    };
    if marker.digest != installed.digest {
        return Vec::new();
    }
    diff(Some(live_table), &table)
}

fn notices(snapshot: &Snapshot, environment: &Environment) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |id: &str, message: String| {
        notices.push(Notice { id: id.to_owned(), message });
    };
    for engine in &snapshot.engines {
        if !matches!(engine.state, EngineState::Answered | EngineState::Absent) {
            add(
                "engine-not-read",
                format!(
                    "{} could not be asked, so its containers are missing below; the rules hold \
                     for them all the same",
                    engine.socket
                ),
            );
        }
    }
    for link in &snapshot.links {
        if matches!(link.kind, LinkKind::Macvlan | LinkKind::Ipvlan) {
            add(
                "macvlan",
                format!(
                    "{}: what is reached through a macvlan or ipvlan passes no rule of the host",
                    link.name
                ),
            );
        }
    }
    for message in past_the_rules(snapshot) {
        add("past-the-rules", format!("{message}: what this plan says of it may be wrong"));
    }
    if let Carried::Connections(connections) = &environment.carried {
        add(
            "carried-connections",
            format!(
                "{} open now may have been there before anything tracked connections: the table \
                 admits {} by exact address and port, so that nothing is cut",
                match connections.len() {
                    1 => "1 connection that is".to_owned(),
                    many => format!("{many} connections that are"),
                },
                if connections.len() == 1 { "it" } else { "them" },
            ),
        );
    }
    notices
}
