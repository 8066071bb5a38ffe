//! Runs `nft(8)`: by its absolute path, with a bound on its time, and what it says kept.

use super::state::inheritable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::CStr;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
    ///
    /// nft reads it from memory that already holds all of it: if fwctl dies while nft runs, nft
    /// goes on alone with the whole of it, never with the half that went through a pipe. The
    /// kernel commits the batch or does not.
    pub fn run(&self, transaction: &str) -> Result<(), NftError> {
        let failed = |source| NftError::Run { path: self.path.clone(), source };
        let mut stdin = memory(c"transaction").map_err(failed)?;
        stdin.write_all(transaction.as_bytes()).and_then(|()| stdin.rewind()).map_err(failed)?;
        let mut stderr = memory(c"complaint").map_err(failed)?;
        // Until nft has ended the lock is held, whether we live or not.
        let lock = inheritable().map_err(failed)?;
        let mut child = Command::new(&self.path)
            .args(["-f", "-"])
            .env_clear()
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(stderr.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        drop(lock);
        let ended = wait(&mut child, Instant::now() + TIMEOUT);
        if !matches!(ended, Ok(true)) {
            // It is our own child and not reaped yet, so the id is still its.
            let _ = child.kill();
        }
        let status = child.wait().map_err(failed)?;
        if !ended.map_err(failed)? {
            return Err(NftError::Timeout);
        }
        if status.success() {
            return Ok(());
        }
        stderr.rewind().map_err(failed)?;
        let complaint = std::io::read_to_string(stderr).map_err(failed)?;
        Err(NftError::Refused { stderr: complaint.trim().to_owned() })
    }
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
