//! A policy file → [`Loaded`], or everything that is wrong with it.
//!
//! The stages in order: gather the files and check each by itself, unite them and look names up,
//! and, once nothing is wrong, look for what cannot be meant.

use super::diagnostic::SourceText;
use super::gather::Loader;
use super::well_known::Catalogue;
use super::{Diagnostics, Files, MemoryFiles, Policy, SourceFile};
use super::{resolve, sense};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::Path;

/// The longest text that is kept with a policy. People do not write more.
const LONGEST: usize = 64 * 1024;

/// A policy that can be used, and what is odd about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// Warnings alone.
    pub warnings: Diagnostics,
}

/// Reads the policy file and every file it names.
///
/// The error holds everything that is wrong with them, warnings too.
pub fn load(files: &dyn Files, path: &Path) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader::new(files);
    loader.policy_file(path);
    finish(loader)
}

/// Reads a shipped policy as it is built in.
pub fn load_shipped(name: &str) -> Result<Loaded, Diagnostics> {
    let files = MemoryFiles::default();
    let mut loader = Loader::new(&files);
    loader.shipped(name);
    finish(loader)
}

fn finish(loader: Loader<'_>) -> Result<Loaded, Diagnostics> {
    let Loader { mut problems, documents, order, .. } = loader;
    if documents.is_empty() {
        return Err(problems.finish());
    }
    let catalogue = Catalogue::new(&mut problems);
    let (mut policy, places) = resolve::resolve(&mut problems, &documents, &catalogue);
    problems.silence_echoes();
    if !problems.has_errors() {
        sense::check(&mut problems, &policy, &places);
    }
    if problems.has_errors() {
        return Err(problems.finish());
    }
    policy.sources = order.into_iter().map(|file| source_file(problems.source(file))).collect();
    Ok(Loaded { policy, warnings: problems.finish() })
}

fn source_file(source: &SourceText) -> SourceFile {
    let digest = Sha256::digest(source.text.as_bytes());
    let sha256 = digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let text = (source.text.len() <= LONGEST).then(|| source.text.clone());
    SourceFile { name: source.name.clone(), path: source.path.clone(), sha256, text }
}
