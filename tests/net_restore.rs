//! `fwctl restore` and `fwctl watch` as boot and a service run them, in a namespace of their own.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use net::{Answer, HOST_WAN_V4, HOST_WAN_V6, Host, Lab, Namespace, Probe};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

impl Host<'_> {
    fn write(&self, path: &str, text: &str) {
        let path = self.file(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn apply(&self, policy: &str) {
        self.write("etc/fwctl/policy.toml", &format!("version = 1\n{policy}"));
        self.run("apply --no-confirm --yes", 0);
    }

    fn watch(&self) -> Watch {
        let mut child = self.command("watch").stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        let watch = Watch { child, said };
        watch.expect("watching");
        watch
    }

    /// Waits until the table is this again, and gives how long that took.
    fn comes_back(&self, meant: &str) -> Duration {
        let start = Instant::now();
        while self.table().as_deref() != Some(meant) {
            assert!(start.elapsed() < Duration::from_secs(5), "the rules did not come back");
            std::thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }
}

/// A running `fwctl watch`.
struct Watch {
    child: Child,
    said: Receiver<String>,
}

impl Watch {
    /// Waits until it says this.
    fn expect(&self, words: &str) -> String {
        let mut all = Vec::new();
        loop {
            match self.said.recv_timeout(Duration::from_secs(10)) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => all.push(line),
                Err(error) => panic!("it did not say `{words}` ({error}) but {all:?}"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SSH_WEB: &str = "[[allow]]\nservice = [\"ssh\", \"http\"]\n";

#[test]
fn a_flushed_generation_comes_back_as_it_was() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:80");
    let _database = lab.host.listen_tcp("[::]:5432");
    let host = Host::new(&lab.host);
    assert!(host.run("restore", 0).contains("Nothing to restore"));
    assert_eq!(host.table(), None);
    // A zone with large sets, limits and an interface: everything that a table can hold.
    host.apply(&format!(
        "{SSH_WEB}[zone.admin]\naddresses = [\"198.51.100.0/24\", \"2001:db8:7::/48\"]\n\
         [zone.lan]\ninterfaces = [\"lan0\"]\n[[allow]]\nports = [\"9000-9010/tcp\", \"53/udp\"]\n\
         from = [\"admin\", \"lan\"]\nlimit = \"9/minute\"\nlog = true\n\
         [[deny]]\nservice = [\"databases\"]\nfrom = [\"internet\"]\n"
    ));
    let meant = host.table().unwrap();
    lab.host.nft("table inet neighbour {\n chain c {\n counter drop\n }\n}");
    // Neither the policy file nor a neighbour's rules have a part in it.
    host.write("etc/fwctl/policy.toml", "nonsense");
    let before = lab.host.ruleset_generation();
    assert!(host.run("restore", 0).contains("Nothing to change: generation 1 is in force"));
    assert_eq!(lab.host.ruleset_generation(), before, "something was sent");
    lab.host.nft("flush ruleset");
    net::expect(&[(Probe::tcp(&lab.internet, (HOST_WAN_V4, 5432)), Answer::Open)]);
    assert!(host.run("restore", 0).contains("Generation 1 is in force"));
    assert_eq!(host.table().unwrap(), meant);
    for address in [HOST_WAN_V4, HOST_WAN_V6] {
        net::expect(&[
            (Probe::tcp(&lab.internet, (address, 80)), Answer::Open),
            (Probe::tcp(&lab.internet, (address, 5432)), Answer::Silent),
        ]);
    }
    let status = host.run("status", 0);
    assert!(status.contains("generation 1 is in force"), "{status}");
    // After `off` nothing is confirmed.
    host.run("off --no-confirm --yes", 0);
    assert!(host.run("restore", 0).contains("Nothing to restore"));
    assert_eq!(host.table(), None);
}

#[test]
fn a_table_emptied_or_made_by_others_becomes_the_confirmed_one() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.apply(SSH_WEB);
    let meant = host.table().unwrap();
    for change in [
        "flush table inet fwctl",
        "delete table inet fwctl\ntable inet fwctl {\n chain mine {\n accept\n }\n}",
        "flush chain inet fwctl generation",
    ] {
        namespace.nft(change);
        host.run("restore", 0);
        assert_eq!(host.table().unwrap(), meant, "{change}");
    }
}

#[test]
fn a_pending_change_is_not_restored_over_and_its_loss_is_told() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.apply(SSH_WEB);
    let meant = host.table().unwrap();
    host.write("etc/fwctl/policy.toml", "version = 1\n[[allow]]\nservice = [\"ssh\"]\n");
    let watch = host.watch();
    host.run("apply --yes --confirm-within 60s", 0);
    std::thread::sleep(Duration::from_millis(300));
    // It is none of the watcher's business either.
    let said = host.run("restore", 8);
    assert!(said.contains("generation 2 rules, and waits to be confirmed"), "{said}");
    namespace.nft("flush ruleset");
    host.comes_back(&meant);
    watch.expect("generation 2 was lost before it was confirmed");
    watch.expect("generation 1 is in force again");
    assert!(host.run("restore", 0).contains("generation 1 is in force"));
}

#[test]
fn damage_leads_to_the_generation_before_and_then_to_ssh_alone() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:80");
    let _ssh = lab.host.listen_tcp("[::]:22");
    let _other_ssh = lab.host.listen_tcp("[::]:2222");
    let host = Host::new(&lab.host);
    host.write("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
    host.write("etc/ssh/sshd_config.d/port.conf", "Port 2222\n");
    host.apply(SSH_WEB);
    let first = host.table().unwrap();
    host.apply("[[allow]]\nservice = [\"ssh\"]\n");
    let kept = host.file("var/lib/fwctl/generations/2/table.nft");
    let text = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, text.replace("drop", "accept")).unwrap();
    // It is in force, but a reboot would not find it.
    assert!(host.run("restore", 1).contains("a reboot could not load it"));
    lab.host.nft("flush ruleset");
    let said = host.run("restore", 1);
    assert!(said.contains("generation 2 was passed over"), "{said}");
    assert!(said.contains("SHA-256"), "{said}");
    assert!(said.contains("generation 1, which was confirmed before, is in force"), "{said}");
    assert_eq!(host.table().unwrap(), first);
    std::fs::remove_dir_all(host.file("var/lib/fwctl/generations/1")).unwrap();
    lab.host.nft("flush ruleset");
    let said = host.run("restore", 1);
    assert!(said.contains("SSH alone is let in (port 22, 2222)"), "{said}");
    for address in [HOST_WAN_V4, HOST_WAN_V6] {
        net::expect(&[
            (Probe::tcp(&lab.internet, (address, 22)), Answer::Open),
            (Probe::tcp(&lab.internet, (address, 2222)), Answer::Open),
            (Probe::tcp(&lab.internet, (address, 80)), Answer::Silent),
        ]);
    }
    assert!(host.run("status", 0).contains("SSH alone is let in"));
    // The next apply leads out of it.
    host.apply(SSH_WEB);
    net::expect(&[(Probe::tcp(&lab.internet, (HOST_WAN_V4, 80)), Answer::Open)]);
    assert!(host.run("restore", 0).contains("is in force"));
}

#[test]
fn what_was_flushed_by_hand_is_back_within_a_second() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    let watch = host.watch();
    host.apply(SSH_WEB);
    let meant = host.table().unwrap();
    for change in [
        "flush ruleset",
        "delete table inet fwctl",
        "flush table inet fwctl",
        "add table inet fwctl { flags dormant; }",
    ] {
        namespace.nft(change);
        let took = host.comes_back(&meant);
        assert!(took < Duration::from_secs(1), "{change}: it took {took:?}");
        let said = watch.expect("puts its rules back");
        assert!(said.contains("nft (process "), "{said}");
        watch.expect("generation 1 is in force again");
    }
    let status = host.run("status", 0);
    assert!(status.contains(", 4 times: nft had taken the rules away"), "{status}");
    // Not while another fwctl is at work…
    let lock = std::fs::File::open(host.file("run/fwctl/lock")).unwrap();
    lock.lock().unwrap();
    namespace.nft("flush ruleset");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(host.table(), None);
    drop(lock);
    host.comes_back(&meant);
    // …and not after `off`, nor for what happens to others.
    host.run("off --no-confirm --yes", 0);
    namespace
        .nft("table inet neighbour {\n chain c {\n accept\n }\n}\ndelete table inet neighbour");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(host.table(), None);
    // A change of our own is none of its business.
    host.apply("[[allow]]\nservice = [\"ssh\"]\n");
    let changed = host.table().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(host.table().unwrap(), changed);
}

#[test]
fn what_was_flushed_while_nobody_watched_is_put_back_at_the_start() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.apply(SSH_WEB);
    let meant = host.table().unwrap();
    namespace.nft("flush ruleset");
    let watch = host.watch();
    host.comes_back(&meant);
    watch.expect("generation 1 is in force again");
}
