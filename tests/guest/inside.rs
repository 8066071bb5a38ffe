//! A test that runs itself again in the guest.

use super::machine::{Guest, shared, shared_newer};
use std::process::Command;
use std::time::Duration;

/// What tells a test process that it is the one in the guest.
const INSIDE: &str = "FWCTL_TEST_GUEST";

/// How long one test may take in the guest.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs `body`, written as a closure in a test function itself, in the guest: there this test alone
/// is started again. Panics with what it printed where it fails.
pub fn inside<F: FnOnce()>(body: F) {
    inside_of(shared, body);
}

/// The same in a guest with the newer kernel of Debian's backports.
pub fn inside_newer<F: FnOnce()>(body: F) {
    inside_of(shared_newer, body);
}

fn inside_of<F: FnOnce()>(guest: fn() -> &'static Guest, body: F) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    // `CRATE::MODULES::TEST::{{closure}}`; the name of the thread is not always the test's.
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, test)| test);
    let binary = std::env::current_exe().unwrap();
    let script = format!("{INSIDE}=1 '{}' --exact '{name}' --nocapture", binary.display());
    let output = guest().try_sh_within(&script, PATIENCE);
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{complained}");
    assert!(output.status.success(), "in the guest, {name} failed\n{said}");
    assert!(said.contains("1 passed"), "the guest ran another number of tests than one\n{said}");
}

/// Loads modules of the guest's kernel. Only in the guest.
pub fn load(modules: &[&str]) {
    assert!(std::env::var_os(INSIDE).is_some(), "modules are loaded in the guest alone");
    let output = Command::new("modprobe").arg("-a").args(modules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
