//! What someone changed in our table by hand: told from their side, not from that of the edits
//! that mend it.

use super::{View, rules};
use crate::plan::{Edit, Plan};
use crate::report::layout::{labelled, styled};
use crate::report::style;
use anstyle::Style;
use std::fmt::Write as _;

/// The title over what was changed by hand.
pub fn title(plan: &Plan) -> String {
    match &plan.live {
        Some(live) => {
            format!("Changed by hand since fwctl applied generation {}", live.generation)
        }
        None => "Changed by hand".to_owned(),
    }
}

/// What happened to the table, in words and nft's language: `gone`, `added`, `changed`.
pub fn events(plan: &Plan, most: usize) -> Vec<(&'static str, Style, String)> {
    let mut events = Vec::new();
    for edit in &plan.drift {
        let (word, style) = match edit {
            Edit::AddTable
            | Edit::AddSet { .. }
            | Edit::AddChain { .. }
            | Edit::AddRule { .. }
            | Edit::AddElements { .. } => ("gone", style::REMOVED),
            Edit::DeleteRule { .. }
            | Edit::DeleteElements { .. }
            | Edit::DeleteChain { .. }
            | Edit::DeleteSet { .. } => ("added", style::ADDED),
            Edit::Rebuild { .. } => ("changed", style::CHANGED),
        };
        if let Edit::Rebuild { objects } = edit {
            events.push((word, style, objects.join(", ")));
            continue;
        }
        if matches!(edit, Edit::AddTable) {
            events.push((word, style, "the whole table".to_owned()));
            continue;
        }
        for block in rules::blocks(std::iter::once(edit), &plan.table, most) {
            if block.lines.is_empty() {
                events.push((word, style, block.title.clone()));
            }
            for line in &block.lines {
                events.push((word, style, format!("{}: {}", block.title, line.text)));
            }
        }
    }
    events
}

/// The section about it; nothing where nothing was changed.
pub fn text(out: &mut String, plan: &Plan, view: View) {
    if plan.drift.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", styled(style::STRONG, &title(plan)));
    for (word, tint, what) in events(plan, rules::elements_shown(view.verbose)) {
        out.push_str(&labelled(2, &format!("{word} "), tint, &what, view.width));
    }
    let text = "Apply puts the table back as the policy says.";
    let _ = writeln!(out, "  {}", styled(style::FAINT, text));
}
