//! A plan for a terminal.

use super::{View, drift, rules, summary};
use crate::model::ZoneRef;
use crate::plan::{Edit, Outcome, Plan, Verdict};
use crate::report::exposure::{self, Change, Reach, Row};
use crate::report::layout::{Cell, Table, labelled, styled, wrap};
use crate::report::phrase;
use crate::report::style;
use anstyle::Style;
use std::fmt::Write as _;

/// How many lines of rule changes are shown unless everything is wanted.
const LINES: usize = 60;

/// What apply would change, for a person.
pub fn text(plan: &Plan, view: View) -> String {
    let rows = exposure::rows(&plan.exposure, view.verbose);
    let mut out = String::new();
    head(&mut out, plan, &rows, view);
    for (change, title) in [
        (Change::Closes, "Closes"),
        (Change::Opens, "Opens"),
        (Change::Narrows, "Open for less"),
        (Change::Widens, "Open for more"),
    ] {
        doors(&mut out, &rows, change, title, view);
    }
    expectations(&mut out, plan, view);
    for notice in &plan.notices {
        let _ = writeln!(out);
        out.push_str(&labelled(0, "note:", style::WARNING, &notice.message, view.width));
    }
    out.push_str(&table(&rows, plan.outcome, view));
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

fn head(out: &mut String, plan: &Plan, rows: &[Row], view: View) {
    for line in wrap(&summary::headline(plan), view.width) {
        let _ = writeln!(out, "{}", styled(style::STRONG, &line));
    }
    for line in wrap(&summary::effect(plan, rows), view.width) {
        let _ = writeln!(out, "{line}");
    }
    let read = plan.taken_at.strftime("The host as it was on %Y-%m-%d at %H:%M:%S UTC.");
    let _ = writeln!(out, "{}", styled(style::FAINT, &read.to_string()));
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
        let dialled = Cell::new(format!("{} {}", change.sign(), row.dialled), tint(change));
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

fn tint(change: Change) -> Style {
    match change {
        Change::Closes => style::REMOVED,
        Change::Opens => style::ADDED,
        Change::Narrows | Change::Widens => style::CHANGED,
    }
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

/// Every door and every zone.
fn table(rows: &[Row], outcome: Outcome, view: View) -> String {
    let zones = exposure::zones(rows);
    let (shown, hidden): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| view.verbose || !row.is_minor());
    let shown: Vec<Row> = shown.into_iter().flat_map(Row::by_family).collect();
    let title = match outcome {
        Outcome::Unchanged => "Who can reach what",
        Outcome::Create | Outcome::Update => "Who can reach what, once applied",
    };
    let mut out = format!("\n{}\n", styled(style::STRONG, title));
    if rows.is_empty() {
        let _ = writeln!(out, "  {}", styled(style::FAINT, "nothing listens or is published here"));
        return out;
    }
    // From the richest to the plainest set of columns, the first that fits.
    let fitting = [
        Columns { path: true, why: true, unit: true },
        Columns { path: false, why: true, unit: true },
        Columns { path: true, why: false, unit: true },
        Columns { path: false, why: false, unit: true },
        Columns { path: false, why: false, unit: false },
    ];
    let fitting = fitting.into_iter().find_map(|columns| {
        let table = matrix(&shown, &zones, columns);
        (table.width(2) <= view.width).then(|| table.render(2))
    });
    match fitting {
        Some(text) => out.push_str(&text),
        None => shown.iter().for_each(|row| out.push_str(&paragraph(row, &zones, view))),
    }
    if !hidden.is_empty() {
        let more = phrase::count(hidden.len(), "endpoint");
        let text = format!("and {more} that only the host itself reaches (-v lists them)");
        out.push_str(&labelled(2, "…", style::FAINT, &text, view.width));
    }
    out
}

/// Columns of the matrix that can be left out.
#[derive(Clone, Copy)]
struct Columns {
    path: bool,
    why: bool,
    /// The unit behind the process.
    unit: bool,
}

/// Endpoints down, zones across.
fn matrix(rows: &[Row], zones: &[ZoneRef], Columns { path, why, unit }: Columns) -> Table {
    let path = path && rows.iter().any(|row| !row.path.is_empty());
    let mut table = Table::default();
    let optional = |wanted: bool, text: &str| if wanted { text.to_owned() } else { String::new() };
    let faint = |text: String| Cell::new(text, style::FAINT);
    let mut head = vec!["".into(), faint("port".into()), faint("served by".into())];
    head.push(faint(optional(path, "path")));
    head.extend(zones.iter().map(|zone| faint(zone.to_string())));
    head.push(faint(optional(why, "decided by")));
    table.row(head);
    for row in rows {
        let sign = row.changes().first().map_or(Style::new(), |(change, _)| tint(*change));
        let mut line = vec![Cell::new(row.sign(), sign)];
        line.push(row.dialled.as_str().into());
        line.push(if unit { row.who.as_str() } else { row.server.as_str() }.into());
        line.push(optional(path, &row.path).into());
        line.extend(zones.iter().map(|zone| match row.in_zone(zone) {
            Some(reach) => verdict(reach.after),
            None => Cell::new("·", style::FAINT),
        }));
        let told = row.reach.iter().filter(|reach| zones.contains(&reach.zone));
        let mut reasons: Vec<&str> = told.map(|reach| reach.because.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        line.push(faint(optional(why, &reasons.join("; "))));
        table.row(line);
    }
    table
}

/// One endpoint where the zones do not fit side by side.
fn paragraph(row: &Row, zones: &[ZoneRef], view: View) -> String {
    let sign = if row.sign().is_empty() { " " } else { row.sign() };
    let dialled = format!("{sign} {} ", row.dialled);
    let mut out = labelled(2, &dialled, Style::new(), &row.who, view.width);
    let verdicts =
        [Verdict::Unfiltered, Verdict::Open, Verdict::Limited, Verdict::Partial, Verdict::Closed];
    for word in verdicts {
        let fares = |zone: &&ZoneRef| row.in_zone(zone).is_some_and(|reach| reach.after == word);
        let zones: Vec<String> = zones.iter().filter(fares).map(ToString::to_string).collect();
        if !zones.is_empty() {
            let cell = verdict(word);
            let label = format!("{}:", cell.text);
            out.push_str(&labelled(6, &label, cell.style, &zones.join(", "), view.width));
        }
    }
    out
}

fn verdict(verdict: Verdict) -> Cell {
    let style = match verdict {
        Verdict::Open => style::ADDED,
        Verdict::Limited | Verdict::Partial | Verdict::Unfiltered | Verdict::Unknown => {
            style::CHANGED
        }
        Verdict::Closed => style::FAINT,
    };
    Cell::new(phrase::verdict(verdict), style)
}
