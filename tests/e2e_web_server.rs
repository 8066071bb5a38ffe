//! The shipped `web-server` policy on a host full of services: which doors are open before, after
//! and without it.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use host::Host;
use net::Answer::{Open, Refused, Silent};
use net::{Probe, expect};
use std::net::SocketAddrV6;

/// A host with a database container published everywhere, a web container published on loopback,
/// and two containers on a network of their own.
fn crowded() -> Host {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.docker_run("web", "-p 127.0.0.1:8080:80", 80);
    host.sh("docker network create --ipv6 --subnet 2001:db8:d1::/64 app");
    host.docker_run("front", "--network app", 80);
    host.docker_run("back", "--network app", 80);
    // Without a network of its own: a port of the host's.
    host.docker_run("bare", "--network host", 7070);
    host
}

fn everything_is_reachable(host: &Host) {
    host.expect_from_outside(&[
        (22, Open),
        (80, Open),
        (443, Open),
        (3306, Open),
        (5432, Open),
        (7070, Open),
        (8080, Refused),
        (9999, Refused),
    ]);
    host.expect_routed("db", "bridge", 5432, Open);
    // Published on loopback alone, and yet Docker accepts whoever routes to its IPv4 address.
    let (web, _) = host.container_addresses("web", "bridge");
    let web = std::net::SocketAddr::new(web.parse().unwrap(), 80);
    expect(&[&host.lab.internet, &host.lab.lan].map(|from| (Probe::tcp(from, web), Open)));
    from_within(host);
}

/// What the policy must leave alone.
fn from_within(host: &Host) {
    host.expect_from_itself(&[22, 80, 443, 3306, 5432, 7070]);
    expect(&[(Probe::tcp(&host.lab.host, ([127, 0, 0, 1], 8080)), Open)]);
    let (v4, v6) = host.container_addresses("back", "app");
    let _outside = host.lab.internet.listen_tcp("[::]:9000");
    for (container, address, port) in [
        ("front", v4.as_str(), 80),
        ("front", v6.as_str(), 80),
        ("front", "203.0.113.1", 9000),
        ("front", "2001:db8:1::1", 9000),
        ("db", "203.0.113.1", 9000),
        ("db", "2001:db8:1::1", 9000),
        // The host's own services, as the policy lets anyone in.
        ("front", "203.0.113.10", 80),
        ("front", "2001:db8:1::10", 80),
    ] {
        assert!(
            host.container_hears(container, address, port),
            "{container} does not reach {address} port {port}"
        );
    }
}

#[test]
fn the_doors_are_as_the_policy_says_and_as_before_once_it_is_off() {
    let host = crowded();
    everything_is_reachable(&host);
    let before = host.lab.host.ruleset();

    host.apply("version = 1\nuse = [\"web-server\"]\n");
    host.expect_from_outside(&[
        (22, Open),
        (80, Open),
        (443, Open),
        (3306, Silent),
        (5432, Silent),
        (7070, Silent),
        (8080, Silent),
        (9999, Silent),
    ]);
    for container in ["db", "web"] {
        host.expect_routed(container, "bridge", 5432, Silent);
        host.expect_routed(container, "bridge", 80, Silent);
    }
    for container in ["front", "back"] {
        host.expect_routed(container, "app", 80, Silent);
    }
    expect(&host.clients().map(|(from, address)| (Probe::ping(from, address), Open)));
    from_within(&host);
    for address in ["203.0.113.10", "2001:db8:1::10", "172.17.0.1"] {
        assert!(
            !host.container_hears("db", address, 3306),
            "a container hears MariaDB at {address}"
        );
    }
    by_other_ways(&host);

    host.sh("fwctl off --no-confirm --yes");
    assert_eq!(without_counters(&host.lab.host.ruleset()), without_counters(&before));
    everything_is_reachable(&host);
}

/// The closed doors, dialled at addresses that are easily forgotten.
fn by_other_ways(host: &Host) {
    let mut expected = Vec::new();
    for (from, link) in [(&host.lab.internet, "wan0"), (&host.lab.lan, "lan0")] {
        let address = host.sh(&format!("ip -6 -o addr show dev {link} scope link"));
        let address = address.split_whitespace().nth(3).unwrap().split('/').next().unwrap();
        let scope = from.enter(|| net::interface_index("eth0"));
        // The kernel itself forwards nothing from a link-local address: 5432 is left out.
        for (port, answer) in [(22, Open), (80, Open), (3306, Silent), (7070, Silent)] {
            let local = SocketAddrV6::new(address.parse().unwrap(), port, 0, scope);
            expected.push((Probe::tcp(from, local), answer));
        }
    }
    // The host's address of the other side, and a client from far away.
    for (port, answer) in [(22, Open), (443, Open), (3306, Silent), (5432, Silent)] {
        for (from, address, source) in [
            (&host.lab.internet, net::HOST_LAN_V4, net::FAR_V4),
            (&host.lab.internet, net::HOST_LAN_V6, net::FAR_V6),
            (&host.lab.internet, net::HOST_WAN_V4, net::FAR_V4),
            (&host.lab.internet, net::HOST_WAN_V6, net::FAR_V6),
            (&host.lab.lan, net::HOST_WAN_V4, net::LAN_V4),
            (&host.lab.lan, net::HOST_WAN_V6, net::LAN_V6),
        ] {
            expected.push((Probe::tcp(from, (address, port)).source(source), answer));
        }
    }
    expect(&expected);
}

fn without_counters(ruleset: &str) -> String {
    let words = ruleset.split(' ').collect::<Vec<_>>();
    let mut kept: Vec<&str> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let is_count = at > 0 && ["packets", "bytes"].contains(&words[at - 1]);
        kept.push(if is_count { "N" } else { word });
    }
    kept.join(" ")
}
