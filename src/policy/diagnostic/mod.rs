//! What is wrong with a policy, as data.
//!
//! In: problems with their places, in any order. Out: [`Diagnostics`], sorted by file and place,
//! which carry the texts they speak of and can be rendered at any time.

mod render;
mod source;

pub use render::Style;
pub(crate) use source::{At, FileId, Place, SourceText};

use serde::Serialize;
use std::sync::Arc;

/// Whether a policy can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but is hardly meant so.
    Warning,
}

/// A place in a file, with what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The file, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The bytes of the file that are meant.
    pub span: std::ops::Range<usize>,
    /// What is wrong with them; may be empty.
    pub label: String,
    #[serde(skip)]
    id: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A name of this kind of problem that stays the same between versions (`unknown-zone`).
    pub id: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where; `None` where a file could not be read that nothing names.
    pub at: Option<Mark>,
    /// Other places that belong to it.
    pub related: Vec<Mark>,
    /// What to do.
    pub fix: Option<String>,
}

/// Everything that is wrong, sorted by file and place.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    sources: Arc<Vec<SourceText>>,
}

impl Diagnostics {
    /// The diagnostics, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|one| one.severity == Severity::Error).count()
    }

    /// Text for a reader, each with its source line; the last line counts them. Empty where there
    /// is nothing to say.
    pub fn render(&self, style: Style) -> String {
        render::render(self, style)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(Style { colour: false, width: 100 }))
    }
}

impl std::error::Error for Diagnostics {}

/// A problem while it is being found: places are spans of files still.
#[derive(Debug)]
pub(crate) struct Problem {
    severity: Severity,
    id: &'static str,
    message: String,
    at: Option<(Place, String)>,
    related: Vec<(Place, String)>,
    fix: Option<String>,
}

impl Problem {
    pub fn error(id: &'static str, at: &Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            id,
            message: message.into(),
            at: Some((at.clone(), String::new())),
            related: Vec::new(),
            fix: None,
        }
    }

    pub fn warning(id: &'static str, at: &Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(id, at, message) }
    }

    /// An error that no place in a file stands for.
    pub fn nowhere(id: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            id,
            message: message.into(),
            at: None,
            related: Vec::new(),
            fix: None,
        }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some((_, own)) = &mut self.at {
            *own = label.into();
        }
        self
    }

    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub fn maybe_fix(mut self, fix: Option<String>) -> Self {
        self.fix = fix.or(self.fix);
        self
    }

    pub fn also(mut self, at: &Place, label: impl Into<String>) -> Self {
        self.related.push((at.clone(), label.into()));
        self
    }
}

/// The files read so far, and the problems found in them so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    sources: Vec<SourceText>,
    list: Vec<Diagnostic>,
}

impl Problems {
    pub fn add_source(&mut self, source: SourceText) -> FileId {
        self.sources.push(source);
        FileId(self.sources.len() - 1)
    }

    pub fn source(&self, file: FileId) -> &SourceText {
        &self.sources[file.0]
    }

    pub fn text(&self, at: &Place) -> &str {
        self.source(at.file).text.get(at.start..at.end).unwrap_or_default()
    }

    /// Where a reader is sent to: short file name and line.
    pub fn origin(&self, at: &Place) -> super::Origin {
        let source = self.source(at.file);
        super::Origin { file: source.name.clone(), line: source.line_column(at.start).0 }
    }

    pub fn push(&mut self, problem: Problem) {
        let diagnostic = Diagnostic {
            severity: problem.severity,
            id: problem.id,
            message: problem.message,
            at: problem.at.map(|(at, label)| self.mark(&at, label)),
            related: problem.related.into_iter().map(|(at, label)| self.mark(&at, label)).collect(),
            fix: problem.fix,
        };
        if !self.list.contains(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    fn mark(&self, at: &Place, label: String) -> Mark {
        let source = self.source(at.file);
        let (line, column) = source.line_column(at.start);
        let file = source.shown.clone();
        Mark { file, line, column, span: at.start..at.end, label, id: at.file.0 }
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|one| one.severity == Severity::Error)
    }

    /// In files with syntax errors, drops what is most likely their echo: problems on the same
    /// lines, and keys that are said to be missing.
    pub fn silence_echoes(&mut self) {
        let places = |only: &dyn Fn(&Diagnostic) -> bool| -> Vec<(usize, u32)> {
            let marks = self.list.iter().filter(|one| only(one)).filter_map(|one| one.at.as_ref());
            marks.map(|at| (at.id, at.line)).collect()
        };
        let broken = places(&|one| one.id == "syntax");
        self.list.retain(|one| match &one.at {
            Some(at) if one.id != "syntax" => {
                let in_broken_file = broken.iter().any(|(id, _)| *id == at.id);
                let missing = in_broken_file && one.id.starts_with("missing");
                !missing && !broken.contains(&(at.id, at.line))
            }
            _ => true,
        });
    }

    pub fn finish(mut self) -> Diagnostics {
        self.list.sort_by_key(|one| {
            let at = one.at.as_ref();
            (at.map(|at| (at.id, at.span.start, at.span.end)), one.severity)
        });
        Diagnostics { list: self.list, sources: Arc::new(self.sources) }
    }
}
