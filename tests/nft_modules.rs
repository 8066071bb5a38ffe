//! Every module of iptables and every expression of nft that this machine's tools can load: read,
//! written to a snapshot and back, and understood as it should be.
//!
//! Needs root: every case runs in a network namespace of its own. What the tools or the kernel at
//! hand do not have is left out, and said.

#[path = "nft_namespace/mod.rs"]
mod namespace;

use fwctl::analyze::understood;
use fwctl::model::nft::{Chain, Ruleset, Table};
use fwctl::observe::legacy;
use namespace::{in_namespace, read};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A rule, and how it should be understood.
struct Case {
    understanding: String,
    table: String,
    chain: String,
    rule: String,
}

fn cases(file: &str, with_table: bool) -> Vec<Case> {
    let text = std::fs::read_to_string(Path::new("tests/nft_modules").join(file)).expect("a file");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let case = |line: &str| {
        let mut words = line.splitn(if with_table { 4 } else { 3 }, ' ').map(str::to_owned);
        let mut next = || words.next().expect("a whole line");
        let understanding = next();
        let table = if with_table { next() } else { "t".to_owned() };
        Case { understanding, table, chain: next(), rule: next() }
    };
    lines.map(case).collect()
}

/// Whether the program takes the text; what it said if not.
fn try_feed(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let piped = Stdio::piped;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(piped())
        .stdout(piped())
        .stderr(piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(errors) }
}

/// Loads every case; gives those that were refused.
fn load<'c>(
    cases: &'c [Case],
    text: impl Fn(&Case) -> String,
    program: &str,
    args: &[&str],
) -> Vec<&'c Case> {
    cases.iter().filter(|case| try_feed(program, args, &text(case)).is_err()).collect()
}

/// One rule alone: a table and chain of which the reader knows the rest.
fn alone(ruleset: &Ruleset, table: &Table, chain: &Chain, rule: usize) -> Ruleset {
    let mut chain = chain.clone();
    chain.rules = vec![chain.rules[rule].clone()];
    let table = Table { chains: vec![chain], ..table.clone() };
    Ruleset { generation: ruleset.generation, tables: vec![table] }
}

/// Holds the rules of a ruleset against the cases that loaded, chain by chain.
fn compare(
    ruleset: &Ruleset,
    loaded: &[&Case],
    table_name: impl Fn(&Case) -> String,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut next: BTreeMap<(String, String), usize> = BTreeMap::new();
    for case in loaded {
        let name = table_name(case);
        let table = ruleset.tables.iter().find(|own| own.name == name).expect("loaded");
        let chain = table.chain(&case.chain).expect("loaded");
        let at = next.entry((name, case.chain.clone())).or_default();
        let found = understood(&alone(ruleset, table, chain, *at));
        *at += 1;
        let is = match (found.not_read.first(), found.conditional.first()) {
            (Some(_), _) => "not-read",
            (None, Some(_)) => "conditional",
            (None, None) => "exact",
        };
        if is != case.understanding {
            let names: Vec<&String> =
                found.not_read.iter().chain(&found.conditional).map(|own| &own.statement).collect();
            wrong.push(format!("{is}, not {}: {}  {names:?}", case.understanding, case.rule));
        }
    }
    let text = serde_json::to_string(ruleset).expect("it can be written");
    let back: Ruleset = serde_json::from_str(&text).expect("it can be read again");
    assert_eq!(back, *ruleset);
    wrong
}

fn iptables(file: &str, program: &str, table_name: fn(&Case) -> String, legacy_tables: bool) {
    let cases = cases(file, true);
    let (ruleset, refused) = in_namespace(|| {
        let text =
            |case: &Case| format!("*{}\n-A {} {}\nCOMMIT\n", case.table, case.chain, case.rule);
        let refused = load(&cases, text, program, &["--noflush"]);
        let mut ruleset = read();
        if legacy_tables {
            let family = if program.starts_with("ip6") { "ip6" } else { "ip" };
            for name in ["raw", "mangle", "nat", "filter"] {
                let named = format!("{family} {name}");
                if std::env::var_os("RECORD_LEGACY_DUMPS").is_some() {
                    let dump = legacy::dump(&named).expect("a table that is loaded");
                    std::fs::write(format!("tests/legacy_dumps/{family}-{name}.bin"), dump)
                        .expect("writable");
                }
                ruleset.tables.push(legacy::read(&named).expect("a table that is loaded"));
            }
        }
        (ruleset, refused.iter().map(|case| case.rule.clone()).collect::<Vec<_>>())
    });
    println!("{program} refused {refused:#?}");
    assert!(refused.len() * 5 < cases.len(), "{refused:#?}");
    let loaded: Vec<&Case> = cases.iter().filter(|case| !refused.contains(&case.rule)).collect();
    let wrong = compare(&ruleset, &loaded, table_name);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn plain(case: &Case) -> String {
    case.table.clone()
}

fn of_legacy(case: &Case) -> String {
    format!("{}{}", case.table, legacy::SUFFIX)
}

#[test]
fn modules_of_iptables_are_understood() {
    iptables("iptables", "iptables-nft-restore", plain, false);
    iptables("ip6tables", "ip6tables-nft-restore", plain, false);
}

#[test]
fn modules_of_legacy_iptables_are_understood() {
    iptables("iptables", "iptables-legacy-restore", of_legacy, true);
    iptables("ip6tables", "ip6tables-legacy-restore", of_legacy, true);
}

const TABLE: &str = "table inet t {
    set pairs { type ipv4_addr . inet_service; flags interval; elements = { 198.51.100.0/24 . 22 } }
    set typed { typeof iifname . ip saddr; elements = { \"eth0\" . 198.51.100.1 } }
    set counted { type ipv4_addr; counter; elements = { 198.51.100.1 } }
    set dyn { type ipv4_addr; flags dynamic; size 100; }
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 1m; size 100; }
    map verdicts { type inet_service : mark; elements = { 22 : 0x1 } }
    counter hits { }
    limit slow { rate 3/minute }
    quota much { over 100 mbytes }
    ct helper ftp-std { type \"ftp\" protocol tcp; }
    ct timeout short { protocol tcp; policy = { established : 100 }; }
    map counters { type inet_service : counter; elements = { 22 : \"hits\" } }
    synproxy https-synproxy { mss 1460; wscale 7; timestamp sack-perm; }
    chain a { }
    chain b { }
    map pairmap { type ipv4_addr . inet_service : verdict; flags interval; \
                  elements = { 198.51.100.0/24 . 22 : jump a } }
    chain c { type filter hook input priority 0; }
    chain f { type filter hook forward priority 0; }
    chain pre { type nat hook prerouting priority -100; }
    chain post { type nat hook postrouting priority 100; }
    chain raw { type filter hook prerouting priority -300; }
}
";

#[test]
fn expressions_of_nft_are_understood() {
    let cases = cases("nft", false);
    let (ruleset, refused) = in_namespace(|| {
        namespace::nft(TABLE);
        let text = |case: &Case| format!("add rule inet t {} {}\n", case.chain, case.rule);
        let refused = load(&cases, text, "nft", &["-f", "-"]);
        (read(), refused.iter().map(|case| case.rule.clone()).collect::<Vec<_>>())
    });
    println!("nft refused {refused:#?}");
    assert!(refused.len() * 5 < cases.len(), "{refused:#?}");
    let loaded: Vec<&Case> = cases.iter().filter(|case| !refused.contains(&case.rule)).collect();
    let wrong = compare(&ruleset, &loaded, plain);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
