//! What comes after an apply is judged by the same rules: other people's redirects, new container
//! networks, new publications, another firewall's table, a Docker that starts again.

mod host;
mod net;

use host::Host;
use net::Answer::{Open, Refused, Silent};
use net::{Flood, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Probe, expect};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const WEB_SERVER: &str = "version = 1\nuse = [\"web-server\"]\n";

#[test]
fn a_foreign_redirect_is_judged_by_the_port_that_was_dialled() {
    let host = Host::without_docker();
    // Nginx has 80; the redirect takes what is dialled there to another listener.
    let proxy = host.lab.host.listen_tcp("[::]:8080");
    let redirect = "table inet redirects {
        chain prerouting {
            type nat hook prerouting priority dstnat;
            tcp dport 80 redirect to :8080
            tcp dport 8081 redirect to :80
        }
    }";
    for order in ["the redirect first", "the policy first"] {
        let redirect_first = order == "the redirect first";
        if redirect_first {
            host.lab.host.nft(redirect);
            // Proves the redirect itself.
            host.expect_from_outside(&[(80, Open), (8080, Open), (8081, Open)]);
            assert!(proxy.wait_heard(8, Duration::from_secs(2)), "80 is not redirected");
            host.apply(WEB_SERVER);
        } else {
            host.apply(WEB_SERVER);
            host.lab.host.nft(redirect);
        }
        std::thread::sleep(Duration::from_millis(100));
        let heard = proxy.heard();
        host.expect_from_outside(&[(80, Open), (8080, Silent), (8081, Silent), (443, Open)]);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(proxy.heard() - heard, 4, "{order}: the answers came from elsewhere");
        host.lab.host.nft("delete table inet redirects");
        host.sh("fwctl off --no-confirm --yes");
    }
}

