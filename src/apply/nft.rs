//! Runs `nft(8)`: by its absolute path, with a bound on its time, and what it says kept.
//!
//! Its own start takes as long as a small transaction, and so does its reading of one. So it can be
//! started before it is known whether anything will be sent at all ([`Nft::start`]), and be handed
//! the transaction before that may be made ([`Waiting::hand_over`]): it reads it, and then waits for
//! the rest of an unfinished statement on its standard input. Where the rest never comes, the input
//! ends in a syntax error, and nft does nothing: it sends what it has read whole, or not at all.

use super::state::inheritable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::CStr;
use std::fs::File;
use std::io::{PipeWriter, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Where distributions put it. `PATH` is not asked: it may be anybody's.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];

/// The longest that one transaction may take. A set of 100,000 prefixes takes about a second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why nft did not do what it was told. Unless it says otherwise, the kernel's rules are as they
/// were: a batch is committed whole or not at all.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is none.
    #[error("there is no nft in {}; install the package nftables", PLACES.join(", "))]
    Missing,
    /// It could not be started, or talked to.
    #[error("{path} could not be run")]
    Run {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("nft did not end within {} s and was killed; the change may have been made", TIMEOUT.as_secs())]
    Timeout,
    /// It refused.
    #[error("nft refused the change: {stderr}")]
    Refused {
        /// What it wrote.
        stderr: String,
    },
}

/// nft on this machine.
#[derive(Debug, Clone)]
pub struct Nft {
    path: PathBuf,
}

impl Nft {
    /// Finds it.
    pub fn find() -> Result<Self, NftError> {
        let found = PLACES.iter().map(Path::new).find(|path| path.exists());
        found.map(|path| Self { path: path.to_owned() }).ok_or(NftError::Missing)
    }

    /// Runs one transaction.
    pub fn run(&self, transaction: &str) -> Result<(), NftError> {
        self.start()?.run(transaction)
    }

    /// Starts it, without a word of what it is to do.
    pub fn start(&self) -> Result<Waiting, NftError> {
        let failed = |source| NftError::Run { path: self.path.clone(), source };
        let transaction = memory(c"transaction").map_err(failed)?;
        let complaint = memory(c"complaint").map_err(failed)?;
        let (theirs, gate) = std::io::pipe().map_err(failed)?;
        // Until nft has ended the lock is held, whether we live or not.
        let lock = inheritable().map_err(failed)?;
        let child = Command::new(&self.path)
            // By the name of a file, so that it is read as it comes: of `-` nft reads all before it
            // looks at any.
            .args(["-f", "/proc/self/fd/0"])
            .env_clear()
            .stdin(theirs)
            // It writes nothing there; it is the one other descriptor by which it can be handed a
            // file that has no name.
            .stdout(reading(&transaction).map_err(failed)?)
            .stderr(complaint.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        drop(lock);
        Ok(Waiting {
            path: self.path.clone(),
            child,
            gate: Some(gate),
            transaction,
            complaint,
            handed_over: None,
        })
    }
}

/// nft that has started and waits to be told what to do.
///
/// If we die, it is told nothing, and ends.
#[derive(Debug)]
pub struct Waiting {
    path: PathBuf,
    child: Child,
    /// Open while it waits.
    gate: Option<PipeWriter>,
    transaction: File,
    complaint: File,
    /// What it reads already.
    handed_over: Option<String>,
}

/// What nft is to read, and the beginning of a statement that means nothing: its name is used
/// nowhere. So short that a pipe takes all of it or nothing, as is [`GO`].
const READ: &[u8] = b"include \"/proc/self/fd/1\"\ndefine fwctl_waits = ";
/// The end of the statement, without which nothing is sent.
const GO: &[u8] = b"1\n";

impl Waiting {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it read the transaction that it is to make, without making it.
    ///
    /// The memory that nft reads holds all of it before nft is told so. Where this fails,
    /// [`run`](Self::run) says why.
    pub fn hand_over(&mut self, transaction: &str) -> std::io::Result<()> {
        self.transaction.write_all(transaction.as_bytes())?;
        self.handed_over = Some(transaction.to_owned());
        self.gate.as_mut().map_or(Ok(()), |gate| gate.write_all(READ))
    }

    /// Whether it was handed another transaction than this one.
    pub fn expects_another(&self, transaction: &str) -> bool {
        self.handed_over.as_deref().is_some_and(|own| own != transaction)
    }

    /// Lets it make one transaction, and waits for its end.
    ///
    /// If fwctl dies while nft runs, nft goes on alone with the whole of the transaction, never with
    /// the half that went through a pipe. The kernel commits the batch or does not.
    pub fn run(mut self, transaction: &str) -> Result<(), NftError> {
        let path = self.path.clone();
        let failed = move |source| NftError::Run { path: path.clone(), source };
        let told = match self.handed_over {
            Some(_) => Ok(()),
            None => self.hand_over(transaction),
        };
        // If we die before this, nft does nothing; behind it, nft goes on alone.
        let told =
            told.and_then(|()| self.gate.take().map_or(Ok(()), |mut gate| gate.write_all(GO)));
        if let Err(error) = told {
            // Nobody reads any more, or not all could be written: nobody was told.
            let _ = self.child.kill();
            let _ = self.child.wait();
            return Err(match self.complaint().map_err(&failed)? {
                silence if silence.is_empty() => failed(error),
                stderr => NftError::Refused { stderr },
            });
        }
        let ended = wait(&mut self.child, Instant::now() + TIMEOUT);
        if !matches!(ended, Ok(true)) {
            // It is our own child and not reaped yet, so the id is still its.
            let _ = self.child.kill();
        }
        let status = self.child.wait().map_err(&failed)?;
        if !ended.map_err(&failed)? {
            return Err(NftError::Timeout);
        }
        if status.success() {
            return Ok(());
        }
        Err(NftError::Refused { stderr: self.complaint().map_err(&failed)? })
    }

    /// What it wrote to its standard error.
    fn complaint(&mut self) -> std::io::Result<String> {
        self.complaint.rewind()?;
        Ok(of_the_transaction(&std::io::read_to_string(&self.complaint)?))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // One that was told nothing has nothing to lose. One that has ended is reaped already.
        if self.gate.take().is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What nft complains of, without the way by which it came to the transaction.
fn of_the_transaction(complaint: &str) -> String {
    let lines = complaint.lines().filter(|line| !line.starts_with("In file included from "));
    let lines: Vec<&str> =
        lines.map(|line| line.strip_prefix("/proc/self/fd/1:").unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

/// The same file, to be read from its start and not to be written.
fn reading(file: &File) -> std::io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A file that is in memory only and has no name.
fn memory(label: &CStr) -> std::io::Result<File> {
    Ok(File::from(memfd_create(label, MemfdFlags::CLOEXEC)?))
}

/// Waits until the child has ended; false where the deadline came first.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("nft has no process id"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
