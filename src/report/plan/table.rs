//! Who can reach what: every door and every zone.
//!
//! A matrix where the zones fit side by side, with as many columns besides as there is room for;
//! else a paragraph for each door.

use super::View;
use crate::model::ZoneRef;
use crate::plan::{Outcome, Verdict};
use crate::report::exposure::{self, Row};
use crate::report::layout::{Cell, Table, labelled, styled, width as columns};
use crate::report::{phrase, style};
use anstyle::Style;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many columns a server's name may take where there is little room.
const NARROW: usize = 24;

/// The section.
pub fn text(rows: &[Row], outcome: Outcome, view: View) -> String {
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

/// The text, or as much of it as has room, and an ellipsis.
fn clipped(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut clipped = String::new();
    for character in text.chars() {
        if columns(&clipped) + columns(character.encode_utf8(&mut [0; 4])) >= room {
            break;
        }
        clipped.push(character);
    }
    clipped + "…"
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
        let sign = row.changes().first().map_or(Style::new(), |(change, _)| change.style());
        let mut line = vec![Cell::new(row.sign(), sign)];
        line.push(row.dialled.as_str().into());
        line.push(if unit { row.who.clone() } else { clipped(&row.server, NARROW) }.into());
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
    let mut fares: BTreeMap<Verdict, Vec<String>> = BTreeMap::new();
    for zone in zones {
        if let Some(reach) = row.in_zone(zone) {
            fares.entry(reach.after).or_default().push(zone.to_string());
        }
    }
    let everywhere = fares.len() == 1;
    for (word, zones) in fares {
        let cell = verdict(word);
        let zones =
            if everywhere && zones.len() > 1 { "everywhere".to_owned() } else { zones.join(", ") };
        let label = format!("{}:", cell.text);
        out.push_str(&labelled(6, &label, cell.style, &zones, view.width));
    }
    out
}

fn verdict(verdict: Verdict) -> Cell {
    let style = match verdict {
        Verdict::Open => style::ADDED,
        Verdict::Limited | Verdict::Partial | Verdict::Unknown => style::CHANGED,
        Verdict::Closed => style::FAINT,
    };
    Cell::new(phrase::verdict(verdict), style)
}
