use super::*;
use crate::model::nft::{
    BaseChain, Chain, Family, Hook, Limit, LimitUnit, MetaKey, RateUnit, Rule, Ruleset, Statement,
    Table, Verdict, build,
};
use crate::observe::Snapshot;
use std::net::IpAddr;

/// A web server with Docker's bridges, whose ruleset is replaced.
fn host(rules: &[Vec<Statement>]) -> Snapshot {
    let text = include_str!("../../../tests/golden/cli/web1.json");
    let mut snapshot = Snapshot::from_json(text).expect("a snapshot");
    snapshot.warnings.clear();
    let mut table = Table::new(Family::Inet, "t");
    table.handle = 1;
    let mut input = Chain::new("input");
    input.handle = 1;
    input.hook = Some(BaseChain {
        kind: "filter".to_owned(),
        hook: Hook::Input,
        priority: 0,
        policy: Verdict::Accept,
        devices: Vec::new(),
    });
    input.rules = rules.iter().map(|own| Rule::new(own.clone(), None)).collect();
    let mut other = Chain::new("other");
    other.rules = vec![Rule::new([tcp(22, 23), vec![build::accept()]].concat(), None)];
    table.chains = vec![input, other];
    snapshot.ruleset = Ruleset { generation: 1, tables: vec![table] };
    snapshot
}

fn of(one: &[Vec<Statement>], two: &[Vec<Statement>]) -> Comparison {
    let (one, two) = (host(one), host(two));
    compare(&Analyzer::new(&one), &Analyzer::new(&two), &Region::all())
}

fn tcp(first: u16, last: u16) -> Vec<Statement> {
    let ports = PortRange::new(first, last).expect("a range");
    vec![build::l4proto(Protocol::TCP), build::port_in(build::dport(), ports)]
}

fn from(prefix: &str) -> Vec<Statement> {
    let prefix: Prefix = prefix.parse().expect("a prefix");
    let family = prefix.family();
    vec![build::nfproto(family), build::in_prefix(build::saddr(family), prefix)]
}

fn to(address: &str) -> Vec<Statement> {
    let prefix: Prefix = address.parse().expect("a prefix");
    let family = prefix.family();
    vec![build::nfproto(family), build::in_prefix(build::daddr(family), prefix)]
}

fn rule(tests: &[Vec<Statement>], then: Statement) -> Vec<Statement> {
    [tests.concat(), vec![build::counter(), then]].concat()
}

fn limit() -> Statement {
    let (unit, per) = (LimitUnit::Packets, RateUnit::Minute);
    Statement::Limit(Limit { rate: 3, unit, per, burst: 5, over: false })
}

#[test]
fn order_matters_only_where_two_rules_can_both_decide() {
    let (a, b, c) = (
        rule(&[from("198.51.100.0/24"), tcp(22, 22)], build::accept()),
        rule(&[from("203.0.113.0/24")], build::drop()),
        rule(&[from("198.51.0.0/16")], build::drop()),
    );
    assert_eq!(of(&[a.clone(), b.clone()], &[b.clone(), a.clone()]), Comparison::Equal);
    let Comparison::Differs(found) = of(&[a.clone(), b.clone(), c.clone()], &[c, b, a]) else {
        panic!("the first accepts 198.51.100.0/24 to port 22");
    };
    assert_eq!((found.packet.protocol, found.packet.port), (Protocol::TCP, 22));
    let source: IpAddr = super::super::packet::address(IpFamily::Ipv4, found.packet.sources[0].0);
    assert!("198.51.100.0/24".parse::<Prefix>().expect("a prefix").contains(source), "{source}");
    assert_eq!((found.two.as_str(), found.depends_on.len()), ("dropped", 0));
    assert!(found.one.starts_with("delivered to "), "{}", found.one);
    assert_eq!(found.decided_by_two.expect("a rule").rule, "ip saddr 198.51.0.0/16 counter drop");
}

