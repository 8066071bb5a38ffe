//! What `fwctl exposure` says of a host is what a port scan of it sees: from the internet and from
//! the LAN, over IPv4 and IPv6, every TCP port, and UDP, before and after a policy is applied.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use host::Host;
use net::{Answer, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Namespace, Probe};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// UDP ports that are scanned: those that answer, those that rules are about, and many more.
const UDP: &str = "1-600,5000-5400,8000,33000-33100";

/// How a port stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Port {
    /// Something answers there.
    Answers,
    /// The host itself says that nothing listens there: the packet got through.
    Nobody,
    /// Nothing comes back, or another ICMP error.
    Filtered,
}

/// One scan: who, by which zone of the policy, over which IP version, to which address.
struct Scan<'h> {
    client: &'h Namespace,
    zone: &'static str,
    family: &'static str,
    to: IpAddr,
}

fn scans(host: &Host) -> [Scan<'_>; 4] {
    let (internet, lan) = (&host.lab.internet, &host.lab.lan);
    let scan = |client, zone, family, to| Scan { client, zone, family, to };
    [
        scan(internet, "internet", "ipv4", HOST_WAN_V4),
        scan(internet, "internet", "ipv6", HOST_WAN_V6),
        scan(lan, "lan", "ipv4", HOST_LAN_V4),
        scan(lan, "lan", "ipv6", HOST_LAN_V6),
    ]
}

