//! `[[expect]]` on the whole predicted ruleset: all packets of the stated sources, neighbours
//! included, with a packet and a rule where one does not hold.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "guard/support.rs"]
mod support;

use fwctl::model::nft::Table;
use fwctl::observe::Snapshot;
use fwctl::plan::plan;
use fwctl::policy::{self, MemoryFiles};
use std::path::Path;
use support::{host, ufw_host};

fn failures(policy: &str, snapshot: &Snapshot) -> Vec<String> {
    let path = Path::new("/etc/fwctl/policy.toml");
    let files = MemoryFiles::default().with(path, format!("version = 1\n{policy}"));
    let policy = policy::load(&files, path).unwrap_or_else(|errors| panic!("{errors:?}")).policy;
    let plan = plan(&policy, snapshot).unwrap();
    plan.expectations.into_iter().flat_map(|result| result.failures).collect()
}

/// A table of somebody's that drops TCP from these addresses, before every other filter.
fn bans(from: &str, to: &str) -> Table {
    let lookup = serde_json::json!({ "lookup": {
        "key": [{ "selector": { "payload": { "base": "network", "offset": 12, "len": 4 } } }],
        "set": "banned", "invert": false
    } });
    serde_json::from_value(serde_json::json!({
        "family": "ip", "name": "bans", "handle": 99,
        "chains": [{
            "name": "in", "handle": 1, "comment": null,
            "hook": {
                "kind": "filter", "hook": "input", "devices": [], "priority": -30,
                "policy": "accept"
            },
            "rules": [{ "handle": 7, "comment": null, "statements": [lookup, { "verdict": "drop" }] }]
        }],
        "sets": [{
            "name": "banned", "handle": 2, "key": ["ipv4_addr"], "key_len": 4, "data": null,
            "flags": { "interval": true }, "size": null, "timeout": null, "comment": null,
            "statements": [],
            "elements": { "listed": [{ "key": { "interval": [from, to] } }] }
        }]
    }))
    .unwrap()
}

const OPEN: &str = "[[allow]]\nports = [\"22/tcp\", \"80/tcp\", \"443/tcp\"]\n\
                    [[expect]]\nfrom = [\"internet\"]\n";

#[test]
fn what_a_neighbour_keeps_closed_is_not_open() {
    assert_eq!(failures(&format!("{OPEN}open = [\"443/tcp\"]\n"), &host()), [""; 0]);
    let found = failures(&format!("{OPEN}open = [\"443/tcp\"]\n"), &ufw_host());
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].contains("443/tcp is expected open from internet")
            && found[0].contains("ip filter INPUT: policy drop")
            && found[0].contains("to 203.0.113.10:443"),
        "{found:#?}"
    );
    // What ufw lets in is open, also where it counts.
    let open = format!("{OPEN}open = [\"22/tcp\"]\n");
    assert_eq!(failures(&open, &ufw_host()), [""; 0]);
    let limited = open.replace("22/tcp\"]\n", "80/tcp\"]\n").replace("internet", "203.0.113.0/24");
    assert_eq!(failures(&limited, &ufw_host()), [""; 0]);
}

#[test]
fn what_a_policy_lets_in_through_nat_is_not_closed() {
    // The policy lets 5432 in at one address of the host alone, where Docker publishes it.
    let policy = "[[allow]]\nservice = [\"ssh\"]\n\
                  [[allow]]\nports = [\"5432/tcp\"]\nto = [\"192.0.2.10\"]\nfrom = [\"192.0.2.0/24\"]\n\
                  [[expect]]\nfrom = [\"192.0.2.0/24\"]\nclosed = [\"5432/tcp\"]\n\
                  [[expect]]\nfrom = [\"internet\"]\nopen = [\"ssh\"]\n";
    let found = failures(policy, &host());
    assert_eq!(found.len(), 1, "the policy's own verdict says it once: {found:#?}");
    assert!(found[0].contains("5432/tcp"), "{found:#?}");
}

#[test]
fn a_ban_of_some_of_the_internet_leaves_a_port_open_and_of_a_zone_does_not() {
    let mut host = host();
    host.ruleset.tables.push(bans("c6336407", "c6336407"));
    let zone = "[zone.admin]\naddresses = [\"198.51.100.0/24\"]\n[[allow]]\nservice = [\"ssh\"]\n";
    let expect = |from: &str| format!("{zone}[[expect]]\nfrom = [\"{from}\"]\nopen = [\"ssh\"]\n");
    assert_eq!(failures(&expect("internet"), &host), [""; 0]);
    let found = failures(&expect("admin"), &host);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("some are kept out by ip bans in") && found[0].contains("@banned"),
        "{found:#?}"
    );
    // Half of the internet is more than a ban.
    host.ruleset.tables.pop();
    host.ruleset.tables.push(bans("00000000", "7fffffff"));
    assert_eq!(failures(&expect("internet"), &host).len(), 1);
}

#[test]
fn what_does_not_come_to_the_host_at_all_is_left_to_the_policy() {
    // No such interface is on this host: nothing can come from there.
    let zone = "[zone.far]\ninterfaces = [\"eth9\"]\n[[allow]]\nservice = [\"ssh\"]\n";
    let closed = format!("{zone}[[expect]]\nfrom = [\"far\"]\nclosed = [\"ssh\"]\n");
    assert!(!failures(&closed, &host()).is_empty());
    let open = format!("{zone}[[expect]]\nfrom = [\"far\"]\nopen = [\"ssh\"]\n");
    assert_eq!(failures(&open, &host()), [""; 0]);
}
