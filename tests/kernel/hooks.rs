//! A kernel that lists its hooks: its order of equal priorities, held against packets, and what no rule
//! tells of. Debian builds the list into none of its release's kernels, but into those of backports.

use crate::guest;
use crate::net::{
    Answer, FAR_V4, FAR_V6, HOST_WAN_V4, HOST_WAN_V6, Lab, Place, Probe, attach, run,
};
use fwctl::analyze::{Analyzer, Explanation, From, Packet, Reach, past_the_rules};
use fwctl::model::Protocol;
use fwctl::observe::{Options, Snapshot, observe};
use std::net::IpAddr;

fn look(lab: &Lab) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    let snapshot = lab.host.enter(|| observe(&options));
    assert!(snapshot.hooks.is_some(), "this kernel tells: {:?}", snapshot.warnings);
    Snapshot::from_json(&snapshot.to_json()).unwrap()
}

fn explain(snapshot: &Snapshot, to: IpAddr, port: u16) -> Explanation {
    let source = if to.is_ipv4() { FAR_V4 } else { FAR_V6 };
    let from = From::Interface("wan0".parse().unwrap());
    let packet = Packet::new(from, source, to, Protocol::TCP, port);
    Analyzer::new(snapshot).explain(&packet, None)
}

/// What packets to port 80 see and what the analysis says of them, without any doubt.
fn same(lab: &Lab, answer: Answer) {
    let snapshot = look(lab);
    for to in [HOST_WAN_V4, HOST_WAN_V6] {
        assert_eq!(Probe::tcp(&lab.internet, (to, 80)).ask(), answer, "{to}");
        let said = explain(&snapshot, to, 80);
        let reach = if answer == Answer::Open { Reach::Open } else { Reach::Closed };
        assert_eq!((said.verdict, said.depends_on), (reach, Vec::new()), "{to}");
    }
}

/// One table marks what the other one drops: which of both runs first tells whether port 80 is open.
const MARKS: &str = "add rule inet marks input tcp dport 80 meta mark set 1";
const DROPS: &str = "add rule inet drops input tcp dport 80 meta mark 1 drop";

fn chain(table: &str) -> String {
    format!("add chain inet {table} input {{ type filter hook input priority 0; }}")
}

#[test]
fn equal_priorities_run_in_the_kernels_order() {
    guest::inside_newer(|| {
        let lab = Lab::new();
        let _web = lab.host.listen_tcp("[::]:80");
        // The order of the chains is not that of the tables, which their handles tell.
        for (first, second, answer) in
            [("marks", "drops", Answer::Open), ("drops", "marks", Answer::Silent)]
        {
            for tables in [[first, second], [second, first]] {
                lab.host.nft("flush ruleset");
                lab.host.nft(&tables.map(|own| format!("add table inet {own}")).join("; "));
                lab.host.nft(&[chain(first), chain(second)].join("; "));
                lab.host.nft(&[MARKS, DROPS].join("; "));
                same(&lab, answer);
                // Changed in place, chains stay where they are.
                lab.host.nft(&["flush table inet marks", MARKS].join("; "));
                same(&lab, answer);
            }
        }
    });
}