#[test]
fn other_words_for_the_same_are_equal() {
    let range = [rule(&[tcp(80, 81)], build::drop())];
    let each = [rule(&[tcp(80, 80)], build::drop()), rule(&[tcp(81, 81)], build::drop())];
    assert_eq!(of(&range, &each), Comparison::Equal);
    let jump = [rule(&[tcp(1, 100)], build::jump("other")), rule(&[tcp(20, 30)], build::drop())];
    let flat = [rule(&[tcp(20, 21)], build::drop()), rule(&[tcp(24, 30)], build::drop())];
    assert_eq!(of(&jump, &flat), Comparison::Equal);
    let shadowed = [
        rule(&[from("198.51.100.0/24")], build::drop()),
        rule(&[from("198.51.100.7/32"), tcp(22, 22)], build::accept()),
    ];
    assert_eq!(of(&shadowed, &shadowed[..1]), Comparison::Equal);
    assert_eq!(of(&[], &[rule(&[], build::accept())]), Comparison::Equal);
}

#[test]
fn every_field_of_a_packet_tells_rulesets_apart() {
    let one = |tests: Vec<Statement>| vec![rule(&[tests], build::drop())];
    let flags = vec![build::l4proto(Protocol::TCP), build::tcp_syn()];
    let cases = [
        one(tcp(4242, 4242)),
        one(from("2001:db8:7::/48")),
        one(to("203.0.113.10/32")),
        one(vec![build::iifname(&"docker0".parse().expect("a name"))]),
        one(vec![build::l4proto(Protocol::ICMP), build::icmp_type_is(13)]),
        one(vec![build::l4proto(Protocol(47))]),
        one(flags),
        one(vec![build::ct_state(&[build::CtState::Invalid])]),
        one(vec![
            build::l4proto(Protocol::UDP),
            build::port_in(build::sport(), PortRange::new(53, 53).expect("a port")),
        ]),
    ];
    for case in &cases {
        let Comparison::Differs(found) = of(case, &[]) else { panic!("{case:?}") };
        assert_eq!(found.one, "dropped", "{case:?}");
        assert!(matches!(of(&[], case), Comparison::Differs(_)), "{case:?}");
        assert_eq!(of(case, case), Comparison::Equal);
    }
}

#[test]
fn a_region_leaves_out_what_is_not_in_it() {
    let (one, two) = (host(&[rule(&[tcp(22, 22)], build::drop())]), host(&[]));
    let (one, two) = (Analyzer::new(&one), Analyzer::new(&two));
    let of = |ports: (u16, u16), sources: &str| {
        let region = Region {
            protocol: Some(Protocol::TCP),
            ports: PortRange::new(ports.0, ports.1).ok(),
            sources: vec![sources.parse().expect("a prefix")],
            ..Region::all()
        };
        compare(&one, &two, &region)
    };
    assert_eq!(of((80, 443), "0.0.0.0/0"), Comparison::Equal);
    assert!(matches!(of((20, 25), "198.51.100.0/24"), Comparison::Differs(_)));
    // No packet comes from there.
    assert_eq!(of((20, 25), "224.0.0.0/8"), Comparison::Equal);
}

#[test]
fn unknowns_are_equal_where_the_same_ones_decide_alike() {
    let limited = |port| rule(&[tcp(port, port), vec![limit()]], build::accept());
    let drop = || rule(&[tcp(20, 30)], build::drop());
    let one = [limited(22), limited(23), drop()];
    assert_eq!(of(&one, &[limited(23), limited(22), drop()]), Comparison::Equal);
    let Comparison::Differs(found) = of(&one, &[limited(22), drop()]) else { panic!("port 23") };
    assert_eq!(found.packet.port, 23);
    assert_eq!(found.depends_on, ["limit rate 3/minute burst 5 packets"]);
    // A limit that changes nothing is none.
    let log = [rule(&[tcp(22, 22), vec![limit()]], build::log("x"))];
    assert_eq!(of(&log, &[]), Comparison::Equal);
}

