//! The base chains: where packets enter, and in which order they are asked what.

use super::PRIORITY;
use super::dispatch::{Dispatch, Port, default_chain, dialled_chain, dispatch};
use super::draft::{Draft, set, verdict_map};
use super::essential;
use super::sources::World;
use crate::model::nft::{
    BaseChain, Chain, Element, ElementKey, Hook, KeyType, MetaKey, Rule as NftRule, SetFlags,
    Statement, Verdict, build, build::CtState,
};
use crate::model::{IfaceName, IfacePattern, Protocol};
use crate::policy::{Destination, Forwarded, Policy};
use std::collections::{BTreeMap, BTreeSet};

/// The bridges that carry an uplink, and so are no container networks.
const UPLINKS: &str = "uplink_bridges";

/// Adds every chain and set of the table.
pub(super) fn chains(draft: &mut Draft<'_>) {
    let default = default_chain(draft);
    uplinks(draft);
    // Base chains first, so that a reader of the table begins where packets do.
    draft.add_chain(base("input", Hook::Input));
    draft.add_chain(base("forward", Hook::Forward));
    let outside = dispatch(draft, World::Outside, "", default, Some("ping"));
    let containers = dispatch(draft, World::Containers, "containers_", default, Some("ping"));
    let mut dialled = dialled_chain("dialled", &outside, Port::Dialled);
    dialled.rules.splice(0..0, essential::loopback_rules());
    draft.add_chain(dialled);
    draft.add_chain(essential::ping_chain(draft, default));
    input(draft, &outside, &containers);
    forward(draft);
    essential::verdict_chains(draft);
}

fn base(name: &str, hook: Hook) -> Chain {
    let hook = BaseChain {
        kind: "filter".to_owned(),
        hook,
        priority: PRIORITY,
        policy: Verdict::Accept,
        devices: Vec::new(),
    };
    Chain { hook: Some(hook), ..Chain::new(name) }
}

fn uplinks(draft: &mut Draft<'_>) {
    let bridges = &draft.environment.uplink_bridges;
    if bridges.is_empty() {
        return;
    }
    let mut elements: Vec<Element> =
        bridges.iter().map(|name| Element::new(ifname_key(name))).collect();
    elements.sort_by(|a, b| a.key.cmp(&b.key));
    draft.add_set(set(UPLINKS, &[KeyType::Ifname], SetFlags::default(), elements));
}

/// An interface name as the key of a set: 16 bytes, NUL-padded (`IFNAMSIZ`).
pub(super) fn ifname_key(name: &IfaceName) -> ElementKey {
    build::key_ifname(&IfacePattern::Exact(name.clone()))
}

/// Whether a packet comes in by a container engine's interface: by a bridge that carries no
/// uplink. The kernel knows the kind, so bridges made tomorrow count too.
fn from_container(draft: &Draft<'_>) -> Vec<Statement> {
    let mut statements = vec![build::iifkind("bridge")];
    if draft.has_set(UPLINKS) {
        statements.push(build::lookup_not(vec![build::meta(MetaKey::Iifname)], UPLINKS));
    }
    statements
}

/// Whether a packet leaves to a container.
fn to_container(draft: &Draft<'_>) -> Vec<Statement> {
    let mut statements = vec![build::oifkind("bridge")];
    if draft.has_set(UPLINKS) {
        statements.push(build::lookup_not(vec![build::meta(MetaKey::Oifname)], UPLINKS));
    }
    statements
}

fn rule(mut conditions: Vec<Statement>, end: Statement, comment: &str) -> NftRule {
    conditions.push(end);
    NftRule::new(conditions, Some(comment.to_owned()))
}

/// Rules for a protocol as a whole: from containers, and from anywhere else.
fn branch(
    draft: &Draft<'_>,
    outside: &Dispatch,
    containers: &Dispatch,
    protocol: Protocol,
) -> Vec<NftRule> {
    let target =
        |world: &Dispatch| world.of_protocol(protocol).map_or_else(build::accept, build::goto);
    vec![
        rule(from_container(draft), target(containers), "from containers to the host"),
        NftRule::new(vec![target(outside)], None),
    ]
}

