//! Policies against the kernel: compiled, loaded into a namespace, judged by real packets.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::compile::{Carried, Environment, compile};
use fwctl::model::nft::{Table, text};
use fwctl::plan::diff::diff;
use fwctl::policy::{self, MemoryFiles};
use net::{
    Answer, FAR_V4, FAR_V6, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, INTERNET_V4,
    LAN_V4, Lab, Namespace, Probe,
};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

fn environment() -> Environment {
    Environment {
        default_route_interfaces: vec!["wan0".parse().unwrap()],
        networks: [("web".to_owned(), "br-web".parse().unwrap())].into(),
        ..Environment::default()
    }
}

fn compiled(policy: &str, environment: &Environment) -> Table {
    let text = format!("version = 1\n{policy}");
    let files = MemoryFiles::default().with("/etc/fwctl/policy.toml", text);
    let loaded = policy::load(&files, Path::new("/etc/fwctl/policy.toml"))
        .unwrap_or_else(|problems| panic!("{policy}\n{problems:?}"));
    compile(&loaded.policy, environment).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// Loads a table and asserts that the kernel runs what was meant, statement by statement.
fn load(host: &Namespace, table: &Table) {
    let text = text::table(table);
    host.nft(&text);
    let live = host.enter(|| {
        fwctl::observe::nft::read_table(table.family, &table.name).unwrap().expect("is loaded")
    });
    let edits = diff(Some(&live), table);
    assert!(edits.is_empty(), "read back otherwise than meant: {edits:#?}\n{text}");
}

fn enforce(lab: &Lab, policy: &str) {
    load(&lab.host, &compiled(policy, &environment()));
}

/// Probes of one TCP port over both IP versions.
fn tcp(from: &Namespace, v4: IpAddr, v6: IpAddr, port: u16) -> [Probe<'_>; 2] {
    [Probe::tcp(from, (v4, port)), Probe::tcp(from, (v6, port))]
}

fn expect(groups: &[([Probe<'_>; 2], Answer)]) {
    let all: Vec<(Probe<'_>, Answer)> = groups
        .iter()
        .flat_map(|(probes, answer)| probes.iter().map(|probe| (probe.clone(), *answer)))
        .collect();
    net::expect(&all);
}

const LAN_ZONE: &str = "[zone.lan]\ninterfaces = [\"lan0\"]\n";

#[test]
fn a_port_is_open_to_whom_the_policy_says_and_silent_to_everybody_else() {
    let lab = Lab::new();
    let _ssh = lab.host.listen_tcp("[::]:22");
    let _db = lab.host.listen_tcp("[::]:3306");
    let _web = lab.host.listen_tcp("[::]:80");
    enforce(
        &lab,
        &format!(
            "{LAN_ZONE}[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nports = [\"80/tcp\"]\n\
             from = [\"internet\"]\n[[deny]]\nservice = [\"mysql\"]\nfrom = [\"internet\"]\n\
             [[allow]]\nservice = [\"mysql\"]\nfrom = [\"lan\"]\n"
        ),
    );
    expect(&[
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 22), Answer::Open),
        (tcp(&lab.lan, HOST_LAN_V4, HOST_LAN_V6, 22), Answer::Open),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 80), Answer::Open),
        (tcp(&lab.lan, HOST_LAN_V4, HOST_LAN_V6, 80), Answer::Silent),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 3306), Answer::Silent),
        (tcp(&lab.lan, HOST_LAN_V4, HOST_LAN_V6, 3306), Answer::Open),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 9999), Answer::Silent),
        (tcp(&lab.host, HOST_WAN_V4, HOST_WAN_V6, 3306), Answer::Open),
    ]);
    net::expect(&[
        (Probe::ping(&lab.internet, HOST_WAN_V4), Answer::Open),
        (Probe::ping(&lab.internet, HOST_WAN_V6), Answer::Open),
    ]);
}

