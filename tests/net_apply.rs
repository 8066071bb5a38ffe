//! `fwctl apply`, `status` and `off` as a user runs them, in a namespace of their own.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use net::{Answer, HOST_WAN_V4, Host, Lab, Namespace, Probe};
use std::fmt::Write as _;

impl Host<'_> {
    fn apply(&self) -> String {
        self.run("apply --no-confirm --yes", 0)
    }

    fn generation_id(&self) -> u32 {
        self.namespace.enter(|| fwctl::observe::nft::generation().unwrap())
    }
}

const WEB: &str = "[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nservice = [\"http\", \"https\"]\n\
                   [[deny]]\nservice = [\"databases\"]\nfrom = [\"internet\"]\n";

#[test]
fn apply_makes_it_so_and_a_second_one_sends_nothing() {
    let lab = Lab::new();
    let _web = lab.host.listen_tcp("[::]:80");
    let _db = lab.host.listen_tcp("[::]:5432");
    lab.host.nft("table inet neighbour {\n chain c {\n counter packets 7 bytes 99\n }\n}");
    let host = Host::new(&lab.host);
    host.policy(WEB);
    let before = lab.host.ruleset();
    let text = host.apply();
    assert!(text.contains("Generation 1 is in force"), "{text}");
    net::expect(&[
        (Probe::tcp(&lab.internet, (HOST_WAN_V4, 80)), Answer::Open),
        (Probe::tcp(&lab.internet, (HOST_WAN_V4, 5432)), Answer::Silent),
    ]);
    let counters = lab.host.ruleset();
    let id = host.generation_id();
    for _ in 0..2 {
        let text = host.apply();
        assert!(text.contains("Nothing to change: generation 1 is in force"), "{text}");
        assert_eq!(host.generation_id(), id, "something was sent");
        // Without the record of what was seen, the long look must say the same.
        std::fs::remove_file(host.root.path().join("run/fwctl/seen.json")).unwrap();
    }
    assert_eq!(lab.host.ruleset(), counters, "counters were kept");
    let status = host.run("status", 0);
    assert!(status.contains("generation 1 is in force"), "{status}");
    assert!(status.contains("drift    none"), "{status}");
    let text = host.run("off --no-confirm --yes", 0);
    assert!(text.contains("fwctl is off"), "{text}");
    assert_eq!(lab.host.ruleset(), before, "all is as before");
    net::expect(&[(Probe::tcp(&lab.internet, (HOST_WAN_V4, 5432)), Answer::Open)]);
    assert!(host.run("off --no-confirm --yes", 0).contains("Nothing to change"));
    assert!(host.run("status", 0).contains("not in force"));
}

#[test]
fn off_shows_beforehand_what_opens_and_going_back_what_it_changes() {
    let lab = Lab::new();
    let _listeners = [22, 80, 5432, 6379].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
    lab.host.nft(
        "table inet neighbour {\n chain input {\n type filter hook input priority 0\n \
         tcp dport 6379 drop\n }\n}",
    );
    let host = Host::new(&lab.host);
    host.policy(WEB);
    host.apply();
    host.policy("[[allow]]\nservice = [\"ssh\"]\n");
    host.apply();
    host.policy(WEB);
    host.apply();
    for arguments in ["off --yes", "off --yes --no-confirm"] {
        let text = host.run(arguments, 0);
        let (opens, _) = text.split_once("note: ").unwrap();
        assert!(opens.contains("1 endpoint opens."), "{text}");
        let words = opens.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("from internet closed → open deny policy.toml:6"), "{text}");
        assert!(opens.contains("+ 5432/tcp "), "{text}");
        // Nobody filtered that before, and a neighbour keeps the other one closed.
        assert!(!opens.contains("80/tcp") && !opens.contains("6379/tcp"), "{text}");
        assert!(text.contains("Generation 4 rules for") || text.contains("fwctl is off"), "{text}");
        if arguments == "off --yes" {
            net::expect(&[
                (Probe::tcp(&lab.internet, (HOST_WAN_V4, 5432)), Answer::Open),
                (Probe::tcp(&lab.internet, (HOST_WAN_V4, 6379)), Answer::Silent),
            ]);
            host.run("rollback", 0);
            let text = host.run("rollback 2 --yes --no-confirm", 0);
            assert!(text.contains("  - 80/tcp "), "{text}");
            host.run("rollback 3 --yes --no-confirm", 0);
        }
    }
}

