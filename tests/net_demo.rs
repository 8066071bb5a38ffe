//! The README's first command shows what it says, and leaves nothing behind.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_demo_shows_what_opened_and_closed() {
    let rules = said("nft", &["list", "tables"]);
    let demo = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/demo"))
        .args(["--with", env!("CARGO_BIN_EXE_fwctl")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = demo.id();
    let output = demo.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let rows = |change: &str| text.lines().filter(|line| line.matches(change).count() == 2).count();
    assert_eq!(rows("open -> open"), 3, "{text}");
    assert_eq!(rows("open -> closed"), 4, "{text}");
    assert!(text.contains("every port answers as before"), "{text}");
    assert_eq!(said("nft", &["list", "tables"]), rules, "the machine's own rules changed");
    let left = said("ip", &["netns"]);
    assert!(!left.lines().any(|name| name.contains(&format!("-{pid}"))), "{left}");
}
