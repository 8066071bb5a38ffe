//! A TOML table whose keys and types are being checked.
//!
//! Each question reports what is wrong with the answer and yields `None` for it, so that the
//! questions that follow are still asked.

use crate::policy::diagnostic::{At, FileId, Place, Problem, Problems};
use crate::policy::suggest::{did_you_mean, nearest};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// One table of one file.
pub(super) struct Table<'a, 'p> {
    pub problems: &'p mut Problems,
    pub file: FileId,
    /// How messages call it: `[zone.lan]`; empty for the file itself.
    pub name: String,
    /// Its header.
    pub at: Place,
    entries: &'a DeTable<'a>,
    /// Keys that mistyped ones are taken for.
    meant: Vec<String>,
}

impl<'a, 'p> Table<'a, 'p> {
    pub fn new(
        problems: &'p mut Problems,
        name: impl Into<String>,
        at: Place,
        table: &'a DeTable<'a>,
    ) -> Self {
        Self { problems, file: at.file, name: name.into(), at, entries: table, meant: Vec::new() }
    }

    /// Reports every key that is not one of these.
    pub fn only(&mut self, known: &[&str]) {
        let mut keys: Vec<_> = self.entries.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        for key in keys {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let at = Place::new(self.file, key.span());
            self.meant.extend(nearest(word, known.iter().copied()).map(str::to_owned));
            let message = match self.name.as_str() {
                "" => format!("unknown key `{word}`"),
                name => format!("unknown key `{word}` in {name}"),
            };
            let list = format!("known keys: {}", known.join(", "));
            self.problems.push(
                Problem::error("unknown-key", &at, message)
                    .label("not a key here")
                    .fix(list)
                    .maybe_fix(did_you_mean(word, known.iter().copied())),
            );
        }
    }

