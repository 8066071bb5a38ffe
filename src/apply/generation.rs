//! One generation on disk: what is kept of it, and whether it is still what was written.
//!
//! A generation is a folder: `table.nft`, the text that boot loads; `installed.json`, the policy
//! and when it was applied; `SHA256SUMS` of both, in the form of sha256sum(1); and `confirmed`,
//! which is there once it was confirmed. The folder appears whole or not at all, and what the sums
//! do not confirm is never loaded.

use super::state::{State, StateError, io, make_directory, sync_directory, write};
use crate::compile;
use crate::model::nft::{Bytes, Table, text};
use crate::observe::{CONFIRMED, GENERATIONS, Installed, generations};
use crate::plan::{Marker, marker};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const TABLE: &str = "table.nft";
const INSTALLED: &str = "installed.json";
const SUMS: &str = "SHA256SUMS";
const ONCE_CONFIRMED: &str = "confirmed";

/// A generation that is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// The policy, and when it was applied.
    pub installed: Installed,
    /// The table in the language of `nft(8)`, with its marker, without what was of its moment.
    pub table: String,
}

/// Why what is on disk cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is not there.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{} cannot be read ({why})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Its digest is not the one that was written with it.
    #[error("{} is not what fwctl wrote: its SHA-256 is another one", .0.display())]
    Altered(PathBuf),
    /// It is no text of ours, or speaks of another generation.
    #[error("{} is broken", .0.display())]
    Broken(PathBuf),
}

impl State {
    /// Keeps a generation: from here on it outlives the machine. If that dies meanwhile, or the
    /// disk is full, a folder that was there is as it was.
    pub fn write_generation(&self, installed: &Installed, table: &Table) -> Result<(), StateError> {
        self.write_generation_text(installed, &text::table(&compile::lasting(table)))
    }

    /// The same where the table's text is made already.
    pub(super) fn write_generation_text(
        &self,
        installed: &Installed,
        table: &str,
    ) -> Result<(), StateError> {
        let fresh = self.folder().join(format!(".{}.new", installed.generation));
        let written = self.write_fresh(&fresh, installed, table);
        if written.is_err() {
            // A full disk has more use for the space.
            let _ = fs::remove_dir_all(&fresh);
        }
        written?;
        self.prune(installed)
    }

    fn write_fresh(
        &self,
        fresh: &Path,
        installed: &Installed,
        table: &str,
    ) -> Result<(), StateError> {
        let folder = self.generation(installed.generation);
        let first = !self.library().exists();
        make_directory(&self.folder())?;
        if first && let Some(above) = self.library().parent() {
            sync_directory(above)?;
        }
        remove(fresh)?;
        make_directory(fresh)?;
        let json = json(installed);
        let files = [(INSTALLED, json.as_slice()), (TABLE, table.as_bytes())];
        let sums: String = files.map(|(name, own)| format!("{}  {name}\n", sha256(own))).concat();
        let files = files.into_iter().chain([(SUMS, sums.as_bytes())]);
        let files = files.map(|(name, content)| create(fresh.join(name), content));
        // All are written before the first is synced: where a file system has a journal, one entry
        // of it may then do for all.
        for (path, file) in files.collect::<Result<Vec<_>, _>>()? {
            file.sync_all().map_err(io("could not sync", &path))?;
        }
        sync_directory(fresh)?;
        if folder.exists() {
            // Made again under its number: the old folder stays until the new one stands.
            let exchanged = renameat_with(CWD, fresh, CWD, &folder, RenameFlags::EXCHANGE);
            if exchanged.is_err() {
                // A file system that cannot exchange.
                remove(&folder)?;
                fs::rename(fresh, &folder).map_err(io("could not make", &folder))?;
            }
            remove(fresh)?;
        } else {
            fs::rename(fresh, &folder).map_err(io("could not make", &folder))?;
        }
        sync_directory(&self.folder())?;
        // The folder of all generations may be new itself.
        sync_directory(&self.library())
    }

    /// Names the generation that is in force, and that boot loads.
    pub fn confirm(&self, installed: &Installed) -> Result<(), StateError> {
        let folder = self.generation(installed.generation);
        if folder.exists() {
            // If we die here, it counts as once confirmed: it is in force already.
            write(&folder.join(ONCE_CONFIRMED), b"")?;
        }
        make_directory(&self.library())?;
        write(&self.root().join(CONFIRMED), &json(installed))
    }

