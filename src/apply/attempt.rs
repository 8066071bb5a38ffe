//! What the disk knows of changes that are, or were, to be confirmed.
//!
//! `attempt.json` is the last one, written before the change is made and again when it ends; each
//! generation's folder keeps its own. The kernel says what rules: this is who, when and why, and
//! what is told to people afterwards.

use super::state::{State, StateError, io, make_directory, sync_directory, write};
use crate::observe::{ATTEMPT, Attempt, End, GENERATIONS, Installed, attempt, generations};
use std::fs;
use std::path::PathBuf;

/// What the disk keeps of a generation, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub generation: u32,
    /// What was installed; `None` where it took our table out, or cannot be read.
    pub installed: Option<Installed>,
    /// How it was to be confirmed, if it was.
    pub attempt: Option<Attempt>,
    /// Its table, as text.
    pub table: Option<String>,
}

impl State {
    fn folder_of(&self, generation: u32) -> PathBuf {
        self.root().join(GENERATIONS).join(generation.to_string())
    }

    /// Records a change that is to be confirmed, before it is made.
    pub fn write_attempt(&self, attempt: &Attempt) -> Result<(), StateError> {
        let folder = self.folder_of(attempt.generation);
        make_directory(&folder)?;
        let mut text = serde_json::to_vec_pretty(attempt).expect("it has only string keys");
        text.push(b'\n');
        write(&folder.join("attempt.json"), &text)?;
        write(&self.root().join(ATTEMPT), &text)
    }

    /// The last change that was to be confirmed.
    pub fn read_attempt(&self) -> Option<Attempt> {
        attempt(self.root())
    }

    /// Records how the last change ended, where it is the one that is meant.
    pub fn end_attempt(&self, generation: u32, end: End) -> Result<(), StateError> {
        let last = self.read_attempt().filter(|last| last.generation == generation);
        let Some(attempt) = last else { return Ok(()) };
        self.write_attempt(&Attempt { end: Some(end), ..attempt })
    }

    /// The last change is of no interest any more: another was made since, or it was never made.
    pub fn forget_attempt(&self) -> Result<(), StateError> {
        let path = self.root().join(ATTEMPT);
        match fs::remove_file(&path) {
            Ok(()) => sync_directory(&self.library()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("could not remove", &path)(error)),
        }
    }

    /// What is kept of every generation, ascending.
    pub fn history(&self) -> Vec<Record> {
        let numbers = generations(&self.root().join(GENERATIONS));
        let record = |generation| {
            let folder = self.folder_of(generation);
            let attempt = fs::read(folder.join("attempt.json")).ok();
            Record {
                generation,
                installed: self.read_generation(generation),
                attempt: attempt.and_then(|text| serde_json::from_slice(&text).ok()),
                table: fs::read_to_string(folder.join("table.nft")).ok(),
            }
        };
        numbers.into_iter().map(record).collect()
    }
}
