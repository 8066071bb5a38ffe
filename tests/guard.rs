//! The guard: what would lock somebody out is refused, and what it says to add mends it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "guard/support.rs"]
mod support;

use fwctl::guard::{Cause, Refusal, What};
use fwctl::observe::SshSession;
use std::net::SocketAddr;
use support::{host, judged, lost, refused_until_mended, session};

const WEB: &str = "[[allow]]\nservice = [\"http\"]\n";

#[test]
fn a_listener_of_sshd_that_the_internet_cannot_dial_is_refused() {
    let refusals = refused_until_mended(WEB, &host());
    let listeners: Vec<String> = refusals.iter().map(Refusal::message).collect();
    assert!(listeners[0].contains("sshd listens on 0.0.0.0:22"), "{listeners:?}");
    assert!(listeners[0].contains("no rule allows it"), "{listeners:?}");
    assert_eq!(judged("[[allow]]\nservice = [\"ssh\"]\n", &host()), Ok(()));
}

#[test]
fn a_host_without_sshd_has_nothing_to_lose() {
    let mut host = host();
    host.ssh.listeners.clear();
    host.sockets.retain(|socket| socket.local.port() != 22);
    assert_eq!(judged(WEB, &host), Ok(()));
}

#[test]
fn sshd_on_a_port_of_its_own_is_not_the_service_ssh() {
    let mut host = host();
    host.ssh.listeners = vec!["0.0.0.0:2222".parse().unwrap(), "[::]:2222".parse().unwrap()];
    host.ssh.sessions = vec![session("203.0.113.9:50000", "203.0.113.10:2222", "wan0")];
    let refusals = refused_until_mended("[[allow]]\nservice = [\"ssh\"]\n", &host);
    assert!(
        lost(&refusals).iter().any(|lost| matches!(lost.what, What::Session { own: true, .. })),
        "{refusals:?}"
    );
}

#[test]
fn a_session_over_ipv6_needs_ipv6() {
    let mut host = host();
    host.ssh.sessions = vec![session("[2001:db8:1::1]:50000", "[2001:db8:1::10]:22", "wan0")];
    refused_until_mended("[[allow]]\nservice = [\"ssh\"]\nfrom = [\"203.0.113.0/24\"]\n", &host);
    let policy =
        "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"203.0.113.0/24\", \"2001:db8:1::/64\"]\n";
    assert_eq!(judged(policy, &host), Ok(()));
}

#[test]
fn a_session_counts_by_the_interface_that_it_comes_by() {
    let mut host = host();
    host.ssh.sessions = vec![session("192.0.2.20:50000", "192.0.2.10:22", "lan0")];
    let policy = |interface: &str| {
        format!(
            "[zone.near]\ninterfaces = [\"{interface}\"]\n[[allow]]\nservice = [\"ssh\"]\n\
             from = [\"near\"]\n"
        )
    };
    assert_eq!(judged(&policy("lan0"), &host), Ok(()));
    refused_until_mended(&policy("lan1"), &host);
}

#[test]
fn a_deny_is_named_because_no_allow_mends_it() {
    let mut host = host();
    host.ssh.sessions = vec![session("203.0.113.9:50000", "203.0.113.10:22", "wan0")];
    let policy = "[[allow]]\nservice = [\"ssh\"]\n[[deny]]\nports = [\"all\"]\nfrom = [\"203.0.113.0/24\"]\n";
    let refusals = judged(policy, &host).expect_err("let through");
    assert!(refusals.iter().all(|refusal| refusal.fix().is_none()), "{refusals:?}");
    let advice = refusals[0].advice().unwrap();
    assert!(advice.contains("policy.toml:4"), "{advice}");
}

#[test]
fn guard_from_says_from_where_the_way_in_must_stay_open() {
    let zone = "[zone.admin]\naddresses = [\"203.0.113.7\", \"2001:db8:7::7\"]\n";
    let allow = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"admin\"]\n";
    // Nobody is logged in: without `guard.from` the internet counts, and it is closed.
    judged(&format!("{zone}{allow}"), &host()).expect_err("let through");
    let guarded = format!("{zone}{allow}[guard]\nfrom = [\"admin\"]\n");
    assert_eq!(judged(&guarded, &host()), Ok(()));
    // Half of it, over IPv4 alone, is not enough.
    let half = "[zone.other]\naddresses = [\"203.0.113.7\"]\n[[allow]]\nservice = [\"ssh\"]\nfrom = [\"other\"]\n";
    refused_until_mended(&format!("{zone}{half}[guard]\nfrom = [\"admin\"]\n"), &host());
    // Nor are some of its addresses.
    let some = "[zone.admin]\naddresses = [\"203.0.113.0/29\", \"2001:db8:7::7\"]\n\
                [[allow]]\nservice = [\"ssh\"]\nfrom = [\"203.0.113.0/30\", \"2001:db8:7::7\"]\n";
    refused_until_mended(&format!("{some}[guard]\nfrom = [\"admin\"]\n"), &host());
}

#[test]
fn guard_keep_holds_for_what_listens() {
    let policy = |keep: &str| {
        format!("[[allow]]\nservice = [\"ssh\"]\n[guard]\nkeep = [\"ssh\", \"{keep}\"]\n")
    };
    // nginx listens on 443; nothing listens on 8443.
    let refusals = refused_until_mended(&policy("443/tcp"), &host());
    assert!(matches!(lost(&refusals)[0].what, What::Keep), "{refusals:?}");
    assert_eq!(judged(&policy("8443/tcp"), &host()), Ok(()));
}

#[test]
fn loopback_listeners_and_sessions_are_no_way_in_from_outside() {
    let mut host = host();
    host.ssh.listeners = vec!["127.0.0.1:22".parse().unwrap(), "[::1]:22".parse().unwrap()];
    host.sockets.retain(|socket| socket.local.port() != 22);
    let loopback: SocketAddr = "[::ffff:127.0.0.1]:50000".parse().unwrap();
    host.ssh.sessions =
        vec![SshSession { remote: loopback, ..session("127.0.0.1:1", "127.0.0.1:22", "lo") }];
    // Nobody knows from where that comes, or whether what carries it lives on.
    let refusals = judged(WEB, &host).expect_err("let through");
    assert_eq!(lost(&refusals)[0].cause, Cause::FromTheHost);
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert!(refusals[0].message().contains("127.0.0.1"), "{}", refusals[0].message());
    assert!(refusals[0].advice().unwrap().contains("--override-guard"));
    host.ssh.sessions.clear();
    assert_eq!(judged(WEB, &host), Ok(()));
}

#[test]
fn expectations_and_foreign_nat_are_told_apart_from_lock_outs() {
    let policy =
        "[[allow]]\nservice = [\"ssh\"]\n[[expect]]\nfrom = [\"internet\"]\nopen = [\"http\"]\n";
    let refusals = judged(policy, &host()).expect_err("let through");
    assert!(refusals.iter().all(Refusal::is_expectation), "{refusals:?}");
    let mut host = host();
    host.host.managers = vec!["docker-swarm".to_owned()];
    let refusals = judged("[[allow]]\nservice = [\"ssh\"]\n", &host).expect_err("let through");
    assert!(refusals[0].message().contains("docker-swarm"), "{refusals:?}");
    assert!(!refusals[0].is_expectation());
}
