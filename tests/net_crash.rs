//! The process killed before every effect that a command has: afterwards the host is filtered by
//! exactly the rules from before or the new ones, SSH is let in, the next commands need no repair,
//! and nothing is lost.
//!
//! The boundaries are found by watching the program's system calls (`tests/crash`). A command is
//! run once to its end; before each effect the disk and our table are looked at. Wherever one of
//! them has changed since the last look, the command is run again and killed right there.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod crash;
mod net;

use fwctl::model::nft::{Family, Table, text};
use net::{HOST_WAN_V4, HOST_WAN_V6, Lab, sorted, timeless};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No deadline comes while a busy machine looks at what a death has left.
const LONG: &str = "--confirm-within 1h";

/// Who is let in besides SSH, which always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Everybody, everywhere: nothing of ours filters.
    None,
    /// Port 80.
    Web,
    /// Port 5432.
    Database,
}

impl Rules {
    fn policy(self) -> &'static str {
        match self {
            Self::None => panic!("is no policy"),
            Self::Web => "version = 1\n[[allow]]\nports = [\"22/tcp\", \"80/tcp\"]\n",
            Self::Database => "version = 1\n[[allow]]\nports = [\"22/tcp\", \"5432/tcp\"]\n",
        }
    }

    fn lets_in(self) -> (bool, bool) {
        match self {
            Self::None => (true, true),
            Self::Web => (true, false),
            Self::Database => (false, true),
        }
    }
}

struct Bench {
    lab: Lab,
    _listeners: Vec<net::Listener>,
    root: tempfile::TempDir,
}

