//! Why a plan is not let through, and what mends it.

use super::GuardedPlan;
use crate::model::PortSpec;
use crate::plan::Plan;
use crate::policy::Origin;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One reason why a plan is not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A live SSH session could not be opened anew.
    Session {
        /// The client.
        remote: SocketAddr,
        /// The address and port that it came in on.
        local: SocketAddr,
        /// Whether fwctl runs in it.
        own: bool,
        /// The user, where known.
        user: Option<String>,
        /// The denies that decide; empty where the default does.
        denied_by: Vec<Origin>,
    },
    /// A port on which sshd listens could not be dialled.
    Listener {
        /// Where sshd listens.
        listener: SocketAddr,
        /// From where it must stay reachable, in the policy's words.
        from: String,
        /// An address from there that could not.
        witness: Option<IpAddr>,
        /// The denies that decide; empty where the default does.
        denied_by: Vec<Origin>,
    },
    /// Something that `guard.keep` names could not be dialled.
    Keep {
        /// What.
        port: PortSpec,
        /// From where it must stay reachable, in the policy's words.
        from: String,
        /// An address from there that could not.
        witness: Option<IpAddr>,
        /// The denies that decide; empty where the default does.
        denied_by: Vec<Origin>,
    },
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
    /// What would be lost, in a sentence.
    pub fn message(&self) -> String {
        let by = |denied_by: &[Origin]| match denied_by {
            [] => "no rule allows it".to_owned(),
            origins => {
                let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
                format!("denied by {}", origins.join(", "))
            }
        };
        match self {
            Self::Session { remote, local, own, user, denied_by } => {
                let whose = if *own { "your own SSH session" } else { "a live SSH session" };
                let user = user.as_ref().map(|user| format!(" of {user}")).unwrap_or_default();
                format!(
                    "{whose}{user} from {} to port {} could not be opened again: {}",
                    remote.ip(),
                    local.port(),
                    by(denied_by)
                )
            }
            Self::Listener { listener, from, witness, denied_by } => format!(
                "sshd listens on {listener}, and {from}{} could not reach it: {}",
                example(*witness),
                by(denied_by)
            ),
            Self::Keep { port, from, witness, denied_by } => format!(
                "`guard.keep` names {port}, and {from}{} could not reach it: {}",
                example(*witness),
                by(denied_by)
            ),
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
        let allow = |port: String, from: String| {
            Some(format!("[[allow]]\nports = [\"{port}\"]\nfrom  = [\"{from}\"]\n"))
        };
        match self {
            Self::Session { remote, local, denied_by, .. } if denied_by.is_empty() => {
                allow(format!("{}/tcp", local.port()), remote.ip().to_canonical().to_string())
            }
            Self::Listener { listener, from, denied_by, .. } if denied_by.is_empty() => {
                allow(format!("{}/tcp", listener.port()), from.clone())
            }
            Self::Keep { port, from, denied_by, .. } if denied_by.is_empty() => {
                allow(port.to_string(), from.clone())
            }
            Self::Session { .. }
            | Self::Listener { .. }
            | Self::Keep { .. }
            | Self::Expectation { .. }
            | Self::ForeignDnat { .. } => None,
        }
    }

    /// What else there is to do, or what to do where nothing can simply be added.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Session { denied_by, .. }
            | Self::Listener { denied_by, .. }
            | Self::Keep { denied_by, .. }
                if !denied_by.is_empty() =>
            {
                let origin = denied_by.first()?;
                Some(format!("a deny beats every allow: narrow `from` or the ports of {origin}"))
            }
            Self::Listener { from, .. } | Self::Keep { from, .. } if from == "internet" => Some(
                "where SSH is meant for some only, say for whom it must stay open: \
                 `[guard]` with `from = [...]`"
                    .to_owned(),
            ),
            Self::Session { .. } | Self::Listener { .. } | Self::Keep { .. } => None,
            Self::Expectation { .. } => {
                Some("change the rules, or the expectation if it is not meant".to_owned())
            }
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

fn example(witness: Option<IpAddr>) -> String {
    witness.map(|address| format!(" (for example {address})")).unwrap_or_default()
}

/// A plan that was not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    plan: Plan,
    refusals: Vec<Refusal>,
}

impl Refused {
    pub(super) fn new(plan: Plan, refusals: Vec<Refusal>) -> Box<Self> {
        Box::new(Self { plan, refusals })
    }

    /// Why; never empty.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Lets the plan through all the same. Whoever calls this has said aloud what it risks.
    pub fn override_guard(self) -> GuardedPlan {
        GuardedPlan { plan: self.plan }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guard refused the plan")
    }
}

impl std::error::Error for Refused {}
