//! The algebra over all sources agrees with the words of the language, taken one packet at a time.

use super::*;
use crate::model::{IfaceName, IpFamily, ZoneRef};
use crate::policy::{MemoryFiles, load};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::LazyLock;

const ZONES: [&str; 5] = ["internet", "containers", "near", "wired", "bridge"];

fn read(text: &str) -> Policy {
    let files = MemoryFiles::default().with("/p.toml", text);
    load(&files, Path::new("/p.toml")).unwrap_or_else(|error| panic!("{error}\n{text}")).policy
}

const HEAD: &str = r#"version = 1
[zone.near]
addresses = ["192.0.2.0/28", "2001:db8::/124", "@extra"]
[zone.wired]
interfaces = ["eth*", "docker0"]
addresses = ["192.0.2.8/29", "2001:db8::8/125"]
[zone.bridge]
interfaces = ["br-a", "eth1"]
[set.extra]
addresses = ["192.0.2.32/30"]
"#;

fn rule(kind: &'static str) -> impl Strategy<Value = String> {
    let from = prop_oneof![
        Just(String::new()),
        proptest::sample::subsequence(
            vec![
                "internet",
                "containers",
                "near",
                "wired",
                "bridge",
                "@extra",
                "192.0.2.4/30",
                "2001:db8::4/126",
                "0.0.0.0/1"
            ],
            1..3
        )
        .prop_map(|words| format!("from = {words:?}\n")),
    ];
    let to = proptest::sample::select(vec![
        "",
        "to = [\"203.0.113.1\", \"2001:db8:1::1\"]\n",
        "to = [\"container:app\"]\n",
    ]);
    // The reader refuses a deny that names a container network.
    let to =
        to.prop_map(move |to| if kind == "deny" && to.contains("container") { "" } else { to });
    let limit = proptest::sample::select(vec!["", "limit = \"3/minute\"\n"]);
    (from, to, limit).prop_map(move |(from, to, limit)| {
        let limit = if kind == "allow" { limit } else { "" };
        format!("[[{kind}]]\nports = [\"80/tcp\"]\n{from}{to}{limit}")
    })
}

fn policies() -> impl Strategy<Value = String> {
    let rules =
        proptest::collection::vec(prop_oneof![rule("allow"), rule("allow"), rule("deny")], 0..5);
    let inbound = proptest::sample::select(vec!["drop", "accept"]);
    (rules, inbound).prop_map(|(rules, inbound)| {
        format!("{HEAD}{}[default]\ninbound = \"{inbound}\"\n", rules.concat())
    })
}

fn sources() -> impl Strategy<Value = IpAddr> {
    let low = prop_oneof![0_u8..64, Just(200)];
    (low, any::<bool>()).prop_map(|(low, v4)| {
        if v4 {
            Ipv4Addr::new(192, 0, 2, low).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(low)).into()
        }
    })
}

fn arrivals() -> impl Strategy<Value = Arrival> {
    proptest::sample::select(vec!["eth0", "eth1", "wlan0", "docker0", "br-a", "br-b"]).prop_map(
        |name| {
            let iface: IfaceName = name.parse().expect("valid");
            if name.starts_with("docker") || name.starts_with("br-") {
                Arrival::Container(iface)
            } else {
                Arrival::Interface(iface)
            }
        },
    )
}

fn targets() -> impl Strategy<Value = Target> {
    let dialled = proptest::sample::select(vec![None, Some("203.0.113.1"), Some("2001:db8:1::1")]);
    let network = proptest::sample::select(vec![None, Some("app"), Some("other")]);
    (dialled, network).prop_map(|(dialled, network): (Option<&str>, Option<&str>)| Target {
        dialled: dialled.map(|text| text.parse().expect("valid")),
        network: network.map(str::to_owned),
        ..Target::port(Protocol::TCP, 80)
    })
}

