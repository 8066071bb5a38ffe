//! What is fuzzed: each reader, and what the readers' values are used for next.

use crate::{Target, change, corpus, xt};
use fwctl::analyze::{Analyzer, From, Packet, exposure};
use fwctl::model::Protocol;
use fwctl::model::nft::{Ruleset, text};
use fwctl::observe::{Snapshot, endpoints, foreign, legacy, nft};
use fwctl::policy::{self, MemoryFiles, Style};
use std::path::Path;
use std::sync::OnceLock;

pub static NETLINK: Target =
    Target { name: "netlink", corpus: corpus::dumps, change: change::netlink, read: dump };
pub static XT: Target = Target { name: "xt", corpus: xt::corpus, change: xt::change, read: dump };
pub static LINKS: Target = Target {
    name: "links",
    corpus: corpus::messages,
    change: change::bytes,
    read: |bytes| {
        foreign::netlink(bytes);
    },
};
pub static PROC: Target = Target {
    name: "proc",
    corpus: corpus::texts,
    change: change::text,
    read: |bytes| {
        foreign::proc_text(&String::from_utf8_lossy(bytes));
    },
};
pub static ENGINES: Target = Target {
    name: "engines",
    corpus: corpus::engines,
    change: change::text,
    read: |bytes| {
        foreign::engine_answer(&String::from_utf8_lossy(bytes));
    },
};
pub static LEGACY: Target =
    Target { name: "legacy", corpus: corpus::legacy, change: change::bytes, read: legacy_table };
pub static SNAPSHOTS: Target =
    Target { name: "snapshots", corpus: corpus::snapshots, change: change::text, read: snapshot };
pub static POLICIES: Target =
    Target { name: "policies", corpus: corpus::policies, change: change::text, read: policy_text };

/// A host on which rules can be asked about.
fn host() -> &'static Snapshot {
    static HOST: OnceLock<Snapshot> = OnceLock::new();
    HOST.get_or_init(|| {
        let text = corpus::snapshots().remove(0);
        Snapshot::from_json(&String::from_utf8(text).unwrap()).unwrap()
    })
}

/// The kernel's ruleset: decoded, printed, brought into one form, and asked.
fn dump(bytes: &[u8]) {
    let ruleset: Ruleset = nft::decode(1, bytes);
    for table in &ruleset.tables {
        text::table(table);
        for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
            assert!(rule.same_as(rule), "a rule is itself");
        }
    }
    ask(&Snapshot { ruleset, ..host().clone() });
}

/// A table of legacy iptables: decoded, printed and asked.
fn legacy_table(bytes: &[u8]) {
    for named in ["ip filter", "ip6 filter"] {
        let Some(table) = legacy::decode(named, bytes) else { continue };
        text::table(&table);
        let ruleset = Ruleset { generation: 1, tables: vec![table] };
        ask(&Snapshot { ruleset, ..host().clone() });
    }
}

fn ask(snapshot: &Snapshot) {
    let analyzer = Analyzer::new(snapshot);
    let questions = [
        ("198.51.100.7", "203.0.113.10", Protocol::TCP, 22),
        ("2001:db8:7::7", "2001:db8:1::10", Protocol::UDP, 53),
        ("198.51.100.7", "192.0.2.10", Protocol::ICMP, 0),
    ];
    for link in snapshot.links.iter().take(3) {
        for (source, destination, protocol, port) in questions {
            let from = From::Interface(link.name.clone());
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            let packet = Packet::new(from, source, destination, protocol, port);
            let highest =
                if packet.destination.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
            analyzer.trace(&packet);
            analyzer.ask(&Packet { sources: vec![(0, highest)], ..packet });
        }
    }
}

fn snapshot(bytes: &[u8]) {
    let Ok(snapshot) = Snapshot::from_json(&String::from_utf8_lossy(bytes)) else { return };
    endpoints(&snapshot);
    exposure(&Analyzer::new(&snapshot), None, false);
    assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot, "it survives");
}

fn policy_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let files = MemoryFiles::default().with("policy.toml", text);
    let style = Style { colour: false, width: 80 };
    match policy::load(&files, Path::new("policy.toml")) {
        Ok(loaded) => {
            loaded.warnings.render(style);
            policy::check_expectations(&loaded.policy);
        }
        Err(diagnostics) => assert!(!diagnostics.render(style).is_empty(), "it says why"),
    }
}
