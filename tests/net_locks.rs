//! Several commands at once: each ends in a clear message, and the host is consistent.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::model::nft::Family;
use fwctl::plan::{marker, pending};
use net::Namespace;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WEB: &str = "version = 1\n[[allow]]\nports = [\"22/tcp\", \"80/tcp\"]\n";
const DATABASE: &str = "version = 1\n[[allow]]\nports = [\"22/tcp\", \"5432/tcp\"]\n";

/// What each command says while another one holds the lock.
const HELD: &str = "another fwctl is changing this host right now";

struct Host {
    namespace: Namespace,
    root: tempfile::TempDir,
}

impl Host {
    /// With the web's rules in force.
    fn new() -> Self {
        let host = Self { namespace: Namespace::new("host"), root: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(host.root.path().join("etc/fwctl")).unwrap();
        host.policy(WEB);
        host.run("apply --yes --no-confirm", &[0]);
        host.policy(DATABASE);
        host
    }

    fn policy(&self, text: &str) {
        std::fs::write(self.root.path().join("etc/fwctl/policy.toml"), text).unwrap();
    }

    fn start(&self, arguments: &str) -> Child {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_fwctl"));
        command.args(arguments.split_whitespace()).env("FWCTL_ROOT", self.root.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, arguments: &str, codes: &[i32]) -> (i32, String) {
        ended(self.start(arguments), arguments, codes)
    }

    /// The generation that filters, and whether a change waits or has left something behind.
    fn generation(&self) -> (u32, bool) {
        let read = || fwctl::observe::nft::read_table(Family::Inet, "fwctl").unwrap();
        let table = self.namespace.enter(read).unwrap();
        (marker::read(&table).unwrap().generation, pending::read(&table).is_some())
    }

    fn confirmed(&self) -> u32 {
        let state = fwctl::apply::State::below(self.root.path());
        state.confirmed().unwrap().unwrap().generation
    }
}

fn ended(child: Child, what: &str, codes: &[i32]) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
    let (code, said) = (output.status.code().unwrap_or(-1), said.concat());
    assert!(codes.contains(&code), "fwctl {what} ended with {code}\n{said}");
    (code, said)
}

#[test]
fn while_another_holds_the_lock_nothing_is_changed_and_much_can_be_seen() {
    let host = Host::new();
    let lock = fwctl::apply::State::below(host.root.path()).lock().unwrap();
    let before = host.namespace.ruleset_generation();
    for command in ["apply --yes", "apply --yes --no-confirm", "off --yes", "rollback", "confirm"] {
        let (_, said) = host.run(command, &[8]);
        assert!(said.contains(HELD) && said.contains("nothing was changed"), "{command}: {said}");
        assert!(said.contains("try again"), "{command}: {said}");
    }
    for command in ["status", "plan", "history", "exposure"] {
        host.run(command, &[0]);
    }
    assert_eq!(host.namespace.ruleset_generation(), before);
    drop(lock);
    host.run("apply --yes --no-confirm", &[0]);
    assert_eq!((host.generation(), host.confirmed()), ((2, false), 2));
}

#[test]
fn of_many_applies_at_once_one_is_made_and_the_others_say_why_not() {
    let host = Host::new();
    let children: Vec<Child> = (0..6).map(|_| host.start("apply --yes")).collect();
    let mut armed = 0;
    for child in children {
        let (code, said) = ended(child, "apply --yes", &[0, 8]);
        if code == 0 {
            assert!(said.contains("Generation 2 rules for"), "{said}");
            armed += 1;
        } else {
            let waits = said.contains("generation 2 waits to be confirmed");
            assert!(waits || said.contains(HELD), "{said}");
        }
    }
    assert_eq!(armed, 1);
    // While it waits, nothing else can begin.
    for command in ["apply --yes", "apply --yes --no-confirm", "off --yes", "rollback 1 --yes"] {
        let (_, said) = host.run(command, &[8]);
        assert!(
            said.contains("`fwctl confirm` keeps it, `fwctl rollback` takes it back"),
            "{said}"
        );
    }
    host.run("confirm", &[0]);
    assert_eq!((host.generation(), host.confirmed()), ((2, false), 2));
}

#[test]
fn of_a_confirmation_and_a_rollback_at_once_one_holds() {
    let host = Host::new();
    let (mut kept, mut back) = (0, 0);
    for round in 0..12 {
        host.run("apply --yes --confirm-within 1h", &[0]);
        let before = host.confirmed();
        // Either may be the first.
        let commands =
            if round % 2 == 0 { ["confirm", "rollback"] } else { ["rollback", "confirm"] };
        let children = commands.map(|command| (command, host.start(command)));
        let mut held = Vec::new();
        for (command, child) in children {
            let (code, said) = ended(child, command, &[0, 1, 6, 8]);
            match (command, code) {
                ("confirm", 0) => assert!(said.contains("is confirmed, and stays"), "{said}"),
                ("confirm", 6) => assert!(said.contains("was taken back at"), "{said}"),
                ("rollback", 0) => assert!(said.contains("is taken back"), "{said}"),
                ("rollback", 1) => assert!(said.contains("was confirmed at"), "{said}"),
                (_, 8) => assert!(said.contains(HELD), "{said}"),
                _ => panic!("fwctl {command} ended with {code}\n{said}"),
            }
            if code == 0 {
                held.push(command);
            }
        }
        assert_eq!(held.len(), 1, "{held:?}");
        let (generation, left) = host.generation();
        assert!(!left, "something is left");
        assert_eq!(generation, host.confirmed());
        if held == ["confirm"] {
            assert!(generation > before);
            kept += 1;
            host.policy(if kept % 2 == 0 { DATABASE } else { WEB });
        } else {
            assert_eq!(generation, before);
            back += 1;
        }
    }
    println!("{kept} were kept, {back} taken back");
}

#[test]
fn a_holder_that_was_killed_holds_nothing() {
    let host = Host::new();
    let file = host.root.path().join("run/fwctl/lock");
    let mut holder =
        Command::new("flock").arg("-F").arg(&file).args(["sleep", "60"]).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while host.run("confirm", &[6, 8]).0 != 8 {
        assert!(Instant::now() < end, "nobody holds the lock");
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    host.run("apply --yes --no-confirm", &[0]);
    assert_eq!((host.generation(), host.confirmed()), ((2, false), 2));
    let status = host.run("status", &[0]).1;
    assert!(!status.contains("changed  "), "{status}");
    // What the policy file says today is another matter.
    host.policy(WEB);
    let status = host.run("status", &[0]).1;
    assert!(status.contains("changed  policy.toml, since it was applied"), "{status}");
}
