//! The figures of `docs/performance.md`, made anew: started by `benches/run`.
//!
//! Each section gives rows: what was measured, the goal, the ratio to a peer in the same run.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed run")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "a program, not a library")]

mod analyze;
mod apply;
#[allow(unfulfilled_lint_expectations)]
#[path = "../../tests/host/mod.rs"]
mod host;
mod measure;
#[path = "../../tests/net/mod.rs"]
mod net;
mod networks;
mod packets;
mod plan;
mod policies;
mod rulesets;
mod sockets;
mod swap;
mod table;
mod ufw;

use std::path::Path;
use std::process::ExitCode;
use table::Table;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Only enough to see that it works.
    pub smoke: bool,
}

impl Size {
    /// So many, or as few as show that it works.
    pub fn of(self, full: usize, smoke: usize) -> usize {
        if self.smoke { smoke } else { full }
    }
}

type Section = fn(Size, &mut Table);

const SECTIONS: [(&str, Section); 6] = [
    ("plan", plan::run),
    ("sockets", sockets::run),
    ("apply", apply::run),
    ("analyze", analyze::run),
    ("packets", packets::run),
    ("swap", swap::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&measure::PEAK, line)) => {
            measure::peak_of(line);
            return ExitCode::SUCCESS;
        }
        Some((&sockets::READ, _)) => return sockets::read(),
        Some((&sockets::LISTEN, numbers)) => return sockets::listen(numbers),
        _ => {}
    }
    if !words.contains(&"--bench") {
        // `cargo test --all-targets` builds this, and must not start it.
        println!("benches/run starts this");
        return ExitCode::SUCCESS;
    }
    let smoke = words.contains(&"--smoke");
    let chosen: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    let flag = |word: &str| matches!(word, "--bench" | "--smoke" | "--write");
    let known = |word: &str| SECTIONS.iter().any(|(name, _)| *name == word);
    if let Some(word) = words.iter().find(|word| !flag(word) && !known(word)) {
        eprintln!("benches/run: what is {word}? Sections: plan sockets apply analyze packets swap");
        return ExitCode::from(2);
    }
    let mut table = Table::default();
    for (name, section) in SECTIONS {
        if chosen.is_empty() || chosen.contains(&name) {
            section(Size { smoke }, &mut table);
        }
    }
    let text = table.markdown();
    println!("{text}");
    if words.contains(&"--write") && !smoke {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        table::write_into(&root.join("docs/performance.md"), &text);
    }
    if table.holds(smoke) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
