//! What can be dialled on a Docker host, from a snapshot file alone.
#![allow(clippy::unwrap_used)]

use fwctl::model::{Endpoint, ServedBy};
use fwctl::observe::{Snapshot, SnapshotError, endpoints};

const HOST: &str = include_str!("observe/docker-host.json");

fn line(endpoint: &Endpoint) -> String {
    let path = match &endpoint.served_by {
        ServedBy::HostSocket => "host".to_owned(),
        ServedBy::Proxy => "proxy".to_owned(),
        ServedBy::Published { to, to_port } => format!("published {}|{to_port}", to.unwrap()),
        ServedBy::Routed { network } => format!("routed {network}"),
    };
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
    let owner = &endpoint.owner;
    format!(
        "{}/{} {:?} {path} {} {} {}",
        endpoint.ports,
        endpoint.protocol,
        endpoint.bind,
        word(&owner.process),
        word(&owner.unit),
        word(&owner.container)
    )
}

#[test]
fn every_path_to_every_port_is_one_endpoint() {
    let snapshot = Snapshot::from_json(HOST).unwrap();
    let found = endpoints(&snapshot);
    let lines: Vec<String> = found.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            // Two sockets of one service.
            "22/tcp Any host sshd ssh.service -",
            // The owner with a unit stands for all.
            "80/tcp Any host nginx nginx.service -",
            // What listens inside containers, for whoever routes there; Docker's resolver on
            // 127.0.0.11 does not.
            "80/tcp Address(172.18.0.2) routed front nginx - web",
            "80/tcp Address(2001:db8:18::2) routed front nginx - web",
            "2375/tcp Address(127.0.0.1) host dockerd docker.service -",
            // IPv4 is translated before the proxy sees it; IPv6 is the proxy's, for want of an
            // address.
            "5432/tcp AnyIpv4 published 172.17.0.2|5432 - - db",
            "5432/tcp AnyIpv6 proxy docker-proxy docker.service db",
            "5432/tcp Address(172.17.0.2) routed bridge postgres - db",
            // A proxy that no engine told of.
            "7777/tcp AnyIpv4 proxy docker-proxy docker.service -",
            "8080/tcp Address(127.0.0.1) published 172.18.0.2|80 - - web",
            // A container without a network namespace of its own.
            "9100/tcp AnyIpv4 host agent - agent",
            "9000/udp AnyIpv6 published 2001:db8:18::2|9000 - - web",
            // Neighbours become a range; 9002 goes to another port.
            "9000-9001/udp AnyIpv4 published 172.18.0.2|9000 - - web",
            "9002/udp AnyIpv4 published 172.18.0.2|9005 - - web",
        ]
    );
    let mut sorted = found.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, found);
}

#[test]
fn what_is_no_snapshot_says_why() {
    let error = |text: &str| Snapshot::from_json(text).unwrap_err().to_string();
    assert!(error("{\"format\": ").contains("no JSON (line 1"));
    assert!(error("[]").contains("its `format` is missing"));
    assert!(error("{}").contains("its `format` is missing"));
    assert!(error("{\"format\": \"fwctl.plan/1\"}").contains("its `format` is \"fwctl.plan/1\""));
    let newer = HOST.replace("fwctl.snapshot/1", "fwctl.snapshot/2");
    assert!(matches!(Snapshot::from_json(&newer), Err(SnapshotError::Newer(_))));
    assert!(error(&newer).contains("\"fwctl.snapshot/2\""));
    let broken = HOST.replace("\"0.0.0.0:22\", \"state\"", "\"nowhere\", \"state\"");
    let text = error(&broken);
    assert!(text.contains("broken at line 10") && text.contains("socket address"), "{text}");
}
