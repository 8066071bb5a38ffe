use super::*;
use crate::model::IpFamily;
use crate::model::nft::{
    BaseChain, Chain as NftChain, Element, Elements, Family, Hook, KeyType, Set, SetFlags, Table,
    build,
};
use crate::model::{PortRange, Protocol};

fn from(prefix: &str) -> Vec<Statement> {
    let source = build::saddr(IpFamily::Ipv4);
    vec![
        build::nfproto(IpFamily::Ipv4),
        build::in_prefix(source, prefix.parse().expect("a prefix")),
    ]
}

fn tcp(first: u16, last: u16) -> Vec<Statement> {
    let ports = PortRange::new(first, last).expect("a range");
    vec![build::l4proto(Protocol::TCP), build::port_in(build::dport(), ports)]
}

fn interface(name: &str) -> Vec<Statement> {
    vec![build::iifname(&name.parse().expect("a name"))]
}

/// What is shadowed, as the rule's number and those that cover it.
fn of(rules: &[Vec<Statement>]) -> Vec<(usize, Vec<usize>)> {
    let mut chain = NftChain::new("input");
    chain.hook = Some(BaseChain {
        kind: "filter".to_owned(),
        hook: Hook::Input,
        priority: 0,
        policy: Verdict::Accept,
        devices: Vec::new(),
    });
    chain.rules = rules.iter().map(|own| Rule::new(own.clone(), None)).collect();
    let mut ends = NftChain::new("ends");
    ends.rules = vec![Rule::new(vec![build::drop()], None)];
    let mut back = NftChain::new("back");
    back.rules = vec![
        Rule::new([interface("eth0"), vec![build::return_()]].concat(), None),
        Rule::new(vec![build::drop()], None),
    ];
    let mut table = Table::new(Family::Inet, "t");
    table.sets = vec![Set {
        name: "web".to_owned(),
        handle: 0,
        key: vec![KeyType::InetService],
        key_len: 2,
        data: None,
        flags: SetFlags::default(),
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(
            [80_u16, 81, 443]
                .map(|port| Element::new(ElementKey::Value(port.to_be_bytes().into())))
                .into(),
        ),
    }];
    table.chains = vec![chain, ends, back];
    let ruleset = Ruleset { generation: 1, tables: vec![table] };
    let rule = |id: RuleId| id.rule.expect("a rule");
    let found = shadowed(&ruleset).into_iter();
    found.map(|own| (rule(own.rule), own.by.into_iter().map(rule).collect())).collect()
}

use crate::model::nft::ElementKey;

fn web() -> Vec<Statement> {
    let key = vec![build::dport()];
    vec![
        build::l4proto(Protocol::TCP),
        Statement::Lookup { key, set: "web".to_owned(), invert: false },
    ]
}

#[test]
fn a_wider_rule_covers_a_narrower_one_whatever_both_do() {
    let drop = |tests: Vec<Statement>| [tests, vec![build::counter(), build::drop()]].concat();
    let accept = |tests: Vec<Statement>| [tests, vec![build::accept()]].concat();
    let rules = [
        drop(from("198.51.100.0/24")),
        accept([from("198.51.100.7/32"), tcp(22, 22)].concat()),
        accept(tcp(22, 22)),
        accept([from("203.0.113.0/24"), tcp(22, 22)].concat()),
        accept([from("203.0.113.0/24"), tcp(22, 23)].concat()),
    ];
    assert_eq!(of(&rules), [(1, vec![0]), (3, vec![2])]);
}

#[test]
fn several_rules_cover_one_together() {
    let accept = |tests: Vec<Statement>| [tests, vec![build::accept()]].concat();
    let drop = |tests: Vec<Statement>| [tests, vec![build::drop()]].concat();
    let rules = [
        accept(from("198.51.100.0/25")),
        drop([from("198.51.100.128/25"), tcp(1, 1023)].concat()),
        drop([from("198.51.100.128/25"), tcp(1000, 65535)].concat()),
        accept([from("198.51.100.0/24"), tcp(1, 40000)].concat()),
        accept(from("198.51.100.0/24")),
    ];
    assert_eq!(of(&rules), [(3, vec![0, 1, 2])], "the last is about UDP too");
}

#[test]
fn sets_cover_what_they_hold_and_no_more() {
    let accept = |tests: Vec<Statement>| [tests, vec![build::accept()]].concat();
    let rules = [
        accept(web()),
        accept(tcp(80, 80)),
        accept(tcp(80, 81)),
        accept(tcp(80, 82)),
        accept([web(), interface("eth0")].concat()),
    ];
    assert_eq!(of(&rules), [(1, vec![0]), (2, vec![0]), (4, vec![0])]);
}

#[test]
fn tests_that_both_rules_make_count_once() {
    let accept = |tests: Vec<Statement>| [tests, vec![build::accept()]].concat();
    let rules = [
        accept(interface("eth0")),
        accept([interface("eth0"), tcp(22, 22)].concat()),
        accept([interface("eth1"), tcp(22, 22)].concat()),
        accept(tcp(22, 22)),
    ];
    assert_eq!(of(&rules), [(1, vec![0])]);
}

#[test]
fn what_may_not_decide_covers_nothing() {
    let tests = || tcp(22, 22);
    let limit = crate::model::nft::Limit {
        rate: 3,
        unit: crate::model::nft::LimitUnit::Packets,
        per: crate::model::nft::RateUnit::Minute,
        burst: 5,
        over: false,
    };
    let rules = [
        [tests(), vec![Statement::Limit(limit), build::accept()]].concat(),
        [tests(), vec![build::counter()]].concat(),
        [tests(), vec![build::jump("back")]].concat(),
        [tests(), vec![build::drop()]].concat(),
        // Counts only: nobody takes anything from it.
        [tests(), vec![build::counter()]].concat(),
        [tests(), vec![build::accept()]].concat(),
    ];
    assert_eq!(of(&rules), [(5, vec![3])]);
    let rules =
        [[tests(), vec![build::jump("ends")]].concat(), [tests(), vec![build::accept()]].concat()];
    assert_eq!(of(&rules), [(1, vec![0])], "nothing comes back from there");
}

#[test]
fn tests_that_contradict_each_other_leave_nothing() {
    let rules = [
        [tcp(22, 22), vec![build::l4proto(Protocol::UDP), build::drop()]].concat(),
        [from("198.51.100.0/24"), from("203.0.113.0/24"), vec![build::drop()]].concat(),
    ];
    assert_eq!(of(&rules), [(0, vec![]), (1, vec![])]);
}
