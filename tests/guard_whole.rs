//! The guard on the whole ruleset and every layer of the way in: neighbours, what is not known,
//! VPNs, mosh, links, and what holds with a but.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "guard/support.rs"]
mod support;

use fwctl::guard::{Cause, Caution, What, lost_on};
use fwctl::model::Protocol;
use fwctl::model::nft::{Family, Table};
use fwctl::observe::{LinkKind, Snapshot, Tunnel, TunnelPeer};
use std::net::SocketAddr;
use std::sync::Arc;
use support::{
    INTERNET, bare, cautioned, host, in_use, judged, lost, refused_until_mended, session, socket,
    ufw_host,
};

const SSH: &str = "[[allow]]\nservice = [\"ssh\"]\n";
/// A table of somebody's whose input chain has this rule, in the form of a snapshot.
fn neighbour(statements: &serde_json::Value) -> Table {
    serde_json::from_value(serde_json::json!({
        "family": "ip", "name": "mine", "handle": 99,
        "chains": [{
            "name": "in", "handle": 1,
            "hook": {
                "kind": "filter", "hook": "input", "devices": [], "priority": 5,
                "policy": "accept"
            },
            "rules": [{ "handle": 7, "statements": statements, "comment": null }]
        }]
    }))
    .unwrap()
}

fn dials_22() -> serde_json::Value {
    serde_json::json!({ "compare": {
        "left": [{ "selector": { "payload": { "base": "transport", "offset": 2, "len": 2 } } }],
        "op": "eq", "right": "0016"
    } })
}

#[test]
fn a_neighbour_that_keeps_ssh_out_is_named_with_its_command() {
    // ufw lets 22 in, and not 2222.
    let mut host = in_use(ufw_host(), INTERNET, "203.0.113.10:2222", "wan0");
    moved(&mut host);
    let policy = "[[allow]]\nports = [\"2222/tcp\"]\n";
    let refusals = judged(policy, &host).expect_err("let through");
    let found = lost(&refusals);
    assert!(matches!(found[0].what, What::Session { .. }), "{found:#?}");
    assert!(matches!(&found[0].cause, Cause::Neighbour { manager: Some("ufw"), .. }), "{found:#?}");
    assert_eq!(refusals[0].fix(), None, "no TOML mends that");
    let advice = refusals[0].advice().unwrap();
    assert!(advice.contains("`ufw allow 2222/tcp`"), "{advice}");
    let message = refusals[0].message();
    assert!(message.contains("ip filter INPUT: policy drop"), "{message}");
    // The policy alone would have let it in.
    assert_eq!(judged(policy, &in_use(bare(host), INTERNET, "203.0.113.10:2222", "wan0")), Ok(()));
}

/// sshd listens on 2222, and nowhere else.
fn moved(host: &mut Snapshot) {
    host.ssh.listeners = vec!["0.0.0.0:2222".parse().unwrap()];
    host.sockets.retain(|socket| socket.local.port() != 22);
}

#[test]
fn a_rule_by_hand_is_named_with_the_command_that_deletes_it() {
    let mut host = in_use(bare(host()), INTERNET, "203.0.113.10:22", "wan0");
    host.ruleset.tables = vec![neighbour(&serde_json::json!([dials_22(), { "verdict": "drop" }]))];
    let refusals = judged(SSH, &host).expect_err("let through");
    let advice = refusals[0].advice().unwrap();
    assert!(advice.contains("`nft delete rule ip mine in handle 7`"), "{advice}");
}

#[test]
fn what_a_neighbour_closes_while_the_change_is_made_is_lost_also_where_nobody_is_logged_in() {
    let policy = support::policy(SSH);
    let open = bare(host());
    let mut closed = open.clone();
    let drops = neighbour(&serde_json::json!([dials_22(), { "verdict": "drop" }]));
    closed.ruleset.tables = vec![Table { family: Family::Inet, ..drops }];
    let found = lost_on(&policy, &closed, &open);
    assert!(found.iter().all(|own| matches!(own.what, What::Listener(_))), "{found:#?}");
    assert!(!found.is_empty());
    assert_eq!(lost_on(&policy, &open, &open), []);
    // It was so before.
    assert_eq!(lost_on(&policy, &closed, &closed), []);
}

