//! Whole rulesets against the kernel: packets aimed at what they name, and where those arrive.
//!
//! Reads the files of `tests/rulesets/`, or those of the directory that `FWCTL_RULESETS` names:
//! `NAME.nft` for nft, `NAME.v4` and `NAME.v6` for iptables-restore and ip6tables-restore, each of
//! them by both backends. First lines of the form `# ipset …` and `# interfaces NAME …` make what
//! the rules need. What is refused is left out, and how much that was is said.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "analyze/answers.rs"]
mod answers;
#[path = "analyze/counters.rs"]
mod counters;
mod foreign {
    pub mod ground;
    pub mod load;
    pub mod named;
}
mod net;
#[path = "analyze/packets.rs"]
mod packets;
#[allow(dead_code, reason = "here only chance is needed")]
#[path = "analyze/random.rs"]
mod random;

use answers::{agrees, question};
use counters::{Expected, QUIET};
use foreign::ground::Ground;
use foreign::load::{By, load};
use foreign::named::Named;
use fwctl::analyze::{Analyzer, Answer, Fate, understood};
use fwctl::observe::{Options, Snapshot, observe};
use packets::{Seen, Sent};
use random::Random;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PACKETS: usize = 300;
/// No command may let a person wait for longer; a test's own build is slow.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });

const POLICY: &str = "version = 1\nuse = [\"web-server\"]\n";

#[derive(Default)]
struct Tally {
    rules: usize,
    exact: usize,
    packets: usize,
    certain: usize,
    arrived: usize,
    counted: usize,
    conditional: BTreeMap<String, usize>,
    not_read: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

fn look(ground: &Ground) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    ground.host.enter(|| observe(&options))
}

fn ways(file: &Path) -> Vec<By> {
    match file.extension().and_then(|own| own.to_str()) {
        Some("nft") => vec![By::Nft],
        Some("v4") => [false, true].map(|legacy| By::Iptables { version: 4, legacy }).into(),
        Some("v6") => [false, true].map(|legacy| By::Iptables { version: 6, legacy }).into(),
        _ => Vec::new(),
    }
}

fn examine(file: &Path, by: By, tally: &mut Tally) {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    let mut named = Named::in_text(&text);
    let seed = text.bytes().fold(1_u64, |all, own| all.wrapping_mul(31) + u64::from(own));
    let mut random = Random(seed);
    let mut ground = Ground::new(&named, &mut random);
    match load(&ground.host, by, &text) {
        Ok(0) => {}
        Ok(lines) => println!("  {lines} lines left out"),
        Err(error) => return println!("  refused: {}", error.lines().next().unwrap_or("")),
    }
    let more = Named::in_text(&ground.host.ruleset());
    named.prefixes.extend(more.prefixes);
    named.ports.extend(more.ports);
    named.ports.truncate(400);
    named.prefixes.truncate(400);
    ground.host.nft(QUIET);
    let before = timed("reading", &mut tally.wrong, || look(&ground));
    // Who holds a socket is not what this is about.
    for warning in before.warnings.iter().filter(|own| own.subject != "sockets") {
        tally.wrong.push(format!("warning: {}: {}", warning.subject, warning.message));
    }
    let all = understood(&before.ruleset);
    tally.rules += all.rules;
    tally.exact += all.exact;
    println!("  {} of {} rules exactly", all.exact, all.rules);
    for (list, into) in
        [(&all.conditional, &mut tally.conditional), (&all.not_read, &mut tally.not_read)]
    {
        for named in list {
            let words: Vec<&str> = named.statement.split(' ').take(3).collect();
            *into.entry(words.join(" ")).or_default() += 1;
        }
    }
    for rule in before.ruleset.tables.iter().flat_map(|table| {
        table
            .chains
            .iter()
            .flat_map(|chain| &chain.rules)
            .map(move |rule| fwctl::model::nft::text::rule(rule, table))
    }) {
        if std::env::var_os("FWCTL_SHOW").is_some() {
            println!("    {rule}");
        }
    }
    commands(&ground, &mut tally.wrong);
    compare(&mut ground, &named, &before, &mut random, tally);
}

fn timed<T>(what: &str, wrong: &mut Vec<String>, mut work: impl FnMut() -> T) -> T {
    let start = Instant::now();
    let result = work();
    if start.elapsed() < PATIENCE {
        return result;
    }
    // A machine may be busy with something else.
    let again = Instant::now();
    let result = work();
    if again.elapsed() > PATIENCE {
        wrong.push(format!("{what} took {:?}, and {:?}", again - start, again.elapsed()));
    }
    result
}

