//! `fwctl plan`: what apply would change, for review.

use super::args::{Global, Host};
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths};
use crate::plan::Outcome;
use crate::report;
use clap::ValueEnum;

/// Shows what apply would change: for people, and in the rules. Changes nothing.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Which host.
    #[command(flatten)]
    pub host: Host,

    /// What to print
    #[arg(
        long,
        value_name = "text|json|markdown",
        default_value = "text",
        hide_possible_values = true
    )]
    pub format: Format,

    /// Exit with 3 where there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// What `plan` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: "fwctl.plan/1".
    Json,
    /// For a merge request.
    Markdown,
}

/// Plans and prints.
pub fn run(plan: &Plan, global: &Global, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let policy = inputs::policy(global, paths, output.width)?;
    let snapshot = inputs::snapshot(&plan.host, paths)?;
    let planned = super::apply::planned(&policy, &snapshot)?;
    output::data(&match plan.format {
        Format::Text => report::plan::text(&planned, output.view()),
        Format::Json => report::plan::json(&planned),
        Format::Markdown => report::plan::markdown(&planned),
    })?;
    let violated = planned.expectations.iter().any(|result| !result.failures.is_empty());
    Ok(if violated {
        Exit::Violated
    } else if plan.detailed_exitcode && planned.outcome != Outcome::Unchanged {
        Exit::Changes
    } else {
        Exit::Done
    })
}
