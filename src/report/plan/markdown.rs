//! A plan for a merge request: Markdown as GitHub and GitLab read it.

use super::{drift, established, guarded, rules, summary};
use crate::guard::Findings;
use crate::plan::{Outcome, Plan};
use crate::report::exposure::{self, Change, Row};
use crate::report::layout::clean;
use crate::report::phrase;
use std::fmt::Write as _;

/// What apply would change, for a reviewer. `findings` is what the guard says of it.
pub fn markdown(plan: &Plan, findings: Option<&Findings>) -> String {
    let rows = exposure::rows(&plan.exposure, false);
    let read = plan.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    let mut out = format!("## {}\n\n", escape(&summary::headline(plan)));
    let effect = escape(&summary::effect(plan, findings, &rows));
    let _ = writeln!(out, "{effect}\n\nThe host as it was on {read}.");
    if let Some(findings) = findings {
        refused(&mut out, findings);
    }
    for (change, title) in [
        (Change::Closes, "Closes"),
        (Change::Opens, "Opens"),
        (Change::Narrows, "Open for less"),
        (Change::Widens, "Open for more"),
    ] {
        doors(&mut out, &rows, change, title);
    }
    kept(&mut out, &rows);
    let failed: Vec<_> = plan.expectations.iter().filter(|one| !one.failures.is_empty()).collect();
    if !failed.is_empty() {
        out.push_str("\n### The policy expects, and does not get\n\n");
        for one in failed {
            let _ = writeln!(out, "- {} {}", code(&one.origin.to_string()), escape(&one.says));
            for failure in &one.failures {
                let _ = writeln!(out, "  - {}", escape(failure));
            }
        }
    }
    let open = established::lines(plan, 20);
    if !open.is_empty() {
        let _ = writeln!(out, "\n### {}\n", established::TITLE);
        for line in open {
            let _ = writeln!(out, "- {}", escape(&line));
        }
        let _ = writeln!(out, "\n{}", established::REMARK);
    }
    let cautions = findings.into_iter().flat_map(guarded::cautions);
    for message in plan.notices.iter().map(|notice| notice.message.clone()).chain(cautions) {
        let _ = writeln!(out, "\n> **Note:** {}", escape(&message.replace('\n', " ")));
    }
    if !plan.drift.is_empty() {
        let _ = writeln!(out, "\n### {}\n", drift::title(plan));
        for (word, _, what) in drift::events(plan, rules::elements_shown(false)) {
            let _ = writeln!(out, "- {word}: {}", code(&what));
        }
        let _ = writeln!(out, "\n{}", drift::REMARK);
    }
    table(&mut out, &rows, plan.outcome);
    diff(&mut out, plan);
    out
}

/// Why apply would be refused, and what mends that.
fn refused(out: &mut String, findings: &Findings) {
    if guarded::refusals(findings).next().is_none() {
        return;
    }
    let _ = writeln!(out, "\n### {}\n", guarded::TITLE);
    for refusal in guarded::refusals(findings) {
        let _ = writeln!(out, "- {}", escape(&refusal.message()));
    }
    let (fixes, advice) = guarded::mending(findings);
    for own in advice {
        let _ = writeln!(out, "\nNext: {}", spoken(&own));
    }
    if !fixes.is_empty() {
        // No line of it can end the block: what anyone chose in it is addresses and interfaces.
        let _ = writeln!(out, "\nNext: {}\n\n````toml", guarded::ADD);
        for line in fixes.join("\n").lines() {
            let _ = writeln!(out, "{}", clean(line));
        }
        out.push_str("````\n");
    }
}

/// What neighbours keep closed although the policy lets it in.
fn kept(out: &mut String, rows: &[Row]) {
    let mut lines = String::new();
    for row in rows {
        for (rule, group) in row.kept() {
            let _ = writeln!(
                lines,
                "| {} | {} | {} | {} | {} |",
                escape(&row.dialled),
                escape(&row.who),
                escape(&row.from(&group)),
                phrase::verdict(group[0].after),
                code(rule)
            );
        }
    }
    if !lines.is_empty() {
        let head = "| port | served by | from | is | by |\n|---|---|---|---|---|";
        let _ = write!(out, "\n### {}\n\n{head}\n{lines}", summary::KEPT);
    }
}

