//! `fwctl exposure`: who can reach what on this host, and why.

use super::args::{Global, Host};
use super::plan::Format;
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths};
use crate::analyze::{Analyzer, exposure};
use crate::report::reachability;

/// Shows who can reach what on this host, by all its rules, those of Docker, ufw and others
/// included. Changes nothing.
#[derive(Debug, clap::Args)]
pub struct Exposure {
    /// Which host.
    #[command(flatten)]
    pub host: Host,

    /// Exit with 5 where more is open than the policy lets, or that cannot be ruled out
    #[arg(long)]
    pub check: bool,

    /// Show every port too that would be reachable if something listened
    #[arg(long)]
    pub ports: bool,

    /// What to print
    #[arg(
        long,
        value_name = "text|json|markdown",
        default_value = "text",
        hide_possible_values = true
    )]
    pub format: Format,
}

/// Analyses and prints.
pub fn run(
    asked: &Exposure,
    global: &Global,
    paths: &Paths,
    output: &Output,
) -> Result<Exit, Failure> {
    // Without a policy nothing is compared; who asks for a check, or names a file, means one.
    let wanted = asked.check || global.policy.is_some();
    let policy = if wanted || inputs::policy_path(global, paths).exists() {
        Some(inputs::policy(global, paths, output.width)?)
    } else {
        None
    };
    let snapshot = inputs::snapshot(&asked.host, paths)?;
    let analyzer = Analyzer::new(&snapshot);
    let found = exposure(&analyzer, policy.as_ref(), asked.ports);
    output::data(&match asked.format {
        Format::Text => reachability::text(&found, output.width, output.verbose),
        Format::Json => reachability::json(&found),
        Format::Markdown => reachability::markdown(&found),
    })?;
    let violated = found.violations().next().is_some();
    Ok(if asked.check && violated { Exit::Violated } else { Exit::Done })
}
