//! An [`Exposure`] → text for a terminal, Markdown, JSON.
//!
//! What the policy forbids comes first, then one row for each thing that can be dialled, then why.
//! Both IP versions are one row where they fare the same.

use super::layout::{Cell, Table, labelled, styled};
use super::violations;
use super::{phrase, style};
use crate::analyze::{Exposed, Exposure, Reach, ZoneReach};
use crate::model::{IpFamily, ZoneRef};
use anstyle::Style;
use std::fmt::Write as _;

/// As JSON; `docs/json.md` says what the fields mean.
#[allow(clippy::missing_panics_doc, reason = "the invariant holds for every exposure")]
pub fn json(exposure: &Exposure) -> String {
    let mut text = serde_json::to_string_pretty(exposure)
        .expect("an exposure's maps have text for keys, and its types do not fail to serialise");
    text.push('\n');
    text
}

/// How a verdict is said.
pub fn word(reach: Reach) -> &'static str {
    match reach {
        Reach::Open => "open",
        Reach::Limited => "limited",
        Reach::Partial => "partial",
        Reach::Closed => "closed",
        Reach::Unknown => "unknown",
    }
}

fn colour(reach: Reach) -> Style {
    match reach {
        Reach::Open => style::ADDED,
        Reach::Limited | Reach::Partial | Reach::Unknown => style::WARNING,
        Reach::Closed => style::FAINT,
    }
}

/// A thing that can be dialled, over one IP version or both.
#[derive(Clone)]
struct Row<'e> {
    dialled: String,
    who: String,
    /// The same in a word.
    server: String,
    reach: Vec<&'e ZoneReach>,
}

impl Row<'_> {
    /// Nobody but the host reaches it.
    fn is_minor(&self) -> bool {
        self.reach.iter().all(|reach| reach.verdict == Reach::Closed && reach.violation.is_none())
    }

    fn cell(&self, zone: &ZoneRef) -> Cell {
        let mut words: Vec<Reach> = Vec::new();
        for reach in self.reach.iter().filter(|reach| reach.zone == *zone) {
            if !words.contains(&reach.verdict) {
                words.push(reach.verdict);
            }
        }
        match words[..] {
            [] => Cell::new("·", style::FAINT),
            [only] => Cell::new(word(only), colour(only)),
            _ => {
                words.sort_unstable();
                let text: Vec<&str> = words.iter().map(|own| word(*own)).collect();
                Cell::new(text.join("/"), style::WARNING)
            }
        }
    }
}

fn rows(exposed: &[Exposed]) -> Vec<Row<'_>> {
    let mut whole: Vec<Row<'_>> = Vec::new();
    for own in exposed {
        let (dialled, who) = names(own);
        let server = own.endpoint.as_ref().map(|own| phrase::server(&own.owner));
        let server = server.unwrap_or_default();
        let row = Row { dialled, who, server, reach: own.reach.iter().collect() };
        // A port that is bound to all addresses of either IP version by itself is one to whoever
        // dials.
        let families = |row: &Row<'_>| -> Vec<IpFamily> {
            row.reach.iter().map(|reach| reach.family).collect()
        };
        match whole.last_mut() {
            Some(last)
                if (&last.dialled, &last.who) == (&row.dialled, &row.who)
                    && !families(last).iter().any(|own| families(&row).contains(own)) =>
            {
                last.reach.extend(row.reach);
            }
            _ => whole.push(row),
        }
    }
    whole.into_iter().flat_map(by_family).collect()
}

