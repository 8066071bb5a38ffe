//! The table of commands and flags: the source of the help, the man pages and the completions.

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// What the long help and the man page say besides.
const MORE: &str = "\
Begin with a policy of two lines:
  printf 'version = 1\\nuse = [\"ssh-only\"]\\n' > /etc/fwctl/policy.toml
  fwctl check
  fwctl plan
  fwctl apply
  fwctl confirm      from a new login, or `keep` at the prompt; else the kernel takes it back

Review the change of a server on another machine:
  fwctl snapshot > web1.json
  fwctl plan --snapshot web1.json --format markdown --out change.plan
  fwctl apply change.plan      on the server, as it was reviewed

Exit codes:
  0  done, or nothing to change
  1  failed; the message says the state of the host, and the next command
  2  wrong usage
  3  plan --detailed-exitcode: there are changes
  4  the guard refused: the change could lock somebody out
  5  an expectation of the policy does not hold
  6  rolled back, or confirmed too late
  7  the host is not as it was when the plan was saved
  8  another change waits to be confirmed, or is in progress

Files and environment:
  /etc/fwctl/policy.toml  the policy
  /etc/fwctl/policies/    policies of your own, for `use`
  /var/lib/fwctl/         the generations that were applied
  FWCTL_ROOT              a directory that stands in for / in all of these";

/// A host firewall that speaks of the ports that clients dial.
///
/// A port is a port, whoever serves it: a process, a socket unit, a container behind Docker's NAT
/// or its proxy. One policy file says who may dial what; fwctl shows what that changes, and
/// changes it in place.
#[derive(Debug, Parser)]
#[command(
    name = "fwctl",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_long_help = MORE
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a policy file, on any machine
    Check(super::check::Check),
    /// Show who can reach what on this host, by the rules of every tool
    Exposure(super::exposure::Exposure),
    /// Show one connection through every hook, rule by rule
    Explain(super::explain::Explain),
    /// Show what apply would change, for people and in the rules
    Plan(super::plan::Plan),
    /// Make this host as the policy says; the kernel takes it back unless it is confirmed
    Apply(super::apply::Apply),
    /// Keep the change that waits to be confirmed
    Confirm(super::confirm::Confirm),
    /// Take back the change that waits, or go back to an earlier generation
    Rollback(super::rollback::Rollback),
    /// List the generations, or show what one of them changed
    History(super::history::History),
    /// Show what is in force, and what was changed by hand
    Status(super::status::Status),
    /// Take fwctl's table out; the rules of others stay
    Off(super::off::Off),
    /// Load the confirmed generation, as boot does
    ///
    /// The text that was kept when it was applied is checked by its SHA-256 and loaded in one
    /// transaction; no network, Docker, name server or policy file is needed. Where it is damaged,
    /// the newest sound generation that was confirmed before is loaded, and in the end SSH alone,
    /// at the ports that sshd's configuration names; then the exit code is 1. Where nothing is
    /// confirmed, nothing is done.
    Restore,
    /// Put the confirmed generation back whenever someone flushes the rules
    ///
    /// Runs until it is ended, as fwctl-watch.service. It listens to the kernel's news of the
    /// ruleset, acts where the table of a confirmed generation is gone or empty and no fwctl is at
    /// work, and says which process took it away. `fwctl off` takes the rules out for good.
    Watch,
    /// Print this host's state as JSON, to plan elsewhere
    Snapshot,
}

/// Which host is meant.
#[derive(Debug, Args)]
pub struct Host {
    /// Use the host that this file of `fwctl snapshot` shows, instead of this one
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
}

/// What `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Text,
    /// For programs: "fwctl.check/1".
    Json,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The policy file [default: /etc/fwctl/policy.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// When to use colours [default: auto]; NO_COLOR is honoured
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub color: Color,

    /// Print results, warnings and failures only
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print everything: long lists, endpoints that nobody reaches
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub verbose: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where the stream is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The whole command line as clap holds it.
pub fn command() -> clap::Command {
    Cli::command()
}