/// Whether the zone holds the source, by asking a policy that lets in just the zone.
fn zone_holds(zone: &str, arrival: &Arrival, source: IpAddr) -> bool {
    static ONE_ZONE_EACH: LazyLock<BTreeMap<&str, Policy>> = LazyLock::new(|| {
        let allow =
            |zone| read(&format!("{HEAD}[[allow]]\nports = [\"80/tcp\"]\nfrom = [\"{zone}\"]\n"));
        ZONES.into_iter().map(|zone| (zone, allow(zone))).collect()
    });
    let policy = &ONE_ZONE_EACH[zone];
    let target = Target::port(Protocol::TCP, 80);
    decide(policy, &Connection { arrival: arrival.clone(), source, target }).passes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_whole_agrees_with_each_point(
        text in policies(), arrival in arrivals(), source in sources(), target in targets(),
    ) {
        let files = MemoryFiles::default().with("/p.toml", text.as_str());
        // A covered allow is refused by the reader; there is nothing to compare then.
        let Ok(loaded) = load(&files, Path::new("/p.toml")) else { return Ok(()) };
        let policy = loaded.policy;
        let judge = Judge::new(&policy);
        let family = IpFamily::of(source);
        let connection = Connection { arrival: arrival.clone(), source, target: target.clone() };
        let decision = decide(&policy, &connection);
        for name in ZONES {
            let zone = ZoneRef::from(name.parse::<crate::model::ZoneName>().expect("valid"));
            let Some(reach) = judge.reach(&zone, family, &target) else {
                prop_assert!(!zone_holds(name, &arrival, source), "{name} is said to be empty");
                continue;
            };
            if zone_holds(name, &arrival, source) {
                match reach.verdict {
                    ReachVerdict::Open => prop_assert!(
                        decision.passes() && !matches!(decision, Decision::Limited(_)),
                        "{name} is open, but {decision:?}"
                    ),
                    ReachVerdict::Limited => prop_assert!(decision.passes(), "{name}: {decision:?}"),
                    ReachVerdict::Closed => prop_assert!(!decision.passes(), "{name}: {decision:?}"),
                    ReachVerdict::Partial => {}
                }
            }
            // Witnesses show what they are given for, and are of the zone.
            let judged = |witness: &Witness| {
                let (arrival, source) = (witness.arrival.clone(), witness.address);
                decide(&policy, &Connection { arrival, source, target: target.clone() }).passes()
            };
            prop_assert_eq!(judged(&reach.witness), reach.verdict != ReachVerdict::Closed);
            prop_assert!(zone_holds(name, &reach.witness.arrival, reach.witness.address));
            prop_assert_eq!(reach.refused.is_some(), reach.verdict == ReachVerdict::Partial);
            if let Some(refused) = &reach.refused {
                prop_assert!(!judged(refused));
                prop_assert!(zone_holds(name, &refused.arrival, refused.address));
            }
            if reach.by == DecidedBy::Deny || reach.by == DecidedBy::Allow {
                prop_assert!(!reach.origins.is_empty());
            }
        }
    }
}

fn verdict(policy: &Policy, zone: &str, port: u16) -> Option<ReachVerdict> {
    let zone = ZoneRef::from(zone.parse::<crate::model::ZoneName>().expect("valid"));
    let target = Target::port(Protocol::TCP, port);
    reach(policy, &zone, IpFamily::Ipv4, &target).map(|reach| reach.verdict)
}

#[test]
fn the_internet_is_what_no_zone_holds() {
    let policy = read(
        "version = 1\n[zone.lan]\naddresses = [\"192.168.0.0/16\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"lan\"]\n\
         [[deny]]\nports = [\"81/tcp\"]\nfrom = [\"internet\"]\n\
         [[allow]]\nports = [\"81/tcp\"]\n",
    );
    assert_eq!(verdict(&policy, "internet", 80), Some(ReachVerdict::Closed));
    assert_eq!(verdict(&policy, "lan", 80), Some(ReachVerdict::Open));
    assert_eq!(verdict(&policy, "internet", 81), Some(ReachVerdict::Closed));
    assert_eq!(verdict(&policy, "lan", 81), Some(ReachVerdict::Open));
    assert_eq!(verdict(&policy, "containers", 81), Some(ReachVerdict::Open));
    assert_eq!(verdict(&policy, "host", 9999), Some(ReachVerdict::Open));
}

#[test]
fn addresses_never_claim_what_comes_from_containers_and_interfaces_do() {
    let by_address = read(
        "version = 1\n[zone.all]\naddresses = [\"0.0.0.0/0\"]\nworld = true\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"all\"]\n",
    );
    assert_eq!(verdict(&by_address, "containers", 80), Some(ReachVerdict::Closed));
    assert_eq!(verdict(&by_address, "internet", 80), None, "the world is in a zone");
    let by_interface = read(
        "version = 1\n[zone.app]\ninterfaces = [\"docker0\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"app\"]\n",
    );
    assert_eq!(verdict(&by_interface, "app", 80), Some(ReachVerdict::Open));
    assert_eq!(verdict(&by_interface, "containers", 80), Some(ReachVerdict::Partial));
}

#[test]
fn a_known_host_says_which_interfaces_are_of_containers() {
    let policy = read(
        "version = 1\n[zone.app]\ninterfaces = [\"shop0\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"192.0.2.0/24\"]\n\
         [[allow]]\nports = [\"81/tcp\"]\nfrom = [\"app\"]\n",
    );
    let target = Target::port(Protocol::TCP, 80);
    let app = ZoneRef::Declared("app".parse().expect("valid"));
    let verdict =
        |judge: &Judge<'_>| judge.reach(&app, IpFamily::Ipv4, &target).map(|reach| reach.verdict);
    assert_eq!(verdict(&Judge::new(&policy)), Some(ReachVerdict::Partial));
    let engines = ["shop0".parse().expect("valid")].into();
    let known = Judge::with_containers(&policy, &engines);
    assert_eq!(verdict(&known), Some(ReachVerdict::Closed));
}

#[test]
fn limits_unite_with_allows_that_have_none() {
    let policy = read(
        "version = 1\n[zone.lan]\naddresses = [\"192.168.0.0/16\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nlimit = \"3/minute\"\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"lan\"]\n",
    );
    assert_eq!(verdict(&policy, "lan", 80), Some(ReachVerdict::Open));
    assert_eq!(verdict(&policy, "internet", 80), Some(ReachVerdict::Limited));
}
