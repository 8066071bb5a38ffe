//! The two streams.
//!
//! Results go to standard output; a reader that goes away early ends the output, never the
//! command. Everything else goes to standard error, and what cannot be written there is lost:
//! a full disk behind a log must not stop a firewall half-way.

use super::args::Color;
use super::{Exit, failure::Failure};
use crate::report::{layout::labelled, layout::wrap, style};
use anstream::adapter::strip_str;
use std::borrow::Cow;
use std::io::{ErrorKind, Write as _};

/// How wide text is where neither a terminal nor COLUMNS says.
const PLAIN_WIDTH: usize = 80;

/// Where a command writes, and how much.
#[derive(Debug)]
pub struct Output {
    quiet: bool,
    /// Whether everything is wanted.
    pub verbose: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Output {
    /// The process's own streams.
    pub fn new(color: Color, quiet: bool, verbose: bool) -> Self {
        // anstream asks for the terminal, NO_COLOR and CLICOLOR itself where nothing is forced.
        match color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let terminal = terminal_size::terminal_size_of(std::io::stdout());
        let told = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|width| *width > 0);
        let width = terminal.map(|(width, _)| usize::from(width.0)).or_else(told);
        let width = width.unwrap_or(PLAIN_WIDTH);
        Self { quiet, verbose, width }
    }

    /// How much a report shows, and how wide.
    pub fn view(&self) -> crate::report::plan::View {
        crate::report::plan::View { width: self.width, verbose: self.verbose }
    }

    /// Writes a result that only says that all is well, unless told to be quiet.
    pub fn result(&self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { data(text) }
    }

    /// Says something on the way, unless told to be quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            aside(&format!("{}\n", wrap(text, self.width).join("\n")));
        }
    }

    /// Shows a report on the way, unless told to be quiet.
    pub fn show(&self, report: &str) {
        if !self.quiet {
            aside(report);
        }
    }
}

/// Writes a result, all at once: a stream that strips styles as it goes writes each line alone.
pub fn data(text: &str) -> Result<(), Failure> {
    let stream = std::io::stdout();
    let plain = anstream::AutoStream::choice(&stream) == anstream::ColorChoice::Never;
    let text = if plain { Cow::from(strip_str(text).to_string()) } else { Cow::from(text) };
    let mut stream = stream.lock();
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::from_error(Exit::Failed, "standard output cannot be written", &error))
        }
        _ => Ok(()),
    }
}

/// Says what went wrong without ending the command.
pub fn warning(text: &str) {
    aside(&labelled(0, "warning:", style::WARNING, text.trim_end(), width()));
}

/// Says why the command ends.
pub fn failure(failure: &Failure) {
    aside(&failure.render(width()));
}

/// The columns of standard error; where it is no terminal, lines are left whole for those who
/// search in logs.
fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr())
        .map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

/// Writes a text that is laid out already to standard error.
pub fn aside(text: &str) {
    let mut stream = anstream::stderr().lock();
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
