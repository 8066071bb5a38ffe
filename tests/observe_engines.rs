//! Container engines that answer, refuse, hang and lie: each ends in time, with its own state.
#![allow(clippy::unwrap_used)]

use fwctl::model::nft::Ruleset;
use fwctl::observe::{
    ContainerState, Engine, EngineKind, EngineSocket, EngineState, Options, Snapshot, observe_with,
};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// No answer may take longer, whatever the engine does.
const AT_MOST: Duration = Duration::from_secs(2);

fn look(socket: &Path) -> Snapshot {
    let options = Options {
        engines: vec![EngineSocket { kind: EngineKind::Docker, path: socket.to_owned() }],
        ..Options::default()
    };
    let start = Instant::now();
    let snapshot = observe_with(&options, || (Ruleset::default(), Vec::new()));
    assert!(start.elapsed() < AT_MOST, "it took {:?}", start.elapsed());
    snapshot
}

fn engine(snapshot: &Snapshot) -> &Engine {
    let [engine] = snapshot.engines.as_slice() else { panic!("{:?}", snapshot.engines) };
    engine
}

fn docker_warnings(snapshot: &Snapshot) -> Vec<&str> {
    let ours = snapshot.warnings.iter().filter(|warning| warning.subject == "docker");
    ours.map(|warning| warning.message.as_str()).collect()
}

/// The state is this, and one warning says so.
fn expect_state(socket: &Path, state: &EngineState, says: &str) {
    let snapshot = look(socket);
    assert_eq!(engine(&snapshot).state, *state);
    let warnings = docker_warnings(&snapshot);
    assert!(warnings.len() == 1 && warnings[0].contains(says), "{warnings:?}");
    assert!(!snapshot.links.is_empty(), "the rest of the snapshot is there");
}

/// An engine that answers each request by `answer(path, connection)` until it is dropped.
struct Fake {
    stop: Arc<AtomicBool>,
    socket: std::path::PathBuf,
}

impl Fake {
    fn new(folder: &Path, answer: impl Fn(&str, &mut UnixStream) + Send + Sync + 'static) -> Self {
        let socket = folder.join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read(&mut byte) {
                            Ok(1) => request.push(byte[0]),
                            _ => return,
                        }
                    }
                    let request = String::from_utf8(request).unwrap();
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    answer(path, &mut stream);
                });
            }
        });
        Self { stop, socket }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(&self.socket);
    }
}

fn reply(stream: &mut UnixStream, status: &str, body: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Docker 20.10 as Debian 12 has it: it speaks no later API than 1.41, and refuses a path that
/// asks for one.
fn docker_20_10(path: &str, stream: &mut UnixStream) {
    if path.starts_with("/v1.") {
        let message = "{\"message\":\"client version is too new\"}";
        return reply(stream, "400 Bad Request", message);
    }
    let body = match path.split('?').next().unwrap_or_default() {
        "/version" => include_str!("observe/docker-20.10/version.json"),
        "/info" => include_str!("observe/docker-20.10/info.json"),
        "/networks" => include_str!("observe/docker-20.10/networks.json"),
        "/containers/json" => include_str!("observe/docker-20.10/containers.json"),
        p if p.starts_with("/containers/4444") => {
            include_str!("observe/docker-20.10/inspect.json")
        }
        _ => return reply(stream, "404 Not Found", "{\"message\":\"page not found\"}"),
    };
    reply(stream, "200 OK", body);
}

#[test]
fn an_absent_engine_is_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = look(&folder.path().join("docker.sock"));
    assert_eq!(engine(&snapshot).state, EngineState::Absent);
    assert_eq!(docker_warnings(&snapshot), [""; 0]);
}

#[test]
fn a_socket_that_nobody_listens_on_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    drop(UnixListener::bind(&socket).unwrap());
    expect_state(&socket, &EngineState::Refused, "nobody listens");
}

#[test]
fn a_socket_that_may_not_be_opened_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open everything: look without that right, on a thread that is given up afterwards.
    let thread = std::thread::spawn(move || {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::DAC_OVERRIDE;
        set_capabilities(None, sets).unwrap();
        expect_state(&socket, &EngineState::Denied, "may not be opened");
    });
    thread.join().unwrap();
}

#[test]
fn an_engine_that_takes_no_connection_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    // Connections are queued and never taken.
    expect_state(&socket, &EngineState::Hung, "did not answer in time");
}

#[test]
fn an_engine_whose_queue_is_full_hangs() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let address = SocketAddrUnix::new(&path).unwrap();
    let stream = |flags| {
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    };
    let listener = stream(SocketFlags::CLOEXEC);
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        if rustix::net::connect(&client, &address).is_err() {
            break;
        }
        waiting.push(client);
    }
    expect_state(&path, &EngineState::Hung, "did not answer in time");
}