#[test]
fn reject_says_so_and_ping_can_be_off() {
    let lab = Lab::new();
    let _dns = lab.host.listen_udp("[::]:53");
    enforce(
        &lab,
        "[default]\ninbound = \"reject\"\nping = false\n[[deny]]\nports = [\"3306/tcp\"]\n\
         [[allow]]\nports = [\"22/tcp\"]\n",
    );
    expect(&[
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 3306), Answer::Refused),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 4000), Answer::Refused),
    ]);
    net::expect(&[
        (Probe::udp(&lab.internet, (HOST_WAN_V4, 53)), Answer::Refused),
        (Probe::udp(&lab.internet, (HOST_WAN_V6, 53)), Answer::Refused),
        (Probe::ping(&lab.internet, HOST_WAN_V4), Answer::Refused),
    ]);
}

#[test]
fn a_default_of_accept_leaves_only_what_is_denied_closed() {
    let lab = Lab::new();
    let _any = lab.host.listen_tcp("[::]:4000");
    let _db = lab.host.listen_tcp("[::]:5432");
    enforce(
        &lab,
        "[default]\ninbound = \"accept\"\nping = false\n[[deny]]\nservice = [\"databases\"]\n",
    );
    expect(&[
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 4000), Answer::Open),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 5432), Answer::Silent),
    ]);
    net::expect(&[
        (Probe::ping(&lab.internet, HOST_WAN_V4), Answer::Silent),
        (Probe::ping(&lab.internet, HOST_WAN_V6), Answer::Silent),
    ]);
}

#[test]
fn sources_are_prefixes_sets_zones_and_interfaces() {
    let lab = Lab::new();
    let _ssh = lab.host.listen_tcp("[::]:22");
    let _web = lab.host.listen_tcp("[::]:80");
    let _app = lab.host.listen_tcp("[::]:8080");
    let _all = lab.host.listen_tcp("[::]:9000");
    enforce(
        &lab,
        &format!(
            "[set.office]\naddresses = [\"{FAR_V4}\", \"{FAR_V6}\"]\n\
             [zone.near]\ninterfaces = [\"lan*\"]\naddresses = [\"192.0.2.0/24\"]\n\
             [[allow]]\nports = [\"22/tcp\"]\nfrom = [\"@office\"]\n\
             [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"near\", \"198.51.100.0/24\"]\n\
             [[allow]]\nports = [\"8080/tcp\"]\nfrom = [\"near\"]\n\
             [[allow]]\nports = [\"all\"]\nfrom = [\"{FAR_V4}\"]\n"
        ),
    );
    let far = |port| {
        [
            Probe::tcp(&lab.internet, (HOST_WAN_V4, port)).source(FAR_V4),
            Probe::tcp(&lab.internet, (HOST_WAN_V6, port)).source(FAR_V6),
        ]
    };
    let lan_v4 = |port| Probe::tcp(&lab.lan, (HOST_LAN_V4, port));
    let lan_v6 = |port| Probe::tcp(&lab.lan, (HOST_LAN_V6, port));
    expect(&[
        (far(22), Answer::Open),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 22), Answer::Silent),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 80), Answer::Silent),
    ]);
    net::expect(&[
        (far(80)[0].clone(), Answer::Open),
        (far(80)[1].clone(), Answer::Silent),
        (far(9000)[0].clone(), Answer::Open),
        (far(9000)[1].clone(), Answer::Silent),
        (lan_v4(22), Answer::Silent),
        (lan_v4(80), Answer::Open),
        (lan_v4(8080), Answer::Open),
        (lan_v6(8080), Answer::Silent),
        (lan_v4(9000), Answer::Silent),
    ]);
}