#[test]
fn what_was_changed_by_hand_is_found_shown_and_mended() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.policy(&format!(
        "{WEB}[zone.admin]\naddresses = [\"203.0.113.7\", \"2001:db8:7::/48\"]\n\
         [[allow]]\nports = [\"9000/tcp\", \"9100-9110/tcp\"]\nfrom = [\"admin\"]\nlimit = \"9/minute\"\n"
    ));
    host.apply();
    let meant = host.table().unwrap();
    let rule = |chain: &str, number: usize| -> String {
        let text = net::run(
            namespace.command("nft").args(["-a", "list", "chain", "inet", "fwctl", chain]),
        );
        let mut handles = text
            .lines()
            .filter(|line| !line.contains("chain"))
            .filter_map(|line| line.rsplit_once("# handle ").map(|(_, handle)| handle.to_owned()));
        handles.nth(number).unwrap()
    };
    let hand: Vec<(&str, String)> = vec![
        ("delete", format!("delete rule inet fwctl input handle {}", rule("input", 1))),
        ("first", "insert rule inet fwctl input tcp dport 3306 accept".to_owned()),
        (
            "middle",
            format!(
                "add rule inet fwctl input position {} ip saddr 192.0.2.1 accept",
                rule("input", 0)
            ),
        ),
        ("last", "add rule inet fwctl default accept".to_owned()),
        (
            "replace",
            format!(
                "replace rule inet fwctl default handle {} counter accept comment \"default inbound = drop\"",
                rule("default", 1)
            ),
        ),
        ("flush", "flush chain inet fwctl input_tcp".to_owned()),
        ("element", "add element inet fwctl tcp_ports { 9999 : goto tcp_22 }".to_owned()),
        (
            "changed element",
            "delete element inet fwctl tcp_ports { 5432 : goto tcp_1433 }\n\
          add element inet fwctl tcp_ports { 5432 : goto tcp_22 }"
                .to_owned(),
        ),
        ("prefix", "add element inet fwctl zone_admin_net6 { 2001:db8:8::/48 }".to_owned()),
        ("emptied", "flush set inet fwctl zone_admin_4".to_owned()),
        (
            "chain",
            "add chain inet fwctl mine { type filter hook input priority -20; }\n\
          add rule inet fwctl mine accept"
                .to_owned(),
        ),
        ("set", "add set inet fwctl mine { type ipv4_addr; }".to_owned()),
        (
            "anonymous set",
            "insert rule inet fwctl input tcp dport { 3306, 5432 } accept".to_owned(),
        ),
        ("policy", "chain inet fwctl input { policy drop; }".to_owned()),
        ("dormant", "add table inet fwctl { flags dormant; }".to_owned()),
        ("table", "delete table inet fwctl".to_owned()),
    ];
    for (what, change) in hand {
        // Names of class chains depend on the lowest port; read the one that the map uses.
        let change = change.replace("tcp_1433", &class_of(&meant, "5432"));
        namespace.nft(&change);
        let plan = host.run("plan --detailed-exitcode", 3);
        if what != "table" {
            assert!(plan.contains("by hand"), "{what}: the plan does not say so\n{plan}");
            let status = host.run("status", 0);
            assert!(status.contains("by hand"), "{what}: status does not say so\n{status}");
        }
        host.apply();
        assert_eq!(host.table().unwrap(), meant, "{what}: not mended");
        host.run("plan --detailed-exitcode", 0);
    }
}

/// The chain that the port map leads a port to.
fn class_of(table: &str, port: &str) -> String {
    let (_, behind) = table.split_once(&format!("{port} : goto ")).unwrap();
    behind.split(|c: char| c == ',' || c.is_whitespace()).next().unwrap().to_owned()
}

#[test]
fn a_table_whose_objects_were_made_anew_by_hand_is_rebuilt() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.policy(WEB);
    host.apply();
    let meant = host.table().unwrap();
    namespace.nft("flush chain inet fwctl generation\ndelete chain inet fwctl generation");
    namespace.nft("add chain inet fwctl generation { type filter hook input priority 5; }");
    host.apply();
    assert_eq!(host.table().unwrap(), meant);
}

