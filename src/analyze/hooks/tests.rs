use super::*;
use crate::analyze::{Analyzer, From, Packet, Reach, past_the_rules};
use crate::compile::TABLE;
use crate::model::Protocol;
use crate::model::nft::{
    Chain, CompareOp, MetaKey, NatKind, NatRange, Operand, Rule, Ruleset, Selector, Statement,
    Table, Verdict, build,
};
use crate::observe::{HookEntry, HookPoint, Registrant, Snapshot};

fn table(family: Family, name: &str, base: BaseChain, statements: Vec<Statement>) -> Table {
    let mut chain = Chain::new("input");
    chain.hook = Some(base);
    chain.rules = vec![Rule::new(statements, None)];
    Table { chains: vec![chain], ..Table::new(family, name) }
}

fn base(kind: &str, hook: Hook, priority: i32) -> BaseChain {
    let (kind, policy) = (kind.to_owned(), Verdict::Accept);
    BaseChain { kind, hook, priority, policy, devices: Vec::new() }
}

fn input() -> BaseChain {
    base("filter", Hook::Input, 0)
}

/// Marks what another table drops: what becomes of a packet tells which of both runs first.
fn marks(name: &str) -> Table {
    let one = Operand::plain(Selector::Immediate(1_u32.to_ne_bytes().into()));
    let mark = Statement::SetMeta { key: MetaKey::Mark, value: one };
    table(Family::Inet, name, input(), vec![mark])
}

fn drops(name: &str) -> Table {
    let mark = build::compare(build::meta(MetaKey::Mark), CompareOp::Eq, 1_u32.to_ne_bytes());
    table(Family::Ip, name, input(), vec![mark, build::drop()])
}

fn host(tables: Vec<Table>, hooks: Option<Vec<HookPoint>>) -> Snapshot {
    let text = include_str!("../../../tests/golden/cli/web1.json");
    let mut snapshot = Snapshot::from_json(text).expect("a snapshot");
    snapshot.warnings.clear();
    let tables = (1..).zip(tables).map(|(handle, table)| Table { handle, ..table }).collect();
    snapshot.ruleset = Ruleset { generation: 1, tables };
    snapshot.hooks = hooks;
    Snapshot::from_json(&snapshot.to_json()).expect("what was written is read")
}

fn at(hook: Hook, entries: Vec<HookEntry>) -> HookPoint {
    HookPoint { family: Family::Ip, hook, device: None, entries }
}

fn of(priority: i32, table: &Table) -> HookEntry {
    let runs = Some(Registrant::Chain {
        family: table.family,
        table: table.name.clone(),
        chain: table.chains[0].name.clone(),
    });
    HookEntry { runs, ..function(priority, "nft_do_chain_inet", Some("nf_tables")) }
}

fn function(priority: i32, function: &str, module: Option<&str>) -> HookEntry {
    let (function, module) = (Some(function.to_owned()), module.map(str::to_owned));
    HookEntry { priority, function, module, runs: None }
}

/// A packet of the internet's to a port of the host.
fn packet(snapshot: &Snapshot) -> Packet {
    let to = Analyzer::new(snapshot).own_addresses(IpFamily::Ipv4)[0];
    let own = |link: &&crate::observe::Link| link.addresses.iter().any(|own| own.address == to);
    let link = snapshot.links.iter().find(own).expect("an uplink");
    let source = "198.51.100.1".parse().expect("an address");
    Packet::new(From::Interface(link.name.clone()), source, to, Protocol::TCP, 22)
}

fn ask(analyzer: &Analyzer<'_>, snapshot: &Snapshot) -> (Reach, String) {
    let found = analyzer.explain(&packet(snapshot), None);
    (found.verdict, found.depends_on.join("; "))
}

const OPEN: (Reach, String) = (Reach::Open, String::new());
const CLOSED: (Reach, String) = (Reach::Closed, String::new());

#[test]
fn the_kernels_order_of_equal_priorities_counts() {
    let (marks, drops) = (marks("a"), drops("b"));
    let tables = || vec![marks.clone(), drops.clone()];
    let answer = |hooks| {
        let snapshot = host(tables(), hooks);
        ask(&Analyzer::new(&snapshot), &snapshot)
    };
    let first = vec![at(Hook::Input, vec![of(0, &marks), of(0, &drops)])];
    assert_eq!(answer(Some(first)), CLOSED);
    let last = vec![at(Hook::Input, vec![of(0, &drops), of(0, &marks)])];
    assert_eq!(answer(Some(last)), OPEN);
    let (reach, why) = answer(None);
    assert_eq!(reach, Reach::Unknown);
    assert_eq!(why, "the order of inet a and ip b at input priority 0");
}

