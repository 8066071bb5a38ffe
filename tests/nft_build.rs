//! Every constructor of `model::nft::build`: built, printed, loaded by nft, read back, the same.
//!
//! Needs root: every case runs in a network namespace of its own.

#[path = "nft_namespace/mod.rs"]
mod namespace;

use fwctl::model::nft::build::{self, AddressType, CtState};
use fwctl::model::nft::{
    BaseChain, Chain, CompareOp, CtDirection, Element, ElementKey, Elements, Family, Hook, KeyType,
    Limit, LimitUnit, MetaKey, Operand, RateUnit, Rule, Set, SetData, SetFlags, SetOp, Statement,
    Table, Verdict, text,
};
use fwctl::model::{IfacePattern, IpFamily, PortRange, Prefix, Protocol};
use namespace::{in_namespace, nft, read};

const V4: IpFamily = IpFamily::Ipv4;
const V6: IpFamily = IpFamily::Ipv6;

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn iface(text: &str) -> IfacePattern {
    text.parse().expect("an interface")
}

fn ports(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).expect("a range")
}

fn tcp() -> Statement {
    build::l4proto(Protocol::TCP)
}

fn per_minute(over: bool) -> Limit {
    Limit { rate: 6, unit: LimitUnit::Packets, per: RateUnit::Minute, burst: 10, over }
}

fn set(name: &str, key: &[KeyType], flags: SetFlags) -> Set {
    let padded = |kind: &KeyType| kind.width().expect("of fixed length").div_ceil(4) * 4;
    let whole: usize = match key {
        [one] => one.width().expect("of fixed length"),
        several => several.iter().map(padded).sum(),
    };
    Set {
        name: name.to_owned(),
        handle: 0,
        key: key.to_vec(),
        key_len: u32::try_from(whole).expect("short"),
        data: None,
        flags,
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(Vec::new()),
    }
}

fn with(mut set: Set, data: Option<SetData>, elements: Vec<Element>) -> Set {
    set.data = data;
    set.elements = Elements::Listed(elements);
    set
}