    /// Whether the key is there, if mistyped.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key) || self.meant.iter().any(|meant| meant == key)
    }

    /// Where the key stands.
    pub fn key_at(&self, key: &str) -> Option<Place> {
        let (key, _) = self.entries.get_key_value(key)?;
        Some(Place::new(self.file, key.span()))
    }

    /// Asks for a value that only one kind of TOML value can be.
    fn value<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.entries.get(key)?;
        self.check(key, value, wanted, read)
    }

    fn check<T>(
        &mut self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let at = Place::new(self.file, value.span());
        if let Some(value) = read(value.get_ref()) {
            return Some(At { value, at });
        }
        let found = kind(value.get_ref());
        let written = self.problems.text(&at);
        let fix = match value.get_ref() {
            DeValue::String(_) if wanted == LIST => Some(format!("write `{key} = [{written}]`")),
            DeValue::String(text) if wanted == TRUTH && matches!(&**text, "true" | "false") => {
                Some(format!("write `{key} = {text}`, without quotes"))
            }
            DeValue::String(text) if wanted == NUMBER && text.parse::<u32>().is_ok() => {
                Some(format!("write `{key} = {text}`, without quotes"))
            }
            DeValue::Integer(_) if wanted == TEXT || wanted == ENTRY || wanted == TEXT_OR_FALSE => {
                let unit = match key {
                    "limit" | "log" => "/minute",
                    "confirm_within" => "s",
                    "ports" => "/tcp",
                    _ => "",
                };
                Some(format!("write it in quotes: `\"{written}{unit}\"`"))
            }
            DeValue::Table(_) if wanted == TABLES => {
                Some(format!("write `[[{key}]]`, once for each"))
            }
            DeValue::Array(_) if wanted == NAMED => Some(format!("write `[{key}.NAME]`")),
            _ => None,
        };
        let message = format!("`{key}` is {wanted}, not {found}");
        self.problems.push(Problem::error("wrong-type", &at, message).label(found).maybe_fix(fix));
        None
    }

    pub fn text(&mut self, key: &str) -> Option<At<String>> {
        self.value(key, TEXT, |value| value.as_str().map(str::to_owned))
    }

    pub fn truth(&mut self, key: &str) -> Option<At<bool>> {
        self.value(key, TRUTH, DeValue::as_bool)
    }

    pub fn number(&mut self, key: &str) -> Option<At<i64>> {
        self.value(key, NUMBER, |value| {
            let number = value.as_integer()?;
            i64::from_str_radix(number.as_str(), number.radix()).ok()
        })
    }

    /// A text, or `false` or `true`.
    pub fn text_or_truth(&mut self, key: &str) -> Option<At<Result<String, bool>>> {
        self.value(key, TEXT_OR_FALSE, |value| match value {
            DeValue::String(text) => Some(Ok(text.as_ref().to_owned())),
            DeValue::Boolean(truth) => Some(Err(*truth)),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        })
    }

    /// A list of texts with the place of each. An empty list is an error, with this as its fix.
    pub fn texts(&mut self, key: &str, empty_fix: &str) -> Option<At<Vec<At<String>>>> {
        let list = self.value(key, LIST, DeValue::as_array)?;
        if list.value.is_empty() {
            self.problems.push(
                Problem::error("empty-list", &list.at, format!("`{key}` is empty"))
                    .label("nothing in it")
                    .fix(empty_fix),
            );
            return None;
        }
        let mut texts: Vec<At<String>> = Vec::with_capacity(list.value.len());
        for entry in list.value {
            let text = self.check(key, entry, ENTRY, |value| value.as_str().map(str::to_owned));
            texts.extend(text);
        }
        let mut seen: std::collections::BTreeMap<&str, &Place> = std::collections::BTreeMap::new();
        for text in &texts {
            if let Some(first) = seen.insert(&text.value, &text.at) {
                self.problems.push(
                    Problem::warning(
                        "repeated-entry",
                        &text.at,
                        format!("`{}` stands here twice", text.value),
                    )
                    .label("again")
                    .also(first, "first")
                    .fix("take one of them out"),
                );
            }
        }
        Some(At { value: texts, at: list.at })
    }

    /// The tables of `[[key]]`.
    pub fn tables(&mut self, key: &str) -> Vec<(Place, &'a DeTable<'a>)> {
        let Some(list) = self.value(key, TABLES, DeValue::as_array) else { return Vec::new() };
        let mut tables = Vec::with_capacity(list.value.len());
        for entry in list.value {
            let table = self.check(key, entry, "a table", DeValue::as_table);
            tables.extend(table.map(|table| (table.at, table.value)));
        }
        tables
    }

    /// The table of `[key]`.
    pub fn table(&mut self, key: &str) -> Option<(Place, &'a DeTable<'a>)> {
        let table = self.value(key, "a table", DeValue::as_table)?;
        Some((table.at, table.value))
    }

    /// The tables of `[key.NAME]`, with the place of each name, in the order of the file.
    #[allow(clippy::type_complexity, reason = "name, header, table")]
    pub fn named(&mut self, key: &str) -> Vec<(At<&'a str>, Place, &'a DeTable<'a>)> {
        let Some(outer) = self.value(key, NAMED, DeValue::as_table) else { return Vec::new() };
        let mut entries: Vec<(&Spanned<DeString<'a>>, _)> = outer.value.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut tables = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let place = Place::new(self.file, name.span());
            let word = name.get_ref().as_ref();
            let Some(table) = value.get_ref().as_table() else {
                let found = kind(value.get_ref());
                let problem = Problem::error(
                    "wrong-type",
                    &place,
                    format!("`{key}.{word}` is a table, not {found}"),
                );
                self.problems.push(
                    problem.label(found).fix(format!("write `[{key}.NAME]`, and its keys below")),
                );
                continue;
            };
            let header = Place::new(self.file, value.span());
            tables.push((At { value: word, at: place }, header, table));
        }
        tables
    }
}

const TEXT: &str = "a text";
const TEXT_OR_FALSE: &str = "a text or false";
const ENTRY: &str = "a list of texts";
const TRUTH: &str = "true or false";
const NUMBER: &str = "a whole number";
const LIST: &str = "a list";
const TABLES: &str = "a list of tables";
const NAMED: &str = "a table of named tables";

/// What a reader calls a value.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
