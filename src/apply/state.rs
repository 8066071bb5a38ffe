//! Where fwctl keeps its files, how they are written, and the lock.
//!
//! Every file is written whole beside its place, synced, and renamed into it: after a crash there
//! is the old file or the new one, never half of one.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What went wrong on disk. The kernel's rules are as they were.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory could not be read or written.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another fwctl is at work.
    #[error(
        "another fwctl is changing this host right now (it, or an nft that it started, holds {})",
        path.display()
    )]
    Locked {
        /// The lock.
        path: PathBuf,
    },
}

pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

/// There while a change in place is under way, below `/run`: a reboot empties the kernel as well.
const IN_PLACE: &str = "in-place";

/// The directories of fwctl, below a prefix for tests and image builds.
#[derive(Debug, Clone)]
pub struct State {
    root: PathBuf,
    run: PathBuf,
}

/// Held while a change is made. The kernel releases it when its holder has died, and with it the
/// nft that this one had started: it goes on alone and may be about to commit, and whoever comes
/// next must meet what it made, not the moment before.
#[derive(Debug)]
pub struct Lock {
    _file: Arc<File>,
}

/// The lock that this process holds, for the nft that it starts.
static HELD: Mutex<Weak<File>> = Mutex::new(Weak::new());

/// The lock in a form that a process inherits which is started now. flock(2) is of the open file:
/// it is held until the last of those who have it closes it. `None` where no lock is held.
pub(super) fn inheritable() -> std::io::Result<Option<OwnedFd>> {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    Ok(held.map(|file| rustix::io::dup(&*file)).transpose()?)
}

impl State {
    /// The directories below `root`, `/` on a live host.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), run: root.join("run/fwctl") }
    }

    /// Takes the lock, or says that another has it.
    pub fn lock(&self) -> Result<Lock, StateError> {
        make_directory(&self.run)?;
        let path = self.run.join("lock");
        let open = rustix::fs::open(
            &path,
            OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::from_raw_mode(0o600),
        );
        let file = File::from(open.map_err(|error| io("could not open", &path)(error.into()))?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let file = Arc::new(file);
                *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&file);
                Ok(Lock { _file: file })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Locked { path }),
            Err(error) => Err(io("could not lock", &path)(error.into())),
        }
    }

    /// Notes that a change in place is under way that takes more than one transaction.
    pub(super) fn begin_in_place(&self, generation: u32) -> Result<(), StateError> {
        self.write_run_file(IN_PLACE, format!("{generation}\n").as_bytes())
    }

    /// Whether such a change was begun and not ended.
    pub(super) fn in_place_begun(&self) -> bool {
        self.run_file(IN_PLACE).exists()
    }

    /// Such a change has ended.
    pub(super) fn end_in_place(&self) -> Result<(), StateError> {
        let path = self.run_file(IN_PLACE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io("could not remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// What stands in for `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `/var/lib/fwctl`.
    pub(super) fn library(&self) -> PathBuf {
        self.root.join("var/lib/fwctl")
    }

    /// A file below `/run`, which a reboot empties.
    pub fn run_file(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// Writes a file below `/run`.
    pub fn write_run_file(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        make_directory(&self.run)?;
        write_as(&self.run.join(name), content, Durable::Process)
    }
}

/// Makes a directory that only root can look into.
pub(super) fn make_directory(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(io("could not make", path))
}

/// What a file outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    /// The death of this process.
    Process,
    /// The death of the machine.
    Machine,
}

/// Writes a file whole: the old content or the new is there, whenever the machine dies.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), StateError> {
    write_as(path, content, Durable::Machine)
}

/// The same where nobody waits for the disk if only this process's death counts.
fn write_as(path: &Path, content: &[u8], durable: Durable) -> Result<(), StateError> {
    let beside = path.with_extension("new");
    let written = write_beside(&beside, path, content, durable);
    if written.is_err() {
        // A full disk has more use for the space.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_beside(
    beside: &Path,
    path: &Path,
    content: &[u8],
    durable: Durable,
) -> Result<(), StateError> {
    let mut file = File::create(beside).map_err(io("could not create", beside))?;
    file.write_all(content).map_err(io("could not write", beside))?;
    if durable == Durable::Machine {
        file.sync_all().map_err(io("could not sync", beside))?;
    }
    fs::rename(beside, path).map_err(io("could not replace", path))?;
    match (durable, path.parent()) {
        (Durable::Machine, Some(directory)) => sync_directory(directory),
        (Durable::Machine, None) | (Durable::Process, _) => Ok(()),
    }
}

pub(super) fn sync_directory(path: &Path) -> Result<(), StateError> {
    let directory = File::open(path).map_err(io("could not open", path))?;
    directory.sync_all().map_err(io("could not sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_the_lock_and_a_dead_one_does_not() {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = State::below(root.path());
        let lock = state.lock().expect("free");
        assert!(matches!(state.lock(), Err(StateError::Locked { .. })));
        drop(lock);
        assert!(state.lock().is_ok());
    }
}
