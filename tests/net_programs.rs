//! BPF programs that filter past all rules: found, named, and unknown exactly where they act.
//!
//! In a file of its own: the kernel shows programs at hooks of netfilter in every namespace.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::analyze::{Analyzer, From, Packet, Reach, past_the_rules};
use fwctl::model::Protocol;
use fwctl::observe::{Options, Snapshot, observe};
use net::{Answer, FAR_V4, FAR_V6, HOST_WAN_V4, HOST_WAN_V6, Lab, Place, Probe, attach};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// What an answer of the analysis is, and what it depends on.
fn ask(snapshot: &Snapshot, to: IpAddr, protocol: Protocol) -> (Reach, String) {
    let source = if to.is_ipv4() { FAR_V4 } else { FAR_V6 };
    let from = From::Interface("wan0".parse().unwrap());
    let packet = Packet::new(from, source, to, protocol, 80);
    let found = Analyzer::new(snapshot).explain(&packet, None);
    (found.verdict, found.depends_on.join("; "))
}

fn look(lab: &Lab) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    let snapshot = lab.host.enter(|| observe(&options));
    Snapshot::from_json(&snapshot.to_json()).unwrap()
}

fn said(snapshot: &Snapshot, words: &str) -> bool {
    past_the_rules(snapshot).iter().any(|line| line.contains(words))
}

/// One at a time: each sees the other's programs.
static ALONE: Mutex<()> = Mutex::new(());

const OPEN: (Reach, String) = (Reach::Open, String::new());

/// What is not open depends on this.
fn unknown(answer: &(Reach, String), words: &str) {
    assert_eq!(answer.0, Reach::Unknown, "{answer:?}");
    assert!(answer.1.contains(words), "{answer:?}");
}

/// A host that answers on port 80, as long as no program drops.
struct Ground {
    lab: Lab,
    _web: net::Listener,
}

impl Ground {
    fn new() -> Self {
        let lab = Lab::new();
        let ground = Self { _web: lab.host.listen_tcp("[::]:80"), lab };
        ground.is_plain();
        ground
    }

    fn open(&self, to: IpAddr) -> bool {
        Probe::tcp(&self.lab.internet, (to, 80)).ask() == Answer::Open
    }

    /// With no program in the way, which is neither found nor felt.
    fn is_plain(&self) {
        assert!(self.open(HOST_WAN_V4) && self.open(HOST_WAN_V6));
        let without = look(&self.lab);
        assert_eq!(all(&without), [OPEN, OPEN, OPEN]);
        assert!(!said(&without, "BPF"), "{:?}", past_the_rules(&without));
    }
}

/// What is said of port 80, and of pings.
fn all(snapshot: &Snapshot) -> [(Reach, String); 3] {
    [(HOST_WAN_V4, Protocol::TCP), (HOST_WAN_V6, Protocol::TCP), (HOST_WAN_V4, Protocol::ICMP)]
        .map(|(to, protocol)| ask(snapshot, to, protocol))
}

/// At the input hook, of IPv4 alone.
#[test]
fn a_program_at_a_hook_makes_unknown_what_passes_it_and_nothing_else() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ground = Ground::new();
    let program = ground.lab.host.enter(|| attach(Place::Netfilter(2, 1, -5), 0).unwrap());
    assert!(!ground.open(HOST_WAN_V4) && ground.open(HOST_WAN_V6), "it drops");
    let snapshot = look(&ground.lab);
    let words = "a BPF program at the input hook for IPv4, priority -5";
    let [v4, v6, echo] = all(&snapshot);
    unknown(&v4, words);
    unknown(&echo, words);
    assert_eq!(v6, OPEN);
    assert!(said(&snapshot, words));
    drop(program);
    ground.is_plain();
}