#[test]
fn what_is_not_registered_yet_runs_first() {
    let (marks, drops) = (marks("a"), drops("b"));
    for (kept, expected) in [(&marks, OPEN), (&drops, CLOSED)] {
        let hooks = Some(vec![at(Hook::Input, vec![of(0, kept)])]);
        let snapshot = host(vec![marks.clone(), drops.clone()], hooks);
        assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), expected);
    }
}

#[test]
fn a_table_of_ours_keeps_its_place_unless_it_is_made_anew() {
    let own = marks(TABLE);
    let drops = drops("b");
    let hooks = || Some(vec![at(Hook::Input, vec![of(0, &drops), of(0, &own)])]);
    let snapshot = host(vec![drops.clone(), own.clone()], hooks());
    let live = Analyzer::new(&snapshot);
    assert_eq!(ask(&live, &snapshot), OPEN, "it marks what was looked at");
    assert_eq!(ask(&live.with_own(Some(&own)), &snapshot), OPEN, "it is changed in place");
    assert_eq!(ask(&live.with_own(None), &snapshot), OPEN);

    // Somebody made another chain of ours as something else, so all are made anew.
    let other = |priority: i32| {
        let mut other = Chain::new("other");
        other.hook = Some(base("filter", Hook::Output, priority));
        Table { chains: vec![own.chains[0].clone(), other], ..own.clone() }
    };
    let (theirs, ours) = (other(5), other(0));
    let snapshot = host(vec![drops.clone(), theirs], hooks());
    let live = Analyzer::new(&snapshot);
    assert_eq!(ask(&live.with_own(Some(&ours)), &snapshot), CLOSED, "registered anew");

    // None was there.
    let snapshot = host(vec![drops.clone()], Some(vec![at(Hook::Input, vec![of(0, &drops)])]));
    let live = Analyzer::new(&snapshot);
    assert_eq!(ask(&live.with_own(Some(&own)), &snapshot), CLOSED, "registered last");
}

#[test]
fn what_nobody_knows_is_named_where_it_stands_and_nowhere_else() {
    let all = table(Family::Ip, "t", input(), vec![build::drop()]);
    let unknown = || function(0, "screen", Some("screener"));
    let name = "the kernel module screener (screen) at the input hook for IPv4, priority 0";
    let unclear = (Reach::Unknown, name.to_owned());
    let before = vec![at(Hook::Input, vec![unknown(), of(0, &all)])];
    let snapshot = host(vec![all.clone()], Some(before));
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), unclear, "it may take the packet");
    let behind = vec![at(Hook::Input, vec![of(0, &all), unknown()])];
    let snapshot = host(vec![all], Some(behind));
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), CLOSED, "nothing comes to it");
    let said = past_the_rules(&snapshot);
    assert!(said.iter().any(|line| line.starts_with(name)), "{said:?}");

    let snapshot = host(Vec::new(), Some(vec![at(Hook::Input, vec![unknown()])]));
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), unclear);
    let elsewhere = HookPoint { family: Family::Ip6, ..at(Hook::Input, vec![unknown()]) };
    let forward = at(Hook::Forward, vec![unknown()]);
    let snapshot = host(Vec::new(), Some(vec![elsewhere, forward]));
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), OPEN);

    let program = HookEntry {
        runs: Some(Registrant::Program { id: 7 }),
        ..function(-5, "nf_hook_run_bpf", None)
    };
    let snapshot = host(Vec::new(), Some(vec![at(Hook::Input, vec![program])]));
    let (reach, why) = ask(&Analyzer::new(&snapshot), &snapshot);
    assert_eq!(reach, Reach::Unknown);
    assert_eq!(why, "a BPF program (number 7) at the input hook for IPv4, priority -5");
}

