//! What `fwctl snapshot` sees of a real host: owners, units, containers, sessions, a stalled Docker.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use fwctl::observe::{ConntrackPresence, EngineKind, EngineState, Snapshot, Socket, SocketState};
use host::Host;
use std::time::{Duration, Instant};

fn snapshot(host: &Host) -> Snapshot {
    serde_json::from_str(&host.sh("fwctl snapshot")).unwrap()
}

/// The sockets of the host's own namespace that listen on a TCP port.
fn listening(snapshot: &Snapshot, port: u16) -> Vec<&Socket> {
    let sockets = snapshot.sockets.iter();
    sockets
        .filter(|s| s.state == SocketState::Listening && s.namespace.is_none())
        .filter(|s| s.local.port() == port && s.protocol.to_string() == "tcp")
        .collect()
}

#[test]
fn every_listener_has_its_owner_unit_and_container() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.sh("docker network create v4only");
    host.docker_run("web", "--network v4only -p 127.0.0.1:8080:80 -p 8081:80", 80);
    host.docker_run("bare", "--network host", 7070);
    let seen = snapshot(&host);
    assert_eq!(seen.host.name, "testhost");
    assert_eq!(seen.host.conntrack, ConntrackPresence::Tracking);
    assert_eq!(seen.warnings, []);

    for (port, process, unit) in [
        (22, "sshd", "ssh.service"),
        (80, "nginx", "nginx.service"),
        (443, "nginx", "nginx.service"),
        (3306, "mariadbd", "mariadb.service"),
    ] {
        let sockets = listening(&seen, port);
        assert!(!sockets.is_empty(), "nobody listens on {port}");
        for socket in sockets {
            let owner = &socket.owners[0];
            assert_eq!(owner.process.as_deref(), Some(process), "{port}");
            assert_eq!(owner.unit.as_deref(), Some(unit), "{port}");
            assert_eq!(owner.container, None, "{port}");
        }
    }
    // MariaDB says `bind-address = *`, and holds a socket of each family.
    let mut families: Vec<_> =
        listening(&seen, 3306).iter().map(|s| (s.local.is_ipv6(), s.v6only)).collect();
    families.sort_unstable();
    assert_eq!(families, [(false, false), (true, true)]);
    let bare = listening(&seen, 7070);
    assert_eq!(bare[0].owners[0].container.as_deref(), Some("bare"), "{bare:?}");
    assert!(listening(&seen, 5432).iter().all(|s| {
        s.owners.iter().any(|owner| owner.process.as_deref() == Some("docker-proxy"))
    }));
    assert!(
        seen.sockets.iter().any(|s| s.namespace.as_deref() == Some("web") && s.local.port() == 80),
        "the listener inside the container is missing"
    );

    let docker = seen.engines.iter().find(|e| e.kind == EngineKind::Docker).unwrap();
    assert_eq!(docker.state, EngineState::Answered);
    let bridges: Vec<_> = docker.networks.iter().filter_map(|n| n.bridge.as_ref()).collect();
    assert_eq!(bridges.len(), 2, "{bridges:?}");
    let find = |name: &str| docker.containers.iter().find(|c| c.name == name).unwrap();
    assert!(find("bare").host_network);
    let mut published: Vec<(String, u16, u16)> = find("web")
        .published
        .iter()
        .map(|p| (p.host_address.to_string(), p.host_port, p.container_port))
        .collect();
    published.sort();
    let published: Vec<_> = published.iter().map(|(a, h, c)| (a.as_str(), *h, *c)).collect();
    assert_eq!(published, [("0.0.0.0", 8081, 80), ("127.0.0.1", 8080, 80), ("::", 8081, 80)]);
}

#[test]
fn a_socket_that_systemd_holds_belongs_to_the_unit_that_it_starts() {
    let host = Host::without_docker();
    assert_eq!(snapshot(&host).host.conntrack, ConntrackPresence::NotTracking);
    host.write(
        "/etc/systemd/system/held.socket",
        "[Socket]\nListenStream=7171\n[Install]\nWantedBy=sockets.target\n",
    );
    host.write("/etc/systemd/system/held.service", "[Service]\nExecStart=/bin/sleep 1000\n");
    host.sh("systemctl daemon-reload && systemctl start held.socket");
    let seen = snapshot(&host);
    let socket = listening(&seen, 7171)[0];
    assert_eq!(socket.owners[0].unit.as_deref(), Some("held.service"), "{socket:?}");
}

#[test]
fn the_own_session_is_found_through_sudo_and_tmux() {
    let host = Host::without_docker();
    let mut other = host.ssh(&host.lab.lan, net::HOST_LAN_V6);
    let mut own = host.ssh(&host.lab.internet, net::HOST_WAN_V4);
    for command in [
        "fwctl snapshot",
        "env -i /usr/local/bin/fwctl snapshot",
        "sudo -i /usr/local/bin/fwctl snapshot",
    ] {
        let seen: Snapshot = serde_json::from_str(&own.ask(command)).unwrap();
        let mut sessions: Vec<String> = seen
            .ssh
            .sessions
            .iter()
            .map(|s| {
                format!("{} at {}{}", s.remote.ip(), s.local, if s.own { ", own" } else { "" })
            })
            .collect();
        sessions.sort();
        let expected =
            ["2001:db8:2::20 at [2001:db8:2::10]:22", "203.0.113.1 at 203.0.113.10:22, own"];
        assert_eq!(sessions, expected, "{command}");
    }
    // tmux's server is nobody's child: the session is still one of those that must go on.
    own.ask("tmux new-session -d 'fwctl snapshot > /tmp/tmux.json; touch /tmp/done'");
    own.ask("until [ -e /tmp/done ]; do sleep 0.05; done");
    let seen: Snapshot = serde_json::from_str(&host.read("/tmp/tmux.json")).unwrap();
    assert_eq!(seen.ssh.sessions.len(), 2);
    other.ask("true");
}

#[test]
fn a_stalled_docker_costs_two_seconds_and_a_warning() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.sh("kill -STOP $(pidof dockerd)");
    let start = Instant::now();
    let seen = snapshot(&host);
    let took = start.elapsed();
    host.sh("kill -CONT $(pidof dockerd)");
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    let docker = seen.engines.iter().find(|e| e.kind == EngineKind::Docker).unwrap();
    assert_eq!(docker.state, EngineState::Hung);
    assert!(seen.warnings.iter().any(|w| w.subject == "docker"), "{:?}", seen.warnings);
    // What the kernel knows is still there.
    assert!(!listening(&seen, 3306).is_empty());
    assert!(seen.ruleset.tables.iter().any(|t| t.name == "nat"));
}
