//! The files a policy is read from: the only effect of this stage.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Reads files and lists directories.
pub trait Files {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// The names of what is in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// The directories that are fwctl's own, which a root prefix moves.
const OWN: [&str; 2] = ["/etc/fwctl", "/usr/share/fwctl"];

/// The file system.
#[derive(Debug, Clone, Default)]
pub struct RealFiles {
    root: Option<PathBuf>,
}

impl RealFiles {
    /// The file system, in which `/etc/fwctl` and `/usr/share/fwctl` lie under `root` where one is
    /// given. Any other path is what it is.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }

    fn place(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) if OWN.iter().any(|own| path.starts_with(own)) => {
                root.join(path.strip_prefix("/").unwrap_or(path))
            }
            _ => path.to_owned(),
        }
    }
}

impl Files for RealFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(self.place(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.place(directory))? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Files that exist in memory alone.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, String>);

impl MemoryFiles {
    /// The same with one more file.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.0.insert(path.into(), text.into());
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        let names: Vec<_> = self
            .0
            .keys()
            .filter(inside)
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_moves_our_own_directories_alone() {
        let files = RealFiles::new(Some("/srv/image".into()));
        let moved = files.place(Path::new("/etc/fwctl/policy.toml"));
        assert_eq!(moved, Path::new("/srv/image/etc/fwctl/policy.toml"));
        assert_eq!(files.place(Path::new("/tmp/p.toml")), Path::new("/tmp/p.toml"));
        assert_eq!(files.place(Path::new("p.toml")), Path::new("p.toml"));
    }
}
