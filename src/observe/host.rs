//! `/proc`, `/etc` and `/run` → the host itself, and who else filters packets on it.

use super::{ConntrackPresence, Host};
use crate::model::nft::{Family, NatKind, Operand, Ruleset, Selector, Statement, Table, XtMatch};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Units that say that a program filters or routes by means of its own, where systemd has them
/// active or enabled. Not `ufw.service`: Debian enables it while ufw itself is off.
const UNITS: [(&str, &str); 14] = [
    ("crowdsec-firewall-bouncer.service", "crowdsec"),
    ("fail2ban.service", "fail2ban"),
    ("ferm.service", "ferm"),
    ("firewalld.service", "firewalld"),
    ("k3s.service", "kubelet"),
    ("k3s-agent.service", "kubelet"),
    ("kubelet.service", "kubelet"),
    ("libvirtd.service", "libvirt"),
    ("virtnetworkd.service", "libvirt"),
    ("lxc-net.service", "lxc"),
    ("netfilter-persistent.service", "netfilter-persistent"),
    ("nftables.service", "nftables"),
    ("shorewall.service", "shorewall"),
    ("sshguard.service", "sshguard"),
];
/// The same by the names of processes.
const PROCESSES: [(&str, &str); 8] = [
    ("fail2ban-server", "fail2ban"),
    ("firewalld", "firewalld"),
    ("k3s-agent", "kubelet"),
    ("k3s-server", "kubelet"),
    ("kubelet", "kubelet"),
    ("libvirtd", "libvirt"),
    ("sshguard", "sshguard"),
    ("virtnetworkd", "libvirt"),
];

/// The host's own name, kernel and boot; who else filters is for [`managers`].
pub fn read(root: &Path) -> Host {
    let line = |path: &str| {
        fs::read_to_string(root.join(path)).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let os = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| os_name(&fs::read_to_string(root.join(path)).ok()?));
    Host {
        name: line("proc/sys/kernel/hostname"),
        kernel: line("proc/sys/kernel/osrelease"),
        os,
        boot_id: line("proc/sys/kernel/random/boot_id"),
        managers: Vec::new(),
        conntrack: ConntrackPresence::Unknown,
    }
}

/// `PRETTY_NAME` of os-release(5).
fn os_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Programs that filter or route by means of their own and are enabled, or active as units.
pub fn enabled_managers(root: &Path) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let systemd = root.join("etc/systemd/system");
    let enabled: BTreeSet<String> = fs::read_dir(&systemd)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.ends_with(".wants")))
        .flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    for (unit, name) in UNITS {
        let active = root.join(format!("run/systemd/units/invocation:{unit}"));
        if enabled.contains(unit) || active.symlink_metadata().is_ok() {
            found.insert(name);
        }
    }
    let ufw = fs::read_to_string(root.join("etc/ufw/ufw.conf")).unwrap_or_default();
    if ufw.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes")) {
        found.insert("ufw");
    }
    found
}

