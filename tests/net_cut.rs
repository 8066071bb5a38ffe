//! Connections that a change denies: the plan lists them, `--cut` ends them for both sides, and
//! nothing else.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use net::{HOST_WAN_V4, HOST_WAN_V6, Host, Lab, Namespace, tcp_stream};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const OPEN: &str = "[[allow]]\nports = [\"22/tcp\", \"80/tcp\", \"5432/tcp\", \"5353/udp\"]\n";
const CLOSED: &str = "[[allow]]\nports = [\"22/tcp\", \"80/tcp\"]\n";

/// Both ends of a TCP connection: the client's, and the one that the listener accepted.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn open(from: &Namespace, to: IpAddr, port: u16, listener: &TcpListener) -> Self {
        let client = tcp_stream(from, (to, port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut pair = Self { client, server };
        assert!(pair.lives());
        pair
    }

    /// Whether both sides still reach each other.
    fn lives(&mut self) -> bool {
        carries(&mut self.client, &mut self.server) && carries(&mut self.server, &mut self.client)
    }

    /// Neither side reaches the other any more, whoever begins, and both know.
    fn is_over(&mut self) {
        // The server first: what it sends is let out of any host.
        assert!(
            !carries(&mut self.server, &mut self.client),
            "the server still reaches the client"
        );
        assert!(
            !carries(&mut self.client, &mut self.server),
            "the client still reaches the server"
        );
        assert!(
            !carries(&mut self.server, &mut self.client),
            "the server reaches the client again"
        );
        let mut byte = [0];
        for (who, end) in [("client", &mut self.client), ("server", &mut self.server)] {
            match end.read(&mut byte) {
                Ok(0) => {}
                Ok(_) => panic!("the {who} still hears something"),
                Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "the {who} waits"),
            }
        }
    }
}

fn carries(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut heard = [0; 4];
    from.write_all(b"word").is_ok() && to.read_exact(&mut heard).is_ok() && heard == *b"word"
}

fn listener(on: &Namespace, address: &str) -> TcpListener {
    on.enter(|| TcpListener::bind(address).unwrap())
}

#[test]
fn what_a_change_denies_is_listed_and_closed_and_the_rest_goes_on() {
    let lab = Lab::new();
    let (web, db) = (listener(&lab.host, "[::]:80"), listener(&lab.host, "[::]:5432"));
    let _ssh = lab.host.listen_tcp("[::]:22");
    let host = Host::new(&lab.host);
    host.policy(OPEN);
    host.run("apply --yes --no-confirm", 0);
    lab.host.sysctl("netfilter/nf_conntrack_timestamp", "1");
    let mut allowed = Pair::open(&lab.internet, HOST_WAN_V4, 80, &web);
    let mut four = Pair::open(&lab.internet, HOST_WAN_V4, 5432, &db);
    let mut six = Pair::open(&lab.internet, HOST_WAN_V6, 5432, &db);
    host.policy(CLOSED);
    let plan = host.run("plan", 0);
    assert!(plan.contains("Open now, and not let in anew"), "{plan}");
    for pair in [&four, &six] {
        let client = pair.client.local_addr().unwrap();
        assert!(plan.contains(&format!("tcp from {client} to ")), "{plan}");
    }
    assert!(!plan.contains(&allowed.client.local_addr().unwrap().to_string()), "{plan}");
    // Warnings may follow it.
    let printed = host.run("plan --format json", 0);
    let mut values = serde_json::Deserializer::from_str(&printed).into_iter();
    let json: serde_json::Value = values.next().unwrap().unwrap();
    assert_eq!(json["established"].as_array().unwrap().len(), 2);
    assert_eq!(json["established"][0]["own"], false);
    assert!(json["established"][0]["since"].is_string(), "{json}");

    // Without being asked to, a change cuts nothing.
    host.run("apply --yes --no-confirm", 0);
    for pair in [&mut allowed, &mut four, &mut six] {
        assert!(pair.lives());
    }
    // Nothing is left to change, but they can still be closed.
    let said = host.run("apply --yes --no-confirm --cut", 0);
    assert!(said.contains("2 connections closed"), "{said}");
    four.is_over();
    six.is_over();
    assert!(allowed.lives());
    assert!(!host.run("plan", 0).contains("not let in anew"));
}

#[test]
fn a_change_that_waits_cuts_once_it_is_kept() {
    let lab = Lab::new();
    let db = listener(&lab.host, "[::]:5432");
    let host = Host::new(&lab.host);
    host.policy(OPEN);
    host.run("apply --yes --no-confirm", 0);
    let mut pair = Pair::open(&lab.internet, HOST_WAN_V4, 5432, &db);
    host.policy(CLOSED);
    host.run("apply --yes --cut", 0);
    assert!(pair.lives(), "while it waits, nothing is closed");
    host.run("rollback", 0);
    assert!(pair.lives(), "and nothing when it is taken back");
    host.run("apply --yes --cut", 0);
    let said = host.run("confirm", 0);
    assert!(said.contains("1 connection closed"), "{said}");
    pair.is_over();
}

