//! Why a plan is not let through, and what mends it.

use super::{Caution, GuardedPlan, Lost};
use crate::plan::Plan;
use crate::policy::Origin;
use std::fmt;

/// One reason why a plan is not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A way in would be lost, or is not known to stay.
    Lost(Box<Lost>),
    /// An expectation of the policy does not hold.
    Expectation {
        /// Where it was written.
        origin: Origin,
        /// What does not hold.
        failure: String,
    },
    /// Something on the host translates destinations in ways that are not fwctl's to judge.
    ForeignDnat {
        /// What: `kubelet`, `docker-swarm`.
        manager: String,
    },
}

impl Refusal {
    /// A stable word for programs.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Lost(lost) => lost.what.id(),
            Self::Expectation { .. } => "expectation",
            Self::ForeignDnat { .. } => "foreign-dnat",
        }
    }

    /// What would be lost, in a sentence.
    pub fn message(&self) -> String {
        match self {
            Self::Lost(lost) => lost.message(),
            Self::Expectation { origin, failure } => {
                format!("the expectation at {origin} does not hold: {failure}")
            }
            Self::ForeignDnat { manager } => format!(
                "{manager} runs here and translates destinations by rules of its own, which this \
                 policy does not judge: services that it publishes may stay reachable"
            ),
        }
    }

    /// The TOML to add to the policy, where adding something mends it.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Lost(lost) => lost.fix(),
            Self::Expectation { .. } | Self::ForeignDnat { .. } => None,
        }
    }

    /// What else there is to do, or what to do where nothing can simply be added.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Lost(lost) => lost.advice(),
            Self::Expectation { .. } => Some(
                "change the rules, or the expectation if it is not meant; a neighbour's rules are \
                 changed by its own commands"
                    .to_owned(),
            ),
            Self::ForeignDnat { .. } => {
                Some("if that is acceptable, say so with `--override-guard`".to_owned())
            }
        }
    }

    /// Whether it is the policy that contradicts itself rather than a way in that would be lost.
    pub fn is_expectation(&self) -> bool {
        matches!(self, Self::Expectation { .. })
    }
}

/// A plan that was not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    plan: Plan,
    refusals: Vec<Refusal>,
    cautions: Vec<Caution>,
}

impl Refused {
    pub(super) fn new(plan: Plan, refusals: Vec<Refusal>, cautions: Vec<Caution>) -> Box<Self> {
        Box::new(Self { plan, refusals, cautions })
    }

    /// Why; never empty.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Lets the plan through all the same. Whoever calls this has said aloud what it risks.
    pub fn override_guard(self) -> GuardedPlan {
        GuardedPlan { plan: self.plan, cautions: self.cautions }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guard refused the plan")
    }
}

impl std::error::Error for Refused {}
