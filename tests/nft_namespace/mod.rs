//! Network namespaces for tests, each on a thread of its own.

#![allow(dead_code, reason = "each test crate uses a part")]

use fwctl::model::nft::Ruleset;
use nix::sched::{CloneFlags, unshare};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs on a thread in a network namespace of its own, which goes with the thread.
pub fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces and needs root: run it with sudo"
    );
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
            work()
        });
        thread.join().expect("the thread's own panic stands above")
    })
}

/// Feeds a program that must succeed.
pub fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} refused:\n{errors}\nof:\n{input}");
}

/// Loads a ruleset into the thread's namespace.
pub fn nft(input: &str) {
    feed("nft", &["-f", "-"], input);
}

/// Reads the ruleset of the thread's namespace.
pub fn read() -> Ruleset {
    fwctl::observe::nft::read(fwctl::observe::nft::Options::default())
        .expect("the ruleset of our own namespace is readable")
}
