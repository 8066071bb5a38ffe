//! The text of one TOML file → [`Document`].
//!
//! In: one file. Out: what it says, and every problem that can be seen without looking at another
//! file. What is broken is left out, so that the rest is still looked at.

pub(crate) mod document;
mod names;
mod rules;
mod settings;
mod table;
pub(crate) mod values;

use super::diagnostic::{At, FileId, Place, Problem, Problems};
use document::Document;
use table::Table;
use toml::de::DeTable;

/// The version of the language that this fwctl reads.
const VERSION: i64 = 1;

const KEYS: [&str; 12] = [
    "version", "use", "include", "default", "zone", "set", "service", "allow", "deny", "egress",
    "expect", "guard",
];

/// Reads a policy file.
pub(crate) fn policy(problems: &mut Problems, file: FileId) -> Document {
    let text = problems.source(file).text.clone();
    let parsed = parse(problems, file, &text);
    let at = Place::new(file, 0..0);
    let mut root = Table::new(problems, "", at, &parsed);
    root.only(&KEYS);
    version(&mut root);
    let mut document = Document::empty();
    document.uses = list(&mut root, "use");
    document.includes = list(&mut root, "include");
    settings::default(&mut root, &mut document);
    names::zones(&mut root, &mut document);
    names::sets(&mut root, &mut document);
    names::services(&mut root, &mut document);
    rules::rules(&mut root, &mut document);
    rules::egress(&mut root);
    rules::expect(&mut root, &mut document);
    settings::guard(&mut root, &mut document);
    document
}

/// Reads a file that holds nothing but services.
pub(crate) fn services(problems: &mut Problems, file: FileId) -> Document {
    let text = problems.source(file).text.clone();
    let parsed = parse(problems, file, &text);
    let at = Place::new(file, 0..0);
    let mut root = Table::new(problems, "", at, &parsed);
    root.only(&["service"]);
    let mut document = Document::empty();
    names::services(&mut root, &mut document);
    document
}

/// The table of the text, as far as it can be read.
fn parse<'t>(problems: &mut Problems, file: FileId, text: &'t str) -> DeTable<'t> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut last_line = 0;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        // Further errors on a line are mostly echoes of the first.
        let (line, _) = problems.source(file).line_column(span.start);
        if line == last_line {
            continue;
        }
        last_line = line;
        let message = error.message();
        let (message, label) = match message {
            "string values must be quoted, expected literal string" if span.is_empty() => {
                ("a value is missing", "expected a value".to_owned())
            }
            _ => match message.split_once(", expected ") {
                Some((what, wanted)) => (what, format!("expected {wanted}")),
                None => (message, String::new()),
            },
        };
        let fix = match message {
            "duplicate key" => Some("a key stands once in a table; take one of them out"),
            "missing comma between array elements" | "unclosed array" => {
                Some("separate the entries with commas, and close the list with `]`")
            }
            "string values must be quoted" => Some("write the value in quotes: `\"value\"`"),
            _ => None,
        };
        problems.push(
            Problem::error("syntax", &Place::new(file, span), message)
                .label(label)
                .maybe_fix(fix.map(str::to_owned)),
        );
    }
    table.into_inner()
}

fn version(root: &mut Table<'_, '_>) {
    if !root.has("version") {
        let at = root.at.clone();
        root.problems.push(
            Problem::error("missing-version", &at, "this file does not say its version")
                .label("the first line")
                .fix(format!("write `version = {VERSION}` at the top")),
        );
        return;
    }
    let Some(version) = root.number("version") else { return };
    if version.value != VERSION {
        let message = format!("version {} of the language is not known here", version.value);
        root.problems.push(
            Problem::error("unsupported-version", &version.at, message)
                .label(format!("this fwctl reads version {VERSION}"))
                .fix(format!("write `version = {VERSION}`, or install a newer fwctl")),
        );
    }
}

fn list(root: &mut Table<'_, '_>, key: &str) -> Vec<At<String>> {
    let fix = format!("take the `{key}` line out");
    root.texts(key, &fix).map(|list| list.value).unwrap_or_default()
}