#[test]
fn the_one_that_runs_first_decides() {
    guest::inside_newer(|| {
        let lab = Lab::new();
        let _web = lab.host.listen_tcp("[::]:80");
        for (first, second, answer) in
            [("refuses", "drops", Answer::Silent), ("drops", "refuses", Answer::Refused)]
        {
            lab.host.nft("flush ruleset; add table inet refuses; add table inet drops");
            lab.host.nft(&[chain(first), chain(second)].join("; "));
            lab.host.nft("add rule inet drops input tcp dport 80 drop");
            lab.host.nft("add rule inet refuses input tcp dport 80 reject with tcp reset");
            same(&lab, answer);
            let said = explain(&look(&lab), HOST_WAN_V4, 80);
            assert_eq!(said.decided_by.unwrap().table, format!("inet {second}"));
            let mut command = lab.host.command(env!("CARGO_BIN_EXE_fwctl"));
            let output = command.args(["explain", "198.51.100.7", "80/tcp"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains(&format!("inet {second}")), "{text}");
            assert!(!text.contains("the order of"), "{text}");
        }
    });
}

#[test]
fn iptables_of_both_kinds_have_their_place_among_equals() {
    guest::inside_newer(|| {
        let rule = "-A INPUT -p tcp --dport 80 -m mark --mark 1 -j DROP";
        for kind in ["nft", "legacy"] {
            let lab = Lab::new();
            let _web = lab.host.listen_tcp("[::]:80");
            let filter = |rule: &str| {
                for tool in ["iptables", "ip6tables"] {
                    run(lab.host.command(&format!("{tool}-{kind}")).args(rule.split(' ')));
                }
            };
            lab.host.nft(&["add table inet marks", &chain("marks"), MARKS].join("; "));
            filter(rule);
            same(&lab, Answer::Open);
            // Made anew, the table runs first.
            lab.host.nft("delete table inet marks");
            lab.host.nft(&["add table inet marks", &chain("marks"), MARKS].join("; "));
            same(&lab, Answer::Silent);
        }
    });
}

#[test]
fn programs_count_in_this_namespace_alone_and_where_they_stand() {
    guest::inside_newer(|| {
        let lab = Lab::new();
        let _web = lab.host.listen_tcp("[::]:80");
        // It drops what comes to the input hook over IPv4; the client's own does not matter here.
        let elsewhere = lab.lan.enter(|| attach(Place::Netfilter(2, 1, -5), 0).unwrap());
        same(&lab, Answer::Open);
        drop(elsewhere);
        let _program = lab.host.enter(|| attach(Place::Netfilter(2, 1, 5), 0).unwrap());
        assert_eq!(Probe::tcp(&lab.internet, (HOST_WAN_V4, 80)).ask(), Answer::Silent);
        let snapshot = look(&lab);
        let said = explain(&snapshot, HOST_WAN_V4, 80);
        assert_eq!(said.verdict, Reach::Unknown);
        let [name] = &said.depends_on[..] else { panic!("{:?}", said.depends_on) };
        assert!(name.starts_with("a BPF program (number "), "{name}");
        assert!(name.ends_with(" at the input hook for IPv4, priority 5"), "{name}");
        assert_eq!(explain(&snapshot, HOST_WAN_V6, 80).verdict, Reach::Open);
        // A chain before it refuses; nothing comes to the program.
        lab.host.nft(&["add table inet drops", &chain("drops")].join("; "));
        lab.host.nft("add rule inet drops input tcp dport 80 drop");
        let said = explain(&look(&lab), HOST_WAN_V4, 80);
        assert_eq!((said.verdict, said.depends_on), (Reach::Closed, Vec::new()));
    });
}

#[test]
fn a_module_of_which_nothing_else_tells_is_named() {
    guest::inside_newer(|| {
        guest::load(&["ila"]);
        let lab = Lab::new();
        let _web = lab.host.listen_tcp("[::]:80");
        same(&lab, Answer::Open);
        // It rewrites addresses of IPv6 once it has a mapping.
        lab.host.ip("ila add loc_match 2001:db8:ffff:0 loc 2001:db8:fffe:0 csum-mode no-action");
        let snapshot = look(&lab);
        let name =
            "the kernel module ila (ila_nf_input) at the prerouting hook for IPv6, priority -1";
        let said = explain(&snapshot, HOST_WAN_V6, 80);
        assert_eq!((said.verdict, said.depends_on), (Reach::Unknown, vec![name.to_owned()]));
        assert_eq!(explain(&snapshot, HOST_WAN_V4, 80).verdict, Reach::Open);
        let lines = past_the_rules(&snapshot);
        assert!(lines.iter().any(|line| line.starts_with(name)), "{lines:?}");
    });
}

/// What a host has that uses its firewall: none of it makes an answer unknown.
#[test]
fn the_kernels_own_work_is_known() {
    guest::inside_newer(|| {
        guest::load(&["br_netfilter", "ip_vs"]);
        let lab = Lab::new();
        let _web = lab.host.listen_tcp("[::]:80");
        lab.bridge("br0", "198.51.100.129/25", "2001:db8:b::1/64");
        lab.host.nft(
            "add table inet t; \
             add chain inet t input { type filter hook input priority 0; }; \
             add rule inet t input ct state established accept; \
             add chain inet t nat { type nat hook postrouting priority 100; }; \
             add rule inet t nat oifname \"lan0\" masquerade; \
             add chain inet t in { type filter hook ingress device wan0 priority 0; }; \
             add flowtable inet t fast { hook ingress priority 1; devices = { wan0, lan0 }; }",
        );
        for rule in [
            "-t raw -A PREROUTING -p udp --dport 9 -j CT --notrack",
            "-t mangle -A INPUT -p udp --dport 9 -j MARK --set-mark 7",
        ] {
            run(lab.host.command("iptables-legacy").args(rule.split(' ')));
        }
        same(&lab, Answer::Open);
        let lines = past_the_rules(&look(&lab));
        assert!(!lines.iter().any(|line| line.contains("the kernel")), "{lines:?}");
    });
}