fn sets() -> Vec<Set> {
    let plain = SetFlags::default();
    let interval = SetFlags { interval: true, ..plain };
    let dynamic = SetFlags { dynamic: true, timeout: true, ..plain };
    let timed = SetFlags { timeout: true, ..plain };
    let verdict = || Some(SetData::Verdict);
    let jump = |key: ElementKey| Element::verdict(key, Verdict::Jump("other".to_owned()));
    let goto = |key: ElementKey| Element::verdict(key, Verdict::Goto("other".to_owned()));
    let concat = |fields: &[ElementKey]| build::key_concat(fields).expect("no catch-all");
    let address = |text: &str| build::key_address(text.parse().expect("an address"));
    let tcp = build::key_protocol(Protocol::TCP);
    let udp = build::key_protocol(Protocol::UDP);
    let mut limits4 = set("limits4", &[KeyType::Ipv4Addr], dynamic);
    limits4.size = Some(65_535);
    limits4.timeout = Some(60_000);
    let mut limits6 = set("limits6", &[KeyType::Ipv6Addr], dynamic);
    limits6.size = Some(65_535);
    limits6.timeout = Some(90_000);
    limits6.comment = Some("per /64".to_owned());
    let mut armed = jump(build::key_nfproto(V4));
    armed.timeout = Some(3_600_000);
    let mut commented = jump(build::key_port_range(ports(443, 443)));
    commented.comment = Some("policy.toml:12".to_owned());
    vec![
        with(
            set("net4", &[KeyType::Ipv4Addr], interval),
            None,
            vec![
                Element::new(build::key_prefix(prefix("10.0.0.0/8"))),
                Element::new(build::key_prefix(prefix("192.0.2.1"))),
                Element::new(build::key_prefix(prefix("198.51.100.128/25"))),
            ],
        ),
        with(
            set("net6", &[KeyType::Ipv6Addr], interval),
            None,
            vec![
                Element::new(build::key_prefix(prefix("2001:db8::/32"))),
                Element::new(build::key_prefix(prefix("2001:db9::1"))),
            ],
        ),
        with(
            set("hosts6", &[KeyType::Ipv6Addr], plain),
            None,
            vec![Element::new(address("::ffff:192.0.2.1")), Element::new(address("2001:db8::1"))],
        ),
        with(
            set("ports", &[KeyType::InetService], interval),
            verdict(),
            vec![
                jump(build::key_port_range(ports(22, 22))),
                commented,
                jump(build::key_port_range(ports(9000, 9010))),
            ],
        ),
        with(
            set("services", &[KeyType::InetProto, KeyType::InetService], interval),
            verdict(),
            vec![
                jump(concat(&[tcp.clone(), build::key_port_range(ports(22, 22))])),
                goto(concat(&[udp.clone(), build::key_port_range(ports(9000, 9010))])),
            ],
        ),
        with(
            set("exact", &[KeyType::InetProto, KeyType::InetService], plain),
            verdict(),
            vec![jump(concat(&[tcp.clone(), build::key_port_range(ports(22, 22))]))],
        ),
        with(
            set(
                "dialled",
                &[KeyType::Ipv4Addr, KeyType::InetProto, KeyType::InetService],
                interval,
            ),
            verdict(),
            vec![jump(concat(&[
                build::key_prefix(prefix("192.0.2.0/24")),
                tcp,
                build::key_port_range(ports(80, 90)),
            ]))],
        ),
        with(
            set("interfaces", &[KeyType::Ifname], interval),
            None,
            vec![
                Element::new(build::key_ifname(&iface("eth1"))),
                Element::new(build::key_ifname(&iface("wg*"))),
            ],
        ),
        with(
            set("by_interface", &[KeyType::Ifname, KeyType::Ipv4Addr], interval),
            verdict(),
            vec![
                jump(concat(&[
                    build::key_ifname(&iface("eth1")),
                    build::key_prefix(prefix("10.0.0.0/8")),
                ])),
                jump(concat(&[
                    build::key_ifname(&iface("wg*")),
                    build::key_prefix(prefix("0.0.0.0/0")),
                ])),
            ],
        ),
        with(
            set("kinds", &[KeyType::FIB_ADDRTYPE], plain),
            verdict(),
            vec![
                jump(build::key_address_type(AddressType::Local)),
                jump(build::key_address_type(AddressType::Multicast)),
            ],
        ),
        with(
            set("armed_7", &[KeyType::NF_PROTO], timed),
            verdict(),
            vec![armed, goto(build::key_nfproto(V6))],
        ),
        with(
            set("any", &[KeyType::InetService], interval),
            verdict(),
            vec![jump(ElementKey::CatchAll), jump(build::key_port_range(ports(22, 22)))],
        ),
        limits4,
        limits6,
    ]
}