#[test]
fn a_dialled_address_counts_before_it_is_translated() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:8080");
    // Someone else redirects 80 to 8080, which is to be judged as 80.
    lab.host.nft(
        "table inet other { chain nat { type nat hook prerouting priority dstnat; \
         tcp dport 80 redirect to :8080; tcp dport 81 redirect to :8080; }\n }",
    );
    enforce(
        &lab,
        &format!(
            "[[allow]]\nports = [\"80/tcp\"]\nto = [\"{HOST_LAN_V4}\", \"{HOST_WAN_V6}\"]\n\
             [[allow]]\nports = [\"8080/tcp\"]\nto = [\"{HOST_LAN_V4}\"]\n"
        ),
    );
    net::expect(&[
        (Probe::tcp(&lab.lan, (HOST_LAN_V4, 80)), Answer::Open),
        (Probe::tcp(&lab.lan, (HOST_WAN_V4, 80)), Answer::Silent),
        (Probe::tcp(&lab.internet, (HOST_WAN_V4, 80)), Answer::Silent),
        (Probe::tcp(&lab.internet, (HOST_LAN_V4, 80)), Answer::Open),
        (Probe::tcp(&lab.internet, (HOST_WAN_V6, 80)), Answer::Open),
        (Probe::tcp(&lab.internet, (HOST_LAN_V6, 80)), Answer::Silent),
        // 81 is redirected to the open 8080, but 81 is what was dialled.
        (Probe::tcp(&lab.lan, (HOST_LAN_V4, 81)), Answer::Silent),
        (Probe::tcp(&lab.lan, (HOST_LAN_V4, 8080)), Answer::Open),
        (Probe::tcp(&lab.lan, (HOST_WAN_V4, 8080)), Answer::Silent),
    ]);
}

#[test]
fn untracked_packets_are_judged_by_themselves() {
    let lab = Lab::new();
    let _dns = lab.host.listen_udp("0.0.0.0:53");
    let _ntp = lab.host.listen_udp("0.0.0.0:123");
    lab.host.nft(
        "table inet other { chain raw { type filter hook prerouting priority raw; \
         meta l4proto udp notrack; }\n chain out { type filter hook output priority raw; \
         meta l4proto udp notrack; }\n }",
    );
    enforce(
        &lab,
        &format!(
            "[[allow]]\nports = [\"53/udp\", \"123/udp\"]\n\
             [[deny]]\nports = [\"123/udp\"]\nto = [\"{HOST_WAN_V4}\"]\n"
        ),
    );
    net::expect(&[
        (Probe::udp(&lab.internet, (HOST_WAN_V4, 53)), Answer::Open),
        (Probe::udp(&lab.internet, (HOST_WAN_V4, 123)), Answer::Silent),
        (Probe::udp(&lab.lan, (HOST_LAN_V4, 123)), Answer::Open),
    ]);
}

/// A host with a container network made like Docker's, a published port (8080 to 80) over both
/// IP versions, and another one for a host address only (9000, LAN).
fn container_host(lab: &Lab) -> Namespace {
    lab.bridge("br-web", "172.30.0.1/24", "2001:db8:30::1/64");
    let container = lab.container(
        "br-web",
        "172.30.0.2/24",
        "2001:db8:30::2/64",
        ("172.30.0.1", "2001:db8:30::1"),
    );
    lab.host.nft(&format!(
        "table ip engine {{ chain pre {{ type nat hook prerouting priority dstnat; \
         fib daddr type local tcp dport 8080 dnat to 172.30.0.2:80; \
         ip daddr {HOST_LAN_V4} tcp dport 9000 dnat to 172.30.0.2:80; }}\n \
         chain post {{ type nat hook postrouting priority srcnat; \
         ip saddr 172.30.0.0/24 oifname != \"br-web\" masquerade; }}\n }}\n \
         table ip6 engine {{ chain pre {{ type nat hook prerouting priority dstnat; \
         fib daddr type local tcp dport 8080 dnat to [2001:db8:30::2]:80; }}\n }}"
    ));
    container
}

