//! What the guard says of a plan: why apply would be refused, and what mends that.
//!
//! The words and the TOML are those with which apply refuses. Expectations that fail stand in a
//! section of their own.

use super::View;
use crate::guard::{Caution, Findings, Refusal};
use crate::report::layout::{clean, labelled, styled};
use crate::report::style;
use serde::Serialize;
use std::fmt::Write as _;

/// The heading.
pub const TITLE: &str = "The guard would refuse this: it could lock somebody out";
/// Over the TOML that mends it.
pub const ADD: &str = "add to the policy:";

/// Every reason to refuse but expectations.
pub fn refusals(findings: &Findings) -> impl Iterator<Item = &Refusal> {
    findings.refusals.iter().filter(|refusal| !refusal.is_expectation())
}

/// What to know of ways in that stay open.
pub fn cautions(findings: &Findings) -> impl Iterator<Item = String> {
    findings.cautions.iter().map(Caution::message)
}

/// The TOML that mends all that TOML mends, and what else there is to do; each once.
pub fn mending(findings: &Findings) -> (Vec<String>, Vec<String>) {
    let (mut fixes, mut advice) = (Vec::new(), Vec::new());
    for refusal in refusals(findings) {
        if let Some(fix) = refusal.fix().filter(|fix| !fixes.contains(fix)) {
            fixes.push(fix);
        }
        if let Some(own) = refusal.advice().filter(|own| !advice.contains(own)) {
            advice.push(own);
        }
    }
    (fixes, advice)
}

/// Whether apply would be refused, in a sentence of the summary; empty where it would not.
pub fn sentence(findings: Option<&Findings>) -> &'static str {
    match findings {
        Some(findings) if refusals(findings).next().is_some() => "The guard would refuse it.",
        _ => "",
    }
}

/// The section for a terminal.
pub fn text(out: &mut String, findings: &Findings, view: View) {
    if refusals(findings).next().is_none() {
        return;
    }
    let _ = writeln!(out, "\n{}", styled(style::STRONG, TITLE));
    for refusal in refusals(findings) {
        out.push_str(&labelled(2, "!", style::ERROR, &refusal.message(), view.width));
    }
    let (fixes, advice) = mending(findings);
    for own in advice {
        out.push_str(&labelled(2, "next:", style::STRONG, &own, view.width));
    }
    if !fixes.is_empty() {
        let _ = writeln!(out, "  {} {ADD}\n", styled(style::STRONG, "next:"));
        // Whole lines, to be copied.
        for line in fixes.join("\n").lines() {
            let _ = writeln!(out, "{}", format!("        {}", clean(line)).trim_end());
        }
    }
}

/// The same as JSON; null where nothing would be changed.
#[derive(Debug, Serialize)]
pub struct Guarded {
    refusals: Vec<Told>,
    cautions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Told {
    id: &'static str,
    message: String,
    fix: Option<String>,
    advice: Option<String>,
}

impl Guarded {
    /// All of it, expectations included.
    pub fn of(findings: &Findings) -> Self {
        let told = |refusal: &Refusal| Told {
            id: refusal.id(),
            message: refusal.message(),
            fix: refusal.fix(),
            advice: refusal.advice(),
        };
        Self {
            refusals: findings.refusals.iter().map(told).collect(),
            cautions: cautions(findings).collect(),
        }
    }
}
