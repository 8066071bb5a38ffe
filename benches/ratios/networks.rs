//! A host of many container networks: what a plan works out, once the host was read ÷
//! `nft -j list ruleset` of the same.
//!
//! Thirty bridges as Docker makes them, with its rules for sixty containers that publish a port each
//! on every address, and a listener for each of them, as its proxy has.

use crate::measure::{Line, Pairs, time};
use crate::net::Lab;
use crate::table::{Goal, Table};
use crate::{Size, policies};
use fwctl::guard::findings;
use fwctl::model::Protocol;
use fwctl::observe::{
    Container, ContainerNetwork, ContainerState, Engine, EngineKind, EngineState, Options,
    PublishedPort, Snapshot, observe,
};
use fwctl::plan::plan;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Instant;

const LIST: Line = &["/usr/sbin/nft", "-j", "list", "ruleset"];
/// The ports that clients dial begin here.
const PUBLISHED: usize = 8_000;
/// The port in every container.
const INSIDE: u16 = 80;

/// Measures the shape.
pub fn run(size: Size, table: &mut Table) {
    let networks = Networks { networks: size.of(30, 3), containers: size.of(60, 6) };
    let lab = Lab::new();
    for network in 0..networks.networks {
        let (v4, v6) = (networks.address(network, 0), networks.address6(network, 0));
        lab.bridge(&Networks::bridge(network), &format!("{v4}/24"), &format!("{v6}/64"));
    }
    lab.host.nft(&networks.rules());
    let root = tempfile::tempdir().unwrap();
    let path = policies::write(root.path(), "policy.toml", policies::SMALL);
    let policy = policies::load(root.path(), &path);
    let pairs = lab.host.enter(|| {
        let all = PUBLISHED..PUBLISHED + networks.containers;
        let listeners: Vec<TcpListener> = all
            .map(|port| {
                let port = u16::try_from(port).unwrap();
                TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap()
            })
            .collect();
        let mut snapshot: Snapshot =
            observe(&Options { root: root.path().into(), ..Options::default() });
        snapshot.engines = vec![networks.engine()];
        let ours = || {
            let start = Instant::now();
            let plan = plan(&policy, &snapshot).unwrap();
            black_box(findings(&plan, &policy, &snapshot));
            let took = start.elapsed();
            assert!(plan.exposure.len() >= listeners.len(), "every container is in it");
            took
        };
        Pairs::take(size.of(20, 1), ours, || time(&[LIST], root.path()))
    });
    let what = "a plan with its guard, 30 networks with 60 published ports, the host read already ÷ \
                `nft -j list ruleset`";
    table.ratio("analyze", what, Goal::AtMost(4.0), &pairs, None);
}

/// How many there are.
struct Networks {
    networks: usize,
    containers: usize,
}

impl Networks {
    fn bridge(network: usize) -> String {
        format!("br-{network:012x}")
    }

    /// The address of a container, or of the bridge itself.
    fn address(&self, network: usize, container: usize) -> Ipv4Addr {
        let network = u8::try_from(network).unwrap();
        let container = u8::try_from(container / self.networks).unwrap();
        Ipv4Addr::new(172, 30, network, container + 1)
    }

    fn address6(&self, network: usize, container: usize) -> Ipv6Addr {
        let network = u16::try_from(network).unwrap();
        let container = u16::try_from(container / self.networks).unwrap();
        Ipv6Addr::new(0x2001, 0xdb8, 0x30, network, 0, 0, 0, container + 1)
    }

    /// Each container with its network.
    fn containers(&self) -> impl Iterator<Item = (usize, usize)> {
        // The first address of a network is the bridge's.
        (0..self.containers).map(|own| (own % self.networks, own + self.networks))
    }

