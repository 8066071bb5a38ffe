//! A change is armed: what is said, and what is waited for.
//!
//! Where there is a terminal, a countdown runs until somebody answers. It decides nothing by
//! itself: the kernel takes the change back at the deadline whether this process lives or not. A
//! terminal that goes away is not written to any more.

use super::apply::lock;
use super::confirmation::failed;
use super::{Exit, cut, failure::Failure, output, output::Output, reconnect};
use crate::apply::{ApplyError, Found, Kernel, Lock, State, pending};
use crate::observe::{End, How};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often the countdown is written anew.
const TICK: Duration = Duration::from_secs(1);

/// How long another fwctl may hold the lock before we give up on an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Somebody who can be waited for.
#[derive(Debug)]
pub struct Terminal {
    interrupts: SignalFd,
}

impl Terminal {
    /// The terminal, if there is one. From here on Ctrl-C is an answer: take the change back.
    pub fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.thread_block().ok()?;
        let interrupts = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).ok()?;
        Some(Self { interrupts })
    }
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Its generation.
    pub generation: u32,
    /// How long.
    pub within: Duration,
    /// Whether a new login confirms it.
    pub on_reconnect: bool,
}

/// How the waiting ended.
enum Answer {
    Keep,
    Back,
    /// The deadline has passed, or somebody else has answered.
    Over,
    /// The terminal went away.
    Gone,
}

/// Says until when the change rules, and waits for the answer where there is somebody to ask.
pub fn wait(
    lock: Lock,
    terminal: Option<&Terminal>,
    Waits { generation, within, on_reconnect }: Waits,
    state: &State,
    kernel: &dyn Kernel,
    output: &Output,
) -> Result<Exit, Failure> {
    let deadline = Instant::now() + within;
    // Others may answer too.
    drop(lock);
    let login = on_reconnect.then(|| reconnect::start(generation, state)).flatten();
    let Some(terminal) = terminal else {
        let at = jiff::SignedDuration::try_from(within).ok();
        let at = at.and_then(|within| kernel.now().checked_add(within).ok());
        let at = at.map(|at| at.strftime(" (%H:%M:%S UTC)").to_string()).unwrap_or_default();
        let login = login.map_or_else(String::new, |user| {
            format!("A new login of {user} over SSH, from outside, keeps it.\n")
        });
        output.result(&format!(
            "Generation {generation} rules for {} s{at}; then the kernel takes it back.\n{login}\
             `fwctl confirm` keeps it, `fwctl rollback` takes it back at once.\n",
            within.as_secs()
        ))?;
        return Ok(Exit::Done);
    };
    output::aside(&format!(
        "\nGeneration {generation} rules now, for {} s. Log in anew in another window: {}\n\
         `keep` and Enter keeps it. `back` and Enter, or Ctrl-C, takes it back. Without an \
         answer the kernel takes it back.\n",
        within.as_secs(),
        match login {
            Some(user) => format!("a login of {user} keeps it."),
            None => "does it work?".to_owned(),
        }
    ));
    match ask(terminal, generation, deadline, kernel) {
        Answer::Gone => Ok(Exit::Done),
        Answer::Keep => {
            let lock = patient_lock(state)?;
            kept(pending::keep(&lock, Some(generation), state, kernel), state, output)
        }
        Answer::Back => {
            let lock = patient_lock(state)?;
            match pending::roll_back(&lock, state, kernel).map_err(|error| failed(&error))? {
                Some(generation) => {
                    output.result(&taken_back(generation))?;
                    Ok(Exit::RolledBack)
                }
                None => over(generation, &lock, state, kernel, output),
            }
        }
        Answer::Over => {
            let lock = patient_lock(state)?;
            over(generation, &lock, state, kernel, output)
        }
    }
}

/// What is said of a change that somebody took back.
pub fn taken_back(generation: u32) -> String {
    format!("Generation {generation} is taken back: the rules from before it are in force.\n")
}

/// What came of keeping a change. Keeping it twice is no failure.
pub fn kept(
    result: Result<u32, ApplyError>,
    state: &State,
    output: &Output,
) -> Result<Exit, Failure> {
    match result {
        Ok(generation) => {
            output.result(&format!("Generation {generation} is confirmed, and stays.\n"))?;
            cut::once_kept(generation, state, output);
            Ok(Exit::Done)
        }
        Err(error) => match &error {
            ApplyError::NothingPending { ended: Some((_, End { how: How::Kept, .. })) } => {
                output.result(&format!("Nothing to confirm: {error}.\n"))?;
                Ok(Exit::Done)
            }
            _ => Err(failed(&error)),
        },
    }
}

/// The change has ended without us: says how.
fn over(
    generation: u32,
    lock: &Lock,
    state: &State,
    kernel: &dyn Kernel,
    output: &Output,
) -> Result<Exit, Failure> {
    let found = pending::settle(lock, state, kernel).map_err(|error| failed(&error))?;
    if let Found::Waiting { generation: other, left } = found
        && other == generation
    {
        // The kernel's clock is the one that counts; it is a moment behind ours.
        std::thread::sleep(left + Duration::from_millis(20));
        return over(generation, lock, state, kernel, output);
    }
    kept(Err(pending::nothing_waits(Some(generation), &found, state)), state, output)
}

/// Another fwctl may be at work for a moment.
pub fn patient_lock(state: &State) -> Result<Lock, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match lock(state) {
            Err(failure) if failure.exit == Exit::Busy && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn ask(terminal: &Terminal, generation: u32, deadline: Instant, kernel: &dyn Kernel) -> Answer {
    let mut typed = Vec::new();
    let mut ruleset = kernel.generation().ok();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            output::aside("\n");
            return Answer::Over;
        }
        // Somebody else's transaction may be an answer from elsewhere.
        let now = kernel.generation().ok();
        if now != ruleset && !still_armed(generation, kernel) {
            output::aside("\n");
            return Answer::Over;
        }
        ruleset = now;
        let typed_so_far = String::from_utf8_lossy(&typed).into_owned();
        output::aside(&format!("\r\x1b[K{:>4} s left > {typed_so_far}", left.as_secs() + 1));
        let part = Duration::from_nanos(left.subsec_nanos().into()).max(Duration::from_millis(1));
        let Ok(timeout) = Timespec::try_from(part.min(TICK)) else { return Answer::Gone };
        let stdin = std::io::stdin();
        let mut fds =
            [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&terminal.interrupts, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return Answer::Gone,
        }
        let (input, interrupted) = (fds[0].revents(), !fds[1].revents().is_empty());
        if input.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Answer::Gone;
        }
        if interrupted {
            output::aside("\n");
            return Answer::Back;
        }
        let mut buffer = [0; 256];
        match rustix::io::read(&stdin, &mut buffer) {
            // The end of input is no answer: whoever typed it may be gone.
            Ok(0) => return Answer::Gone,
            Ok(length) => typed.extend_from_slice(&buffer[..length]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return Answer::Gone,
        }
        while let Some(end) = typed.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = typed.drain(..=end).collect();
            match String::from_utf8_lossy(&line).trim() {
                "keep" => return Answer::Keep,
                "back" => return Answer::Back,
                _ => output::aside("  `keep` or `back`?\n"),
            }
        }
    }
}

fn still_armed(generation: u32, kernel: &dyn Kernel) -> bool {
    let Ok(table) = kernel.read_table() else { return true };
    let found = table.as_ref().and_then(crate::plan::pending::read);
    found.is_some_and(|found| {
        found.generation == generation
            && matches!(found.phase, crate::plan::pending::Phase::Armed { .. })
    })
}
