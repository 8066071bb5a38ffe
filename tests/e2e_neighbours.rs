//! Nothing of anyone else's changes, and nothing is sent where nothing has changed.

#![allow(clippy::unwrap_used)]

mod host;
mod net;

use host::Host;
use net::Answer::{Open, Silent};
use net::{HOST_LAN_V4, HOST_WAN_V4, Lab};
use std::time::Duration;

const WEB_SERVER: &str = "version = 1\nuse = [\"web-server\"]\n";

/// Everything but our table, with every counter: as nft shows it, and as iptables does, which shows
/// whole what nft cannot.
fn neighbours(host: &Host) -> String {
    let mut text = String::new();
    for table in host.sh("nft list tables").lines().filter(|table| *table != "table inet fwctl") {
        text += &host.sh(&format!("nft list {table}"));
    }
    for save in ["iptables-save -c", "ip6tables-save -c"] {
        text += &host.sh(&format!("{save} | grep -v '^#'"));
    }
    // A timed element's remaining time goes on.
    let lines: Vec<&str> =
        text.lines().map(|line| line.split(" expires ").next().unwrap()).collect();
    lines.join("\n")
}

/// The same but for counters that a stray packet raised (a container asks for routers on its own
/// time). Docker's own rules, which see none of these, are the same to the last count.
fn same(now: &str, before: &str, who: &str) {
    let differing: Vec<String> = now
        .lines()
        .zip(before.lines())
        .filter(|(now, before)| now != before && !(counted_on(now, before)))
        .map(|(now, before)| format!("  was: {before}\n  is:  {now}"))
        .collect();
    assert!(differing.is_empty(), "{who} changed a neighbour:\n{}", differing.join("\n"));
    assert_eq!(now.lines().count(), before.lines().count(), "{who} changed a neighbour");
}

/// Whether two lines differ in numbers alone, and none of them went down.
fn counted_on(now: &str, before: &str) -> bool {
    let split = |line: &str| -> (String, Vec<u64>) {
        let words = line.replace(|c: char| !c.is_ascii_digit(), " ");
        let numbers = words.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        (line.replace(|c: char| c.is_ascii_digit(), ""), numbers)
    };
    let ((text, numbers), (text_before, numbers_before)) = (split(now), split(before));
    text == text_before
        && !text.to_lowercase().contains("docker")
        && numbers.iter().zip(&numbers_before).all(|(now, before)| now >= before)
}

