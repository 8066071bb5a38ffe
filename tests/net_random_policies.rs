//! Random policies: what the policy's own judge says of a connection is what the kernel does with
//! its packets once the policy is compiled and loaded.
//!
//! The default is to reject, so that a closed port answers at once. `FWCTL_POLICIES=N` tries more,
//! `FWCTL_SEED=N` others.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;
mod random_policy;

use fwctl::compile::{Environment, TABLE, compile};
use fwctl::model::Protocol;
use fwctl::model::nft::{Family, Table, text};
use fwctl::plan::diff::diff;
use fwctl::plan::transaction;
use fwctl::plan::way::{Way, way};
use fwctl::policy::{self, Arrival, Connection, MemoryFiles, Target};
use net::{
    Answer, FAR_V4, FAR_V6, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, INTERNET_V4,
    INTERNET_V6, LAN_V4, LAN_V6, Lab, Namespace, Probe,
};
use random_policy::{Dice, Setting, Written};
use std::net::IpAddr;
use std::path::Path;

/// The default is to reject, so that a closed port answers at once.
const SETTING: Setting = Setting {
    inbound: &["accept", "reject", "reject", "reject", "reject", "reject"],
    network: "web",
    bridge: "br-web",
    limit: "1000/second burst 1000",
};

/// Makes the live table the desired one in place, as apply does, and asserts that it is it then.
fn change(host: &Namespace, desired: &Table, written: &str) {
    let live = || host.enter(|| fwctl::observe::nft::read_table(Family::Inet, TABLE).unwrap());
    let before = live();
    let edits = diff(before.as_ref(), desired);
    let transactions = match way(before.as_ref(), &edits, desired) {
        Way::InPlace(steps) => vec![steps.prepare, steps.switch, steps.clear],
        Way::Beside => vec![transaction::text(&edits, desired)],
    };
    for transaction in transactions.iter().filter(|text| !text.is_empty()) {
        if let Err(error) = host.try_nft(transaction) {
            panic!("{error}\n{transaction}\n{written}");
        }
    }
    let edits = diff(live().as_ref(), desired);
    assert!(edits.is_empty(), "not as meant: {edits:#?}\n{transactions:#?}\n{written}");
}

/// Whom the probes come from.
struct Client<'n> {
    namespace: &'n Namespace,
    arrival: Arrival,
    addresses: [IpAddr; 2],
}

#[test]
fn the_kernel_does_what_the_judge_says() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
    };
    let lab = Lab::new();
    lab.bridge("br-web", "172.30.0.1/24", "2001:db8:30::1/64");
    let via = ("172.30.0.1", "2001:db8:30::1");
    let container = lab.container("br-web", "172.30.0.2/24", "2001:db8:30::2/64", via);
    let routed: [IpAddr; 2] = ["172.30.0.2".parse().unwrap(), "2001:db8:30::2".parse().unwrap()];
    lab.host.nft(
        "table inet engine {\n chain pre {\n type nat hook prerouting priority dstnat\n \
         iifname != \"br-web\" fib daddr type local tcp dport 8080 meta nfproto ipv4 \
         dnat ip to 172.30.0.2:81\n iifname != \"br-web\" fib daddr type local tcp dport 8080 \
         meta nfproto ipv6 dnat ip6 to [2001:db8:30::2]:81\n }\n }",
    );
    let ports = [22_u16, 80, 443, 5432, 8080, 9001];
    let _host: Vec<_> =
        ports.iter().map(|port| lab.host.listen_tcp(&format!("[::]:{port}"))).collect();
    let _container: Vec<_> =
        [81, 22, 80, 443].map(|port| container.listen_tcp(&format!("[::]:{port}"))).into();
    let outer = |name: &str| Arrival::Interface(name.parse().unwrap());
    let client = |namespace, arrival, addresses| Client { namespace, arrival, addresses };
    let inner = Arrival::Container("br-web".parse().unwrap());
    let clients = [
        client(&lab.internet, outer("wan0"), [INTERNET_V4, INTERNET_V6]),
        client(&lab.internet, outer("wan0"), [FAR_V4, FAR_V6]),
        client(&lab.lan, outer("lan0"), [LAN_V4, LAN_V6]),
        client(&container, inner, routed),
    ];
    let environment = Environment {
        default_route_interfaces: vec!["wan0".parse().unwrap()],
        networks: [("web".to_owned(), "br-web".parse().unwrap())].into(),
        ..Environment::default()
    };
    let mut dice = Dice::new(setting("FWCTL_SEED", 20_261_122));
    let (mut tried, mut open) = (0, 0);
    while tried < setting("FWCTL_POLICIES", 60) {
        let written = Written::random(&mut dice, SETTING).text();
        let path = Path::new("/etc/fwctl/policy.toml");
        // Some contradict themselves, which the reader says; those are not for here.
        let Ok(loaded) = policy::load(&MemoryFiles::default().with(path, &written), path) else {
            continue;
        };
        let Ok(table) = compile(&loaded.policy, &environment) else { continue };
        tried += 1;
        change(&lab.host, &table, &written);
        let mut probes = Vec::new();
        let mut expected = Vec::new();
        for client in &clients {
            for (index, source) in client.addresses.iter().enumerate() {
                let hosts = [[HOST_WAN_V4, HOST_WAN_V6][index], [HOST_LAN_V4, HOST_LAN_V6][index]];
                let local = hosts.map(|host| (host, None, &ports[..]));
                let direct = (routed[index], Some("web".to_owned()), &ports[..3]);
                // What is routed to a container is dropped in silence, which takes a while to hear.
                let direct = (tried % 8 == 0).then_some(direct);
                for (address, network, ports) in local.into_iter().chain(direct) {
                    if address == *source {
                        continue;
                    }
                    for port in ports {
                        let dialled = network.is_none().then_some(address);
                        let target = Target {
                            dialled,
                            network: network.clone(),
                            ..Target::port(Protocol::TCP, *port)
                        };
                        let arrival = client.arrival.clone();
                        let connection = Connection { arrival, source: *source, target };
                        let passes = policy::decide(&loaded.policy, &connection).passes();
                        expected.push((connection, passes));
                        probes.push(Probe::tcp(client.namespace, (address, *port)).source(*source));
                    }
                }
            }
        }
        for ((probe, seen), (connection, expected)) in
            probes.iter().zip(net::observe(&probes)).zip(&expected)
        {
            assert_eq!(
                seen == Answer::Open,
                *expected,
                "{probe}: {connection:?}
{written}
{}",
                text::table(&table)
            );
            open += usize::from(seen == Answer::Open);
        }
    }
    assert!(open > 1000, "too few open ports for a fair test: {open}");
}
