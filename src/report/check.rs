//! What a policy says, counted; and what is wrong with it, for programs.

use super::phrase::{count, list};
use crate::policy::{Diagnostic, Diagnostics, Policy};
use serde::Serialize;

/// The value of `format` in the JSON that [`json`] writes.
pub const FORMAT: &str = "fwctl.check/1";

/// One line about a policy that can be used.
pub fn text(path: impl std::fmt::Display, policy: &Policy) -> String {
    let mut parts = vec![count(policy.allow.len(), "allow")];
    match policy.deny.len() {
        0 => {}
        1 => parts.push("1 deny".to_owned()),
        denies => parts.push(format!("{denies} denies")),
    }
    let mut more = |number: usize, noun: &str| {
        if number > 0 {
            parts.push(count(number, noun));
        }
    };
    more(policy.zones.len(), "zone");
    more(policy.expect.len(), "expectation");
    let others: Vec<String> =
        policy.sources.iter().skip(1).map(|source| source.name.clone()).collect();
    let with = if others.is_empty() { String::new() } else { format!(", with {}", list(&others)) };
    format!("{path}{with}: valid; {}\n", list(&parts))
}

#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    valid: bool,
    diagnostics: Vec<&'a Diagnostic>,
}

/// Whether a policy can be used and what is wrong with it, as JSON.
#[allow(clippy::missing_panics_doc, reason = "the invariant holds for every diagnostic")]
pub fn json(policy: Option<&Policy>, diagnostics: &Diagnostics) -> String {
    let report = Report {
        format: FORMAT,
        valid: policy.is_some(),
        diagnostics: diagnostics.iter().collect(),
    };
    let mut text = serde_json::to_string_pretty(&report)
        .expect("diagnostics are text and numbers, which always serialise");
    text.push('\n');
    text
}