#[test]
fn only_what_differs_is_sent() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    let mut list = String::new();
    for n in 0..2000_u32 {
        writeln!(list, "198.18.{}.{}", n / 250, n % 250).unwrap();
    }
    std::fs::write(host.file("etc/fwctl/block.txt"), &list).unwrap();
    let policy = format!(
        "{WEB}[set.block]\nfile = \"block.txt\"\n[[deny]]\nports = [\"all\"]\nfrom = [\"@block\"]\n"
    );
    host.policy(&policy);
    host.apply();
    let rule_handles = || {
        let text =
            net::run(namespace.command("nft").args(["-a", "list", "table", "inet", "fwctl"]));
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.contains("# handle") && line.contains("comment"))
            .filter(|line| !line.contains("fwctl generation"))
            .map(str::to_owned)
            .collect();
        lines
    };
    let handles = rule_handles();
    std::fs::write(host.file("etc/fwctl/block.txt"), format!("{list}198.18.100.1\n")).unwrap();
    let plan = host.run("plan", 0);
    assert!(plan.contains("198.18.100.1"), "{plan}");
    assert!(!plan.contains("198.18.0.5"), "{plan}");
    host.apply();
    assert_eq!(rule_handles(), handles, "rules were made anew for one element");
    // One more port for a rule that is there: an element of the map.
    host.policy(
        &policy.replace("\"http\", \"https\"", "\"http\", \"https\", \"8443/tcp\"").replace(
            "service = [\"http\", \"https\", \"8443/tcp\"]",
            "service = [\"http\", \"https\"]\nports = [\"8443/tcp\"]",
        ),
    );
    host.apply();
    assert!(host.table().unwrap().contains("8443 : goto tcp_80"), "{}", host.table().unwrap());
}

#[test]
fn generations_count_and_a_policy_that_goes_back_is_a_new_one() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.policy(WEB);
    host.apply();
    let first = host.table().unwrap();
    host.policy(
        "[default]\ninbound = \"reject\"\n[[allow]]\nservice = [\"ssh\"]\nlimit = \"6/minute\"\n",
    );
    assert!(host.apply().contains("Generation 2 is in force"));
    host.policy(WEB);
    assert!(host.apply().contains("Generation 3 is in force"));
    let without_marker = |table: &str| -> String {
        table.lines().filter(|line| !line.contains("fwctl generation")).collect()
    };
    assert_eq!(without_marker(&host.table().unwrap()), without_marker(&first));
    // The disk forgets, the kernel is believed.
    let confirmed = host.root.path().join("var/lib/fwctl/confirmed.json");
    std::fs::remove_file(&confirmed).unwrap();
    assert!(host.run("status", 0).contains("generation 3"));
    assert!(confirmed.exists(), "the record was mended");
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_so() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    host.policy("[[allow]]\nservice = [\"shh\"]\n");
    let text = host.run("apply --no-confirm --yes", 1);
    assert!(text.contains("nothing was changed") && text.contains("ssh"), "{text}");
    host.policy(WEB);
    let text = host.run("apply --yes --confirm-within 5s", 2);
    assert!(text.contains("from 10s to 1h"), "{text}");
    let text = host.run("apply --no-confirm", 2);
    assert!(text.contains("--yes"), "{text}");
    host.policy("[[allow]]\nports = [\"80/tcp\"]\nto = [\"container:nowhere\"]\n");
    let text = host.run("apply --no-confirm --yes", 1);
    assert!(text.contains("container:nowhere"), "{text}");
    host.policy(
        "[[allow]]\nports = [\"22/tcp\"]\n[[expect]]\nfrom = [\"internet\"]\nopen = [\"http\"]\n",
    );
    let text = host.run("apply --no-confirm --yes", 5);
    assert!(text.contains("policy.toml"), "{text}");
    host.policy(WEB);
    let lock = host.root.path().join("run/fwctl");
    std::fs::create_dir_all(&lock).unwrap();
    let held = std::fs::File::create(lock.join("lock")).unwrap();
    held.lock().unwrap();
    let text = host.run("apply --no-confirm --yes", 8);
    assert!(text.contains("another fwctl"), "{text}");
    assert_eq!(namespace.ruleset(), "", "nothing was loaded");
}