#[test]
fn a_published_port_is_judged_as_dialled_and_containers_are_closed_otherwise() {
    let lab = Lab::new();
    let container = container_host(&lab);
    let _web = container.listen_tcp("[::]:80");
    let _host_web = lab.host.listen_tcp("[::]:80");
    let _internet = lab.internet.listen_tcp("[::]:443");
    let container_v4: IpAddr = "172.30.0.2".parse().unwrap();
    let container_v6: IpAddr = "2001:db8:30::2".parse().unwrap();
    expect(&[
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 8080), Answer::Open),
        (tcp(&lab.internet, container_v4, container_v6, 80), Answer::Open),
    ]);
    // Port 80 of the container is not port 80 of the host.
    enforce(&lab, "[[allow]]\nports = [\"80/tcp\"]\n");
    expect(&[
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 80), Answer::Open),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 8080), Answer::Silent),
        (tcp(&lab.internet, container_v4, container_v6, 80), Answer::Silent),
        (tcp(&lab.lan, container_v4, container_v6, 80), Answer::Silent),
    ]);
    net::expect(&[(Probe::ping(&lab.internet, container_v4), Answer::Silent)]);
    lab.host.nft("delete table inet fwctl");
    enforce(
        &lab,
        &format!(
            "{LAN_ZONE}[[allow]]\nports = [\"8080/tcp\"]\nfrom = [\"lan\"]\n\
             [[allow]]\nports = [\"9000/tcp\"]\n"
        ),
    );
    expect(&[
        (tcp(&lab.lan, HOST_LAN_V4, HOST_LAN_V6, 8080), Answer::Open),
        (tcp(&lab.internet, HOST_WAN_V4, HOST_WAN_V6, 8080), Answer::Silent),
        // What containers send is left to their engine; the host is not theirs to dial.
        (tcp(&container, INTERNET_V4, net::INTERNET_V6, 443), Answer::Open),
        (tcp(&container, HOST_WAN_V4, HOST_WAN_V6, 80), Answer::Silent),
    ]);
    net::expect(&[
        (Probe::tcp(&lab.lan, (HOST_LAN_V4, 9000)), Answer::Open),
        (Probe::tcp(&lab.internet, (HOST_LAN_V4, 9000)), Answer::Open),
    ]);
}

#[test]
fn networks_made_later_are_closed_and_containers_reach_each_other_and_their_dns() {
    let lab = Lab::new();
    let _dns = lab.host.listen_udp("0.0.0.0:53");
    let _ssh = lab.host.listen_tcp("[::]:22");
    enforce(&lab, "[[allow]]\nports = [\"22/tcp\"]\nfrom = [\"internet\"]\n");
    lab.bridge("br-late", "172.31.0.1/24", "2001:db8:31::1/64");
    let via = ("172.31.0.1", "2001:db8:31::1");
    let one = lab.container("br-late", "172.31.0.2/24", "2001:db8:31::2/64", via);
    lab.bridge("br-more", "172.32.0.1/24", "2001:db8:32::1/64");
    let via = ("172.32.0.1", "2001:db8:32::1");
    let two = lab.container("br-more", "172.32.0.2/24", "2001:db8:32::2/64", via);
    let _one = one.listen_tcp("[::]:80");
    let (v4, v6): (IpAddr, IpAddr) =
        ("172.31.0.2".parse().unwrap(), "2001:db8:31::2".parse().unwrap());
    expect(&[
        (tcp(&lab.internet, v4, v6, 80), Answer::Silent),
        (tcp(&lab.lan, v4, v6, 80), Answer::Silent),
        (tcp(&two, v4, v6, 80), Answer::Open),
        (tcp(&lab.host, v4, v6, 80), Answer::Open),
        (
            tcp(&one, "172.31.0.1".parse().unwrap(), "2001:db8:31::1".parse().unwrap(), 22),
            Answer::Silent,
        ),
    ]);
    net::expect(&[
        (Probe::udp(&one, ("172.31.0.1".parse::<IpAddr>().unwrap(), 53)), Answer::Open),
        // The host's other addresses serve no DNS to containers.
        (Probe::udp(&one, (HOST_WAN_V4, 53)), Answer::Silent),
    ]);
}