fn rules() -> Vec<Vec<Statement>> {
    let v4 = || build::nfproto(V4);
    let v6 = || build::nfproto(V6);
    let mark = build::meta(MetaKey::Mark);
    let icmpv6 = || build::l4proto(Protocol::ICMPV6);
    let within = |family: IpFamily, operand: Operand, text: &str| {
        vec![build::nfproto(family), build::in_prefix(operand, prefix(text))]
    };
    let mut rules = vec![
        vec![build::ct_state(&[CtState::Established, CtState::Related]), build::accept()],
        vec![build::ct_state(&[CtState::New]), build::counter()],
        vec![build::ct_state(&[CtState::Invalid, CtState::Untracked]), build::drop()],
        vec![build::ct_status_dnat(), build::jump("other")],
        vec![build::ct_direction(CtDirection::Original), build::return_()],
        vec![build::ct_direction(CtDirection::Reply), build::goto("other")],
        vec![tcp(), build::ct_original_proto_dst_is(8080), build::accept()],
        vec![tcp(), build::vmap(vec![build::ct_original_proto_dst()], "ports")],
        vec![
            tcp(),
            build::ct_status_dnat(),
            build::ct_direction(CtDirection::Original),
            build::vmap(vec![build::ct_original_proto_dst()], "ports"),
        ],
        vec![build::lookup(vec![build::ct_original_daddr(V4)], "net4"), build::accept()],
        vec![build::lookup_not(vec![build::ct_original_saddr(V6)], "net6"), build::accept()],
        vec![build::in_prefix(build::ct_original_daddr(V4), prefix("192.0.2.0/24"))],
        vec![build::in_prefix(build::ct_original_daddr(V4), prefix("192.0.2.7"))],
        vec![build::in_prefix(build::ct_original_daddr(V6), prefix("2001:db8::/33"))],
        vec![build::in_prefix(build::ct_original_daddr(V6), prefix("2001:db8::/32"))],
        vec![build::iifname(&iface("eth1")), build::accept()],
        vec![build::iifname(&iface("wg*")), build::accept()],
        vec![build::iifname_not(&iface("eth1")), build::accept()],
        vec![build::oifname(&iface("br-*")), build::drop()],
        vec![build::oifname_not(&iface("wg*")), build::drop()],
        vec![build::iifkind("bridge"), build::accept()],
        vec![build::oifkind("bridge"), build::accept()],
        vec![build::iif_lo(), build::accept()],
        vec![build::oif_lo(), build::accept()],
        vec![build::lookup(vec![build::meta(MetaKey::Iifname)], "interfaces")],
        vec![build::lookup_not(vec![build::meta(MetaKey::Iifname)], "interfaces")],
        vec![
            v4(),
            build::vmap(vec![build::meta(MetaKey::Iifname), build::saddr(V4)], "by_interface"),
        ],
        vec![v4(), build::lookup(vec![build::saddr(V4)], "net4"), build::accept()],
        vec![v6(), build::lookup(vec![build::daddr(V6)], "hosts6"), build::accept()],
        vec![v6(), build::lookup_not(vec![build::saddr(V6)], "net6"), build::drop()],
        vec![v4(), build::not_in_prefix(build::saddr(V4), prefix("10.0.0.0/9"))],
        vec![tcp(), build::port_in(build::dport(), ports(22, 22)), build::accept()],
        vec![tcp(), build::port_in(build::dport(), ports(9000, 9010)), build::accept()],
        vec![tcp(), build::vmap(vec![build::dport()], "ports")],
        vec![tcp(), build::vmap(vec![build::dport()], "any")],
        vec![build::vmap(vec![build::meta_l4proto(), build::dport()], "services")],
        vec![build::vmap(vec![build::meta_l4proto(), build::dport()], "exact")],
        vec![
            v4(),
            build::vmap(vec![build::daddr(V4), build::meta_l4proto(), build::dport()], "dialled"),
        ],
        vec![
            build::l4proto(Protocol::UDP),
            build::port_in(build::sport(), ports(67, 67)),
            build::port_in(build::dport(), ports(68, 68)),
            build::accept(),
        ],
        vec![
            v6(),
            build::l4proto(Protocol::UDP),
            build::port_in(build::dport(), ports(546, 546)),
            build::accept(),
        ],
        vec![v4(), build::l4proto(Protocol::ICMP), build::icmp_type_is(8), build::accept()],
        vec![v6(), icmpv6(), build::icmp_type_is(128), build::accept()],
        vec![v6(), icmpv6(), build::icmp_type_is(135), build::hoplimit_is(255), build::accept()],
        vec![build::l4proto(Protocol(47)), build::accept()],
        vec![build::l4proto(Protocol::SCTP), build::port_in(build::dport(), ports(80, 80))],
        vec![tcp(), build::tcp_syn(), build::accept()],
        vec![build::fib_daddr_type_is(AddressType::Local), build::accept()],
        vec![build::fib_daddr_type_is_not(AddressType::Local), build::drop()],
        vec![build::vmap(vec![build::fib_daddr_type(false)], "kinds")],
        vec![build::compare(
            build::fib_daddr_type(true),
            CompareOp::Eq,
            AddressType::Local.number().to_ne_bytes(),
        )],
        vec![build::compare(
            build::fib_saddr_type(),
            CompareOp::Eq,
            AddressType::Local.number().to_ne_bytes(),
        )],
        vec![build::no_return_path(), build::drop()],
        vec![build::vmap(vec![build::meta_nfproto()], "armed_7"), build::jump("other")],
        vec![build::limit(per_minute(false)), build::log("fwctl drop: ")],
        vec![build::limit(per_minute(true)), build::drop()],
        vec![
            v4(),
            build::update_limit("limits4", vec![build::source(V4)], per_minute(true)),
            build::drop(),
        ],
        vec![
            v6(),
            build::update_limit("limits6", vec![build::source(V6)], per_minute(false)),
            build::accept(),
        ],
        vec![
            v4(),
            build::update(SetOp::Add, "limits4", vec![build::saddr(V4)], Some(10_000), vec![]),
        ],
        vec![tcp(), build::reject_tcp_reset()],
        vec![build::reject_port_unreachable()],
        vec![build::reject_admin_prohibited()],
        vec![build::compare(mark, CompareOp::Eq, 7_u32.to_ne_bytes()), build::accept()],
    ];
    for length in [1, 7, 8, 9, 12, 16, 20, 24, 31, 32] {
        let text = Prefix::around("198.51.100.129".parse().expect("valid"), length);
        let text = text.expect("at most 32").to_string();
        rules.push(within(V4, build::saddr(V4), &text));
        rules.push(within(V4, build::daddr(V4), &text));
    }
    for length in [1, 8, 10, 32, 48, 63, 64, 65, 120, 128] {
        let text = Prefix::around("2001:db8:ffff:ffff:ffff::1".parse().expect("valid"), length);
        let text = text.expect("at most 128").to_string();
        rules.push(within(V6, build::saddr(V6), &text));
        rules.push(within(V6, build::daddr(V6), &text));
    }
    rules
}

