//! What opens where our table goes, for a terminal.

use super::{View, summary, text};
use crate::plan::EndpointExposure;
use crate::report::exposure;
use crate::report::layout::{labelled, styled, wrap};
use crate::report::style;
use std::fmt::Write as _;

/// What nobody filters any more, for whoever takes the table out.
pub fn off(host: &str, exposure: &[EndpointExposure], view: View) -> String {
    let rows = exposure::rows(exposure, view.verbose);
    let mut out = String::new();
    let headline = format!(
        "{host}: table inet fwctl goes; the rules of others (Docker, ufw, firewalld) stay as they \
         are"
    );
    for line in wrap(&headline, view.width) {
        let _ = writeln!(out, "{}", styled(style::STRONG, &line));
    }
    for line in wrap(&summary::opening(&rows), view.width) {
        let _ = writeln!(out, "{line}");
    }
    text::changes(&mut out, &rows, view);
    let _ = writeln!(out);
    let later = "What begins to listen later, others alone filter then.";
    out.push_str(&labelled(0, "note:", style::WARNING, later, view.width));
    out
}