/// At the interface by which packets come in.
#[test]
fn a_program_at_an_interface_makes_unknown_what_comes_by_it_and_nothing_else() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ground = Ground::new();
    let host = &ground.lab.host;
    let index = host.enter(|| net::interface_index("wan0"));
    let program = host.enter(|| attach(Place::Tcx(index), 2).unwrap());
    assert!(!ground.open(HOST_WAN_V4) && !ground.open(HOST_WAN_V6), "it drops");
    let snapshot = look(&ground.lab);
    let words = "a BPF program (tcx) on what enters wan0";
    for answer in &all(&snapshot) {
        unknown(answer, words);
    }
    let lan = Packet::new(
        From::Interface("lan0".parse().unwrap()),
        net::LAN_V4,
        net::HOST_LAN_V4,
        Protocol::TCP,
        80,
    );
    assert_eq!(Analyzer::new(&snapshot).explain(&lan, None).verdict, Reach::Open);
    assert!(said(&snapshot, "a BPF program (tcx) sees what enters wan0"));
    drop(program);
    ground.is_plain();
}

/// Before a socket is chosen: not for pings.
#[test]
fn a_program_before_sockets_makes_unknown_what_they_get_and_nothing_else() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ground = Ground::new();
    let host = &ground.lab.host;
    let namespace = File::open(host.path()).unwrap();
    let program = host.enter(|| attach(Place::Sockets(namespace.as_fd()), 0).unwrap());
    assert!(!ground.open(HOST_WAN_V4) && !ground.open(HOST_WAN_V6), "it drops");
    let snapshot = look(&ground.lab);
    let [v4, v6, echo] = all(&snapshot);
    unknown(&v4, "BPF programs that choose sockets");
    unknown(&v6, "BPF programs that choose sockets");
    assert_eq!(echo, OPEN);
    assert!(said(&snapshot, "BPF_SK_LOOKUP"));
    drop(program);
    ground.is_plain();
}

/// This process in a control group of its own, back in its old one in the end.
struct Group {
    mount: tempfile::TempDir,
    path: PathBuf,
    before: PathBuf,
}

impl Group {
    fn new(name: &str) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let status =
            Command::new("mount").args(["-t", "cgroup2", "none"]).arg(mount.path()).status();
        assert!(status.unwrap().success());
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let before = mount.path().join(own);
        let path = mount.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let group = Self { mount, path, before };
        std::fs::write(group.path.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::write(self.before.join("cgroup.procs"), std::process::id().to_string());
        let _ = std::fs::remove_dir(&self.path);
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

#[test]
fn what_a_units_programs_filter_is_unknown_for_its_sockets_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new();
    let group = Group::new(&format!("fwt-{}.service", std::process::id()));
    let _web = lab.host.listen_tcp("0.0.0.0:80");
    let open = || Probe::tcp(&lab.internet, (HOST_WAN_V4, 80)).ask() == Answer::Open;
    assert!(open());
    let directory = File::open(&group.path).unwrap();
    let _program = attach(Place::Group(directory.as_fd()), 0).unwrap();
    assert!(!open(), "it drops");
    // Of a process that sees where the groups are.
    let output = lab.host.command(env!("CARGO_BIN_EXE_fwctl")).arg("snapshot").output().unwrap();
    let snapshot = Snapshot::from_json(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let words = format!("BPF programs of fwt-{}.service", std::process::id());
    unknown(&ask(&snapshot, HOST_WAN_V4, Protocol::TCP), &words);
    assert_eq!(ask(&snapshot, HOST_WAN_V4, Protocol::UDP), OPEN, "nothing of it listens there");
    assert!(said(&snapshot, &words), "{:?}", past_the_rules(&snapshot));
}

/// Another namespace with an interface of its own on the host's wire.
#[test]
fn an_uplink_of_another_namespace_is_told() {
    let lab = Lab::new();
    let apart = net::Namespace::new("apart");
    lab.host.ip("link add link wan0 name own0 type macvlan mode bridge");
    lab.host.ip(&format!("link set own0 netns {}", apart.name()));
    apart.ip("link set own0 up");
    // Processes of this test alone, the first of them in the host's namespace.
    let script = format!(
        "ip netns exec {} sleep 30 & sleep 0.3; {} snapshot; kill $!",
        apart.name(),
        env!("CARGO_BIN_EXE_fwctl")
    );
    let mut command = lab.host.command("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let snapshot = Snapshot::from_json(&text).unwrap();
    assert!(said(&snapshot, "has the interface own0 (macvlan)"), "{:?}", snapshot.handlers);
    // From inside another namespace the host's interfaces are no news.
    assert!(!said(&look(&lab), "in a network namespace of its own"));
}
