//! `fwctl history`: which generations there were, and what each changed.

use super::apply::state;
use super::{Exit, failure::Failure, inputs::UNTOUCHED, output, output::Output, paths::Paths};
use crate::report;

/// Lists the generations: when, who, why, and what became of each. With one, shows what it changed
/// in the rules.
#[derive(Debug, clap::Args)]
pub struct History {
    /// Show what this generation changed against the one before it
    #[arg(value_name = "GENERATION")]
    pub generation: Option<u32>,

    /// Print the policy from which it was made, as it was written
    #[arg(long = "policy-text", requires = "generation")]
    pub policy_text: bool,
}

/// Lists them.
pub fn run(history: &History, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let kept = state(paths).history();
    let Some(generation) = history.generation else {
        output::data(&report::history::list(&kept, output.view()))?;
        return Ok(Exit::Done);
    };
    let Some(index) = kept.iter().position(|kept| kept.generation == generation) else {
        return Err(Failure::new(
            Exit::Failed,
            format!("generation {generation} is not kept on this host"),
        )
        .state(UNTOUCHED)
        .hint("`fwctl history` lists those that are"));
    };
    if history.policy_text {
        let installed = kept[index].installed.as_ref();
        output::data(&report::history::policy(installed.map(|own| &own.policy)))?;
        return Ok(Exit::Done);
    }
    let before = kept[..index].iter().rev().find(|kept| kept.table.is_some());
    output::data(&report::history::changes(&kept[index], before))?;
    Ok(Exit::Done)
}
