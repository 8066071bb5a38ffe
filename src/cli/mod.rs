//! The command line: one file a command, each thin. Arguments in, a call of the stages, and what
//! [`crate::report`] makes of the result out.
//!
//! What always holds: results go to standard output and everything else to standard error; every
//! failure ends in [`failure::Failure`], so that each says what failed, on what, in which state
//! the host is now and what to do next; the exit code is one of [`exit::Exit`]; the environment is
//! read here and nowhere else.

pub mod apply;
pub mod args;
pub mod check;
pub mod confirm;
pub mod confirmation;
pub mod cut;
pub mod exit;
pub mod explain;
pub mod exposure;
pub mod failure;
pub mod history;
pub mod inputs;
pub mod off;
pub mod output;
pub mod paths;
pub mod plan;
pub mod proof;
pub mod reconnect;
pub mod restore;
pub mod rollback;
pub mod saved;
pub mod snapshot;
pub mod status;
pub mod wait;
pub mod watch;

pub use args::{Cli, Command, command};
pub use exit::Exit;

use clap::Parser as _;
use output::Output;
use paths::Paths;
use std::process::ExitCode;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.global.color, cli.global.quiet, cli.global.verbose);
    let paths = Paths::from_environment();
    match run(&cli, &paths, &output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::failure(&failure);
            failure.exit.into()
        }
    }
}

/// What clap has to say: help and version on standard output, usage errors on standard error.
fn usage(error: &clap::Error) -> ExitCode {
    // A reader that went away (`fwctl --help | head -1`) is no failure.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}

fn run(cli: &Cli, paths: &Paths, output: &Output) -> Result<Exit, failure::Failure> {
    match &cli.command {
        Command::Check(check) => check::run(check, &cli.global, paths, output),
        Command::Exposure(asked) => exposure::run(asked, &cli.global, paths, output),
        Command::Explain(explain) => explain::run(explain, &cli.global, paths, output),
        Command::Plan(plan) => plan::run(plan, &cli.global, paths, output),
        Command::Apply(apply) => apply::run(apply, &cli.global, paths, output),
        Command::Confirm(confirm) => confirm::run(confirm, paths, output),
        Command::Rollback(rollback) => rollback::run(rollback, paths, output),
        Command::History(history) => history::run(history, paths, output),
        Command::Status(status) => status::run(status, paths, output),
        Command::Off(off) => off::run(off, paths, output),
        Command::Restore => restore::run(paths, output),
        Command::Watch => watch::run(paths, output),
        Command::Snapshot => snapshot::run(paths),
    }
}
