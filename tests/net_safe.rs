//! A change that nobody confirms goes by itself: timed with packets, whatever dies meanwhile.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::plan::pending;
use net::{Answer, HOST_WAN_V4, HOST_WAN_V6, Host, Lab, Namespace, Probe};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SSH: &str = "[[allow]]\nservice = [\"ssh\"]\n";
const WEB: &str = "[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nports = [\"80/tcp\"]\n";
const DB: &str = "[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nports = [\"5432/tcp\"]\n\
                  [[allow]]\nports = [\"9000/tcp\"]\nlimit = \"9/minute\"\n";

impl Host<'_> {
    /// Arms the policy for so long, and says when that was at the latest.
    fn arm(&self, policy: &str, within: &str) -> Instant {
        self.policy(policy);
        let text = self.run(&format!("apply --yes --confirm-within {within}"), 0);
        assert!(text.contains("fwctl confirm"), "{text}");
        Instant::now()
    }

    fn left(&self) -> Option<Duration> {
        match pending::read(&self.live()?)?.phase {
            pending::Phase::Armed { left } => Some(Duration::from_millis(left)),
            _ => None,
        }
    }

    /// Waits until the kernel itself says that nothing is armed any more.
    fn expire(&self) {
        while let Some(left) = self.left() {
            std::thread::sleep(left + Duration::from_millis(5));
        }
    }
}

fn answers(lab: &Lab, ports: &[(u16, Answer)]) {
    let mut expected = Vec::new();
    for (port, answer) in ports {
        for address in [HOST_WAN_V4, HOST_WAN_V6] {
            expected.push((Probe::tcp(&lab.internet, (address, *port)), *answer));
        }
    }
    net::expect(&expected);
}

/// Asks without pause whether a port answers, and says when that changed to what is wanted.
fn when(from: &Namespace, to: SocketAddr, open: bool, until: Instant) -> Option<Instant> {
    from.enter(|| {
        let mut silent: Vec<Instant> = Vec::new();
        while Instant::now() < until {
            let asked = Instant::now();
            let answered = connects(to, Duration::from_millis(8));
            if answered && open {
                return Some(Instant::now());
            }
            // One silence may be that of a busy machine; several in a row are not.
            silent.push(asked);
            if answered {
                silent.clear();
                // Slowly enough for the listener: a full queue is silent too.
                std::thread::sleep(Duration::from_millis(3));
            }
            if !open && silent.len() == 5 {
                return Some(silent[0]);
            }
        }
        None
    })
}

fn connects(to: SocketAddr, patience: Duration) -> bool {
    TcpStream::connect_timeout(&to, patience).is_ok()
}

#[test]
fn a_first_change_that_nobody_confirms_leaves_the_host_as_it_was() {
    let lab = Lab::new();
    let _ssh = lab.host.listen_tcp("[::]:22");
    let _db = lab.host.listen_tcp("[::]:5432");
    let host = Host::new(&lab.host);
    host.policy(SSH);
    let before = Instant::now();
    host.arm(SSH, "10s");
    answers(&lab, &[(22, Answer::Open), (5432, Answer::Silent)]);
    // The deadline, from what the kernel counts; both bounds are those of the reading itself.
    let asked = Instant::now();
    let left = host.left().expect("is armed");
    let (earliest, latest) = (asked + left, Instant::now() + left);
    assert!(earliest > before + Duration::from_secs(9), "10 s were asked for: {left:?}");
    let status = host.run("status", 0);
    assert!(status.contains("generation 1 rules and waits to be confirmed"), "{status}");
    let json = host.run("status --format json", 0);
    assert!(json.contains("\"pending\": {"), "{json}");
    let to = (HOST_WAN_V4, 5432).into();
    let opened = when(&lab.internet, to, true, latest + Duration::from_secs(2)).expect("expires");
    assert!(opened + Duration::from_millis(10) >= earliest, "early by {:?}", earliest - opened);
    assert!(opened <= latest + Duration::from_secs(1), "late by {:?}", opened - latest);
    answers(&lab, &[(22, Answer::Open), (5432, Answer::Open)]);
    // Before anything is cleared away, and after.
    let status = host.run("status", 0);
    assert!(status.contains("was not confirmed by"), "{status}");
    let text = host.run("confirm", 6);
    assert!(text.contains("was not confirmed by"), "{text}");
    assert_eq!(host.live(), None, "nothing is left");
    let status = host.run("status", 0);
    assert!(status.contains("not in force") && status.contains("was not confirmed by"), "{status}");
    host.run("confirm", 6);
    assert!(host.run("history", 0).contains("not confirmed in time"));
}