#[test]
fn neighbours_keep_their_tables_and_counters() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.sh("ufw --force enable && ufw allow 22,80,443/tcp");
    host.lab.host.nft(
        "table inet other {
            set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
            counter hits { }
            chain input {
                type filter hook input priority 10; policy accept;
                tcp dport 22 counter name hits
                ip protocol tcp add @seen { ip saddr counter }
            }
        }
        table ip legacy { chain c { type filter hook forward priority 5; counter accept; }
        }",
    );
    host.expect_from_outside(&[(22, Open), (80, Open)]);
    // No packet shall cross the host between the two looks: no neighbour is asked whether it is
    // still there, and what arrives late is waited for.
    let (lab, quiet) = (&host.lab, "delay_first_probe_time");
    for (namespace, device) in [
        (&lab.host, "wan0"),
        (&lab.host, "lan0"),
        (&lab.host, "docker0"),
        (&lab.internet, "eth0"),
        (&lab.lan, "eth0"),
    ] {
        for family in ["ipv4", "ipv6"] {
            namespace.sysctl(&format!("{family}/neigh/{device}/{quiet}"), "3600");
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let before = neighbours(&host);
    host.apply(WEB_SERVER);
    same(&neighbours(&host), &before, "apply");
    host.apply("version = 1\nuse = [\"ssh-only\"]\n");
    same(&neighbours(&host), &before, "a second apply");
    host.sh("fwctl off --no-confirm --yes");
    same(&neighbours(&host), &before, "off");
    assert!(!host.sh("nft list tables").contains("fwctl"));

    // And they can go on beside us: their own changes are theirs.
    host.apply(WEB_SERVER);
    host.lab.host.nft("table inet newer { chain c { type filter hook input priority 0; }\n }");
    host.sh("ufw reload");
    host.docker_run("cache", "-p 6379:6379", 6379);
    host.expect_from_outside(&[(22, Open), (80, Open), (5432, Silent), (6379, Silent)]);
    assert!(host.sh("nft list tables").contains("table inet newer"));
}

#[test]
fn a_second_apply_sends_nothing_and_keeps_counters() {
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.apply(WEB_SERVER);
    host.expect_from_outside(&[(22, Open), (5432, Silent)]);
    std::thread::sleep(Duration::from_secs(1));
    let ours = host.sh("nft list table inet fwctl");
    let counted = |table: &str| table.split("packets ").skip(1).any(|rest| !rest.starts_with('0'));
    assert!(counted(&ours), "none of our rules counts:\n{ours}");
    let generation = host.lab.host.ruleset_generation();
    for again in ["fwctl apply --no-confirm --yes", "fwctl plan"] {
        host.sh(again);
        assert_eq!(host.lab.host.ruleset_generation(), generation, "`{again}` sent something");
        assert_eq!(host.sh("nft list table inet fwctl"), ours);
    }
    assert!(host.try_sh("fwctl plan --detailed-exitcode").status.success());

    // What Docker does meanwhile is no reason to change anything of ours.
    host.sh("docker network create later");
    host.docker_run("cache", "--network later -p 6379:6379", 6379);
    host.sh("systemctl restart docker");
    assert!(host.try_sh("fwctl plan --detailed-exitcode").status.success());
    let generation = host.lab.host.ruleset_generation();
    host.sh("fwctl apply --no-confirm --yes");
    assert_eq!(host.lab.host.ruleset_generation(), generation, "apply sent something");
}

#[test]
fn a_change_by_hand_is_found_shown_and_mended() {
    let host = Host::without_docker();
    host.apply(WEB_SERVER);
    let whole = host.sh("nft --stateless list table inet fwctl");
    // The rule that makes the default, or whatever stands last in our input chain, goes.
    let changes = [
        // Every base chain of ours, emptied: the host is open again.
        "for c in $(nft list table inet fwctl | awk '$1 == \"chain\" { c = $2 } /hook input/ { print c }'); do \
         nft flush chain inet fwctl $c; done",
        // A rule of somebody else's in a chain of ours.
        "c=$(nft list table inet fwctl | awk '$1 == \"chain\" { c = $2 } /hook input/ { print c; exit }'); \
         nft insert rule inet fwctl $c accept",
        // The whole table.
        "nft delete table inet fwctl",
    ];
    for change in changes {
        host.sh(change);
        assert_ne!(host.sh("nft --stateless list table inet fwctl 2>/dev/null || true"), whole);
        host.expect_from_outside(&[(3306, Open)]);
        let plan = host.try_sh("fwctl plan --detailed-exitcode");
        assert_eq!(plan.status.code(), Some(3), "after `{change}` the plan sees no change");
        host.sh("fwctl apply --no-confirm --yes");
        host.expect_from_outside(&[(22, Open), (80, Open), (3306, Silent)]);
        assert!(host.try_sh("fwctl plan --detailed-exitcode").status.success());
    }
}

#[test]
fn a_broken_policy_changes_nothing() {
    let host = Host::without_docker();
    host.apply(WEB_SERVER);
    let generation = host.lab.host.ruleset_generation();
    host.write("/etc/fwctl/policy.toml", "version = 1\n[[allow]]\nservice = [\"shh\"]\n");
    for command in ["apply --no-confirm --yes", "plan", "check"] {
        let refused = host.try_sh(&format!("fwctl {command}"));
        assert_eq!(refused.status.code(), Some(1), "fwctl {command}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("shh") && said.contains("policy.toml"), "{said}");
    }
    assert_eq!(host.lab.host.ruleset_generation(), generation);
    host.expect_from_outside(&[(22, Open), (3306, Silent)]);
}

#[test]
fn the_session_in_use_is_not_locked_out() {
    let host = Host::without_docker();
    let mut ssh = host.ssh(&host.lab.internet, HOST_WAN_V4);
    let from_lan = "version = 1\n[zone.lan]\naddresses = [\"192.0.2.0/24\"]\n\
                    [[allow]]\nservice = [\"ssh\"]\nfrom = [\"lan\"]\n";
    host.write("/etc/fwctl/policy.toml", from_lan);
    let answer = ssh.ask("fwctl apply --no-confirm --yes; echo exit $?");
    assert!(answer.ends_with("exit 4"), "{answer}");
    assert!(answer.contains("[[allow]]"), "no way out is shown:\n{answer}");
    assert_eq!(host.sh("nft list tables"), "");
    // From the LAN the same policy locks nobody out, once the other session has ended.
    drop(ssh);
    let mut ssh = host.ssh(&host.lab.lan, HOST_LAN_V4);
    let answer = ssh.ask("fwctl apply --no-confirm --yes >/dev/null 2>&1; echo exit $?");
    assert_eq!(answer, "exit 0");
    host.ssh(&host.lab.lan, HOST_LAN_V4);
    assert_eq!(ssh.ask("echo on"), "on");
    net::expect(&[(net::Probe::tcp(&host.lab.internet, (HOST_WAN_V4, 22)), Silent)]);
}

#[test]
fn broadcast_and_multicast_that_the_policy_allows_arrive() {
    let host = Host::without_docker();
    let lab: &Lab = &host.lab;
    let groups = |port: u16| {
        [
            (
                lab.host.listen_multicast("239.1.2.3".parse().unwrap(), port, "192.0.2.10"),
                format!("239.1.2.3:{port}"),
            ),
            (
                lab.host.listen_multicast("ff02::1:5".parse().unwrap(), port + 1, "lan0"),
                format!("[ff02::1:5]:{}", port + 1),
            ),
            (
                lab.host.listen_udp(&format!("0.0.0.0:{}", port + 2)),
                format!("192.0.2.255:{}", port + 2),
            ),
        ]
    };
    let (allowed, other) = (groups(5000), groups(6000));
    for (listener, to) in allowed.iter().chain(&other) {
        net::send_udp(&lab.lan, to, "eth0");
        assert!(listener.wait_heard(1, Duration::from_secs(2)), "{to} before any policy");
    }
    host.apply("version = 1\nuse = [\"ssh-only\"]\n[[allow]]\nports = [\"5000-5002/udp\"]\n");
    for (listener, to) in &other {
        net::send_udp(&lab.lan, to, "eth0");
        assert!(!listener.wait_heard(2, Duration::from_millis(300)), "{to} is not allowed");
    }
    for (listener, to) in &allowed {
        net::send_udp(&lab.lan, to, "eth0");
        assert!(listener.wait_heard(2, Duration::from_secs(2)), "{to} is allowed");
    }
}
