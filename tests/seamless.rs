//! A change in place shows no packet a mixture of two policies.
//!
//! While a transaction is committed, a packet can meet the old rules with the new elements, or the
//! new rules with the elements of sets that follow a moment later ([`fwctl::plan::way`]). For random
//! policies and what somebody makes of them, both mixtures are asked: each connection must fare as
//! under one of the two policies. `FWCTL_POLICIES=N` tries more, `FWCTL_SEED=N` others.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod random_policy;

use fwctl::analyze::{Analyzer, Fate, From, Packet};
use fwctl::compile::{Environment, TABLE, compile};
use fwctl::model::Protocol;
use fwctl::model::nft::{Family, Table};
use fwctl::observe::Snapshot;
use fwctl::plan::diff::diff;
use fwctl::plan::way::{Way, unused, way};
use fwctl::policy::{self, MemoryFiles};
use random_policy::{Dice, Setting, Written};
use std::collections::BTreeSet;
use std::path::Path;

const SETTING: Setting = Setting {
    inbound: &["accept", "reject", "reject", "reject", "reject", "reject"],
    network: "web",
    bridge: "docker0",
    limit: "1000/second burst 1000",
};

fn host() -> Snapshot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped/docker-host.json");
    let mut snapshot = Snapshot::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    snapshot.ruleset.tables.clear();
    snapshot
}

fn compiled(written: &str) -> Option<Table> {
    let path = Path::new("/etc/fwctl/policy.toml");
    let loaded = policy::load(&MemoryFiles::default().with(path, written), path).ok()?;
    let environment = Environment {
        default_route_interfaces: vec!["wan0".parse().unwrap()],
        networks: [("web".to_owned(), "docker0".parse().unwrap())].into(),
        ..Environment::default()
    };
    compile(&loaded.policy, &environment).ok()
}

/// How connections fare: from each of some places, to each of some ports.
fn fares(host: &Snapshot, table: &Table) -> Vec<BTreeSet<String>> {
    let mut host = host.clone();
    assert_eq!((table.family, table.name.as_str()), (Family::Inet, TABLE));
    host.ruleset.tables.push(table.clone());
    let analyzer = Analyzer::new(&host);
    let mut fares = Vec::new();
    for (interface, source, to) in [
        ("wan0", "198.51.100.7", "203.0.113.10"),
        ("wan0", "198.51.100.99", "203.0.113.10"),
        ("wan0", "2001:db8:7::7", "2001:db8:1::10"),
        ("lan0", "192.0.2.20", "192.0.2.10"),
        ("lan0", "2001:db8:2::21", "2001:db8:2::10"),
        ("docker0", "172.17.0.2", "172.17.0.1"),
        ("wan0", "198.51.100.7", "172.17.0.2"),
    ] {
        for (protocol, ports) in [
            (Protocol::TCP, &[22, 79, 80, 443, 5000, 5432, 8080, 9001, 65535][..]),
            (Protocol::UDP, &[53, 54][..]),
        ] {
            for port in ports {
                let from = From::Interface(interface.parse().unwrap());
                let (source, to) = (source.parse().unwrap(), to.parse().unwrap());
                let answer = analyzer.ask(&Packet::new(from, source, to, protocol, *port));
                let fate = |fate: &Fate| format!("{fate:?}");
                fares.push(answer.ends.iter().map(|end| fate(&end.fate)).collect());
            }
        }
    }
    fares
}

/// What a packet meets of the policy that comes: the rules, the elements of hashed sets, those of
/// sets of intervals.
#[derive(Clone, Copy)]
struct New {
    rules: bool,
    hashed: bool,
    intervals: bool,
}

/// The table between `prepare` and `clear`: all that either has, what is `new` from `other`.
fn with(own: &Table, other: &Table, new: New) -> Table {
    let mut table = own.clone();
    for chain in &other.chains {
        match table.chains.iter_mut().find(|own| own.name == chain.name) {
            Some(own) if new.rules => own.clone_from(chain),
            Some(_) => {}
            None => table.chains.push(chain.clone()),
        }
    }
    for set in &other.sets {
        let is_new = if set.flags.interval { new.intervals } else { new.hashed };
        match table.sets.iter_mut().find(|own| own.name == set.name) {
            Some(own) if is_new => own.clone_from(set),
            Some(_) => {}
            None => table.sets.push(set.clone()),
        }
    }
    table
}

/// Whether a packet could fare as under neither policy while one takes the other's place.
fn mixes(host: &Snapshot, live: &Table, desired: &Table) -> bool {
    let (old, new) = (fares(host, live), fares(host, desired));
    (1..7).any(|mixture| {
        let is_new = |bit: u8| mixture & (1 << bit) != 0;
        let parts = New { rules: is_new(0), hashed: is_new(1), intervals: is_new(2) };
        let between = fares(host, &with(live, desired, parts));
        between.iter().zip(old.iter().zip(&new)).any(|(own, (old, new))| own != old && own != new)
    })
}

