//! Packets during 1,000 applies that alternate two policies: none denied, leaked or lost.
//!
//! The control loads the same tables by `delete table` and re-creating them in one `nft -f`, while
//! the same probes run: what it loses shows that the probes see losses.

use crate::measure::{Line, run as call};
use crate::net::{HOST_WAN_V4, INTERNET_V4, Lab};
use crate::table::{Goal, Table};
use crate::{Size, policies};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size_force, socket_error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// From one round of probes to the next. Each round is five packets or connections.
const EVERY: Duration = Duration::from_micros(200);
/// How long a probe of a closed port may be answered. The kernel sends a SYN again after a second.
const LISTEN: Duration = Duration::from_millis(20);
/// An open port that answers later than this dropped the first SYN.
const DENIED: Duration = Duration::from_millis(900);
const OPEN: u16 = 80;
const CLOSED: u16 = 5432;
const ESTABLISHED: u16 = 4_000;

/// Both let 80 in and 5432 not; between them, chains, maps, sets, rules and the chain that port 80
/// leads to change.
const POLICIES: [&str; 2] = [
    policies::SMALL,
    "version = 1\n\
     [zone.admin]\naddresses = [\"198.51.100.0/24\", \"2001:db8:7::/48\"]\n\
     [[allow]]\nservice = [\"ssh\"]\nfrom = [\"admin\"]\nlimit = \"6/minute burst 10\"\n\
     [[allow]]\nports = [\"80/tcp\", \"9000-9100/udp\"]\nlog = true\n\
     [[deny]]\nservice = [\"databases\"]\n",
];
/// What both let in besides: datagrams, each of which is new because nobody answers.
const ALSO: &str = "[[allow]]\nports = [\"80/udp\"]\n";

/// What became of the probes.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    probes: u64,
    denied: u64,
    leaked: u64,
    lost: u64,
    seconds: f64,
}

/// Applies and probes.
pub fn run(size: Size, table: &mut Table) {
    let lab = Lab::new();
    lab.host.sysctl("netfilter/nf_conntrack_tcp_timeout_close", "1");
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let files: Vec<String> = POLICIES
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = policies::write(root, &format!("{number}.toml"), &format!("{text}{ALSO}"));
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let apply = |number: usize| {
        let program = env!("CARGO_BIN_EXE_fwctl");
        let line: Line =
            &[program, "apply", "--no-confirm", "--yes", "--policy", &files[number % 2]];
        call(line, root);
    };
    // The control's transactions: the very tables that fwctl has put there.
    let mut reloads = Vec::new();
    for number in 0..2 {
        lab.host.enter(|| apply(number));
        let listed =
            crate::net::run(lab.host.command("nft").args(["list", "table", "inet", "fwctl"]));
        let path = root.join(format!("{number}.nft"));
        std::fs::write(&path, format!("delete table inet fwctl\n{listed}")).unwrap();
        reloads.push(path.to_str().unwrap().to_owned());
    }

    let count = size.of(1_000, 20);
    let seen = during(&lab, || (0..count).for_each(&apply));
    let probes = |seen: &Seen| format!("{} probes in {:.0} s", seen.probes, seen.seconds);
    let of = probes(&seen);
    let what = |what: &str| format!("{what}, {count} applies");
    table.count("swap", &what("open port, denied"), Goal::Zero, seen.denied, &of);
    table.count("swap", &what("closed port, leaked"), Goal::Zero, seen.leaked, &of);
    table.count("swap", &what("established, lost"), Goal::Zero, seen.lost, &of);
    #[expect(clippy::cast_precision_loss, reason = "counts of packets are small")]
    table.number("swap", "probes a second", seen.probes as f64 / seen.seconds);

    let count = size.of(500, 20);
    let reload = |number: usize| {
        call(&["/usr/sbin/nft", "-f", &reloads[number % 2]], Path::new("/"));
    };
    let control = during(&lab, || (0..count).for_each(reload));
    let all = control.denied + control.leaked + control.lost;
    let what = format!("control, all errors, {count} times delete and re-create");
    let goal = if size.smoke { Goal::None } else { Goal::Some };
    table.count("swap", &what, goal, all, &probes(&control));
}

/// Probes while `work` runs in the host's namespace.
fn during(lab: &Lab, work: impl FnOnce() + Send) -> Seen {
    let mut probe = Probe::new(lab);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            lab.internet.enter(|| probe.run(&stop));
            probe.seen
        });
        // Also where the work panics, so that the prober ends.
        let stop_later = StopOnDrop(&stop);
        lab.host.enter(work);
        drop(stop_later);
        prober.join().unwrap()
    })
}

