//! The Debian package on a whole host: installed, applied from, rebooted, flushed, removed, purged.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod host;
mod net;

use host::Host;
use net::Answer::{Open, Silent};
use net::{HOST_WAN_V4, HOST_WAN_V6};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Packages the program under test.
fn package(folder: &Path) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build-deb");
    let built = Command::new(script)
        .args(["--binary", env!("CARGO_BIN_EXE_fwctl"), "--out"])
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{script}\n{said}");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

/// Dials from the internet without pause, also while the host is off, and counts every answer, a
/// refusal too: a port behind a loaded firewall gives none.
struct Knocking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, usize)>,
}

impl Knocking {
    fn at(host: &Host, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let file = File::open(host.lab.internet.path()).unwrap();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let (mut asked, mut answered) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                for address in [HOST_WAN_V4, HOST_WAN_V6] {
                    let to = SocketAddr::new(address, port);
                    match TcpStream::connect_timeout(&to, Duration::from_millis(20)) {
                        Ok(_) => answered += 1,
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => answered += 1,
                        // The link is not there while the host is off.
                        Err(_) => std::thread::sleep(Duration::from_millis(2)),
                    }
                    asked += 1;
                }
            }
            (asked, answered)
        });
        Self { stop, thread }
    }

    /// How often it asked, and how often there was an answer.
    fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The generation in force as the kernel tells it; empty where there is none.
fn in_force(host: &Host) -> String {
    let listed = host.try_sh("nft list chain inet fwctl generation | grep -o 'fwctl generation.*'");
    String::from_utf8_lossy(&listed.stdout).trim().trim_end_matches('"').to_owned()
}

#[test]
fn the_package_from_installation_to_purge() {
    let folder = tempfile::tempdir().unwrap();
    let deb = package(folder.path());
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

    // The shipped policy, applied as it came. From here on no packet to port 80 may be answered.
    host.sh("/usr/bin/fwctl apply --no-confirm --yes");
    host.expect_from_outside(&[(22, Open), (80, Silent)]);
    let applied = in_force(&host);
    assert!(applied.starts_with("fwctl generation 1 sha256 "), "{applied}");
    let knocking = Knocking::at(&host, 80);
    host.reboot();
    assert_eq!(in_force(&host), applied);
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
        assert_eq!(in_force(&host), expected, "after systemctl {what} nftables");
    }

    // A flush by hand is mended by the watcher.
    host.sh("systemctl start fwctl-watch");
    for flush in ["flush ruleset", "delete table inet fwctl"] {
        host.lab.host.nft(flush);
        let start = Instant::now();
        while in_force(&host) != applied {
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
    assert_eq!(in_force(&host), applied);
    host.sh("dpkg --purge fwctl");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(in_force(&host), "");
    assert_eq!(host.sh("ls -d /var/lib/fwctl /run/fwctl /etc/fwctl 2>/dev/null || :"), "");
    host.expect_from_outside(&[(22, Open), (80, Open)]);
}
