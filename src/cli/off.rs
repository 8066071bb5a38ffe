//! `fwctl off`: takes our table out.

use super::apply::{agreed, can_ask, failed, host, kernel, lock, state};
use super::{Exit, failure::Failure, output::Output, paths::Paths};
use crate::compile::TABLE;
use crate::model::nft::Family;

/// Takes fwctl's table out; the rules of others stay as they are.
#[derive(Debug, clap::Args)]
pub struct Off {
    /// Do it at once, without waiting to be confirmed; in this version it never waits
    #[arg(long)]
    pub no_confirm: bool,

    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
}

/// Takes it out.
pub fn run(off: &Off, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    can_ask(off.yes)?;
    let state = state(paths);
    let lock = lock(&state)?;
    let snapshot = host(paths, &state)?;
    if snapshot.ruleset.table(Family::Inet, TABLE).is_none() {
        output.result("Nothing to change: fwctl is not in force.\n")?;
        return Ok(Exit::Done);
    }
    output.note(
        "Every port that only fwctl closes will be reachable again, databases too. The rules of \
         others (Docker, ufw, firewalld) stay as they are.",
    );
    if !off.yes && !agreed("Take fwctl's table out?") {
        return Err(Failure::new(Exit::Failed, "not taken out: the answer was no")
            .state(super::inputs::UNTOUCHED));
    }
    crate::apply::off(&lock, &state, &kernel()?).map_err(|error| failed(&error))?;
    output.result("fwctl is off: its table is gone, and nothing of it filters any more.\n")?;
    Ok(Exit::Done)
}
