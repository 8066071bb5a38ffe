//! A host for the guard, and what it says of a policy.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use fwctl::guard::{Caution, Lost, Refusal, guard};
use fwctl::model::{Owner, Protocol};
use fwctl::observe::{Snapshot, Socket, SocketState, SshSession};
use fwctl::plan::plan;
use fwctl::policy::{self, MemoryFiles, Policy};
use std::path::Path;

/// A client.
pub const INTERNET: &str = "203.0.113.9:50123";

/// A host with sshd on port 22 of both IP versions, and nobody logged in.
pub fn host() -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped/docker-host.json");
    let mut snapshot = Snapshot::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    snapshot.ssh.sessions.clear();
    snapshot
}

pub fn session(remote: &str, local: &str, interface: &str) -> SshSession {
    SshSession {
        remote: remote.parse().unwrap(),
        local: local.parse().unwrap(),
        dialled: None,
        interface: Some(interface.parse().unwrap()),
        user: Some("root".to_owned()),
        own: true,
    }
}

pub fn in_use(mut host: Snapshot, remote: &str, local: &str, interface: &str) -> Snapshot {
    host.ssh.sessions = vec![session(remote, local, interface)];
    host
}

/// The host without any rules.
pub fn bare(mut host: Snapshot) -> Snapshot {
    host.ruleset.tables.clear();
    host
}

pub fn socket(protocol: Protocol, local: &str, process: &str) -> Socket {
    let owner = Owner { process: Some(process.to_owned()), ..Default::default() };
    Socket {
        protocol,
        local: local.parse().unwrap(),
        remote: None,
        state: SocketState::Listening,
        v6only: false,
        device: None,
        uid: 0,
        owners: std::sync::Arc::new([owner]),
        namespace: None,
    }
}

/// The ways in that would be lost.
pub fn lost(refusals: &[Refusal]) -> Vec<&Lost> {
    fn lost(refusal: &Refusal) -> Option<&Lost> {
        match refusal {
            Refusal::Lost(lost) => Some(lost),
            Refusal::Expectation { .. } | Refusal::ForeignDnat { .. } => None,
        }
    }
    refusals.iter().filter_map(lost).collect()
}

pub fn judged(policy: &str, snapshot: &Snapshot) -> Result<(), Vec<Refusal>> {
    cautioned(policy, snapshot).map(drop)
}

pub fn policy(text: &str) -> Policy {
    let path = Path::new("/etc/fwctl/policy.toml");
    let files = MemoryFiles::default().with(path, format!("version = 1\n{text}"));
    policy::load(&files, path).unwrap_or_else(|errors| panic!("{errors:?}")).policy
}

pub fn cautioned(text: &str, snapshot: &Snapshot) -> Result<Vec<Caution>, Vec<Refusal>> {
    let policy = policy(text);
    let plan = plan(&policy, snapshot).unwrap();
    match guard(plan, &policy, snapshot) {
        Ok(guarded) => Ok(guarded.cautions().to_vec()),
        Err(refused) => Err(refused.refusals().to_vec()),
    }
}

/// Refused, and let through once everything that it says to add is added.
pub fn refused_until_mended(policy: &str, snapshot: &Snapshot) -> Vec<Refusal> {
    let refusals = judged(policy, snapshot).expect_err("let through");
    let fixes: Vec<String> = refusals.iter().filter_map(Refusal::fix).collect();
    assert!(!fixes.is_empty(), "{refusals:?}");
    let mended = format!("{policy}\n{}", fixes.join("\n"));
    assert_eq!(judged(&mended, snapshot), Ok(()), "the fix does not mend it:\n{mended}");
    refusals
}

/// The same with ufw beside Docker: 22 is let in, 80 at a limited rate, nothing else.
pub fn ufw_host() -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guard/ufw-docker-host.json");
    let mut snapshot = Snapshot::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    snapshot.ssh.sessions.clear();
    snapshot
}
