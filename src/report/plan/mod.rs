//! A [`Plan`] → text for a terminal, Markdown for a merge request, JSON for a program.
//!
//! The order is that of what a reader must not miss: one line that says it all, the doors that
//! close and open, what the policy demands and does not get, what else to know, every door, and
//! only then the rules. What was changed by hand stands apart.

mod drift;
mod established;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod golden;
mod markdown;
mod rules;
mod summary;
mod table;
mod text;

pub use markdown::markdown;
pub use text::text;

use crate::plan::Plan;

/// The plan as JSON; `docs/json.md` says what its fields mean.
#[allow(clippy::missing_panics_doc, reason = "the invariant holds for every plan")]
pub fn json(plan: &Plan) -> String {
    let mut text = serde_json::to_string_pretty(plan)
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
