//! What someone changed in our table by hand: told from their side, not from that of the edits
//! that mend it.

use super::{View, rules};
use crate::model::nft::Element;
use crate::plan::{Edit, Plan};
use crate::report::layout::{labelled, styled, wrap};
use crate::report::style;
use anstyle::Style;
use std::borrow::Cow;
use std::fmt::Write as _;

/// What a reader of both the doors and these changes must know.
pub const REMARK: &str = "Apply puts the table back as the policy says. What a door was before is \
                          told above as it is now, with these changes.";

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
        out.push_str(&labelled(2, &format!("{word:<7}"), tint, &what, view.width));
    }
    for line in wrap(REMARK, view.width.saturating_sub(2)) {
        let _ = writeln!(out, "  {}", styled(style::FAINT, &line));
    }
}

/// The edits less what only mends changes by hand.
pub fn without<'p>(edits: &'p [Edit], drift: &[Edit]) -> Vec<Cow<'p, Edit>> {
    let mended = |edit: &Edit| -> Vec<&Element> {
        let same = |other: &&Edit| match (edit, other) {
            (Edit::AddElements { set, .. }, Edit::AddElements { set: other, .. })
            | (Edit::DeleteElements { set, .. }, Edit::DeleteElements { set: other, .. }) => {
                set == other
            }
            _ => false,
        };
        drift.iter().filter(same).flat_map(elements).collect()
    };
    let mut left = Vec::new();
    for edit in edits.iter().filter(|edit| !drift.contains(edit)) {
        let mended = mended(edit);
        if mended.is_empty() {
            left.push(Cow::Borrowed(edit));
            continue;
        }
        let mut edit = edit.clone();
        if let Edit::AddElements { elements, .. } | Edit::DeleteElements { elements, .. } =
            &mut edit
        {
            elements.retain(|element| !mended.contains(&element));
        }
        if !elements(&edit).is_empty() {
            left.push(Cow::Owned(edit));
        }
    }
    left
}

fn elements(edit: &Edit) -> &[Element] {
    match edit {
        Edit::AddElements { elements, .. } | Edit::DeleteElements { elements, .. } => elements,
        Edit::AddTable
        | Edit::Rebuild { .. }
        | Edit::AddSet { .. }
        | Edit::AddChain { .. }
        | Edit::AddRule { .. }
        | Edit::DeleteRule { .. }
        | Edit::DeleteChain { .. }
        | Edit::DeleteSet { .. } => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plan::fixture;

    #[test]
    fn what_only_mends_changes_by_hand_is_no_change_of_the_policy() {
        let plan = fixture::drifted();
        assert!(without(&plan.edits, &plan.drift).is_empty());
        let (grown, mended) = fixture::mixed();
        let left = without(&grown, &mended);
        assert_eq!(left.iter().map(|edit| elements(edit).len()).collect::<Vec<_>>(), [2]);
    }
}
