//! A change that waits, on whole hosts and over real SSH: whatever dies meanwhile, the rules from
//! before rule again at the deadline. Timed with packets of both IP versions.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod host;
mod net;

use fwctl::model::nft::Family;
use fwctl::plan::pending::{self, Phase};
use host::{Host, Knocking};
use net::Answer::{Open, Silent};
use net::{HOST_WAN_V4, HOST_WAN_V6};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// In force: SSH and the web.
const WEB: &str = "version = 1\n[[allow]]\nservice = [\"ssh\", \"http\"]\n";
/// To come: SSH and the database.
const DATABASE: &str =
    "version = 1\n[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nports = [\"5432/tcp\"]\n";

/// The longest that the old rules may take to come back, behind the deadline; and before it.
const LATE: Duration = Duration::from_secs(1);
const EARLY: Duration = Duration::from_millis(10);

struct Bench {
    host: Host,
    _database: Option<net::Listener>,
}

/// When the kernel forgets the change, between these two.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    earliest: Instant,
    latest: Instant,
}

impl Bench {
    fn on(host: Host) -> Self {
        host.install_package();
        host.apply(WEB);
        host.sh("systemctl start fwctl-watch");
        let bench = Self { _database: None, host };
        bench.host.write("/etc/fwctl/policy.toml", DATABASE);
        bench
    }

    fn without_docker() -> Self {
        let bench = Self::on(Host::without_docker());
        let listener = bench.host.lab.host.listen_tcp("[::]:5432");
        Self { _database: Some(listener), ..bench }
    }

    fn deadline(&self) -> Option<Deadline> {
        let asked = Instant::now();
        let read = || fwctl::observe::nft::read_table(Family::Inet, "fwctl").unwrap();
        let table = self.host.lab.host.enter(read)?;
        let Phase::Armed { left } = pending::read(&table)?.phase else { return None };
        let left = Duration::from_millis(left);
        Some(Deadline { earliest: asked + left, latest: Instant::now() + left })
    }

    /// Arms over SSH, with the command in front of it that the words before `fwctl` are.
    fn arm(&self, before: &str) -> Deadline {
        let mut session = self.host.ssh(&self.host.lab.internet, HOST_WAN_V6);
        let said = session.ask(&format!("{before} fwctl apply --yes --confirm-within 10s"));
        assert!(said.contains("rules for 10 s"), "{said}");
        self.deadline().expect("is armed")
    }

