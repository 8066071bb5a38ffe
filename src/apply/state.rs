//! What fwctl keeps on disk: generations, and which of them is confirmed.
//!
//! Every file is written whole beside its place, synced, and renamed into it: after a crash there
//! is the old file or the new one, never half of one.

use crate::observe::{CONFIRMED, GENERATIONS, Installed, generations};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// How many generations are kept; older ones are deleted.
const KEEP: usize = 32;

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
    #[error("another fwctl is changing this host right now (it holds {})", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

/// The directories of fwctl, below a prefix for tests and image builds.
#[derive(Debug, Clone)]
pub struct State {
    root: PathBuf,
    library: PathBuf,
    run: PathBuf,
}

/// Held while a change is made. The kernel releases it when its holder dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl State {
    /// The directories below `root`, `/` on a live host.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            library: root.join("var/lib/fwctl"),
            run: root.join("run/fwctl"),
        }
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
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Locked { path }),
            Err(error) => Err(io("could not lock", &path)(error.into())),
        }
    }

    fn generation(&self, number: u32) -> PathBuf {
        self.root.join(GENERATIONS).join(number.to_string())
    }

    /// Keeps a generation: what was installed, and its table as text for people.
    pub fn write_generation(&self, installed: &Installed, table: &str) -> Result<(), StateError> {
        let directory = self.generation(installed.generation);
        make_directory(&directory)?;
        write(&directory.join("table.nft"), table.as_bytes())?;
        write(&directory.join("installed.json"), &json(installed))?;
        sync_directory(&self.root.join(GENERATIONS))?;
        self.prune(installed.generation)
    }

    /// Names the generation that is in force.
    pub fn confirm(&self, installed: &Installed) -> Result<(), StateError> {
        make_directory(&self.library)?;
        write(&self.root.join(CONFIRMED), &json(installed))
    }

    /// No generation is in force any more; they are all kept.
    pub fn unconfirm(&self) -> Result<(), StateError> {
        let path = self.root.join(CONFIRMED);
        match fs::remove_file(&path) {
            Ok(()) => sync_directory(&self.library),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("could not remove", &path)(error)),
        }
    }

    /// A generation that is kept; `None` where it is not, or not readable.
    pub fn read_generation(&self, number: u32) -> Option<Installed> {
        let text = fs::read(self.generation(number).join("installed.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// A file below `/run`, which a reboot empties.
    pub fn run_file(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// Writes a file below `/run`.
    pub fn write_run_file(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        make_directory(&self.run)?;
        write(&self.run.join(name), content)
    }

    fn prune(&self, newest: u32) -> Result<(), StateError> {
        let numbers = generations(&self.root.join(GENERATIONS));
        let excess = numbers.len().saturating_sub(KEEP);
        for number in numbers.into_iter().filter(|number| *number != newest).take(excess) {
            let path = self.generation(number);
            fs::remove_dir_all(&path).map_err(io("could not remove", &path))?;
        }
        Ok(())
    }
}

fn json(installed: &Installed) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(installed).expect("it has only string keys");
    text.push(b'\n');
    text
}

/// Makes a directory that only root can look into.
fn make_directory(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(io("could not make", path))
}

/// Writes a file whole: the old content or the new is there, whenever the machine dies.
fn write(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(io("could not create", &beside))?;
    file.write_all(content).map_err(io("could not write", &beside))?;
    file.sync_all().map_err(io("could not sync", &beside))?;
    fs::rename(&beside, path).map_err(io("could not replace", path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> Result<(), StateError> {
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
