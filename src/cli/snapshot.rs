//! `fwctl snapshot`: this host's state as JSON, for `--snapshot FILE` on any other machine.

use super::{Exit, failure::Failure, inputs, output, paths::Paths};

/// Prints the state, and says on the other stream what could not be read.
pub fn run(paths: &Paths) -> Result<Exit, Failure> {
    let snapshot = inputs::observed(paths);
    inputs::warn(&snapshot);
    output::data(&snapshot.to_json())?;
    Ok(Exit::Done)
}