#[test]
fn a_mark_that_one_rule_sets_and_another_reads_counts() {
    let set = |mark: u32| Statement::SetMeta {
        key: MetaKey::Mark,
        value: crate::model::nft::Operand::plain(crate::model::nft::Selector::Immediate(
            mark.to_ne_bytes().into(),
        )),
    };
    let read = build::compare(
        build::meta(MetaKey::Mark),
        crate::model::nft::CompareOp::Eq,
        7_u32.to_ne_bytes(),
    );
    let drop = || rule(&[vec![read.clone()]], build::drop());
    let marks = |mark| rule(&[tcp(22, 22)], set(mark));
    assert_eq!(of(&[marks(8), drop()], &[drop()]), Comparison::Equal);
    let Comparison::Differs(found) = of(&[marks(7), drop()], &[drop()]) else { panic!("dropped") };
    assert_eq!((found.packet.port, found.one.as_str()), (22, "dropped"));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    const PREFIXES: [&str; 5] = [
        "198.51.100.0/24",
        "198.51.100.0/25",
        "198.51.100.7/32",
        "203.0.113.0/24",
        "2001:db8::/32",
    ];

    fn tests() -> impl Strategy<Value = Vec<Statement>> {
        prop_oneof![
            (0..PREFIXES.len()).prop_map(|at| from(PREFIXES[at])),
            (20_u16..24, 0_u16..3).prop_map(|(first, more)| tcp(first, first + more)),
            Just(to("203.0.113.10/32")),
            Just(vec![build::iifname(&"eth0".parse().expect("a name"))]),
            Just(vec![build::ct_state(&[build::CtState::New])]),
            Just(vec![build::l4proto(Protocol::ICMP)]),
        ]
    }

    fn rules() -> impl Strategy<Value = Vec<Vec<Statement>>> {
        let then = prop_oneof![
            Just(build::accept()),
            Just(build::drop()),
            Just(build::jump("other")),
            Just(build::return_()),
            Just(build::counter()),
        ];
        let one = (proptest::collection::vec(tests(), 0..3), then);
        proptest::collection::vec(one.prop_map(|(tests, then)| rule(&tests, then)), 0..7)
    }

    /// Some packets of every kind that the rules speak of.
    fn packets() -> Vec<Packet> {
        let mut all = Vec::new();
        for (to, sources) in [
            (
                "203.0.113.10",
                &["198.51.100.7", "198.51.100.9", "198.51.100.200", "203.0.113.1"][..],
            ),
            ("172.17.0.1", &["198.51.100.7", "192.0.2.1"]),
            ("2001:db8:1::10", &["2001:db8:1::1", "2001:db9::1"]),
        ] {
            for source in sources {
                for interface in ["eth0", "docker0"] {
                    for (protocol, ports) in [
                        (Protocol::TCP, &[19, 20, 21, 22, 23, 24, 25, 26][..]),
                        (Protocol::ICMP, &[0]),
                    ] {
                        for port in ports {
                            for state in [ConnectionState::New, ConnectionState::Invalid] {
                                let from = From::Interface(interface.parse().expect("a name"));
                                let (source, to) =
                                    (source.parse().expect("one"), to.parse().expect("one"));
                                let packet = Packet::new(from, source, to, protocol, *port);
                                all.push(Packet { state, ..packet });
                            }
                        }
                    }
                }
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// The same rules less one, with two changed over, or altogether others.
        #[test]
        fn what_is_equal_agrees_on_every_packet_and_what_differs_does_not(
            one in rules(),
            others in rules(),
            change in 0..4_u8,
            at in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let mut two = one.clone();
            match change {
                0 if !two.is_empty() => { two.remove(at.0.index(one.len())); }
                1 if !two.is_empty() => two.swap(at.0.index(one.len()), at.1.index(one.len())),
                2 if !others.is_empty() => {
                    two.insert(at.0.index(two.len() + 1), others[0].clone());
                }
                _ => two = others,
            }
            let (one, two) = (host(&one), host(&two));
            let (one, two) = (Analyzer::new(&one), Analyzer::new(&two));
            let same = |packet: &Packet| {
                outcome::words(&one.ask(packet)) == outcome::words(&two.ask(packet))
            };
            match compare(&one, &two, &Region::all()) {
                Comparison::Equal => {
                    for packet in packets() {
                        prop_assert!(same(&packet), "{packet:?}");
                    }
                }
                Comparison::Differs(found) => prop_assert!(!same(&found.packet), "{found:?}"),
                Comparison::Undecided { why } => prop_assert!(false, "{why:?}"),
            }
        }
    }
}
