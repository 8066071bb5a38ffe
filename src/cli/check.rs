//! `fwctl check`: whether a policy can be used, without a host.

use super::args::{CheckFormat, Global};
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths};
use crate::policy::{self, Style};
use crate::report;
use std::path::PathBuf;

/// Reads a policy file and says all that is wrong with it.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The policy file; without one, that of --policy
    #[arg(value_name = "FILE", conflicts_with = "policy")]
    pub file: Option<PathBuf>,

    /// What to print
    #[arg(long, value_name = "text|json", default_value = "text", hide_possible_values = true)]
    pub format: CheckFormat,
}

/// Prints what is wrong: text to standard error, JSON to standard output.
pub fn run(
    check: &Check,
    global: &Global,
    paths: &Paths,
    output: &Output,
) -> Result<Exit, Failure> {
    let path = check.file.clone().unwrap_or_else(|| inputs::policy_path(global, paths));
    let loaded = inputs::load(&path, paths);
    let (policy, diagnostics) = match &loaded {
        Ok(loaded) => (Some(&loaded.policy), &loaded.warnings),
        Err(diagnostics) => (None, diagnostics),
    };
    match check.format {
        CheckFormat::Json => output::data(&report::check::json(policy, diagnostics))?,
        CheckFormat::Text => {
            output::aside(&diagnostics.render(Style { colour: true, width: output.width }));
            if let Some(policy) = policy {
                output.result(&report::check::text(path.display(), policy))?;
            }
        }
    }
    let Some(policy) = policy else { return Ok(Exit::Failed) };
    let failures = policy::check_expectations(policy);
    if check.format == CheckFormat::Text {
        for failure in &failures {
            output::warning(&failure.to_string());
        }
    }
    Ok(if failures.is_empty() { Exit::Done } else { Exit::Violated })
}
