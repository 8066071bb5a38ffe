//! `fwctl plan`: what apply would change, for review.

use super::args::{Global, Host};
use super::confirmation::waiting;
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths, saved};
use crate::compile::TABLE;
use crate::guard;
use crate::model::nft::Family;
use crate::observe::Snapshot;
use crate::plan::Outcome;
use crate::plan::pending::{self, Pending, Phase};
use crate::report;
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

/// Shows what apply would change: for people, and in the rules, and why the guard would refuse it.
/// Changes nothing.
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

    /// Save the plan in this file as well: `fwctl apply FILE` makes it, unless the host has changed
    /// since. `--snapshot` makes it for a server from another machine
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

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
    let (policy, snapshot) = inputs::policy_and_snapshot(global, &plan.host, paths, output.width)?;
    if plan.host.snapshot.is_none() {
        no_change_waits(&snapshot)?;
    }
    let planned = super::apply::planned(&policy, &snapshot)?;
    // Information only: apply asks again, about the host as it is then.
    let findings = (planned.outcome != Outcome::Unchanged)
        .then(|| guard::findings(&planned, &policy, &snapshot));
    let findings = findings.as_ref();
    output::data(&match plan.format {
        Format::Text => report::plan::text(&planned, findings, output.view()),
        Format::Json => report::plan::json(&planned, findings),
        Format::Markdown => report::plan::markdown(&planned, findings),
    })?;
    if let Some(path) = &plan.out {
        saved::write(path, policy, planned.clone())?;
        output.note(&format!("Saved: `fwctl apply {}` makes it.", path.display()));
    }
    let violated = planned.expectations.iter().any(|result| !result.failures.is_empty());
    Ok(if violated {
        Exit::Violated
    } else if plan.detailed_exitcode && planned.outcome != Outcome::Unchanged {
        Exit::Changes
    } else {
        Exit::Done
    })
}

/// A plan against rules that the kernel may take back in a moment would be true for that moment.
fn no_change_waits(snapshot: &Snapshot) -> Result<(), Failure> {
    let table = snapshot.ruleset.table(Family::Inet, TABLE);
    match table.and_then(pending::read) {
        Some(Pending { generation, phase: Phase::Armed { left }, .. }) => {
            Err(waiting(generation, Duration::from_millis(left)))
        }
        _ => Ok(()),
    }
}
