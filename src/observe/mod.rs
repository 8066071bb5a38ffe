//! The live host → [`Snapshot`].
//!
//! Reads only. What cannot be read becomes a [`Warning`] that names it; the rest is still there.

#[allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "systemd's names of units are case-sensitive"
)]
mod activation;
mod apart;
mod bpf;
#[allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "systemd's names of units are case-sensitive"
)]
mod cgroup;
mod conntrack;
mod endpoints;
mod engines;
mod flows;
#[doc(hidden)]
pub mod foreign;
mod forwarding;
mod generic;
mod groups;
mod handlers;
mod hooks;
#[allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "systemd's names of units are case-sensitive"
)]
mod host;
mod installed;
mod ipsec;
mod ipset;
mod journal;
mod json;
mod l2tp;
pub mod legacy;
mod links;
mod logins;
pub(crate) mod netlink;
pub mod nft;
mod options;
mod policy_routing;
mod processes;
pub mod routing;
mod short_file;
mod snapshot;
mod sockets;
mod ssh;
mod sshd_config;
mod sysctls;
mod tunnels;
mod wireguard;

pub use endpoints::endpoints;
pub use engines::EngineSocket;
pub use host::tracks_connections;
pub use installed::{ATTEMPT, CONFIRMED, GENERATIONS, attempt, generations};
pub use json::SnapshotError;
pub use links::{Network, read as network};
pub use logins::{Login, Logins};
pub use options::Options;
pub use snapshot::{
    Address, Attempt, By, ConntrackPresence, Container, ContainerNetwork, ContainerState, End,
    Engine, EngineKind, EngineState, FORMAT, Flow, Handler, HookEntry, HookPoint, Host, How,
    Installed, IpSet, IpSetElement, Ipsec, IpsecAssociation, IpsecCarried, IpsecPolicy, Link,
    LinkKind, PublishedPort, Registrant, Route, RoutingAction, RoutingRule, Snapshot, Socket,
    SocketState, Ssh, SshSession, Sysctls, Tunnel, TunnelPeer, Warning,
};
pub use sshd_config::ssh_ports;

use crate::model::Protocol;
use crate::model::nft::Ruleset;
use netlink::NetlinkError;
use processes::Processes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::ScopedJoinHandle;

/// Looks at this host.
pub fn observe(options: &Options) -> Snapshot {
    let stored = options.root.join("run/fwctl").join(nft::stored::FILE);
    observe_with(options, || match ruleset(&stored) {
        Ok(ruleset) => (ruleset, Vec::new()),
        Err(error) => {
            let message = format!("the ruleset was not read: {error}");
            (Ruleset::default(), vec![Warning { subject: "nftables".into(), message }])
        }
    })
}

/// The ruleset in force; large sets that have not changed since they were stored are not dumped
/// again.
pub fn ruleset(stored: &Path) -> Result<Ruleset, nft::NftError> {
    let cache = nft::stored::read(stored);
    nft::read(nft::Options { cache: cache.as_ref(), ..nft::Options::default() })
}

/// What stands at the hooks of this network namespace, where the kernel tells it and the ruleset is
/// still the one of this generation.
pub fn hooks(links: &[Link], generation: u32) -> Option<Vec<HookPoint>> {
    hooks::read(links, generation).ok().flatten()
}

