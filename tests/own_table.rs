//! Random policies: what a policy says of a connection is what the analysis says of the table that
//! was compiled from it, alone and beside Docker's rules. A disagreement is a bug of the compiler,
//! of the analysis or of the policy's own judge.
//!
//! `FWCTL_POLICIES=N` tries more, `FWCTL_SEED=N` others.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use fwctl::analyze::{Analyzer, Answer, From, Packet};
use fwctl::compile::{Environment, lasting};
use fwctl::model::nft::text;
use fwctl::model::{IfaceName, IpFamily, Protocol, ZoneRef};
use fwctl::observe::Snapshot;
use fwctl::policy::{self, Arrival, Connection, MemoryFiles, Policy, Target};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Numbers that look random and are the same in every run (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// One to three different items, as a TOML list.
    fn some_of(&mut self, items: &[&str]) -> String {
        let chosen: BTreeSet<&str> =
            (0..=self.below(3)).map(|_| items[self.below(items.len())]).collect();
        let quoted: Vec<String> = chosen.iter().map(|item| format!("\"{item}\"")).collect();
        format!("[{}]", quoted.join(", "))
    }
}

const PORTS: &[&str] = &[
    "22/tcp",
    "80/tcp",
    "5432/tcp",
    "80-443/tcp",
    "1-1023/tcp",
    "5000-9000/tcp",
    "tcp",
    "all",
    "53/udp",
];
const FROM: &[&str] = &[
    "internet",
    "containers",
    "admin",
    "lan",
    "near",
    "wide",
    "inner",
    "@office",
    "203.0.113.0/24",
    "198.51.100.7",
    "2001:db8:7::/48",
    "2001:db8::/32",
    "192.0.2.20",
];
const TO: &[&str] =
    &["203.0.113.10", "192.0.2.10", "2001:db8:1::10", "2001:db8:2::/64", "203.0.113.0/25"];
const ZONES: &str = "[zone.admin]\naddresses = [\"198.51.100.0/24\", \"2001:db8:7::/64\", \"@office\"]\n\
     [zone.lan]\ninterfaces = [\"lan0\"]\n\
     [zone.near]\ninterfaces = [\"lan*\"]\naddresses = [\"192.0.2.0/24\"]\n\
     [zone.wide]\naddresses = [\"203.0.0.0/16\", \"172.16.0.0/12\", \"2001:db8:1::/48\"]\n\
     [zone.inner]\ninterfaces = [\"docker0\"]\n\
     [set.office]\naddresses = [\"192.0.2.20\", \"2001:db8:2::20\"]\n";

fn random_policy(dice: &mut Dice) -> String {
    let inbound = ["drop", "reject", "accept"][dice.below(8).min(2)];
    let inbound = if dice.below(3) > 0 { "drop" } else { inbound };
    let mut text = format!("version = 1\n[default]\ninbound = \"{inbound}\"\nlog = false\n{ZONES}");
    for (kind, count) in [("allow", 1 + dice.below(5)), ("deny", dice.below(4))] {
        for _ in 0..count {
            writeln!(text, "[[{kind}]]\nports = {}", dice.some_of(PORTS)).unwrap();
            if dice.below(4) > 0 {
                writeln!(text, "from = {}", dice.some_of(FROM)).unwrap();
            }
            match dice.below(6) {
                0 => writeln!(text, "to = {}", dice.some_of(TO)).unwrap(),
                1 if kind == "allow" => writeln!(text, "to = [\"container:app\"]").unwrap(),
                _ => {}
            }
            if kind == "allow" && inbound != "accept" && dice.below(4) == 0 {
                writeln!(text, "limit = \"6/minute burst 9\"").unwrap();
            }
        }
    }
    text
}

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
    let mut dice = Dice(setting("FWCTL_SEED", 20_261_123) | 1);
    let (mut tried, mut passed) = (0, 0);
    while tried < setting("FWCTL_POLICIES", 20) {
        let written = random_policy(&mut dice);
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
        let beside = Analyzer::predicted(&snapshot, Some(&table));
        passed += ground.compare(&alone, &loaded.policy, false, &told);
        passed += ground.compare(&beside, &loaded.policy, true, &told);
    }
    assert!(passed > 5_000, "too few open ports for a fair test: {passed}");
}