#[test]
fn container_zones_and_opened_networks() {
    let lab = Lab::new();
    let container = container_host(&lab);
    let _web = container.listen_tcp("[::]:80");
    let _other = container.listen_tcp("[::]:81");
    let _metrics = lab.host.listen_tcp("[::]:9100");
    let _admin = lab.host.listen_tcp("[::]:9200");
    enforce(
        &lab,
        "[zone.private]\naddresses = [\"172.16.0.0/12\", \"192.0.2.0/24\"]\n\
         [[allow]]\nports = [\"9100/tcp\"]\nfrom = [\"containers\"]\n\
         [[allow]]\nports = [\"9200/tcp\"]\nfrom = [\"private\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"private\"]\nto = [\"container:web\"]\n",
    );
    let container_v4: IpAddr = "172.30.0.2".parse().unwrap();
    let bridge_v4: IpAddr = "172.30.0.1".parse().unwrap();
    net::expect(&[
        (Probe::tcp(&container, (bridge_v4, 9100)), Answer::Open),
        // A zone of addresses never claims what comes from a container.
        (Probe::tcp(&container, (bridge_v4, 9200)), Answer::Silent),
        (Probe::tcp(&lab.lan, (HOST_LAN_V4, 9200)), Answer::Open),
        (Probe::tcp(&lab.lan, (HOST_LAN_V4, 9100)), Answer::Silent),
        (Probe::tcp(&lab.lan, (container_v4, 80)), Answer::Open),
        (Probe::tcp(&lab.lan, (container_v4, 81)), Answer::Silent),
        (Probe::tcp(&lab.internet, (container_v4, 80)), Answer::Silent),
    ]);
}

#[test]
fn a_bridge_with_an_uplink_is_no_container_network() {
    let lab = Lab::new();
    // The LAN's device becomes a port of a bridge, as on a host of virtual machines.
    lab.bridge("br0", "192.0.2.11/24", "2001:db8:2::11/64");
    lab.host.ip(&format!("addr del {HOST_LAN_V4}/24 dev lan0"));
    lab.host.ip("link set lan0 master br0");
    let _ssh = lab.host.listen_tcp("0.0.0.0:22");
    let uplinks = Environment { uplink_bridges: vec!["br0".parse().unwrap()], ..environment() };
    let policy = "[zone.lan]\naddresses = [\"192.0.2.0/24\"]\n\
                  [[allow]]\nports = [\"22/tcp\"]\nfrom = [\"lan\"]\n";
    load(&lab.host, &compiled(policy, &uplinks));
    let bridge: IpAddr = "192.0.2.11".parse().unwrap();
    net::expect(&[(Probe::tcp(&lab.lan, (bridge, 22)), Answer::Open)]);
    // Routing to what is behind it is routing, not a way into containers.
    let _lan = lab.lan.listen_tcp("0.0.0.0:80");
    lab.lan.ip("route replace default via 192.0.2.11");
    net::expect(&[(Probe::tcp(&lab.internet, (LAN_V4, 80)), Answer::Open)]);
    lab.host.nft("delete table inet fwctl");
    load(&lab.host, &compiled(&format!("[default]\nforwarded = \"drop\"\n{policy}"), &uplinks));
    net::expect(&[(Probe::tcp(&lab.internet, (LAN_V4, 80)), Answer::Silent)]);
}

