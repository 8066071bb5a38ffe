//! Connections that were open before an apply go on after it, also where nothing had tracked them.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use host::Host;
use net::{HOST_LAN_V4, HOST_LAN_V6, INTERNET_V4, INTERNET_V6, Namespace, Session, tcp_stream};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Connections of every kind, opened before an apply.
struct Open {
    sessions: Vec<(String, Session)>,
    /// The host's end and the other end.
    pairs: Vec<(String, TcpStream, TcpStream)>,
    /// The same, for datagrams.
    datagrams: Vec<(String, UdpSocket, UdpSocket)>,
}

impl Open {
    fn on(host: &Host) -> Self {
        let sessions = host
            .clients()
            .into_iter()
            .map(|(from, address)| (format!("SSH at {address}"), host.ssh(from, address)))
            .collect();
        let mut pairs = Vec::new();
        for peer in [INTERNET_V4, INTERNET_V6] {
            let (there, here) = dial(&host.lab.host, &host.lab.internet, peer, 9000);
            pairs.push((format!("outbound to {peer}"), here, there));
        }
        // To a port that no policy here allows: what is open is not cut, either.
        for (from, address) in host.clients() {
            let (here, there) = dial(from, &host.lab.host, address, 7000);
            pairs.push((format!("inbound to {address}"), here, there));
        }
        let datagrams = [INTERNET_V4, INTERNET_V6]
            .map(|peer| {
                let there = host.lab.internet.enter(|| UdpSocket::bind((peer, 9001)).unwrap());
                let any: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
                let here = host.lab.host.enter(|| {
                    let socket = UdpSocket::bind((any, 0)).unwrap();
                    socket.connect((peer, 9001)).unwrap();
                    socket
                });
                there.connect(here.local_addr().unwrap()).unwrap();
                (format!("datagrams with {peer}"), here, there)
            })
            .into();
        Self { sessions, pairs, datagrams }
    }

    /// The other side alone speaks first, then the host answers.
    fn go_on(&mut self) {
        for (what, session) in &mut self.sessions {
            assert_eq!(session.try_ask("echo on").as_deref(), Some("on"), "{what} is cut");
        }
        for (what, here, there) in &mut self.pairs {
            assert!(carries(there, here), "{what} is cut: nothing comes in");
            assert!(carries(here, there), "{what} is cut: nothing goes out");
        }
        for (what, here, there) in &self.datagrams {
            here.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            there.send(b"word").unwrap();
            assert!(here.recv(&mut [0; 4]).is_ok(), "{what} are cut");
        }
    }
}

/// A listener's accepted end, and the dialling end.
fn dial(from: &Namespace, to: &Namespace, address: IpAddr, port: u16) -> (TcpStream, TcpStream) {
    let listener = to.enter(|| TcpListener::bind((address, port)).unwrap());
    let dialling = tcp_stream(from, (address, port)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (accepted, dialling)
}

fn carries(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut heard = [0; 4];
    from.write_all(b"word").is_ok() && to.read_exact(&mut heard).is_ok() && heard == *b"word"
}

#[test]
fn a_first_apply_cuts_nothing_where_nothing_tracked_connections() {
    let host = Host::without_docker();
    let mut open = Open::on(&host);
    assert_eq!(host.sh("conntrack -C"), "0", "the host tracks connections already");
    host.apply("version = 1\nuse = [\"web-server\"]\n");
    // Only now: whoever had spoken in between would have hidden what the apply did.
    open.go_on();
    // And for good: a second apply, and its absence, too.
    host.apply("version = 1\nuse = [\"ssh-only\"]\n");
    open.go_on();
    host.sh("fwctl off --no-confirm --yes");
    open.go_on();
}

#[test]
fn an_apply_cuts_nothing_on_a_docker_host() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    let mut open = Open::on(&host);
    // A client of the published container, and the container's own connection outwards.
    let published = [
        tcp_stream(&host.lab.lan, (HOST_LAN_V4, 5432)).unwrap(),
        tcp_stream(&host.lab.lan, (HOST_LAN_V6, 5432)).unwrap(),
    ];
    host.apply("version = 1\nuse = [\"web-server\"]\n");
    open.go_on();
    for mut stream in published {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP");
    }
}