#[test]
fn a_network_and_publications_made_later_are_judged() {
    let host = Host::boot();
    host.docker_run("early", "", 80);
    host.apply(
        "version = 1
         use = [\"web-server\"]
         [zone.lan]
         addresses = [\"192.0.2.0/24\", \"2001:db8:2::/64\"]
         [[allow]]
         ports = [\"8443/tcp\"]
         [[allow]]
         ports = [\"9443/tcp\"]
         from = [\"lan\"]
         [[allow]]
         ports = [\"10443/tcp\"]
         to = [\"192.0.2.10\", \"2001:db8:2::10\"]
        ",
    );
    host.sh("docker network create --ipv6 --subnet 2001:db8:d2::/64 late");
    host.sh("docker network create --subnet 172.31.0.0/24 v4only");
    // Dialled ports that the policy allows, in front of container ports that it does not know.
    host.docker_run("anyone", "--network late -p 8443:81", 81);
    // Allowed for the LAN alone.
    host.docker_run("neighbours", "--network late -p 9443:82", 82);
    // Dialled at a port that nobody may dial, in front of one that anyone may.
    host.docker_run("hidden", "--network late -p 7443:443", 443);
    // Allowed at the LAN address alone, and published everywhere.
    host.docker_run("lanside", "--network late -p 10443:84", 84);
    // Without IPv6 on its network it is docker-proxy that answers there.
    host.docker_run("proxied", "--network v4only -p 6432:5432", 5432);

    host.expect_from_outside(&[
        (8443, Open),
        (7443, Silent),
        (6432, Silent),
        (81, Silent),
        (82, Silent),
    ]);
    let mut expected = Vec::new();
    for (from, address) in host.clients() {
        let is_lan = [HOST_LAN_V4, HOST_LAN_V6].contains(&address);
        let answer = if is_lan { Open } else { Silent };
        expected.push((Probe::tcp(from, (address, 9443)), answer));
        expected.push((Probe::tcp(from, (address, 10443)), answer));
    }
    // A client of the LAN that dials the other address of the host.
    expected.push((Probe::tcp(&host.lab.lan, (HOST_WAN_V4, 9443)), Open));
    expected.push((Probe::tcp(&host.lab.lan, (HOST_WAN_V6, 10443)), Silent));
    expect(&expected);
    for (container, port) in [("anyone", 81), ("neighbours", 82), ("hidden", 443), ("lanside", 84)]
    {
        host.expect_routed(container, "late", port, Silent);
    }
    host.expect_routed("early", "bridge", 80, Silent);
    host.expect_routed("proxied", "v4only", 5432, Silent);

    // The new network is left to Docker: out, and among its own.
    let _outside = host.lab.internet.listen_tcp("[::]:9000");
    let (v4, v6) = host.container_addresses("anyone", "late");
    for (address, port) in
        [(v4.as_str(), 81), (&v6, 81), ("203.0.113.1", 9000), ("2001:db8:1::1", 9000)]
    {
        assert!(host.container_hears("hidden", address, port), "hidden -> {address} {port}");
    }
}

#[test]
fn a_publication_on_a_lan_address_stays_there() {
    let host = Host::boot();
    host.apply(
        "version = 1
         use = [\"ssh-only\"]
         [zone.lan]
         interfaces = [\"lan0\"]
         [[allow]]
         ports = [\"8443/tcp\"]
         from = [\"lan\"]
        ",
    );
    host.docker_run("app", "-p 192.0.2.10:8443:80 -p [2001:db8:2::10]:8443:80", 80);
    host.docker_run("db", "-p 192.0.2.10:5432:5432 -p [2001:db8:2::10]:5432:5432", 5432);
    let on = |address: IpAddr, port: u16| SocketAddr::new(address, port);
    let (internet, lan) = (&host.lab.internet, &host.lab.lan);
    expect(&[
        (Probe::tcp(lan, on(HOST_LAN_V4, 8443)), Open),
        (Probe::tcp(lan, on(HOST_LAN_V6, 8443)), Open),
        // Nothing is published there, but the policy lets the LAN ask.
        (Probe::tcp(lan, on(HOST_WAN_V4, 8443)), Refused),
        (Probe::tcp(lan, on(HOST_LAN_V4, 5432)), Silent),
        (Probe::tcp(lan, on(HOST_LAN_V6, 5432)), Silent),
        // The internet client routes to the LAN address through the host.
        (Probe::tcp(internet, on(HOST_LAN_V4, 8443)), Silent),
        (Probe::tcp(internet, on(HOST_LAN_V6, 8443)), Silent),
        (Probe::tcp(internet, on(HOST_WAN_V4, 8443)), Silent),
        (Probe::tcp(internet, on(HOST_LAN_V4, 5432)), Silent),
    ]);
    host.expect_routed("app", "bridge", 80, Silent);
}

#[test]
fn not_one_packet_comes_through_while_docker_publishes_and_restarts() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432 --restart always", 5432);
    let targets: Vec<_> = host
        .clients()
        .into_iter()
        .flat_map(|(from, address)| [5432, 6379].map(|port| (from, SocketAddr::new(address, port))))
        .collect();
    // The same flood sees an open port, so that its silence later means something.
    std::thread::scope(|scope| {
        let flood = Flood::start(scope, &targets);
        std::thread::sleep(Duration::from_millis(500));
        let seen = flood.stop();
        assert_eq!(seen.open.len(), 4, "5432 answers all four: {seen:?}");
    });
    host.apply(WEB_SERVER);
    std::thread::scope(|scope| {
        let flood = Flood::start(scope, &targets);
        host.docker_run("cache", "-p 6379:6379 --restart always", 6379);
        std::thread::sleep(Duration::from_millis(500));
        host.sh("systemctl restart docker");
        host.sh("until docker exec cache busybox true && docker exec db busybox true; do :; done");
        std::thread::sleep(Duration::from_millis(500));
        host.sh("docker restart --time 1 cache db");
        host.sh("docker rm --force cache");
        let seen = flood.stop();
        assert_eq!(seen.open, [], "a denied port was open");
        assert!(seen.asked > 1000, "too few questions were asked: {}", seen.asked);
    });
    host.expect_from_outside(&[(22, Open), (80, Open), (443, Open), (5432, Silent)]);
    expect(&[
        (Probe::tcp(&host.lab.host, (HOST_WAN_V4, 5432)), Open),
        (Probe::tcp(&host.lab.host, (HOST_WAN_V6, 5432)), Open),
    ]);
}
