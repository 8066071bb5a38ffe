use crate::analyze::{Analyzer, Answer, Fate, From, Packet, RuleId};
use crate::model::nft::{
    BaseChain, Chain, CompareOp, Element, ElementKey, Elements, Family, Hook, KeyType, NatKind,
    NatRange, Operand, PayloadBase, Rule, Ruleset, Selector, Set, SetFlags, Statement, Table,
    Transform, Verdict, build,
};
use crate::model::{IpFamily, PortRange, Protocol};
use crate::observe::{Route, Snapshot};
use std::net::IpAddr;

const V4: IpFamily = IpFamily::Ipv4;
const PORTS: [u16; 8] = [22, 79, 80, 81, 443, 1023, 1024, 8080];

/// A web server with more addresses on its uplink, filtered and translated by these rules alone.
fn host(filter: Vec<Statement>, nat: Vec<Statement>, set: Option<Set>) -> Snapshot {
    let text = include_str!("../../../tests/golden/cli/web1.json");
    let mut snapshot = Snapshot::from_json(text).expect("a snapshot");
    snapshot.warnings.clear();
    let uplink = snapshot.links.iter_mut().find(|link| link.name.as_str() == "eth0");
    let uplink = uplink.expect("an uplink");
    for text in ["203.0.113.12", "203.0.113.13", "203.0.113.130"] {
        let mut own = uplink.addresses[0].clone();
        own.address = text.parse().expect("an address");
        uplink.addresses.push(own);
        snapshot.routes.push(Route {
            to: crate::model::Prefix::host(text.parse().expect("an address")),
            table: 255,
            kind: "local".to_owned(),
            interface: Some(uplink.name.clone()),
            gateway: None,
            metric: 0,
        });
    }
    let chain = |hook: Hook, kind: &str, priority: i32, rule: Vec<Statement>| {
        let mut chain = Chain::new(kind);
        chain.hook = Some(BaseChain {
            kind: kind.to_owned(),
            hook,
            priority,
            policy: Verdict::Accept,
            devices: Vec::new(),
        });
        chain.rules = vec![Rule::new(rule, None)];
        chain
    };
    let mut table = Table::new(Family::Ip, "t");
    table.handle = 1;
    table.chains =
        vec![chain(Hook::Input, "filter", 0, filter), chain(Hook::Prerouting, "nat", -100, nat)];
    table.sets.extend(set);
    snapshot.ruleset = Ruleset { generation: 1, tables: vec![table] };
    snapshot
}

fn set(key: Vec<KeyType>, key_len: u32, elements: &[&[u8]]) -> Set {
    let keys = elements.iter().map(|own| Element::new(ElementKey::Value((*own).into())));
    Set {
        name: "s".to_owned(),
        handle: 2,
        key,
        key_len,
        data: None,
        flags: SetFlags { constant: true, ..SetFlags::default() },
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(keys.collect()),
    }
}