/// These, and those that run by the names of all processes; sorted.
pub fn managers(enabled: BTreeSet<&'static str>, process_names: &BTreeSet<String>) -> Vec<String> {
    let running = PROCESSES.into_iter().filter(|(process, _)| process_names.contains(*process));
    let all: BTreeSet<&str> = running.map(|(_, name)| name).chain(enabled).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// Tables of legacy iptables that are loaded. Reading the names loads none, unlike the tool.
pub fn legacy_tables(proc_net: &Path) -> Vec<String> {
    let mut tables = Vec::new();
    for (family, file) in [("ip", "ip_tables_names"), ("ip6", "ip6_tables_names")] {
        let names = fs::read_to_string(proc_net.join(file)).unwrap_or_default();
        tables.extend(names.split_ascii_whitespace().map(|name| format!("{family} {name}")));
    }
    tables.sort();
    tables
}

/// Names of users, by id, from the text of passwd(5).
pub fn users(passwd: &str) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse)) {
            users.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// Whether connections are tracked in this network namespace, of both IP versions.
///
/// `entries` is `nf_conntrack_count`; `None` where the kernel has no connection tracking loaded.
/// The kernel tracks an IP version from the moment on when something of it asks (a `ct`
/// expression, a translation, the iptables match), so rules say more than entries do: tracking of
/// one version alone counts as none, since connections of the other still look new.
pub fn conntrack(entries: Option<u64>, ruleset: &Ruleset) -> ConntrackPresence {
    if entries.is_none() {
        return ConntrackPresence::NotTracking;
    }
    let asks = |family: Family| {
        let sees = |table: &&Table| table.family == family || table.family == Family::Inet;
        ruleset.tables.iter().filter(sees).any(tracks_connections)
    };
    if asks(Family::Ip) && asks(Family::Ip6) {
        ConntrackPresence::Tracking
    } else {
        ConntrackPresence::NotTracking
    }
}

/// Whether something in a table makes the kernel track connections of the table's IP versions. A
/// chain of type `nat`, and a `nat` table of legacy iptables, do not: without a rule that
/// translates nothing is tracked, and then they see no packet (seen with Linux 6.18).
pub fn tracks_connections(table: &Table) -> bool {
    let mut rules = table.chains.iter().flat_map(|chain| &chain.rules);
    rules.any(|rule| rule.statements.iter().any(tracks))
        || table.objects.iter().any(|own| own.kind.starts_with("ct ") || own.kind == "synproxy")
}

fn tracks(statement: &Statement) -> bool {
    match statement {
        Statement::Compare { left: key, .. }
        | Statement::Lookup { key, .. }
        | Statement::VerdictMap { key, .. }
        | Statement::ObjectMap { key, .. } => key.iter().any(loads_connection),
        Statement::Range { left, .. } => loads_connection(left),
        Statement::UpdateSet { key, data, statements, .. } => {
            key.iter().any(loads_connection)
                || data.iter().flatten().any(loads_connection)
                || statements.iter().any(tracks)
        }
        Statement::SetMeta { value, .. } | Statement::SetPayload { value, .. } => {
            loads_connection(value)
        }
        Statement::Nat { kind, .. } => *kind != NatKind::Tproxy,
        Statement::SetCt { .. } | Statement::ConnLimit { .. } => true,
        Statement::Object { kind, .. } => kind.starts_with("ct ") || kind == "synproxy",
        // `xt_ct_tg_check()` asks for nothing then.
        Statement::Xt { name, decoded: Some(XtMatch::Other { options }), .. }
            if name == "CT" && options.iter().any(|own| own == "notrack") =>
        {
            false
        }
        Statement::Xt { name, decoded, .. } => {
            matches!(
                decoded,
                Some(
                    XtMatch::Conntrack { .. }
                        | XtMatch::Nat { .. }
                        | XtMatch::Mark { connection: true, .. }
                        | XtMatch::SetMark { connection: true, .. }
                )
            ) || XT.contains(&name.as_str())
        }
        Statement::Opaque { name, .. } => {
            ["ct", "nat", "synproxy", "flow_offload"].contains(&name.as_str())
        }
        Statement::Verdict(_)
        | Statement::Counter { .. }
        | Statement::Limit(_)
        | Statement::Log(_)
        | Statement::Reject(_)
        | Statement::Notrack
        | Statement::Queue { .. }
        | Statement::Quota { .. } => false,
    }
}

/// xt modules that make the kernel track connections.
const XT: [&str; 17] = [
    "conntrack",
    "state",
    "connbytes",
    "connlabel",
    "connlimit",
    "connmark",
    "CONNMARK",
    "CONNSECMARK",
    "helper",
    "DNAT",
    "SNAT",
    "MASQUERADE",
    "REDIRECT",
    "NETMAP",
    "CT",
    "SYNPROXY",
    "cluster",
];

fn loads_connection(operand: &Operand) -> bool {
    match &operand.selector {
        Selector::Ct { .. } => true,
        Selector::Map { key, .. } => key.iter().any(loads_connection),
        Selector::Payload { .. }
        | Selector::Meta(_)
        | Selector::Fib { .. }
        | Selector::Immediate(_)
        | Selector::Other { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::{BaseChain, Chain, CtKey, Hook, NatRange, Rule, Verdict};

    fn table(family: Family, statement: Statement) -> Table {
        let mut table = Table::new(family, "t");
        let mut chain = Chain::new("c");
        chain.rules.push(Rule::new(vec![statement], None));
        table.chains.push(chain);
        table
    }

    fn state() -> Statement {
        let key = vec![Operand::plain(Selector::Ct { key: CtKey::State, direction: None })];
        Statement::VerdictMap { key, map: "m".to_owned() }
    }

    #[test]
    fn both_versions_must_be_tracked() {
        let ask =
            |entries, tables: Vec<Table>| conntrack(entries, &Ruleset { generation: 1, tables });
        let tracking = ConntrackPresence::Tracking;
        let not = ConntrackPresence::NotTracking;
        assert_eq!(ask(None, vec![table(Family::Inet, state())]), not);
        assert_eq!(ask(Some(0), vec![table(Family::Inet, state())]), tracking);
        assert_eq!(ask(Some(9), vec![table(Family::Ip, state())]), not);
        let both = vec![table(Family::Ip, state()), table(Family::Ip6, state())];
        assert_eq!(ask(Some(9), both), tracking);
        assert_eq!(ask(Some(9), vec![table(Family::Inet, Statement::Notrack)]), not);
    }

    #[test]
    fn a_nat_chain_that_translates_nothing_tracks_nothing() {
        let mut nat = table(Family::Inet, Statement::Counter { packets: 0, bytes: 0 });
        nat.chains[0].hook = Some(BaseChain {
            kind: "nat".to_owned(),
            hook: Hook::Prerouting,
            priority: -100,
            policy: Verdict::Accept,
            devices: Vec::new(),
        });
        let ask = |table: &Table| {
            conntrack(Some(1), &Ruleset { generation: 1, tables: vec![table.clone()] })
        };
        assert_eq!(ask(&nat), ConntrackPresence::NotTracking);
        let masquerade = |kind| Statement::Nat {
            kind,
            family: None,
            range: Box::new(NatRange { address: None, port: None, flags: 0 }),
        };
        let tproxy = Rule::new(vec![masquerade(NatKind::Tproxy)], None);
        nat.chains[0].rules.push(tproxy);
        assert_eq!(ask(&nat), ConntrackPresence::NotTracking, "it asks for sockets alone");
        nat.chains[0].rules.push(Rule::new(vec![masquerade(NatKind::Masquerade)], None));
        assert_eq!(ask(&nat), ConntrackPresence::Tracking);
    }

    #[test]
    fn managers_are_found_running_or_enabled() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            fs::write(path, text).expect("written");
        };
        put("etc/systemd/system/multi-user.target.wants/ufw.service", "");
        assert_eq!(
            managers(enabled_managers(root), &BTreeSet::new()),
            [""; 0],
            "Debian enables ufw.service anyway"
        );
        put("etc/systemd/system/sysinit.target.wants/nftables.service", "");
        put("run/systemd/units/invocation:fail2ban.service", "");
        put("etc/ufw/ufw.conf", "# comment\nENABLED=yes\n");
        let names = BTreeSet::from(["firewalld".to_owned(), "bash".to_owned()]);
        assert_eq!(
            managers(enabled_managers(root), &names),
            ["fail2ban", "firewalld", "nftables", "ufw"]
        );
    }

    #[test]
    fn texts_are_read() {
        assert_eq!(
            os_name("NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n").as_deref(),
            Some("Debian GNU/Linux 12 (bookworm)")
        );
        let users =
            users("root:x:0:0::/root:/bin/sh\nbroken\nadmin:x:0:0::/:\nann:x:1000:1000::/:\n");
        assert_eq!(
            users.into_iter().collect::<Vec<_>>(),
            [(0, "root".to_owned()), (1000, "ann".to_owned())]
        );
    }
}
