//! `Plan` + `Snapshot` → `GuardedPlan`, or a refusal that says what to add.
//!
//! In: a plan, the policy that it came from and the host that it is for. Out: the only value that
//! [`crate::apply`] takes, or every reason why the change would lock somebody out, each with the
//! TOML that mends it. Pure.

mod refusal;
mod ssh;

pub use refusal::{Refusal, Refused};

use crate::observe::Snapshot;
use crate::plan::Plan;
use crate::policy::Policy;

/// A plan that locks nobody out, or that somebody insisted on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct GuardedPlan {
    plan: Plan,
}

impl GuardedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan, for the one stage that carries it out.
    pub fn into_plan(self) -> Plan {
        self.plan
    }
}

/// Lets the plan through where every SSH session and listener of the host stays reachable, the
/// policy's expectations hold, and nobody else's DNAT is involved that cannot be judged.
pub fn guard(
    plan: Plan,
    policy: &Policy,
    snapshot: &Snapshot,
) -> Result<GuardedPlan, Box<Refused>> {
    let mut refusals = ssh::refusals(policy, snapshot);
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
    if refusals.is_empty() { Ok(GuardedPlan { plan }) } else { Err(Refused::new(plan, refusals)) }
}