#[test]
fn a_rollback_cuts_what_only_the_change_had_let_in() {
    let lab = Lab::new();
    let (web, db) = (listener(&lab.host, "[::]:80"), listener(&lab.host, "[::]:5432"));
    let host = Host::new(&lab.host);
    host.policy(OPEN);
    host.run("apply --yes --no-confirm", 0);
    let mut before = Pair::open(&lab.internet, HOST_WAN_V4, 5432, &db);
    host.policy(CLOSED);
    host.run("apply --yes --no-confirm", 0);
    for (change, undone) in [("apply --yes", "rollback --cut"), ("off --yes", "rollback --cut")] {
        host.policy(OPEN);
        host.run(change, 0);
        let mut during = Pair::open(&lab.internet, HOST_WAN_V6, 5432, &db);
        let mut allowed = Pair::open(&lab.internet, HOST_WAN_V6, 80, &web);
        host.run(undone, 0);
        during.is_over();
        assert!(allowed.lives(), "{change}");
        assert!(before.lives(), "{change}: it was open before");
    }
    // Without `--cut` they go on.
    host.run("apply --yes", 0);
    let mut during = Pair::open(&lab.internet, HOST_WAN_V6, 5432, &db);
    host.run("rollback", 0);
    assert!(during.lives());
}

#[test]
fn connections_of_containers_end_at_both_ends() {
    let lab = Lab::new();
    lab.bridge("docker0", "172.17.0.1/16", "2001:db8:d0::1/64");
    let container = lab.container(
        "docker0",
        "172.17.0.2/16",
        "2001:db8:d0::2/64",
        ("172.17.0.1", "2001:db8:d0::1"),
    );
    lab.host.nft(
        "table inet engine {
            chain prerouting {
                type nat hook prerouting priority dstnat
                iifname wan0 meta nfproto ipv4 tcp dport 5432 dnat ip to 172.17.0.2:5432
                iifname wan0 meta nfproto ipv6 tcp dport 5432 dnat ip6 to [2001:db8:d0::2]:5432
            }
            chain postrouting {
                type nat hook postrouting priority srcnat
                oifname wan0 masquerade
            }
        }",
    );
    // Something of the container lives in its namespace, as its processes do.
    let mut inside = container.command("sleep").arg("60").spawn().unwrap();
    let db = listener(&container, "[::]:5432");
    let on_host = listener(&lab.host, "[::]:8000");
    let host = Host::new(&lab.host);
    host.policy("[[allow]]\nports = [\"22/tcp\", \"5432/tcp\", \"8000/tcp\"]\n");
    host.run("apply --yes --no-confirm", 0);
    let mut four = Pair::open(&lab.internet, HOST_WAN_V4, 5432, &db);
    let mut six = Pair::open(&lab.internet, HOST_WAN_V6, 5432, &db);
    // From a container to the host, and outwards.
    let gateway: IpAddr = "172.17.0.1".parse().unwrap();
    let mut inward = Pair::open(&container, gateway, 8000, &on_host);
    let outside = listener(&lab.internet, "[::]:9000");
    let mut outward = Pair::open(&container, net::INTERNET_V4, 9000, &outside);
    host.policy("[[allow]]\nports = [\"22/tcp\"]\n");
    let plan = host.run("plan", 0);
    for (from, to) in [
        (four.client.local_addr().unwrap(), "203.0.113.10:5432"),
        (six.client.local_addr().unwrap(), "[2001:db8:1::10]:5432"),
        (inward.client.local_addr().unwrap(), "172.17.0.1:8000"),
    ] {
        assert!(plan.contains(&format!("tcp from {from} to {to}")), "{from} in\n{plan}");
    }
    assert!(!plan.contains(":9000"), "what containers send out is left to them:\n{plan}");
    // Somebody else's listener on the same port is not taken for the connection.
    let elsewhere = Namespace::new("elsewhere");
    let mut lives = elsewhere.command("sleep").arg("60").spawn().unwrap();
    let other = listener(&elsewhere, "[::]:5432");
    let said = host.run("apply --yes --no-confirm --cut", 0);
    assert!(said.contains("3 connections closed"), "{said}");
    Pair::open(&elsewhere, [127, 0, 0, 1].into(), 5432, &other);
    four.is_over();
    six.is_over();
    inward.is_over();
    assert!(outward.lives());
    for child in [&mut inside, &mut lives] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn datagrams_are_denied_once_they_are_no_connection_any_more() {
    let lab = Lab::new();
    let host = Host::new(&lab.host);
    let echo = lab.host.listen_udp("[::]:5353");
    host.policy(OPEN);
    host.run("apply --yes --no-confirm", 0);
    let client = lab.internet.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    client.connect((HOST_WAN_V4, 5353)).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let answered = || client.send(b"word").is_ok() && client.recv(&mut [0; 8]).is_ok();
    assert!(answered());
    host.policy(CLOSED);
    host.run("apply --yes --no-confirm", 0);
    assert!(answered(), "it goes on");
    host.run("apply --yes --cut", 0);
    let heard = echo.heard();
    assert!(!answered() && !answered());
    assert_eq!(echo.heard(), heard, "the service hears nothing any more");
}
