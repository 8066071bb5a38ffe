//! `fwctl status`: what of ours is in force here.

use super::args::Host;
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths};
use crate::plan;
use crate::report;
use clap::ValueEnum;

/// Says which generation is in force, whether someone changed it, and what it counted.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Which host.
    #[command(flatten)]
    pub host: Host,

    /// What to print
    #[arg(long, value_name = "text|json", default_value = "text", hide_possible_values = true)]
    pub format: Format,
}

/// What `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: "fwctl.status/1".
    Json,
}

/// Prints it.
pub fn run(status: &Status, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let snapshot = if status.host.snapshot.is_some() {
        inputs::snapshot(&status.host, paths)?
    } else {
        let state = super::apply::state(paths);
        let snapshot = super::apply::host(paths, &state, None)?;
        let known = state.confirmed().ok().flatten().map(|installed| installed.generation);
        let believed = snapshot.installed.as_ref().map(|installed| installed.generation);
        // Status changes nothing but a record that is behind, and that only where nobody else
        // is at work; what was read before the lock may be old.
        match state.lock() {
            Ok(lock) if known != believed => super::apply::host(paths, &state, Some(&lock))?,
            _ => snapshot,
        }
    };
    let found = plan::status(&snapshot);
    output::data(&match status.format {
        Format::Text => report::status::text(&found, output.view()),
        Format::Json => report::status::json(&found),
    })?;
    Ok(Exit::Done)
}