#[test]
fn a_change_that_nobody_confirms_gives_way_to_the_rules_from_before() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:80");
    let _db = lab.host.listen_tcp("[::]:5432");
    let host = Host::new(&lab.host);
    host.policy(WEB);
    host.run("apply --yes --no-confirm", 0);
    let before = host.rules();
    host.arm(DB, "10s");
    answers(&lab, &[(80, Answer::Silent), (5432, Answer::Open)]);
    let asked = Instant::now();
    let left = host.left().expect("is armed");
    let (earliest, latest) = (asked + left, Instant::now() + left);
    let status = host.run("status", 0);
    assert!(status.contains("generation 2 rules"), "{status}");
    assert!(status.contains("generation 1 rules again when it ends"), "{status}");
    assert!(status.contains("drift    none"), "what is pending is no drift:\n{status}");
    for command in
        ["apply --yes", "apply --yes --no-confirm", "off --yes", "plan", "rollback 1 --yes"]
    {
        let text = host.run(command, 8);
        assert!(text.contains("fwctl rollback"), "{text}");
    }
    let text = host.run("confirm 1", 6);
    assert!(text.contains("generation 2 does"), "{text}");
    let to = (HOST_WAN_V6, 80).into();
    let opened = when(&lab.internet, to, true, latest + Duration::from_secs(2)).expect("expires");
    assert!(opened + Duration::from_millis(10) >= earliest, "early by {:?}", earliest - opened);
    assert!(opened <= latest + Duration::from_secs(1), "late by {:?}", opened - latest);
    answers(&lab, &[(80, Answer::Open), (5432, Answer::Silent)]);
    let text = host.run("apply --yes", 0);
    assert!(text.contains("generation 2 was not confirmed by"), "{text}");
    assert!(text.contains("Generation 3 rules for"), "{text}");
    host.run("rollback", 0);
    assert_eq!(host.rules(), before, "all is as before");
    assert!(host.run("status", 0).contains("generation 3 was taken back"));
}

#[test]
fn a_change_that_is_confirmed_is_the_one_that_would_have_been_made_at_once() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:80");
    let _db = lab.host.listen_tcp("[::]:5432");
    let other = Namespace::new("other");
    let (host, meant) = (Host::new(&lab.host), Host::new(&other));
    for (number, policy) in [(1, WEB), (2, DB), (3, WEB)] {
        meant.policy(policy);
        meant.run("apply --yes --no-confirm", 0);
        host.arm(policy, "30s");
        let text = host.run("confirm", 0);
        assert!(text.contains(&format!("Generation {number} is confirmed")), "{text}");
        assert!(host.run("confirm", 0).contains("Nothing to confirm"));
        assert_eq!(host.rules(), meant.rules(), "generation {number}");
        assert!(host.run("apply --yes", 0).contains("Nothing to change"));
        let status = host.run("status", 0);
        assert!(status.contains(&format!("generation {number} is in force")), "{status}");
        assert!(status.contains("drift    none") && !status.contains("waits"), "{status}");
    }
    answers(&lab, &[(80, Answer::Open), (5432, Answer::Silent)]);
    // One that was edited is not gone back to.
    let kept = host.file("var/lib/fwctl/generations/2/installed.json");
    let sound = std::fs::read(&kept).unwrap();
    let edited = String::from_utf8_lossy(&sound).replace("5432", "5433");
    std::fs::write(&kept, edited).unwrap();
    let text = host.run("rollback 2 --yes", 1);
    assert!(text.contains("its SHA-256 is another one") && text.contains("nothing was"), "{text}");
    std::fs::write(&kept, sound).unwrap();
    assert!(host.run("rollback 99 --yes", 1).contains("generation 99 is not kept on this host"));
    // Back to an earlier one, which waits as well.
    let text = host.run("rollback 2 --yes", 0);
    assert!(text.contains("Generation 4 rules for"), "{text}");
    answers(&lab, &[(80, Answer::Silent), (5432, Answer::Open)]);
    host.run("confirm 4", 0);
    let history = host.run("history", 0);
    assert!(history.contains("back to generation 2"), "{history}");
    let mut said = host.command("rollback 3 --yes --no-confirm --message");
    assert!(said.arg("the web again").output().unwrap().status.success());
    let history = host.run("history", 0);
    assert!(history.lines().next().unwrap().ends_with("the web again"), "{history}");
    let fifth = host.run("history 5", 0);
    assert!(fifth.contains("\nthe web again\n"));
    assert!(fifth.contains("\nMade for the host whose snapshot has the SHA-256 "), "{fifth}");
    // What was written then; also of one that was gone back to.
    assert_eq!(host.run("history 2 --policy-text", 0), format!("version = 1\n{DB}"));
    assert_eq!(host.run("history 5 --policy-text", 0), format!("version = 1\n{WEB}"));
    let snapshot = host.run("snapshot", 0);
    assert!(snapshot.contains("\"policy.toml\"") && !snapshot.contains("[[allow]]"));
    let shown = host.run("history 4", 0);
    assert!(shown.contains("- ") && shown.contains("+ "), "{shown}");
}

