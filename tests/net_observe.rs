//! Real sockets, links and sessions in namespaces of our own, as a snapshot tells them.
#![allow(clippy::unwrap_used)]

mod net;

use fwctl::model::nft::Ruleset;
use fwctl::model::{Bind, Protocol, ServedBy};
use fwctl::observe::{
    LinkKind, Options, Snapshot, Socket, SocketState, Warning, endpoints, observe_with,
};
use net::Namespace;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn look(namespace: &Namespace) -> Snapshot {
    look_as(namespace, std::process::id())
}

/// A snapshot of the namespace, as the process sees it whose session is asked for.
fn look_as(namespace: &Namespace, process: u32) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, process, ..Options::default() };
    let snapshot = namespace.enter(|| observe_with(&options, || (Ruleset::default(), Vec::new())));
    let bad: Vec<&Warning> = snapshot
        .warnings
        .iter()
        // The first process of a virtual machine may be more than root.
        .filter(|warning| !warning.message.starts_with("the descriptors of"))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    snapshot
}

/// A socket as one line: protocol, local, remote, state, flags.
fn line(socket: &Socket) -> String {
    let mut line = format!("{} {}", socket.protocol, socket.local);
    if let Some(remote) = socket.remote {
        line = format!("{line} - {remote}");
    }
    if socket.v6only {
        line += " v6only";
    }
    if let Some(device) = &socket.device {
        line = format!("{line} on {device}");
    }
    line
}

fn lines(snapshot: &Snapshot) -> Vec<String> {
    snapshot.sockets.iter().map(line).collect()
}

/// A TCP listener with options that std does not set.
fn tcp_listener(address: &str, v6only: bool) -> OwnedFd {
    let address: SocketAddr = address.parse().unwrap();
    let fd =
        socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    set_ipv6_v6only(&fd, v6only).unwrap();
    set_socket_reuseaddr(&fd, true).unwrap();
    bind(&fd, &address).unwrap();
    listen(&fd, 8).unwrap();
    fd
}

