//! Rows of figures → a table for a terminal and for `docs/performance.md`.

use crate::measure::Pairs;
use std::fmt::Write as _;
use std::path::Path;

/// What a figure must not exceed.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// A ratio.
    AtMost(f64),
    /// A count that must be nothing.
    Zero,
    /// A count that must not be nothing: a control that shows that the measurement sees.
    Some,
    /// Shown beside others.
    None,
}

/// One figure.
#[derive(Debug)]
pub struct Row {
    section: &'static str,
    what: String,
    goal: Goal,
    value: f64,
    ours: String,
    peer: String,
    memory: String,
}

/// All figures.
#[derive(Debug, Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds the ratio of ours to a peer's; `memory` is the peak of both in KiB.
    pub fn ratio(
        &mut self,
        section: &'static str,
        what: &str,
        goal: Goal,
        pairs: &Pairs,
        memory: Option<(i64, i64)>,
    ) {
        let memory = memory.map_or(String::new(), |(ours, peer)| {
            format!("{} / {}", mebibytes(ours), mebibytes(peer))
        });
        self.push(Row {
            section,
            what: what.to_owned(),
            goal,
            value: pairs.ratio(),
            ours: seconds(pairs.ours()),
            peer: seconds(pairs.peer()),
            memory,
        });
    }

    /// Adds a ratio that was made of others, to be shown beside them.
    pub fn number(&mut self, section: &'static str, what: &str, value: f64) {
        self.measured(section, what, Goal::None, value);
    }

    /// Adds a ratio that was made of others, with a goal.
    pub fn measured(&mut self, section: &'static str, what: &str, goal: Goal, value: f64) {
        self.push(Row {
            section,
            what: what.to_owned(),
            goal,
            value,
            ours: String::new(),
            peer: String::new(),
            memory: String::new(),
        });
    }

    /// Adds a count among `of` trials.
    pub fn count(&mut self, section: &'static str, what: &str, goal: Goal, count: u64, of: &str) {
        #[expect(clippy::cast_precision_loss, reason = "counts of packets are small")]
        let value = count as f64;
        self.push(Row {
            section,
            what: what.to_owned(),
            goal,
            value,
            ours: of.to_owned(),
            peer: String::new(),
            memory: String::new(),
        });
    }

    fn push(&mut self, row: Row) {
        eprintln!("{} {}: {} {}", row.section, row.what, row.figure(), row.verdict());
        self.0.push(row);
    }

    /// Whether every goal is reached; with `counts_only`, whether every goal about packets is.
    pub fn holds(&self, counts_only: bool) -> bool {
        self.0.iter().all(|row| row.holds() || (counts_only && matches!(row.goal, Goal::AtMost(_))))
    }

    /// The table in Markdown, aligned for a terminal as well.
    pub fn markdown(&self) -> String {
        let head = ["figure", "goal", "seen", "", "ours", "peer", "peak MiB, ours / peer"];
        let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
        for row in &self.0 {
            lines.push(vec![
                format!("{}: {}", row.section, row.what),
                row.goal_text(),
                row.figure(),
                row.verdict().to_owned(),
                row.ours.clone(),
                row.peer.clone(),
                row.memory.clone(),
            ]);
        }
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut out = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(out, "| {cell:width$} ");
            }
            out.push_str("|\n");
            if number == 0 {
                for width in &widths {
                    let _ = write!(out, "|{}", "-".repeat(width + 2));
                }
                out.push_str("|\n");
            }
        }
        out
    }
}

impl Row {
    fn holds(&self) -> bool {
        match self.goal {
            // As it is printed: two digits are what a noisy machine can say.
            Goal::AtMost(most) => (self.value * 100.0).round() <= (most * 100.0).round(),
            Goal::Zero => self.value == 0.0,
            Goal::Some => self.value > 0.0,
            Goal::None => true,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.goal, self.holds()) {
            (Goal::None, _) => "",
            (_, true) => "holds",
            (_, false) => "missed",
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::Zero => "0".to_owned(),
            Goal::Some => "> 0".to_owned(),
            Goal::None => "–".to_owned(),
        }
    }

    fn figure(&self) -> String {
        match self.goal {
            Goal::Zero | Goal::Some => format!("{}", self.value),
            Goal::AtMost(_) | Goal::None => format!("{:.2}", self.value),
        }
    }
}

fn seconds(seconds: f64) -> String {
    match seconds.abs() {
        s if s >= 1.0 => format!("{seconds:.2} s"),
        s if s >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        s if s >= 1e-6 => format!("{:.2} µs", seconds * 1e6),
        _ => format!("{:.0} ns", seconds * 1e9),
    }
}

fn mebibytes(kibibytes: i64) -> String {
    format!("{}.{}", kibibytes / 1024, kibibytes % 1024 * 10 / 1024)
}

const BEGIN: &str = "<!-- The table that `benches/run --write` puts here. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// Puts the table into the file that says where it belongs.
pub fn write_into(path: &Path, table: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the file marks the table's beginning");
    let (_, behind) = rest.split_once(END).expect("the file marks the table's end");
    std::fs::write(path, format!("{before}{BEGIN}\n{table}\n{END}{behind}")).unwrap();
}
