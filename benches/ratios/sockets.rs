//! Every socket with its owners, as fwctl reads them ÷ `ss -lntup`.

use crate::Size;
use crate::measure::{Line, Pairs, peak, time};
use crate::net::Namespace;
use crate::table::{Goal, Table};
use fwctl::observe::SocketState;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};

/// The argument with which this program starts itself to print all sockets.
pub const READ: &str = "--read-sockets";
/// The argument with which it starts itself to listen.
pub const LISTEN: &str = "--listen";

const OURS: Line = &["/proc/self/exe", READ];
const PEER: Line = &["ss", "-lntup"];

/// Listens at 1,000 and at 50,000 places, half of them UDP, and measures.
pub fn run(size: Size, table: &mut Table) {
    let goals = [(1_000, 20, Goal::AtMost(0.5), 20), (50_000, 50, Goal::AtMost(0.15), 5)];
    for (count, processes, goal, rounds) in goals {
        let count = size.of(count, count / 10);
        let namespace = Namespace::new("sockets");
        let _listeners = Listeners::start(&namespace, count, processes);
        let root = Path::new("/");
        let (pairs, memory) = namespace.enter(|| {
            let rounds = size.of(rounds, 1);
            let pairs = Pairs::take(rounds, || time(&[OURS], root), || time(&[PEER], root));
            (pairs, (peak(OURS, root), peak(PEER, root)))
        });
        let what = format!("with owners, {count} listeners ÷ `ss -lntup`");
        table.ratio("sockets", &what, goal, &pairs, Some(memory));
    }
}

/// Prints every socket of this namespace with its owners, as `ss -lntup` does.
pub fn read() -> ExitCode {
    let (sockets, _) = fwctl::observe::sockets();
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    // Many sockets have the same address.
    let mut last = (None, String::new());
    for socket in &sockets {
        let (address, port) = (socket.local.ip(), socket.local.port());
        if last.0 != Some(address) {
            last = (Some(address), address.to_string());
        }
        let state = match socket.state {
            SocketState::Listening => "listening",
            SocketState::Connected => "connected",
        };
        let _ = write!(out, "{} {state} {}:{port}", socket.protocol, last.1);
        for name in socket.owners.iter().flat_map(|own| [&own.process, &own.unit]).flatten() {
            let _ = out.write_all(b" ").and_then(|()| out.write_all(name.as_bytes()));
        }
        let _ = out.write_all(b"\n");
    }
    ExitCode::SUCCESS
}

/// Processes that listen until this is dropped.
struct Listeners(Vec<Child>);

impl Listeners {
    fn start(namespace: &Namespace, count: usize, processes: usize) -> Self {
        let each = count / processes;
        let own = std::env::current_exe().unwrap();
        let mut children = Vec::new();
        for number in 0..processes {
            let mut command = namespace.command(own.to_str().unwrap());
            command.args([LISTEN, &number.to_string(), &each.to_string()]);
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            children.push(child);
        }
        for child in &mut children {
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "listening\n");
        }
        Self(children)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Listens on so many ports of all addresses, each process on ports of its own, until standard
/// input ends.
pub fn listen(numbers: &[&str]) -> ExitCode {
    let number: u16 = numbers[0].parse().unwrap();
    let count: u16 = numbers[1].parse().unwrap();
    let each = count / 2;
    let first = 2_000 + number * each;
    let mut tcp = Vec::new();
    let mut udp = Vec::new();
    for port in first..first + each {
        tcp.push(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        udp.push(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    }
    println!("listening");
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}
