//! The stage as a whole.

use super::*;
use std::path::Path;

#[test]
fn the_services_table_is_sound() {
    let services = well_known();
    let (groups, services): (Vec<_>, Vec<_>) =
        services.into_iter().partition(|service| !service.members.is_empty());
    assert!(services.len() >= 120, "{}", services.len());
    assert!(groups.len() >= 10, "{}", groups.len());
    for service in groups.iter().chain(&services) {
        assert!(!service.ports.is_empty(), "{}", service.name);
        assert!(!service.about.is_empty(), "{}", service.name);
        assert!(!crate::model::ZoneRef::BUILT_IN.contains(&service.name.as_str()));
    }
}

#[test]
fn shipped_policies_load_without_a_word() {
    for (name, _) in POLICIES {
        let loaded = load_shipped(name).unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(!loaded.policy.expect.is_empty(), "{name}");
        assert_eq!(check_expectations(&loaded.policy), [], "{name}");
        let files = MemoryFiles::default()
            .with("/p/policy.toml", format!("version = 1\nuse = [\"{name}\"]\n"));
        let used = load(&files, Path::new("/p/policy.toml")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(used.policy.allow, loaded.policy.allow);
        assert_eq!(used.policy.sources[1], loaded.policy.sources[0]);
    }
}

/// Pieces of the language, whole and broken, in any order.
fn scraps() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let piece = proptest::sample::select(vec![
        "version = 1\n",
        "[[allow]]\n",
        "[[deny]]\n",
        "[[expect]]\n",
        "[zone.a]\n",
        "[zone]\n",
        "[set.a]\n",
        "[service.a]\n",
        "[guard]\n",
        "[default]\n",
        "[[egress.deny]]\n",
        "[egress]\n",
        "service = ",
        "ports = ",
        "from = ",
        "to = ",
        "addresses = ",
        "interfaces = ",
        "members = ",
        "limit = ",
        "file = ",
        "use = ",
        "include = ",
        "keep = ",
        "confirm_within = ",
        "log = ",
        "open = ",
        "closed = ",
        "world = ",
        "[",
        "]",
        "[\"",
        "\"]\n",
        "\", \"",
        "\"",
        "\n",
        "{",
        "}",
        "ssh",
        "a",
        "@a",
        "all",
        "internet",
        "host",
        "1/tcp",
        "9-1/udp",
        "/",
        "-",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.1/8",
        "container:",
        "container:x",
        "6/minute burst 1",
        "99999999999999999999s",
        "60s",
        "1",
        "true",
        "false",
        "p.toml",
        "*.toml",
        "mine",
        "é",
        "\u{1f980}",
        "\r\n",
        "\0",
        "\\",
        "#",
    ]);
    prop_oneof![
        3 => proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

proptest::proptest! {
    #[test]
    fn no_text_panics_the_reader(text in scraps(), other in scraps(), width in 0_usize..200) {
        let files = MemoryFiles::default()
            .with("/p/p.toml", text)
            .with("/p/a", other.as_str())
            .with("/etc/fwctl/policies/mine.toml", other.as_str());
        match load(&files, Path::new("/p/p.toml")) {
            Ok(loaded) => {
                check_expectations(&loaded.policy);
                loaded.warnings.render(Style { colour: false, width });
            }
            Err(errors) => {
                proptest::prop_assert!(errors.errors() > 0);
                let text = errors.render(Style { colour: true, width });
                proptest::prop_assert!(!text.is_empty());
            }
        }
    }
}

#[test]
fn a_missing_policy_says_how_to_begin() {
    let error = load(&MemoryFiles::default(), Path::new("/etc/fwctl/policy.toml"));
    let text = error.expect_err("nothing is there").to_string();
    assert!(text.contains("/etc/fwctl/policy.toml: there is no such file"), "{text}");
    assert!(text.contains("use = [\"ssh-only\"]"), "{text}");
}

#[test]
fn a_large_set_file_is_read_and_its_errors_are_bounded() {
    use std::fmt::Write as _;
    let mut list = String::new();
    for n in 0..100_000_u32 {
        let _ = writeln!(list, "{}", std::net::Ipv4Addr::from_bits(0x0b00_0000 + n * 2));
    }
    let policy = "version = 1\n[set.bad]\nfile = \"bad.txt\"\n\
                  [[deny]]\nports = [\"all\"]\nfrom = [\"@bad\"]\n";
    let files = MemoryFiles::default().with("/p.toml", policy).with("/bad.txt", list.as_str());
    let loaded = load(&files, Path::new("/p.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.policy.sets.values().map(|set| set.prefixes.len()).sum::<usize>(), 100_000);
    let broken = list.replace(".0.", ".x.");
    let files = MemoryFiles::default().with("/p.toml", policy).with("/bad.txt", broken);
    let errors = load(&files, Path::new("/p.toml")).expect_err("no addresses");
    assert!(errors.len() <= 22, "{}", errors.len());
}

#[test]
fn a_large_zone_is_judged_with_the_same_answer_as_its_prefixes() {
    use crate::model::{IpFamily, ZoneRef};
    use std::fmt::Write as _;
    let mut list = String::new();
    for n in 0..100_000_u32 {
        let _ = writeln!(list, "{}", std::net::Ipv4Addr::from_bits(0x0b00_0000 + n * 2));
    }
    let policy = "version = 1\n[set.bad]\nfile = \"bad.txt\"\n[zone.bad]\naddresses = [\"@bad\"]\n\
                  [[deny]]\nports = [\"all\"]\nfrom = [\"bad\"]\n[[allow]]\nservice = [\"ssh\"]\n";
    let files = MemoryFiles::default().with("/p.toml", policy).with("/bad.txt", list);
    let loaded = load(&files, Path::new("/p.toml")).unwrap_or_else(|error| panic!("{error}"));
    let judge = Judge::new(&loaded.policy);
    let ssh = Target::port(crate::model::Protocol::TCP, 22);
    let verdict = |zone: &ZoneRef| {
        judge.reach(zone, IpFamily::Ipv4, &ssh).map(|reach| (reach.verdict, reach.by))
    };
    let bad = ZoneRef::Declared("bad".parse().expect("valid"));
    assert_eq!(verdict(&bad), Some((ReachVerdict::Closed, DecidedBy::Deny)));
    assert_eq!(verdict(&ZoneRef::Internet), Some((ReachVerdict::Open, DecidedBy::Allow)));
    let between = "11.0.0.1/32".parse().expect("valid");
    let between = Source::Addresses(AddressRef::Prefix(between));
    let reach = judge.reach_source(&between, IpFamily::Ipv4, &ssh).expect("not empty");
    assert_eq!(reach.verdict, ReachVerdict::Open);
}