struct StopOnDrop<'s>(&'s AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A way from the client to the host on which each datagram is counted.
struct Flow {
    client: UdpSocket,
    host: UdpSocket,
    sent: u64,
    received: u64,
}

impl Flow {
    fn new(lab: &Lab, from: u16, to: u16) -> Self {
        let bound = |address: SocketAddr| {
            let socket = UdpSocket::bind(address).unwrap();
            set_socket_recv_buffer_size_force(&socket, 4 << 20).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let client = lab.internet.enter(|| bound((INTERNET_V4, from).into()));
        let host = lab.host.enter(|| bound((HOST_WAN_V4, to).into()));
        client.connect((HOST_WAN_V4, to)).unwrap();
        Self { client, host, sent: 0, received: 0 }
    }

    fn send(&mut self) {
        self.client.send(b"probe").unwrap();
        self.sent += 1;
    }

    fn receive(&mut self) {
        while self.host.recv(&mut [0; 16]).is_ok() {
            self.received += 1;
        }
    }
}

/// A TCP connection that is being opened.
struct Opening(OwnedFd, Instant);

struct Probe {
    established: Flow,
    open: Flow,
    closed: Flow,
    open_listener: TcpListener,
    closed_listener: TcpListener,
    opening: VecDeque<Opening>,
    hoping: VecDeque<Opening>,
    seen: Seen,
}

impl Probe {
    fn new(lab: &Lab) -> Self {
        let listen = |port| {
            let listener = lab.host.enter(|| TcpListener::bind((HOST_WAN_V4, port)).unwrap());
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let established = Flow::new(lab, ESTABLISHED, ESTABLISHED);
        // The host speaks first.
        established.host.send_to(b"first", (INTERNET_V4, ESTABLISHED)).unwrap();
        Self {
            established,
            open: Flow::new(lab, 4_001, OPEN),
            closed: Flow::new(lab, 4_002, CLOSED),
            open_listener: listen(OPEN),
            closed_listener: listen(CLOSED),
            opening: VecDeque::new(),
            hoping: VecDeque::new(),
            seen: Seen::default(),
        }
    }

    fn run(&mut self, stop: &AtomicBool) {
        let start = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let next = Instant::now() + EVERY;
            self.established.send();
            self.open.send();
            self.closed.send();
            self.opening.push_back(syn(OPEN));
            self.hoping.push_back(syn(CLOSED));
            self.seen.probes += 5;
            self.look(LISTEN);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.seen.seconds = start.elapsed().as_secs_f64();
        // Whoever was dropped is late now.
        std::thread::sleep(DENIED + Duration::from_millis(300));
        self.look(Duration::ZERO);
        self.seen.denied += self.opening.len() as u64;
        self.opening.clear();
        self.seen.denied += self.open.sent - self.open.received;
        self.seen.leaked += self.closed.received;
        self.seen.lost += self.established.sent - self.established.received;
    }

    /// Takes in what has arrived; a closed port's silence counts once it has lasted for `listen`.
    fn look(&mut self, listen: Duration) {
        for flow in [&mut self.established, &mut self.open, &mut self.closed] {
            flow.receive();
        }
        while let Ok((stream, _)) = self.open_listener.accept() {
            set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
        while self.closed_listener.accept().is_ok() {
            self.seen.leaked += 1;
        }
        let mut late = 0;
        self.opening.retain(|Opening(socket, since)| {
            let answered = is_answered(socket);
            if answered {
                // A reset of what was open before is the host's, which closes at once.
                let error = socket_error(socket).and_then(|error| error);
                let refused = !matches!(error, Ok(()) | Err(Errno::CONNRESET));
                late += u64::from(refused || since.elapsed() > DENIED);
                let _ = set_socket_linger(socket, Some(Duration::ZERO));
            }
            !answered
        });
        self.seen.denied += late;
        while self.hoping.front().is_some_and(|Opening(_, since)| since.elapsed() >= listen) {
            let Some(Opening(socket, _)) = self.hoping.pop_front() else { break };
            self.seen.leaked += u64::from(is_answered(&socket));
        }
    }
}

/// Sends a SYN from a port of its own.
fn syn(port: u16) -> Opening {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let since = Instant::now();
    let address = SocketAddr::from((HOST_WAN_V4, port));
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => panic!("a probe could not be sent: {error}"),
    }
    Opening(socket, since)
}

/// Connected, or refused.
fn is_answered(socket: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut polled, Some(&now)).unwrap() > 0
}