#[test]
fn a_limit_counts_each_source_and_a_full_table_of_sources_still_limits() {
    let lab = Lab::new();
    let _ssh = lab.host.listen_tcp("[::]:22");
    let policy = "[[allow]]\nports = [\"22/tcp\"]\nlimit = \"3/hour burst 3\"\n\
                  [[allow]]\nports = [\"22/tcp\"]\nfrom = [\"2001:db8:7::7\"]\n";
    let mut table = compiled(policy, &environment());
    load(&lab.host, &table);
    let near = |v4: bool| {
        let to = if v4 { HOST_WAN_V4 } else { HOST_WAN_V6 };
        Probe::tcp(&lab.internet, (to, 22)).ask()
    };
    let far = |to, source| Probe::tcp(&lab.internet, (to, 22)).source(source).ask();
    for v4 in [true, false] {
        for _ in 0..3 {
            assert_eq!(near(v4), Answer::Open);
        }
        assert_eq!(near(v4), Answer::Silent, "the fourth connection within the hour, v4: {v4}");
    }
    assert_eq!(far(HOST_WAN_V4, FAR_V4), Answer::Open, "another source has a limit of its own");
    for _ in 0..5 {
        assert_eq!(far(HOST_WAN_V6, FAR_V6), Answer::Open, "one allow without a limit is enough");
    }
    lab.host.nft("delete table inet fwctl");
    for set in &mut table.sets {
        if set.flags.dynamic {
            set.size = Some(1);
        }
    }
    load(&lab.host, &table);
    assert_eq!(near(true), Answer::Open, "takes the only place");
    let others: Vec<Answer> = (0..5).map(|_| far(HOST_WAN_V4, FAR_V4)).collect();
    let open = others.iter().filter(|answer| **answer == Answer::Open).count();
    assert_eq!(open, 3, "one limit for all that have no place: {others:?}");
}

#[test]
fn broadcast_and_multicast_that_a_policy_allows_arrive() {
    let lab = Lab::new();
    enforce(&lab, "[[allow]]\nports = [\"5353/udp\", \"137/udp\"]\n");
    let group_v4: IpAddr = "224.0.0.251".parse().unwrap();
    let group_v6: IpAddr = "ff02::fb".parse().unwrap();
    let allowed_v4 = lab.host.listen_multicast(group_v4, 5353, &HOST_LAN_V4.to_string());
    let broadcast = lab.host.listen_udp("0.0.0.0:137");
    let denied = lab.host.listen_udp("0.0.0.0:138");
    lab.lan.ip("route add 224.0.0.0/4 dev eth0");
    for _ in 0..3 {
        net::send_udp(&lab.lan, "224.0.0.251:5353", "eth0");
        net::send_udp(&lab.lan, "192.0.2.255:137", "eth0");
        net::send_udp(&lab.lan, "192.0.2.255:138", "eth0");
    }
    assert!(allowed_v4.wait_heard(1, Duration::from_secs(2)), "multicast");
    assert!(broadcast.wait_heard(1, Duration::from_secs(2)), "broadcast");
    assert_eq!(denied.heard(), 0);
    drop(allowed_v4);
    let allowed_v6 = lab.host.listen_multicast(group_v6, 5353, "lan0");
    net::send_udp(&lab.lan, "[ff02::fb]:5353", "eth0");
    assert!(allowed_v6.wait_heard(1, Duration::from_secs(2)), "multicast over IPv6");
}