#[test]
fn off_waits_as_well() {
    let lab = Lab::new();
    let _db = lab.host.listen_tcp("[::]:5432");
    let host = Host::new(&lab.host);
    host.policy(SSH);
    host.run("apply --yes --no-confirm", 0);
    let before = host.rules();
    host.run("off --yes --confirm-within 10s", 0);
    answers(&lab, &[(5432, Answer::Open)]);
    host.run("rollback", 0);
    answers(&lab, &[(5432, Answer::Silent)]);
    assert_eq!(host.rules(), before);
    host.run("off --yes --confirm-within 10s", 0);
    answers(&lab, &[(5432, Answer::Open)]);
    host.expire();
    answers(&lab, &[(5432, Answer::Silent)]);
    assert!(host.run("confirm", 6).contains("was not confirmed by"));
    assert_eq!(host.rules(), before);
    host.run("off --yes --confirm-within 30s", 0);
    host.run("confirm", 0);
    assert_eq!(host.live(), None);
    answers(&lab, &[(5432, Answer::Open)]);
    assert!(!host.root.path().join("var/lib/fwctl/confirmed.json").exists());
}

/// `fwctl apply` on a terminal of its own; what is written to the child is typed there.
fn on_a_terminal(host: &Host, arguments: &str) -> Child {
    let fwctl = env!("CARGO_BIN_EXE_fwctl");
    host.namespace
        .command("script")
        // `exec`: a shell that stays above would die of Ctrl-C itself (dash does, bash does not).
        .args(["-q", "-e", "-c", &format!("exec {fwctl} {arguments}"), "/dev/null"])
        .env("FWCTL_ROOT", host.root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn until_armed(host: &Host) {
    let end = Instant::now() + Duration::from_secs(20);
    while host.left().is_none() {
        assert!(Instant::now() < end, "was never armed");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The prompt comes behind the arming.
    std::thread::sleep(Duration::from_millis(700));
}

/// The processes below this one, itself first.
fn tree(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut at = 0;
    while at < all.len() {
        let path = format!("/proc/{0}/task/{0}/children", all[at]);
        let children = std::fs::read_to_string(path).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        at += 1;
    }
    all
}

fn kill(process: u32, signal: rustix::process::Signal) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}

#[test]
fn at_a_terminal_keep_keeps_and_back_takes_back() {
    let lab = Lab::new();
    let host = Host::new(&lab.host);
    host.policy(WEB);
    let mut child = on_a_terminal(&host, "apply --yes --confirm-within 60s");
    until_armed(&host);
    child.stdin.as_mut().unwrap().write_all(b"keep\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("Generation 1 is confirmed") && text.contains("s left"), "{text}");
    let kept = host.rules();
    for answer in [&b"what?\nback\n"[..], b"\x03"] {
        host.policy(DB);
        let mut child = on_a_terminal(&host, "apply --yes --confirm-within 60s");
        until_armed(&host);
        child.stdin.as_mut().unwrap().write_all(answer).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(6), "{text}");
        assert!(text.contains("is taken back"), "{text}");
        assert_eq!(host.rules(), kept);
    }
    // Somebody else answers meanwhile.
    let child = on_a_terminal(&host, "apply --yes --confirm-within 60s");
    until_armed(&host);
    host.run("confirm", 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn whoever_dies_while_it_waits_the_kernel_takes_it_back() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:80");
    let host = Host::new(&lab.host);
    host.policy(SSH);
    host.run("apply --yes --no-confirm", 0);
    let before = host.rules();
    for what in ["kill -9", "hang up"] {
        host.policy(WEB);
        let mut child = on_a_terminal(&host, "apply --yes --confirm-within 10s");
        until_armed(&host);
        answers(&lab, &[(80, Answer::Open)]);
        let processes = tree(child.id());
        assert!(processes.len() > 1, "there is no fwctl below script");
        if what == "kill -9" {
            for process in processes.iter().rev() {
                kill(*process, rustix::process::Signal::KILL);
            }
        } else {
            // The other side of the terminal goes away, as when a window is closed.
            kill(processes[0], rustix::process::Signal::KILL);
        }
        child.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(3);
        while processes.iter().any(|id| std::path::Path::new(&format!("/proc/{id}/fd")).exists()) {
            assert!(Instant::now() < end, "{what}: it lives on");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(host.left().is_some(), "{what}: it is still armed, and nobody is left");
        let left = host.left().unwrap();
        let opened_until = Instant::now() + left;
        let to = (HOST_WAN_V4, 80).into();
        let closed = when(&lab.internet, to, false, opened_until + Duration::from_secs(2)).unwrap();
        assert!(closed <= opened_until + Duration::from_secs(1), "{what}: late");
        assert!(closed + Duration::from_millis(30) >= opened_until, "{what}: early");
        let text = host.run("rollback", 1);
        assert!(text.contains("was not confirmed by"), "{text}");
        assert_eq!(host.rules(), before, "{what}");
    }
}

#[test]
fn whatever_a_dead_command_leaves_behind_the_next_one_puts_right() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    let attempt = host.root.path().join("var/lib/fwctl/attempt.json");
    let confirmed = host.root.path().join("var/lib/fwctl/confirmed.json");
    host.policy(SSH);
    host.run("apply --yes --no-confirm", 0);
    let before = host.rules();
    let first = std::fs::read(&confirmed).unwrap();

    // Dead between the record and the arming, or booted anew since.
    host.arm(WEB, "60s");
    let armed = host.live().unwrap();
    let recorded = std::fs::read(&attempt).unwrap();
    host.run("rollback", 0);
    std::fs::write(&attempt, &recorded).unwrap();
    assert!(host.run("status", 0).contains("was lost before it was confirmed"));
    assert!(host.run("confirm", 6).contains("was lost before it was confirmed"));
    assert_eq!(host.rules(), before);

    // Dead after the kernel kept it, before the disk knew: the kernel is believed.
    host.arm(WEB, "60s");
    let armed_now = host.live().unwrap();
    assert_eq!(armed.chains.len(), armed_now.chains.len());
    let found = pending::read(&armed_now).unwrap();
    let leads = pending::leads_to(&armed_now, &found);
    namespace.nft(&pending::keep(&armed_now, &found, Some(&leads)));
    assert_eq!(pending::read(&host.live().unwrap()).unwrap().phase, pending::Phase::Kept);
    assert_eq!(std::fs::read(&confirmed).unwrap(), first);
    let text = host.run("apply --yes", 0);
    assert!(text.contains("Nothing to change: generation 3 is in force"), "{text}");
    assert!(pending::read(&host.live().unwrap()).is_none(), "cleared away");
    assert_ne!(std::fs::read(&confirmed).unwrap(), first);
    let kept = host.rules();

    // Dead in the middle of arming: nothing leads to what is there.
    let beside =
        pending::arm(host.live().as_ref(), None, 9, Duration::from_secs(60)).unwrap().beside;
    namespace.nft(&beside);
    assert_ne!(host.rules(), kept);
    host.run("confirm", 0);
    assert_eq!(host.rules(), kept);

    // Dead in the middle of a rollback.
    host.arm(DB, "60s");
    namespace.nft(&pending::detach(&host.live().unwrap()));
    assert!(host.run("status", 0).contains("was taken back"));
    host.run("confirm", 6);
    assert_eq!(host.rules(), kept);

    // Dead in the middle of taking the table out.
    host.run("off --yes --confirm-within 60s", 0);
    let live = host.live().unwrap();
    let found = pending::read(&live).unwrap();
    namespace.nft(&pending::keep(&live, &found, None));
    namespace.nft(&pending::take_out(&live));
    assert!(host.run("off --yes", 0).contains("Nothing to change"));
    assert_eq!(host.live(), None);
    assert!(!confirmed.exists());
}

#[test]
fn whoever_overrides_the_guard_is_told_and_has_the_way_back_all_the_same() {
    let lab = Lab::new();
    let _ssh = lab.host.listen_tcp("[::]:22");
    let host = Host::new(&lab.host);
    host.policy(SSH);
    host.run("apply --yes --no-confirm", 0);
    let before = host.rules();
    host.policy("[[allow]]\nports = [\"80/tcp\"]\n");
    let lost = "`guard.keep` names 22/tcp, and internet";
    let text = host.run("apply --yes", 4);
    assert!(text.contains(lost), "{text}");
    // The plan says the same beforehand, and is none the worse for it.
    let plan = host.run("plan", 0).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(plan.contains("The guard would refuse it.") && plan.contains(lost), "{plan}");
    host.run("plan --detailed-exitcode", 3);
    // At once there would be no way back.
    let text = host.run("apply --yes --no-confirm --override-guard", 4);
    assert!(text.contains("leave out `--no-confirm`") && text.contains("nothing was"), "{text}");
    assert_eq!(host.rules(), before);
    let text = host.run("apply --yes --confirm-within 10s --override-guard", 0);
    assert!(text.contains("overridden: ") && text.contains(lost), "{text}");
    answers(&lab, &[(22, Answer::Silent)]);
    host.expire();
    answers(&lab, &[(22, Answer::Open)]);
    // Going back is guarded as well.
    host.run("apply --yes --override-guard", 0);
    host.run("confirm", 0);
    host.run("rollback 1 --yes --no-confirm", 0);
    let text = host.run("rollback 3 --yes", 4);
    assert!(text.contains(lost), "{text}");
    assert_eq!(host.rules(), before);
}

#[test]
fn what_the_disk_lost_is_not_confirmed() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.arm(SSH, "60s");
    let kept = host.root.path().join("var/lib/fwctl/generations/1/installed.json");
    std::fs::write(&kept, "{").unwrap();
    let text = host.run("confirm", 1);
    assert!(text.contains("damaged"), "{text}");
    assert!(host.left().is_some(), "it still waits");
    host.run("rollback", 0);
    assert_eq!(host.live(), None);
}

/// Whether a connection comes about, with every packet at the first attempt: a lost SYN is sent
/// again after a second, which is too late. The other side closes, so that no queue of connections
/// overflows; and a reset leaves no state behind that a later connection could meet.
fn served(to: SocketAddr) -> bool {
    let patience = Duration::from_millis(800);
    let Ok(mut stream) = TcpStream::connect_timeout(&to, patience) else { return false };
    stream.set_read_timeout(Some(patience)).unwrap();
    let ended = matches!(stream.read(&mut [0; 8]), Ok(0));
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    ended
}

/// Does something at its end, however that comes.
struct Ends<F: Fn()>(F);

impl<F: Fn()> Drop for Ends<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn no_packet_is_lost_and_none_leaks_over_200_rounds() {
    let lab = Lab::new();
    let open = lab.host.enter(|| TcpListener::bind("[::]:22").unwrap());
    let _closed = lab.host.listen_tcp("[::]:7000");
    let host = Host::new(&lab.host);
    host.policy(SSH);
    host.run("apply --yes --no-confirm", 0);
    let stop = AtomicBool::new(false);
    let over = AtomicBool::new(false);
    let (asked, lost, leaked) = std::thread::scope(|scope| {
        let until = &over;
        scope.spawn(move || {
            for stream in open.incoming() {
                drop(stream);
                if until.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let opened = |to: SocketAddr| {
            let stop = &stop;
            let internet = &lab.internet;
            move || {
                internet.enter(|| {
                    let (mut asked, mut failed) = (0_u32, 0_u32);
                    while !stop.load(Ordering::Relaxed) {
                        asked += 1;
                        failed += u32::from(!served(to));
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    (asked, failed)
                })
            }
        };
        let closed = |to: SocketAddr| {
            let stop = &stop;
            let internet = &lab.internet;
            move || {
                internet.enter(|| {
                    let mut leaked = 0_u32;
                    while !stop.load(Ordering::Relaxed) {
                        leaked += u32::from(connects(to, Duration::from_millis(2)));
                    }
                    leaked
                })
            }
        };
        let four = scope.spawn(opened((HOST_WAN_V4, 22).into()));
        let six = scope.spawn(opened((HOST_WAN_V6, 22).into()));
        let leak_four = scope.spawn(closed((HOST_WAN_V4, 7000).into()));
        let leak_six = scope.spawn(closed((HOST_WAN_V6, 7000).into()));
        // A round that fails is not to be waited for.
        let ends = Ends(|| {
            stop.store(true, Ordering::Relaxed);
            over.store(true, Ordering::Relaxed);
            // The listener sees that it is over when somebody comes.
            lab.internet.enter(|| connects((HOST_WAN_V4, 22).into(), Duration::from_secs(2)));
        });
        for round in 0..200 {
            host.arm(if round % 4 < 2 { WEB } else { DB }, "60s");
            // Two policies in turn, each confirmed or taken back.
            host.run(if round % 2 == 0 { "rollback" } else { "confirm" }, 0);
        }
        stop.store(true, Ordering::Relaxed);
        let (four, six) = (four.join().unwrap(), six.join().unwrap());
        drop(ends);
        let leaked = leak_four.join().unwrap() + leak_six.join().unwrap();
        (four.0 + six.0, four.1 + six.1, leaked)
    });
    assert!(asked > 1000, "only {asked} connections were tried");
    assert_eq!((lost, leaked), (0, 0), "of {asked}");
}
