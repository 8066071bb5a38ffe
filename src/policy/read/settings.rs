//! `[default]` and `[guard]`.

use super::document::Document;
use super::table::Table;
use super::values;
use crate::policy::diagnostic::{At, Problem};
use crate::policy::suggest::did_you_mean;
use crate::policy::{Forwarded, Inbound};

pub(super) fn default(root: &mut Table<'_, '_>, document: &mut Document) {
    let Some((at, table)) = root.table("default") else { return };
    let mut table = Table::new(root.problems, "[default]", at, table);
    table.only(&["inbound", "outbound", "forwarded", "ping", "log"]);
    let default = &mut document.default;
    default.inbound = choice(
        &mut table,
        "inbound",
        &[("drop", Inbound::Drop), ("reject", Inbound::Reject), ("accept", Inbound::Accept)],
    );
    default.forwarded =
        choice(&mut table, "forwarded", &[("keep", Forwarded::Keep), ("drop", Forwarded::Drop)]);
    default.ping = table.truth("ping");
    outbound(&mut table);
    let Some(log) = table.text_or_truth("log") else { return };
    match log.value {
        Ok(text) => {
            let rate = values::rate(table.problems, &At { value: text, at: log.at.clone() });
            default.log = rate.map(|rate| At { value: Some(rate), at: log.at });
        }
        Err(false) => default.log = Some(At { value: None, at: log.at }),
        Err(true) => table.problems.push(
            Problem::error("wrong-type", &log.at, "`log` in [default] is a rate or false")
                .label("says not how many")
                .fix("write `log = \"3/minute\"`"),
        ),
    }
}

/// What the host itself sends is not judged yet.
fn outbound(table: &mut Table<'_, '_>) {
    let Some(word) = table.text("outbound") else { return };
    let problem = match word.value.as_str() {
        "accept" => return,
        "drop" | "reject" => {
            let message = format!("`outbound = \"{}\"` is not supported yet", word.value);
            Problem::error("unsupported", &word.at, message)
                .label("what the host sends is not filtered")
                .fix("write `outbound = \"accept\"`, or take the line out")
        }
        other => {
            let message = format!("`outbound` cannot be `{other}`");
            Problem::error("bad-value", &word.at, message)
                .label("not one of: accept")
                .fix("write `outbound = \"accept\"`, or take the line out")
        }
    };
    table.problems.push(problem);
}

fn choice<T: Copy>(table: &mut Table<'_, '_>, key: &str, words: &[(&str, T)]) -> Option<At<T>> {
    let word = table.text(key)?;
    if let Some((_, value)) = words.iter().find(|(text, _)| *text == word.value) {
        return Some(At { value: *value, at: word.at });
    }
    let list: Vec<&str> = words.iter().map(|(text, _)| *text).collect();
    let meant = did_you_mean(&word.value, list.iter().copied());
    table.problems.push(
        Problem::error("bad-value", &word.at, format!("`{key}` cannot be `{}`", word.value))
            .label(format!("not one of: {}", list.join(", ")))
            .fix(format!("write `{key} = \"{}\"`", list[0]))
            .maybe_fix(meant),
    );
    None
}

pub(super) fn guard(root: &mut Table<'_, '_>, document: &mut Document) {
    let Some((at, table)) = root.table("guard") else { return };
    let mut table = Table::new(root.problems, "[guard]", at, table);
    table.only(&["keep", "from", "confirm_within", "keep_generations"]);
    document.guard.keep = table.texts("keep", "write `keep = [\"ssh\"]`, or take the line out");
    if let Some(from) =
        table.texts("from", "take the `from` line out: then the sessions in use count")
    {
        let words = from.value.into_iter();
        let words = words.filter_map(|text| values::word(table.problems, text)).collect();
        document.guard.from = Some(At { value: words, at: from.at });
    }
    if let Some(text) = table.text("confirm_within") {
        let duration = values::duration(table.problems, &text);
        document.guard.confirm_within = duration.map(|value| At { value, at: text.at });
    }
    if let Some(number) = table.number("keep_generations") {
        let kept = values::keep_generations(table.problems, &number);
        document.guard.keep_generations = kept.map(|value| At { value, at: number.at });
    }
}
