//! `Plan` + `Snapshot` → `GuardedPlan`, or a refusal that says what to add.
//!
//! In: a plan, the policy that it came from and the host that it is for. Out: the only value that
//! [`crate::apply`] takes, or every reason why the change would lock somebody out, each with the
//! rule that does it and the TOML, or else the command, that mends it. What is proved is proved on
//! the whole ruleset as it will be, neighbours included; what is not known is not proved. Pure.

mod caution;
mod layers;
mod lost;
mod mend;
mod outer;
mod ports;
mod proof;
mod refusal;
mod sessions;

pub use caution::Caution;
pub use lost::{Cause, Lost, What};
pub use refusal::{Refusal, Refused};

use crate::analyze::Analyzer;
use crate::compile;
use crate::observe::Snapshot;
use crate::plan::{Plan, pending};
use crate::policy::Policy;
use proof::Proof;

/// A plan that locks nobody out, or that somebody insisted on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct GuardedPlan {
    plan: Plan,
    cautions: Vec<Caution>,
}

impl GuardedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What holds, and whoever applies it should know all the same.
    pub fn cautions(&self) -> &[Caution] {
        &self.cautions
    }

    /// The plan, for the one stage that carries it out.
    pub fn into_plan(self) -> Plan {
        self.plan
    }
}

/// What the guard says of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Every reason against it; where there is none, it is let through.
    pub refusals: Vec<Refusal>,
    /// What holds, and whoever applies it should know all the same.
    pub cautions: Vec<Caution>,
}

/// What there is to say of a plan: for apply, and beforehand for its reader.
pub fn findings(plan: &Plan, policy: &Policy, snapshot: &Snapshot) -> Findings {
    let without = pending::host_without(snapshot);
    let snapshot = without.as_ref();
    // Connections that are carried over go on by it, and open nothing anew.
    let lasting = compile::lasting(&plan.table);
    let live = Analyzer::new(snapshot);
    let later = live.with_own(Some(lasting.as_ref()));
    let carrying = live.with_own(Some(&plan.table));
    let proof = Proof::new(policy, snapshot, (&live, &later, &carrying));
    let (lost, cautions) = proof.all();
    let mut refusals: Vec<Refusal> =
        lost.into_iter().map(|lost| Refusal::Lost(Box::new(lost))).collect();
    for result in &plan.expectations {
        for failure in &result.failures {
            refusals.push(Refusal::Expectation {
                origin: result.origin.clone(),
                failure: failure.clone(),
            });
        }
    }
    for manager in &snapshot.host.managers {
        if matches!(manager.as_str(), "kubelet" | "docker-swarm") {
            refusals.push(Refusal::ForeignDnat { manager: manager.clone() });
        }
    }
    Findings { refusals, cautions }
}

/// Lets the plan through where every SSH session of the host goes on and could be opened anew,
/// sshd and what `guard.keep` names stay reachable, the policy's expectations hold, and nobody
/// else's DNAT is involved that cannot be judged.
pub fn guard(
    plan: Plan,
    policy: &Policy,
    snapshot: &Snapshot,
) -> Result<GuardedPlan, Box<Refused>> {
    let Findings { refusals, cautions } = findings(&plan, policy, snapshot);
    if refusals.is_empty() {
        Ok(GuardedPlan { plan, cautions })
    } else {
        Err(Refused::new(plan, refusals, cautions))
    }
}

/// What is lost on a host as it is: for what was read back after a change. `before` is the host as
/// it was before that; what was closed then already is not lost.
pub fn lost_on(policy: &Policy, snapshot: &Snapshot, before: &Snapshot) -> Vec<Lost> {
    let (before, now) = (Analyzer::new(before), Analyzer::new(snapshot));
    Proof::new(policy, snapshot, (&before, &now, &now)).all().0
}
