//! A plan for a terminal.

use super::{View, drift, established, guarded, rules, summary, table};
use crate::guard::Findings;
use crate::plan::{Edit, Plan};
use crate::report::exposure::{self, Change, Reach, Row};
use crate::report::layout::{Cell, Table, labelled, styled, wrap};
use crate::report::phrase;
use crate::report::style;
use anstyle::Style;
use std::fmt::Write as _;

/// How many lines of rule changes are shown unless everything is wanted.
const LINES: usize = 60;

/// How many connections are shown unless everything is wanted.
const CONNECTIONS: usize = 20;

/// What apply would change, for a person. `findings` is what the guard says of it, where that is
/// not said by the command itself.
pub fn text(plan: &Plan, findings: Option<&Findings>, view: View) -> String {
    let rows = exposure::rows(&plan.exposure, view.verbose);
    let mut out = String::new();
    head(&mut out, plan, findings, &rows, view);
    if let Some(findings) = findings {
        guarded::text(&mut out, findings, view);
    }
    changes(&mut out, &rows, view);
    kept(&mut out, &rows, view);
    expectations(&mut out, plan, view);
    going_on(&mut out, plan, view);
    let cautions = findings.into_iter().flat_map(guarded::cautions);
    for message in plan.notices.iter().map(|notice| notice.message.clone()).chain(cautions) {
        let _ = writeln!(out);
        out.push_str(&labelled(0, "note:", style::WARNING, &message, view.width));
    }
    out.push_str(&table::text(&rows, plan.outcome, view));
    rule_changes(&mut out, plan, view);
    drift::text(&mut out, plan, view);
    out
}

/// What changes in the table, less what was changed by hand and is only mended.
fn rule_changes(out: &mut String, plan: &Plan, view: View) {
    let edits = drift::without(&plan.edits, &plan.drift);
    let edits: Vec<&Edit> = edits
        .iter()
        .map(AsRef::as_ref)
        .filter(|edit| view.verbose || !rules::is_marker(edit))
        .collect();
    if edits.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", styled(style::STRONG, "Rules of table inet fwctl"));
    let anew = edits.iter().any(|edit| matches!(edit, Edit::AddTable | Edit::Rebuild { .. }));
    if anew && !view.verbose {
        let _ = writeln!(out, "  {}", styled(style::FAINT, "all of them are new (-v shows them)"));
        return;
    }
    let most = rules::elements_shown(view.verbose);
    let blocks = rules::blocks(edits.into_iter(), &plan.table, most);
    out.push_str(&rules::text(&blocks, view.width, (!view.verbose).then_some(LINES)));
}

fn head(out: &mut String, plan: &Plan, findings: Option<&Findings>, rows: &[Row], view: View) {
    for line in wrap(&summary::headline(plan), view.width) {
        let _ = writeln!(out, "{}", styled(style::STRONG, &line));
    }
    for line in wrap(&summary::effect(plan, findings, rows), view.width) {
        let _ = writeln!(out, "{line}");
    }
    let read = plan.taken_at.strftime("The host as it was on %Y-%m-%d at %H:%M:%S UTC.");
    let _ = writeln!(out, "{}", styled(style::FAINT, &read.to_string()));
}

/// The doors that close and open.
pub(super) fn changes(out: &mut String, rows: &[Row], view: View) {
    for (change, title) in [
        (Change::Closes, "Closes"),
        (Change::Opens, "Opens"),
        (Change::Narrows, "Open for less"),
        (Change::Widens, "Open for more"),
    ] {
        doors(out, rows, change, title, view);
    }
}

/// The doors with which this happens: one line for each change where it fits, else the door and
/// its zones below it.
fn doors(out: &mut String, rows: &[Row], change: Change, title: &str, view: View) {
    let mut wide = Table::default();
    let mut narrow = String::new();
    for row in rows {
        let groups: Vec<_> =
            row.changes().into_iter().filter(|(own, _)| *own == change).map(|one| one.1).collect();
        if groups.is_empty() {
            continue;
        }
        let dialled = Cell::new(format!("{} {}", change.sign(), row.dialled), change.style());
        let who = described(row);
        narrow.push_str(&labelled(
            2,
            &format!("{} ", dialled.text),
            dialled.style,
            &who,
            view.width,
        ));
        for (index, group) in groups.iter().enumerate() {
            let first = if index == 0 {
                [dialled.clone(), who.as_str().into()]
            } else {
                [Cell::default(), Cell::default()]
            };
            let [from, change, because] = fate(row, group);
            let reason = format!("{from} ({because})");
            narrow.push_str(&labelled(6, &format!("{change} "), Style::new(), &reason, view.width));
            let because = Cell::new(because, style::FAINT);
            wide.row(first.into_iter().chain([from.into(), change.into(), because]).collect());
        }
    }
    if !wide.is_empty() {
        let _ = writeln!(out, "\n{}", styled(style::STRONG, title));
        out.push_str(&if wide.width(2) <= view.width { wide.render(2) } else { narrow });
    }
}

/// What neighbours keep closed although the policy lets it in.
fn kept(out: &mut String, rows: &[Row], view: View) {
    let mut shown = String::new();
    for row in rows {
        let groups = row.kept();
        if groups.is_empty() {
            continue;
        }
        let dialled = format!("! {} ", row.dialled);
        shown.push_str(&labelled(2, &dialled, style::CHANGED, &described(row), view.width));
        for (rule, group) in groups {
            let after = format!("{} ", phrase::verdict(group[0].after));
            let reason = format!("from {}, by {rule}", row.from(&group));
            shown.push_str(&labelled(6, &after, Style::new(), &reason, view.width));
        }
    }
    if !shown.is_empty() {
        let title = styled(style::STRONG, summary::KEPT);
        let _ = write!(out, "\n{title}\n{shown}");
    }
}

/// Connections that are open, and that the rules would not let in.
fn going_on(out: &mut String, plan: &Plan, view: View) {
    let lines = established::lines(plan, if view.verbose { usize::MAX } else { CONNECTIONS });
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", styled(style::STRONG, established::TITLE));
    for line in lines {
        out.push_str(&labelled(2, "-", style::CHANGED, &line, view.width));
    }
    for line in wrap(established::REMARK, view.width.saturating_sub(2)) {
        let _ = writeln!(out, "  {}", styled(style::FAINT, &line));
    }
}

/// Who answers, and by which way unless that is plain.
fn described(row: &Row) -> String {
    if row.path.is_empty() { row.who.clone() } else { format!("{}, {}", row.who, row.path) }
}

/// From where, from what to what, and why.
fn fate(row: &Row, group: &[&Reach]) -> [String; 3] {
    let from = format!("from {}", row.from(group));
    let (before, after) = (phrase::verdict(group[0].before), phrase::verdict(group[0].after));
    [from, format!("{before} → {after}"), group[0].because.clone()]
}

fn expectations(out: &mut String, plan: &Plan, view: View) {
    let failed: Vec<_> = plan.expectations.iter().filter(|one| !one.failures.is_empty()).collect();
    if failed.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", styled(style::STRONG, "The policy expects, and does not get"));
    for one in failed {
        let place = format!("{} ", one.origin);
        out.push_str(&labelled(2, &place, style::ERROR, &one.says, view.width));
        for failure in &one.failures {
            out.push_str(&labelled(4, "-", style::ERROR, failure, view.width));
        }
    }
}