/// Disk and table at some moment.
struct Moment {
    disk: tempfile::TempDir,
    table: Option<Table>,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new();
        let listeners = [22, 80, 5432].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
        let bench = Self { _listeners: listeners.into(), root: tempfile::tempdir().unwrap(), lab };
        fs::create_dir_all(bench.root.path().join("etc/fwctl")).unwrap();
        bench
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.lab.host.command(env!("CARGO_BIN_EXE_fwctl"));
        command.args(arguments.split_whitespace()).env("FWCTL_ROOT", self.root.path());
        command
    }

    fn policy(&self, rules: Rules) {
        fs::write(self.root.path().join("etc/fwctl/policy.toml"), rules.policy()).unwrap();
    }

    /// Runs it, expects one of these exit codes, and gives what it printed.
    fn run(&self, arguments: &str, codes: &[i32]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
        let text = said.concat();
        let code = output.status.code().unwrap_or(-1);
        assert!(codes.contains(&code), "fwctl {arguments} ended with {code}\n{text}");
        text
    }

    fn live(&self) -> Option<Table> {
        let read = || fwctl::observe::nft::read_table(Family::Inet, "fwctl").unwrap();
        self.lab.host.enter(read)
    }

    /// Keeps disk and table as they are.
    fn moment(&self) -> Moment {
        let disk = tempfile::tempdir().unwrap();
        copy(self.root.path(), disk.path());
        Moment { disk, table: self.live().map(timeless) }
    }

    /// Makes disk and table what they were then.
    fn back_to(&self, moment: &Moment) {
        for entry in fs::read_dir(self.root.path()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        copy(moment.disk.path(), self.root.path());
        let table = moment.table.as_ref().map(text::table).unwrap_or_default();
        self.lab.host.nft(&format!("flush ruleset\n{table}"));
    }

    /// Our table; empty where there is none.
    fn text(&self) -> String {
        self.live().map(timeless).map(|table| text::table(&table)).unwrap_or_default()
    }

    /// All that a command may change, in one text.
    fn state(&self) -> String {
        let mut all = self.text();
        list(&self.root.path().join("var"), &mut all);
        list(&self.root.path().join("run"), &mut all);
        all
    }

    /// Which rules filter, by packets of both IP versions. They may not be anything between.
    fn rules(&self, among: &[Rules]) -> Rules {
        let rules = self.probed(among);
        self.hang_up();
        rules
    }

    /// Ends what the probes have opened. A first apply carries over what is open, so that its table
    /// would be another one than that of a command which nobody disturbs.
    fn hang_up(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let open = self.lab.host.enter(|| fwctl::observe::connected().unwrap());
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "still open: {open:?}");
            // What waits for an answer that rules have dropped may wait for minutes.
            net::run(self.lab.host.command("ss").args(["-K", "-H"]).stdout(Stdio::null()));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn probed(&self, among: &[Rules]) -> Rules {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let seen = self.lab.internet.enter(|| {
                [HOST_WAN_V4, HOST_WAN_V6].map(|address| {
                    [22, 80, 5432].map(|port| {
                        let to = SocketAddr::new(address, port);
                        TcpStream::connect_timeout(&to, Duration::from_millis(15)).is_ok()
                    })
                })
            });
            let [four, six] = seen;
            let known = among.iter().find(|rules| {
                let (web, database) = rules.lets_in();
                four == [true, web, database] && six == four
            });
            // On a busy machine an open port may be silent for a while.
            match known {
                Some(rules) => return *rules,
                None => assert!(Instant::now() < end, "{seen:?} is none of {among:?}"),
            }
        }
    }

    /// Kills the command wherever something has changed. `before` and `after` are the rules that
    /// filter before it and when it has run.
    fn kill_everywhere(&self, arguments: &str, before: Rules, after: Rules) {
        let start = self.moment();
        let meant = self.meant();
        self.back_to(&start);
        let command = self.command(arguments);
        let mut seen = std::collections::HashSet::new();
        let mut boundaries = Vec::new();
        let mut effects = 0;
        let end = crash::run(&command, "fwctl", |effect| {
            effects += 1;
            // What nft does alone once it runs is of interest whatever there is.
            let alone = [crash::STARTS, crash::READS, crash::ACTS].contains(&effect.what);
            if seen.insert(self.state()) || alone {
                boundaries.push((effect.clone(), self.text()));
            }
            false
        });
        assert_eq!(end, crash::End::Completed(0), "fwctl {arguments}");
        let whole = self.rules(&[before, after]);
        assert_eq!(whole, after, "fwctl {arguments} does not do what the test says");
        // Before anything, while nft runs, and behind it, at least.
        let known: Vec<_> = boundaries.iter().map(|(effect, _)| effect).collect();
        assert!(known.len() > 2, "of {effects} effects only {known:?} change anything");
        let told = boundaries.iter().filter(|(effect, _)| effect.what == crash::ACTS).count();
        assert!(told > 0, "nft is never told anything: {known:?}");
        for (boundary, table) in &boundaries {
            self.back_to(&start);
            let end = crash::run(&command, "fwctl", |now| now == boundary);
            assert!(!matches!(end, crash::End::Completed(_)), "{boundary:?}");
            let at = format!("fwctl {arguments}, killed before {boundary:?}");
            // nft alone does nothing before it is told, and all of it behind that.
            match end {
                crash::End::KilledBehindTelling => {
                    assert!(self.text() != *table, "{at}: nft did nothing");
                }
                crash::End::Killed if boundary.what != crash::SENDS => {
                    assert!(self.text() == *table, "{at}: nft did something");
                }
                _ => {}
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.recovers(before, after, &meant);
            }));
            if let Err(panic) = result {
                eprintln!("--- {at}");
                std::panic::resume_unwind(panic);
            }
        }
        println!(
            "fwctl {arguments}: {effects} effects, killed at {}, nft alone with {told} transactions",
            boundaries.len()
        );
    }

    /// The tables that the two policies make, by name, as a command that nobody disturbs makes them.
    fn meant(&self) -> [(Rules, String); 2] {
        [Rules::Web, Rules::Database].map(|rules| {
            self.lab.host.nft("flush ruleset");
            let other = tempfile::tempdir().unwrap();
            fs::create_dir_all(other.path().join("etc/fwctl")).unwrap();
            fs::write(other.path().join("etc/fwctl/policy.toml"), rules.policy()).unwrap();
            let mut command = self.command("apply --yes --no-confirm");
            let done = command.env("FWCTL_ROOT", other.path()).output().unwrap();
            assert!(done.status.success());
            (rules, self.table().unwrap())
        })
    }

    /// The table as text, in an order of its own, without its number.
    fn table(&self) -> Option<String> {
        let mut table = sorted(timeless(self.live()?));
        table.chains.retain(|chain| chain.name != "generation");
        Some(text::table(&table))
    }

    fn recovers(&self, before: Rules, after: Rules, meant: &[(Rules, String); 2]) {
        let filtered = self.rules(&[before, after]);
        self.run("status", &[0]);
        assert_eq!(self.rules(&[before, after]), filtered, "looking changes nothing");
        // Whatever waits is kept, and whatever is left is cleared away.
        let said = self.run("confirm", &[0, 6]);
        let settled = self.rules(&[before, after]);
        assert_eq!(settled, filtered, "{said}");
        self.is_exactly(settled, meant);
        // Disk and kernel agree, or become one.
        let said = self.run("restore", &[0]);
        let restored = self.rules(&[before, after]);
        if !said.contains("is in force.\n") || said.contains("Nothing to change") {
            assert_eq!(restored, settled, "{said}");
        }
        self.is_exactly(restored, meant);
        // What was kept is still there and sound.
        let state = fwctl::apply::State::below(self.root.path());
        for number in state.once_confirmed() {
            state.sound_generation(number).unwrap();
        }
        // And the command that anybody would give next.
        self.policy(Rules::Database);
        self.run("apply --yes --no-confirm", &[0]);
        self.rules(&[Rules::Database]);
        self.is_exactly(Rules::Database, meant);
        self.lab.host.nft("flush ruleset");
        self.run("restore", &[0]);
        self.is_exactly(Rules::Database, meant);
        self.run("rollback 1 --yes --no-confirm", &[0]);
    }

    fn is_exactly(&self, rules: Rules, meant: &[(Rules, String); 2]) {
        let wanted = meant.iter().find(|(name, _)| *name == rules).map(|(_, table)| table.clone());
        assert_eq!(self.table(), wanted, "something is left, or lost, of {rules:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    net::run(command.arg("-a").arg(from.join(".")).arg(to));
}

fn list(folder: &Path, all: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        all.extend(["\n", &path.display().to_string(), "\n"]);
        if path.is_dir() {
            list(&path, all);
        } else {
            all.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
}

/// A host on which nothing was ever applied, but the kernel's switch was tried.
fn fresh() -> Bench {
    let bench = Bench::new();
    bench.policy(Rules::Web);
    bench.run("apply --yes", &[0]);
    bench.run("rollback", &[0]);
    fs::remove_dir_all(bench.root.path().join("var")).unwrap();
    bench
}

/// A host on which the web's rules are in force, and the database's are to be.
fn changing() -> Bench {
    let bench = fresh();
    bench.run("apply --yes --no-confirm", &[0]);
    bench.policy(Rules::Database);
    bench
}

#[test]
fn a_first_apply_dies() {
    let bench = fresh();
    bench.kill_everywhere(&format!("apply --yes {LONG}"), Rules::None, Rules::Web);
}

#[test]
fn a_first_apply_that_waits_for_nobody_dies() {
    fresh().kill_everywhere("apply --yes --no-confirm", Rules::None, Rules::Web);
}

#[test]
fn an_apply_dies() {
    changing().kill_everywhere(&format!("apply --yes {LONG}"), Rules::Web, Rules::Database);
}

#[test]
fn an_apply_that_waits_for_nobody_dies() {
    changing().kill_everywhere("apply --yes --no-confirm", Rules::Web, Rules::Database);
}

#[test]
fn a_confirmation_dies() {
    let bench = changing();
    bench.run("apply --yes --confirm-within 1h", &[0]);
    // Until the command is confirmed, both are a death away.
    bench.kill_everywhere("confirm", Rules::Database, Rules::Database);
}

#[test]
fn a_rollback_dies() {
    let bench = changing();
    bench.run("apply --yes --confirm-within 1h", &[0]);
    bench.kill_everywhere("rollback", Rules::Database, Rules::Web);
}

#[test]
fn going_back_to_a_generation_dies() {
    let bench = changing();
    bench.run("apply --yes --no-confirm", &[0]);
    bench.kill_everywhere(&format!("rollback 1 --yes {LONG}"), Rules::Database, Rules::Web);
}

#[test]
fn an_off_dies() {
    changing().kill_everywhere(&format!("off --yes {LONG}"), Rules::Web, Rules::None);
}

#[test]
fn an_off_that_waits_for_nobody_dies() {
    changing().kill_everywhere("off --yes --no-confirm", Rules::Web, Rules::None);
}

#[test]
fn the_confirmation_of_off_dies() {
    let bench = changing();
    bench.run("off --yes --confirm-within 1h", &[0]);
    bench.kill_everywhere("confirm", Rules::None, Rules::None);
}

#[test]
fn nobody_else_begins_before_the_nft_of_a_dead_command_has_ended() {
    let bench = changing();
    let start = bench.moment();
    let meant = bench.meant();
    let apply = format!("apply --yes {LONG}");
    let off = format!("off --yes {LONG}");
    for (arguments, after) in [(&apply, Rules::Database), (&off, Rules::None)] {
        let mut nth = 0;
        loop {
            bench.back_to(&start);
            let command = bench.command(arguments);
            let Some(nft) = crash::orphan(&command, "fwctl", nth) else { break };
            for other in ["apply --yes", "apply --yes --no-confirm", "confirm", "rollback"] {
                let said = bench.run(other, &[8]);
                assert!(said.contains("or an nft that it started"), "{other}: {said}");
            }
            bench.run("status", &[0]);
            assert_eq!(bench.rules(&[Rules::Web, after]), Rules::Web, "nft stands still");
            nft.finish();
            bench.recovers(Rules::Web, after, &meant);
            nth += 1;
        }
        // Beside the rules in force, and then in force.
        assert_eq!(nth, 2, "fwctl {arguments}");
    }
}

#[test]
fn a_restore_dies() {
    let bench = changing();
    bench.lab.host.nft("flush ruleset");
    bench.kill_everywhere("restore", Rules::None, Rules::Web);
}