#[test]
fn sockets_are_told_as_they_are() {
    let host = Namespace::new("host");
    let peer = Namespace::new("peer");
    host.link("lan0", &peer, "eth0");
    host.ip("addr add 203.0.113.5/24 dev lan0");
    host.ip("addr add fe80::5/64 dev lan0 nodad");
    let index: u32 = host.enter(|| {
        std::fs::read_to_string("/proc/thread-self/net/if_inet6")
            .unwrap()
            .lines()
            .find(|line| line.ends_with("lan0"))
            .map(|line| u32::from_str_radix(line.split(' ').nth(1).unwrap(), 16).unwrap())
            .unwrap()
    });
    let held = host.enter(|| {
        let mut held: Vec<OwnedFd> = Vec::new();
        held.push(tcp_listener("[::]:1001", false));
        held.push(tcp_listener("[::]:1002", true));
        held.push(TcpListener::bind("0.0.0.0:1003").unwrap().into());
        held.push(TcpListener::bind("127.0.0.1:1004").unwrap().into());
        held.push(TcpListener::bind("203.0.113.5:1005").unwrap().into());
        held.push(tcp_listener(&format!("[fe80::5%{index}]:1006"), false));
        held.push(tcp_listener("[::ffff:127.0.0.1]:1007", false));
        let udp = UdpSocket::bind("0.0.0.0:2001").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:2002").unwrap();
        connected.connect("127.0.0.1:2001").unwrap();
        held.push(udp.into());
        held.push(connected.into());
        held
    });
    let bound = host.enter(|| {
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).unwrap();
        setsockopt(&fd, BindToDevice, &"lan0".into()).unwrap();
        bind(&fd, &"0.0.0.0:2003".parse::<SocketAddr>().unwrap()).unwrap();
        fd
    });
    // A connection: both ends are here.
    let client = host.enter(|| TcpStream::connect("127.0.0.1:1004").unwrap());
    let port = client.local_addr().unwrap().port();
    // A socket that is bound to nothing is no endpoint.
    let unbound = host.enter(|| {
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
    });

    let snapshot = look(&host);
    let mut expected = vec![
        "tcp 0.0.0.0:1003".to_owned(),
        "tcp 127.0.0.1:1004".to_owned(),
        "tcp 127.0.0.1:1007".to_owned(),
        "tcp 203.0.113.5:1005".to_owned(),
        "tcp [::]:1001".to_owned(),
        "tcp [::]:1002 v6only".to_owned(),
        // The kernel sets IPV6_V6ONLY itself for an address that is no wildcard.
        format!("tcp [fe80::5%{index}]:1006 v6only on lan0"),
        format!("tcp 127.0.0.1:1004 - 127.0.0.1:{port}"),
        format!("tcp 127.0.0.1:{port} - 127.0.0.1:1004"),
        "udp 0.0.0.0:2001".to_owned(),
        "udp 0.0.0.0:2003 on lan0".to_owned(),
        "udp 127.0.0.1:2002 - 127.0.0.1:2001".to_owned(),
    ];
    let mut found = lines(&snapshot);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    // All are ours, but the server's end of the connection, which nobody has accepted.
    for socket in &snapshot.sockets {
        assert_eq!(socket.uid, 0);
        let waiting = socket.remote.is_some_and(|remote| remote.port() == port);
        assert_eq!(socket.owners.is_empty(), waiting, "{socket:?}");
    }
    let listening = |socket: &&Socket| socket.state == SocketState::Listening;
    assert_eq!(snapshot.sockets.iter().filter(listening).count(), 9);

    let binds: Vec<String> = endpoints(&snapshot)
        .iter()
        .map(|endpoint| {
            assert_eq!(endpoint.served_by, ServedBy::HostSocket);
            format!("{}/{} {:?}", endpoint.ports, endpoint.protocol, endpoint.bind)
        })
        .collect();
    assert_eq!(
        binds,
        [
            "1001/tcp Any",
            "1002/tcp AnyIpv6",
            "1003/tcp AnyIpv4",
            "1004/tcp Address(127.0.0.1)",
            "1005/tcp Address(203.0.113.5)",
            "1006/tcp Address(fe80::5)",
            "1007/tcp Address(127.0.0.1)",
            "2001/udp AnyIpv4",
            "2003/udp AnyIpv4",
        ]
    );
    drop((held, bound, client, unbound));
}

/// A program under another name, so that it looks like sshd; its standard input is the socket.
struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        if !path.exists() {
            std::fs::copy("/bin/sh", &path).unwrap();
        }
        path
    }

    /// Runs a shell script in a process of this name, in a session of its own.
    fn run(&self, name: &str, script: &str, socket: Option<OwnedFd>) -> Running {
        let mut command = Command::new(self.path(name));
        command.args(["-c", script]).env("FOLDER", self.folder.path());
        command.stdin(socket.map_or_else(Stdio::null, Stdio::from));
        Running::start(&mut command)
    }

    /// The number that a script wrote to a file of this name.
    fn number(&self, name: &str) -> u32 {
        let path = self.folder.path().join(name);
        for _ in 0..200 {
            if let Some(number) = read_number(&path) {
                return number;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} was not written", path.display());
    }
}

