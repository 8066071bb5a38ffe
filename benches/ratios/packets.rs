//! What a packet costs with a firewall, less what it costs without one, per packet and connection.
//!
//! Each firewall has a host and a client of its own, wired in the same way. One thread on one CPU
//! sends from the client and receives on the host: the packet passes the host's hooks within the
//! send. The firewalls take turns, a few milliseconds each, and what is compared is the median
//! packet of each turn.

use crate::measure::{Pairs, median, run as call};
use crate::net::{HOST_WAN_V4, INTERNET_V4, Lab};
use crate::table::{Goal, Table};
use crate::{Size, policies, ufw};
use nix::sched::{CpuSet, sched_setaffinity};
use rustix::net::sockopt::set_socket_linger;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Small enough for a socket's buffer, and so short that most bursts run without an interruption:
/// the median of some is then the cost itself, however busy the machine is.
const BURST: u32 = 64;

/// A host behind a firewall, with what is sent to it.
struct Firewall {
    lab: Lab,
    client: UdpSocket,
    host: UdpSocket,
    web: TcpListener,
    database: TcpListener,
}

impl Firewall {
    fn new(load: impl FnOnce(&Lab)) -> Self {
        let lab = Lab::new();
        load(&lab);
        let client = lab.internet.enter(|| UdpSocket::bind((INTERNET_V4, 4_000)).unwrap());
        let host = lab.host.enter(|| UdpSocket::bind((HOST_WAN_V4, 4_000)).unwrap());
        client.connect((HOST_WAN_V4, 4_000)).unwrap();
        host.connect((INTERNET_V4, 4_000)).unwrap();
        for socket in [&client, &host] {
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        }
        // The host speaks first: what comes back is established behind every firewall.
        host.send(b"first").unwrap();
        client.recv(&mut [0; 16]).unwrap();
        let web = lab.host.enter(|| TcpListener::bind((HOST_WAN_V4, 80)).unwrap());
        let database = lab.host.enter(|| TcpListener::bind((HOST_WAN_V4, 5433)).unwrap());
        // Closed connections are forgotten at once instead of after ten seconds.
        lab.host.sysctl("netfilter/nf_conntrack_tcp_timeout_close", "1");
        Self { lab, client, host, web, database }
    }

    fn none() -> Self {
        Self::new(|_| ())
    }

    fn fwctl(policy: &str) -> Self {
        Self::new(|lab| {
            let root = tempfile::tempdir().unwrap();
            policies::write(root.path(), "policy.toml", policy);
            let apply = &[env!("CARGO_BIN_EXE_fwctl"), "apply", "--no-confirm", "--yes"];
            lab.host.enter(|| call(apply, root.path()));
        })
    }

    /// Seconds for a datagram of an established flow: the median of so many bursts.
    fn established(&self, bursts: usize) -> f64 {
        let mut buffer = [0; 16];
        let burst = || {
            let start = Instant::now();
            for _ in 0..BURST {
                self.client.send(b"datagram").unwrap();
            }
            for _ in 0..BURST {
                self.host.recv(&mut buffer).unwrap();
            }
            start.elapsed().as_secs_f64() / f64::from(BURST)
        };
        median(std::iter::repeat_with(burst).take(bursts))
    }

    /// Seconds for a connection, opened and reset by the client: the median of so many.
    fn connections(&self, listener: &TcpListener, count: usize) -> f64 {
        let address = listener.local_addr().unwrap();
        let connection = || {
            let start = Instant::now();
            let client = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
            let (host, _): (TcpStream, SocketAddr) = listener.accept().unwrap();
            // A reset leaves no half-closed connection behind on either side.
            set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
            drop(client);
            drop(host);
            start.elapsed().as_secs_f64()
        };
        self.lab.internet.enter(|| {
            on_one_cpu();
            median(std::iter::repeat_with(connection).take(count))
        })
    }
}

/// Pins this thread to the last CPU: interrupts mostly go to the first.
fn on_one_cpu() {
    let last = std::thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let mut set = CpuSet::new();
    // Where this process may not run on that one, anywhere is better than nowhere.
    if set.set(last).is_ok() {
        let _ = sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}

/// Measures all firewalls.
pub fn run(size: Size, table: &mut Table) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            on_one_cpu();
            measure(size, table);
        });
    });
}

fn measure(size: Size, table: &mut Table) {
    let prefixes = policies::prefixes(u32::try_from(size.of(10_000, 500)).unwrap());
    let none = Firewall::none();
    let minimal = Firewall::new(|lab| {
        lab.host.nft(
            "table inet bare { chain input { type filter hook input priority filter; \
             ct state established accept; }; }",
        );
    });
    let small = Firewall::fwctl(policies::SMALL);
    let large = Firewall::fwctl(&prefixes);
    let ufw = Firewall::new(|lab| ufw::enable(&lab.host));

    let mut established: [Pairs; 3] = Default::default();
    let mut new: [Pairs; 4] = Default::default();
    let packets = size.of(100, 10);
    let connections = size.of(200, 20);
    for round in 0..=size.of(200, 1) {
        let base = none.established(packets);
        let over = |firewall: &Firewall| firewall.established(packets) - base;
        let (ours, others, many, theirs) = (over(&small), over(&minimal), over(&large), over(&ufw));
        let base = none.connections(&none.web, connections);
        let over = |firewall: &Firewall, listener: &TcpListener| {
            firewall.connections(listener, connections) - base
        };
        let new_ours = over(&small, &small.web);
        let new_bare = over(&minimal, &minimal.web);
        let new_ufw = over(&ufw, &ufw.web);
        let new_large = over(&large, &large.web);
        let new_prefixes = over(&large, &large.database);
        if round == 0 {
            continue;
        }
        established[0].push(ours, others);
        established[1].push(ours, theirs);
        established[2].push(many, ours);
        new[0].push(new_ours, new_ufw);
        new[1].push(new_ours, new_bare);
        new[2].push(new_large, new_ours);
        new[3].push(new_prefixes, new_ours);
    }
    let mut row = |what: &str, goal, pairs: &Pairs| {
        table.ratio("packets", &format!("overhead of {what}"), goal, pairs, None);
    };
    row(
        "an established packet ÷ of a bare `ct state established accept`",
        Goal::AtMost(1.05),
        &established[0],
    );
    row("an established packet ÷ of ufw's", Goal::AtMost(0.7), &established[1]);
    row("an established packet, 10,000 prefixes ÷ 5 ports", Goal::AtMost(1.05), &established[2]);
    row("a new connection ÷ of ufw's", Goal::AtMost(0.8), &new[0]);
    row("a new connection ÷ of a bare `ct state established accept`", Goal::None, &new[1]);
    row("a new connection, 10,000 prefixes ÷ 5 ports", Goal::AtMost(1.05), &new[2]);
    row(
        "a new connection to the port that the 10,000 prefixes may dial ÷ 5 ports",
        Goal::None,
        &new[3],
    );
}