/// The row, or one for each IP version where they do not fare the same.
fn by_family(row: Row<'_>) -> Vec<Row<'_>> {
    let of = |family: IpFamily| {
        let own = row.reach.iter().copied().filter(|reach| reach.family == family);
        own.collect::<Vec<_>>()
    };
    let (v4, v6) = (of(IpFamily::Ipv4), of(IpFamily::Ipv6));
    let told = |reach: &&ZoneReach| (reach.verdict, reach.violation, reach.address);
    let same = v4.iter().all(|one| {
        let mut other = v6.iter().filter(|other| other.zone == one.zone).peekable();
        other.peek().is_none() || other.any(|other| told(other) == told(one))
    });
    if same || v4.is_empty() || v6.is_empty() {
        return vec![row];
    }
    let each = [("IPv4", v4), ("IPv6", v6)].map(|(suffix, reach)| Row {
        dialled: format!("{} ({suffix})", row.dialled),
        reach,
        ..row.clone()
    });
    each.into()
}

pub(super) fn names(exposed: &Exposed) -> (String, String) {
    if let Some(endpoint) = &exposed.endpoint {
        return (phrase::dialled(endpoint), phrase::who(&endpoint.owner));
    }
    let ports = match exposed.last_port {
        Some(last) => format!("{}-{last}", exposed.port),
        None => exposed.port.to_string(),
    };
    (format!("{ports}/{}", exposed.protocol), String::new())
}

fn zones(exposed: &[Exposed]) -> Vec<ZoneRef> {
    let mut zones: Vec<ZoneRef> = Vec::new();
    for reach in exposed.iter().flat_map(|own| &own.reach) {
        if !zones.contains(&reach.zone) {
            zones.push(reach.zone.clone());
        }
    }
    zones.sort_by_key(phrase::zone_order);
    zones
}

/// For a person.
pub fn text(exposure: &Exposure, width: usize, verbose: bool) -> String {
    let title = format!("{}: who can reach what, by all rules of the host", exposure.host);
    let mut out = format!("{}\n", styled(style::STRONG, &title));
    out.push_str(&violations::text(exposure, width));
    for unseen in &exposure.unseen {
        out.push('\n');
        out.push_str(&labelled(0, "note:", style::WARNING, unseen, width));
    }
    let listening = rows(&exposure.endpoints);
    section(&mut out, "Endpoints", &exposure.endpoints, listening, width, verbose);
    if let Some(ports) = &exposure.ports {
        let title = "Ports that would be reachable if something listened";
        section(&mut out, title, ports, rows(ports), width, verbose);
    }
    out
}

fn family(reach: &ZoneReach) -> String {
    match reach.address {
        Some(address) => format!("over {} at {address}", phrase::family(reach.family)),
        None => format!("over {}", phrase::family(reach.family)),
    }
}

/// The way, who decides, and on what it depends.
pub(super) fn why(reach: &ZoneReach) -> String {
    let mut text = reach.path.clone();
    match &reach.decided_by {
        Some(decider) => {
            let _ = write!(text, "; {decider}");
        }
        None if reach.verdict == Reach::Closed => {}
        None => text.push_str("; no rule filters it"),
    }
    if !reach.depends_on.is_empty() {
        let _ = write!(text, "; depends on {}", phrase::list(&reach.depends_on));
    }
    text
}

fn section(
    out: &mut String,
    title: &str,
    exposed: &[Exposed],
    rows: Vec<Row<'_>>,
    width: usize,
    verbose: bool,
) {
    let zones = zones(exposed);
    let total = rows.len();
    let shown: Vec<Row<'_>> = rows.into_iter().filter(|row| verbose || !row.is_minor()).collect();
    let hidden = total - shown.len();
    let _ = writeln!(out, "\n{}", styled(style::STRONG, title));
    if total == 0 {
        let _ = writeln!(out, "  {}", styled(style::FAINT, "none"));
        return;
    }
    let wide = matrix(&shown, &zones, Columns::Why);
    let is_wide = wide.width(2) <= width;
    // The widest that fits.
    let narrower = [Columns::Who, Columns::Server].map(|columns| matrix(&shown, &zones, columns));
    let mut all = std::iter::once(wide).chain(narrower);
    let table = all.find(|table| table.width(2) <= width);
    let table = table.unwrap_or_else(|| matrix(&shown, &zones, Columns::Zones));
    out.push_str(&table.render(2));
    if hidden > 0 {
        let more = phrase::count(hidden, "endpoint");
        let text = format!("and {more} that only the host itself reaches (-v lists them)");
        out.push_str(&labelled(2, "…", style::FAINT, &text, width));
    }
    if !is_wide {
        reasons(out, &shown, width, verbose);
    }
}

/// What stands beside a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// Who serves it, how every zone fares, and why.
    Why,
    /// All but why.
    Who,
    /// The same, who serves it in a word.
    Server,
    /// How every zone fares.
    Zones,
}

