//! `fwctl rollback`: goes back, from a change that waits or to an earlier generation.

use super::apply::{How, carry_out, host, kernel, lock, state};
use super::confirmation::{Confirmation, failed, nothing_waits};
use super::inputs::UNTOUCHED;
use super::{Exit, cut, failure::Failure, output::Output, paths::Paths, wait};
use crate::apply::pending;

/// Takes back the change that waits to be confirmed; with a generation, applies that one's policy
/// again, as a change that waits to be confirmed in turn.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The generation to go back to; `fwctl history` lists them
    #[arg(value_name = "GENERATION")]
    pub generation: Option<u32>,

    /// How the change is made.
    #[command(flatten)]
    pub confirmation: Confirmation,

    /// Go back although the guard refuses; it says what that risks
    #[arg(long)]
    pub override_guard: bool,

    /// Close the connections that only the change which is taken back has let in; with a
    /// generation, those that it does not let in. Your own SSH sessions are never closed
    #[arg(long)]
    pub cut: bool,
}

/// Goes back.
pub fn run(rollback: &Rollback, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let state = state(paths);
    let Some(generation) = rollback.generation else {
        let lock = lock(&state)?;
        let kernel = kernel()?;
        let before = state.confirmed().ok().flatten();
        let back = pending::roll_back(&lock, &state, &kernel).map_err(|error| failed(&error))?;
        let Some(generation) = back else {
            let last = state.read_attempt().and_then(|a| Some(a.end?.says(a.generation)));
            let mut failure = Failure::new(Exit::Failed, "no change waits to be confirmed");
            failure.causes.extend(last);
            return Err(failure
                .state(UNTOUCHED)
                .hint("`fwctl rollback N` goes back to generation N; `fwctl history` lists them"));
        };
        output.result(&wait::taken_back(generation))?;
        if let Some(before) = before.filter(|_| rollback.cut) {
            // One that took our table out is not kept.
            let change = state.read_generation(generation);
            let change = change.as_ref().map(|change| &change.policy);
            cut::taken_back(change, &before.policy, &state, output);
        }
        return Ok(Exit::Done);
    };
    super::apply::can_ask(rollback.confirmation.yes)?;
    let lock = lock(&state)?;
    let kernel = kernel()?;
    nothing_waits(&lock, &state, &kernel)?;
    let kept = match state.sound_generation(generation) {
        Ok(sound) => sound.installed,
        // What was edited or torn may be anything: it is never applied.
        Err(damage) => {
            let headline = format!("generation {generation} is not kept on this host, or damaged");
            return Err(Failure::from_error(Exit::Failed, headline, &damage)
                .state(UNTOUCHED)
                .hint("`fwctl history` lists those that are kept"));
        }
    };
    let snapshot = host(paths, &state, Some(&lock))?;
    let mut confirmation = rollback.confirmation.clone();
    confirmation.message.get_or_insert_with(|| format!("back to generation {generation}"));
    let how = How {
        confirmation: &confirmation,
        override_guard: rollback.override_guard,
        cut: rollback.cut,
        reviewed: None,
    };
    carry_out(lock, &kept.policy, &snapshot, how, (&state, &kernel), output)
}
