//! The README's first command shows what it says, and leaves nothing behind.

use std::process::Command;

fn output(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_demo_shows_what_opened_and_closed() {
    let rules = output("nft", &["list", "tables"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/demo");
    let (success, text) = output(script, &["--with", env!("CARGO_BIN_EXE_fwctl")]);
    assert!(success, "{text}");
    let rows = |change: &str| text.lines().filter(|line| line.matches(change).count() == 2).count();
    assert_eq!(rows("open -> open"), 3, "{text}");
    assert_eq!(rows("open -> closed"), 4, "{text}");
    assert!(text.contains("every port answers as before"), "{text}");
    assert_eq!(output("nft", &["list", "tables"]), rules, "the machine's own rules changed");
    assert!(!output("ip", &["netns"]).1.contains("fwctl-demo"), "a namespace is left");
}