#[test]
fn connections_from_before_go_on_and_open_nothing_anew() {
    use std::io::{Read as _, Write as _};
    let lab = Lab::new();
    // An outbound connection on which only the other side speaks.
    let server = lab.internet.enter(|| std::net::TcpListener::bind("203.0.113.1:7000").unwrap());
    let mut client = net::tcp_stream(&lab.host, (INTERNET_V4, 7000)).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    // And a tuple towards a listener, as of a connection that has ended since.
    let _listener = lab.host.listen_tcp("0.0.0.0:9999");
    let ended = (INTERNET_V4, 40_000).into();
    let tcp = fwctl::model::Protocol::TCP;
    let carried =
        Carried::Connections(vec![(tcp, ended, (HOST_WAN_V4, 9999).into()), (tcp, remote, local)]);
    let environment = Environment { carried, ..environment() };
    load(&lab.host, &compiled("[[allow]]\nports = [\"22/tcp\"]\n", &environment));
    peer.write_all(b"still here").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut heard = [0; 10];
    client.read_exact(&mut heard).expect("the other side's data arrives");
    let again = lab.internet.enter(|| {
        use rustix::net::{AddressFamily, SocketType, sockopt};
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &ended).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(Duration::from_secs(1)))
            .unwrap();
        rustix::net::connect(&socket, &std::net::SocketAddr::from((HOST_WAN_V4, 9999)))
    });
    assert!(again.is_err(), "a SYN from a carried tuple was let in");
}

#[test]
fn every_shipped_policy_is_run_as_it_was_meant() {
    for name in ["ssh-only", "web-server", "tether", "chatalot", "chatalot-direct"] {
        let host = Namespace::new("shipped");
        load(&host, &compiled(&format!("use = [\"{name}\"]\n"), &environment()));
    }
}

#[test]
fn what_a_policy_can_say_is_run_as_it_was_meant() {
    let host = Namespace::new("host");
    let policy = format!(
        "[default]\ninbound = \"reject\"\nforwarded = \"drop\"\nlog = \"5/second\"\n\
         [zone.admin]\naddresses = [\"203.0.113.7\", \"2001:db8:7::/48\", \"@office\"]\n\
         [zone.vpn]\ninterfaces = [\"wg*\", \"tun0\", \"tun1\"]\naddresses = [\"10.8.0.0/16\"]\n\
         {LAN_ZONE}\
         [set.office]\naddresses = [\"198.51.100.0/25\", \"198.51.100.128/25\"]\n\
         [[allow]]\nservice = [\"ssh\"]\nfrom = [\"admin\", \"vpn\", \"lan\"]\nlog = true\n\
         [[allow]]\nports = [\"6000-6010/udp\", \"7000/sctp\", \"esp\", \"gre\"]\n\
         from = [\"internet\"]\nlimit = \"6/minute burst 10\"\n\
         [[deny]]\nports = [\"6005/udp\"]\nfrom = [\"internet\"]\nlog = true\n\
         [[deny]]\nports = [\"all\"]\nfrom = [\"192.0.2.66\", \"2001:db8:bad::/48\"]\n\
         [[allow]]\nservice = [\"https\"]\nto = [\"203.0.113.10\", \"2001:db8:1::10\"]\n\
         [[allow]]\nports = [\"53/udp\", \"vrrp\"]\nfrom = [\"containers\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nto = [\"container:web\"]\nfrom = [\"lan\"]\n"
    );
    let environment = Environment {
        uplink_bridges: vec!["br0".parse().unwrap(), "br1".parse().unwrap()],
        carried: Carried::Connections(vec![
            (
                fwctl::model::Protocol::TCP,
                "203.0.113.1:443".parse().unwrap(),
                "203.0.113.10:50000".parse().unwrap(),
            ),
            (
                fwctl::model::Protocol::UDP,
                "[2001:db8::1]:53".parse().unwrap(),
                "[2001:db8:1::10]:50001".parse().unwrap(),
            ),
        ]),
        ..environment()
    };
    load(&host, &compiled(&policy, &environment));
}

#[test]
fn every_protocol_that_a_policy_can_name_is_loaded() {
    let host = Namespace::new("host");
    for number in 0..=u8::MAX {
        let protocol = fwctl::model::Protocol(number);
        if protocol.has_ports() {
            continue;
        }
        let policy = format!("[[allow]]\nports = [\"{protocol}\"]\nfrom = [\"203.0.113.0/24\"]\n");
        host.nft(&text::table(&compiled(&policy, &environment())));
        host.nft("delete table inet fwctl");
    }
}

