//! A [`Plan`] → text for a terminal, Markdown for a merge request, JSON for a program.
//!
//! The order is that of what a reader must not miss: one line that says it all, the doors that
//! close and open, what the policy demands and does not get, what else to know, every door, and
//! only then the rules. What was changed by hand stands apart.

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
mod summary;
mod text;

pub use text::text;

/// How much of a plan is shown, and in how many columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Columns.
    pub width: usize,
    /// Everything: long lists whole, and endpoints that nobody else reaches.
    pub verbose: bool,
}