/// Scans; ports that are not in the answer are filtered.
fn nmap(scan: &Scan<'_>, protocol: &str, ports: &str) -> BTreeMap<u16, Port> {
    let mut command = scan.client.command("nmap");
    command.args(["-n", "-Pn", "-T5", "--max-retries", "2", "--min-rate", "8000", "-oX", "-"]);
    command.args(["--host-timeout", "300s", "--max-rtt-timeout", "150ms", "--reason"]);
    if scan.to.is_ipv6() {
        command.arg("-6");
    }
    command.arg(if protocol == "tcp" { "-sS" } else { "-sU" });
    if protocol == "udp" {
        command.args(["--data-length", "8"]);
    }
    let output = command.args(["-p", ports, &scan.to.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // `extraports` sums up the state of all that are not listed one by one.
    let attribute = |text: &str, name: &str| {
        let from = text.find(&format!(" {name}=\""))? + name.len() + 3;
        text[from..].split('"').next().map(str::to_owned)
    };
    let state = |word: &str| match word {
        "open" => Port::Answers,
        "closed" => Port::Nobody,
        _ => Port::Filtered,
    };
    let mut found = BTreeMap::new();
    for part in text.split("<extrareasons").skip(1) {
        // nmap lists which ports a reason is about.
        let word = match attribute(part, "reason").as_deref() {
            Some("reset" | "port-unreach") => Port::Nobody,
            _ => Port::Filtered,
        };
        let listed = attribute(part, "ports").unwrap_or_default();
        for range in listed.split(',').filter(|range| !range.is_empty()) {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            for port in low.parse::<u16>().unwrap()..=high.parse().unwrap() {
                found.insert(port, word);
            }
        }
    }
    for element in text.split("<port").skip(1).filter(|element| element.starts_with(' ')) {
        let port: u16 = attribute(element, "portid").unwrap().parse().unwrap();
        found.insert(port, state(&attribute(element, "state").unwrap()));
    }
    assert!(!found.is_empty(), "{text}");
    found
}

/// What exposure says of every port: its verdict for a zone, and whether something listens.
struct Said {
    /// By protocol, zone, IP version, dialled address: the ports that get through.
    passes: BTreeSet<(String, u16)>,
    /// Those at which something answers.
    answers: BTreeSet<(String, u16)>,
}

fn said(exposure: &Value, scan: &Scan<'_>) -> Said {
    let to = scan.to.to_string();
    let open = |list: &Value, listens: bool| {
        let mut found = BTreeSet::new();
        for exposed in list.as_array().unwrap() {
            let bound = exposed["address"].as_str().is_none_or(|own| own == to);
            let reach = exposed["reach"].as_array().unwrap().iter().find(|reach| {
                reach["zone"] == scan.zone
                    && reach["family"] == scan.family
                    && reach["address"].as_str().is_none_or(|own| own == to)
            });
            let Some(reach) = reach.filter(|_| bound) else { continue };
            match reach["verdict"].as_str().unwrap() {
                "open" => {}
                "closed" => continue,
                other => panic!("{other}: {exposed:#}"),
            }
            let number = |key: &str| exposed[key].as_u64().map(|own| u16::try_from(own).unwrap());
            let (first, protocol) =
                (number("port").unwrap(), exposed["protocol"].as_str().unwrap());
            for port in first..=number("last_port").unwrap_or(first) {
                found.insert((protocol.to_owned(), port));
            }
        }
        assert!(!found.is_empty() || listens, "nothing gets through");
        found
    };
    Said { passes: open(&exposure["ports"], false), answers: open(&exposure["endpoints"], true) }
}

/// Asks again what a scan saw otherwise than exposure says: scanners give up early on a busy host.
fn asked_again(scan: &Scan<'_>, protocol: &str, port: u16) -> Port {
    let mut last = Port::Filtered;
    for _ in 0..3 {
        let to = (scan.to, port);
        let probe = if protocol == "tcp" {
            Probe::tcp(scan.client, to)
        } else {
            Probe::udp(scan.client, to)
        };
        last = match probe.ask() {
            Answer::Open => return Port::Answers,
            Answer::Refused => return Port::Nobody,
            Answer::Unreachable | Answer::Silent => Port::Filtered,
        };
    }
    last
}

fn compare(host: &Host, what: &str) {
    let exposure: Value =
        serde_json::from_str(&host.sh("fwctl exposure --ports --format json")).unwrap();
    let mut jobs = Vec::new();
    for scan in scans(host) {
        let said = said(&exposure, &scan);
        jobs.push((scan, said));
    }
    let wrong = std::thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter()
            .map(|(scan, said)| {
                scope.spawn(move || {
                    let mut wrong = Vec::new();
                    for (protocol, ports) in [("tcp", "1-65535"), ("udp", UDP)] {
                        let seen = nmap(scan, protocol, ports);
                        let count = |own: Port| seen.values().filter(|seen| **seen == own).count();
                        println!(
                            "{what}, {} {} {protocol}: {} ports, {} answer, {} refuse",
                            scan.zone,
                            scan.family,
                            seen.len(),
                            count(Port::Answers),
                            count(Port::Nobody)
                        );
                        for (port, seen) in &seen {
                            let key = (protocol.to_owned(), *port);
                            let expected = match (said.passes.contains(&key), said.answers.contains(&key)) {
                                (_, true) => Port::Answers,
                                (true, false) => Port::Nobody,
                                (false, false) => Port::Filtered,
                            };
                            if *seen != expected && asked_again(scan, protocol, *port) != expected {
                                wrong.push(format!(
                                    "{what}, {} {}: {port}/{protocol} is said {expected:?}, seen {seen:?}",
                                    scan.zone, scan.family
                                ));
                            }
                        }
                    }
                    wrong
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<String>>()
    });
    let shown: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(shown.is_empty(), "{}\n{} in all", shown.join("\n"), wrong.len());
}

const POLICY: &str = "version = 1
[zone.lan]
interfaces = [\"lan0\"]
[[allow]]
ports = [\"22/tcp\", \"443/tcp\", \"5201/udp\", \"33000-33050/udp\"]
[[allow]]
ports = [\"5432/tcp\", \"3306/tcp\", \"53/udp\", \"8000-9000/tcp\"]
from = [\"lan\"]
[[deny]]
ports = [\"8443/tcp\"]
";

#[test]
fn exposure_is_what_a_port_scan_sees() {
    let host = Host::boot();
    // The scans see every refusal.
    for (key, value) in
        [("ipv4/icmp_ratelimit", "0"), ("ipv4/icmp_ratemask", "0"), ("ipv6/icmp/ratelimit", "0")]
    {
        host.lab.host.sysctl(key, value);
    }
    host.docker_run("db", "-p 5432:5432", 5432);
    host.sh("docker network create v4only");
    host.docker_run("web", "--network v4only -p 8080:80 -p 127.0.0.1:8081:80 -p 8443:80", 80);
    for port in [53, 161, 5201, 33010] {
        host.sh(&format!(
            "systemd-run --quiet --unit=echo-{port} \
             socat UDP6-RECVFROM:{port},fork,ipv6only=0,reuseaddr EXEC:/bin/cat"
        ));
    }
    host.sh("ufw allow 22/tcp; ufw allow 80,443/tcp; ufw allow 161/udp; ufw allow in on lan0 to any port 1000:2000 proto tcp
         ufw allow 33000:33050/udp; ufw --force enable");
    host.write("/etc/fwctl/policy.toml", POLICY);
    compare(&host, "Docker and ufw");
    host.apply(POLICY);
    compare(&host, "with a policy beside them");
    host.sh("ufw --force disable");
    compare(&host, "with a policy beside Docker");
}
