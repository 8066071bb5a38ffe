//! Generations as the disk keeps them → text.

use super::layout::{self, Cell, Table};
use super::plan::View;
use super::style;
use crate::apply::Record;
use crate::observe::{By, How};
use crate::policy::Policy;
use std::fmt::Write as _;

/// The longest table whose lines are compared; longer ones differ whole.
const MOST_LINES: usize = 4000;

/// All of them, the newest first.
pub fn list(kept: &[Record], view: View) -> String {
    if kept.is_empty() {
        return "No generation was applied on this host yet.\n".to_owned();
    }
    let _ = view;
    let mut table = Table::default();
    for kept in kept.iter().rev() {
        let plain = anstyle::Style::new;
        let (by, message, at) = about(kept);
        let at = at
            .map_or("time unknown".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
        table.row(vec![
            Cell::new(format!("{:>4}", kept.generation), style::STRONG),
            Cell::new(at, plain()),
            Cell::new(by.map_or("by somebody".to_owned(), who), plain()),
            Cell::new(outcome(kept), plain()),
            Cell::new(message.map_or(String::new(), |text| layout::clean(text)), plain()),
        ]);
    }
    table.render(0)
}

fn about(kept: &Record) -> (Option<&By>, Option<&String>, Option<jiff::Timestamp>) {
    match (&kept.installed, &kept.attempt) {
        (Some(own), _) => (own.by.as_ref(), own.message.as_ref(), Some(own.applied_at)),
        (None, Some(own)) => (own.by.as_ref(), own.message.as_ref(), Some(own.armed_at)),
        (None, None) => (None, None, None),
    }
}

/// Who, and from where.
pub fn who(by: &By) -> String {
    let user = layout::clean(&by.user);
    by.from.map_or(format!("by {user}"), |from| format!("by {user} from {from}"))
}

fn outcome(kept: &Record) -> String {
    let off = kept.installed.is_none() && kept.attempt.is_some();
    let word = match kept.attempt.as_ref().map(|attempt| attempt.end.map(|end| end.how)) {
        None => "applied without waiting",
        Some(None) => "not confirmed yet",
        Some(Some(How::Kept)) => "confirmed",
        Some(Some(How::RolledBack)) => "taken back",
        Some(Some(How::Expired)) => "not confirmed in time",
        Some(Some(How::Lost)) => "lost before it was confirmed",
    };
    if off { format!("off: {word}") } else { word.to_owned() }
}

/// What one of them changed against the one before it.
pub fn changes(kept: &Record, before: Option<&Record>) -> String {
    let (by, message, at) = about(kept);
    let mut out = String::new();
    let at = at.map(|at| at.strftime(", %Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
    let by = by.map(|by| format!(", {}", who(by))).unwrap_or_default();
    let title = format!("Generation {}{at}{by}: {}", kept.generation, outcome(kept));
    let _ = writeln!(out, "{}", layout::styled(style::STRONG, &title));
    if let Some(message) = message {
        let _ = writeln!(out, "{}", layout::clean(message));
    }
    if let Some(snapshot) = kept.installed.as_ref().and_then(|own| own.snapshot.as_ref()) {
        let text = format!("Made for the host whose snapshot has the SHA-256 {snapshot}");
        let _ = writeln!(out, "{}", layout::styled(style::FAINT, &text));
    }
    let Some(table) = &kept.table else {
        out.push_str("\nIt has no table: it took ours out.\n");
        return out;
    };
    let old = before.and_then(|before| before.table.as_deref()).unwrap_or("");
    match before {
        Some(before) => {
            let _ = writeln!(out, "\nRules against generation {}:", before.generation);
        }
        None => out.push_str("\nRules; no earlier generation is kept:\n"),
    }
    let changed = diff(&lines(old), &lines(table));
    if changed.is_empty() {
        out.push_str("  no difference\n");
    }
    for (sign, line) in changed {
        let colour = if sign == '+' { style::ADDED } else { style::REMOVED };
        let text = format!("  {sign} {}", layout::clean(&line));
        let _ = writeln!(out, "{}", layout::styled(colour, &text));
    }
    out
}

/// The files of a policy, as they were written: one alone can be used again as it is.
pub fn policy(policy: Option<&Policy>) -> String {
    let files = policy.map_or(&[][..], |policy| &policy.sources);
    if let [only] = files
        && let Some(text) = &only.text
    {
        return text.clone();
    }
    let mut out = String::new();
    if files.is_empty() {
        out.push_str("# No policy: it took fwctl's table out.\n");
    }
    for file in files {
        let place =
            file.path.as_ref().map_or("built in".to_owned(), |own| own.display().to_string());
        let _ = writeln!(out, "# --- {} ({place})", file.name);
        match &file.text {
            Some(text) => out.push_str(text),
            None => {
                let _ = writeln!(out, "# too long to be kept; its SHA-256 was {}", file.sha256);
            }
        }
    }
    out
}

/// Each line with the chain or set that it stands in, without the marker.
fn lines(table: &str) -> Vec<String> {
    let mut place = String::new();
    let mut lines = Vec::new();
    for line in table.lines().map(str::trim) {
        if let Some(name) = line.strip_suffix(" {") {
            name.clone_into(&mut place);
        }
        if !matches!(line, "" | "}") && !line.contains("fwctl generation ") {
            lines.push(if line.ends_with(" {") {
                place.clone()
            } else {
                format!("{place}: {line}")
            });
        }
    }
    lines
}

/// Lines that only one has, in order (the longest common subsequence stays).
fn diff(old: &[String], new: &[String]) -> Vec<(char, String)> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let signed = |sign: char, lines: &[String]| -> Vec<(char, String)> {
        lines.iter().map(|line| (sign, line.clone())).collect()
    };
    if old.len().max(new.len()) > MOST_LINES {
        return [signed('-', old), signed('+', new)].concat();
    }
    let mut lengths = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i][j] = if old[i] == new[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut changed = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            changed.push(('-', old[i].clone()));
            i += 1;
        } else {
            changed.push(('+', new[j].clone()));
            j += 1;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_differ_are_shown_with_their_place() {
        let old = "table inet t {\n\tchain a {\n\t\taccept\n\t\tdrop\n\t}\n}\n";
        let new = "table inet t {\n\tchain a {\n\t\taccept\n\t\treturn\n\t}\n\tchain b {\n\t}\n}\n";
        assert_eq!(
            diff(&lines(old), &lines(new)),
            [
                ('-', "chain a: drop".to_owned()),
                ('+', "chain a: return".to_owned()),
                ('+', "chain b".to_owned())
            ]
        );
        assert!(diff(&lines(new), &lines(new)).is_empty());
    }
}
