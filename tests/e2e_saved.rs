//! A plan that was made on another machine, from a snapshot, and is applied on the host over SSH:
//! what has only started anew meanwhile stops nothing, and what a reviewer has not seen does.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod host;
mod net;

use host::Host;
use net::Answer::{Open, Silent};
use net::{HOST_LAN_V4, HOST_WAN_V6};
use std::process::Command;

const POLICY: &str = "version = 1\nuse = [\"web-server\"]\n";

/// Plans away from the host, for whom a snapshot is all there is, and puts the plan there.
fn planned_elsewhere(host: &Host) -> String {
    let away = tempfile::tempdir().unwrap();
    let file = |name: &str| away.path().join(name);
    std::fs::write(file("host.json"), host.sh("fwctl snapshot")).unwrap();
    std::fs::write(file("policy.toml"), POLICY).unwrap();
    let plan = Command::new(env!("CARGO_BIN_EXE_fwctl"))
        .args(["plan", "--policy", "policy.toml", "--snapshot", "host.json"])
        .args(["--format", "markdown", "--out", "change.plan"])
        .env_clear()
        .env("FWCTL_ROOT", away.path())
        .current_dir(away.path())
        .output()
        .unwrap();
    assert!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    std::fs::copy(file("change.plan"), host.path("/root/change.plan")).unwrap();
    String::from_utf8(plan.stdout).unwrap()
}

#[test]
fn what_was_reviewed_elsewhere_is_applied_while_the_host_goes_on() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432 --restart always", 5432);
    let review = planned_elsewhere(&host);
    assert!(review.contains("| 5432/tcp | container db"), "{review}");
    let mut session = host.ssh(&host.lab.internet, HOST_WAN_V6);

    // Services, Docker and its containers start anew, and somebody asks a name server.
    host.sh("systemctl restart nginx ssh docker && docker network create later
         until docker exec db busybox true; do sleep 0.2; done
         busybox nslookup -type=a name.test 203.0.113.1 >/dev/null 2>&1 &");
    let said = session.ask("fwctl apply change.plan --yes 2>&1");
    assert!(said.contains("Generation 1 rules for 60 s"), "{said}");
    let said = host.ssh(&host.lab.lan, HOST_LAN_V4).ask("fwctl confirm");
    assert!(said.contains("Generation 1 is confirmed"), "{said}");
    host.expect_from_outside(&[(22, Open), (80, Open), (3306, Silent), (5432, Silent)]);
    let said = session.ask("fwctl apply change.plan --yes; echo exit $?");
    assert!(said.contains("Nothing to change") && said.ends_with("exit 0"), "{said}");

    // Somebody publishes something, and nobody has seen it in a plan.
    host.sh("fwctl off --yes --no-confirm");
    planned_elsewhere(&host);
    host.docker_run("cache", "-p 6379:6379", 6379);
    let said = session.ask("fwctl apply change.plan --yes 2>&1; echo exit $?");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("6379/tcp is served now, by container cache"), "{said}");
    assert!(words.contains("nothing was changed") && words.ends_with("exit 7"), "{said}");
    host.expect_from_outside(&[(22, Open), (3306, Open), (6379, Open)]);
    assert!(!host.sh("nft list tables").contains("fwctl"), "refused, and yet changed");
}