#[test]
fn no_packet_under_way_meets_a_mixture() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
    };
    let host = host();
    let mut dice = Dice::new(setting("FWCTL_SEED", 20_261_122));
    let (mut in_place, mut beside, mut rightly) = (0, 0, 0);
    while in_place + beside < setting("FWCTL_POLICIES", 150) {
        let written = Written::random(&mut dice, SETTING);
        let edited = written.edited(&mut dice);
        let Some(live) = compiled(&written.text()) else { continue };
        let Some(desired) = compiled(&edited.text()) else { continue };
        // What is cleared away behind a change that died is never of the policy.
        assert_eq!(unused(&live), [], "{}", written.text());
        let edits = diff(Some(&live), &desired);
        match way(Some(&live), &edits, &desired) {
            Way::InPlace(_) => {
                in_place += 1;
                assert!(
                    !mixes(&host, &live, &desired),
                    "{}\n# becomes\n{}\n{edits:#?}",
                    written.text(),
                    edited.text(),
                );
            }
            Way::Beside => {
                beside += 1;
                rightly += u64::from(mixes(&host, &live, &desired));
            }
        }
    }
    assert!(in_place > 20, "only {in_place} changes were made in place, {beside} beside");
    assert!(rightly > 5, "of {beside} changes beside, {rightly} would have mixed");
    println!("{in_place} in place; {beside} beside, of which {rightly} would have mixed");
}

/// A policy of SSH and this.
fn table(rules: &str) -> Table {
    compiled(&format!("version = 1\n[[allow]]\nports = [\"22/tcp\"]\n{rules}")).unwrap()
}

#[test]
fn a_port_more_is_opened_in_place() {
    let live = table("[[allow]]\nports = [\"80/tcp\"]\n");
    let desired = table("[[allow]]\nports = [\"80/tcp\", \"443/tcp\"]\n");
    let edits = diff(Some(&live), &desired);
    assert!(matches!(way(Some(&live), &edits, &desired), Way::InPlace(_)));
}

#[test]
fn what_a_new_element_leads_to_is_there_before_it_and_what_an_old_one_led_to_goes_after() {
    let live = table("[[allow]]\nports = [\"80/tcp\"]\nfrom = [\"192.0.2.1\"]\n");
    let desired = table("[[allow]]\nports = [\"443/tcp\"]\nfrom = [\"192.0.2.1\"]\n");
    let edits = diff(Some(&live), &desired);
    let Way::InPlace(steps) = way(Some(&live), &edits, &desired) else { panic!("{edits:#?}") };
    assert!(steps.prepare.contains("add chain inet fwctl tcp_443"), "{steps:#?}");
    assert!(steps.switch.contains("443 : goto tcp_443"), "{steps:#?}");
    assert!(!steps.switch.contains("chain inet fwctl tcp_"), "{steps:#?}");
    assert!(steps.clear.contains("delete chain inet fwctl tcp_80"), "{steps:#?}");
}

#[test]
fn a_port_that_leaves_rules_that_change_is_led_over_at_once() {
    let live = compiled("version = 1\n[[allow]]\nports = [\"22/tcp\", \"80/tcp\"]\n").unwrap();
    let desired = compiled(
        "version = 1\n[[allow]]\nports = [\"22/tcp\"]\nfrom = [\"192.0.2.1\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\n",
    )
    .unwrap();
    for (live, desired) in [(&live, &desired), (&desired, &live)] {
        let edits = diff(Some(live), desired);
        assert_eq!(way(Some(live), &edits, desired), Way::Beside);
    }
}

#[test]
fn a_port_that_becomes_part_of_a_range_is_led_over_at_once() {
    let live = table("[[allow]]\nports = [\"80/tcp\", \"8000-8010/tcp\"]\n");
    let desired = table("[[allow]]\nports = [\"80-90/tcp\", \"8000-8010/tcp\"]\n");
    for (live, desired) in [(&live, &desired), (&desired, &live)] {
        let edits = diff(Some(live), desired);
        assert_eq!(way(Some(live), &edits, desired), Way::Beside);
    }
}

#[test]
fn an_interval_in_place_of_one_that_it_overlaps_is_led_over_at_once() {
    let ranges =
        |ports: &str| table(&format!("[[allow]]\nports = [\"{ports}/tcp\", \"1-20/tcp\"]\n"));
    let prefixes = |prefix: &str| {
        table(&format!(
            "[[allow]]\nports = [\"80/tcp\"]\nfrom = [\"192.0.2.0/24\", \"{prefix}\"]\n\
             [zone.other]\naddresses = [\"203.0.113.0/24\"]\n"
        ))
    };
    for (live, desired) in [
        (ranges("70-100"), ranges("70-99")),
        (ranges("70-100"), ranges("60-100")),
        (prefixes("10.0.0.0/8"), prefixes("10.0.0.0/9")),
    ] {
        for (live, desired) in [(&live, &desired), (&desired, &live)] {
            let edits = diff(Some(live), desired);
            assert_eq!(way(Some(live), &edits, desired), Way::Beside, "{edits:?}");
        }
    }
    let (live, desired) = (ranges("70-100"), ranges("101-200"));
    let edits = diff(Some(&live), &desired);
    assert!(matches!(way(Some(&live), &edits, &desired), Way::InPlace(_)), "{edits:?}");
}
