//! Texts and bytes that others wrote → what the readers of this stage make of them, without a host.
//!
//! In: any bytes. Out: nothing but that it ends: for fuzzers, which hand every reader what a kernel,
//! an engine or a file may never have said.

use super::engines::convert;
use super::{
    EngineKind, bpf, cgroup, conntrack, forwarding, groups, hooks, host, ipsec, ipset, l2tp, links,
    processes, sockets, tunnels,
};
use bollard::models::{ContainerInspectResponse, ContainerSummary, Network, SystemInfo};

/// A text below `/proc`, or `/etc/passwd`, for all who read such texts.
pub fn proc_text(text: &str) -> usize {
    let users = host::users(text).len();
    let placed = cgroup::parse(text);
    let named = placed.session().is_some() || placed.container.is_some();
    let process = processes::from_status(text);
    let tracked = conntrack::from_text(text).map_or(0, |entries| entries.len());
    let joined = groups::from_text(text).len();
    users + joined + usize::from(named) + sockets::from_text(text) + process.name.len() + tracked
}

/// What an engine's API answers: containers, networks, one container, the engine itself.
pub fn engine_answer(text: &str) -> usize {
    let containers: Vec<ContainerSummary> = serde_json::from_str(text).unwrap_or_default();
    let networks: Vec<Network> = serde_json::from_str(text).unwrap_or_default();
    let details: Option<ContainerInspectResponse> = serde_json::from_str(text).ok();
    let info: Option<SystemInfo> = serde_json::from_str(text).ok();
    let of_both = [EngineKind::Docker, EngineKind::Podman]
        .into_iter()
        .map(|kind| networks.iter().filter_map(|network| convert::network(kind, network)).count());
    containers.iter().filter_map(convert::container).count()
        + of_both.sum::<usize>()
        + details.map_or(0, |details| convert::configured_ports(&details).len())
        + usize::from(info.is_some_and(|info| convert::in_swarm(&info)))
        + usize::from(convert::may_be_in_swarm(&networks))
}

/// Messages of rtnetlink, of the kernel's diagnosis of sockets, of IP sets, of IPsec, of L2TP and of
/// hooks, and what bpf(2) tells of a link.
pub fn netlink(bytes: &[u8]) -> usize {
    let programs = usize::from(bpf::program(bytes).is_some());
    let mut learned = forwarding::Forwarding::default();
    learned.take(bytes);
    links::from_messages(bytes)
        + sockets::from_message(bytes)
        + ipset::from_message(bytes)
        + tunnels::from_message(bytes, |_| "tunnel".parse().ok()).len()
        + learned.ends_of(0).len()
        + ipsec::from_message(bytes)
        + usize::from(l2tp::carrier(bytes).is_some() || l2tp::interface(bytes).is_some())
        + programs
        + hooks::decode(bytes).len()
}
