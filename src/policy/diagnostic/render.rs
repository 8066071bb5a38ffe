//! [`Diagnostics`] → text for a reader.
//!
//! Only ASCII is drawn, and nothing is said by colour alone, so that logs and mails show the same.

use super::{Diagnostics, Mark, Severity};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How diagnostics are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are used.
    pub colour: bool,
    /// The width of the terminal in columns.
    pub width: usize,
}

pub(super) fn render(diagnostics: &Diagnostics, style: Style) -> String {
    let renderer = if style.colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(style.width.clamp(40, 1000));
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group =
            Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.id));
        let mut files: BTreeMap<usize, Vec<(&Mark, AnnotationKind)>> = BTreeMap::new();
        let primary = diagnostic.at.iter().map(|mark| (mark, AnnotationKind::Primary));
        let related = diagnostic.related.iter().map(|mark| (mark, AnnotationKind::Context));
        for (mark, kind) in primary.chain(related) {
            files.entry(mark.id).or_default().push((mark, kind));
        }
        let first = diagnostic.at.as_ref().map(|mark| mark.id);
        let mut order: Vec<_> = files.into_iter().collect();
        order.sort_by_key(|(id, _)| Some(*id) != first);
        for (id, marks) in order {
            let source = &diagnostics.sources[id];
            let lines = window(&source.text, &marks);
            let line_start = source.text[..lines.start].matches('\n').count() + 1;
            // A carriage return would be drawn as a character of its own.
            let text = source.text[lines.clone()].replace('\r', " ");
            let snippet = Snippet::source(text)
                .path(source.shown.clone())
                .line_start(line_start)
                .annotations(marks.into_iter().map(|(mark, kind)| {
                    let span = visible(&source.text, mark.span.clone());
                    let span = span.start - lines.start..span.end - lines.start;
                    kind.span(span).label((!mark.label.is_empty()).then_some(&*mark.label))
                }));
            group = group.element(snippet);
        }
        if let Some(fix) = &diagnostic.fix {
            group = group.element(Level::HELP.message(fix));
        }
        let text = renderer.render(&[group]);
        let lines = text.lines().map(str::trim_end);
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        out.push('\n');
    }
    if let Some(count) = count(diagnostics) {
        let _ = writeln!(out, "{count}");
    }
    out
}

/// The whole lines that the marks are in; large set files are not handed over as a whole.
fn window(text: &str, marks: &[(&Mark, AnnotationKind)]) -> std::ops::Range<usize> {
    let start = marks.iter().map(|(mark, _)| mark.span.start).min().unwrap_or(0).min(text.len());
    let end = marks.iter().map(|(mark, _)| mark.span.end).max().unwrap_or(0).min(text.len());
    let bytes = text.as_bytes();
    let start = bytes[..start].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let end = bytes[end..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| end + at);
    start..end.max(start)
}

/// The span within the text, on character boundaries, and at least one character where there is
/// one on its line.
fn visible(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    if start == end
        && let Some(next) = text[start..].chars().next()
        && next != '\n'
    {
        end += next.len_utf8();
    }
    start..end
}

fn count(diagnostics: &Diagnostics) -> Option<String> {
    let errors = diagnostics.errors();
    let warnings = diagnostics.len() - errors;
    let plural = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{n} {what}s")),
    };
    let parts: Vec<_> =
        [plural(errors, "error"), plural(warnings, "warning")].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