#[test]
fn what_is_not_known_is_no_proof() {
    let mut host = in_use(bare(host()), INTERNET, "203.0.113.10:22", "wan0");
    let mystery = serde_json::json!({ "xt": {
        "kind": "match", "name": "mystery", "revision": 0, "decoded": null, "raw": "00"
    } });
    let rule = serde_json::json!([dials_22(), mystery, { "verdict": "drop" }]);
    host.ruleset.tables = vec![neighbour(&rule)];
    let refusals = judged(SSH, &host).expect_err("let through");
    let found = lost(&refusals);
    let Cause::Unclear(names) = &found[0].cause else { panic!("{found:#?}") };
    assert!(names[0].contains("mystery"), "{names:?}");
    assert_eq!(refusals[0].fix(), None);
    // What it does not touch is proved all the same.
    host.ssh.sessions = vec![session("[2001:db8:9::9]:50123", "[2001:db8:1::10]:22", "wan0")];
    host.ssh.listeners = vec!["[::]:22".parse().unwrap()];
    assert_eq!(judged(SSH, &host), Ok(()));
}

#[test]
fn a_redirected_session_is_judged_by_the_port_that_was_dialled() {
    let mut host = in_use(bare(host()), INTERNET, "203.0.113.10:22", "wan0");
    host.ssh.sessions[0].dialled = "203.0.113.10:2222".parse().ok();
    let text = serde_json::json!({
        "family": "ip", "name": "mine", "handle": 99,
        "chains": [{
            "name": "pre", "handle": 1,
            "hook": {
                "kind": "nat", "hook": "prerouting", "devices": [], "priority": -100,
                "policy": "accept"
            },
            "rules": [{ "handle": 7, "comment": null, "statements": [
                { "compare": {
                    "left": [{ "selector": { "meta": "l4proto" } }], "op": "eq", "right": "06"
                } },
                { "compare": {
                    "left": [{ "selector": {
                        "payload": { "base": "transport", "offset": 2, "len": 2 }
                    } }],
                    "op": "eq", "right": "08ae"
                } },
                { "xt": {
                    "kind": "target", "name": "REDIRECT", "revision": 0, "raw": "00",
                    "decoded": {
                        "module": "nat", "kind": "redirect", "addresses": null,
                        "ports": [22, 22], "flags": 2
                    }
                } }
            ] }]
        }]
    });
    host.ruleset.tables = vec![serde_json::from_value(text).unwrap()];
    let (dialled, target) =
        ("[[allow]]\nports = [\"2222/tcp\"]\n", "[[allow]]\nports = [\"22/tcp\"]\n");
    assert_eq!(judged(dialled, &host), Ok(()));
    let refusals = refused_until_mended(target, &host);
    assert!(refusals[0].fix().unwrap().contains("2222/tcp"), "{refusals:?}");
}

#[test]
fn a_link_local_address_keeps_its_link() {
    let host = in_use(bare(host()), "[fe80::77]:50123", "[fe80::1]:22", "lan0");
    let mut host = host;
    let lan0 = host.links.iter_mut().find(|link| link.name.as_str() == "lan0").unwrap();
    let own =
        lan0.addresses.iter().find(|own| own.address.to_string().starts_with("fe80")).unwrap();
    host.ssh.sessions[0].local = SocketAddr::new(own.address, 22);
    let policy = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"192.0.2.0/24\"]\n";
    let refusals = refused_until_mended(policy, &host);
    let fix = refusals[0].fix().unwrap();
    assert!(fix.contains("interfaces = [\"lan0\"]") && fix.contains("fe80::/10"), "{fix}");
}

#[test]
fn wireguard_needs_its_own_port_from_its_peer() {
    let mut host = in_use(bare(host()), "192.0.2.20:50123", "192.0.2.10:22", "lan0");
    let lan0 = host.links.iter_mut().find(|link| link.name.as_str() == "lan0").unwrap();
    lan0.kind = LinkKind::Wireguard;
    let policy = "[zone.vpn]\ninterfaces = [\"lan0\"]\n[[allow]]\nservice = [\"ssh\"]\nfrom = [\"vpn\"]\n\
                  [guard]\nfrom = [\"vpn\"]\n";
    let refusals = judged(policy, &host).expect_err("nobody knows the port");
    assert!(matches!(lost(&refusals)[0].cause, Cause::Unclear(_)), "{refusals:#?}");
    host.tunnels = vec![Tunnel {
        interface: "lan0".parse().unwrap(),
        protocol: Protocol::UDP,
        local: None,
        port: 51820,
        peers: vec![TunnelPeer {
            endpoint: "198.51.100.7:4500".parse().ok(),
            allowed: vec!["192.0.2.0/24".parse().unwrap()],
        }],
    }];
    let refusals = refused_until_mended(policy, &host);
    let fix = refusals[0].fix().unwrap();
    assert!(fix.contains("51820/udp") && fix.contains("198.51.100.7"), "{fix}");
}

