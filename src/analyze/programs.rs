//! What a packet meets beside all rules and where, by name: BPF programs, tables of legacy ebtables,
//! switches.

use super::state::Env;
use crate::model::nft::Hook;
use crate::model::{IfaceName, IpFamily, Protocol};
use crate::observe::{Handler, Link, LinkKind, Snapshot, Socket, SocketState};
use std::net::IpAddr;

/// A filter at an interface, by the kernel's name of its kind.
pub fn filter_of(kind: &str) -> String {
    match kind {
        "tcx" | "netkit" => format!("a BPF program ({kind})"),
        kind => format!("a {kind} filter of tc"),
    }
}

/// Filters of traffic control and programs at an interface, by name.
pub fn at_interface(snapshot: &Snapshot, interface: &IfaceName, outgoing: bool) -> Vec<String> {
    let own = snapshot.handlers.iter().filter_map(|handler| match handler {
        Handler::TrafficFilter { interface: on, leaving, kind }
            if on == interface && *leaving == outgoing =>
        {
            let way = if *leaving { "leaves" } else { "enters" };
            Some(format!("{} on what {way} {on}", filter_of(kind)))
        }
        _ => None,
    });
    own.collect()
}

/// A program at a hook of netfilter.
pub fn program_at(hook: Hook, family: IpFamily, priority: i32) -> String {
    let version = if family == IpFamily::Ipv4 { "IPv4" } else { "IPv6" };
    format!(
        "a BPF program at the {} hook for {version}, priority {priority}, of this network namespace \
         or another one",
        hook.as_str()
    )
}

/// Programs of a control group.
pub fn of_group(path: &str, unit: Option<&str>) -> String {
    match unit {
        Some(unit) => format!("BPF programs of {unit}, such as IPAddressDeny= makes"),
        None => format!("BPF programs of the control group {path}"),
    }
}

/// The programs that packets meet at a hook of netfilter.
pub fn at_hook(snapshot: &Snapshot, hook: Hook, family: IpFamily) -> Vec<String> {
    let own = snapshot.handlers.iter().filter_map(|handler| match handler {
        Handler::Program { family: of, hook: at, priority } if *of == family && *at == hook => {
            Some(program_at(hook, family, *priority))
        }
        _ => None,
    });
    own.collect()
}

/// The programs that a packet meets behind the input hook: before its socket is chosen, and at the
/// control group of the socket that it is for.
pub fn before_sockets(snapshot: &Snapshot, protocol: Protocol, env: &Env) -> Vec<String> {
    let chosen = matches!(protocol, Protocol::TCP | Protocol::UDP);
    let serves = |socket: &Socket| {
        socket.namespace.is_none()
            && socket.state == SocketState::Listening
            && socket.protocol == protocol
            && env.port.is_none_or(|port| port == socket.local.port())
            && listens_at(socket, env.destination)
    };
    let own = snapshot.handlers.iter().filter_map(|handler| match handler {
        Handler::SocketLookup if chosen => Some("BPF programs that choose sockets".to_owned()),
        Handler::ControlGroup { path, unit, container } => {
            let held = |socket: &Socket| {
                socket.owners.iter().any(|owner| match container {
                    Some(_) => owner.container == *container,
                    None => owner.container.is_none() && owner.unit == *unit,
                })
            };
            let some = unit.is_some() || container.is_some();
            let held = some && snapshot.sockets.iter().any(|own| serves(own) && held(own));
            held.then(|| of_group(path, unit.as_deref()))
        }
        _ => None,
    });
    own.collect()
}

/// The programs of the containers to which a packet is sent on.
pub fn in_containers(snapshot: &Snapshot, env: &Env) -> Vec<String> {
    let of = |name: &str| {
        let containers = snapshot.engines.iter().flat_map(|engine| &engine.containers);
        containers
            .filter(|own| own.name == name)
            .any(|own| own.addresses.values().flatten().any(|address| *address == env.destination))
    };
    let own = snapshot.handlers.iter().filter_map(|handler| match handler {
        Handler::ControlGroup { container: Some(container), .. } if of(container) => {
            Some(format!("BPF programs of the control group of container {container}"))
        }
        _ => None,
    });
    own.collect()
}

/// Tables of legacy ebtables, which see what comes by the ports of a bridge.
pub fn bridge_tables(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    snapshot.handlers.iter().filter_map(|handler| match handler {
        Handler::BridgeTable { table } => Some(format!("the table {table} of legacy ebtables")),
        _ => None,
    })
}

/// Open vSwitch, where the interface is a port of it: a link of the host's, or one that it made.
pub fn switched(snapshot: &Snapshot, interface: &IfaceName) -> Option<String> {
    let link = |name: &IfaceName| snapshot.links.iter().find(|link| link.name == *name);
    let own = link(interface)?;
    let master = own.master.as_ref().and_then(link);
    let is_switch =
        |link: &Link| matches!(&link.kind, LinkKind::Other(word) if word == "openvswitch");
    let switched = is_switch(own) || master.is_some_and(is_switch);
    switched.then(|| format!("Open vSwitch, of which {interface} is a port"))
}

fn listens_at(socket: &Socket, address: IpAddr) -> bool {
    let own = socket.local.ip();
    match (own, address) {
        _ if own == address => true,
        (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified(),
        (IpAddr::V6(own), IpAddr::V6(_)) => own.is_unspecified(),
        (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified() && !socket.v6only,
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}
