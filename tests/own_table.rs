//! Random policies: what a policy says of a connection is what the analysis says of the table that
//! was compiled from it, alone and beside Docker's rules. A disagreement is a bug of the compiler,
//! of the analysis or of the policy's own judge.
//!
//! `FWCTL_POLICIES=N` tries more, `FWCTL_SEED=N` others.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod random_policy;

use fwctl::analyze::{Analyzer, Answer, From, Packet};
use fwctl::compile::{Environment, lasting};
use fwctl::model::nft::text;
use fwctl::model::{IfaceName, IpFamily, Protocol, ZoneRef};
use fwctl::observe::Snapshot;
use fwctl::policy::{self, Arrival, Connection, MemoryFiles, Policy, Target};
use random_policy::{Dice, Setting, Written};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

const SETTING: Setting = Setting {
    inbound: &["drop", "drop", "drop", "drop", "drop", "drop", "reject", "accept"],
    network: "app",
    bridge: "docker0",
    limit: "6/minute burst 9",
};

/// Where some rule may begin to say something else, and what stands beside it.
const EDGES: [&str; 17] = [
    "8.8.8.8",
    "198.51.99.255",
    "198.51.100.0",
    "198.51.100.7",
    "198.51.100.255",
    "198.51.101.0",
    "203.0.0.1",
    "203.1.0.0",
    "203.0.113.77",
    "192.0.2.19",
    "192.0.2.20",
    "172.15.255.255",
    "172.17.0.9",
    "172.18.0.9",
    "2001:db8:7::1",
    "2001:db8:2::20",
    "2001:4860::1",
];

/// Whether the source gets through, at least at times.
fn passes(answer: &Answer, source: IpAddr) -> bool {
    let number = match source {
        IpAddr::V4(own) => u128::from(own.to_bits()),
        IpAddr::V6(own) => own.to_bits(),
    };
    answer.ends.iter().filter(|end| end.fate.passes()).any(|end| {
        let mut spans = end.state.sources.spans().iter();
        spans.any(|span| (span.first..=span.last).contains(&number))
    })
}

struct Ground<'s> {
    snapshot: &'s Snapshot,
    containers: BTreeSet<IfaceName>,
}

impl Ground<'_> {
    /// All that is asked of one ruleset; how much passed.
    fn compare(&self, analyzer: &Analyzer<'_>, policy: &Policy, docker: bool, told: &str) -> u32 {
        let mut passed = 0;
        for link in self.snapshot.links.iter().filter(|link| link.up && !link.addresses.is_empty())
        {
            let is_container = self.containers.contains(&link.name);
            // Docker keeps its networks apart by rules of its own.
            if link.name.as_str().starts_with("veth") || (docker && is_container) {
                continue;
            }
            let arrival = if is_container {
                Arrival::Container(link.name.clone())
            } else {
                Arrival::Interface(link.name.clone())
            };
            for family in IpFamily::BOTH {
                let zones = [ZoneRef::Internet, ZoneRef::Containers];
                let lan = ZoneRef::Declared("lan".parse().unwrap());
                let ways = zones.iter().chain([&lan]);
                let ways = ways.flat_map(|zone| analyzer.arrivals(Some(policy), zone, family));
                let from = From::Interface(link.name.clone());
                if !ways.map(|way| way.from).any(|own| own == from) {
                    continue;
                }
                for (address, network) in self.targets(family, docker) {
                    for port in [22, 80, 443, 5432, 9000, 9001, 1023, 1024] {
                        let any: IpAddr = match family {
                            IpFamily::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
                            IpFamily::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
                        };
                        let one = Packet::new(from.clone(), any, address, Protocol::TCP, port);
                        let sources = vec![(0, u128::MAX)];
                        let answer = analyzer.ask(&Packet { sources, ..one });
                        for source in EDGES.map(|text| text.parse::<IpAddr>().unwrap()) {
                            if IpFamily::of(source) != family {
                                continue;
                            }
                            let dialled = network.is_none().then_some(address);
                            let network = network.clone();
                            let target =
                                Target { dialled, network, ..Target::port(Protocol::TCP, port) };
                            let connection =
                                Connection { arrival: arrival.clone(), source, target };
                            let says = policy::decide(policy, &connection).passes();
                            let is = passes(&answer, source);
                            assert_eq!(is, says, "docker {docker}, {connection:?}\n{told}");
                            passed += u32::from(is);
                        }
                    }
                }
            }
        }
        passed
    }

    /// Addresses of the host, and of a container on a network that policies name.
    fn targets(&self, family: IpFamily, docker: bool) -> Vec<(IpAddr, Option<String>)> {
        let own = ["203.0.113.10", "192.0.2.10", "2001:db8:1::10", "2001:db8:2::10"];
        let own = own.iter().map(|text| (text.parse().unwrap(), None));
        let engine = self.snapshot.engines.iter().flat_map(|engine| &engine.containers);
        let inside = engine.flat_map(|container| &container.addresses);
        let inside = inside
            .flat_map(|(network, all)| all.iter().map(|address| (*address, Some(network.clone()))));
        // Docker drops what is routed to a container's own address, by the policy of its chain.
        let inside = inside.filter(|_| !docker);
        own.chain(inside).filter(|(address, _)| IpFamily::of(*address) == family).collect()
    }
}

#[test]
fn the_analysis_of_our_own_table_is_the_verdict_of_the_policy() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped/docker-host.json");
    let snapshot = Snapshot::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    let containers = Environment::of(&snapshot).container_interfaces(&snapshot);
    let ground = Ground { snapshot: &snapshot, containers };
    let mut dice = Dice::new(setting("FWCTL_SEED", 20_261_123));
    let (mut tried, mut passed) = (0, 0);
    while tried < setting("FWCTL_POLICIES", 20) {
        let written = Written::random(&mut dice, SETTING).text();
        let path = Path::new("/etc/fwctl/policy.toml");
        // Some contradict themselves, which the reader says; those are not for here.
        let Ok(loaded) = policy::load(&MemoryFiles::default().with(path, &written), path) else {
            continue;
        };
        let Ok(plan) = fwctl::plan::plan(&loaded.policy, &snapshot) else { continue };
        tried += 1;
        let table = lasting(&plan.table);
        let told = format!("{written}\n{}", text::table(&table));
        let alone = Analyzer::alone(&snapshot, &table);
        let beside = Analyzer::new(&snapshot).with_own(Some(&table));
        passed += ground.compare(&alone, &loaded.policy, false, &told);
        passed += ground.compare(&beside, &loaded.policy, true, &told);
    }
    assert!(passed > 5_000, "too few open ports for a fair test: {passed}");
}
