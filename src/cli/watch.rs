//! `fwctl watch`: puts the confirmed generation back when somebody flushed the rules.
//!
//! It asks the kernel for news and otherwise sleeps. It acts where the table of a confirmed
//! generation is gone or empty, and no fwctl is at work: a change that waits for its confirmation
//! has a table, and `fwctl off` leaves nothing confirmed behind.

use super::apply::state;
use super::restore::{report, restored};
use super::{Exit, failure::Failure, output, output::Output, paths::Paths};
use crate::apply::restore::{Outcome, is_gone};
use crate::apply::{State, StateError};
use crate::compile::TABLE;
use crate::model::nft::Family;
use crate::observe::nft::{self, Lost, NftError, TableEvents};
use crate::plan::PutBack;
use std::time::{Duration, Instant};

/// How soon to look again while another fwctl is at work.
const BUSY: Duration = Duration::from_millis(50);
/// The longest time until the next attempt where one failed.
const LONGEST: Duration = Duration::from_secs(60);

/// What a look came to.
enum Look {
    /// All is as it should be, or put back.
    Well,
    /// The table is gone, and another fwctl is at work.
    Busy,
    /// The table is gone, and could not be put back.
    Failed,
}

/// Watches until it is ended by a signal.
pub fn run(paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let state = state(paths);
    // Before the first look, so that nothing can happen between the two.
    let mut events = TableEvents::open(Family::Inet, TABLE).map_err(|error| unheard(&error))?;
    output.note("watching: flushed rules are put back");
    let mut due = Some(Instant::now());
    let mut failures = 0;
    let mut lost = Lost { by: None };
    loop {
        let limit = due.map(|due| due.saturating_duration_since(Instant::now()));
        if let Some(news) = events.wait(limit).map_err(|error| unheard(&error))? {
            lost = news;
            due = Some(Instant::now());
        }
        if due.is_none_or(|due| due > Instant::now()) {
            continue;
        }
        due = match look(&state, paths, &lost) {
            Look::Well => {
                failures = 0;
                None
            }
            Look::Busy => Some(Instant::now() + BUSY),
            Look::Failed => {
                failures += 1;
                let pause = Duration::from_secs(1 << failures.min(6));
                Some(Instant::now() + pause.min(LONGEST))
            }
        };
    }
}

/// Looks once, and puts back what is gone.
fn look(state: &State, paths: &Paths, lost: &Lost) -> Look {
    match is_lost(state) {
        Ok(false) => return Look::Well,
        Ok(true) => {}
        Err(error) => {
            output::warning(&format!("the rules in force could not be read: {error}"));
            return Look::Failed;
        }
    }
    let lock = match state.lock() {
        Ok(lock) => lock,
        Err(StateError::Locked { .. }) => return Look::Busy,
        Err(error) => {
            output::warning(&format!("the rules of fwctl are gone, and {error}"));
            return Look::Failed;
        }
    };
    // Whoever held the lock may have put them back, or taken them out for good.
    if !is_lost(state).unwrap_or(true) {
        return Look::Well;
    }
    let who = match &lost.by {
        Some((name, id)) => format!("{name} (process {id})"),
        None => "somebody".to_owned(),
    };
    output::warning(&format!(
        "{who} flushed the ruleset or took table inet {TABLE} out; fwctl puts its rules back \
         (`fwctl off` takes them out for good)"
    ));
    match restored(&lock, state, paths).and_then(report) {
        Ok(Outcome::Loaded(generation)) => {
            remember(generation, lost, state);
            output::warning(&format!("generation {generation} is in force again"));
            Look::Well
        }
        Ok(_) => Look::Well,
        Err(failure) => {
            output::failure(&failure);
            // Where something was loaded there is nothing more to try.
            if is_lost(state).unwrap_or(true) { Look::Failed } else { Look::Well }
        }
    }
}

/// In the run directory: what `status` says of it.
const PUT_BACK: &str = "put-back.json";

/// Keeps it for `status`; without the record the journal alone tells.
fn remember(generation: u32, lost: &Lost, state: &State) {
    let times = put_back(state).map_or(0, |before| before.times) + 1;
    let from = lost.by.as_ref().map(|(name, _)| name.clone());
    let told = PutBack { generation, at: jiff::Timestamp::now(), from, times };
    let text = serde_json::to_vec(&told).expect("it has only string keys");
    let _ = state.write_run_file(PUT_BACK, &text);
}

/// What was put back last since boot.
pub(super) fn put_back(state: &State) -> Option<PutBack> {
    serde_json::from_slice(&std::fs::read(state.run_file(PUT_BACK)).ok()?).ok()
}

/// Whether a generation is confirmed and its table is not there. A record that cannot be read is
/// one all the same.
fn is_lost(state: &State) -> Result<bool, NftError> {
    if matches!(state.confirmed(), Ok(None)) {
        return Ok(false);
    }
    Ok(is_gone(nft::read_rules(Family::Inet, TABLE)?.as_ref()))
}

fn unheard(error: &NftError) -> Failure {
    Failure::from_error(Exit::Failed, "the kernel's news of the ruleset cannot be heard", error)
        .state("nothing is put back by itself; `fwctl restore` does it by hand")
        .hint("run fwctl as root")
}
