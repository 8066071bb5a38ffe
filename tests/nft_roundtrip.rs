//! The reader, the printer and the constructors against a real kernel and a real nft.
//!
//! Needs root: every case runs in a network namespace of its own, made by the thread that loads
//! and reads it.

#[path = "nft_namespace/mod.rs"]
mod namespace;

use fwctl::model::nft::{Table, text};
use namespace::{in_namespace, nft, read};

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
        let mut different = Vec::new();
        for (one, two) in first.iter().zip(&second) {
            for (a, b) in one.chains.iter().zip(&two.chains) {
                for (x, y) in a.rules.iter().zip(&b.rules).filter(|(x, y)| x != y) {
                    different.push(format!("{}\n  {x:?}\n  {y:?}", text::rule(x, one)));
                }
            }
            for (a, b) in one.sets.iter().zip(&two.sets).filter(|(a, b)| a != b) {
                different.push(format!("{}\n  {a:?}\n  {b:?}", a.name));
            }
        }
        assert!(different.is_empty(), "{}:\n{}", case.display(), different.join("\n"));
        assert_eq!(first, second, "{}", case.display());
        if std::env::var_os("SHOW").is_some() {
            println!("{printed}");
        }
    }
}