fn built() -> Table {
    let mut table = Table::new(Family::Inet, "fwctl");
    let mut base = Chain::new("input");
    base.hook = Some(BaseChain {
        kind: "filter".to_owned(),
        hook: Hook::Input,
        priority: -10,
        policy: Verdict::Accept,
        devices: Vec::new(),
    });
    let rules = rules().into_iter().enumerate();
    base.rules = rules
        .map(|(number, rule)| Rule::new(rule, Some(format!("policy.toml:{number}"))))
        .collect();
    table.sets = sets();
    table.chains = vec![Chain::new("other"), base];
    table
}

#[test]
fn what_is_built_is_what_nft_makes_of_its_text() {
    let table = built();
    let printed = text::table(&table);
    let ruleset = in_namespace(|| {
        nft(&printed);
        read()
    });
    let found = ruleset.table(Family::Inet, "fwctl").expect("it was loaded");
    let (meant, is) = (&table.chains[1].rules, &found.chain("input").expect("loaded").rules);
    for (meant, is) in meant.iter().zip(is) {
        let text = text::rule(meant, &table);
        assert!(text::loadable(meant, &table), "{text}");
        assert!(meant.same_as(is), "{text}\nmeant: {meant:#?}\nis: {is:#?}");
        assert_eq!(text::rule(is, found), text);
    }
    assert_eq!(meant.len(), is.len());
    for meant in &table.sets {
        let mut is = found.set(&meant.name).expect("it was loaded").clone();
        is.handle = 0;
        if let Elements::Listed(elements) = &mut is.elements {
            for element in elements {
                element.expires = None;
            }
        }
        assert_eq!(&is, meant, "{}", meant.name);
    }
}

#[test]
fn declarations_load_one_by_one() {
    let table = built();
    let mut lines = vec!["add table inet fwctl".to_owned()];
    lines.extend(
        table.chains.iter().map(|chain| format!("add {}", text::chain_declaration(chain, &table))),
    );
    let context = text::Context::new(&table);
    for set in &table.sets {
        lines.push(format!("add {}", text::set_declaration(set, &table)));
        // nft 1.0.6 crashes on `add element … { * }` where the set has intervals.
        let listed = set.elements.listed().iter();
        for element in listed.filter(|element| element.key != ElementKey::CatchAll) {
            let element = text::element(element, set, &context);
            lines.push(format!("add element inet fwctl {} {{ {element} }}", set.name));
        }
    }
    for rule in &table.chains[1].rules {
        lines.push(format!("add rule inet fwctl input {}", text::rule(rule, &table)));
    }
    lines.push(String::new());
    let ruleset = in_namespace(|| {
        nft(&lines.join("\n"));
        read()
    });
    let found = ruleset.table(Family::Inet, "fwctl").expect("it was loaded");
    assert_eq!(found.sets.len(), table.sets.len());
    let base = found.chain("input").expect("loaded");
    assert_eq!(base.hook, table.chains[1].hook);
    assert!(base.rules.iter().zip(&table.chains[1].rules).all(|(is, meant)| is.same_as(meant)));
}
