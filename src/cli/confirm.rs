//! `fwctl confirm`: keeps the change that waits.

use super::apply::{kernel, lock, state};
use super::{Exit, failure::Failure, output::Output, paths::Paths, wait};
use crate::apply::pending;

/// Keeps the change that waits to be confirmed. Too late, it changes nothing and ends with 6.
#[derive(Debug, clap::Args)]
pub struct Confirm {
    /// Only if it is this generation that waits
    #[arg(value_name = "GENERATION")]
    pub generation: Option<u32>,
}

/// Keeps it.
pub fn run(confirm: &Confirm, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let state = state(paths);
    let lock = lock(&state)?;
    wait::kept(pending::keep(&lock, confirm.generation, &state, &kernel()?), output)
}