    /// No generation is in force any more; they are all kept.
    pub fn unconfirm(&self) -> Result<(), StateError> {
        let path = self.root().join(CONFIRMED);
        match fs::remove_file(&path) {
            Ok(()) => sync_directory(&self.library()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("could not remove", &path)(error)),
        }
    }

    /// The generation that boot loads; `None` where nothing is confirmed.
    pub fn confirmed(&self) -> Result<Option<Installed>, Damage> {
        let path = self.root().join(CONFIRMED);
        match read(&path) {
            Err(Damage::Missing(_)) => Ok(None),
            Err(damage) => Err(damage),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| Damage::Broken(path)),
        }
    }

    /// A generation that is kept; `None` where it is not, or not readable.
    pub fn read_generation(&self, number: u32) -> Option<Installed> {
        let text = fs::read(self.generation(number).join(INSTALLED)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// A generation whose files are all as they were written.
    pub fn sound_generation(&self, number: u32) -> Result<Sound, Damage> {
        let folder = self.generation(number);
        let sums = folder.join(SUMS);
        let listed = String::from_utf8(read(&sums)?).map_err(|_| Damage::Broken(sums))?;
        let sound = |name: &str| -> Result<Vec<u8>, Damage> {
            let path = folder.join(name);
            let content = read(&path)?;
            let line = format!("{}  {name}", sha256(&content));
            if listed.lines().any(|listed| listed == line) {
                Ok(content)
            } else {
                Err(Damage::Altered(path))
            }
        };
        let broken = |name: &str| Damage::Broken(folder.join(name));
        let installed: Installed =
            serde_json::from_slice(&sound(INSTALLED)?).map_err(|_| broken(INSTALLED))?;
        let table = String::from_utf8(sound(TABLE)?).map_err(|_| broken(TABLE))?;
        let own = Marker { generation: number, digest: installed.digest.clone() };
        if installed.generation != number || !table.contains(&marker::comment(&own)) {
            return Err(Damage::Broken(folder));
        }
        Ok(Sound { installed, table })
    }

    /// The numbers of the generations that were confirmed at some time, ascending.
    pub fn once_confirmed(&self) -> Vec<u32> {
        let mut numbers = generations(&self.folder());
        numbers.retain(|number| self.generation(*number).join(ONCE_CONFIRMED).exists());
        numbers
    }

    fn folder(&self) -> PathBuf {
        self.root().join(GENERATIONS)
    }

    fn generation(&self, number: u32) -> PathBuf {
        self.folder().join(number.to_string())
    }

    /// Deletes the oldest generations beyond what the policy keeps, and what a command that died
    /// had begun to write. Never deleted are the one in force, the newest that was confirmed before
    /// it, and the one that is made now.
    fn prune(&self, newest: &Installed) -> Result<(), StateError> {
        for begun in begun(&self.folder()) {
            remove(&begun)?;
        }
        let confirmed = self.confirmed().ok().flatten().map(|installed| installed.generation);
        let before = |number: &u32| Some(*number) != confirmed && *number != newest.generation;
        let way_back = self.once_confirmed().into_iter().rev().find(before);
        let kept = [Some(newest.generation), confirmed, way_back];
        let numbers = generations(&self.folder());
        let keep = usize::try_from(newest.policy.guard.keep_generations).unwrap_or(usize::MAX);
        let excess = numbers.len().saturating_sub(keep);
        for number in numbers.into_iter().filter(|n| !kept.contains(&Some(*n))).take(excess) {
            remove(&self.generation(number))?;
        }
        Ok(())
    }
}

/// Folders that were not finished.
fn begun(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "new")).collect()
}

/// Writes a file of a folder that nobody knows yet; the disk may not have it yet.
fn create(path: PathBuf, content: &[u8]) -> Result<(PathBuf, File), StateError> {
    let mut file = File::create(&path).map_err(io("could not create", &path))?;
    file.write_all(content).map_err(io("could not write", &path))?;
    Ok((path, file))
}

fn read(path: &Path) -> Result<Vec<u8>, Damage> {
    fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Damage::Missing(path.to_owned()),
        _ => Damage::Unreadable { path: path.to_owned(), why: error.to_string() },
    })
}

fn remove(folder: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io("could not remove", folder)(error))
        }
        _ => Ok(()),
    }
}