fn matrix(rows: &[Row<'_>], zones: &[ZoneRef], columns: Columns) -> Table {
    let faint = |text: &str| Cell::new(text, style::FAINT);
    let wide = columns == Columns::Why;
    let mut table = Table::default();
    let mut head = vec![faint("port")];
    head.extend((columns != Columns::Zones).then(|| faint("served by")));
    head.extend(zones.iter().map(|zone| faint(&zone.to_string())));
    if wide {
        head.push(faint("why"));
    }
    table.row(head);
    for row in rows {
        let mut line: Vec<Cell> = vec![row.dialled.as_str().into()];
        match columns {
            Columns::Why | Columns::Who => line.push(row.who.as_str().into()),
            Columns::Server => line.push(row.server.as_str().into()),
            Columns::Zones => {}
        }
        line.extend(zones.iter().map(|zone| row.cell(zone)));
        if wide {
            let mut reasons: Vec<String> = Vec::new();
            for reach in row.reach.iter().filter(|reach| reach.verdict != Reach::Closed) {
                let why = why(reach);
                if !reasons.contains(&why) {
                    reasons.push(why);
                }
            }
            line.push(faint(&reasons.join(" | ")));
        }
        table.row(line);
    }
    table
}

/// Why, for each row and what its zones have in common; not again what is not as the policy says.
fn reasons(out: &mut String, rows: &[Row<'_>], width: usize, verbose: bool) {
    let _ = writeln!(out, "\n{}", styled(style::STRONG, "Why"));
    let told =
        |own: &&&ZoneReach| verbose || (own.verdict != Reach::Closed && own.violation.is_none());
    for row in rows {
        let mut groups: Vec<(Reach, String, Vec<String>)> = Vec::new();
        for reach in row.reach.iter().filter(told) {
            let (why, zone) = (why(reach), reach.zone.to_string());
            match groups.iter_mut().find(|own| (own.0, &own.1) == (reach.verdict, &why)) {
                Some(group) if group.2.contains(&zone) => {}
                Some(group) => group.2.push(zone),
                None => groups.push((reach.verdict, why, vec![zone])),
            }
        }
        for (reach, why, zones) in groups {
            let text = format!("{} for {}: {why}", word(reach), phrase::list(&zones));
            out.push_str(&labelled(2, &row.dialled, style::STRONG, &text, width));
        }
    }
}

/// For a merge request or an issue.
pub fn markdown(exposure: &Exposure) -> String {
    let mut out = format!("## {}: who can reach what\n", escape(&exposure.host));
    let found: Vec<_> = exposure.violations().collect();
    if !found.is_empty() {
        out.push_str("\n### Not as the policy says\n\n");
        for (exposed, reach) in found {
            let (dialled, who) = names(exposed);
            let _ = writeln!(
                out,
                "- **{} {}** is {} {} for {}: {}",
                escape(&dialled),
                escape(&who),
                word(reach.verdict),
                family(reach),
                escape(&reach.zone.to_string()),
                escape(&why(reach))
            );
        }
    }
    for unseen in &exposure.unseen {
        let _ = writeln!(out, "\n> {}", escape(unseen));
    }
    for exposed in std::iter::once(&exposure.endpoints).chain(&exposure.ports) {
        let zones = zones(exposed);
        out.push_str("\n| port | served by |");
        for zone in &zones {
            let _ = write!(out, " {} |", escape(&zone.to_string()));
        }
        let _ = writeln!(out, " why |\n|---|---|{}---|", "---|".repeat(zones.len()));
        for row in rows(exposed) {
            let _ = write!(out, "| {} | {} |", escape(&row.dialled), escape(&row.who));
            for zone in &zones {
                let _ = write!(out, " {} |", row.cell(zone).text);
            }
            let mut reasons: Vec<String> = Vec::new();
            for reach in row.reach.iter().filter(|reach| reach.verdict != Reach::Closed) {
                let why = escape(&why(reach));
                if !reasons.contains(&why) {
                    reasons.push(why);
                }
            }
            let _ = writeln!(out, " {} |", reasons.join("<br>"));
        }
    }
    out
}

/// Text in which nothing is read as Markdown or HTML.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in super::layout::clean(text).chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