fn input(draft: &mut Draft<'_>, outside: &Dispatch, containers: &Dispatch) {
    let mut map: BTreeMap<Protocol, Verdict> = BTreeMap::new();
    // IGMP is to IPv4 what MLD is to IPv6: without it, joined multicast dries up.
    map.insert(Protocol::IGMP, Verdict::Accept);
    for (protocol, kind) in
        [(Protocol::ICMP, essential::Icmp::V4), (Protocol::ICMPV6, essential::Icmp::V6)]
    {
        let mut chain = essential::icmp_chain(kind);
        chain.rules.extend(branch(draft, outside, containers, protocol));
        map.insert(protocol, Verdict::Goto(chain.name.clone()));
        draft.add_chain(chain);
    }
    let mut common = Vec::new();
    for protocol in Protocol::WITH_PORTS {
        if protocol == Protocol::SCTP
            && outside.lookup(protocol, Port::Packet).next().is_none()
            && containers.lookup(protocol, Port::Packet).next().is_none()
        {
            continue;
        }
        let name = format!("input_{protocol}");
        let inner_name = format!("containers_input_{protocol}");
        let mut chain = Chain::new(&name);
        chain.rules.extend(essential::carried_rule(draft, protocol));
        chain.rules.extend(essential::dhcp_rules(protocol));
        chain.rules.push(rule(
            from_container(draft),
            build::goto(&inner_name),
            "from containers to the host",
        ));
        chain.rules.push(rule(
            vec![build::ct_status_dnat()],
            build::goto("dialled"),
            "redirected: judged by the port that was dialled",
        ));
        chain.rules.extend(outside.lookup(protocol, Port::Packet));
        chain.rules.extend(outside.tail_rule());
        draft.add_chain(chain);
        // Nearly all new connections are of one of two protocols: to compare is cheaper than to
        // look up.
        if matches!(protocol, Protocol::TCP | Protocol::UDP) {
            let statements = vec![build::l4proto(protocol), build::goto(&name)];
            common.push(NftRule::new(statements, None));
        } else {
            map.insert(protocol, Verdict::Goto(name));
        }

        let mut inner = Chain::new(&inner_name);
        inner.rules.extend(essential::bridge_service_rules(protocol));
        inner.rules.push(rule(
            vec![build::ct_status_dnat()],
            build::goto("containers_dialled"),
            "redirected: judged by the port that was dialled",
        ));
        inner.rules.extend(containers.lookup(protocol, Port::Packet));
        inner.rules.extend(containers.tail_rule());
        draft.add_chain(inner);
    }
    let mut dialled = dialled_chain("containers_dialled", containers, Port::Dialled);
    dialled.rules.splice(0..0, essential::loopback_rules());
    draft.add_chain(dialled);
    let whole: BTreeSet<Protocol> =
        outside.protocols.iter().chain(&containers.protocols).map(|(own, _)| *own).collect();
    for protocol in whole {
        if map.contains_key(&protocol) {
            continue;
        }
        let name = format!("input_{protocol}");
        let mut chain = Chain::new(&name);
        chain.rules.extend(branch(draft, outside, containers, protocol));
        draft.add_chain(chain);
        map.insert(protocol, Verdict::Goto(name));
    }
    let elements = map
        .into_iter()
        .map(|(protocol, verdict)| Element::verdict(build::key_protocol(protocol), verdict))
        .collect();
    draft.add_set(verdict_map(
        "input_protocols",
        KeyType::InetProto,
        SetFlags::default(),
        elements,
    ));

    let mut rules = vec![
        rule(vec![build::ct_state(&[CtState::Established])], build::accept(), "established"),
        // A number is compared faster than a name, and this one is the same everywhere.
        rule(vec![build::iif_lo()], build::accept(), "loopback"),
    ];
    rules.extend(common);
    rules.push(NftRule::new(
        vec![build::vmap(vec![build::meta_l4proto()], "input_protocols")],
        None,
    ));
    let inner = containers.tail.as_deref().map_or_else(build::accept, build::goto);
    rules.push(rule(from_container(draft), inner, "other protocols from containers"));
    rules.extend(outside.tail_rule());
    fill(draft, "input", rules);
}

fn forward(draft: &mut Draft<'_>) {
    let mut into = Chain::new("to_containers");
    for network in opened_networks(draft.policy) {
        let bridge = draft
            .environment
            .networks
            .get(network)
            .expect("checked: an allow names only networks that the host has")
            .clone();
        let prefix = format!("network_{}_", super::comment::identifier(network));
        let inner =
            dispatch(draft, World::Network(network), &prefix, Some("container_networks"), None);
        let name = format!("{prefix}ports");
        draft.add_chain(dialled_chain(&name, &inner, Port::Packet));
        into.rules.push(rule(
            vec![build::oifname(&IfacePattern::Exact(bridge))],
            build::goto(&name),
            &super::comment::plain(&format!("container:{network}")),
        ));
    }
    into.rules.push(NftRule::new(vec![build::goto("container_networks")], None));
    draft.add_chain(into);

    let related = |protocol| {
        let conditions = vec![build::ct_state(&[CtState::Related]), build::l4proto(protocol)];
        rule(conditions, build::accept(), "errors of established connections")
    };
    let mut rules = vec![
        rule(vec![build::ct_state(&[CtState::Established])], build::accept(), "established"),
        related(Protocol::ICMP),
        related(Protocol::ICMPV6),
        rule(from_container(draft), build::accept(), "from containers: left to their engine"),
        // Also where it goes to no bridge: a container on a veth of its own, a tunnel, another
        // host. A port is a port, whoever serves it.
        rule(
            vec![build::ct_status_dnat()],
            build::goto("dialled"),
            "published: judged by the port that was dialled",
        ),
        rule(to_container(draft), build::goto("to_containers"), "from outside to containers"),
    ];
    match draft.policy.default.forwarded {
        Forwarded::Keep => {}
        Forwarded::Drop => rules.push(NftRule::new(vec![build::goto("forwarding")], None)),
    }
    fill(draft, "forward", rules);
}

/// The container networks that an allow opens, sorted.
fn opened_networks(policy: &Policy) -> BTreeSet<&str> {
    policy
        .allow
        .iter()
        .flat_map(|rule| &rule.to)
        .filter_map(|destination| match destination {
            Destination::ContainerNetwork(name) => Some(name.as_str()),
            Destination::Address(_) => None,
        })
        .collect()
}

fn fill(draft: &mut Draft<'_>, name: &str, rules: Vec<NftRule>) {
    draft.chain_mut(name).expect("base chains are added first").rules = rules;
}
