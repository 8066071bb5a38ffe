//! Text in columns: widths as a terminal counts them.

use anstyle::Style;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// What stands between two columns.
const GAP: usize = 2;

/// How many columns a terminal gives a text; styles in it take none.
pub fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// The text without what moves a cursor, colours or turns the direction of writing: names of
/// processes and containers are anyone's to choose, and must not repaint the report they are in.
pub fn clean(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect()
}

/// A text in a style.
pub fn styled(style: Style, text: &str) -> String {
    let text = &clean(text);
    if style == Style::new() || text.is_empty() {
        text.to_owned()
    } else {
        format!("{style}{text}{}", style.render_reset())
    }
}

/// Breaks a text at spaces into lines of at most `room` columns. A word that is longer stands on a
/// line of its own, whole: a path or an address that is cut is of no use. Lines that fit stay as
/// they are.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        if paragraph.width() <= room {
            lines.push(clean(paragraph));
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&clean(word));
        }
        lines.push(line);
    }
    lines
}

/// A text behind a label: `indent`, label, then lines that stand below each other.
pub fn labelled(indent: usize, label: &str, style: Style, text: &str, room: usize) -> String {
    let start = indent + width(label) + 1;
    let mut out = String::new();
    for (index, line) in wrap(text, room.saturating_sub(start).max(20)).iter().enumerate() {
        if index == 0 {
            let _ = writeln!(out, "{:indent$}{} {line}", "", styled(style, label));
        } else {
            let _ = writeln!(out, "{}", format!("{:start$}{line}", "").trim_end());
        }
    }
    out
}

/// A cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// Its text, without styles.
    pub text: String,
    /// Its style.
    pub style: Style,
}

impl Cell {
    /// A cell in a style.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::new())
    }
}

/// Rows of cells, printed in columns that are as wide as their widest cell.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Adds a row. Shorter rows end early.
    pub fn row(&mut self, cells: Vec<Cell>) {
        let plain = |cell: Cell| Cell { text: clean(&cell.text), ..cell };
        self.rows.push(cells.into_iter().map(plain).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How wide each column is.
    fn columns(&self) -> Vec<usize> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.width()).max().unwrap_or_default()
        };
        (0..count).map(widest).collect()
    }

    /// How wide the whole is, behind `indent`.
    pub fn width(&self, indent: usize) -> usize {
        let columns: Vec<usize> = self.columns().into_iter().filter(|width| *width > 0).collect();
        indent + columns.iter().sum::<usize>() + GAP * columns.len().saturating_sub(1)
    }

    /// The lines, each behind `indent`; columns in which nothing stands are left out.
    pub fn render(&self, indent: usize) -> String {
        let columns = self.columns();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            let mut owed = 0;
            for (cell, wide) in row.iter().zip(&columns).filter(|(_, wide)| **wide > 0) {
                if !cell.text.is_empty() {
                    let _ = write!(line, "{:owed$}{}", "", styled(cell.style, &cell.text));
                    owed = 0;
                }
                owed += wide - cell.text.width() + GAP;
            }
            // Nothing is owed behind the last cell: lines end where their text ends.
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_with_their_text() {
        let mut table = Table::default();
        table.row(vec!["a".into(), "".into(), "".into(), "last".into()]);
        table.row(vec!["日本".into(), "".into(), "x".into()]);
        assert_eq!(table.render(1), " a        last\n 日本  x\n");
        assert_eq!(table.width(1), 1 + 4 + 2 + 1 + 2 + 4);
    }

    #[test]
    fn styles_take_no_room() {
        let mut table = Table::default();
        table.row(vec![Cell::new("ab", crate::report::style::ERROR), "c".into()]);
        table.row(vec!["abc".into(), "d".into()]);
        assert_eq!(anstream::adapter::strip_str(&table.render(0)).to_string(), "ab   c\nabc  d\n");
        assert_eq!(width(&styled(crate::report::style::ERROR, "ab")), 2);
    }

    #[test]
    fn names_cannot_repaint_the_report() {
        let name = "x\x1b[2K\r\u{202e}y\nz";
        let mut table = Table::default();
        table.row(vec![name.into()]);
        assert_eq!(table.render(0), "x?[2K??y?z\n");
        assert_eq!(styled(Style::new(), name), "x?[2K??y?z");
        assert_eq!(wrap("a\x1bb", 9), ["a?b"]);
    }

    #[test]
    fn long_words_are_never_cut() {
        assert_eq!(wrap("see /a/very/long/path now", 8), ["see", "/a/very/long/path", "now"]);
        let text = labelled(2, "note", Style::new(), "one two three four five", 27);
        assert_eq!(text, "  note one two three four\n       five\n");
    }
}
