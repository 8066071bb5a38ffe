//! What the kernel calls at its hooks, by its own list → chains, the kernel's own work, and what
//! nothing else tells of.
//!
//! In: the hooks of a snapshot, where the kernel listed them. What is named here does nothing that
//! the analysis does not know otherwise: by its rules, or because it lets everything pass.

use crate::model::IfaceName;
use crate::model::nft::{BaseChain, Chain, Family, Hook, Table};
use crate::observe::{HookEntry, HookPoint, Registrant, Snapshot, legacy};

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'e> {
    /// A base chain of nftables: family, table, chain.
    Chain(Family, &'e str, &'e str),
    /// A table of legacy iptables; its priority tells which one.
    Legacy,
    /// Connection tracking assigns the packet.
    Conntrack,
    /// NAT, with all of its chains.
    Nat,
    /// It changes nothing about where a packet arrives, or what it does is known otherwise.
    Known,
    /// Nothing else tells of it.
    Foreign,
}

/// The kernel's functions at hooks, by how their names begin, with how the name of the module begins
/// that they are in where they are not built in; those since Linux 5.14.
const FUNCTIONS: [(&str, &str, Role<'static>); 30] = [
    // Assigns packets to connections at the beginning, keeps new connections at the end.
    ("ipv4_conntrack_in", "nf_conntrack", Role::Conntrack),
    ("ipv4_conntrack_local", "nf_conntrack", Role::Conntrack),
    ("ipv6_conntrack_in", "nf_conntrack", Role::Conntrack),
    ("ipv6_conntrack_local", "nf_conntrack", Role::Conntrack),
    ("nf_confirm", "nf_conntrack", Role::Known),
    ("ipv4_confirm", "nf_conntrack", Role::Known),
    ("ipv6_confirm", "nf_conntrack", Role::Known),
    ("nf_ct_bridge_", "nf_conntrack_bridge", Role::Known),
    ("ipv4_conntrack_defrag", "nf_defrag_ipv4", Role::Known),
    ("ipv6_defrag", "nf_defrag_ipv6", Role::Known),
    ("nf_nat_ipv4_", "nf_nat", Role::Nat),
    ("nf_nat_ipv6_", "nf_nat", Role::Nat),
    // Chains of a transaction that is not committed yet, which have no name.
    ("nft_do_chain", "nf_tables", Role::Known),
    ("nf_route_table_", "nf_tables", Role::Known),
    ("nft_nat_do_chain", "nft_chain_nat", Role::Known),
    // Connections of flowtables, which are read with the rules.
    ("nf_flow_offload_", "nf_flow_table", Role::Known),
    // Answers for connections of rules with synproxy.
    ("ipv4_synproxy_hook", "nf_synproxy_core", Role::Known),
    ("ipv6_synproxy_hook", "nf_synproxy_core", Role::Known),
    ("ipt_do_table", "ip_tables", Role::Legacy),
    ("ip6t_do_table", "ip6_tables", Role::Legacy),
    ("iptable_", "iptable_", Role::Legacy),
    ("ip6table_", "ip6table_", Role::Legacy),
    // Its services are read.
    ("ip_vs_", "ip_vs", Role::Known),
    // Hands what a bridge passes on to the hooks of IP.
    ("br_nf_", "br_netfilter", Role::Known),
    ("ip_sabotage_in", "br_netfilter", Role::Known),
    // Named by `Handler::BridgeTable`.
    ("ebt_", "ebt", Role::Known),
    // Counts what came by ipvlan in mode L3S, and lets it pass.
    ("ipvlan_nf_input", "ipvlan", Role::Known),
    // Judges what sockets of the host send with a label that a rule gave it.
    ("apparmor_ip", "", Role::Known),
    // Let pass what carries no label.
    ("selinux_ip", "", Role::Known),
    ("smack_ip", "", Role::Known),
];

/// What an entry stands for; a function that has no name is taken for one of the kernel's own.
pub fn role(entry: &HookEntry) -> Role<'_> {
    match &entry.runs {
        Some(Registrant::Chain { family, table, chain }) => {
            return Role::Chain(*family, table, chain);
        }
        Some(Registrant::Flowtable { .. }) => return Role::Known,
        Some(Registrant::Program { .. }) => return Role::Foreign,
        None => {}
    }
    let Some(function) = entry.function.as_deref() else { return Role::Known };
    // A module of another name may call its functions as it likes.
    let inside = |home: &str| {
        let module = entry.module.as_deref();
        module.is_none_or(|module| !home.is_empty() && module.starts_with(home))
    };
    let own = FUNCTIONS.iter().find(|(start, home, _)| function.starts_with(start) && inside(home));
    own.map_or(Role::Foreign, |(_, _, role)| *role)
}

/// What stands at a hook; `None` for nothing.
pub fn point<'h>(
    hooks: &'h [HookPoint],
    family: Family,
    hook: Hook,
    device: Option<&str>,
) -> Option<&'h HookPoint> {
    hooks.iter().find(|point| {
        (point.family, point.hook, point.device.as_ref().map(IfaceName::as_str))
            == (family, hook, device)
    })
}

/// Whether an entry is this base chain.
pub fn is_chain(entry: &HookEntry, table: &Table, chain: &Chain, base: &BaseChain) -> bool {
    match role(entry) {
        Role::Chain(family, of, name) => {
            // Chains of type `nat` may be listed with the priority of NAT as a whole.
            (base.kind == "nat" || entry.priority == base.priority)
                && (family, of, name) == (table.family, &*table.name, &*chain.name)
        }
        Role::Legacy => legacy::is_legacy(table) && entry.priority == base.priority,
        Role::Conntrack | Role::Nat | Role::Known | Role::Foreign => false,
    }
}

/// What nothing else tells of, by name and place.
pub fn foreign(entry: &HookEntry, point: &HookPoint) -> Option<String> {
    if role(entry) != Role::Foreign {
        return None;
    }
    let function = entry.function.as_deref().unwrap_or("?");
    let what = match (&entry.runs, &entry.module) {
        (Some(Registrant::Program { id }), _) => format!("a BPF program (number {id})"),
        (_, Some(module)) => format!("the kernel module {module} ({function})"),
        (_, None) => format!("the kernel's function {function}"),
    };
    let place = match (&point.device, point.family) {
        (Some(device), _) => format!("of {device}"),
        (None, Family::Ip) => "for IPv4".to_owned(),
        (None, Family::Ip6) => "for IPv6".to_owned(),
        (None, family) => format!("of family {}", family.as_str()),
    };
    Some(format!("{what} at the {} hook {place}, priority {}", point.hook.as_str(), entry.priority))
}

/// All of that at some of the hooks.
pub fn all_foreign(snapshot: &Snapshot, at: impl Fn(&HookPoint) -> bool) -> Vec<String> {
    let points = snapshot.hooks.iter().flatten().filter(|point| at(point));
    let named = points
        .flat_map(|point| point.entries.iter().filter_map(move |entry| foreign(entry, point)));
    named.collect()
}
