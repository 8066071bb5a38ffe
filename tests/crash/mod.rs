//! Runs a program under ptrace(2), stops it before each system call by which it changes something
//! outside itself, or says something, and kills it there if asked to.
//!
//! Nothing in the program knows of it. An effect is a call that makes, writes, syncs, renames or
//! removes a file; that it tells `nft`, its child, to go on; that nft is started, begins to read
//! what it is to do, acts on that, and sends more to the kernel. Where the program is killed when nft
//! has started, reads or begins to act, nft goes on alone; where it is killed before nft sends more,
//! nft dies with it.
//!
//! nft may start while the program still writes files, so each has numbers of its own.

// Each test file compiles this module anew and uses a part of it.
#![allow(dead_code)]

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Completed(i32),
    /// Killed, before it told nft to go on.
    Killed,
    /// Killed in the moment in which it told nft to go on: nobody knows which came first.
    KilledWhileTelling,
    /// Killed when it had told nft to go on.
    KilledBehindTelling,
}

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Program,
    Nft,
    Other,
}

/// An effect, in the order of those of the same processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What it is.
    pub what: &'static str,
    /// Whether it is nft's.
    pub of_nft: bool,
    /// How many of the program's, or of all nft's, were before it.
    pub number: usize,
}

/// nft has started, and was told nothing yet.
pub const STARTS: &str = "start nft";
/// nft reads what it is to do once it is told.
pub const READS: &str = "nft reads what it is to do";
/// nft was told, and has not done anything yet.
pub const ACTS: &str = "nft begins to act";
/// The program tells nft.
const TELLS: &str = "tell nft";
/// nft sends something, but not for the first time.
pub const SENDS: &str = "nft sends";

/// What happens before an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoesOn,
    /// The program is killed; an nft that has just started or been told goes on alone to its end.
    Dies,
    /// The program is killed; the nft that was just told stands still.
    Stands,
}

/// An nft whose fwctl was killed, and which was told what to do and has not done anything yet.
#[derive(Debug)]
pub struct Orphan(Pid);

impl Orphan {
    /// Lets it go on, to its end.
    pub fn finish(self) {
        kill(self.0, Signal::SIGCONT).unwrap();
        await_end(self.0);
    }
}

/// Runs `command`, whose program has the file name `program`. Before each effect `dies` says
/// whether all ends there.
pub fn run(command: &Command, program: &str, mut dies: impl FnMut(&Effect) -> bool) -> End {
    trace(command, program, |effect| if dies(effect) { Next::Dies } else { Next::GoesOn }).0
}

/// Kills the program when it has told nft to go on for the time number `nth`, from 0; `None`
/// where it does not so often.
pub fn orphan(command: &Command, program: &str, nth: usize) -> Option<Orphan> {
    let mut told = 0;
    let next = |effect: &Effect| {
        told += usize::from(effect.what == ACTS);
        if told > nth { Next::Stands } else { Next::GoesOn }
    };
    trace(command, program, next).1
}

fn trace(
    command: &Command,
    program: &str,
    mut next: impl FnMut(&Effect) -> Next,
) -> (End, Option<Orphan>) {
    let first = start(command);
    let mut threads: HashMap<Pid, Who> = HashMap::new();
    let mut effects = [0, 0];
    // Those that have sent something, and whether the newest was told, or is being told.
    let mut acting = HashSet::new();
    let mut telling = false;
    let mut end = None;
    let mut orphan = None;
    loop {
        // Only what this thread has started or traces; other tests have children, too.
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(status) => status,
            Err(nix::Error::ECHILD) => return (end.unwrap(), orphan),
            Err(error) => panic!("waitpid: {error}"),
        };
        let (pid, pass) = match status {
            WaitStatus::Exited(pid, code) => {
                threads.remove(&pid);
                if pid == first && end.is_none() {
                    end = Some(End::Completed(code));
                }
                continue;
            }
            WaitStatus::Signaled(pid, ..) => {
                threads.remove(&pid);
                if pid == first && end.is_none() {
                    end = Some(End::Killed);
                }
                continue;
            }
            WaitStatus::PtraceSyscall(pid) => (pid, None),
            WaitStatus::PtraceEvent(pid, _, event) => {
                match event {
                    libc::PTRACE_EVENT_EXEC => _ = threads.remove(&pid),
                    libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => telling = false,
                    _ => {}
                }
                (pid, None)
            }
            // Signals of its own; the stop that it began with is not repeated.
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
        };
        let started = !threads.contains_key(&pid);
        let who = *threads.entry(pid).or_insert_with(|| who(pid, program));
        let effect = match status {
            WaitStatus::PtraceSyscall(_) => match effect(pid, who) {
                Some(SENDS) if acting.insert(pid) => Some(ACTS),
                effect => effect,
            },
            WaitStatus::PtraceEvent(..) if started && who == Who::Nft => Some(STARTS),
            _ => None,
        };
        if let Some(what) = effect
            && end.is_none()
        {
            let of_nft = who == Who::Nft;
            let number = effects[usize::from(of_nft)];
            effects[usize::from(of_nft)] += 1;
            let next = next(&Effect { what, of_nft, number });
            if next == Next::GoesOn {
                telling |= what == TELLS;
            } else {
                end = Some(match what {
                    ACTS => End::KilledBehindTelling,
                    STARTS | READS if telling => End::KilledWhileTelling,
                    _ => End::Killed,
                });
                let _ = kill(first, Signal::SIGKILL);
                if next == Next::Stands {
                    // It meets the signal behind the call at which it stopped.
                    kill(pid, Signal::SIGSTOP).unwrap();
                    ptrace::detach(pid, None).unwrap();
                    orphan = Some(Orphan(pid));
                } else if [STARTS, READS, ACTS].contains(&what) {
                    // It goes on alone.
                    ptrace::detach(pid, None).unwrap();
                    await_end(pid);
                } else if of_nft {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                continue;
            }
        }
        // A thread that was killed meanwhile is not there any more.
        let _ = ptrace::syscall(pid, pass.filter(|signal| *signal != Signal::SIGSTOP));
    }
}

