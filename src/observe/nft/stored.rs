//! Large sets as they were read last, on disk: what has not changed is not dumped again.
//!
//! The kernel takes most of a second to dump 100,000 elements. The file lies below `/run`, which a
//! reboot empties and only root may write; it names the boot and the network namespace that it is
//! about, and [`SetCache`] the generation of the ruleset.

use super::SetCache;
use crate::model::nft::Ruleset;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The file's name below fwctl's directory in `/run`.
pub const FILE: &str = "sets.json";

/// Sets with at least so many elements are worth a file.
const LARGE: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Stored {
    place: String,
    sets: SetCache,
}

/// This boot and this process's network namespace: what generation ids are unique in.
pub fn place() -> io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = std::fs::read_link("/proc/self/ns/net")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

/// What the file holds of this place; nothing where it is another's, absent or broken.
pub fn read(path: &Path) -> Option<SetCache> {
    let stored: Stored = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (stored.place == place().ok()?).then_some(stored.sets)
}

/// The file's content for a ruleset of this place; nothing where no set of it is large.
pub fn content(ruleset: &Ruleset) -> Option<Vec<u8>> {
    let sets = SetCache::of(ruleset, LARGE);
    if sets.is_empty() {
        return None;
    }
    serde_json::to_vec(&Stored { place: place().ok()?, sets }).ok()
}
