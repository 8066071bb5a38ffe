//! Large rulesets: read whole, bounded, from a cache, and while they change.
//!
//! Needs root: every case runs in a network namespace of its own.

#[path = "nft_namespace/mod.rs"]
mod namespace;

use fwctl::model::nft::{Elements, Family, Ruleset};
use fwctl::observe::nft::{self as reader, Options, SetCache};
use namespace::{in_namespace, nft, read};
use std::fmt::Write as _;
use std::time::Instant;

fn prefixes(count: u32) -> String {
    let mut text = String::from("table inet t { set s { type ipv4_addr; flags interval;\n");
    text.push_str("elements = { ");
    for number in 0..count {
        let [_, a, b, c] = (number * 2).to_be_bytes();
        let _ = write!(text, "10.{a}.{b}.{c}, ");
    }
    text.push_str("} }\n}\n");
    text
}

fn elements(ruleset: &Ruleset) -> &Elements {
    let table = ruleset.table(Family::Inet, "t").expect("loaded");
    &table.set("s").expect("loaded").elements
}

#[test]
fn ten_thousand_rules_are_read_in_order() {
    let mut text = String::from("table inet t { chain c {\n");
    for port in 1..=10_000 {
        let _ = writeln!(text, "ip saddr 192.0.2.1 tcp dport {port} counter accept");
    }
    text.push_str("}\n}\n");
    let ruleset = in_namespace(|| {
        nft(&text);
        let start = Instant::now();
        let ruleset = read();
        println!("10,000 rules: {:?}", start.elapsed());
        ruleset
    });
    let table = ruleset.table(Family::Inet, "t").expect("loaded");
    let rules = &table.chain("c").expect("loaded").rules;
    assert_eq!(rules.len(), 10_000);
    let text = fwctl::model::nft::text::rule(&rules[4_321], table);
    assert_eq!(text, "ip saddr 192.0.2.1 tcp dport 4322 counter accept");
}

#[test]
fn large_sets_are_read_whole_or_not_at_all_or_from_the_cache() {
    in_namespace(|| {
        nft(&prefixes(50_000));
        let start = Instant::now();
        let whole = read();
        let first = start.elapsed();
        assert_eq!(elements(&whole).listed().len(), 50_000);

        let bounded = reader::read(Options { max_elements: Some(1_000), ..Options::default() });
        let bounded = bounded.expect("readable");
        assert!(matches!(elements(&bounded), Elements::NotListed { .. }));

        let cache = SetCache::of(&whole, 1_000);
        let start = Instant::now();
        let cached = reader::read(Options { cache: Some(&cache), ..Options::default() });
        let cached = cached.expect("readable");
        let second = start.elapsed();
        println!("50,000 elements: {first:?}, from the cache {second:?}");
        assert_eq!(cached, whole);
        assert!(second < first / 2, "{second:?} is not much less than {first:?}");

        nft("delete element inet t s { 10.0.0.2 }\n");
        let changed = reader::read(Options { cache: Some(&cache), ..Options::default() });
        let changed = changed.expect("readable");
        assert_eq!(elements(&changed).listed().len(), 49_999, "the cache is out of date");
    });
}

#[test]
fn the_generation_moves_with_every_change_and_one_table_is_read_alone() {
    in_namespace(|| {
        nft("table inet t {\nchain c { accept; }\nset s { type mark; elements = { 1 }; }\n}\n");
        nft("table ip t {\nchain d { drop; }\n}\n");
        let before = reader::generation().expect("readable");
        assert_eq!(reader::generation().expect("readable"), before);
        nft("add rule inet t c drop\n");
        assert_ne!(reader::generation().expect("readable"), before);
        let alone = reader::read_table(Family::Inet, "t").expect("readable").expect("there");
        assert_eq!(Some(&alone), read().table(Family::Inet, "t"));
        assert_eq!(alone.chains[0].rules.len(), 2);
        assert_eq!(reader::read_table(Family::Inet, "none").expect("readable"), None);
        assert_eq!(reader::read_table(Family::Arp, "t").expect("readable"), None);
    });
}

#[test]
fn what_is_read_while_it_changes_is_whole() {
    in_namespace(|| {
        nft("table inet t {\nchain c { }\n}\n");
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").expect("our own");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                    .expect("the same namespace");
                for round in 1..=40 {
                    // Every state has as many rules in the one chain as in the other.
                    nft(&format!(
                        "flush table inet t\nadd chain inet t d\n{}",
                        "add rule inet t c accept\nadd rule inet t d accept\n".repeat(round)
                    ));
                }
            });
            while !writer.is_finished() {
                let ruleset = match reader::read(Options::default()) {
                    Ok(ruleset) => ruleset,
                    Err(reader::NftError::Restless) => continue,
                    Err(error) => panic!("{error}"),
                };
                let table = ruleset.table(Family::Inet, "t").expect("always there");
                let count = |name| table.chain(name).map_or(0, |chain| chain.rules.len());
                assert_eq!(count("c"), count("d"));
            }
            writer.join().expect("the writer");
        });
    });
}
