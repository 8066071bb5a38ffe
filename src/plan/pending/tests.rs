//! What is sent to the kernel to arm, keep and take back a change, as text; and what is read back.

use super::*;
use crate::model::nft::{
    BaseChain, Element, Elements, Hook, KeyType, Set, SetData, SetFlags, Verdict, build,
    build::CtState,
};
use crate::model::{PortRange, Prefix};
use crate::plan::{Marker, diff};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn handled(mut table: Table) -> Table {
    for (rule, handle) in table.chains.iter_mut().flat_map(|chain| &mut chain.rules).zip(10..) {
        rule.handle = handle;
    }
    table
}

fn set(name: &str, data: Option<SetData>, elements: Vec<Element>) -> Set {
    Set {
        name: name.into(),
        handle: 0,
        key: vec![if data.is_some() { KeyType::InetService } else { KeyType::Ipv4Addr }],
        key_len: if data.is_some() { 2 } else { 4 },
        data,
        flags: SetFlags::default(),
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(elements),
    }
}

/// A table that lets `admins` in on these ports.
fn table(generation: u32, ports: &[u16], admins: &[&str]) -> Table {
    let base = BaseChain {
        kind: "filter".into(),
        hook: Hook::Input,
        priority: -10,
        policy: Verdict::Accept,
        devices: Vec::new(),
    };
    let mut input = Chain { hook: Some(base), ..Chain::new("input") };
    input.rules = vec![
        Rule::new(
            vec![build::ct_state(&[CtState::Established]), build::accept()],
            Some("established".into()),
        ),
        Rule::new(vec![build::vmap(vec![build::dport()], "ports")], None),
        Rule::new(vec![build::drop()], Some("default".into())),
    ];
    let mut admit = Chain::new("admit");
    let source = build::saddr(crate::model::IpFamily::Ipv4);
    admit.rules = vec![Rule::new(
        vec![
            build::nfproto(crate::model::IpFamily::Ipv4),
            build::lookup(vec![source], "admins"),
            build::accept(),
        ],
        None,
    )];
    let marker = Marker { generation, digest: "ab".repeat(32) };
    let ports = ports.iter().map(|port| {
        let range = PortRange::single(*port).expect("valid");
        Element::verdict(build::key_port_range(range), Verdict::Goto("admit".into()))
    });
    let admins = admins.iter().map(|address| {
        let prefix: Prefix = address.parse().expect("valid");
        Element::new(build::key_prefix(prefix))
    });
    Table {
        chains: vec![input, admit, marker::chain(&marker)],
        sets: vec![
            set("admins", None, admins.collect()),
            set("ports", Some(SetData::Verdict), ports.collect()),
        ],
        ..Table::new(Family::Inet, "fwctl")
    }
}

/// As if the kernel had loaded it a second ago.
fn loaded(arming: Arming) -> Table {
    let mut table = handled(arming.table);
    for set in table.sets.iter_mut().filter(|set| set.name.starts_with("armed_")) {
        if let Elements::Listed(elements) = &mut set.elements {
            for own in elements {
                own.expires = own.timeout.map(|all| all - 1000);
            }
        }
    }
    table
}

#[test]
fn a_change_is_put_beside_the_rules_in_force() {
    let live = handled(table(1, &[22], &["198.51.100.7"]));
    let desired = table(2, &[22, 80], &["198.51.100.7"]);
    let arming = arm(Some(&live), Some(&desired), 2, MINUTE).expect("can be armed");
    let digest = "ab".repeat(32);
    // The set of addresses is the same and shared; the map of ports leads to the copies.
    let arming_text = arming.clone();
    assert_eq!(
        arming_text.beside + &arming.armed,
        format!(
            "add chain inet fwctl p2_input\n\
             add chain inet fwctl p2_admit\n\
             add chain inet fwctl p2_generation\n\
             add map inet fwctl p2_ports {{ type inet_service : verdict; }}\n\
             add element inet fwctl p2_ports {{ 22 : goto p2_admit, 80 : goto p2_admit }}\n\
             add rule inet fwctl p2_input ct state established accept comment \"established\"\n\
             add rule inet fwctl p2_input th dport vmap @p2_ports\n\
             add rule inet fwctl p2_input drop comment \"default\"\n\
             add rule inet fwctl p2_admit ip saddr @admins accept\n\
             add rule inet fwctl p2_generation return comment \"fwctl generation 2 sha256 {digest}\"\n\
             add map inet fwctl armed_2_input {{ type nf_proto : verdict; flags timeout; }}\n\
             add element inet fwctl armed_2_input {{ ipv4 timeout 1m : goto p2_input, ipv6 timeout 1m : goto p2_input }}\n\
             add rule inet fwctl input position 10 meta nfproto vmap @armed_2_input comment \"fwctl pending 2 sha256 {digest}\"\n"
        )
    );
    let found = read(&loaded(arming.clone())).expect("is pending");
    assert_eq!(found.generation, 2);
    assert_eq!(found.phase, Phase::Armed { left: 59_000 });
    assert_eq!(found.change, Some(Change::Table(digest)));
    // Without it, all is as before; and what it leads to is what was meant.
    let table = loaded(arming);
    assert!(diff::diff(without(&table).as_ref(), &live).is_empty());
    assert!(diff::diff(Some(&leads_to(&table, &found)), &desired).is_empty());
}

