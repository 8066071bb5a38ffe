//! `fwctl apply`: makes this host as the policy says.

use super::args::Global;
use super::confirmation::{Confirmation, failed, nothing_waits, tried};
use super::inputs::{self, UNTOUCHED};
use super::proof::{self, Made};
use super::{Exit, failure::Failure, output, output::Output, paths::Paths, saved, wait};
use crate::apply::{self, Applied, Lock, Seen, State, StateError, Terms, pending};
use crate::compile::Environment;
use crate::guard::{self, Caution, GuardedPlan, Refused};
use crate::observe::{self, Snapshot};
use crate::plan::{self, Outcome, Plan, Saved};
use crate::policy::Policy;
use crate::report;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// Shows what changes, checks that nobody is locked out, and changes the rules in one transaction.
/// The kernel takes the change back by itself unless it is confirmed in time, by `keep` at the
/// prompt or by `fwctl confirm` from anywhere, even if every process here dies.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// A plan that `fwctl plan --out` has saved, with its policy; it is refused where the host is not
    /// as it was then
    #[arg(value_name = "PLANFILE", conflicts_with = "policy")]
    pub planfile: Option<PathBuf>,

    /// How the change is made.
    #[command(flatten)]
    pub confirmation: Confirmation,

    /// Apply although the guard refuses; it says what that risks
    #[arg(long)]
    pub override_guard: bool,

    /// Once the change is kept, close the connections that are open and that it does not let in;
    /// the plan lists them. Your own SSH sessions are never closed
    #[arg(long)]
    pub cut: bool,
}

/// Applies.
pub fn run(
    apply: &Apply,
    global: &Global,
    paths: &Paths,
    output: &Output,
) -> Result<Exit, Failure> {
    can_ask(apply.confirmation.yes)?;
    let saved = apply.planfile.as_deref().map(saved::read).transpose()?;
    let (policy, reviewed) = match saved {
        Some(Saved { policy, plan, .. }) => (policy, Some(plan)),
        None => (inputs::policy(global, paths, output.width)?, None),
    };
    let state = state(paths);
    let lock = lock(&state)?;
    if !apply.cut
        && reviewed.is_none()
        && let Some(generation) = unchanged(&policy, &state)
    {
        return report_unchanged(generation, output);
    }
    let kernel = kernel()?;
    nothing_waits(&lock, &state, &kernel)?;
    let snapshot = host(paths, &state, Some(&lock))?;
    let how = How {
        confirmation: &apply.confirmation,
        override_guard: apply.override_guard,
        cut: apply.cut,
        reviewed: reviewed.as_ref(),
    };
    carry_out(lock, &policy, &snapshot, how, (&state, &kernel), output)
}

/// How a policy is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    pub confirmation: &'a Confirmation,
    pub override_guard: bool,
    pub cut: bool,
    /// The plan that was reviewed: only that is made.
    pub reviewed: Option<&'a Plan>,
}