#[test]
fn an_engine_that_stalls_in_the_middle_of_its_answer_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(folder.path(), |path, stream| {
        if path.contains("/containers/json") {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[{{\"Id\":");
            std::thread::sleep(Duration::from_secs(4));
        } else {
            docker_20_10(path, stream);
        }
    });
    expect_state(&fake.socket, &EngineState::Hung, "did not answer in time");
}

#[test]
fn an_engine_that_drips_its_answer_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(folder.path(), |path, stream| {
        if path.contains("/networks") {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        } else {
            docker_20_10(path, stream);
        }
    });
    expect_state(&fake.socket, &EngineState::Hung, "did not answer in time");
}

#[test]
fn garbage_is_a_failure_that_does_not_repeat_it() {
    type Answer = fn(&str, &mut UnixStream);
    let cases: [(Answer, &str); 5] = [
        (|_, stream| drop(stream.write_all(b"\x00\xff SSH-2.0-hunter2\r\n\r\n")), "no HTTP"),
        (|_, _| (), "no HTTP, or was cut off"),
        (|_, stream| reply(stream, "200 OK", "{\"hunter2\":"), "no JSON"),
        (|_, stream| reply(stream, "500 Internal Server Error", "hunter2"), "status 500"),
        (
            |path, stream| {
                if path.contains("/containers/json") {
                    reply(stream, "200 OK", "{\"hunter2\": [1, 2]}");
                } else {
                    docker_20_10(path, stream);
                }
            },
            "no JSON that fwctl understands",
        ),
    ];
    for (answer, says) in cases {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new(folder.path(), answer);
        let snapshot = look(&fake.socket);
        let state = &engine(&snapshot).state;
        let EngineState::Failed(why) = state else { panic!("{says}: {state:?}") };
        assert!(why.contains(says), "{says}: {why}");
        assert_eq!(docker_warnings(&snapshot).len(), 1);
        assert!(!snapshot.to_json().contains("hunter2"), "{says}");
    }
}

#[test]
fn docker_20_10_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(folder.path(), docker_20_10);
    let snapshot = look(&fake.socket);
    let docker = engine(&snapshot);
    assert_eq!(docker.state, EngineState::Answered);
    assert_eq!(docker_warnings(&snapshot), [""; 0]);
    assert_eq!(docker.version.as_deref(), Some("20.10.24+dfsg1"));
    assert!(!docker.swarm);
    let networks: Vec<String> = docker
        .networks
        .iter()
        .map(|network| {
            let subnets: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
            let bridge = network.bridge.as_ref().map_or("-", |name| name.as_str());
            format!("{} {} {bridge} {}", network.name, network.driver, subnets.join(" "))
        })
        .collect();
    assert_eq!(
        networks,
        [
            "bridge bridge docker0 172.17.0.0/16",
            "front bridge br-bbbbbbbbbbbb 172.18.0.0/16 2001:db8:18::/64",
            "host host - ",
            "none null - ",
        ]
    );
    let containers: Vec<String> = docker
        .containers
        .iter()
        .map(|container| {
            let published: Vec<String> = container
                .published
                .iter()
                .map(|p| {
                    let (host, to) = (p.host_address, p.container_port);
                    format!("{host}|{}>{to}/{}", p.host_port, p.protocol)
                })
                .collect();
            let addresses: Vec<String> = container
                .addresses
                .iter()
                .map(|(network, addresses)| format!("{network}{addresses:?}"))
                .collect();
            let state = if container.state == ContainerState::Running { "up" } else { "down" };
            let host = if container.host_network { " host-network" } else { "" };
            format!(
                "{} {state}{host} {} {}",
                container.name,
                addresses.join(" "),
                published.join(" ")
            )
        })
        .collect();
    assert_eq!(
        containers,
        [
            "agent up host-network host[] ",
            "cache down bridge[] 0.0.0.0|6379>6379/tcp",
            "db up bridge[172.17.0.2] 0.0.0.0|5432>5432/tcp ::|5432>5432/tcp",
            "web up front[172.18.0.2, 2001:db8:18::2] 127.0.0.1|8080>80/tcp 0.0.0.0|9000>9000/udp \
         0.0.0.0|9001>9001/udp 0.0.0.0|9002>9002/udp 203.0.113.10|53>53/udp",
        ]
    );
    assert!(!snapshot.to_json().contains("hunter2"), "nothing secret");
}

#[test]
fn a_member_of_a_swarm_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(folder.path(), |path, stream| {
        if path.ends_with("/networks") {
            let networks = include_str!("observe/docker-20.10/networks.json");
            reply(stream, "200 OK", &networks.replace("\"front\"", "\"docker_gwbridge\""));
        } else if path.ends_with("/info") {
            let info = include_str!("observe/docker-20.10/info.json");
            reply(stream, "200 OK", &info.replace("\"inactive\"", "\"active\""));
        } else {
            docker_20_10(path, stream);
        }
    });
    let snapshot = look(&fake.socket);
    assert!(engine(&snapshot).swarm);
    assert!(snapshot.host.managers.contains(&"docker-swarm".to_owned()));
}