/// Starts it, stopped before its first instruction, and traces it.
#[expect(clippy::zombie_processes, reason = "the loop of `run` waits for all of them")]
fn start(command: &Command) -> Pid {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(words);
    for (name, value) in command.get_envs() {
        stopped.env(name, value.unwrap_or_default());
    }
    stopped.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = stopped.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stop = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stop, WaitStatus::Stopped(..)), "{stop:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    pid
}

fn who(pid: Pid, program: &str) -> Who {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    match exe.file_name().and_then(|name| name.to_str()) {
        Some(name) if name == program => Who::Program,
        Some("nft") => Who::Nft,
        _ => Who::Other,
    }
}

/// The effect that a call is about to have.
fn effect(pid: Pid, who: Who) -> Option<&'static str> {
    let entry = || ptrace::syscall_info(pid).is_ok_and(|c| c.op == libc::PTRACE_SYSCALL_INFO_ENTRY);
    if who == Who::Other || !entry() {
        return None;
    }
    let (number, arguments) = call(pid)?;
    if who == Who::Nft {
        return match number {
            libc::SYS_sendmsg | libc::SYS_sendto => Some(SENDS),
            libc::SYS_openat if holds(pid, arguments[1], b"/proc/self/fd/1\0") => Some(READS),
            _ => None,
        };
    }
    let writes = libc::O_CREAT | libc::O_WRONLY | libc::O_RDWR | libc::O_TRUNC;
    match number {
        libc::SYS_openat => {
            (arguments[2] & u64::from(writes.unsigned_abs()) != 0).then_some("open")
        }
        libc::SYS_write if arguments[2] == 2 && holds(pid, arguments[1], b"1\n") => Some(TELLS),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => Some("write"),
        libc::SYS_fsync | libc::SYS_fdatasync => Some("sync"),
        libc::SYS_renameat | libc::SYS_renameat2 => Some("rename"),
        libc::SYS_unlinkat => Some("remove"),
        libc::SYS_mkdirat => Some("make a directory"),
        libc::SYS_ftruncate | libc::SYS_linkat | libc::SYS_symlinkat => Some("change"),
        _ => older(number),
    }
}

/// Whether this is what stands at this address of a process.
fn holds(pid: Pid, address: u64, bytes: &[u8]) -> bool {
    let Ok(memory) = std::fs::File::open(format!("/proc/{pid}/mem")) else { return false };
    let mut there = vec![0; bytes.len()];
    memory.read_exact_at(&mut there, address).is_ok() && there == bytes
}

/// Calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
fn older(number: i64) -> Option<&'static str> {
    match number {
        libc::SYS_open | libc::SYS_creat => Some("open"),
        libc::SYS_rename => Some("rename"),
        libc::SYS_unlink | libc::SYS_rmdir => Some("remove"),
        libc::SYS_mkdir => Some("make a directory"),
        libc::SYS_link | libc::SYS_symlink => Some("change"),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: i64) -> Option<&'static str> {
    None
}

/// The number of the call and its first three arguments.
#[cfg(target_arch = "x86_64")]
fn call(pid: Pid) -> Option<(i64, [u64; 3])> {
    let registers = ptrace::getregs(pid).ok()?;
    let number = i64::try_from(registers.orig_rax).ok()?;
    Some((number, [registers.rdi, registers.rsi, registers.rdx]))
}

#[cfg(target_arch = "aarch64")]
fn call(pid: Pid) -> Option<(i64, [u64; 3])> {
    let registers = ptrace::getregs(pid).ok()?.regs;
    Some((i64::try_from(registers[8]).ok()?, [registers[0], registers[1], registers[2]]))
}

/// Waits for a process that is nobody's here any more.
fn await_end(pid: Pid) {
    let end = Instant::now() + Duration::from_secs(20);
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; its new parent may take its time.
    while Path::new(&format!("/proc/{pid}")).exists() && !state().contains(") Z ") {
        assert!(Instant::now() < end, "{pid} does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}