/// Every command answers, and in words.
fn commands(ground: &Ground, wrong: &mut Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let policy = root.path().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let policy = policy.to_str().unwrap();
    for arguments in [
        &["snapshot"][..],
        &["exposure"],
        &["exposure", "--ports"],
        &["explain", "internet", "443/tcp"],
        &["plan", "--policy", policy],
    ] {
        let mut command = ground.host.command(env!("CARGO_BIN_EXE_fwctl"));
        command.args(arguments).env("FWCTL_ROOT", root.path());
        let output = timed(arguments[0], wrong, || command.output().unwrap());
        let said = String::from_utf8_lossy(&output.stderr);
        let told = String::from_utf8_lossy(&output.stdout);
        if std::env::var_os("FWCTL_SHOW").is_some() && arguments[0] != "snapshot" {
            println!("$ fwctl {}\n{told}{said}", arguments.join(" "));
        }
        if !matches!(output.status.code(), Some(0 | 4 | 5)) || said.contains("panicked") {
            wrong.push(format!("fwctl {}: {} {said}", arguments.join(" "), output.status));
        }
    }
}

fn compare(
    ground: &mut Ground,
    named: &Named,
    before: &Snapshot,
    random: &mut Random,
    tally: &mut Tally,
) {
    let interfaces: Vec<&'static str> = ground.interfaces().collect();
    let packets: Vec<(usize, Sent)> = (0..PACKETS).map(|_| ground.packet(named, random)).collect();
    let mut seen = ground.send(&packets);
    let after = look(ground);
    let analyzer = Analyzer::new(before);
    let arrives = |fate: &Fate, address: IpAddr, port: Option<u16>| {
        let namespace = match fate {
            Fate::Delivered => "host",
            Fate::Forwarded(Some(name)) => {
                interfaces.iter().find(|own| **own == name.as_str()).copied()?
            }
            _ => return None,
        };
        Some(Seen { namespace, address, port: port.unwrap_or(0) })
    };
    let mut expected = Expected::default();
    let mut wrong = Vec::new();
    for (from, sent) in &packets {
        let packet = question(interfaces[*from], sent);
        let answer: Answer = analyzer.trace(&packet);
        expected.packet(&answer);
        let (mut fits, certain) = agrees(&answer, seen.get(&sent.id), arrives);
        for _ in 0..3 {
            if fits || seen.contains_key(&sent.id) {
                break;
            }
            std::thread::sleep(Duration::from_millis(30));
            seen.extend(ground.send(&[(*from, sent.clone())]));
            std::thread::sleep(Duration::from_millis(30));
            ground.drain(&mut seen);
            fits = agrees(&answer, seen.get(&sent.id), arrives).0;
        }
        tally.packets += 1;
        tally.certain += usize::from(certain);
        tally.arrived += usize::from(seen.contains_key(&sent.id));
        if !fits && wrong.len() < 3 {
            let explained = analyzer.explain(&packet, None);
            let ends: Vec<String> = explained
                .ends
                .iter()
                .map(|end| format!("{:?} {} {:?}", end.fate, end.address, end.port))
                .collect();
            wrong.push(format!(
                "{} {sent:?}\n    seen {:?}\n    said {} by {}",
                interfaces[*from],
                seen.get(&sent.id),
                ends.join("; "),
                explained.decided_by.map_or(String::new(), |own| own.to_string()),
            ));
        }
    }
    let (compared, counts) = expected.compare(&before.ruleset, &after.ruleset);
    tally.counted += compared;
    wrong.extend(counts.into_iter().take(5));
    tally.wrong.extend(wrong);
}

fn files() -> Vec<PathBuf> {
    let directory =
        std::env::var_os("FWCTL_RULESETS").map_or("tests/rulesets".into(), PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    files
}

#[test]
fn rulesets_of_others_do_what_the_analysis_says() {
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for file in files() {
        for by in ways(&file) {
            println!("{} {by:?}", file.display());
            let examined = catch_unwind(AssertUnwindSafe(|| examine(&file, by, &mut tally)));
            if examined.is_err() {
                tally.wrong.push("panics".to_owned());
            }
            for line in tally.wrong.drain(..) {
                println!("  WRONG {line}");
                wrong.push(format!("{} {by:?}: {line}", file.display()));
            }
        }
    }
    println!(
        "{} of {} rules exactly; {} packets, {} certain, {} arrived; {} counters",
        tally.exact, tally.rules, tally.packets, tally.certain, tally.arrived, tally.counted
    );
    for (what, list) in [("depends", &tally.conditional), ("not read", &tally.not_read)] {
        for (statement, count) in list {
            println!("{what}: {count} × {statement}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
