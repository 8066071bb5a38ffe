//! `fwctl explain` and `fwctl exposure` in a namespace with rules of the shape that Docker and ufw write.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::analyze::{Analyzer, Reach, Violation, exposure};
use fwctl::model::{IpFamily, Protocol, ZoneRef};
use fwctl::observe::{
    Container, ContainerState, Engine, EngineKind, EngineState, Options, PublishedPort, observe,
};
use fwctl::policy::{self, MemoryFiles};
use net::{Answer, FAR_V4, FAR_V6, HOST_WAN_V4, HOST_WAN_V6, INTERNET_V4, INTERNET_V6, Lab, Probe};
use std::net::IpAddr;
use std::path::Path;

const NEIGHBOURS: &str = "*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:ufw-user-input - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m limit --limit 6/min -j ACCEPT
-A ufw-user-input -s 198.51.100.0/24 -p tcp -m tcp --dport 443 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
";

fn load(lab: &Lab) {
    let mut restore = lab.host.command("iptables-nft-restore");
    let mut child = restore.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), NEIGHBOURS.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

struct Explained {
    text: String,
    json: serde_json::Value,
}

fn explain(lab: &Lab, args: &[&str]) -> Explained {
    let run = |more: &[&str]| {
        let mut command = lab.host.command(env!("CARGO_BIN_EXE_fwctl"));
        let output = command.arg("explain").args(args).args(more).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = serde_json::from_str(&run(&["--format", "json"])).unwrap();
    Explained { text: run(&[]), json }
}

#[test]
fn each_connection_is_explained_by_the_rules_that_decide_it() {
    let lab = Lab::new();
    lab.bridge("docker0", "172.17.0.1/16", "2001:db8:17::1/64");
    load(&lab);
    let _web = lab.host.listen_tcp("0.0.0.0:443");

    let published = explain(&lab, &["198.51.100.7", "8080/tcp"]);
    assert_eq!(published.json["format"], "fwctl.explain/1");
    assert_eq!(published.json["verdict"], "open");
    assert_eq!(published.json["ends"][0]["address"], "172.17.0.2");
    assert_eq!(published.json["ends"][0]["port"], 80);
    assert_eq!(published.json["decided_by"]["chain"], "DOCKER");
    for line in published.text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let order = [
        "prerouting",
        "rewrites DOCKER",
        "\nrouting",
        "goes on, by docker0",
        "\nforward",
        "accepts  DOCKER: ",
    ];
    let places: Vec<_> = order.iter().map(|word| published.text.find(word)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}\n{}", published.text);

    let limited = explain(&lab, &["internet", "22/tcp"]);
    assert_eq!(limited.json["verdict"], "limited");
    assert_eq!(limited.json["zone"], "internet");
    assert_eq!(limited.json["interface"], "wan0");
    assert!(limited.text.contains("depends on limit rate 6/minute"), "{}", limited.text);

    let web = explain(&lab, &["198.51.100.7", "443/tcp"]);
    assert_eq!(web.json["verdict"], "open");
    assert!(web.text.contains("answers"), "the listener is named:\n{}", web.text);
    assert!(!web.text.contains("nothing that fwctl knows"), "{}", web.text);

    let stranger = explain(&lab, &["203.0.113.77", "443/tcp"]);
    assert_eq!(stranger.json["verdict"], "closed");
    assert_eq!(stranger.json["decided_by"]["rule"], "policy drop");
    let routed = explain(&lab, &["198.51.100.7", "8080/tcp", "--to", "172.17.0.2"]);
    assert_eq!(routed.json["verdict"], "closed");
    assert_eq!(routed.json["decided_by"]["chain"], "FORWARD");
    let loopback = explain(&lab, &["203.0.113.9", "22/tcp", "--to", "127.0.0.1"]);
    assert!(loopback.text.contains("route_localnet"), "{}", loopback.text);
    // No rule speaks of IPv6.
    let v6 = explain(&lab, &["2001:db8:7::7", "9/udp", "--via", "lan0"]);
    assert_eq!((&v6.json["verdict"], &v6.json["interface"]), (&"open".into(), &"lan0".into()));
}

const POLICY: &str = "version = 1
[zone.office]
addresses = [\"198.51.100.0/24\", \"2001:db8:7::/48\"]
[[allow]]
ports = [\"443/tcp\"]
from = [\"office\"]
[[deny]]
ports = [\"8080/tcp\"]
";

/// What exposure says of each TCP endpoint is what real connections meet.
#[test]
fn exposure_is_what_connections_meet() {
    let lab = Lab::new();
    lab.bridge("docker0", "172.17.0.1/16", "2001:db8:17::1/64");
    let container = lab.container(
        "docker0",
        "172.17.0.2/16",
        "2001:db8:17::2/64",
        ("172.17.0.1", "2001:db8:17::1"),
    );
    load(&lab);
    let _listeners = [
        lab.host.listen_tcp("0.0.0.0:443"),
        lab.host.listen_tcp("[::]:9000"),
        lab.host.listen_tcp("127.0.0.1:5432"),
        container.listen_tcp("0.0.0.0:80"),
    ];
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    let mut snapshot = lab.host.enter(|| observe(&options));
    snapshot.engines.push(engine());
    let files = MemoryFiles::default().with("/etc/fwctl/policy.toml", POLICY);
    let policy = policy::load(&files, Path::new("/etc/fwctl/policy.toml")).unwrap().policy;
    let found = exposure(&Analyzer::new(&snapshot), Some(&policy), true);

    let office: ZoneRef = ZoneRef::Declared("office".parse().unwrap());
    let sources: [(&ZoneRef, IpFamily, IpAddr, IpAddr); 4] = [
        (&ZoneRef::Internet, IpFamily::Ipv4, INTERNET_V4, HOST_WAN_V4),
        (&ZoneRef::Internet, IpFamily::Ipv6, INTERNET_V6, HOST_WAN_V6),
        (&office, IpFamily::Ipv4, FAR_V4, HOST_WAN_V4),
        (&office, IpFamily::Ipv6, FAR_V6, HOST_WAN_V6),
    ];
    let mut probes = Vec::new();
    for exposed in found.endpoints.iter().filter(|own| own.protocol == Protocol::TCP) {
        for (zone, family, source, to) in sources {
            let told = exposed.reach.iter().find(|own| (&own.zone, own.family) == (zone, family));
            let Some(told) = told.filter(|_| exposed.address.is_none_or(|own| own == to)) else {
                continue;
            };
            let answer = match told.verdict {
                Reach::Open => Answer::Open,
                Reach::Closed => Answer::Silent,
                other => panic!("{other:?} for {exposed:?}"),
            };
            let probe = Probe::tcp(&lab.internet, (to, exposed.port)).source(source);
            probes.push((probe, answer));
        }
    }
    let open = probes.iter().filter(|(_, answer)| *answer == Answer::Open).count();
    assert!(probes.len() >= 8 && open >= 4 && open < probes.len(), "{open} of {}", probes.len());
    net::expect(&probes);

    // Docker's own rules let in what the policy denies; the policy's zone is let in by the
    // neighbours where it allows it.
    let forbidden: Vec<(u16, String)> = found
        .violations()
        .filter(|(_, reach)| reach.violation == Some(Violation::Forbidden))
        .map(|(exposed, reach)| (exposed.port, format!("{} {}", reach.zone, reach.family)))
        .collect();
    assert!(forbidden.contains(&(8080, "internet ipv4".to_owned())), "{forbidden:?}");
    assert!(forbidden.contains(&(9000, "internet ipv6".to_owned())), "{forbidden:?}");
    assert!(!forbidden.iter().any(|(port, _)| *port == 443 || *port == 5432), "{forbidden:?}");
    let published = found.endpoints.iter().find(|own| own.port == 8080).unwrap();
    assert_eq!(published.reach[0].path, "NAT to 172.17.0.2:80");
    assert_eq!(published.reach[0].decided_by.as_ref().unwrap().chain, "DOCKER");
    // Nothing listens on 22, but a service there would be reachable, only so often.
    let ports = found.ports.unwrap();
    let ssh = ports.iter().find(|own| own.port == 22 && own.protocol == Protocol::TCP).unwrap();
    assert_eq!(ssh.reach[0].verdict, Reach::Limited);
}

fn engine() -> Engine {
    let web = Container {
        name: "web".to_owned(),
        id: "0123".to_owned(),
        image: "web".to_owned(),
        state: ContainerState::Running,
        host_network: false,
        addresses: [("bridge".to_owned(), vec!["172.17.0.2".parse().unwrap()])].into(),
        published: vec![PublishedPort {
            protocol: Protocol::TCP,
            host_address: "0.0.0.0".parse().unwrap(),
            host_port: 8080,
            container_port: 80,
        }],
    };
    Engine {
        kind: EngineKind::Docker,
        socket: "/run/docker.sock".to_owned(),
        state: EngineState::Answered,
        version: None,
        swarm: false,
        networks: Vec::new(),
        containers: vec![web],
    }
}

/// What no rule shows is found, said, and touches exactly the answers that it can touch.
#[test]
fn filters_of_traffic_control_and_policy_routing_are_seen() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("0.0.0.0:443");
    let tc = |arguments: &str| {
        let mut command = lab.host.command("tc");
        net::run(command.args(arguments.split(' ')));
    };
    tc("qdisc add dev wan0 clsact");
    let untouched = explain(&lab, &["198.51.100.7", "443/tcp"]);
    assert_eq!(untouched.json["verdict"], "open", "no filter is there yet");
    tc("filter add dev wan0 ingress protocol ip u32 match ip dport 443 0xffff flowid 1:1");
    let filtered = explain(&lab, &["198.51.100.7", "443/tcp"]);
    assert_eq!(filtered.json["verdict"], "unknown");
    assert!(filtered.text.contains("a u32 filter of tc on what enters wan0"), "{}", filtered.text);
    let lan = explain(&lab, &["192.0.2.20", "443/tcp"]);
    assert_eq!(lan.json["verdict"], "open", "it comes by another interface");
    let snapshot = lab.host.enter(|| {
        let options =
            Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
        observe(&options)
    });
    let found = exposure(&Analyzer::new(&snapshot), None, false);
    assert!(found.unseen.iter().any(|own| own.contains("u32 filter of tc")), "{:?}", found.unseen);
    tc("qdisc del dev wan0 clsact");

    // wg-quick's rules: what is not marked takes another table, but for what `main` knows better.
    lab.host.ip("link add tun0 type veth peer name tun0p");
    lab.host.ip("link set tun0 up");
    lab.host.ip("route add default dev tun0 table 51820");
    lab.host.ip("rule add not fwmark 51820 table 51820");
    lab.host.ip("rule add table main suppress_prefixlength 0");
    let own = explain(&lab, &["198.51.100.7", "443/tcp", "--via", "wan0"]);
    assert_eq!(own.json["verdict"], "open", "the local table comes first");
    let to_lan = explain(&lab, &["198.51.100.7", "80/tcp", "--to", "192.0.2.20", "--via", "wan0"]);
    assert_eq!(to_lan.json["ends"][0]["fate"]["forwarded"], "lan0");
    let away = explain(&lab, &["192.0.2.20", "80/tcp", "--to", "198.51.100.7", "--via", "lan0"]);
    assert_eq!(away.json["ends"][0]["fate"]["forwarded"], "tun0");
    lab.host.ip("rule add priority 5 uidrange 0-0 prohibit");
    let doubtful =
        explain(&lab, &["192.0.2.20", "80/tcp", "--to", "198.51.100.7", "--via", "lan0"]);
    assert_eq!(doubtful.json["verdict"], "unknown");
    assert!(doubtful.text.contains("uidrange"), "{}", doubtful.text);
}

#[test]
fn what_is_sent_to_a_group_that_nobody_has_joined_ends_at_routing() {
    let lab = Lab::new();
    lab.host.nft(
        "table inet t { counter came { }; counter passed { };
         chain before { type filter hook prerouting priority 0; udp dport 5353 counter name came; };
         chain input { type filter hook input priority 0; udp dport 5353 counter name passed; }; }",
    );
    let counted = |name: &str| {
        let text = lab.host.command("nft").args(["list", "counter", "inet", "t", name]).output();
        let text = String::from_utf8(text.unwrap().stdout).unwrap();
        let (_, behind) = text.split_once("packets ").unwrap();
        behind.split_whitespace().next().unwrap().parse::<u32>().unwrap()
    };
    let asked = |source: &str, group: &str| {
        let args = [source, "5353/udp", "--to", group, "--via", "lan0"];
        let explained = explain(&lab, &args);
        (explained.json["verdict"].as_str().unwrap().to_owned(), explained.text)
    };
    lab.lan.ip("route add 224.0.0.0/4 dev eth0");
    for (source, group, interface) in
        [("192.0.2.20", "239.1.2.3", "192.0.2.10"), ("2001:db8:2::20", "ff02::1:5", "lan0")]
    {
        let (came, passed) = (counted("came"), counted("passed"));
        let to = match group.parse::<IpAddr>().unwrap() {
            IpAddr::V4(own) => format!("{own}:5353"),
            IpAddr::V6(own) => format!("[{own}]:5353"),
        };
        net::send_udp(&lab.lan, &to, "eth0");
        assert_eq!((counted("came"), counted("passed")), (came + 1, passed), "{group}");
        let (verdict, text) = asked(source, group);
        assert_eq!(verdict, "closed", "{text}");
        assert!(text.contains("nobody here has joined"), "{text}");

        let listener = lab.host.listen_multicast(group.parse().unwrap(), 5353, interface);
        net::send_udp(&lab.lan, &to, "eth0");
        assert!(listener.wait_heard(1, std::time::Duration::from_secs(2)), "{group}");
        assert_eq!((counted("came"), counted("passed")), (came + 2, passed + 1), "{group}");
        let (verdict, text) = asked(source, group);
        assert_eq!(verdict, "open", "{text}");
    }
}
