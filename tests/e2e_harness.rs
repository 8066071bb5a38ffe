//! The host harness itself: a host boots with all its services, reachable by every way that later
//! tests close, and comes back after a reboot and a power cut.

mod host;
mod net;

use host::Host;
use net::{Answer, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Probe, expect};
use std::net::SocketAddr;

#[test]
fn everything_is_reachable_without_a_firewall() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.docker_run("web", "-p 127.0.0.1:8080:80", 80);
    let mut expected = Vec::new();
    for (from, v4, v6) in [
        (&host.lab.internet, HOST_WAN_V4, HOST_WAN_V6),
        (&host.lab.lan, HOST_LAN_V4, HOST_LAN_V6),
        (&host.lab.host, HOST_WAN_V4, HOST_WAN_V6),
    ] {
        for address in [v4, v6] {
            for port in [22, 80, 443, 3306, 5432] {
                expected.push((Probe::tcp(from, (address, port)), Answer::Open));
            }
            expected.push((Probe::tcp(from, (address, 8080)), Answer::Refused));
            expected.push((Probe::ping(from, address), Answer::Open));
        }
        // Routed to the container's own address, published or not.
        let (v4, v6) = host.container_addresses("db", "bridge");
        for address in [format!("{v4}:5432"), format!("[{v6}]:5432")] {
            let address: SocketAddr = address.parse().unwrap();
            expected.push((Probe::tcp(from, address), Answer::Open));
        }
    }
    expect(&expected);
    for (from, address) in [
        (&host.lab.internet, HOST_WAN_V4),
        (&host.lab.internet, HOST_WAN_V6),
        (&host.lab.lan, HOST_LAN_V4),
        (&host.lab.lan, HOST_LAN_V6),
    ] {
        assert_eq!(host.ssh(from, address).ask("hostname"), "testhost");
    }
}

#[test]
fn a_reboot_and_a_power_cut_bring_a_new_network() {
    let mut host = Host::without_docker();
    assert_eq!(host.sh("conntrack -C"), "0");
    host.write("/etc/kept", "kept");
    for cut in [Host::reboot, Host::power_cut] {
        host.lab.host.nft("table inet lost { }");
        let mut ssh = host.ssh(&host.lab.internet, HOST_WAN_V4);
        cut(&mut host);
        assert_eq!(ssh.try_ask("echo alive"), None);
        assert_eq!(host.sh("nft list ruleset"), "");
        assert_eq!(host.read("/etc/kept"), "kept");
        expect(&[
            (Probe::tcp(&host.lab.internet, (HOST_WAN_V6, 443)), Answer::Open),
            (Probe::tcp(&host.lab.lan, (HOST_LAN_V4, 22)), Answer::Open),
        ]);
    }
}
