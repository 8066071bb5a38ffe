//! The shipped policies as golden cases: policy and snapshot in, rules and plan out.
//!
//! `tests/shipped/docker-host.json` was taken on a test host: sshd, nginx, MariaDB, and containers
//! published on every address, on loopback, and not at all. `UPDATE=1` writes the cases anew; read
//! the difference before it is kept.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use fwctl::model::nft::text;
use fwctl::observe::Snapshot;
use fwctl::plan::{Plan, plan};
use fwctl::policy::{self, MemoryFiles};
use fwctl::report;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped")
}

fn planned(policy: &str) -> Plan {
    let path = Path::new("/etc/fwctl/policy.toml");
    let files = MemoryFiles::default().with(path, policy);
    let loaded = policy::load(&files, path).unwrap_or_else(|errors| panic!("{errors:?}"));
    let snapshot = std::fs::read_to_string(folder().join("docker-host.json")).unwrap();
    plan(&loaded.policy, &Snapshot::from_json(&snapshot).unwrap()).unwrap()
}

fn golden(name: &str, policy: &str) {
    let plan = planned(policy);
    let view = report::plan::View { width: 80, verbose: false };
    let shown = anstream::adapter::strip_str(&report::plan::text(&plan, None, view)).to_string();
    for (file, is) in [("nft", text::table(&plan.table)), ("plan.txt", shown)] {
        let path = folder().join(format!("{name}.{file}"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &is).unwrap();
        }
        let meant = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(is == meant, "{}: UPDATE=1 writes this:\n{is}", path.display());
    }
    for result in &plan.expectations {
        assert!(result.failures.is_empty(), "{name}: {result:?}");
    }
}

#[test]
fn ssh_only() {
    golden("ssh-only", "version = 1\nuse = [\"ssh-only\"]\n");
}

#[test]
fn web_server() {
    golden("web-server", "version = 1\nuse = [\"web-server\"]\n");
}

#[test]
fn tether() {
    golden("tether", "version = 1\nuse = [\"tether\"]\n");
}

#[test]
fn chatalot() {
    golden("chatalot", "version = 1\nuse = [\"chatalot\"]\n");
}

#[test]
fn chatalot_direct() {
    golden("chatalot-direct", "version = 1\nuse = [\"chatalot-direct\"]\n");
}

#[test]
fn lines_of_ones_own_on_top_open_the_database_to_a_lan() {
    golden(
        "web-server-with-lan",
        "version = 1\nuse = [\"web-server\"]\n\n[zone.lan]\ninterfaces = [\"lan0\"]\n\n\
         [[allow]]\nservice = [\"mysql\"]\nfrom = [\"lan\"]\n",
    );
}
