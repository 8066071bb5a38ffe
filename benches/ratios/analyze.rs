//! Who can reach what, asked of large rulesets ÷ `nft -j list ruleset` of the same.
//!
//! Fifty ports listen on every address of a host with two uplinks; four zones, both IP versions.

use crate::host::Host;
use crate::measure::{Line, Pairs, median, peak, time};
use crate::net::Lab;
use crate::rulesets::{self, Written};
use crate::table::{Goal, Table};
use crate::{Size, networks, policies};
use fwctl::analyze::compare::{Comparison, Region, compare};
use fwctl::analyze::{Analyzer, exposure, shadowed};
use fwctl::observe::{Options, Snapshot, nft, observe};
use fwctl::policy::Policy;
use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIST: Line = &["/usr/sbin/nft", "-j", "list", "ruleset"];
const EXPOSURE: Line = &[env!("CARGO_BIN_EXE_fwctl"), "exposure", "--format", "json"];

const POLICY: &str = "version = 1\n\
    [[allow]]\nservice = [\"ssh\", \"http\", \"https\"]\n\
    [zone.lan]\ninterfaces = [\"lan0\"]\n\
    [zone.admin]\naddresses = [\"198.51.100.0/24\", \"2001:db8:7::/48\"]\n\
    [zone.office]\naddresses = [\"203.0.113.128/25\", \"2001:db8:8::/48\"]\n";

/// Measures all sizes.
pub fn run(size: Size, table: &mut Table) {
    engine_host(size, table);
    networks::run(size, table);
    let lab = Lab::new();
    let root = tempfile::tempdir().unwrap();
    policies::write(root.path(), "policy.toml", POLICY);
    let bench = Bench {
        policy: policies::load(root.path(), &root.path().join("etc/fwctl/policy.toml")),
        root: root.path(),
        lab: &lab,
        size,
    };
    let many = size.of(10_000, 200);
    let prefixes = u32::try_from(size.of(100_000, 500)).unwrap();
    let asked = "50 endpoints × 4 zones";
    let goal = Goal::AtMost(0.1);
    bench.asks(&format!("{asked}, 10,000 rules"), goal, &rulesets::mixed(many), table);
    bench.asks(&format!("{asked}, 10,000 blocked sources"), goal, &rulesets::blocked(many), table);
    let set = rulesets::prefixes(prefixes);
    bench.asks(&format!("{asked}, a set of 100,000 prefixes"), Goal::AtMost(0.05), &set, table);
    bench.asks_again(&rulesets::mixed(many), table);
    bench.compares(&rulesets::mixed(many), table);
    bench.grows(table);
}

/// What the rulesets have in common.
struct Bench<'b> {
    policy: Policy,
    root: &'b Path,
    lab: &'b Lab,
    size: Size,
}

impl Bench<'_> {
    fn load(&self, written: &Written) {
        self.lab.host.nft(&format!("flush ruleset\n{}", written.text()));
    }

    /// Runs a closure on the host, with its snapshot, while fifty ports listen.
    fn on<T: Send>(&self, inside: impl FnOnce(&Snapshot) -> T + Send) -> T {
        self.lab.host.enter(|| {
            let _listeners = listen(Ipv6Addr::UNSPECIFIED.into());
            inside(&look(self.root))
        })
    }

    fn asks(&self, what: &str, goal: Goal, written: &Written, table: &mut Table) {
        self.load(written);
        let rounds = self.size.of(10, 1);
        let (pairs, peaks) = self.on(|snapshot| {
            let ours = || asked(snapshot, &self.policy);
            let pairs = Pairs::take(rounds, ours, || time(&[LIST], self.root));
            (pairs, (peak(EXPOSURE, self.root), peak(LIST, self.root)))
        });
        let what = format!("{what} ÷ `nft -j list ruleset`");
        table.ratio("analyze", &what, goal, &pairs, Some(peaks));
    }

    /// The same question while the ruleset is the same, in milliseconds.
    fn asks_again(&self, written: &Written, table: &mut Table) {
        self.load(written);
        let again = self.on(|snapshot| {
            let analyzer = Analyzer::new(snapshot);
            let first = exposure(&analyzer, Some(&self.policy), false);
            let once = |_| {
                let start = Instant::now();
                assert_eq!(nft::generation().unwrap(), snapshot.ruleset.generation);
                let found = exposure(&analyzer, Some(&self.policy), false);
                let took = start.elapsed();
                assert_eq!(found, first);
                took.as_secs_f64() * 1e3
            };
            median((0..self.size.of(50, 1)).map(once))
        });
        let what = "asked again while the ruleset is the same, in ms";
        table.measured("analyze", what, Goal::AtMost(1.0), again);
    }

    /// One changed rule, another order, rules that never decide.
    fn compares(&self, written: &Written, table: &mut Table) {
        let mut changed = written.clone();
        let middle = &mut changed.rules[written.rules.len() / 2];
        *middle = match middle.strip_suffix("accept") {
            Some(start) => format!("{start}drop"),
            None => middle.replace("drop", "accept"),
        };
        self.load(&changed);
        let one = self.on(Snapshot::clone);
        self.load(&rulesets::permuted(written));
        let other = self.on(Snapshot::clone);
        self.load(written);
        let rounds = self.size.of(10, 1);
        let all = self.on(|snapshot| {
            let compared = |theirs: &Snapshot, equal: bool| {
                let start = Instant::now();
                let (ours, theirs) = (Analyzer::new(snapshot), Analyzer::new(theirs));
                let found = compare(&ours, &theirs, &Region::all());
                let took = start.elapsed();
                assert_eq!(found == Comparison::Equal, equal, "{found:?}");
                took
            };
            let alone = || {
                let start = Instant::now();
                black_box(shadowed(&snapshot.ruleset));
                start.elapsed()
            };
            let list = || time(&[LIST], self.root);
            [
                Pairs::take(rounds, || compared(&one, false), list),
                Pairs::take(rounds, || compared(&other, true), list),
                Pairs::take(rounds, alone, list),
            ]
        });
        let names = [
            ("one rule of 10,000 changed: where they differ", 0.03),
            ("10,000 rules in another order: that they are equal", 0.4),
            ("rules of 10,000 that never decide", 0.3),
        ];
        for (pairs, (name, goal)) in all.iter().zip(names) {
            let what = format!("{name} ÷ `nft -j list ruleset`");
            table.ratio("analyze", &what, Goal::AtMost(goal), pairs, None);
        }
    }

    /// What a rule costs in larger and larger rulesets.
    fn grows(&self, table: &mut Table) {
        let mut first = None;
        for thousands in [1, 3, 10, 30] {
            let count = self.size.of(thousands * 1000, thousands * 10);
            self.load(&rulesets::mixed(count));
            let each = self.on(|snapshot| {
                let rounds = self.size.of(7, 1);
                let took = (0..rounds).map(|_| asked(snapshot, &self.policy).as_secs_f64());
                #[expect(clippy::cast_precision_loss, reason = "some thousands")]
                let each = median(took) / count as f64;
                each
            });
            let first = *first.get_or_insert(each);
            let what = format!("cost of a rule, {thousands},000 rules ÷ 1,000");
            let goal = if thousands == 1 { Goal::None } else { Goal::AtMost(1.5) };
            table.measured("analyze", &what, goal, each / first);
        }
    }
}

