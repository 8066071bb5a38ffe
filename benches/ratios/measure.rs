//! Durations and peak memory of two alternatives, taken in turns → a ratio.
//!
//! What always holds: both alternatives run in the same run and take turns, so that whatever else
//! the machine does meets both; a ratio is the median of the ratios of neighbouring runs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What two alternatives took, round by round, in seconds: ours and the peer's.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Runs both alternatives `rounds` times, each first in every other round; one more round
    /// beforehand warms them up.
    pub fn take(
        rounds: usize,
        mut ours: impl FnMut() -> Duration,
        mut peer: impl FnMut() -> Duration,
    ) -> Self {
        let mut pairs = Self::default();
        for round in 0..=rounds {
            let (own, other) = if round % 2 == 0 {
                let own = ours();
                (own, peer())
            } else {
                let other = peer();
                (ours(), other)
            };
            if round > 0 {
                pairs.push(own.as_secs_f64(), other.as_secs_f64());
            }
        }
        pairs
    }

    /// Adds a round.
    pub fn push(&mut self, ours: f64, peer: f64) {
        self.0.push((ours, peer));
    }

    /// The median of the rounds' ratios.
    pub fn ratio(&self) -> f64 {
        median(self.0.iter().map(|(ours, peer)| ours / peer))
    }

    /// The median of ours, in seconds.
    pub fn ours(&self) -> f64 {
        median(self.0.iter().map(|(ours, _)| *ours))
    }

    /// The median of the peer's, in seconds.
    pub fn peer(&self) -> f64 {
        median(self.0.iter().map(|(_, peer)| *peer))
    }
}

/// The middle value; the mean of both where there are two.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// A command line, to be started in whatever namespaces the calling thread is in.
pub type Line<'l> = &'l [&'l str];

/// From the start of the first command to the end of the last, their output thrown away.
pub fn time(lines: &[Line], root: &Path) -> Duration {
    let start = Instant::now();
    for line in lines {
        run(line, root);
    }
    start.elapsed()
}

/// Runs a command that must succeed.
pub fn run(line: Line, root: &Path) {
    let status = command(line, root).status();
    let status = status.unwrap_or_else(|error| panic!("{line:?}: {error}"));
    if !status.success() {
        let output = command(line, root).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        panic!("{line:?}: {status}; once more it said {output:?}");
    }
}

fn command(line: Line, root: &Path) -> Command {
    let mut command = Command::new(line[0]);
    command
        .args(&line[1..])
        .env("FWCTL_ROOT", root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The argument with which this program starts itself for [`peak`].
pub const PEAK: &str = "--peak-of";

/// The peak resident memory of the largest process among a command and its children, in KiB.
pub fn peak(line: Line, root: &Path) -> i64 {
    // A process inherits the peak of the one that starts it, so a small one does: this program
    // again, by a name that is right in every mount namespace.
    let mut starter = Command::new("/proc/self/exe");
    starter.arg(PEAK).args(line).env("FWCTL_ROOT", root).stdin(Stdio::null());
    let output = starter.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    text.trim().parse().unwrap_or_else(|_| panic!("{line:?}: {text} {error}"))
}

/// The other side of [`peak`].
pub fn peak_of(line: Line) {
    run(line, Path::new(&std::env::var_os("FWCTL_ROOT").unwrap_or_default()));
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    println!("{}", usage.unwrap().max_rss());
}
