//! `fwctl restore`: loads the confirmed generation, as boot does.

use super::apply::{kernel, lock, state};
use super::inputs::UNTOUCHED;
use super::{Exit, failure::Failure, output, output::Output, paths::Paths};
use crate::apply::restore::{Ground, Outcome, RestoreError, Restored, restore};
use crate::apply::{Found, Live, Lock, State, StateError, pending};
use crate::compile::Environment;
use crate::observe;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long another fwctl may be at work before boot gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads it.
pub fn run(paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let state = state(paths);
    let lock = patient_lock(&state)?;
    match report(restored(&lock, &state, paths)?)? {
        Outcome::NothingConfirmed => output.result(
            "Nothing to restore: no generation is confirmed (nothing was applied yet, or fwctl is \
             off).\n",
        )?,
        Outcome::InForce(generation) => {
            output.result(&format!("Nothing to change: generation {generation} is in force.\n"))?;
        }
        Outcome::Loaded(generation) => {
            output.result(&format!("Generation {generation} is in force.\n"))?;
        }
        Outcome::SshOnly(_) => {}
    }
    Ok(Exit::Done)
}

/// Restores on this host.
pub(super) fn restored(lock: &Lock, state: &State, paths: &Paths) -> Result<Restored, Failure> {
    let kernel = kernel()?;
    settled(lock, state, &kernel)?;
    // Early in a boot there may be no interface yet; the kept table names what it needs itself.
    let network = observe::network().unwrap_or_default();
    let ground = Ground {
        environment: Environment::of_links(&network.links, &network.routes),
        ssh_ports: observe::ssh_ports(paths.root().unwrap_or(Path::new("/"))),
    };
    restore(lock, state, &kernel, &ground).map_err(|error| {
        if let RestoreError::Refused { passed_over, .. } = &error {
            for why in passed_over {
                output::warning(why);
            }
        }
        Failure::from_error(Exit::Failed, "no rules of fwctl could be loaded", &error)
            .state("the rules in force are those from before; at boot: none of fwctl")
            .hint("`fwctl status` shows what is in force; `fwctl apply` makes a new generation")
    })
}

/// Says what became of a change that was pending; one that still rules is not restored over.
fn settled(lock: &Lock, state: &State, kernel: &Live) -> Result<(), Failure> {
    match pending::settle(lock, state, kernel) {
        Ok(Found::Nothing) => {}
        Ok(Found::Ended { generation, end }) => output::warning(&end.says(generation)),
        Ok(Found::Waiting { generation, .. }) => {
            let headline = format!("generation {generation} rules, and waits to be confirmed");
            return Err(Failure::new(Exit::Busy, headline)
                .state(UNTOUCHED)
                .hint("`fwctl confirm` keeps it, `fwctl rollback` takes it back"));
        }
        // What is confirmed can be loaded all the same.
        Err(error) => output::warning(&format!("what became of a pending change: {error}")),
    }
    Ok(())
}

/// Gives what is in force, or a failure where that is not what was confirmed.
pub(super) fn report(restored: Restored) -> Result<Outcome, Failure> {
    let Restored { outcome, passed_over } = restored;
    let state = match &outcome {
        _ if passed_over.is_empty() => return Ok(outcome),
        Outcome::InForce(generation) => {
            format!("generation {generation} is in force")
        }
        Outcome::Loaded(generation) => {
            format!("generation {generation}, which was confirmed before, is in force instead")
        }
        Outcome::SshOnly(ports) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!(
                "SSH alone is let in (port {}), and connections that are open go on",
                ports.join(", ")
            )
        }
        Outcome::NothingConfirmed => "nothing was changed".to_owned(),
    };
    let headline = "the confirmed generation is damaged on disk";
    let mut failure = Failure::new(Exit::Failed, headline)
        .state(state)
        .hint("`fwctl apply` makes a new generation from the policy");
    failure.causes = passed_over;
    Err(failure)
}

/// Takes the lock; another fwctl, such as the one that watches, is given some time.
fn patient_lock(state: &State) -> Result<Lock, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match state.lock() {
            Ok(lock) => return Ok(lock),
            Err(StateError::Locked { .. }) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(_) => return lock(state),
        }
    }
}