fn sha256(content: &[u8]) -> String {
    Bytes::from(&Sha256::digest(content)[..]).to_string()
}

fn json(installed: &Installed) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(installed).expect("it has only string keys");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::{Chain, Family};

    fn installed(generation: u32) -> (Installed, Table) {
        let policy = crate::policy::load_shipped("ssh-only").expect("is shipped").policy;
        let own = Marker { generation, digest: "ab".repeat(32) };
        let mut table = Table::new(Family::Inet, "fwctl");
        table.chains.push(Chain::new("carried_tcp"));
        table.chains.push(marker::chain(&own));
        let applied_at = jiff::Timestamp::UNIX_EPOCH;
        (
            Installed {
                generation,
                digest: own.digest,
                applied_at,
                policy,
                by: None,
                message: None,
                snapshot: None,
            },
            table,
        )
    }

    #[test]
    fn a_generation_is_read_back_without_what_was_of_its_moment() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::below(root.path());
        let (meta, table) = installed(7);
        state.write_generation(&meta, &table).expect("kept");
        // The same number again takes the place of the first.
        state.write_generation(&meta, &table).expect("kept");
        let kept = state.sound_generation(7).expect("is sound");
        assert_eq!(kept.installed, meta);
        assert!(!kept.table.contains("carried"), "{}", kept.table);
        let names = generations(&root.path().join(GENERATIONS));
        assert_eq!(names, [7]);
    }

    #[test]
    fn what_was_torn_edited_or_moved_is_damaged() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::below(root.path());
        let (meta, table) = installed(7);
        let folder = root.path().join(GENERATIONS).join("7");
        let damage = |change: &dyn Fn()| {
            state.write_generation(&meta, &table).expect("kept");
            change();
            state.sound_generation(7).expect_err("is damaged")
        };
        for name in [TABLE, INSTALLED] {
            let path = folder.join(name);
            let torn = || {
                let text = fs::read(&path).expect("is there");
                fs::write(&path, &text[..text.len() - 3]).expect("written");
            };
            assert_eq!(damage(&torn), Damage::Altered(path.clone()));
            let empty = || fs::write(&path, "").expect("written");
            assert_eq!(damage(&empty), Damage::Altered(path.clone()));
            let gone = || fs::remove_file(&path).expect("removed");
            assert_eq!(damage(&gone), Damage::Missing(path.clone()));
        }
        let sums = folder.join(SUMS);
        let gone = || fs::remove_file(&sums).expect("removed");
        assert_eq!(damage(&gone), Damage::Missing(sums.clone()));
        // Sound in itself, but another generation's.
        state.write_generation(&meta, &table).expect("kept");
        fs::rename(&folder, folder.with_file_name("8")).expect("moved");
        let moved = state.sound_generation(8).expect_err("is another's");
        assert_eq!(moved, Damage::Broken(folder.with_file_name("8")));
    }

    #[test]
    fn the_history_is_bounded_and_there_is_always_a_way_back() {
        let root = tempfile::tempdir().expect("a folder");
        let state = State::below(root.path());
        let folder = root.path().join(GENERATIONS);
        let keep = |number: u32, confirm: bool| {
            let (mut meta, table) = installed(number);
            meta.policy.guard.keep_generations = 4;
            state.write_generation(&meta, &table).expect("kept");
            if confirm {
                state.confirm(&meta).expect("confirmed");
            }
        };
        // A command that died while it wrote.
        fs::create_dir_all(folder.join(".9.new")).expect("made");
        for number in 1..=6 {
            keep(number, number == 2 || number == 3);
        }
        assert_eq!(generations(&folder), [2, 3, 5, 6], "the newest, and the ones confirmed");
        for number in 7..60 {
            keep(number, false);
        }
        assert_eq!(generations(&folder), [2, 3, 58, 59]);
        assert_eq!(state.confirmed().expect("is sound").map(|own| own.generation), Some(3));
        assert_eq!(state.once_confirmed(), [2, 3]);
        assert!(state.sound_generation(2).is_ok() && state.sound_generation(3).is_ok());
        assert!(!folder.join(".9.new").exists());
        keep(60, true);
        assert_eq!(generations(&folder), [2, 3, 59, 60]);
        state.unconfirm().expect("forgotten");
        assert_eq!(state.confirmed().expect("is sound"), None);
    }
}
