//! `fwctl`: a host firewall and network-exposure manager.
//!
//! One direction of flow, and one folder for each stage of it:
//!
//! ```text
//! policy file ─ policy ─┐
//!                       ├─ compile ─ plan ─ guard ─ apply
//! live host ── observe ─┘
//!                                    report: text, JSON, Markdown
//! ```
//!
//! A stage imports [`model`] and the results of earlier stages, never later ones
//! (`tests/layers.rs` fails otherwise). Everything between [`observe`] and [`apply`] is a pure
//! function of its inputs; only [`guard`] can build what [`apply`] accepts.

pub mod analyze;
pub mod apply;
pub mod cli;
pub mod compile;
pub mod guard;
pub mod model;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod report;