/// Makes this host as the policy says.
pub(super) fn carry_out(
    lock: Lock,
    policy: &Policy,
    snapshot: &Snapshot,
    How { confirmation, override_guard, cut, reviewed }: How<'_>,
    (state, kernel): (&State, &apply::Live),
    output: &Output,
) -> Result<Exit, Failure> {
    let plan = planned(policy, snapshot)?;
    if plan.outcome == Outcome::Unchanged {
        if let Some(violated) = violated(&plan) {
            return Err(violated);
        }
        let seen = (plan.desired.generation, snapshot.ruleset.generation);
        remember(policy, snapshot, seen, state);
        if cut {
            output.show(&report::plan::text(&plan, None, output.view()));
            let terms = confirmation.terms(policy.guard.confirm_within, snapshot);
            super::cut::denied(policy, user(&terms), snapshot, output);
        }
        return report_unchanged(plan.desired.generation, output);
    }
    if let Some(reviewed) = reviewed {
        saved::is_as_reviewed(reviewed, &plan, snapshot)?;
    }
    output.show(&report::plan::text(&plan, None, output.view()));
    let mut insisted = false;
    let guarded = match guard::guard(plan, policy, snapshot) {
        Ok(guarded) => guarded,
        Err(refused) if override_guard => {
            insisted = true;
            overridden(*refused, confirmation)?
        }
        Err(refused) => return Err(refusal(&refused)),
    };
    for caution in guarded.cautions() {
        match caution {
            Caution::NoSsh => output.note(&caution.message()),
            _ => output::warning(&caution.message()),
        }
    }
    if !confirmation.yes && !agreed("\nApply this?") {
        return Err(Failure::new(Exit::Failed, "not applied: the answer was no").state(UNTOUCHED));
    }
    let made = |lock, waits| Made { lock, policy, before: snapshot, waits, state, kernel };
    let terms = Terms { cut, ..confirmation.terms(policy.guard.confirm_within, snapshot) };
    let Some(within) = terms.within else {
        let applied = apply::apply(&lock, guarded, policy, &terms, state, kernel);
        if let Applied::InForce { generation, ruleset } = applied.map_err(|error| failed(&error))? {
            if !insisted {
                proof::proved(&made(&lock, false))?;
            }
            if let Some(ruleset) = ruleset {
                remember(policy, snapshot, (generation, ruleset), state);
            }
            output.result(&format!("Generation {generation} is in force.\n"))?;
            if cut {
                super::cut::now(policy, user(&terms), state, output);
            }
        }
        return Ok(Exit::Done);
    };
    tried(state)?;
    super::cut::remember(policy, snapshot, state);
    let terminal = wait::Terminal::open();
    let armed = pending::arm(&lock, guarded, policy, (&terms, within), state, kernel);
    match armed.map_err(|error| failed(&error))? {
        Applied::Pending { generation, within } => {
            if !insisted {
                proof::proved(&made(&lock, true))?;
            }
            let change =
                wait::Waits { generation, within, on_reconnect: confirmation.confirm_on_reconnect };
            wait::wait(lock, terminal.as_ref(), change, state, kernel, output)
        }
        Applied::Unchanged | Applied::InForce { .. } => Ok(Exit::Done),
    }
}

/// Who makes the change.
fn user(terms: &Terms) -> Option<&str> {
    terms.by.as_ref().map(|by| by.user.as_str())
}

/// What does not hold although there is nothing to change.
fn violated(plan: &Plan) -> Option<Failure> {
    let failures = plan.expectations.iter().flat_map(|result| &result.failures);
    let causes: Vec<String> = failures.cloned().collect();
    if causes.is_empty() {
        return None;
    }
    let headline = "there is nothing to change, and yet not all that the policy expects holds";
    let mut failure = Failure::new(Exit::Violated, headline).state(UNTOUCHED);
    failure.causes = causes;
    Some(failure.hint("change the rules that decide; a neighbour's by its own commands"))
}

/// Where fwctl keeps what it did.
pub(super) fn state(paths: &Paths) -> State {
    State::below(paths.root().unwrap_or(Path::new("/")))
}

/// Takes the lock, or says who has it.
pub(super) fn lock(state: &State) -> Result<Lock, Failure> {
    state.lock().map_err(|error| match &error {
        StateError::Locked { .. } => Failure::new(Exit::Busy, error.to_string())
            .state(UNTOUCHED)
            .hint("wait until it has ended, then try again"),
        StateError::Io { .. } => {
            Failure::from_error(Exit::Failed, "the lock cannot be taken", &error)
                .state(UNTOUCHED)
                .hint("run fwctl as root")
        }
    })
}

/// What apply needs to change the kernel.
pub(super) fn kernel() -> Result<apply::Live, Failure> {
    apply::Live::new().map_err(|error| {
        Failure::from_error(Exit::Failed, "the rules cannot be changed", &error)
            .state(UNTOUCHED)
            .hint("`apt-get install nftables`, then try again")
    })
}

/// This host; it is a failure where the rules in force are not known.
pub(super) fn host(paths: &Paths, state: &State, lock: Option<&Lock>) -> Result<Snapshot, Failure> {
    let mut snapshot = inputs::live(paths)?;
    // A death between the kernel's commit and the record on disk leaves the record behind: the
    // kernel is believed.
    let mended = apply::believe_the_kernel(&mut snapshot, state, lock);
    if let Err(error) = mended {
        output::warning(&format!("the record of the generation in force is old: {error}"));
    }
    Ok(snapshot)
}

