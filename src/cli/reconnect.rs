//! `--confirm-on-reconnect`: a process in the background that waits for a login and confirms.
//!
//! It stands apart from the command that starts it, from its terminal and its session: whoever has
//! lost those logs in anew, and that is what it waits for. It is `fwctl confirm N --on-reconnect`,
//! which anybody may run in the foreground as well.

use super::inputs::UNTOUCHED;
use super::{Exit, failure::Failure, output, output::Output, wait};
use crate::apply::{ApplyError, Kernel, Reconnect, State, Waiting, pending};
use crate::plan::pending::Phase;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often to look for new connections; a login takes several times as long.
const TICK: Duration = Duration::from_millis(20);

/// How often to look at one on which somebody may be logging in. What `ssh HOST true` runs is over
/// soon.
const CLOSELY: Duration = Duration::from_millis(2);

/// How often to look whether the change still waits.
const ANEW: Duration = Duration::from_millis(500);

/// How long the process may take until it waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts it, and gives the user whose login it waits for. A change is armed, so what goes wrong
/// here is a warning: it is to be confirmed by hand then.
pub fn start(generation: u32, state: &State) -> Option<String> {
    let started = begin(generation, state);
    if let Err(why) = &started {
        output::warning(&format!("a new login will not confirm the change: {why}"));
    }
    started.ok()
}

fn begin(generation: u32, state: &State) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["confirm", "--quiet", "--on-reconnect", &generation.to_string()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let waiting = Waiting::read(state);
        if let Some(waiting) = waiting.filter(|waiting| waiting.process == child.id()) {
            return Ok(waiting.user);
        }
        if let Ok(Some(_)) = child.try_wait() {
            return Err("who made it is not known, or the sockets cannot be read".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("the process that waits for it did not start".to_owned())
}

/// Waits for the login, and confirms.
pub fn wait(
    generation: Option<u32>,
    state: &State,
    kernel: &dyn Kernel,
    output: &Output,
) -> Result<Exit, Failure> {
    // Started in the background, it has no terminal to lose: a session of its own. In the
    // foreground of a terminal this fails or is not wanted, and Ctrl-C ends it.
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let _ = rustix::process::setsid();
    }
    let Some(armed) = armed(kernel).filter(|own| generation.is_none_or(|wanted| wanted == *own))
    else {
        // It says what became of it.
        let lock = wait::patient_lock(state)?;
        return wait::kept(pending::keep(&lock, generation, state, kernel), state, output);
    };
    let user = state.read_attempt().filter(|attempt| attempt.generation == armed);
    let Some(user) = user.and_then(|attempt| attempt.by).map(|by| by.user) else {
        let headline = format!("it is not known who made generation {armed}");
        return Err(Failure::new(Exit::Failed, headline)
            .state(UNTOUCHED)
            .hint("`fwctl confirm` keeps it"));
    };
    let mut reconnect = Reconnect::begin(user.clone()).map_err(|error| unseen(&error))?;
    let waiting = Waiting { generation: armed, user, process: std::process::id() };
    waiting.write(state).map_err(|error| unseen(&error))?;
    output.note(&format!("waiting for a new login of {}", waiting.user));
    let result = until(&mut reconnect, armed, state, kernel, output);
    Waiting::forget(state);
    result
}

fn until(
    reconnect: &mut Reconnect,
    generation: u32,
    state: &State,
    kernel: &dyn Kernel,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut login = None;
    let mut ruleset = None;
    let mut looked: Option<Instant> = None;
    // When, and how long that took: no busy loop, where there are very many connections.
    let mut listened = None;
    loop {
        // Somebody's transaction may have ended it; the kernel's own end is none.
        let now = kernel.generation().ok();
        if now != ruleset || looked.is_none_or(|at| at.elapsed() > ANEW) {
            looked = Some(Instant::now());
            if armed(kernel) != Some(generation) {
                let lock = wait::patient_lock(state)?;
                return wait::kept(
                    pending::keep(&lock, Some(generation), state, kernel),
                    state,
                    output,
                );
            }
        }
        ruleset = now;
        // What fails is tried again.
        if listened.is_none_or(|at: (Instant, Duration)| at.0.elapsed() > TICK.max(at.1 * 4)) {
            let began = Instant::now();
            let _ = reconnect.listen();
            listened = Some((Instant::now(), began.elapsed()));
        }
        let login_now = reconnect.look().ok().flatten();
        login = login.or(login_now);
        // Where another fwctl is at work, a moment later it is not.
        if login.is_some()
            && let Ok(lock) = state.lock()
        {
            match pending::keep(&lock, Some(generation), state, kernel) {
                Err(ApplyError::StillWaits(_) | ApplyError::Read { .. }) => {}
                result => return wait::kept(result, state, output),
            }
        }
        std::thread::sleep(if reconnect.is_anybody_there() { CLOSELY } else { TICK });
    }
}

/// The generation that waits.
fn armed(kernel: &dyn Kernel) -> Option<u32> {
    let table = kernel.read_table().ok()??;
    let found = crate::plan::pending::read(&table)?;
    matches!(found.phase, Phase::Armed { .. }).then_some(found.generation)
}

fn unseen(error: &dyn std::error::Error) -> Failure {
    Failure::from_error(Exit::Failed, "new logins cannot be seen", error)
        .state(UNTOUCHED)
        .hint("`fwctl confirm` keeps the change")
}