/// Looks at this host, with `ruleset` for the nftables part.
///
/// Engines, sockets and the ruleset are read at the same time, the rest meanwhile.
pub fn observe_with(
    options: &Options,
    ruleset: impl FnOnce() -> (Ruleset, Vec<Warning>) + Send,
) -> Snapshot {
    let mut warnings = Vec::new();
    let taken_at = jiff::Timestamp::now();
    std::thread::scope(|scope| {
        // What waits for others comes first.
        let engines: Vec<_> = options
            .engines
            .iter()
            .map(|engine| engines::Asked::begin(scope, engine, options))
            .collect();
        let ruleset = scope.spawn(ruleset);
        let sockets = scope.spawn(move || {
            let mut warnings = Vec::new();
            (sockets::read(options.container_namespaces, &mut warnings), warnings)
        });

        let mut network = links::read().unwrap_or_else(|error| {
            let message = format!("interfaces, addresses and routes could not be read: {error}");
            warnings.push(Warning { subject: "network".into(), message });
            links::Network::default()
        });
        if network.unreadable > 0 {
            let message = format!(
                "{} interfaces, addresses or routes are of a form that fwctl does not know, and \
                 are missing here",
                network.unreadable
            );
            warnings.push(Warning { subject: "links".into(), message });
        }
        let mut tunnels = Vec::new();
        for (subject, what, read) in [
            ("wireguard", "WireGuard's ports and peers", wireguard::read(&network.links)),
            ("tunnels", "what tunnels are carried by", tunnels::read(&network.links)),
        ] {
            match read {
                Ok(own) => tunnels.extend(own),
                Err(error) => {
                    let message = format!("{what} could not be read: {error}");
                    warnings.push(Warning { subject: subject.into(), message });
                }
            }
        }
        let ipsec = ipsec::read(&network.links).unwrap_or_else(|error| {
            let message = format!("what comes by IPsec could not be read: {error}");
            warnings.push(Warning { subject: "ipsec".into(), message });
            Ipsec::default()
        });
        groups::add(&mut network.links);
        let mut sysctls = sysctls::read(Path::new("/proc/sys/net"));
        sysctls.0.append(&mut network.settings.0);
        let routing_rules = policy_routing::read();
        let mut handlers = handlers::read(&network.links, Path::new("/proc/thread-self/net"));
        let (programs, mut denied) = bpf::read(&network.links);
        handlers.extend(programs);
        let legacy_tables = host::legacy_tables(Path::new("/proc/thread-self/net"));
        let hierarchy = bpf::hierarchy();
        let mut host = host::read(Path::new("/"));
        let managers = host::enabled_managers(Path::new("/"));
        let tracked = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
        let tracked = tracked.ok().and_then(|text| text.trim().parse().ok());
        let installed = installed::read(&options.root, &mut warnings);
        let attempt = installed::attempt(&options.root);

        let found: sockets::Found = joined(sockets, "sockets", &mut warnings).unwrap_or_default();
        let apart = apart::look(scope, &found.holders.namespaces, found.holders.own_namespace);
        // Behind the sockets, so that no connection is in neither; many of them take long.
        let few = conntrack::few();
        let many = few.is_none().then(|| scope.spawn(conntrack::all));
        let mut engines: Vec<Engine> =
            engines.into_iter().filter_map(|engine| engine.end(&mut warnings)).collect();
        engines::find_bridges(&mut engines, &network.links);

        let mut processes = Processes::default();
        let names: BTreeMap<String, String> = engines
            .iter()
            .flat_map(|engine| &engine.containers)
            .map(|container| (container.id.clone(), container.name.clone()))
            .collect();
        let namespaces = sockets::namespaces(&found.holders, &mut processes, &names);
        let inside = sockets::read_inside(scope, namespaces);
        let listening = found.sockets.iter().filter(|own| own.state == SocketState::Listening);
        let processes_of = listening.flat_map(|own| found.holders.of(own.inode));
        let elsewhere = found.holders.namespaces.iter().map(|(_, process)| *process);
        let asked = processes_of.chain(elsewhere).collect();
        // What each of many processes and groups is asked for, meanwhile.
        let groups = bpf::control_groups(&asked, &mut processes, &names);
        let (mut running, unnamed) = processes.names(found.holders.processes());
        let each = scope.spawn(move || {
            let filtered = hierarchy.map(|mount| bpf::filtered(&mount, groups));
            running.extend(unnamed.into_iter().filter_map(processes::name));
            (filtered.unwrap_or_default(), running)
        });
        let whose = |process: u32| match processes.get(process) {
            None => format!("process {process}"),
            Some(own) => match (&own.placement.container, &own.placement.unit) {
                (Some(id), _) => {
                    format!("container {}", names.get(id).map_or(id.as_str(), String::as_str))
                }
                (None, Some(unit)) => unit.clone(),
                (None, None) => format!("{} ({process})", own.name),
            },
        };
        let apart = apart::handlers(apart, whose);
        let mut owners = sockets::Owners::new(&found.holders, &mut processes, &names);
        let mut all = owners.sockets(&found.sockets, None, &network.links);
        tunnels::own(&network.links, &tunnels, &mut all);
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let ground = ssh::Ground {
            raw: &found.sockets,
            sockets: &all,
            holders: &found.holders,
            links: &network.links,
            routes: &network.routes,
            sysctls: &sysctls,
            users: &host::users(&String::from_utf8_lossy(&passwd)),
            process: options.process,
        };
        let mut ssh = ssh::read(&ground, &mut processes);
        let connections = many.map_or(Ok(few.unwrap_or_default()), |many| {
            many.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let flows = match connections {
            Ok(connections) => flows::read(connections, &network.links, &network.routes, &all),
            Err(error) => {
                let message = format!("the connections that are open could not be read: {error}");
                warnings.push(Warning { subject: "connections".into(), message });
                Vec::new()
            }
        };
        ssh::fill_in_dialled(&mut ssh.sessions, &flows);
        let inside =
            inside.and_then(|inside| joined(inside, "container namespaces", &mut warnings));
        let mut owners = sockets::Owners::new(&found.holders, &mut processes, &names);
        for (container, raw) in inside.unwrap_or_default() {
            all.extend(owners.sockets(&raw, Some(&container), &[]));
        }
        sockets::sort(&mut all);

        let (filtered, running) =
            each.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        handlers.extend(filtered);
        handlers.extend(apart);
        host.managers = host::managers(managers, &running);
        if engines.iter().any(|engine| engine.swarm) {
            host.managers.push("docker-swarm".to_owned());
            host.managers.sort();
        }
        let mut ruleset = joined(ruleset, "nftables", &mut warnings).unwrap_or_default();
        let hooks = hooks::read(&network.links, ruleset.generation).unwrap_or_else(|error| {
            let message = format!(
                "what stands at the hooks of netfilter could not be read: {error}; equal priorities \
                 are tried in both orders"
            );
            warnings.push(Warning { subject: "hooks".into(), message });
            None
        });
        match &hooks {
            Some(points) => hooks::confirm(&mut handlers, points),
            None => match bpf::at_netfilter() {
                Ok(programs) => handlers.extend(programs),
                Err(error) => denied = bpf::denied(error).or(denied),
            },
        }
        if let Some(error) = denied {
            let message = format!(
                "whether BPF programs filter packets beside all rules could not be found out: {error}"
            );
            warnings.push(Warning { subject: "bpf".into(), message });
        }
        for named in &legacy_tables {
            match legacy::read(named) {
                Ok(table) => ruleset.tables.push(table),
                Err(error) => {
                    let message = format!(
                        "the legacy iptables table {named} was not read: {error}; what it does to \
                         packets is not known"
                    );
                    warnings.push(Warning { subject: "iptables-legacy".into(), message });
                }
            }
        }
        let ipsets = if ipset::are_used(&ruleset) { ipset::read() } else { Vec::new() };
        ipset::name(&mut ruleset, &ipsets);
        ruleset.tables.sort_by(|a, b| (a.family, &a.name).cmp(&(b.family, &b.name)));
        host.conntrack = host::conntrack(tracked, &ruleset);
        warnings.sort_by(|a, b| (&a.subject, &a.message).cmp(&(&b.subject, &b.message)));
        Snapshot {
            format: FORMAT.to_owned(),
            taken_at,
            host,
            ruleset,
            legacy_tables,
            ipsets,
            links: network.links,
            routes: network.routes,
            routing_rules,
            handlers,
            hooks,
            sysctls,
            sockets: all,
            flows,
            engines,
            ssh,
            tunnels,
            ipsec,
            installed,
            attempt,
            last_generation: generations(&options.root.join(GENERATIONS))
                .last()
                .copied()
                .unwrap_or(0),
            warnings,
        }
    })
}

/// A protocol, the own end and the other one.
type Ends = (Protocol, SocketAddr, SocketAddr);

/// The connected sockets of the calling thread's network namespace, by protocol and both ends, and
/// the kernel's own name for each.
pub fn connected() -> Result<BTreeMap<Ends, [u8; 8]>, NetlinkError> {
    let (sockets, _) = sockets::everything()?;
    let connected = sockets.into_iter();
    Ok(connected
        .filter_map(|raw| Some(((raw.protocol, raw.local, raw.remote?), raw.cookie)))
        .collect())
}

/// The sockets of this network namespace with their owners, and nothing else of the host.
pub fn sockets() -> (Vec<Socket>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let found = sockets::read(false, &mut warnings);
    // Without them only the names of the interfaces that sockets are bound to are missing.
    let bound = found.sockets.iter().any(|socket| socket.device != 0);
    let links = if bound { links::read().unwrap_or_default().links } else { Vec::new() };
    let mut processes = Processes::default();
    let names = BTreeMap::new();
    let mut owners = sockets::Owners::new(&found.holders, &mut processes, &names);
    let mut all = owners.sockets(&found.sockets, None, &links);
    sockets::sort(&mut all);
    (all, warnings)
}

/// What a reader's thread found, with its warnings added to ours.
fn joined<T>(
    reader: ScopedJoinHandle<'_, (T, Vec<Warning>)>,
    subject: &str,
    warnings: &mut Vec<Warning>,
) -> Option<T> {
    if let Ok((found, own)) = reader.join() {
        warnings.extend(own);
        Some(found)
    } else {
        let message = "the search ended early by a defect in fwctl; what it would have found \
                           is missing here"
            .to_owned();
        warnings.push(Warning { subject: subject.to_owned(), message });
        None
    }
}
