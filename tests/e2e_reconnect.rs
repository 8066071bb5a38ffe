//! `--confirm-on-reconnect` on a whole host with a real sshd: a new login of the one who made the
//! change keeps it, and nothing less does.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod host;
mod net;

use host::Host;
use net::{HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Namespace};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Longer than it takes to see a login, and to confirm.
const MOMENT: Duration = Duration::from_millis(1500);

const APPLY: &str = "fwctl apply --yes --confirm-within 60s --confirm-on-reconnect";

fn host() -> Host {
    let host = Host::without_docker();
    host.sh("useradd --create-home alice && cp -r /root/.ssh /home/alice/ \
             && chown -R alice: /home/alice/.ssh");
    host.write("/etc/fwctl/policy.toml", "version = 1\nuse = [\"ssh-only\"]\n");
    host
}

fn waits(host: &Host) -> bool {
    host.sh("fwctl status").contains("waits to be confirmed")
}

/// Still waits after whatever has just been tried.
fn still_waits(host: &Host, after: &str) {
    std::thread::sleep(MOMENT);
    assert!(waits(host), "{after} has confirmed the change");
}

fn is_kept(host: &Host, generation: u32) {
    let end = Instant::now() + Duration::from_secs(10);
    while waits(host) {
        assert!(Instant::now() < end, "it was not confirmed");
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = host.sh("fwctl status");
    assert!(status.contains(&format!("generation {generation} is in force")), "{status}");
    // Boot would load it.
    let restore = host.sh("fwctl restore");
    assert!(restore.contains(&format!("Nothing to change: generation {generation}")), "{restore}");
}

fn login(host: &Host, from: &Namespace, who: (&str, IpAddr), options: &str) -> bool {
    let mut command = host.ssh_command(from, who, options, "true");
    command.stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn only_a_new_login_of_the_same_user_from_outside_confirms() {
    let host = host();
    let internet = &host.lab.internet;
    let socket = tempfile::tempdir().unwrap();
    let shared = format!("-o ControlPath={}/master", socket.path().display());
    // Open before: a session, a shared connection, and one that has not logged in yet.
    let mut master = host
        .ssh_command(internet, ("root", HOST_WAN_V4), &format!("-M -N {shared}"), "")
        .spawn()
        .unwrap();
    let mut session = host.ssh(internet, HOST_WAN_V6);
    let early = internet.enter(|| TcpStream::connect((HOST_WAN_V4, 22)).unwrap());
    while !login(&host, internet, ("root", HOST_WAN_V4), &shared) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = session.ask(APPLY);
    assert!(said.contains("A new login of root over SSH, from outside, keeps it"), "{said}");
    assert!(waits(&host));

    // A scanner: connects, reads the banner, and begins to speak.
    let mut scanner = internet.enter(|| TcpStream::connect((HOST_WAN_V6, 22)).unwrap());
    scanner.read_exact(&mut [0; 8]).unwrap();
    scanner.write_all(b"SSH-2.0-scanner\r\n").unwrap();
    still_waits(&host, "a scanner");
    // A login that fails, as the same user.
    let wrong = tempfile::tempdir().unwrap();
    let key = wrong.path().join("key");
    net::run(std::process::Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&key));
    let mut failing = internet.command("ssh");
    failing.args(["-F", "none", "-i"]).arg(&key).args(["-o", "IdentitiesOnly=yes"]);
    failing.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    failing.args(["-o", "BatchMode=yes", &format!("root@{HOST_WAN_V4}"), "true"]);
    assert!(!failing.stderr(Stdio::null()).status().unwrap().success());
    still_waits(&host, "a login that failed");
    // A further session on a connection from before.
    assert!(login(&host, internet, ("root", HOST_WAN_V4), &shared));
    still_waits(&host, "a shared connection");
    // Another user, and the same one from the host itself.
    assert!(login(&host, internet, ("alice", HOST_WAN_V4), ""));
    still_waits(&host, "somebody else");
    for address in [IpAddr::from([127, 0, 0, 1]), HOST_WAN_V4] {
        assert!(login(&host, &host.lab.host, ("root", address), ""));
    }
    still_waits(&host, "the host itself");
    // The session that was open goes on, and does not count either.
    assert_eq!(session.ask("echo on"), "on");
    still_waits(&host, "the session that made the change");
    drop((early, scanner));

    assert!(login(&host, internet, ("root", HOST_WAN_V4), ""));
    is_kept(&host, 1);
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn whoever_lost_the_session_logs_in_again_and_it_stays() {
    let host = host();
    // Over IPv6, by sudo, from the LAN; and the session is gone before the new login.
    host.sh("printf 'alice ALL=(ALL) NOPASSWD: ALL\\n' >/etc/sudoers.d/alice");
    let apply = format!("sudo {APPLY}");
    let lan = &host.lab.lan;
    let mut command = host.ssh_command(lan, ("alice", HOST_LAN_V6), "", &apply);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("A new login of alice"), "{said}");
    assert!(login(&host, lan, ("root", HOST_LAN_V6), ""));
    still_waits(&host, "another user");
    assert!(login(&host, lan, ("alice", HOST_LAN_V6), ""));
    is_kept(&host, 1);
}

#[test]
fn at_a_terminal_that_goes_away_too_and_not_once_it_is_taken_back() {
    let host = host();
    let internet = &host.lab.internet;
    let on_a_terminal = || {
        let mut command = host.ssh_command(internet, ("root", HOST_WAN_V4), "-tt", APPLY);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = child.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !waits(&host)
            || host.try_sh("test -e /run/fwctl/reconnect.json").status.code() != Some(0)
        {
            assert!(Instant::now() < end, "was never armed");
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    };
    // Taken back by hand: the process that waits for a login ends, and a login does nothing.
    let child = on_a_terminal();
    host.sh("fwctl rollback");
    child.wait_with_output().unwrap();
    assert!(login(&host, internet, ("root", HOST_WAN_V4), ""));
    std::thread::sleep(MOMENT);
    assert!(host.sh("fwctl status").contains("not in force"));
    assert_eq!(host.sh("pgrep -x fwctl || true"), "", "it is still there");
    // Kept by a login; the prompt says so.
    let child = on_a_terminal();
    assert!(login(&host, internet, ("root", HOST_WAN_V6), ""));
    is_kept(&host, 2);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("a login of root keeps it"), "{said}");
    // It stands still while somebody logs in, and has seen nothing: the journal tells.
    host.write("/etc/fwctl/policy.toml", "version = 1\nuse = [\"web-server\"]\n");
    let child = on_a_terminal();
    host.sh("pkill -STOP -x fwctl");
    assert!(login(&host, internet, ("root", HOST_WAN_V6), ""));
    host.sh("pkill -CONT -x fwctl");
    is_kept(&host, 3);
    child.wait_with_output().unwrap();
    // The terminal goes away with its connection; the login confirms all the same.
    host.write("/etc/fwctl/policy.toml", "version = 1\nuse = [\"ssh-only\"]\n");
    let mut child = on_a_terminal();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(login(&host, internet, ("root", HOST_WAN_V4), ""));
    is_kept(&host, 4);
}
