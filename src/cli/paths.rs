//! Where fwctl's files are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable that holds a directory to stand in for `/`: for tests, and for images
/// that are built on another machine.
pub const ROOT: &str = "FWCTL_ROOT";

/// The files, below `/` or below another root.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    root: Option<PathBuf>,
}

impl Paths {
    /// As `FWCTL_ROOT` says.
    pub fn from_environment() -> Self {
        Self::below(std::env::var_os(ROOT))
    }

    fn below(root: Option<OsString>) -> Self {
        Self { root: root.filter(|root| !root.is_empty()).map(PathBuf::from) }
    }

    /// The directory that stands in for `/`, if one does.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The policy file that is used where none is named.
    pub fn policy(&self) -> PathBuf {
        self.root.as_deref().unwrap_or(Path::new("/")).join("etc/fwctl/policy.toml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_root_holds_every_file() {
        let policy = |root: Option<&str>| Paths::below(root.map(OsString::from)).policy();
        assert_eq!(policy(None), Path::new("/etc/fwctl/policy.toml"));
        assert_eq!(policy(Some("")), Path::new("/etc/fwctl/policy.toml"));
        assert_eq!(policy(Some("/image")), Path::new("/image/etc/fwctl/policy.toml"));
    }
}
