//! The Debian package on a whole host: installed, applied from, rebooted, flushed, removed, purged.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod host;
mod net;

use host::{Host, Knocking};
use net::Answer::{Open, Silent};
use net::{HOST_LAN_V6, HOST_WAN_V4};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn the_package_from_installation_to_purge() {
    let folder = tempfile::tempdir().unwrap();
    let deb = host::package(folder.path());
    let lintian = Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit=0"])
        .arg(&deb)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&lintian.stdout);
    assert!(lintian.status.success(), "lintian: {said}");

    let mut host = Host::without_docker();
    std::fs::copy(&deb, host.path("/root/fwctl.deb")).unwrap();

    // Installing starts nothing and changes no rule.
    let (rules, before) = (host.lab.host.ruleset(), host.lab.host.ruleset_generation());
    host.sh("dpkg -i fwctl.deb");
    assert_eq!(host.lab.host.ruleset(), rules);
    assert_eq!(host.lab.host.ruleset_generation(), before, "something was sent");
    for unit in ["fwctl", "fwctl-watch"] {
        let state = host.sh(&format!("systemctl is-enabled {unit}; systemctl is-active {unit}||:"));
        assert_eq!(state, "enabled\ninactive", "{unit}");
    }
    assert_eq!(host.sh("stat -c '%a %U' /var/lib/fwctl"), "700 root");
    assert!(host.sh("dpkg-query -W -f '${Conffiles}' fwctl").contains("/etc/fwctl/policy.toml"));
    host.sh(
        "/usr/bin/fwctl check && systemd-analyze --man=no verify fwctl.service fwctl-watch.service",
    );
    host.expect_from_outside(&[(22, Open), (80, Open)]);

    // The shipped policy, applied as it came, over SSH, and confirmed from a new login. From here on
    // no packet to port 80 may be answered.
    let mut session = host.ssh(&host.lab.internet, HOST_WAN_V4);
    let said = session.ask("/usr/bin/fwctl apply --yes");
    assert!(said.contains("Generation 1 rules for 60 s"), "{said}");
    let said = host.ssh(&host.lab.lan, HOST_LAN_V6).ask("/usr/bin/fwctl confirm");
    assert!(said.contains("Generation 1 is confirmed, and stays"), "{said}");
    assert_eq!(session.ask("echo on"), "on");
    drop(session);
    host.expect_from_outside(&[(22, Open), (80, Silent)]);
    let applied = host.in_force();
    assert!(applied.starts_with("fwctl generation 1 sha256 "), "{applied}");
    let knocking = Knocking::at(&host, 80);
    host.reboot();
    assert_eq!(host.in_force(), applied);
    let moments = host
        .sh("for unit in fwctl.service network-pre.target systemd-networkd.service; do
           systemctl show --value -p ActiveEnterTimestampMonotonic $unit; done");
    let moments: Vec<u64> = moments.lines().map(|line| line.parse().unwrap()).collect();
    assert!(0 < moments[0] && moments[0] <= moments[1] && moments[1] < moments[2], "{moments:?}");
    host.expect_from_outside(&[(22, Open), (80, Silent)]);
    let (asked, answered) = knocking.stop();
    assert_eq!(answered, 0, "a closed port answered {answered} of {asked} times");
    assert!(asked > 50, "too few questions were asked: {asked}");
    assert_eq!(host.sh("systemctl is-active fwctl fwctl-watch"), "active\nactive");
    let said = host.sh("journalctl --no-pager -o cat -u fwctl.service");
    assert!(said.contains("Generation 1 is in force"), "{said}");

    // Whatever flushes by the unit of nftables, it alone brings the rules back in time.
    host.sh("systemctl stop fwctl-watch");
    for what in ["start", "restart", "reload", "stop", "start", "restart"] {
        host.sh(&format!("systemctl {what} nftables"));
        let expected = if what == "stop" { "" } else { applied.as_str() };
        assert_eq!(host.in_force(), expected, "after systemctl {what} nftables");
    }

    // A flush by hand is mended by the watcher.
    host.sh("systemctl start fwctl-watch");
    for flush in ["flush ruleset", "delete table inet fwctl"] {
        host.lab.host.nft(flush);
        let start = Instant::now();
        while host.in_force() != applied {
            assert!(start.elapsed() < Duration::from_secs(1), "{flush}: not back within a second");
        }
    }
    let said = host.sh("journalctl --no-pager -o cat -u fwctl-watch.service");
    assert!(said.contains("puts its rules back"), "{said}");
    assert!(said.contains("generation 1 is in force again"), "{said}");
    host.expect_from_outside(&[(22, Open), (80, Silent)]);

    // Stopping and upgrading leave the rules as they are, and the watcher at work.
    let unchanged = host.lab.host.ruleset_generation();
    host.sh("systemctl stop fwctl && systemctl start fwctl && dpkg -i fwctl.deb");
    assert_eq!(host.lab.host.ruleset_generation(), unchanged);
    assert_eq!(host.sh("systemctl is-active fwctl fwctl-watch"), "active\nactive");

    // Removing says what stays; purging takes table and state.
    let said = host.sh("dpkg -r fwctl");
    assert!(said.contains("its rules stay in force"), "{said}");
    assert_eq!(host.in_force(), applied);
    host.sh("dpkg --purge fwctl");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(host.in_force(), "");
    assert_eq!(host.sh("ls -d /var/lib/fwctl /run/fwctl /etc/fwctl 2>/dev/null || :"), "");
    host.expect_from_outside(&[(22, Open), (80, Open)]);
}