    /// What Docker puts into the tables of iptables, in nft's words.
    fn rules(&self) -> String {
        let mut text = String::new();
        for family in ["ip", "ip6"] {
            let [mut forward, mut apart, mut drops] = [const { String::new() }; 3];
            let [mut opened, mut returns, mut translated, mut masked] =
                [const { String::new() }; 4];
            for network in 0..self.networks {
                let bridge = Self::bridge(network);
                let subnet = if family == "ip" {
                    format!("{}/24", self.address(network, 0))
                } else {
                    format!("{}/64", self.address6(network, 0))
                };
                let _ = write!(
                    forward,
                    "oifname {bridge} ct state established,related counter accept\n\
                     oifname {bridge} counter jump DOCKER\n\
                     iifname {bridge} oifname != {bridge} counter accept\n\
                     iifname {bridge} oifname {bridge} counter accept\n"
                );
                let _ =
                    writeln!(apart, "iifname {bridge} oifname != {bridge} counter jump STAGE-2");
                let _ = writeln!(drops, "oifname {bridge} counter drop");
                let _ = writeln!(returns, "iifname {bridge} counter return");
                let _ = writeln!(
                    masked,
                    "oifname != {bridge} {family} saddr {subnet} counter masquerade"
                );
            }
            for (index, (network, container)) in self.containers().enumerate() {
                let (bridge, dialled) = (Self::bridge(network), PUBLISHED + index);
                let v4 = family == "ip";
                let to = if v4 {
                    self.address(network, container).to_string()
                } else {
                    self.address6(network, container).to_string()
                };
                let at = if v4 { to.clone() } else { format!("[{to}]") };
                let _ = writeln!(
                    opened,
                    "iifname != {bridge} oifname {bridge} {family} daddr {to} tcp dport {INSIDE} \
                     counter accept"
                );
                let _ = writeln!(
                    translated,
                    "iifname != {bridge} tcp dport {dialled} counter dnat to {at}:{INSIDE}"
                );
                let _ = writeln!(
                    masked,
                    "{family} saddr {to} {family} daddr {to} tcp dport {INSIDE} counter masquerade"
                );
            }
            let _ = write!(
                text,
                "table {family} filter {{
chain DOCKER {{\n{opened}}}
chain STAGE-2 {{\n{drops}}}
chain STAGE-1 {{\n{apart}}}
chain FORWARD {{ type filter hook forward priority 0; policy drop;\njump STAGE-1\n{forward}}}
}}
table {family} nat {{
chain DOCKER {{\n{returns}{translated}}}
chain PREROUTING {{ type nat hook prerouting priority -100;\nfib daddr type local jump DOCKER\n}}
chain OUTPUT {{ type nat hook output priority -100;\nfib daddr type local jump DOCKER\n}}
chain POSTROUTING {{ type nat hook postrouting priority 100;\n{masked}}}
}}\n"
            );
        }
        text
    }

    /// What Docker says of them.
    fn engine(&self) -> Engine {
        let name = |network: usize| format!("net{network}");
        let network = |own: usize| ContainerNetwork {
            name: name(own),
            driver: "bridge".to_owned(),
            bridge: Some(Self::bridge(own).parse().unwrap()),
            subnets: vec![
                format!("172.30.{own}.0/24").parse().unwrap(),
                format!("2001:db8:30:{own:x}::/64").parse().unwrap(),
            ],
        };
        let container = |(index, (network, own)): (usize, (usize, usize))| {
            let addresses: Vec<IpAddr> =
                vec![self.address(network, own).into(), self.address6(network, own).into()];
            let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            let published = any.map(|host_address| PublishedPort {
                protocol: Protocol::TCP,
                host_address,
                host_port: u16::try_from(PUBLISHED + index).unwrap(),
                container_port: INSIDE,
            });
            Container {
                name: format!("container{index}"),
                id: format!("{index:064x}"),
                image: "box".to_owned(),
                state: ContainerState::Running,
                host_network: false,
                addresses: [(name(network), addresses)].into(),
                published: published.to_vec(),
            }
        };
        Engine {
            kind: EngineKind::Docker,
            socket: "/run/docker.sock".to_owned(),
            state: EngineState::Answered,
            version: None,
            swarm: false,
            networks: (0..self.networks).map(network).collect(),
            containers: self.containers().enumerate().map(container).collect(),
        }
    }
}
