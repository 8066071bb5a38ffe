//! What was proved before a change, proved again on what the kernel runs after it.
//!
//! Somebody else may have changed the rules meanwhile, or the kernel may run something else than
//! was predicted. What does not hold then takes the change back.

use super::confirmation::failed;
use super::{Exit, failure::Failure, output};
use crate::analyze::Analyzer;
use crate::apply::{self, Lock, State, Terms, pending};
use crate::guard;
use crate::observe::{self, Snapshot};
use crate::plan;
use crate::policy::Policy;

/// A change that was made, and how it can be taken back.
pub struct Made<'a> {
    /// The lock under which it was made.
    pub lock: &'a Lock,
    /// The policy that it follows.
    pub policy: &'a Policy,
    /// The host before it.
    pub before: &'a Snapshot,
    /// Whether it waits to be confirmed.
    pub waits: bool,
    /// Where fwctl keeps what it did.
    pub state: &'a State,
    /// The kernel.
    pub kernel: &'a apply::Live,
}

/// Proves the ruleset in force; a failure has taken the change back.
pub fn proved(made: &Made<'_>) -> Result<(), Failure> {
    let ruleset = match observe::ruleset(&made.state.run_file(observe::nft::stored::FILE)) {
        Ok(ruleset) => ruleset,
        Err(error) => {
            output::warning(&format!("what is in force could not be proved again: {error}"));
            return Ok(());
        }
    };
    let hooks = observe::hooks(&made.before.links, ruleset.generation);
    let now = Snapshot { ruleset, hooks, ..made.before.clone() };
    let mut causes: Vec<String> = plan::expectations(made.policy, &Analyzer::new(&now))
        .into_iter()
        .flat_map(|result| result.failures)
        .collect();
    let lost = guard::lost_on(made.policy, &now, made.before);
    if causes.is_empty() && lost.is_empty() {
        return Ok(());
    }
    let exit = if lost.is_empty() { Exit::Violated } else { Exit::GuardRefused };
    causes.extend(lost.iter().map(guard::Lost::message));
    let headline = "what was proved beforehand does not hold on the rules in force";
    let mut failure = Failure::new(exit, headline).state(taken_back(made, &now)?);
    failure.causes = causes;
    Err(failure.hint("`fwctl plan` shows the host as it is now; somebody else changed the rules"))
}

/// Takes the change back, and says what is in force.
fn taken_back(made: &Made<'_>, now: &Snapshot) -> Result<&'static str, Failure> {
    const BACK: &str = "the change was taken back: the rules from before are in force";
    const STAYS: &str = "the new rules are in force: they could not be taken back";
    let Made { lock, before, state, .. } = *made;
    let kernel: &dyn apply::Kernel = made.kernel;
    if made.waits {
        pending::roll_back(lock, state, kernel).map_err(|error| failed(&error))?;
        return Ok(BACK);
    }
    if plan::ours(before).is_none() {
        apply::off(lock, state, kernel).map_err(|error| failed(&error))?;
        return Ok("the change was taken back: nothing of fwctl filters");
    }
    let Some(installed) = &before.installed else {
        return Ok("the new rules are in force: nothing is known of the policy from before");
    };
    let back =
        super::apply::planned(&installed.policy, now).map_err(|failure| failure.state(STAYS))?;
    let guarded = match guard::guard(back, &installed.policy, now) {
        Ok(guarded) => guarded,
        // It is what was in force a moment ago.
        Err(refused) => refused.override_guard(),
    };
    let message = Some(format!("back to generation {}", installed.generation));
    let by = installed.by.clone();
    let terms = Terms { by, message, snapshot: None, within: None, cut: false };
    let _applied = apply::apply(lock, guarded, &installed.policy, &terms, state, kernel)
        .map_err(|error| failed(&error).state(STAYS))?;
    Ok(BACK)
}