fn read_number(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A child that ends with this value, and all that it started with it.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        // Nothing that outlives a test may keep the test run's own output open.
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // Another test's child holds our program's copy open for writing until it has started.
        loop {
            match command.spawn() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                started => return Self(started.unwrap()),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Waits forever, as a process of the shell's own.
const WAIT: &str = "while :; do sleep 1; done";

#[test]
fn every_process_that_shares_a_socket_owns_it() {
    let host = Namespace::new("host");
    let listener = host.enter(|| TcpListener::bind("0.0.0.0:80").unwrap());
    let program = Program::new();
    let workers: Vec<Running> = ["front", "back", "back"]
        .map(|name| program.run(name, WAIT, Some(listener.try_clone().unwrap().into())))
        .into();
    drop(listener);
    // The shell's own children (sleep) hold it as well.
    let mut names = Vec::new();
    for _ in 0..200 {
        let snapshot = look(&host);
        let [socket] = snapshot.sockets.as_slice() else { panic!("{:?}", snapshot.sockets) };
        let owners = socket.owners.iter().map(|owner| owner.process.clone().unwrap());
        names = owners.collect::<Vec<String>>();
        if names == ["back", "front", "sleep"] {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(names, ["back", "front", "sleep"]);
    drop(workers);
}

#[test]
fn sockets_of_another_namespace_are_not_ours() {
    let host = Namespace::new("host");
    let other = Namespace::new("other");
    let _here = host.listen_tcp("127.0.0.1:22");
    let _there = other.listen_tcp("127.0.0.1:23");
    assert_eq!(lines(&look(&host)), ["tcp 127.0.0.1:22"]);
    assert_eq!(lines(&look(&other)), ["tcp 127.0.0.1:23"]);
}

#[test]
fn links_addresses_and_routes_are_told_as_they_are() {
    let host = Namespace::new("host");
    let peer = Namespace::new("peer");
    host.link("wan0", &peer, "eth0");
    host.ip("addr add 203.0.113.10/24 dev wan0");
    host.ip("addr add 203.0.113.11/24 dev wan0 valid_lft 3600 preferred_lft 3600");
    host.ip("addr add 192.0.2.1/32 peer 192.0.2.2 dev wan0");
    host.ip("link add br0 type bridge");
    host.ip("link add d0 type veth peer name d1");
    host.ip("link set d0 master br0");
    host.ip("link add wan0.7 type veth peer name wan0.8");
    host.ip("route add default via 203.0.113.1 metric 50");
    host.ip("route add 198.51.100.0/24 table 100 via 203.0.113.1");
    host.ip("route add blackhole 198.51.100.7/32");
    host.ip(
        "route add 192.0.2.128/25 nexthop via 203.0.113.1 dev wan0 nexthop via 203.0.113.2 dev wan0",
    );
    let snapshot = look(&host);
    let link =
        |name: &str| snapshot.links.iter().find(|link| link.name.as_str() == name).unwrap().clone();
    assert_eq!(link("lo").kind, LinkKind::Loopback);
    assert_eq!(link("wan0").kind, LinkKind::Veth);
    assert_eq!(link("br0").kind, LinkKind::Bridge);
    assert_eq!(link("d0").master.unwrap().as_str(), "br0");
    assert!(link("wan0").up && !link("d0").up && !link("wan0").xdp);
    let addresses: Vec<String> = link("wan0")
        .addresses
        .iter()
        .filter(|own| own.address.is_ipv4())
        .map(|own| format!("{}/{} {:?} {}", own.address, own.length, own.peer, own.dynamic))
        .collect();
    assert_eq!(
        addresses,
        [
            "192.0.2.1/32 Some(192.0.2.2) false",
            "203.0.113.10/24 None false",
            "203.0.113.11/24 None true",
        ]
    );
    let routes: Vec<String> = snapshot
        .routes
        .iter()
        .filter(|route| route.table != 255 && route.to.first().is_ipv4())
        .map(|route| {
            let by = route.interface.as_ref().map_or("-", |name| name.as_str());
            let gateway = route.gateway.map_or("-".to_owned(), |gateway| gateway.to_string());
            format!("{} {} {} {by} {gateway} {}", route.table, route.to, route.kind, route.metric)
        })
        .collect();
    assert_eq!(
        routes,
        [
            "100 198.51.100.0/24 unicast wan0 203.0.113.1 0",
            "254 0.0.0.0/0 unicast wan0 203.0.113.1 50",
            "254 192.0.2.2 unicast wan0 - 0",
            "254 192.0.2.128/25 unicast wan0 203.0.113.1 0",
            "254 192.0.2.128/25 unicast wan0 203.0.113.2 0",
            "254 198.51.100.7 blackhole - - 0",
            "254 203.0.113.0/24 unicast wan0 - 0",
        ]
    );
    let default: Vec<_> = snapshot.routes.iter().filter(|route| route.is_default()).collect();
    assert_eq!(default.len(), 1);
    host.sysctl("ipv4/ip_forward", "1");
    host.sysctl("ipv4/conf/wan0/route_localnet", "1");
    let sysctls = look(&host).sysctls.0;
    assert_eq!(sysctls["ipv4.ip_forward"], 1);
    assert_eq!(sysctls["ipv4.conf.wan0.7.forwarding"], 1);
    assert_eq!(sysctls["ipv4.conf.wan0.route_localnet"], 1);
    assert_eq!(sysctls["ipv4.conf.br0.route_localnet"], 0);
}

#[test]
fn each_setting_of_an_interface_is_told_as_itself() {
    let host = Namespace::new("host");
    host.ip("link add wan0 type veth peer name far0");
    let settings = |family: &str| {
        let sysctls = look(&host).sysctls.0;
        let start = format!("{family}.conf.wan0.");
        let own = sysctls
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(&start)?.to_owned(), value)));
        own.collect::<std::collections::BTreeMap<String, i64>>()
    };
    for (family, count) in [("ipv4", 8), ("ipv6", 5)] {
        let names: Vec<String> = settings(family).into_keys().collect();
        assert_eq!(names.len(), count);
        for name in names {
            if name == "mc_forwarding" {
                continue; // A multicast router alone sets it.
            }
            let mut expected = settings(family);
            let value = 1 - expected[&name].min(1);
            expected.insert(name.clone(), value);
            host.sysctl(&format!("{family}/conf/wan0/{name}"), &value.to_string());
            assert_eq!(settings(family), expected, "{family} {name}");
        }
    }
}

#[test]
fn the_session_that_a_process_runs_in_is_found_through_its_ancestry() {
    let host = Namespace::new("host");
    let lab = SshLab::new(&host);
    // Two sessions; the process that asks is below the first.
    let first = lab.login("echo $$ >$FOLDER/first; sleep 60 & echo $! >$FOLDER/asks; wait");
    let second = lab.login(WAIT);
    let asks = lab.program.number("asks");
    let snapshot = look_as(&host, asks);
    assert_eq!(snapshot.ssh.listeners, [lab.address()]);
    let own = |snapshot: &Snapshot| -> Vec<(SocketAddr, bool)> {
        snapshot.ssh.sessions.iter().map(|session| (session.remote, session.own)).collect()
    };
    let mut expected = vec![(first.client(), true), (second.client(), false)];
    expected.sort();
    assert_eq!(own(&snapshot), expected);
    for session in &snapshot.ssh.sessions {
        assert_eq!(session.local, lab.address());
        assert_eq!(session.interface.as_ref().unwrap().as_str(), "lo");
        assert_eq!(session.user.as_deref(), Some("root"));
    }
    // Someone who is in neither, and has no terminal, is in none.
    let outside = lab.program.run("outside", WAIT, None);
    assert!(own(&look_as(&host, outside.0.id())).iter().all(|(_, own)| !own));
}

#[test]
fn in_a_multiplexer_every_session_with_a_client_of_it_may_be_ours() {
    let host = Namespace::new("host");
    let lab = SshLab::new(&host);
    let tmux = lab.program.path("tmux");
    let tmux = tmux.display();
    // The server leaves its session, as tmux does, before the process that asks is started in it.
    let mut starter = lab.program.run(
        "starter",
        &format!(
            "{tmux} -c 'sleep 60 & echo $! >$FOLDER/asks; wait' \
             </dev/null >/dev/null 2>&1 & exit"
        ),
        None,
    );
    starter.0.wait().unwrap();
    let asks = lab.program.number("asks");
    // One session has a client of it, one has not.
    let attached = lab.login(&format!("{tmux} -c 'echo $$ >$FOLDER/client; sleep 60; true'; true"));
    let plain = lab.login(WAIT);
    lab.program.number("client");
    let snapshot = look_as(&host, asks);
    let mut expected = vec![(attached.client(), true), (plain.client(), false)];
    expected.sort();
    let found: Vec<_> =
        snapshot.ssh.sessions.iter().map(|session| (session.remote, session.own)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_sshd_forwards_is_neither_a_listener_nor_a_session() {
    let host = Namespace::new("host");
    let lab = SshLab::new(&host);
    let sshd = lab.program.path("sshd");
    let forwarded = host.enter(|| TcpListener::bind("127.0.0.1:6010").unwrap());
    let web = host.listen_tcp("127.0.0.1:80");
    let outgoing = host.enter(|| TcpStream::connect(web.address()).unwrap());
    // The child that serves a session holds what that session forwards; its parent does not.
    let sshd = format!("exec 3<&0 0</dev/null; {} -c '{WAIT}' & exec 3<&-; wait", sshd.display());
    let _listens = lab.program.run("sshd", &sshd, Some(forwarded.into()));
    let _connects = lab.program.run("sshd", &sshd, Some(outgoing.into()));
    let mut snapshot = look(&host);
    for _ in 0..100 {
        if snapshot.ssh.listeners == [lab.address()] {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        snapshot = look(&host);
    }
    assert_eq!(snapshot.ssh.listeners, [lab.address()]);
    assert_eq!(snapshot.ssh.sessions, []);
    let owned = |port| {
        let of = |socket: &&Socket| socket.local.port() == port && socket.remote.is_none();
        let socket = snapshot.sockets.iter().find(of).unwrap();
        socket.owners.iter().any(|owner| owner.process.as_deref() == Some("sshd"))
    };
    assert!(owned(6010) && !owned(80));
}

/// An sshd that listens, and sessions that it has taken.
struct SshLab<'a> {
    host: &'a Namespace,
    program: Program,
    listener: TcpListener,
    _daemon: Running,
}

impl<'a> SshLab<'a> {
    fn new(host: &'a Namespace) -> Self {
        let program = Program::new();
        let listener = host.enter(|| TcpListener::bind("127.0.0.1:22").unwrap());
        let daemon = program.run("sshd", WAIT, Some(listener.try_clone().unwrap().into()));
        Self { host, program, listener, _daemon: daemon }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A client connects, and an sshd for it runs the script.
    fn login(&self, script: &str) -> Session {
        let client = self.host.enter(|| TcpStream::connect(self.address()).unwrap());
        let (server, _) = self.listener.accept().unwrap();
        let running = self.program.run("sshd", script, Some(server.into()));
        Session { client, _running: running }
    }
}

struct Session {
    client: TcpStream,
    _running: Running,
}

impl Session {
    fn client(&self) -> SocketAddr {
        self.client.local_addr().unwrap()
    }
}

#[test]
fn a_snapshot_holds_no_secrets() {
    let host = Namespace::new("host");
    let listener = host.enter(|| TcpListener::bind("127.0.0.1:80").unwrap());
    let program = Program::new();
    let mut command = Command::new(program.path("server"));
    command.args(["-c", WAIT, "--password=hunter2-in-an-argument"]);
    command.env("PASSWORD", "hunter2-in-the-environment").stdin(OwnedFd::from(listener));
    let running = Running::start(&mut command);
    let mut text = String::new();
    for _ in 0..200 {
        text = look(&host).to_json();
        if text.contains("\"server\"") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(text.contains("\"server\""), "the process itself is told: {text}");
    assert!(!text.contains("hunter2"), "{text}");
    drop(running);
}

#[test]
fn a_snapshot_survives_its_own_json() {
    let host = Namespace::new("host");
    let _tcp = host.listen_tcp("[::]:22");
    let snapshot = look(&host);
    let text = snapshot.to_json();
    let again = Snapshot::from_json(&text).unwrap();
    assert_eq!(again, snapshot);
    assert_eq!(again.to_json(), text);
    assert!(again.sockets.iter().any(|socket| socket.protocol == Protocol::TCP));
    let binds: Vec<Bind> = endpoints(&again).iter().map(|endpoint| endpoint.bind).collect();
    assert_eq!(binds, [Bind::Any]);
}