#[test]
fn another_vpn_needs_the_port_of_its_process_or_of_guard_keep() {
    let mut host = in_use(bare(host()), "192.0.2.20:50123", "192.0.2.10:22", "lan0");
    let lan0 = host.links.iter_mut().find(|link| link.name.as_str() == "lan0").unwrap();
    lan0.kind = LinkKind::Tun;
    let vpn =
        "[zone.vpn]\ninterfaces = [\"lan0\"]\n[[allow]]\nservice = [\"ssh\"]\nfrom = [\"vpn\"]\n";
    let refusals = judged(vpn, &host).expect_err("nobody knows the port");
    assert!(refusals[0].advice().unwrap().contains("keep"), "{refusals:#?}");
    host.sockets.push(socket(Protocol::UDP, "0.0.0.0:1194", "openvpn"));
    let refusals = refused_until_mended(vpn, &host);
    assert!(refusals[0].message().contains("1194/udp"), "{}", refusals[0].message());
    // One that is not known by name counts where the policy names its port.
    host.sockets.last_mut().unwrap().owners = Arc::default();
    judged(vpn, &host).expect_err("nobody knows the port");
    let keep = format!(
        "{vpn}[[allow]]\nports = [\"1194/udp\"]\n[guard]\nkeep = [\"ssh\", \"1194/udp\"]\n"
    );
    assert_eq!(judged(&keep, &host), Ok(()));
    // One that connects out is not proved, and said so.
    host.sockets.push(socket(Protocol::UDP, "0.0.0.0:41641", "tailscaled"));
    let cautions = cautioned(vpn, &host).unwrap();
    assert!(matches!(
        &cautions[..],
        [Caution::OneAddress { .. } | Caution::ConnectsOut { .. }, ..]
    ));
    assert!(cautions.iter().any(|own| matches!(own, Caution::ConnectsOut { .. })), "{cautions:?}");
}

#[test]
fn mosh_needs_its_own_port() {
    let mut host = in_use(bare(host()), INTERNET, "203.0.113.10:22", "wan0");
    host.sockets.push(socket(Protocol::UDP, "203.0.113.10:60001", "mosh-server"));
    let refusals = refused_until_mended(SSH, &host);
    let fix = refusals[0].fix().unwrap();
    assert!(fix.contains("60000-61000/udp"), "{fix}");
}

#[test]
fn what_holds_with_a_but_is_said() {
    let host = in_use(bare(host()), INTERNET, "203.0.113.10:22", "wan0");
    assert_eq!(cautioned(SSH, &host), Ok(vec![]));
    let limited = "[[allow]]\nservice = [\"ssh\"]\nlimit = \"6/minute\"\n";
    let cautions = cautioned(limited, &host).unwrap();
    assert!(matches!(&cautions[..], [Caution::Limited { .. }]), "{cautions:?}");
    let one = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"203.0.113.9\"]\n";
    let cautions = cautioned(one, &host).unwrap();
    assert!(matches!(&cautions[..], [Caution::OneAddress { .. }]), "{cautions:?}");
    assert!(cautions[0].message().contains("203.0.113.9"), "{}", cautions[0].message());
    let more = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"203.0.113.8/31\"]\n";
    assert_eq!(cautioned(more, &host), Ok(vec![]));
}

#[test]
fn on_a_console_without_sshd_it_says_so_and_goes_on() {
    let mut host = bare(host());
    host.ssh.listeners.clear();
    host.sockets.retain(|socket| socket.local.port() != 22);
    assert_eq!(cautioned("[[allow]]\nservice = [\"http\"]\n", &host), Ok(vec![Caution::NoSsh]));
}

#[test]
fn a_way_in_that_a_neighbour_keeps_closed_anyway_is_no_new_loss() {
    // Nobody is logged in, and ufw keeps the internet from sshd's port already.
    let mut host = ufw_host();
    host.ssh.sessions.clear();
    moved(&mut host);
    let policy = "[[allow]]\nports = [\"2222/tcp\"]\n";
    let cautions = cautioned(policy, &host).unwrap();
    assert!(matches!(&cautions[..], [Caution::ClosedBefore { .. }]), "{cautions:?}");
    // Unless the policy says that it must be one.
    let guarded = format!("{policy}[guard]\nfrom = [\"198.51.100.0/24\"]\n");
    judged(&guarded, &host).expect_err("let through");
}

#[test]
fn a_session_whose_packets_a_new_rule_would_drop_is_not_let_go() {
    // Somebody's rule drops established traffic of this client.
    let mut host = in_use(bare(host()), INTERNET, "203.0.113.10:22", "wan0");
    let established = serde_json::json!({ "xt": {
        "kind": "match", "name": "conntrack", "revision": 3, "raw": "00",
        "decoded": { "module": "conntrack", "states": 2, "others": [], "invert": false }
    } });
    let rule = serde_json::json!([dials_22(), established, { "verdict": "drop" }]);
    host.ruleset.tables = vec![neighbour(&rule)];
    let refusals = judged(SSH, &host).expect_err("let through");
    assert!(matches!(lost(&refusals)[0].what, What::Running { .. }), "{refusals:#?}");
}