/// The plan for a host; what it cannot enforce is a failure.
pub(super) fn planned(policy: &Policy, snapshot: &Snapshot) -> Result<Plan, Failure> {
    plan::plan(policy, snapshot).map_err(|errors| {
        let mut failure =
            Failure::new(Exit::Failed, "the policy cannot be enforced on this host as it is")
                .state(UNTOUCHED)
                .hint("mend the policy, then try again");
        failure.causes = errors.iter().map(ToString::to_string).collect();
        failure
    })
}

/// The generation in force, where nothing has changed since it was last found to be right: no
/// transaction of anybody, no file of the policy, no interface that the table names.
fn unchanged(policy: &Policy, state: &State) -> Option<u32> {
    let seen = Seen::read(state)?;
    if policy.names_container_networks() {
        // Only the engine knows which bridge a network has today.
        return None;
    }
    if state.confirmed().ok().flatten()?.generation != seen.generation {
        // fwctl died before the disk knew what is in force.
        return None;
    }
    let network = observe::network().ok()?;
    let environment = Environment::of_links(&network.links, &network.routes);
    let ruleset = observe::nft::generation().ok()?;
    let now = Seen::now(policy, &environment, ruleset, seen.generation).ok()?;
    seen.still_holds(&now).then_some(seen.generation)
}

/// Keeps what was seen, for [`unchanged`]. Without it the next look is longer, nothing else.
fn remember(
    policy: &Policy,
    snapshot: &Snapshot,
    (generation, ruleset): (u32, u32),
    state: &State,
) {
    if policy.names_container_networks() {
        return;
    }
    let environment = Environment::of_links(&snapshot.links, &snapshot.routes);
    apply::remember_sets(&snapshot.ruleset, state);
    if let Ok(seen) = Seen::now(policy, &environment, ruleset, generation) {
        let _ = seen.write(state);
    }
}

fn report_unchanged(generation: u32, output: &Output) -> Result<Exit, Failure> {
    output.result(&format!("Nothing to change: generation {generation} is in force.\n"))?;
    Ok(Exit::Done)
}

/// Says aloud what is risked. The way back stays: who may lock himself out cannot keep it at once.
fn overridden(refused: Refused, confirmation: &Confirmation) -> Result<GuardedPlan, Failure> {
    let lost = |refusal: &guard::Refusal| matches!(refusal, guard::Refusal::Lost(_));
    if confirmation.no_confirm && refused.refusals().iter().any(lost) {
        let mut failure = refusal(&refused);
        failure.hints = vec![
            "leave out `--no-confirm`: then the kernel takes the change back by itself unless you \
             confirm it"
                .to_owned(),
        ];
        return Err(failure);
    }
    for refusal in refused.refusals() {
        output::warning(&format!("overridden: {}", refusal.message()));
    }
    Ok(refused.override_guard())
}

fn refusal(refused: &Refused) -> Failure {
    let expectations = refused.refusals().iter().all(guard::Refusal::is_expectation);
    let (exit, headline) = if expectations {
        (Exit::Violated, "the policy does not do what it expects of itself")
    } else {
        (Exit::GuardRefused, "the guard refused: this change could lock somebody out")
    };
    let mut failure = Failure::new(exit, headline).state(UNTOUCHED);
    let mut fixes: Vec<String> = Vec::new();
    for refusal in refused.refusals() {
        failure.causes.push(refusal.message());
        if let Some(fix) = refusal.fix()
            && !fixes.contains(&fix)
        {
            fixes.push(fix);
        }
        if let Some(advice) = refusal.advice()
            && !failure.hints.contains(&advice)
        {
            failure.hints.push(advice);
        }
    }
    if !fixes.is_empty() {
        failure.hints.push(format!("add to the policy:\n\n{}", fixes.join("\n")));
    }
    failure
}

/// Whether there will be somebody to ask; said before any work is done.
pub(super) fn can_ask(yes: bool) -> Result<(), Failure> {
    if yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "nobody can be asked: there is no terminal")
        .state(UNTOUCHED)
        .hint("`--yes` answers beforehand"))
}

/// Asks on the terminal.
pub(super) fn agreed(question: &str) -> bool {
    output::aside(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
