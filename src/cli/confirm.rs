//! `fwctl confirm`: keeps the change that waits.

use super::apply::{kernel, lock, state};
use super::{Exit, failure::Failure, output::Output, paths::Paths, reconnect, wait};
use crate::apply::pending;

/// Keeps the change that waits to be confirmed. Too late, it changes nothing and ends with 6.
#[derive(Debug, clap::Args)]
pub struct Confirm {
    /// Only if it is this generation that waits
    #[arg(value_name = "GENERATION")]
    pub generation: Option<u32>,

    /// Wait, and keep it once the one who made it has logged in anew over SSH, from outside
    #[arg(long)]
    pub on_reconnect: bool,
}

/// Keeps it.
pub fn run(confirm: &Confirm, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let state = state(paths);
    if confirm.on_reconnect {
        return reconnect::wait(confirm.generation, &state, &kernel()?, output);
    }
    let lock = lock(&state)?;
    wait::kept(pending::keep(&lock, confirm.generation, &state, &kernel()?), &state, output)
}