/// Docker's and ufw's own rules, read and asked.
fn engine_host(size: Size, table: &mut Table) {
    if size.smoke {
        // Booting a host is the section `plan`'s to try.
        return;
    }
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.docker_run("admin", "-p 127.0.0.1:8080:80", 80);
    host.sh("ufw allow 22/tcp && ufw limit 2222/tcp && ufw --force enable");
    let root = tempfile::tempdir().unwrap();
    policies::write(root.path(), "policy.toml", POLICY);
    let policy = policies::load(root.path(), &root.path().join("etc/fwctl/policy.toml"));
    let own = crate::net::HOST_WAN_V4;
    let all = Ipv6Addr::UNSPECIFIED.into();
    let where_from = "read and asked ÷ `nft -j list ruleset`";
    for (what, at, goal) in [
        ("50 endpoints at one address × 4 zones", own, Goal::AtMost(0.5)),
        ("50 endpoints at all addresses × 4 zones", all, Goal::AtMost(0.6)),
    ] {
        let pairs = crate::plan::on(&host, || {
            let _listeners = listen(at);
            // No thread can be made where another namespace of processes waits for the next one.
            let seen = Command::new("/usr/local/bin/fwctl").arg("snapshot").output();
            let seen = String::from_utf8(seen.unwrap().stdout).unwrap();
            let mut snapshot = Snapshot::from_json(&seen).unwrap();
            // What the host serves besides is not what is asked about.
            snapshot.sockets.retain(|own| (1_000..1_100).contains(&own.local.port()));
            snapshot.engines.clear();
            let ours = || {
                let start = Instant::now();
                let ruleset = nft::read(nft::Options::default()).unwrap();
                let read = start.elapsed();
                assert_eq!(ruleset.generation, snapshot.ruleset.generation, "it holds still");
                read + asked(&snapshot, &policy)
            };
            Pairs::take(20, ours, || time(&[LIST], Path::new("/")))
        });
        let what = format!("{what}, a Docker and ufw host, {where_from}");
        table.ratio("analyze", &what, goal, &pairs, None);
    }
}

fn listen(address: IpAddr) -> Vec<TcpListener> {
    let at = |port: u16| TcpListener::bind((address, port)).unwrap();
    // Neighbours that fare alike would be one.
    (1_000..1_100).step_by(2).map(at).collect()
}

fn look(root: &Path) -> Snapshot {
    let options = Options { root: root.into(), ..Options::default() };
    observe(&options)
}

/// How long it takes to say who reaches what, from the ruleset as it was read.
fn asked(snapshot: &Snapshot, policy: &Policy) -> Duration {
    let start = Instant::now();
    let found = exposure(&Analyzer::new(snapshot), Some(policy), false);
    let took = start.elapsed();
    assert!(found.endpoints.len() >= 50, "{} endpoints", found.endpoints.len());
    took
}