#[test]
fn what_stands_at_a_device_is_named_for_what_comes_by_it() {
    let snapshot = host(Vec::new(), None);
    let From::Interface(input) = packet(&snapshot).from else { panic!("it comes by one") };
    let ingress = |device: &str| HookPoint {
        family: Family::Netdev,
        hook: Hook::Ingress,
        device: Some(device.parse().expect("a name")),
        entries: vec![function(3, "screen", None)],
    };
    let snapshot = host(Vec::new(), Some(vec![ingress(input.as_str())]));
    let name = format!("the kernel's function screen at the ingress hook of {input}, priority 3");
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), (Reach::Unknown, name));
    let snapshot = host(Vec::new(), Some(vec![ingress("another0")]));
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), OPEN);
}

#[test]
fn equal_priorities_at_one_device_are_tried_in_both_orders() {
    let mut tables = [marks("a"), drops("b")];
    let From::Interface(input) = packet(&host(Vec::new(), None)).from else {
        panic!("it comes by one")
    };
    let mut ask_at = |devices: [&str; 2]| {
        for (table, device) in tables.iter_mut().zip(devices) {
            table.family = Family::Netdev;
            let devices = vec![device.to_owned()];
            let ingress = BaseChain { devices, ..base("filter", Hook::Ingress, 0) };
            table.chains[0].hook = Some(ingress);
        }
        let snapshot = host(tables.to_vec(), None);
        ask(&Analyzer::new(&snapshot), &snapshot)
    };
    let both = "the order of netdev a and netdev b at ingress priority 0".to_owned();
    assert_eq!(ask_at([input.as_str(), input.as_str()]), (Reach::Unknown, both));
    assert_eq!(ask_at([input.as_str(), "another0"]), OPEN);
}

#[test]
fn the_kernels_own_functions_make_nothing_unknown() {
    let own = [
        ("ipv4_conntrack_defrag", Some("nf_defrag_ipv4")),
        ("ipv4_conntrack_in", Some("nf_conntrack")),
        ("nf_confirm", Some("nf_conntrack")),
        ("nf_nat_ipv4_local_in", None),
        ("ip_sabotage_in", Some("br_netfilter")),
        ("ip_vs_in_hook", Some("ip_vs")),
        ("nft_do_chain_ipv4", Some("nf_tables")),
        ("apparmor_ip_postroute", None),
        ("selinux_ip_forward", None),
    ];
    let entries = own.map(|(name, module)| function(0, name, module)).to_vec();
    let snapshot = host(Vec::new(), Some(vec![at(Hook::Input, entries)]));
    assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot), OPEN);
    for (name, module) in [("nf_confirm", "screener"), ("selinux_ip_forward", "screener")] {
        let entries = vec![function(0, name, Some(module))];
        let snapshot = host(Vec::new(), Some(vec![at(Hook::Input, entries)]));
        assert_eq!(ask(&Analyzer::new(&snapshot), &snapshot).0, Reach::Unknown, "{name}");
    }
}

#[test]
fn the_order_of_nat_chains_counts_where_each_is_listed() {
    let redirect = |name: &str, port: u16| {
        let port = Operand::plain(Selector::Immediate(port.to_be_bytes().into()));
        let range = NatRange { address: None, port: Some((port, None)), flags: 2 };
        let (kind, family) = (NatKind::Redirect, None);
        let to = Statement::Nat { kind, family, range: Box::new(range) };
        let base = base("nat", Hook::Prerouting, -100);
        table(Family::Ip, name, base, vec![build::l4proto(Protocol::TCP), to])
    };
    let (one, two) = (redirect("a", 1001), redirect("b", 1002));
    let port = |hooks| {
        let snapshot = host(vec![one.clone(), two.clone()], hooks);
        let analyzer = Analyzer::new(&snapshot);
        let answer = analyzer.ask(&packet(&snapshot));
        (answer.ends[0].state.env.port, answer.order_matters.len())
    };
    let listed = |one, two| Some(vec![at(Hook::Prerouting, vec![of(-100, one), of(-100, two)])]);
    assert_eq!(port(listed(&one, &two)), (Some(1001), 0));
    assert_eq!(port(listed(&two, &one)), (Some(1002), 0));
    // Linux 7.2 still lists NAT as a whole.
    let nat = function(-100, "nf_nat_ipv4_pre_routing", Some("nf_nat"));
    assert_eq!(port(Some(vec![at(Hook::Prerouting, vec![nat])])).1, 1);
}
