//! Results of the stages → text, JSON, Markdown.
//!
//! In: values. Out: text. Pure: the same value and width give the same text. Text for terminals
//! carries styles as escape sequences, which [`crate::cli`] strips where they are not wanted;
//! nothing is said by colour alone.

pub mod check;
pub mod explain;
pub mod exposure;
pub mod history;
pub mod layout;
pub mod phrase;
pub mod plan;
pub mod reachability;
pub mod status;
pub mod style;
mod violations;