#[test]
fn what_is_translated_to_no_bridge_is_judged_as_dialled_too() {
    let lab = Lab::new();
    // A container on a veth pair of its own, as systemd-nspawn makes it.
    let container = Namespace::new("container");
    lab.host.link("ve-db", &container, "host0");
    lab.host.ip("addr add 172.29.0.1/24 dev ve-db");
    container.ip("addr add 172.29.0.2/24 dev host0");
    container.ip("route add default via 172.29.0.1");
    let _db = container.listen_tcp("0.0.0.0:5432");
    lab.host.nft(
        "table ip engine {\n chain pre {\n type nat hook prerouting priority dstnat\n \
         fib daddr type local tcp dport { 5432, 15432 } dnat to 172.29.0.2:5432\n }\n }",
    );
    let port = |port| Probe::tcp(&lab.internet, (HOST_WAN_V4, port));
    net::expect(&[(port(5432), Answer::Open), (port(15432), Answer::Open)]);
    for forwarded in ["keep", "drop"] {
        enforce(
            &lab,
            &format!(
                "[default]\nforwarded = \"{forwarded}\"\n[[allow]]\nports = [\"15432/tcp\"]\n\
                 [[deny]]\nservice = [\"databases\"]\nfrom = [\"internet\"]\n"
            ),
        );
        net::expect(&[(port(5432), Answer::Silent), (port(15432), Answer::Open)]);
        lab.host.nft("delete table inet fwctl");
    }
}

#[test]
fn ping_is_a_default_that_a_deny_beats_and_containers_have_rules_of_their_own() {
    let lab = Lab::new();
    let container = container_host(&lab);
    let bridge: IpAddr = "172.30.0.1".parse().unwrap();
    enforce(
        &lab,
        &format!(
            "[[allow]]\nports = [\"22/tcp\"]\n[[deny]]\nports = [\"all\"]\nfrom = [\"{FAR_V4}\"]\n"
        ),
    );
    net::expect(&[
        (Probe::ping(&lab.internet, HOST_WAN_V4), Answer::Open),
        (Probe::ping(&lab.internet, HOST_WAN_V4).source(FAR_V4), Answer::Silent),
        (Probe::ping(&container, bridge), Answer::Open),
    ]);
    lab.host.nft("delete table inet fwctl");
    enforce(
        &lab,
        "[default]\nping = false\n[[allow]]\nports = [\"icmp\"]\nfrom = [\"containers\"]\n",
    );
    net::expect(&[
        (Probe::ping(&lab.internet, HOST_WAN_V4), Answer::Silent),
        (Probe::ping(&container, bridge), Answer::Open),
    ]);
}

#[test]
fn loopback_dialled_from_outside_stays_closed_whatever_translates_it() {
    let lab = Lab::new();
    let container = container_host(&lab);
    let inside = container.listen_udp("0.0.0.0:80");
    // As Docker publishes on loopback: the translation comes before the kernel's own refusal.
    lab.host.nft("add rule ip engine pre ip daddr 127.0.0.1 udp dport 8081 dnat to 172.30.0.2:80");
    lab.internet.sysctl("ipv4/conf/all/route_localnet", "1");
    lab.internet.ip("route del 127.0.0.0/8 dev lo table local");
    lab.internet.ip("route del 127.0.0.1 dev lo table local");
    lab.internet
        .ip(&format!("route add 127.0.0.1/32 via {HOST_WAN_V4} dev eth0 src {INTERNET_V4}"));
    let send = || net::send_udp(&lab.internet, "127.0.0.1:8081", "eth0");
    send();
    assert!(inside.wait_heard(1, Duration::from_secs(2)), "the way in is there without fwctl");
    enforce(&lab, "[[allow]]\nports = [\"8081/udp\"]\n");
    for _ in 0..3 {
        send();
    }
    assert!(!inside.wait_heard(2, Duration::from_millis(500)), "loopback was dialled from outside");
}
