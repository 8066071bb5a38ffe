//! The reader, the printer and the constructors against a real kernel and a real nft.
//!
//! Needs root: every case runs in a network namespace of its own, made by the thread that loads
//! and reads it.

use fwctl::model::nft::{Ruleset, Table, text};
use fwctl::observe::nft;
use nix::sched::{CloneFlags, unshare};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs on a thread in a network namespace of its own, which goes with the thread.
fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces and needs root: run it with sudo"
    );
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
            work()
        });
        thread.join().expect("the thread's own panic stands above")
    })
}

/// Feeds a program that must succeed.
fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} refused:\n{errors}\nof:\n{input}");
}

fn nft(input: &str) {
    feed("nft", &["-f", "-"], input);
}

fn read() -> Ruleset {
    nft::read(nft::Options::default()).expect("the ruleset of our own namespace is readable")
}

/// The table without what differs from load to load.
fn comparable(table: &Table) -> Table {
    let mut table = table.clone();
    table.handle = 0;
    for chain in &mut table.chains {
        chain.handle = 0;
        for rule in &mut chain.rules {
            *rule = rule.canonical();
            rule.handle = 0;
        }
    }
    for set in &mut table.sets {
        set.handle = 0;
        if let fwctl::model::nft::Elements::Listed(elements) = &mut set.elements {
            for element in elements {
                element.expires = None;
            }
        }
    }
    table
}

fn opaque(table: &Table) -> Vec<String> {
    let rules = table.chains.iter().flat_map(|chain| &chain.rules);
    rules.filter(|rule| !text::loadable(rule, table)).map(|rule| text::rule(rule, table)).collect()
}

#[test]
fn what_is_printed_loads_as_what_was_read() {
    let folder = std::path::Path::new("tests/nft_roundtrip");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "nft"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let input = std::fs::read_to_string(&case).expect("a case");
        let first = in_namespace(|| {
            nft(&input);
            read()
        });
        let printed: Vec<_> = first.tables.iter().map(text::table).collect();
        let printed = printed.concat();
        for table in &first.tables {
            assert_eq!(opaque(table), Vec::<String>::new(), "{}", case.display());
        }
        let second = in_namespace(|| {
            nft(&printed);
            read()
        });
        let first: Vec<_> = first.tables.iter().map(comparable).collect();
        let second: Vec<_> = second.tables.iter().map(comparable).collect();
        for (one, two) in first.iter().zip(&second) {
            for (a, b) in one.chains.iter().zip(&two.chains) {
                for (x, y) in a.rules.iter().zip(&b.rules) {
                    assert_eq!(x, y, "{}: {}", case.display(), text::rule(x, one));
                }
            }
            for (a, b) in one.sets.iter().zip(&two.sets) {
                assert_eq!(a, b, "{}", case.display());
            }
        }
        assert_eq!(first, second, "{}", case.display());
        if std::env::var_os("SHOW").is_some() {
            println!("{printed}");
        }
    }
}
