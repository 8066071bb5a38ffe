//! Exposure of a Docker host before any rule of ours, as it is shown: in 80 and in 160 columns, and
//! for a merge request.
//!
//! `tests/shipped/docker-host.json` is the host. `UPDATE=1` writes the cases anew; read the
//! difference before it is kept.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use fwctl::analyze::{Analyzer, Exposure, exposure};
use fwctl::observe::Snapshot;
use fwctl::policy::{self, MemoryFiles};
use fwctl::report::reachability;
use std::path::Path;

const POLICY: &str = "version = 1\nuse = [\"web-server\"]\n\
    [zone.lan]\naddresses = [\"192.0.2.0/24\"]\n\
    [[allow]]\nservice = [\"postgresql\"]\nfrom = [\"lan\"]\n";

fn shown() -> Exposure {
    let path = Path::new("/etc/fwctl/policy.toml");
    let files = MemoryFiles::default().with(path, POLICY);
    let loaded = policy::load(&files, path).unwrap_or_else(|errors| panic!("{errors:?}"));
    let host = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shipped/docker-host.json");
    let snapshot = Snapshot::from_json(&std::fs::read_to_string(host).unwrap()).unwrap();
    exposure(&Analyzer::new(&snapshot), Some(&loaded.policy), false)
}

fn golden(name: &str, is: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/exposure");
    let path = folder.join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, is).unwrap();
    }
    let meant = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(is == meant, "{}: UPDATE=1 writes this:\n{is}", path.display());
}

fn text(width: usize) -> String {
    let text = reachability::text(&shown(), width, false);
    let text = anstream::adapter::strip_str(&text).to_string();
    let long = |line: &&str| line.chars().count() > width;
    // A rule's own words may be longer than the terminal.
    let long: Vec<&str> = text.lines().filter(long).collect();
    assert!(long.is_empty(), "longer than {width} columns: {long:#?}");
    text
}

#[test]
fn in_80_columns() {
    golden("docker-host-80.txt", &text(80));
}

#[test]
fn in_160_columns() {
    golden("docker-host-160.txt", &text(160));
}

#[test]
fn for_a_merge_request() {
    golden("docker-host.md", &reachability::markdown(&shown()));
}
