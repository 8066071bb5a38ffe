//! The Debian package of the program under test, and what boot does with it.

use super::machine::Host;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages the program under test.
pub fn package(folder: &Path) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build-deb");
    let built = Command::new(script)
        .args(["--binary", env!("CARGO_BIN_EXE_fwctl"), "--out"])
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{script}\n{said}");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

impl Host {
    /// The generation in force as the kernel tells it; empty where there is none.
    pub fn in_force(&self) -> String {
        let listed =
            self.try_sh("nft list chain inet fwctl generation | grep -o 'fwctl generation.*'");
        String::from_utf8_lossy(&listed.stdout).trim().trim_end_matches('"').to_owned()
    }

    /// Installs the program under test as a package, its units with it.
    pub fn install_package(&self) {
        let folder = tempfile::tempdir().unwrap();
        let deb = package(folder.path());
        fs::copy(&deb, self.path("/root/fwctl.deb")).unwrap();
        self.sh("dpkg -i fwctl.deb");
    }
}
