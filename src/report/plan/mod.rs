//! A [`Plan`] → text for a terminal, Markdown for a merge request, JSON for a program.
//!
//! The order is that of what a reader must not miss: one line that says it all, why the guard would
//! refuse it, the doors that close and open, what the policy demands and does not get, what else to know, every door, and
//! only then the rules. What was changed by hand stands apart.

mod drift;
mod established;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod golden;
mod guarded;
mod markdown;
mod moved;
mod off;
mod rules;
mod summary;
mod table;
mod text;

pub use markdown::markdown;
pub use moved::moved;
pub use off::off;
pub use text::text;

use crate::guard::Findings;
use crate::plan::Plan;
use guarded::Guarded;
use serde::Serialize;

/// The plan as JSON; `docs/json.md` says what its fields mean. `findings` is what the guard says of
/// it; `None` where there is nothing to apply.
#[allow(clippy::missing_panics_doc, reason = "the invariant holds for every plan")]
pub fn json(plan: &Plan, findings: Option<&Findings>) -> String {
    #[derive(Serialize)]
    struct Document<'p> {
        #[serde(flatten)]
        plan: &'p Plan,
        guard: Option<Guarded>,
    }
    let document = Document { plan, guard: findings.map(Guarded::of) };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("a plan's maps have text for keys, and its types do not fail to serialise");
    text.push('\n');
    text
}

/// How much of a plan is shown, and in how many columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Columns.
    pub width: usize,
    /// Everything: long lists whole, and endpoints that nobody else reaches.
    pub verbose: bool,
}
