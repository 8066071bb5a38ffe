//! A [`Snapshot`] as JSON, and back.
//!
//! The text is the same for equal snapshots. `docs/snapshot.md` says what the fields mean.

use super::{FORMAT, Snapshot};
use crate::model::nft::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Why a text is no snapshot that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No JSON.
    #[error(
        "this is no JSON (line {line}, column {column}); a snapshot is what `fwctl snapshot` prints"
    )]
    Syntax {
        /// Where it breaks off, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
    },
    /// JSON of something else.
    #[error("this is no snapshot: its `format` is {}; a snapshot is what `fwctl snapshot` prints", .0.as_deref().map_or_else(|| "missing".to_owned(), |found| format!("\"{found}\"")))]
    NoSnapshot(Option<String>),
    /// A snapshot of a later version.
    #[error(
        "this snapshot has the format \"{0}\", and this fwctl reads \"{FORMAT}\"; use the fwctl that took it, or a newer one"
    )]
    Newer(String),
    /// A snapshot with something wrong in it.
    #[error("this snapshot is broken at line {line}, column {column}: {reason}")]
    Broken {
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A text on its way into a digest: a snapshot may be large.
struct Sum(Sha256);

impl std::io::Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct Head {
    format: Option<String>,
}

impl Snapshot {
    /// The snapshot as indented JSON, with a line feed at its end.
    #[allow(clippy::missing_panics_doc, reason = "the invariant holds for every snapshot")]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a snapshot's maps have text for keys, and its types do not fail to serialise");
        text.push('\n');
        text
    }

    /// SHA-256 of what [`Snapshot::to_json`] writes, hexadecimal: which host a change was made for.
    #[allow(clippy::missing_panics_doc, reason = "the invariant holds for every snapshot")]
    pub fn digest(&self) -> String {
        let mut sum = Sum(Sha256::new());
        serde_json::to_writer_pretty(&mut sum, self)
            .expect("a snapshot's maps have text for keys, and its types do not fail to serialise");
        sum.0.update(b"\n");
        Bytes::from(&sum.0.finalize()[..]).to_string()
    }

    /// Reads what [`Snapshot::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, SnapshotError> {
        let head: Head = serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                SnapshotError::NoSnapshot(None)
            } else {
                SnapshotError::Syntax { line: error.line(), column: error.column() }
            }
        })?;
        match head.format {
            Some(format) if format == FORMAT => {}
            Some(format) => {
                let newer = format.starts_with("fwctl.snapshot/");
                return Err(if newer {
                    SnapshotError::Newer(format)
                } else {
                    SnapshotError::NoSnapshot(Some(format))
                });
            }
            None => return Err(SnapshotError::NoSnapshot(None)),
        }
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            SnapshotError::Broken { line, column, reason }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_text() {
        let text = include_str!("../../tests/golden/cli/web1.json");
        let snapshot = Snapshot::from_json(text).expect("a snapshot");
        let whole = Sha256::digest(snapshot.to_json().as_bytes());
        assert_eq!(snapshot.digest(), Bytes::from(&whole[..]).to_string());
        let mut other = snapshot.clone();
        other.host.name.push('x');
        assert_ne!(other.digest(), snapshot.digest());
    }
}
