//! Connections that are open, real ones, as a snapshot tells them: few and many, which the kernel
//! is asked for by different ways.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::model::Protocol;
use fwctl::model::nft::Ruleset;
use fwctl::observe::{Flow, Options, observe_with};
use net::{HOST_WAN_V4, HOST_WAN_V6, Lab};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// Tracks connections of both IP versions, and translates port 2222 to 22.
const TABLE: &str = "table inet test {
    chain nat { type nat hook prerouting priority dstnat; tcp dport 2222 redirect to :22; }
    chain input { type filter hook input priority filter; ct state new counter; }
}";

fn flows(lab: &Lab) -> Vec<Flow> {
    let options = Options { engines: Vec::new(), ..Options::default() };
    lab.host.enter(|| observe_with(&options, || (Ruleset::default(), Vec::new()))).flows
}

/// What the client and the server know of it: protocol, client, what was dialled, who answers.
type Ends = (u8, SocketAddr, SocketAddr, SocketAddr);

fn ends(flow: &Flow) -> Ends {
    (flow.protocol.0, flow.source, flow.dialled, flow.served)
}

struct Connections {
    tcp: Vec<(TcpStream, TcpStream)>,
    udp: Vec<(UdpSocket, UdpSocket)>,
    ends: BTreeSet<Ends>,
}

/// Opens so many connections of each kind from the internet to the host.
fn open(lab: &Lab, count: u16) -> Connections {
    let mut all = Connections { tcp: Vec::new(), udp: Vec::new(), ends: BTreeSet::new() };
    for address in [HOST_WAN_V4, HOST_WAN_V6] {
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        // Not at all addresses: the one before may live on for a moment in a child that begins.
        let listener = lab.host.enter(|| TcpListener::bind((address, 22))).unwrap();
        for number in 0..count {
            for port in [22, 2222] {
                let client = lab.internet.enter(|| TcpStream::connect((address, port))).unwrap();
                let (server, _) = listener.accept().unwrap();
                let source = client.local_addr().unwrap();
                let ssh = SocketAddr::new(address, 22);
                all.ends.insert((6, source, SocketAddr::new(address, port), ssh));
                all.tcp.push((client, server));
            }
            let to = SocketAddr::new(address, 5000 + number);
            let server = lab.host.enter(|| UdpSocket::bind(to)).unwrap();
            let client = lab.internet.enter(|| UdpSocket::bind((any, 0))).unwrap();
            client.connect(to).unwrap();
            client.send(b"?").unwrap();
            let (_, source) = server.recv_from(&mut [0]).unwrap();
            server.send_to(b"!", source).unwrap();
            client.recv(&mut [0]).unwrap();
            all.ends.insert((17, source, to, to));
            all.udp.push((server, client));
        }
    }
    all
}

#[test]
fn few_and_many_connections_are_told_alike() {
    for count in [1, 2, 20] {
        let lab = Lab::new();
        lab.host.nft(TABLE);
        assert_eq!(flows(&lab), [], "nobody has connected");
        let open = open(&lab, count);
        let found = flows(&lab);
        assert_eq!(found.iter().map(ends).collect::<BTreeSet<_>>(), open.ends, "{count} of each");
        assert_eq!(found.len(), open.tcp.len() + open.udp.len(), "each is told once");
        for flow in &found {
            assert!(flow.tracked && flow.since.is_none(), "{flow:?}");
            assert_eq!(flow.seen, flow.source);
            assert_eq!(flow.interface.as_ref().map(ToString::to_string).as_deref(), Some("wan0"));
        }
        assert!(found.iter().any(|flow| flow.protocol == Protocol::UDP));
    }
}

#[test]
fn since_when_a_connection_is_open_is_told_where_the_kernel_keeps_it() {
    let lab = Lab::new();
    lab.host.nft(TABLE);
    lab.host.sysctl("netfilter/nf_conntrack_timestamp", "1");
    let before = jiff::Timestamp::now();
    let open = open(&lab, 1);
    let found = flows(&lab);
    assert_eq!(found.len(), open.tcp.len() + open.udp.len());
    for flow in &found {
        let since = flow.since.unwrap();
        assert!(before <= since && since <= jiff::Timestamp::now(), "{flow:?}");
    }
}
