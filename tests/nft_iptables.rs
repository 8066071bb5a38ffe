//! Rules of iptables, as Docker and ufw write them, read from the kernel and decoded whole.
//!
//! Needs root: every case runs in a network namespace of its own.

#[path = "nft_namespace/mod.rs"]
mod namespace;

use fwctl::model::nft::{Family, Statement, Table, XtMatch, text};
use namespace::{feed, in_namespace, read};
use std::path::Path;

fn tables(case: &str) -> Vec<Table> {
    let path = Path::new("tests/nft_iptables").join(case);
    let input = std::fs::read_to_string(&path).expect("a case");
    let program =
        if case.ends_with("v6") { "ip6tables-nft-restore" } else { "iptables-nft-restore" };
    let ruleset = in_namespace(|| {
        feed(program, &[], &input);
        read()
    });
    ruleset.tables
}

/// Every statement that is not understood, with the rule it is in.
fn not_understood(tables: &[Table]) -> Vec<String> {
    let mut found = Vec::new();
    for table in tables {
        for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
            let unknown = rule.statements.iter().any(|statement| {
                matches!(statement, Statement::Opaque { .. } | Statement::Xt { decoded: None, .. })
            });
            if unknown {
                found.push(text::rule(rule, table));
            }
        }
    }
    found
}

/// The whole ruleset in words, which a reviewer reads.
fn words(tables: &[Table]) -> String {
    tables.iter().map(text::table).collect()
}

#[test]
fn dockers_rules_are_understood_whole() {
    let tables = tables("docker.v4");
    assert_eq!(not_understood(&tables), Vec::<String>::new());
    insta::assert_snapshot!("docker", words(&tables));
    let nat = tables.iter().find(|table| table.family == Family::Ip && table.name == "nat");
    let docker = nat.expect("loaded").chain("DOCKER").expect("loaded");
    let published = docker.rules[1].statements.iter().find_map(|statement| match statement {
        Statement::Xt { decoded: Some(XtMatch::Nat { addresses, ports, .. }), .. } => {
            Some((addresses.map(|(low, _)| low), *ports))
        }
        _ => None,
    });
    let address = "172.17.0.2".parse().expect("an address");
    assert_eq!(published, Some((Some(address), Some((5432, 5432)))));
}

#[test]
fn ufws_rules_are_understood_whole() {
    let four = tables("ufw.v4");
    assert_eq!(not_understood(&four), Vec::<String>::new());
    insta::assert_snapshot!("ufw", words(&four));
    let six = tables("ufw.v6");
    assert_eq!(not_understood(&six), Vec::<String>::new());
    insta::assert_snapshot!("ufw6", words(&six));
}
