//! What filters or serves past all rules of a host, or could not be read, in words.

use super::programs::{filter_of, of_group, program_at, switched};
use super::registered::all_foreign;
use crate::model::nft::Hook;
use crate::observe::{EngineState, Handler, LinkKind, Snapshot, legacy};

/// What no rule of nftables decides: programs below it, what is forwarded past it, and what another
/// program filters that was not read.
pub fn past_the_rules(snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for link in snapshot.links.iter().filter(|link| link.xdp) {
        found.push(format!("an XDP program on {} sees packets before any rule", link.name));
    }
    for link in &snapshot.links {
        if let Some(name) = switched(snapshot, &link.name) {
            found.push(format!("{name}, takes what comes by it before any rule"));
        }
        if matches!(&link.kind, LinkKind::Other(word) if word == "macvtap" || word == "ipvtap") {
            found.push(format!(
                "what is behind {} is reached past the rules of this host",
                link.name
            ));
        }
    }
    for handler in &snapshot.handlers {
        found.push(match handler {
            Handler::TrafficFilter { interface, leaving, kind } => {
                let way = if *leaving { "leaves" } else { "enters" };
                format!("{} sees what {way} {interface} beside all rules", filter_of(kind))
            }
            Handler::Program { family, hook, priority } => {
                format!("{} sees packets beside all rules", program_at(*hook, *family, *priority))
            }
            Handler::SocketLookup => {
                "BPF programs choose the sockets for what comes in (BPF_SK_LOOKUP), or drop it"
                    .to_owned()
            }
            Handler::ControlGroup { path, unit, container } => {
                let whose = match container {
                    Some(container) => format!("BPF programs of container {container}"),
                    None => of_group(path, unit.as_deref()),
                };
                format!("{whose}, see what it receives and sends beside all rules")
            }
            Handler::Uplink { of, interface, link } => format!(
                "{of} has the interface {interface} ({}) in a network namespace of its own: what \
                 comes by it passes no rule of this one",
                link.word()
            ),
            Handler::BridgeTable { table } => format!(
                "the table {table} of legacy ebtables may filter what bridges pass on; it was not \
                 read (ebtables-legacy -t {table} -L shows it)"
            ),
            Handler::Service { protocol, at } => {
                format!("IPVS sends what comes to {at}/{protocol} to servers of its own")
            }
            Handler::MarkService { mark } => {
                format!("IPVS sends what comes with mark {mark:#x} to servers of its own")
            }
        });
    }
    let foreign = all_foreign(snapshot, |_| true);
    found.extend(foreign.into_iter().map(|name| format!("{name}, sees packets beside all rules")));
    let tables = &snapshot.ruleset.tables;
    for table in snapshot.legacy_tables.iter().filter(|own| !legacy::was_read(tables, own)) {
        found.push(format!("the legacy iptables table {table} is loaded, and was not read"));
    }
    for network in snapshot.engines.iter().flat_map(|engine| &engine.networks) {
        if matches!(network.driver.as_str(), "macvlan" | "ipvlan") {
            found.push(format!(
                "containers on the {} network {} are reached past the rules of this host",
                network.driver, network.name
            ));
        }
    }
    let groups = snapshot.sysctls.0.iter().filter_map(|(name, value)| {
        let (version, interface) = name.strip_suffix(".mc_forwarding")?.split_once(".conf.")?;
        let one = *value != 0 && !matches!(interface, "all" | "default");
        one.then(|| (version.replace("ipv", "IPv"), interface))
    });
    for (version, interface) in groups {
        found.push(format!(
            "multicast of {version} that comes by {interface} may be routed on; where to is not read"
        ));
    }
    for table in &snapshot.ruleset.tables {
        for chain in &table.chains {
            let Some(base) = chain.hook.as_ref().filter(|own| own.hook == Hook::Egress) else {
                continue;
            };
            found.push(format!(
                "the chain {} of table {} {} sees what leaves {}; that it lets answers pass is taken \
                 for granted",
                chain.name,
                table.family.as_str(),
                table.name,
                base.devices.join(", ")
            ));
        }
        for object in table.objects.iter().filter(|own| own.kind == "flowtable") {
            found.push(format!(
                "connections in the flowtable {} of table {} {} are forwarded past the rules",
                object.name,
                table.family.as_str(),
                table.name
            ));
        }
    }
    found
}

/// The same, and what could not be read.
pub(super) fn unseen(snapshot: &Snapshot) -> Vec<String> {
    let mut found = past_the_rules(snapshot);
    for engine in &snapshot.engines {
        if !matches!(engine.state, EngineState::Answered | EngineState::Absent) {
            found.push(format!("the container engine at {} did not answer", engine.socket));
        }
    }
    found.extend(snapshot.warnings.iter().map(|own| format!("{}: {}", own.subject, own.message)));
    found
}
