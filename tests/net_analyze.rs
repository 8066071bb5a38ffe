//! The analysis against the kernel: random rulesets, real packets, one answer.
//!
//! `FWCTL_ANALYZE_RULESETS` and `FWCTL_ANALYZE_SEED` ask for more of them, or for others.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "analyze/answers.rs"]
mod answers;
#[path = "analyze/counters.rs"]
mod counters;
#[path = "analyze/packets.rs"]
mod packets;
#[path = "analyze/random.rs"]
mod random;

#[path = "analyze/wrong.rs"]
mod wrong;

mod net;

use answers::{agrees, question};
use counters::{Expected, QUIET};
use fwctl::analyze::guard::Guard;
use fwctl::analyze::{Analyzer, Answer, Fate, Packet};
use fwctl::model::nft::Ruleset;
use fwctl::observe::{Options, Snapshot, legacy, observe_with};
use net::{HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Lab, Namespace};
use packets::{Receiver, Seen, Sender, Sent};
use random::{DESTINATIONS4, DESTINATIONS6, PORTS, Random, SOURCES4, SOURCES6};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So many rulesets that the kernel takes.
const RULESETS: u64 = 500;
const PACKETS: usize = 200;

/// Every table of legacy iptables as it is when it is loaded.
const LEGACY_EMPTY: &str = "*raw
:PREROUTING ACCEPT
:OUTPUT ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
COMMIT
";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host with a container between two clients, where no neighbour has to be asked for.
struct Ground {
    lab: Lab,
    _container: Namespace,
    senders: [(&'static str, Sender); 3],
    receivers: Vec<Receiver>,
    snapshot: Snapshot,
    next_id: u32,
}

const V4: [(&str, &str, &str); 3] = [
    ("wan0", "203.0.113.1", "02:00:00:00:00:01"),
    ("lan0", "192.0.2.20", "02:00:00:00:00:02"),
    ("br-web", "172.18.0.2", "02:00:00:00:00:03"),
];
const V6: [(&str, &str, &str); 3] = [
    ("wan0", "2001:db8:1::1", "02:00:00:00:00:01"),
    ("lan0", "2001:db8:2::20", "02:00:00:00:00:02"),
    ("br-web", "2001:db8:18::2", "02:00:00:00:00:03"),
];

impl Ground {
    fn new() -> Self {
        let lab = Lab::new();
        lab.bridge("br-web", "172.18.0.1/16", "2001:db8:18::1/64");
        let via = ("172.18.0.1", "2001:db8:18::1");
        let container = lab.container("br-web", "172.18.0.2/16", "2001:db8:18::2/64", via);
        for (device, mac) in [
            ("wan0", "02:00:00:00:01:01"),
            ("lan0", "02:00:00:00:01:02"),
            ("br-web", "02:00:00:00:01:03"),
        ] {
            lab.host.ip(&format!("link set {device} address {mac}"));
        }
        for (client, (_, _, mac)) in
            [(&lab.internet, V4[0]), (&lab.lan, V4[1]), (&container, V4[2])]
        {
            client.ip(&format!("link set eth0 address {mac}"));
            client.nft(QUIET);
            // Clients take in whatever the host lets through, from whatever source.
            client.sysctl("ipv4/conf/all/accept_local", "1");
        }
        for (device, address, mac) in V4.iter().chain(&V6) {
            lab.host
                .ip(&format!("neigh replace {address} lladdr {mac} dev {device} nud permanent"));
        }
        let gateways = [
            (&lab.internet, HOST_WAN_V4, HOST_WAN_V6, "02:00:00:00:01:01"),
            (&lab.lan, HOST_LAN_V4, HOST_LAN_V6, "02:00:00:00:01:02"),
            (&container, address(via.0), address(via.1), "02:00:00:00:01:03"),
        ];
        for (client, v4, v6, mac) in gateways {
            for gateway in [v4, v6] {
                client.ip(&format!("neigh replace {gateway} lladdr {mac} dev eth0 nud permanent"));
            }
        }
        for interface in ["all", "default", "wan0", "lan0", "br-web"] {
            lab.host.sysctl(&format!("ipv4/conf/{interface}/rp_filter"), "0");
        }
        let v6 = |text: &[&str]| text.iter().map(|own| own.parse().unwrap()).collect::<Vec<_>>();
        let receivers = vec![
            Receiver::new(
                "host",
                &lab.host,
                &v6(&["::1", "2001:db8:1::10", "2001:db8:2::10", "2001:db8:18::1"]),
            ),
            Receiver::new("internet", &lab.internet, &v6(&["2001:db8:1::1", "2001:db8:7::7"])),
            Receiver::new("lan", &lab.lan, &v6(&["2001:db8:2::20"])),
            Receiver::new("container", &container, &v6(&["2001:db8:18::2"])),
        ];
        let senders = [
            ("wan0", Sender::new(&lab.internet, (HOST_WAN_V4, HOST_WAN_V6))),
            ("lan0", Sender::new(&lab.lan, (HOST_LAN_V4, HOST_LAN_V6))),
            ("br-web", Sender::new(&container, (address(via.0), address(via.1)))),
        ];
        let snapshot = look(&lab.host);
        Self { lab, _container: container, senders, receivers, snapshot, next_id: 1 }
    }

    /// Reads the host anew, after its settings changed.
    fn look_again(&mut self) {
        self.snapshot = look(&self.lab.host);
    }

    /// Loads a ruleset in place of the last one, less the rules that nft refuses: not everything
    /// that can be written can be meant.
    fn load(&mut self, text: &str) -> Result<String, String> {
        let mut conntrack = self.lab.host.command("conntrack");
        let _ = conntrack.arg("-F").output();
        let mut lines: Vec<&str> = text.lines().collect();
        let mut last = String::new();
        for _ in 0..5 {
            let text = lines.join("\n");
            match self.lab.host.try_nft(&format!("flush ruleset\n{text}\n{QUIET}")) {
                Ok(()) => {
                    self.read();
                    return Ok(text);
                }
                Err(error) => last = error,
            }
            for line in last.lines().filter_map(|line| line.strip_prefix("/dev/stdin:")) {
                let number: usize = line.split(':').next().unwrap().parse().unwrap();
                let rule =
                    lines.get_mut(number.wrapping_sub(2)).filter(|line| line.starts_with("    "));
                *rule.ok_or_else(|| format!("{last}\n{text}"))? = "";
            }
        }
        Err(last)
    }

    /// Loads what iptables writes, less the rules that it refuses.
    fn load_iptables(&mut self, backend: &str, v4: &str, v6: &str) -> Result<String, String> {
        let mut conntrack = self.lab.host.command("conntrack");
        let _ = conntrack.arg("-F").output();
        self.lab.host.nft(&format!("flush ruleset\n{QUIET}"));
        let mut loaded = String::new();
        for (version, text) in [("ip", v4), ("ip6", v6)] {
            let program = &format!("{version}tables-{backend}-restore");
            if backend == "legacy" {
                // What another ruleset had in tables that this one has not.
                self.restore(program, LEGACY_EMPTY).unwrap();
            }
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            loop {
                let text = lines.join("\n") + "\n";
                let Err(error) = self.restore(program, &text) else {
                    loaded += &text;
                    break;
                };
                let word = error.split("line ").nth(1).or(error.split("line: ").nth(1));
                let digits =
                    |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
                let line: Option<usize> = word.and_then(|word| digits(word).parse().ok());
                match line.and_then(|line| lines.get_mut(line - 1)) {
                    Some(line) if line.starts_with("-A") => line.clear(),
                    _ => return Err(format!("{error}\n{text}")),
                }
            }
        }
        self.read();
        Ok(loaded)
    }

    fn restore(&self, program: &str, text: &str) -> Result<(), String> {
        let mut command = self.lab.host.command(program);
        let piped = std::process::Stdio::piped;
        let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn read(&mut self) {
        let options = fwctl::observe::nft::Options::default();
        self.snapshot.ruleset = self.lab.host.enter(|| {
            let mut ruleset = fwctl::observe::nft::read(options).unwrap();
            for family in ["ip", "ip6"] {
                let names = format!("/proc/thread-self/net/{family}_tables_names");
                for name in std::fs::read_to_string(names).unwrap_or_default().lines() {
                    ruleset.tables.push(legacy::read(&format!("{family} {name}")).unwrap());
                }
            }
            ruleset
        });
    }

    fn packet(&mut self, random: &mut Random) -> (usize, Sent) {
        let id = self.next_id;
        self.next_id += 1;
        let v4 = random.chance(55);
        let sources: &[&str] = if v4 { &SOURCES4 } else { &SOURCES6 };
        let destinations: &[&str] = if v4 { &DESTINATIONS4 } else { &DESTINATIONS6 };
        let protocol = *random.pick(&[6, 6, 6, 17, 17, if v4 { 1 } else { 58 }]);
        let low = u16::try_from(id % 900).unwrap() + 100;
        let high = u16::try_from(id % 20_000).unwrap() + 33_000;
        let echo = matches!(protocol, 1 | 58);
        let sent = Sent {
            id,
            source: address(random.pick::<&str>(sources)),
            destination: address(random.pick::<&str>(destinations)),
            protocol,
            source_port: if random.chance(15) { low } else { high },
            port: if echo { 0 } else { *random.pick(&PORTS) },
            tcp_flags: *random.pick(&[2, 2, 2, 2, 16, 4]),
        };
        (*random.pick(&[0, 0, 0, 1, 1, 2]), sent)
    }

    /// Sends packets; gives where each arrived.
    fn send(&self, packets: &[(usize, Sent)]) -> BTreeMap<u32, Seen> {
        let mut seen = BTreeMap::new();
        for some in packets.chunks(40) {
            for (sender, packet) in some {
                self.senders[*sender].1.send(packet);
            }
            self.drain(&mut seen);
        }
        let end = Instant::now() + Duration::from_millis(3);
        while Instant::now() < end {
            self.drain(&mut seen);
        }
        seen
    }

    fn drain(&self, seen: &mut BTreeMap<u32, Seen>) {
        self.receivers.iter().for_each(|receiver| receiver.drain(seen));
    }
}

fn look(host: &Namespace) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    let mut snapshot = host.enter(|| observe_with(&options, || (Ruleset::default(), Vec::new())));
    snapshot.warnings.clear();
    snapshot
}

/// What the analysis expects to be seen; `None` for an end that leads nowhere.
fn arrives(fate: &Fate, address: IpAddr, port: Option<u16>) -> Option<Seen> {
    let namespace = match fate {
        Fate::Delivered => "host",
        Fate::Forwarded(Some(name)) => match name.as_str() {
            "wan0" => "internet",
            "lan0" => "lan",
            _ => "container",
        },
        _ => return None,
    };
    Some(Seen { namespace, address, port: port.unwrap_or(0) })
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[derive(Default)]
struct Tally {
    rulesets: u64,
    packets: usize,
    certain: usize,
    arrived: usize,
    refused: u64,
    /// Rules whose counters were compared.
    counted: usize,
    /// Sources asked about together, and how many of them as certain as when asked alone.
    all: (usize, usize),
    wrong: Vec<String>,
}

fn compare(ground: &mut Ground, random: &mut Random, text: &str, tally: &mut Tally) {
    let packets: Vec<(usize, Sent)> = (0..PACKETS).map(|_| ground.packet(random)).collect();
    let before = ground.snapshot.ruleset.clone();
    let mut seen = ground.send(&packets);
    ground.read();
    compare_counters(ground, &before, &packets, text, tally);
    let analyzer = Analyzer::new(&ground.snapshot);
    let mut late = false;
    let mut wrong = 0;
    for (sender, sent) in &packets {
        let packet = question(ground.senders[*sender].0, sent);
        let answer = analyzer.ask(&packet);
        let (mut fits, certain) = agrees(&answer, seen.get(&sent.id), arrives);
        if !fits && !late {
            late = true;
            std::thread::sleep(Duration::from_millis(60));
            ground.drain(&mut seen);
            fits = agrees(&answer, seen.get(&sent.id), arrives).0;
        }
        // A machine that is busy elsewhere loses packets; what a rule drops is dropped each time.
        for _ in 0..3 {
            if fits || seen.contains_key(&sent.id) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
            seen.extend(ground.send(&[(*sender, sent.clone())]));
            std::thread::sleep(Duration::from_millis(100));
            ground.drain(&mut seen);
            fits = agrees(&answer, seen.get(&sent.id), arrives).0;
        }
        if tally.packets.is_multiple_of(20) {
            compare_all_sources(&analyzer, &packet, text, &mut tally.wrong, &mut tally.all);
        }
        tally.packets += 1;
        tally.certain += usize::from(certain);
        tally.arrived += usize::from(seen.contains_key(&sent.id));
        if !fits {
            wrong += 1;
            if wrong > 2 {
                continue;
            }
            let ends: Vec<String> = answer
                .ends
                .iter()
                .map(|end| {
                    format!(
                        "{:?} by {:?} to {} {:?}",
                        end.fate, end.by, end.state.env.destination, end.state.env.port
                    )
                })
                .collect();
            tally.wrong.push(format!(
                "{} {sent:?}\n  seen {:?}\n  said {}\n{text}",
                ground.senders[*sender].0,
                seen.get(&sent.id),
                ends.join("; ")
            ));
        }
    }
}

/// Each rule matched as many packets as the analysis says, so that each was decided by the rule
/// that it says.
fn compare_counters(
    ground: &mut Ground,
    before: &Ruleset,
    packets: &[(usize, Sent)],
    text: &str,
    tally: &mut Tally,
) {
    let analyzer = Analyzer::new(&ground.snapshot);
    let mut expected = Expected::default();
    for (sender, sent) in packets {
        expected.packet(&analyzer.trace(&question(ground.senders[*sender].0, sent)));
    }
    let (compared, wrong) = expected.compare(before, &ground.snapshot.ruleset);
    tally.counted += compared;
    if !wrong.is_empty() {
        tally.wrong.push(format!("{}\n{text}", wrong.join("\n")));
    }
}

/// Asked about all sources at once, the analysis says the same of each as when asked alone.
fn compare_all_sources(
    analyzer: &Analyzer<'_>,
    packet: &Packet,
    text: &str,
    wrong: &mut Vec<String>,
    tally: &mut (usize, usize),
) {
    let v4 = packet.destination.is_ipv4();
    let highest = if v4 { u128::from(u32::MAX) } else { u128::MAX };
    let all = analyzer.ask(&Packet { sources: vec![(0, highest)], ..packet.clone() });
    let sources: &[&str] = if v4 { &SOURCES4 } else { &SOURCES6 };
    for source in sources {
        let number = match address(source) {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let one = analyzer.ask(&Packet { sources: vec![(number, number)], ..packet.clone() });
        let ends = |answer: &Answer, least: Guard| {
            let at = |end: &fwctl::analyze::End| {
                let spans = end.state.sources.spans();
                let span = spans.iter().find(|span| (span.first..=span.last).contains(&number))?;
                let env = &end.state.env;
                let fate = format!("{:?} {:?} {:?}", end.fate, env.destination, env.port);
                (least == Guard::NEVER || span.guard == least).then_some(fate)
            };
            answer.ends.iter().filter_map(at).collect::<Vec<_>>()
        };
        // What cannot be told for a source alone cannot be told for all. What can, may be unknown
        // for all: masks that are no prefixes.
        let (certain, possible) = (ends(&all, Guard::ALWAYS), ends(&all, Guard::NEVER));
        let (one, may_be) = (ends(&one, Guard::ALWAYS), ends(&one, Guard::NEVER));
        let unknown = possible.iter().any(|end| end.starts_with("Unknown"));
        let fits = (certain.is_empty() || certain == one)
            && (unknown || may_be.iter().all(|end| possible.contains(end)));
        if !fits {
            wrong.push(format!(
                "{source} in {packet:?}\n  all {certain:?} {possible:?}\n  one {one:?}\n{text}"
            ));
        }
        tally.0 += 1;
        tally.1 += usize::from(certain == one);
    }
}

fn report(tally: &Tally) {
    eprintln!(
        "{} rulesets, {} packets, {} certain, {} arrived, {} rules counted",
        tally.rulesets, tally.packets, tally.certain, tally.arrived, tally.counted
    );
    let shown: Vec<&str> = tally.wrong.iter().take(5).map(String::as_str).collect();
    assert!(shown.is_empty(), "{}\n{} wrong", shown.join("\n\n"), tally.wrong.len());
    assert!(tally.certain * 10 > tally.packets * 8, "most answers are certain");
    assert!(tally.all.1 * 10 > tally.all.0 * 8, "so are those for all sources: {:?}", tally.all);
    assert!(tally.arrived * 10 > tally.packets, "some packets arrive");
    assert!(tally.counted as u64 > 3 * tally.rulesets, "rules have counters");
}

/// Other settings of the host from time to time.
fn vary(ground: &mut Ground, index: u64) {
    if !index.is_multiple_of(50) {
        return;
    }
    let turn = index / 50;
    let filter = ["0", "0", "1", "2"][usize::try_from(turn % 4).unwrap()];
    ground.lab.host.sysctl("ipv4/conf/wan0/rp_filter", filter);
    let localnet = if turn.is_multiple_of(2) { "0" } else { "1" };
    ground.lab.host.sysctl("ipv4/conf/all/route_localnet", localnet);
    let forwarding = if turn % 3 == 2 { "0" } else { "1" };
    ground.lab.host.sysctl("ipv4/conf/lan0/forwarding", forwarding);
    // Rules of policy routing, by mark, source, destination and interface.
    for priority in [100, 110, 120, 130] {
        for family in ["-4", "-6"] {
            let mut ip = ground.lab.host.command("ip");
            let _ = ip.args([family, "rule", "del", "priority", &priority.to_string()]).output();
        }
    }
    if turn % 3 == 1 {
        let add = |rest: &str| ground.lab.host.ip(rest);
        add("route replace table 100 prohibit 172.18.0.0/16");
        add("route replace table 100 blackhole 192.0.2.20");
        add("route replace table 100 default dev wan0");
        add("route replace table 101 unreachable 172.18.0.2");
        add("-6 route replace table 100 unreachable 2001:db8:18::/64");
        add("-6 route replace table 100 prohibit 2001:db8:2::20");
        add("rule add priority 100 fwmark 0x10/0x10 lookup 100 suppress_prefixlength 0");
        add("rule add priority 110 from 198.51.100.0/25 to 192.0.2.0/24 prohibit");
        add("rule add priority 120 not from 172.18.0.0/16 iif lan0 lookup 101");
        add("-6 rule add priority 100 fwmark 1 lookup 100");
        add("-6 rule add priority 110 from 2001:db8:7::/64 to 2001:db8:18::/64 blackhole");
        add("-6 rule add priority 130 not fwmark 2 iif br-web goto 32766");
    }
    ground.look_again();
}

/// Loads rulesets until so many were taken, and compares each.
fn compare_many(
    count: u64,
    seed: u64,
    mut load: impl FnMut(&mut Ground, &mut Random) -> Result<String, String>,
) {
    let mut ground = Ground::new();
    let mut random = Random(setting("FWCTL_ANALYZE_SEED", 1) + seed);
    let mut tally = Tally::default();
    while tally.rulesets < count && tally.wrong.len() <= 20 {
        vary(&mut ground, tally.rulesets);
        match load(&mut ground, &mut random) {
            Ok(text) => {
                tally.rulesets += 1;
                compare(&mut ground, &mut random, &text, &mut tally);
            }
            Err(error) => {
                tally.refused += 1;
                eprintln!("refused:\n{error}");
                assert!(tally.refused < 10 + count / 5, "most rulesets load");
            }
        }
    }
    report(&tally);
}

#[test]
fn random_rulesets_do_what_the_analysis_says() {
    let count = setting("FWCTL_ANALYZE_RULESETS", RULESETS);
    compare_many(count, 0, |ground, random| ground.load(&random::ruleset(random)));
}

#[test]
fn what_iptables_writes_does_what_the_analysis_says() {
    iptables("nft", 1000, 2);
}

#[test]
fn what_legacy_iptables_loads_does_what_the_analysis_says() {
    iptables("legacy", 2000, 3);
}

/// One of `part` rulesets that the test of nft's own language makes.
fn iptables(backend: &str, seed: u64, part: u64) {
    let count = setting("FWCTL_ANALYZE_RULESETS", RULESETS).div_ceil(part);
    compare_many(count, seed, |ground, random| {
        let (v4, v6) = (random::iptables(random, 4), random::iptables(random, 6));
        ground.load_iptables(backend, &v4, &v6)
    });
}

/// The comparison can fail: an engine that gets one construct wrong is caught.
#[test]
fn an_engine_that_misreads_a_construct_is_caught() {
    let mut ground = Ground::new();
    let mut random = Random(setting("FWCTL_ANALYZE_SEED", 1) + 5000);
    let mut missed: Vec<&str> =
        wrong::misread(&Ruleset::default()).iter().map(|own| own.0).collect();
    // Most misreadings show in the counters too, whatever becomes of the packets.
    let mut uncounted = missed.clone();
    for index in 0..300 {
        if missed.is_empty() {
            break;
        }
        vary(&mut ground, index);
        let text = random::ruleset(&mut random);
        if ground.load(&text).is_err() {
            continue;
        }
        let packets: Vec<(usize, Sent)> =
            (0..PACKETS).map(|_| ground.packet(&mut random)).collect();
        let before = ground.snapshot.ruleset.clone();
        let seen = ground.send(&packets);
        ground.read();
        for (name, ruleset) in wrong::misread(&before) {
            if uncounted.contains(&name) {
                let snapshot = Snapshot { ruleset: ruleset.clone(), ..ground.snapshot.clone() };
                let analyzer = Analyzer::new(&snapshot);
                let mut expected = Expected::default();
                for (sender, sent) in &packets {
                    expected.packet(&analyzer.trace(&question(ground.senders[*sender].0, sent)));
                }
                if !expected.compare(&before, &ground.snapshot.ruleset).1.is_empty() {
                    uncounted.retain(|own| *own != name);
                }
            }
            if !missed.contains(&name) {
                continue;
            }
            let snapshot = Snapshot { ruleset, ..ground.snapshot.clone() };
            let analyzer = Analyzer::new(&snapshot);
            let caught = packets.iter().any(|(sender, sent)| {
                let answer = analyzer.ask(&question(ground.senders[*sender].0, sent));
                !agrees(&answer, seen.get(&sent.id), arrives).0
            });
            if caught {
                missed.retain(|own| *own != name);
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
    assert!(uncounted.len() <= 6, "the counters do not show: {uncounted:?}");
}
