//! Other test programs of this repository, run in the guest as they are.

use super::machine::Guest;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long one program may take in the guest.
const PATIENCE: Duration = Duration::from_secs(600);

impl Guest {
    /// Runs the tests of `tests/PROGRAM.rs` in the guest, those that `arguments` chooses, with
    /// `settings` (`NAME=VALUE …`) in its environment. Panics with what it printed where one fails.
    pub fn test(&self, program: &str, settings: &str, arguments: &str) {
        let binary = built(program);
        let script = format!("env {settings} '{}' {arguments}", binary.display());
        let output = self.try_sh_within(&script, PATIENCE);
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "in the guest, {program} failed\n{said}\n{complained}");
        assert!(!said.contains(" 0 passed"), "no test of {program} ran\n{said}");
        eprintln!("{said}");
    }
}

/// A test program, built where it is missing or old.
fn built(program: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet", "--no-run", "--message-format=json", "--test", program]);
    // Into the directory of this program itself: the guest sees no other.
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().nth(2).unwrap();
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let path = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let ours = message["target"]["name"] == program;
        Some(PathBuf::from(message["executable"].as_str().filter(|_| ours)?))
    });
    path.unwrap_or_else(|| panic!("cargo built no {program}"))
}