#[test]
fn a_zone_that_would_swallow_the_internet_is_refused() {
    let lab = Lab::new();
    let host = Host::new(&lab.host);
    host.policy(
        "[zone.lan]\ninterfaces = [\"wan0\"]\n[[allow]]\nports = [\"22/tcp\"]\nfrom = [\"lan\"]\n",
    );
    let text = host.run("apply --no-confirm --yes", 1);
    assert!(text.contains("world = true"), "{text}");
    host.policy(
        "[zone.lan]\ninterfaces = [\"wan0\"]\nworld = true\n[[allow]]\nports = [\"22/tcp\"]\nfrom = [\"lan\"]\n",
    );
    host.apply();
}

#[test]
fn a_large_set_is_kept_beside_the_ruleset_and_a_change_to_it_is_still_found() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    let mut list = String::new();
    for n in 0..5000_u32 {
        writeln!(list, "198.18.{}.{}", n / 250, n % 250).unwrap();
    }
    std::fs::write(host.file("etc/fwctl/block.txt"), &list).unwrap();
    host.policy(&format!(
        "{WEB}[set.block]\nfile = \"block.txt\"\n[[deny]]\nports = [\"all\"]\nfrom = [\"@block\"]\n"
    ));
    host.apply();
    let kept = host.root.path().join("run/fwctl/sets.json");
    assert!(kept.exists(), "5,000 elements were not kept");
    host.run("plan --detailed-exitcode", 0);
    // What is kept is believed while nothing was committed, and only then.
    let text = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, text.replacen("c6120005", "c6120aff", 1)).unwrap();
    host.run("plan --detailed-exitcode", 3);
    namespace.nft("delete element inet fwctl set_block_4 { 198.18.0.7 }");
    let plan = host.run("plan --detailed-exitcode", 3);
    assert!(plan.contains("198.18.0.7") && !plan.contains("198.18.10.255"), "{plan}");
    host.apply();
    host.run("plan --detailed-exitcode", 0);
}

#[test]
fn ranges_and_prefixes_change_places_with_those_that_they_overlap() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    for (ports, prefix) in [
        ("22-100", "10.0.0.0/8"),
        ("22-99", "10.0.0.0/9"),
        ("20-22", "10.0.0.0/7"),
        ("21", "10.1.2.3"),
        ("21-65535", "0.0.0.0/1"),
    ] {
        host.policy(&format!(
            "[set.blocked]\naddresses = [\"192.0.2.0/24\", \"{prefix}\", \"2001:db8::/32\"]\n\
             [zone.lan]\naddresses = [\"198.51.100.0/24\", \"{prefix}\"]\n\
             [[allow]]\nports = [\"{ports}/tcp\", \"{ports}/udp\"]\n\
             [[deny]]\nports = [\"{ports}/udp\"]\nfrom = [\"lan\"]\n\
             [[deny]]\nports = [\"all\"]\nfrom = [\"@blocked\"]\n"
        ));
        host.apply();
        host.run("plan --detailed-exitcode", 0);
    }
}

#[test]
fn the_highest_port_comes_and_goes() {
    let namespace = Namespace::new("host");
    let host = Host::new(&namespace);
    for ports in [
        "\"22/tcp\", \"65535/tcp\"",
        "\"22/tcp\"",
        "\"65535/tcp\"",
        "\"65534/tcp\"",
        "\"22-65535/tcp\"",
        "\"22-65534/tcp\", \"65535/udp\"",
        "\"1024-65535/udp\"",
    ] {
        host.policy(&format!("[[allow]]\nports = [{ports}]\n"));
        host.apply();
        host.run("plan --detailed-exitcode", 0);
        host.policy(&format!("[[allow]]\nports = [{ports}]\n[[deny]]\nports = [\"65535/tcp\"]\nfrom = [\"192.0.2.1\"]\n"));
        host.apply();
        host.run("plan --detailed-exitcode", 0);
    }
}
