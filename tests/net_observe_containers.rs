//! Sockets inside a container's network namespace: a process in a cgroup as Docker makes it.
#![allow(clippy::unwrap_used)]

mod net;

use fwctl::model::nft::Ruleset;
use fwctl::observe::{Options, observe_with};
use net::Namespace;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;

/// A cgroup `docker/ID` that is gone with this value.
struct Cgroup {
    path: PathBuf,
    made: Vec<PathBuf>,
}

/// Nobody takes the folder of all away while somebody makes one in it.
static FOLDERS: Mutex<()> = Mutex::new(());

impl Cgroup {
    fn new(id: &str) -> Self {
        let _alone = FOLDERS.lock();
        // Version 2 has its files at the top; version 1 in a folder for each controller.
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = ["", "unified", "systemd", "pids"].map(|name| top.join(name));
        let hierarchy = hierarchies.iter().find(|path| path.join("cgroup.procs").exists());
        let docker = hierarchy.expect("cgroups are mounted").join("docker");
        let path = docker.join(id);
        let mut made = Vec::new();
        for folder in [docker, path.clone()] {
            if std::fs::create_dir(&folder).is_ok() {
                made.push(folder);
            }
        }
        Self { path, made }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _alone = FOLDERS.lock();
        for folder in self.made.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_listens_inside_a_container_is_told_with_its_name() {
    let host = Namespace::new("host");
    let container = Namespace::new("container");
    let id = format!("{:0<64}", format!("fe17{:08x}", std::process::id()));
    let cgroup = Cgroup::new(&id);
    let listener = container.enter(|| TcpListener::bind("0.0.0.0:5432").unwrap());
    let mut command = container.command("sleep");
    command.arg("60").stdin(OwnedFd::from(listener));
    let running = Running(command.spawn().unwrap());
    // It holds the socket as well, and would be another owner.
    drop(command);
    std::fs::write(cgroup.path.join("cgroup.procs"), running.0.id().to_string()).unwrap();
    let _outside = host.listen_tcp("127.0.0.1:80");

    let look = |container_namespaces| {
        let options = Options { engines: Vec::new(), container_namespaces, ..Options::default() };
        host.enter(|| observe_with(&options, || (Ruleset::default(), Vec::new())))
    };
    let name: String = id.chars().take(12).collect();
    let mut snapshot = look(true);
    for _ in 0..100 {
        // `ip netns exec` becomes the program after it has entered the namespace.
        let inside = |socket: &&fwctl::observe::Socket| socket.namespace.is_some();
        if snapshot.sockets.iter().filter(inside).any(|socket| {
            socket.owners.iter().any(|owner| owner.process.as_deref() == Some("sleep"))
        }) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        snapshot = look(true);
    }
    let found: Vec<_> = snapshot
        .sockets
        .iter()
        .filter(|socket| socket.namespace.as_deref() == Some(name.as_str()))
        .collect();
    let [socket] = found.as_slice() else { panic!("{:?}", snapshot.sockets) };
    assert_eq!(socket.local.to_string(), "0.0.0.0:5432");
    let [owner] = &*socket.owners else { panic!("{socket:?}") };
    assert_eq!(owner.process.as_deref(), Some("sleep"));
    assert_eq!(owner.container.as_deref(), Some(name.as_str()));
    assert!(snapshot.sockets.iter().any(|socket| {
        socket.namespace.is_none() && socket.local.to_string() == "127.0.0.1:80"
    }));
    assert!(look(false).sockets.iter().all(|socket| socket.namespace.is_none()));
    drop(running);
}

/// The SSH listeners of a host on which a process named sshd holds one, in this cgroup or in none.
fn ssh_listeners(cgroup: Option<&Cgroup>) -> Vec<String> {
    let host = Namespace::new("host");
    let folder = tempfile::tempdir().unwrap();
    let sshd = folder.path().join("sshd");
    std::fs::copy("/usr/bin/sleep", &sshd).unwrap();
    let listener = host.enter(|| TcpListener::bind("0.0.0.0:2222").unwrap());
    let mut command = std::process::Command::new(&sshd);
    command.arg("60").stdin(OwnedFd::from(listener));
    let running = Running(command.spawn().unwrap());
    drop(command);
    if let Some(cgroup) = cgroup {
        std::fs::write(cgroup.path.join("cgroup.procs"), running.0.id().to_string()).unwrap();
    }
    let options = Options { engines: Vec::new(), ..Options::default() };
    let snapshot = host.enter(|| observe_with(&options, || (Ruleset::default(), Vec::new())));
    assert!(snapshot.sockets.iter().any(|socket| {
        let named = |owner: &fwctl::model::Owner| owner.process.as_deref() == Some("sshd");
        socket.local.port() == 2222 && socket.owners.iter().any(named)
    }));
    snapshot.ssh.listeners.iter().map(ToString::to_string).collect()
}

#[test]
fn sshd_in_a_container_that_shares_the_network_is_not_the_hosts() {
    assert_eq!(ssh_listeners(None), ["0.0.0.0:2222"]);
    let cgroup = Cgroup::new(&format!("{:0<64}", format!("fe18{:08x}", std::process::id())));
    assert_eq!(ssh_listeners(Some(&cgroup)), [""; 0]);
}