/// What is asked of destinations and ports, in each way that rules have.
fn constructs() -> Vec<(&'static str, Snapshot)> {
    let own = [203, 0, 113, 12_u8];
    let odd = |operand: Operand, mask: &[u8]| {
        let mask = Transform::Mask { mask: mask.into(), xor: vec![0; mask.len()].into() };
        Operand { transforms: vec![mask], ..operand }
    };
    let (to, port) = (|| build::daddr(V4), build::dport);
    let tcp = || build::l4proto(Protocol::TCP);
    let constant = |bytes: &[u8]| Operand::plain(Selector::Immediate(bytes.into()));
    let nat = |kind, address: Option<&[u8]>, port: Option<u16>| Statement::Nat {
        kind,
        family: Some(V4),
        range: Box::new(NatRange {
            address: address.map(|own| (constant(own), None)),
            port: port.map(|own| (constant(&own.to_be_bytes()), None)),
            flags: 0,
        }),
    };
    let lookup = |key| Statement::Lookup { key, set: "s".to_owned(), invert: false };
    let both = vec![KeyType::Ipv4Addr, KeyType::InetService];
    let range = PortRange::new(80, 443).expect("a range");
    let half = "203.0.113.0/25".parse().expect("a prefix");
    let drops = |tests: Vec<Statement>| [tests, vec![build::drop()]].concat();
    let plain = |tests: Vec<Statement>| host(drops(tests), Vec::new(), None);
    let holds = |tests: Vec<Statement>, set: Set| host(drops(tests), Vec::new(), Some(set));
    let lands =
        || drops(vec![tcp(), build::port_in(port(), PortRange::single(8080).expect("one"))]);
    let on_its_interface = |at: u16| {
        let at = build::compare(port(), CompareOp::Eq, at.to_be_bytes());
        let test = build::fib_daddr_type(true);
        drops(vec![tcp(), at, build::compare(test, CompareOp::Eq, 2_u32.to_ne_bytes())])
    };
    let translates = |nat: Statement| host(lands(), vec![tcp(), nat], None);
    vec![
        ("address", plain(vec![build::compare(to(), CompareOp::Eq, own)])),
        ("not an address", plain(vec![build::compare(to(), CompareOp::Ne, own)])),
        ("prefix", plain(vec![build::in_prefix(to(), half)])),
        ("lower addresses", plain(vec![build::compare(to(), CompareOp::Lt, own)])),
        ("higher addresses", plain(vec![build::compare(to(), CompareOp::Gt, own)])),
        (
            "odd addresses",
            plain(vec![build::compare(odd(to(), &[0, 0, 0, 1]), CompareOp::Eq, [0, 0, 0, 1])]),
        ),
        (
            "dialled address",
            plain(vec![build::compare(build::ct_original_daddr(V4), CompareOp::Eq, own)]),
        ),
        ("port", plain(vec![tcp(), build::compare(port(), CompareOp::Eq, [0, 80])])),
        ("ports", plain(vec![tcp(), build::port_in(port(), range)])),
        ("low ports", plain(vec![tcp(), build::compare(port(), CompareOp::Lt, [4, 0])])),
        ("high ports", plain(vec![tcp(), build::compare(port(), CompareOp::Ge, [4, 0])])),
        (
            "odd ports",
            plain(vec![tcp(), build::compare(odd(port(), &[0, 1]), CompareOp::Eq, [0, 1])]),
        ),
        ("dialled port", plain(vec![tcp(), build::ct_original_proto_dst_is(80)])),
        (
            "an interface's addresses",
            plain(vec![build::compare(
                build::fib_daddr_type(true),
                CompareOp::Eq,
                2_u32.to_ne_bytes(),
            )]),
        ),
        ("an interface's addresses at a port", plain(on_its_interface(80))),
        (
            "the same behind another port",
            host(on_its_interface(8080), vec![tcp(), nat(NatKind::Dnat, None, Some(8080))], None),
        ),
        (
            "the same behind another address",
            host(
                on_its_interface(8080),
                vec![tcp(), nat(NatKind::Dnat, Some(&own), Some(8080))],
                None,
            ),
        ),
        (
            "the same where it is redirected",
            host(
                on_its_interface(8080),
                vec![tcp(), nat(NatKind::Redirect, None, Some(8080))],
                None,
            ),
        ),
        (
            "a set of addresses",
            holds(
                vec![lookup(vec![to()])],
                set(vec![KeyType::Ipv4Addr], 4, &[&own, &[203, 0, 113, 130]]),
            ),
        ),
        (
            "a set of ports",
            holds(
                vec![tcp(), lookup(vec![port()])],
                set(vec![KeyType::InetService], 2, &[&[0, 80], &[1, 187]]),
            ),
        ),
        (
            "a set of both",
            holds(
                vec![tcp(), lookup(vec![to(), port()])],
                set(both, 8, &[&[203, 0, 113, 12, 0, 80, 0, 0], &[203, 0, 113, 130, 1, 187, 0, 0]]),
            ),
        ),
        ("another address", translates(nat(NatKind::Dnat, Some(&own), None))),
        ("another address and port", translates(nat(NatKind::Dnat, Some(&own), Some(8080)))),
        ("another port", translates(nat(NatKind::Dnat, None, Some(8080)))),
        ("redirected", translates(nat(NatKind::Redirect, None, Some(8080)))),
    ]
}

type Seen = Vec<(Fate, Option<RuleId>, Option<IpAddr>, Option<u16>, u32)>;

/// What becomes of packets from anywhere, with what was dialled left out.
fn seen(answer: &Answer, address: IpAddr, port: u16) -> Seen {
    let of = |end: &crate::analyze::End| {
        let env = &end.state.env;
        let to = Some(env.destination).filter(|own| *own != address);
        let at = env.port.filter(|own| *own != port);
        (end.fate.clone(), end.by, to, at, env.status)
    };
    answer.ends.iter().map(of).collect()
}

#[test]
fn those_of_one_class_fare_alike() {
    let mut told_apart = 0;
    for (what, snapshot) in constructs() {
        let analyzer = Analyzer::new(&snapshot);
        let mut all = Vec::new();
        for address in analyzer.own_addresses(V4) {
            for port in PORTS {
                let from = From::Interface("eth0".parse().expect("a name"));
                let source = "198.51.100.7".parse().expect("an address");
                let packet = Packet::new(from, source, address, Protocol::TCP, port);
                let packet = Packet { sources: vec![(0, u32::MAX.into())], ..packet };
                let at = analyzer.class_of_address(address, (Protocol::TCP, port));
                let class = (at, analyzer.class_of_port(port));
                all.push((class, address, port, seen(&analyzer.ask(&packet), address, port)));
            }
        }
        let mut differ = false;
        for one in &all {
            for two in &all {
                differ |= one.3 != two.3;
                assert!(one.0 != two.0 || one.3 == two.3, "{what}: {one:?} {two:?}");
            }
        }
        told_apart += usize::from(differ);
    }
    assert!(told_apart >= 20, "most constructs tell some apart: {told_apart}");
}