#[test]
fn keeping_fails_in_the_kernel_when_it_is_late_and_edits_in_place() {
    let live = handled(table(1, &[22], &["198.51.100.7"]));
    let desired = table(2, &[22, 80], &["198.51.100.7"]);
    let table = loaded(arm(Some(&live), Some(&desired), 2, MINUTE).expect("can be armed"));
    let found = read(&table).expect("is pending");
    let leads = leads_to(&table, &found);
    let text = keep(&table, &found, Some(&leads));
    let elements = "{ ipv4 : goto p2_input, ipv6 : goto p2_input }";
    let expected = format!(
        "delete element inet fwctl armed_2_input {elements}\n\
         add element inet fwctl armed_2_input {elements}\n\
         add element inet fwctl ports {{ 80 : goto admit }}\n"
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("fwctl generation 2"), "{text}");
    assert_eq!(text.lines().count(), 5, "one rule of the marker goes, one comes:\n{text}");
}

#[test]
fn taking_back_first_leads_nothing_there_and_then_clears_away() {
    let live = handled(table(1, &[22], &["198.51.100.7"]));
    let desired = table(2, &[22, 80], &["198.51.100.8"]);
    let table = loaded(arm(Some(&live), Some(&desired), 2, MINUTE).expect("can be armed"));
    assert_eq!(detach(&table), "delete rule inet fwctl input handle 11\n");
    let mut detached = table.clone();
    detached.chains[0].rules.remove(1);
    assert_eq!(read(&detached).expect("is there").phase, Phase::Detached);
    let swept = sweep(&detached);
    for object in
        ["map inet fwctl armed_2_input", "set inet fwctl p2_admins", "chain inet fwctl p2_input"]
    {
        assert!(swept.contains(&format!("delete {object}\n")), "{swept}");
    }
    assert!(!swept.contains(" admins") && !swept.contains("chain inet fwctl input"), "{swept}");
}

#[test]
fn a_first_change_leaves_nothing_when_it_ends() {
    let desired = table(1, &[22], &["198.51.100.7"]);
    let arming = arm(None, Some(&desired), 1, MINUTE).expect("can be armed");
    assert!(arming.beside.starts_with("create table inet fwctl\n"), "{}", arming.beside);
    let table = loaded(arming);
    assert_eq!(without(&table), None);
    assert_eq!(sweep(&table), "delete table inet fwctl\n");
    let found = read(&table).expect("is pending");
    let text = keep(&table, &found, Some(&leads_to(&table, &found)));
    assert!(!text.contains("add chain inet fwctl input"), "it is there:\n{text}");
    assert!(text.contains("add chain inet fwctl admit\n"), "{text}");
}

#[test]
fn off_lets_everything_pass_and_says_what_it_is() {
    let live = handled(table(4, &[22], &["198.51.100.7"]));
    let arming = arm(Some(&live), None, 5, MINUTE).expect("can be armed");
    assert!(arming.beside.contains("add rule inet fwctl p5_input accept\n"));
    let table = loaded(arming);
    let found = read(&table).expect("is pending");
    assert_eq!(found.change, Some(Change::Off));
    assert_eq!(keep(&table, &found, None).lines().count(), 4, "two maps, nothing else");
    assert!(!off_was_kept(&table));
}

#[test]
fn how_far_a_change_is_shows_in_the_map() {
    let live = handled(table(1, &[22], &[]));
    let armed = loaded(arm(Some(&live), Some(&table(2, &[80], &[])), 2, MINUTE).expect("armed"));
    let with = |change: &dyn Fn(&mut Vec<Element>)| {
        let mut table = armed.clone();
        let map = table.sets.iter_mut().find(|set| set.name == "armed_2_input").expect("is there");
        if let Elements::Listed(elements) = &mut map.elements {
            change(elements);
        }
        read(&table).expect("is there").phase
    };
    assert_eq!(with(&|elements| elements.clear()), Phase::Expired);
    assert_eq!(with(&|elements| elements.truncate(1)), Phase::Expired, "half of it is too late");
    let lasting = |elements: &mut Vec<Element>| elements.iter_mut().for_each(|e| e.timeout = None);
    assert_eq!(with(&lasting), Phase::Kept);
    assert_eq!(read(&live), None);
    assert_eq!(without(&live), Some(live.clone()));
}

#[test]
fn nothing_is_armed_beside_what_somebody_made_anew() {
    let mut live = handled(table(1, &[22], &["198.51.100.7"]));
    live.sets[0].key = vec![KeyType::Mark];
    let desired = table(2, &[80], &["198.51.100.7"]);
    assert_eq!(arm(Some(&live), Some(&desired), 2, MINUTE), Err(vec!["set admins".to_owned()]));
}
