//! `fwctl off`: takes our table out.

use super::apply::{agreed, can_ask, host, kernel, lock, state};
use super::confirmation::{Confirmation, failed, nothing_waits, tried};
use super::{Exit, failure::Failure, output::Output, paths::Paths, wait};
use crate::apply::{Applied, pending};
use crate::compile::TABLE;
use crate::model::nft::Family;
use crate::observe::Snapshot;
use crate::plan::{self, marker};
use crate::policy::{self, MemoryFiles};
use crate::report;
use std::path::Path;
use std::time::Duration;

/// What stands in for the policy in force where that is not known: no zones but the built-in ones.
const UNKNOWN: &str = "version = 1\n";

/// How long it waits to be confirmed where neither the command line nor a policy says.
const WITHIN: Duration = Duration::from_secs(60);

/// Shows who could reach what that nobody reaches now, and takes fwctl's table out; the rules of
/// others stay as they are. Until it is confirmed the rules
/// only rest: the kernel puts them back in force by itself.
#[derive(Debug, clap::Args)]
pub struct Off {
    /// How the change is made.
    #[command(flatten)]
    pub confirmation: Confirmation,
}

/// Takes it out.
pub fn run(off: &Off, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    can_ask(off.confirmation.yes)?;
    let state = state(paths);
    let lock = lock(&state)?;
    let kernel = kernel()?;
    nothing_waits(&lock, &state, &kernel)?;
    let snapshot = host(paths, &state, Some(&lock))?;
    let Some(table) = snapshot.ruleset.table(Family::Inet, TABLE) else {
        // Somebody else took the table out; a reboot must not bring it back.
        crate::apply::off(&lock, &state, &kernel).map_err(|error| failed(&error))?;
        output.result("Nothing to change: fwctl is not in force.\n")?;
        return Ok(Exit::Done);
    };
    output.show(&opens(&snapshot, output));
    if !off.confirmation.yes && !agreed("\nTake fwctl's table out?") {
        return Err(Failure::new(Exit::Failed, "not taken out: the answer was no")
            .state(super::inputs::UNTOUCHED));
    }
    let installed = snapshot.installed.as_ref();
    let default = installed.map_or(WITHIN, |installed| installed.policy.guard.confirm_within);
    let terms = off.confirmation.terms(default, &snapshot);
    let Some(within) = terms.within else {
        crate::apply::off(&lock, &state, &kernel).map_err(|error| failed(&error))?;
        output.result("fwctl is off: its table is gone, and nothing of it filters any more.\n")?;
        return Ok(Exit::Done);
    };
    tried(&state)?;
    let known = [
        snapshot.last_generation,
        installed.map_or(0, |installed| installed.generation),
        marker::read(table).map_or(0, |marker| marker.generation),
    ];
    let generation = known.into_iter().max().unwrap_or(0) + 1;
    let terminal = wait::Terminal::open();
    let armed = pending::arm_off(&lock, generation, (&terms, within), &state, &kernel);
    match armed.map_err(|error| failed(&error))? {
        Applied::Pending { generation, within } => {
            let change = wait::Waits {
                generation,
                within,
                on_reconnect: off.confirmation.confirm_on_reconnect,
            };
            wait::wait(lock, terminal.as_ref(), change, &state, &kernel, output)
        }
        Applied::Unchanged | Applied::InForce { .. } => Ok(Exit::Done),
    }
}

/// Who reaches what that cannot be reached now.
fn opens(snapshot: &Snapshot, output: &Output) -> String {
    let policy = snapshot.installed.as_ref().map(|installed| installed.policy.clone());
    let policy = policy.unwrap_or_else(|| {
        let path = Path::new("policy.toml");
        let files = MemoryFiles::default().with(path, UNKNOWN);
        policy::load(&files, path).expect("it has nothing but its version").policy
    });
    report::plan::off(&snapshot.host.name, &plan::off(&policy, snapshot), output.view())
}
