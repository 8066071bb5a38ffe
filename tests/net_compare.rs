//! Two rulesets compared: what is called equal agrees on random packets, and what differs does so
//! for the packet that is shown. Rulesets are random ones over every construct, loaded into a
//! kernel and read back; the second is the first with a rule less, or two in another order.
//!
//! `FWCTL_COMPARE_RULESETS` and `FWCTL_COMPARE_SEED` ask for more of them, or for others.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[allow(dead_code, reason = "the analysis needs all of it")]
#[path = "analyze/random.rs"]
mod random;

mod net;

use fwctl::analyze::compare::{Comparison, Region, compare};
use fwctl::analyze::guard::Guard;
use fwctl::analyze::{Analyzer, Answer, ConnectionState, Fate, From, Packet};
use fwctl::model::Protocol;
use fwctl::observe::nft;
use fwctl::observe::{Options, Snapshot, observe_with};
use net::Lab;
use random::{DESTINATIONS4, DESTINATIONS6, PORTS, Random, SOURCES4, SOURCES6};

const PACKETS: usize = 400;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Loads a ruleset less the rules that nft refuses; gives what was loaded.
fn load(lab: &Lab, text: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    for _ in 0..5 {
        let text = lines.join("\n");
        let Err(error) = lab.host.try_nft(&format!("flush ruleset\n{text}\n")) else {
            return Some(text);
        };
        for line in error.lines().filter_map(|line| line.strip_prefix("/dev/stdin:")) {
            let number: usize = line.split(':').next()?.parse().ok()?;
            *lines.get_mut(number.wrapping_sub(2)).filter(|line| line.starts_with("    "))? = "";
        }
    }
    None
}

/// A rule less, or two changed over, or one changed.
fn changed(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("    ")).collect();
    let at = random.below(rules.len());
    match random.below(4) {
        0 | 1 => lines[rules[at]].clear(),
        2 if at + 1 < rules.len() && rules[at] + 1 == rules[at + 1] => {
            lines.swap(rules[at], rules[at + 1]);
        }
        _ => {
            let line =
                lines[rules[at]].replace("drop", "accept").replace("dport 80 ", "dport 443 ");
            lines[rules[at]] = line;
        }
    }
    lines.join("\n")
}

fn packet(random: &mut Random) -> Packet {
    let v4 = random.chance(55);
    let sources: &[&str] = if v4 { &SOURCES4 } else { &SOURCES6 };
    let destinations: &[&str] = if v4 { &DESTINATIONS4 } else { &DESTINATIONS6 };
    let icmp = if v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
    let protocol = *random.pick(&[Protocol::TCP, Protocol::TCP, Protocol::UDP, icmp]);
    let from = From::Interface(random.pick(&["wan0", "lan0", "br-web"]).parse().unwrap());
    let source = random.pick::<&str>(sources).parse().unwrap();
    let destination = random.pick::<&str>(destinations).parse().unwrap();
    let port = if protocol.has_ports() { *random.pick(&PORTS) } else { 0 };
    let state = *random.pick(&[
        ConnectionState::New,
        ConnectionState::New,
        ConnectionState::Established,
        ConnectionState::Invalid,
    ]);
    let tcp_flags = *random.pick(&[2, 2, 16, 4]);
    let packet = Packet::new(from, source, destination, protocol, port);
    let source_port = if packet.source_port == 0 { 0 } else { *random.pick(&[50_000, 1_000, 53]) };
    Packet { state, tcp_flags, source_port, ..packet }
}

/// What becomes of a packet, where that is certain.
fn certain(answer: &Answer) -> Option<String> {
    let end = answer.ends.iter().find(|end| answer.guard(end) == Guard::ALWAYS)?;
    let env = &end.state.env;
    match end.fate {
        Fate::Unknown(_) => None,
        _ if end.fate.passes() => {
            Some(format!("{:?} {} {:?}", end.fate, env.destination, env.port))
        }
        _ => Some(format!("{:?}", end.fate)),
    }
}

#[test]
fn random_rulesets_compare_as_packets_do() {
    let lab = Lab::new();
    lab.bridge("br-web", "172.18.0.1/16", "2001:db8:18::1/64");
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    let mut base = lab.host.enter(|| observe_with(&options, Default::default));
    base.warnings.clear();
    let mut random = Random(setting("FWCTL_COMPARE_SEED", 1) + 9000);
    let (mut equal, mut differs, mut undecided) = (0, 0, Vec::new());
    for _ in 0..setting("FWCTL_COMPARE_RULESETS", 14) {
        let Some(first) = load(&lab, &random::ruleset(&mut random)) else { continue };
        let read = || lab.host.enter(|| nft::read(nft::Options::default()).unwrap());
        let one = Snapshot { ruleset: read(), ..base.clone() };
        let Some(second) = load(&lab, &changed(&first, &mut random)) else { continue };
        let two = Snapshot { ruleset: read(), ..base.clone() };
        let (one, two) = (Analyzer::new(&one), Analyzer::new(&two));
        let shown = format!("{first}\n---\n{second}");
        match compare(&one, &two, &Region::all()) {
            Comparison::Equal => {
                equal += 1;
                for _ in 0..PACKETS {
                    let packet = packet(&mut random);
                    let (a, b) = (certain(&one.ask(&packet)), certain(&two.ask(&packet)));
                    assert_eq!(a, b, "{packet:?}\n{shown}");
                }
            }
            Comparison::Differs(found) => {
                differs += 1;
                let (a, b) = (one.ask(&found.packet), two.ask(&found.packet));
                let same = certain(&a).is_some() && certain(&a) == certain(&b);
                let source = |answer: &Answer| {
                    answer.ends.iter().map(|end| end.state.env.source).collect::<Vec<_>>()
                };
                let doubt = !a.order_matters.is_empty() || !b.order_matters.is_empty();
                assert!(!same || doubt || source(&a) != source(&b), "{found:?}\n{shown}");
            }
            Comparison::Undecided { why } => undecided.push(why),
        }
    }
    eprintln!("{equal} equal, {differs} differ, undecided {undecided:?}");
    assert!(equal > 2 && differs > 0, "{equal} equal, {differs} differ");
    assert!(undecided.len() < equal + differs, "{undecided:?}");
}