    /// Arms on a terminal over SSH, where apply waits for an answer.
    fn arm_at_a_terminal(&self, flags: &str) -> (Child, Deadline) {
        let apply = format!("fwctl apply --yes --confirm-within 10s {flags}");
        let who = ("root", HOST_WAN_V4);
        let mut command = self.host.ssh_command(&self.host.lab.internet, who, "-tt", &apply);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        let deadline = loop {
            match self.deadline() {
                Some(deadline) => break deadline,
                None => assert!(Instant::now() < end, "was never armed"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        (child, deadline)
    }

    /// The new rules rule until the deadline, and from then on the old ones.
    fn goes_back(&self, deadline: Deadline, what: &str) {
        let until = deadline.latest + Duration::from_secs(5);
        let back = std::thread::scope(|scope| {
            let watch = |address: IpAddr| {
                let internet = &self.host.lab.internet;
                move || internet.enter(|| opens(SocketAddr::new(address, 80), until))
            };
            let four = scope.spawn(watch(HOST_WAN_V4));
            let six = scope.spawn(watch(HOST_WAN_V6));
            [four.join().unwrap(), six.join().unwrap()]
        });
        for back in back {
            let back = back.unwrap_or_else(|| panic!("{what}: the old rules do not come back"));
            assert!(
                back + EARLY >= deadline.earliest,
                "{what}: early by {:?}",
                deadline.earliest - back
            );
            assert!(back <= deadline.latest + LATE, "{what}: late by {:?}", back - deadline.latest);
        }
        self.old_rules(what);
    }

    fn old_rules(&self, what: &str) {
        self.host.expect_from_outside(&[(22, Open), (80, Open), (5432, Silent)]);
        for address in [HOST_WAN_V4, HOST_WAN_V6] {
            let mut session = self.host.ssh(&self.host.lab.internet, address);
            assert_eq!(session.ask("echo in"), "in", "{what}");
        }
    }

    fn new_rules(&self) {
        self.host.expect_from_outside(&[(22, Open), (80, Silent), (5432, Open)]);
    }

    /// The next command says what became of it, and all is cleared away.
    fn is_told(&self, what: &str) {
        let status = self.host.sh("fwctl status");
        assert!(status.contains("was not confirmed by"), "{what}: {status}");
        let confirm = self.host.try_sh("fwctl confirm");
        assert_eq!(confirm.status.code(), Some(6), "{what}");
        let left = self.host.sh("nft list table inet fwctl");
        assert!(!left.contains("armed_"), "{what}: {left}");
    }
}

/// When a port answers first.
fn opens(to: SocketAddr, until: Instant) -> Option<Instant> {
    while Instant::now() < until {
        if TcpStream::connect_timeout(&to, Duration::from_millis(5)).is_ok() {
            return Some(Instant::now());
        }
    }
    None
}

#[test]
fn whoever_dies_the_old_rules_come_back_in_time() {
    let bench = Bench::without_docker();
    let host = &bench.host;

    // The terminal at which apply waits goes away with its connection.
    let (mut child, deadline) = bench.arm_at_a_terminal("");
    bench.new_rules();
    child.kill().unwrap();
    child.wait().unwrap();
    bench.goes_back(deadline, "the terminal closed");
    bench.is_told("the terminal closed");

    // Every process of fwctl, the one that waits for a login and the watcher too.
    let (mut child, deadline) = bench.arm_at_a_terminal("--confirm-on-reconnect");
    let end = Instant::now() + Duration::from_secs(5);
    while host.sh("pgrep -xc fwctl || true") != "3" {
        assert!(
            Instant::now() < end,
            "there are not three: {}",
            host.sh("pgrep -xa fwctl || true")
        );
    }
    host.sh("systemctl mask --runtime -q fwctl-watch; pkill -KILL -x fwctl");
    assert_eq!(host.sh("pgrep -xc fwctl || true"), "0");
    bench.new_rules();
    bench.goes_back(deadline, "kill -9");
    child.wait().unwrap();
    bench.is_told("kill -9");
    host.sh("systemctl unmask --runtime -q fwctl-watch; systemctl reset-failed; systemctl start fwctl-watch");

    // Everything of ours is stopped.
    let deadline = bench.arm("");
    host.sh("systemctl stop fwctl-watch fwctl");
    bench.new_rules();
    bench.goes_back(deadline, "systemctl stop");
    bench.is_told("systemctl stop");
    host.sh("systemctl start fwctl fwctl-watch");
}

#[test]
fn clocks_and_disks_decide_nothing() {
    let bench = Bench::without_docker();
    let host = &bench.host;
    // A day ahead, and a day behind; for the other commands the clock is the true one.
    for offset in ["+1d", "-1d"] {
        let deadline = bench.arm(&format!("faketime -f {offset}"));
        let status = host.sh("fwctl status");
        assert!(status.contains("waits to be confirmed, for "), "{offset}: {status}");
        bench.goes_back(deadline, offset);
        let confirm = host.try_sh(&format!("faketime -f {offset} fwctl confirm"));
        assert_eq!(confirm.status.code(), Some(6), "{offset}");
    }
    // In time by the true clock, however late the faked one says it is.
    bench.arm("");
    host.sh("faketime -f +1d fwctl confirm");
    bench.new_rules();
    host.apply(WEB);
    host.write("/etc/fwctl/policy.toml", DATABASE);

    // The disk is full once the change is armed.
    host.sh("cp -a /var/lib/fwctl /root/kept
         mount -t tmpfs -o size=1m,mode=0700 tmpfs /var/lib/fwctl
         cp -a /root/kept/. /var/lib/fwctl/");
    let fill = || host.sh("dd if=/dev/zero of=/var/lib/fwctl/fill bs=1k 2>/dev/null || true");
    let free = || host.sh("rm /var/lib/fwctl/fill");
    let deadline = bench.arm("");
    fill();
    bench.goes_back(deadline, "a full disk");
    // Nothing new can be begun, and that is said; the rules stay.
    let refused = host.try_sh("fwctl apply --yes --no-confirm");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    bench.old_rules("a full disk");
    free();
    // Again, now that nothing of an earlier change is left to be told.
    host.try_sh("fwctl confirm");
    fill();
    let before = host.lab.host.ruleset_generation();
    for how in ["--no-confirm", "--confirm-within 10s"] {
        let refused = host.try_sh(&format!("fwctl apply --yes {how}"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
        assert!(said.contains("No space left on device"), "{said}");
    }
    assert_eq!(host.lab.host.ruleset_generation(), before, "something was sent");
    free();
    // Taken back, and confirmed, while it is full.
    bench.arm("");
    fill();
    let back = host.try_sh("fwctl rollback");
    let said = String::from_utf8_lossy(&back.stderr).into_owned();
    assert!(back.status.success() || said.contains("taken back"), "{said}");
    bench.old_rules("taken back");
    free();
    bench.arm("");
    fill();
    let kept = host.try_sh("fwctl confirm");
    let said = String::from_utf8_lossy(&kept.stderr).into_owned();
    assert!(kept.status.success() || said.contains("is in force, but the disk"), "{said}");
    bench.new_rules();
    free();
    host.sh("fwctl confirm || test $? = 6");
    bench.new_rules();
    assert!(host.sh("fwctl restore").contains("Nothing to change"));
    host.sh("umount /var/lib/fwctl");
}

#[test]
fn docker_may_restart_meanwhile() {
    let bench = Bench::on(Host::boot());
    bench.host.docker_run("db", "-p 5432:5432 --restart always", 5432);
    let deadline = bench.arm("");
    bench.new_rules();
    bench.host.sh("systemctl restart --no-block docker");
    bench.goes_back(deadline, "Docker restarted");
    bench.host.sh("until docker exec db busybox true; do sleep 0.2; done");
    bench.old_rules("Docker is back");
    bench.is_told("Docker restarted");
}

#[test]
fn a_boot_loads_what_was_confirmed_and_nothing_that_waited() {
    let mut bench = Bench::on(Host::without_docker());
    let confirmed = bench.host.in_force();
    for (round, what) in ["a reboot", "a power cut"].into_iter().enumerate() {
        let armed = bench.host.sh("fwctl apply --yes --confirm-within 1h");
        assert!(armed.contains("rules for 3600 s"), "{armed}");
        bench.host.expect_from_outside(&[(22, Open), (80, Silent)]);
        if round == 0 {
            bench.host.reboot();
        } else {
            bench.host.power_cut();
        }
        assert_eq!(bench.host.in_force(), confirmed, "{what}");
        bench.host.expect_from_outside(&[(22, Open), (80, Open)]);
        let status = bench.host.sh("fwctl status");
        assert!(status.contains("was lost before it was confirmed"), "{what}: {status}");
        let said = bench.host.sh("journalctl --no-pager -o cat -u fwctl.service");
        assert!(said.contains("was lost before it was confirmed"), "{what}: {said}");
        let confirm = bench.host.try_sh("fwctl confirm");
        assert_eq!(confirm.status.code(), Some(6), "{what}");
    }
    // Confirmed: from its first packet on the host answers by the new rules.
    bench.host.sh("fwctl apply --yes --confirm-within 1h && fwctl confirm");
    let kept = bench.host.in_force();
    assert_ne!(kept, confirmed);
    let knocking = Knocking::at(&bench.host, 80);
    bench.host.power_cut();
    bench.host.reboot();
    assert_eq!(bench.host.in_force(), kept);
    bench.host.expect_from_outside(&[(22, Open), (80, Silent)]);
    let (asked, answered) = knocking.stop();
    assert_eq!(answered, 0, "a closed port answered {answered} of {asked} times");
    assert!(asked > 50, "too few questions were asked: {asked}");
}

#[test]
fn sessions_of_the_one_who_cuts_go_on() {
    let host = Host::without_docker();
    host.sh("useradd --create-home alice && cp -r /root/.ssh /home/alice/ \
             && chown -R alice: /home/alice/.ssh");
    host.apply(WEB);
    let mut own = host.ssh(&host.lab.internet, HOST_WAN_V4);
    let mut second = host.ssh(&host.lab.internet, HOST_WAN_V6);
    let who = ("alice", net::HOST_LAN_V4);
    let mut other = host.ssh_command(&host.lab.lan, who, "", "sleep 60").spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while host.sh("pgrep -u alice -xc sleep || true") != "1" {
        assert!(Instant::now() < end, "alice does not get in");
    }
    // From now on nobody who is in could come in again.
    let nobody = "version = 1\n[[allow]]\nservice = [\"ssh\"]\nfrom = [\"198.51.100.0/24\"]\n";
    host.write("/etc/fwctl/policy.toml", nobody);
    let plan = own.ask("fwctl plan");
    assert!(plan.contains("yours, never closed") && plan.contains(", alice"), "{plan}");
    own.ask("fwctl apply --yes --override-guard --cut");
    let said = own.ask("fwctl confirm");
    assert!(said.contains("1 connection closed") && said.contains("it is yours"), "{said}");
    assert_eq!(own.ask("echo on"), "on");
    assert_eq!(second.ask("echo on"), "on");
    assert!(!other.wait().unwrap().success(), "alice goes on");
}
