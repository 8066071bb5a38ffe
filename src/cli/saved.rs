//! Plans in files: `fwctl plan --out FILE`, and `fwctl apply FILE`.

use super::inputs::UNTOUCHED;
use super::{Exit, failure::Failure};
use crate::observe::Snapshot;
use crate::plan::{self, Plan, Saved};
use crate::policy::Policy;
use crate::report;
use std::path::Path;

/// Saves a plan with its policy.
pub(super) fn write(path: &Path, policy: Policy, plan: Plan) -> Result<(), Failure> {
    std::fs::write(path, Saved::new(policy, plan).to_json()).map_err(|error| {
        let headline = format!("the plan cannot be saved in {}", path.display());
        Failure::from_error(Exit::Failed, headline, &error)
            .state(UNTOUCHED)
            .hint("name a file in a directory that can be written")
    })
}

/// The plan that a file holds.
pub(super) fn read(path: &Path) -> Result<Saved, Failure> {
    let fail = |error: &dyn std::error::Error| {
        let headline = format!("the plan {} cannot be used", path.display());
        Failure::from_error(Exit::Failed, headline, error)
            .state(UNTOUCHED)
            .hint("`fwctl plan --out FILE` saves one; without a file the policy is applied")
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    Saved::from_json(&text).map_err(|error| fail(&error))
}

/// Whether a plan is the one that was reviewed; what is not as it was then is said.
pub(super) fn is_as_reviewed(
    reviewed: &Plan,
    plan: &Plan,
    snapshot: &Snapshot,
) -> Result<(), Failure> {
    let moved = plan::moved(reviewed, plan, &snapshot.sysctls);
    if moved.is_empty() {
        return Ok(());
    }
    let at = reviewed.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    let headline = format!("the host is not as it was when this was planned ({at})");
    let mut failure = Failure::new(Exit::Stale, headline).state(UNTOUCHED);
    failure.causes = moved.iter().map(report::plan::moved).collect();
    Err(failure.hint("`fwctl plan --out FILE` plans anew; review that, then apply it"))
}