#[test]
fn what_no_rule_asks_about_is_one_class() {
    let test = build::compare(build::daddr(V4), CompareOp::Eq, [203, 0, 113, 12]);
    let rule = vec![build::l4proto(Protocol::TCP), test];
    let port = build::port_in(build::dport(), PortRange::single(80).expect("one"));
    let mut snapshot = host([rule, vec![port, build::drop()]].concat(), Vec::new(), None);
    snapshot.sockets[0].local = "203.0.113.10:22".parse().expect("a socket");
    let analyzer = Analyzer::new(&snapshot);
    let class = |text: &str| {
        analyzer.class_of_address(text.parse().expect("an address"), (Protocol::TCP, 22))
    };
    assert_eq!(class("203.0.113.13"), class("203.0.113.130"));
    assert_eq!(class("203.0.113.13"), class("172.18.0.1"), "on another interface");
    assert_ne!(class("203.0.113.13"), class("203.0.113.12"), "a rule names it");
    assert_ne!(class("203.0.113.13"), class("203.0.113.10"), "a socket is bound to it");
    assert_ne!(class("203.0.113.13"), class("203.0.113.14"), "it is not the host's");
    assert_eq!(analyzer.class_of_port(22), analyzer.class_of_port(443));
    assert_ne!(analyzer.class_of_port(22), analyzer.class_of_port(80), "a rule names it");
}

#[test]
fn interfaces_count_where_a_rule_asks_for_them_alone() {
    let all = constructs();
    let apart = |what: &str, dialled: (Protocol, u16)| {
        let (_, snapshot) = all.iter().find(|(own, _)| *own == what).expect("a construct");
        let analyzer = Analyzer::new(snapshot);
        analyzer.apart(analyzer.own_addresses(V4), dialled).len()
    };
    let at_a_port = "an interface's addresses at a port";
    assert_eq!(apart(at_a_port, (Protocol::TCP, 80)), 3, "one of each interface");
    assert_eq!(apart(at_a_port, (Protocol::TCP, 443)), 1);
    assert_eq!(apart(at_a_port, (Protocol::UDP, 80)), 1);
    assert_eq!(apart("the same behind another port", (Protocol::TCP, 443)), 3);
}

#[test]
fn a_bound_tells_the_ports_below_it_from_those_above() {
    for (what, snapshot) in constructs() {
        if !matches!(what, "low ports" | "high ports") {
            continue;
        }
        let analyzer = Analyzer::new(&snapshot);
        let mut classes = crate::analyze::Classes::default();
        classes.of_rules(&analyzer);
        assert_ne!(classes.signature(1023), classes.signature(1024), "{what}");
        assert_ne!(classes.signature(22), classes.signature(8080), "{what}");
        assert_eq!(classes.signature(22), classes.signature(443), "{what}");
        assert_eq!(classes.signature(8080), classes.signature(8081), "{what}");
    }
}

#[test]
fn some_bits_of_a_port_tell_apart_no_more_than_they_can() {
    let mut high = build::dport();
    let (mask, xor) = ([0xff, 0].into(), [0, 0].into());
    high.transforms.push(Transform::Mask { mask, xor });
    // Ports 7936 to 8191.
    let test = build::compare(high, CompareOp::Eq, [0x1f, 0]);
    let snapshot = host(vec![build::l4proto(Protocol::TCP), test, build::drop()], Vec::new(), None);
    let analyzer = Analyzer::new(&snapshot);
    let mut classes = crate::analyze::Classes::default();
    classes.of_rules(&analyzer);
    assert_ne!(classes.signature(7935), classes.signature(7936));
    assert_eq!(classes.signature(7937), classes.signature(8191));
    let range = PortRange::new(7900, 8200).expect("ascends");
    let parts = classes.split(Protocol::TCP, range);
    let parts: Vec<_> = parts.iter().map(|part| (part.first(), part.last())).collect();
    // The number that the bits are compared with is one of its own.
    assert_eq!(parts, [(7900, 7935), (7936, 7936), (7937, 8191), (8192, 8200)]);
}

#[test]
fn the_type_of_icmp_is_no_port() {
    let classes = |protocol: Protocol, offset: u32| {
        let byte = build::payload(PayloadBase::Transport, offset, 1);
        let test = build::compare(byte, CompareOp::Eq, [3]);
        let rule = vec![build::l4proto(protocol), test, build::drop()];
        let snapshot = host(rule, Vec::new(), None);
        let mut classes = crate::analyze::Classes::default();
        classes.of_rules(&Analyzer::new(&snapshot));
        classes
    };
    for protocol in [Protocol::ICMP, Protocol::ICMPV6] {
        let classes = classes(protocol, 0);
        assert_eq!(classes.signature(768), classes.signature(22), "{protocol}");
        let all = PortRange::new(1, u16::MAX).expect("ascends");
        assert_eq!(classes.split(Protocol::TCP, all), [all], "{protocol}");
    }
    for protocol in [Protocol::TCP, Protocol::UDPLITE] {
        let classes = classes(protocol, 2);
        assert_ne!(classes.signature(768), classes.signature(22), "{protocol}");
    }
}
