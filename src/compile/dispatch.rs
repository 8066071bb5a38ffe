//! From a dialled port to the chain of its class: verdict maps, one a protocol.

use super::class;
use super::classes::{Classes, Speaking, divide, protocol_chain, speaking};
use super::draft::{Draft, verdict_map};
use super::sources::{World, terms};
use crate::model::nft::{
    Chain, Element, KeyType, Rule as NftRule, SetFlags, Statement, Verdict, build,
};
use crate::model::{PortRange, PortSpec, Protocol};
use crate::policy::{Inbound, Rule};

/// The maps and chains of one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dispatch {
    /// The protocols that have maps of ports, with their names.
    ports: Vec<(Protocol, Vec<String>)>,
    /// The protocols that have a chain as a whole, with its name.
    pub protocols: Vec<(Protocol, String)>,
    /// Where everything else goes; `None` where it passes.
    pub tail: Option<String>,
}

/// Makes the maps and chains of a world. `prefix` begins all their names, `default` is the chain
/// for what no rule decides (`None`: it passes), `ping` the one for ICMP that no rule decides
/// (`None`: ICMP is a protocol like others).
pub(super) fn dispatch(
    draft: &mut Draft<'_>,
    world: World<'_>,
    prefix: &str,
    default: Option<&str>,
    ping: Option<&str>,
) -> Dispatch {
    let policy = draft.policy;
    let speaks = |rule: &&Rule| !terms(policy, rule, world).is_empty();
    let deny: Vec<&Rule> = policy.deny.iter().filter(speaks).collect();
    let allow: Vec<&Rule> =
        policy.allow.iter().filter(speaks).filter(|rule| world.opened_by(rule)).collect();
    let rules: Vec<&Rule> = deny.iter().chain(&allow).copied().collect();
    let icmp: &[Protocol] = if ping.is_some() { &[Protocol::ICMP, Protocol::ICMPV6] } else { &[] };
    let classes = divide(&rules, prefix, icmp);

    let mut add = |speaking: &Speaking, name: &str, default: Option<&str>| {
        let of = |range: std::ops::Range<usize>| -> Vec<&Rule> {
            speaking.iter().filter(|index| range.contains(index)).map(|i| rules[*i]).collect()
        };
        let (denying, allowing) = (of(0..deny.len()), of(deny.len()..rules.len()));
        let chain = class::chain(draft, name, &denying, &allowing, world, default);
        draft.add_chain(chain);
    };
    for (speaking, name) in &classes.names {
        add(speaking, name, default);
    }
    let tail = if classes.rest.is_empty() {
        default.map(str::to_owned)
    } else {
        let name = format!("{prefix}rest");
        add(&classes.rest, &name, default);
        Some(name)
    };
    let mut protocols: Vec<(Protocol, String)> = Vec::new();
    for (protocol, ping) in icmp.iter().zip(ping.into_iter().cycle()) {
        let speaking = speaking(&rules, PortSpec::Protocol(*protocol));
        if speaking.is_empty() {
            protocols.push((*protocol, ping.to_owned()));
        } else {
            let name = protocol_chain(prefix, *protocol);
            add(&speaking, &name, Some(ping));
            protocols.push((*protocol, name));
        }
    }
    let ports = classes
        .segments
        .keys()
        .map(|protocol| (*protocol, port_maps(draft, &classes, *protocol, prefix)))
        .collect();
    let whole = classes.protocols.iter();
    protocols.extend(whole.map(|(own, speaking)| (*own, classes.names[speaking].clone())));
    Dispatch { ports, protocols, tail }
}

/// The maps of a protocol: one of its single ports, and where it has any, one of its ranges.
///
/// Single ports are hashed: to find one costs a packet less than to find it in a tree of intervals.
fn port_maps(
    draft: &mut Draft<'_>,
    classes: &Classes,
    protocol: Protocol,
    prefix: &str,
) -> Vec<String> {
    let element = |(range, speaking): &(PortRange, Speaking)| {
        let verdict = Verdict::Goto(classes.names[speaking].clone());
        Element::verdict(build::key_port_range(*range), verdict)
    };
    let (single, ranges): (Vec<_>, Vec<_>) =
        classes.segments[&protocol].iter().partition(|(range, _)| range.first() == range.last());
    let mut names = Vec::new();
    for (kind, segments, interval) in [("ports", single, false), ("port_ranges", ranges, true)] {
        if segments.is_empty() {
            continue;
        }
        let name = format!("{prefix}{protocol}_{kind}");
        let elements = segments.into_iter().map(element).collect();
        let flags = SetFlags { interval, ..SetFlags::default() };
        draft.add_set(verdict_map(&name, KeyType::InetService, flags, elements));
        names.push(name);
    }
    names
}

/// Which port of the packet is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// The one in the packet.
    Packet,
    /// The one that the client dialled, before anything translated it.
    Dialled,
}

impl Dispatch {
    /// The rules that look a protocol's port up, where the policy names any of its ports.
    pub fn lookup(&self, protocol: Protocol, port: Port) -> impl Iterator<Item = NftRule> {
        let maps = self.ports.iter().filter(move |(own, _)| *own == protocol);
        maps.flat_map(|(_, maps)| maps).map(move |map| {
            let key = match port {
                Port::Packet => build::dport(),
                Port::Dialled => build::ct_original_proto_dst(),
            };
            let statements = vec![build::l4proto(protocol), build::vmap(vec![key], map)];
            NftRule::new(statements, None)
        })
    }

    /// The rule for what is not looked up, or found nowhere.
    pub fn tail_rule(&self) -> Option<NftRule> {
        self.tail.as_ref().map(|tail| NftRule::new(vec![build::goto(tail)], None))
    }

    /// Rules that look everything up: each protocol's port, the protocols without, the rest.
    pub fn rules(&self, port: Port) -> Vec<NftRule> {
        let mut rules: Vec<NftRule> = Protocol::WITH_PORTS
            .into_iter()
            .flat_map(|protocol| self.lookup(protocol, port))
            .collect();
        for (protocol, chain) in &self.protocols {
            let statements: Vec<Statement> = vec![build::l4proto(*protocol), build::goto(chain)];
            rules.push(NftRule::new(statements, None));
        }
        rules.extend(self.tail_rule());
        rules
    }

    /// The chain of a protocol as a whole, else of the rest.
    pub fn of_protocol(&self, protocol: Protocol) -> Option<&str> {
        let own = self.protocols.iter().find(|(own, _)| *own == protocol);
        own.map(|(_, chain)| chain.as_str()).or(self.tail.as_deref())
    }
}

/// The chain with the rules that look everything up.
pub(super) fn dialled_chain(name: &str, dispatch: &Dispatch, port: Port) -> Chain {
    Chain { rules: dispatch.rules(port), ..Chain::new(name) }
}

/// The name of the chain for what no rule decides; `None` where it passes.
pub(super) fn default_chain(draft: &Draft<'_>) -> Option<&'static str> {
    match draft.policy.default.inbound {
        Inbound::Drop | Inbound::Reject => Some("default"),
        Inbound::Accept => None,
    }
}