fn doors(out: &mut String, rows: &[Row], change: Change, title: &str) {
    let mut lines = String::new();
    for row in rows {
        for (_, group) in row.changes().into_iter().filter(|(own, _)| *own == change) {
            let (before, after) =
                (phrase::verdict(group[0].before), phrase::verdict(group[0].after));
            let who = if row.path.is_empty() {
                row.who.clone()
            } else {
                format!("{}, {}", row.who, row.path)
            };
            let _ = writeln!(
                lines,
                "| {} | {} | {} | {before} → **{after}** | {} |",
                escape(&row.dialled),
                escape(&who),
                escape(&row.from(&group)),
                escape(&group[0].because)
            );
        }
    }
    if !lines.is_empty() {
        let head = "| port | served by | from | | decided by |\n|---|---|---|---|---|";
        let _ = write!(out, "\n### {title}\n\n{head}\n{lines}");
    }
}

fn table(out: &mut String, rows: &[Row], outcome: Outcome) {
    let zones = exposure::zones(rows);
    let title = match outcome {
        Outcome::Unchanged => "Who can reach what",
        Outcome::Create | Outcome::Update => "Who can reach what, once applied",
    };
    let shown: Vec<&Row> = rows.iter().filter(|row| !row.is_minor()).collect();
    let _ = write!(out, "\n<details><summary>{title}</summary>\n\n| | port | served by |");
    for zone in &zones {
        let _ = write!(out, " {} |", escape(&zone.to_string()));
    }
    let _ = writeln!(out, "\n|---|---|---|{}", "---|".repeat(zones.len()));
    for row in shown.iter().flat_map(|row| row.by_family()) {
        let sign = row.sign();
        let sign = if sign.is_empty() { String::new() } else { code(sign) };
        let _ = write!(out, "| {sign} | {} | {} |", escape(&row.dialled), escape(&row.who));
        for zone in &zones {
            let word = row.in_zone(zone).map_or("·", |reach| phrase::verdict(reach.after));
            let _ = write!(out, " {word} |");
        }
        out.push('\n');
    }
    let hidden = rows.len() - shown.len();
    if hidden > 0 {
        let more = phrase::count(hidden, "endpoint");
        let _ = writeln!(out, "\nAnd {more} that only the host itself reaches.");
    }
    out.push_str("\n</details>\n");
}

fn diff(out: &mut String, plan: &Plan) {
    let edits = drift::without(&plan.edits, &plan.drift);
    let edits = edits.iter().map(AsRef::as_ref).filter(|edit| !rules::is_marker(edit));
    let blocks = rules::blocks(edits, &plan.table, rules::elements_shown(false));
    if blocks.is_empty() {
        return;
    }
    let title = "Rules of table inet fwctl";
    let _ = write!(out, "\n<details><summary>{title}</summary>\n\n````diff\n");
    for block in blocks {
        let _ = writeln!(out, "@@ {} {} @@", block.sign.text(), clean(&block.title));
        for line in &block.lines {
            let note =
                if line.note.is_empty() { String::new() } else { format!("  # {}", line.note) };
            let _ =
                writeln!(out, "{} {}", line.sign.text(), clean(&format!("{}{note}", line.text)));
        }
    }
    out.push_str("````\n\n</details>\n");
}

/// Text in which nothing is read as Markdown or HTML: names of processes and containers are
/// anyone's to choose.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in clean(text).chars() {
        if matches!(
            character,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '~' | '@' | '&'
        ) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// A sentence of ours, in which commands stand between backquotes.
fn spoken(text: &str) -> String {
    let part = |(index, part)| if index % 2 == 0 { escape(part) } else { code(part) };
    text.split('`').enumerate().map(part).collect()
}

/// Text in a code span: fenced by more backquotes than it holds in a row.
fn code(text: &str) -> String {
    let text = clean(text).replace('|', "¦");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if longest > 0 { format!("{fence} {text} {fence}") } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_anyone_chose_stay_text() {
        assert_eq!(escape("a|b <script> \x1b[31m"), "a\\|b \\<script\\> ?\\[31m");
        assert_eq!(code("x ``y"), "``` x ``y ```");
        assert_eq!(spoken("try `a <b>` [now]"), "try `a <b>` \\[now\\]");
    }
}
