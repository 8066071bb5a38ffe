//! What always passes, what ends a packet's way, and what is carried over.

use super::Carried;
use super::draft::{Draft, set};
use crate::model::nft::{
    Chain, CompareOp, KeyType, Limit, LimitUnit, Operand, PayloadBase, Rule as NftRule, SetFlags,
    Statement, Transform, build, build::AddressType,
};
use crate::model::{IpFamily, Prefix, Protocol};
use crate::policy::{Forwarded, Inbound};

/// How long a connection that is carried over may stay silent, in milliseconds: as long as
/// connection tracking itself would remember it (`nf_conntrack_tcp_timeout_established`, 5 days).
const CARRIED_TIMEOUT: u64 = 432_000_000;

/// Which ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Icmp {
    V4,
    V6,
}

/// ICMP types that always pass, lowest and highest, and why.
const ESSENTIAL_V4: &[(u8, u8, &str)] = &[
    (3, 3, "destination unreachable, fragmentation needed (RFC 1191)"),
    (11, 12, "time exceeded, parameter problem (RFC 792)"),
];
const ESSENTIAL_V6: &[(u8, u8, &str)] = &[
    (1, 4, "errors, packet too big (RFC 4890, 4.3.1)"),
    (130, 132, "multicast listener discovery (RFC 2710)"),
    (133, 137, "neighbour discovery (RFC 4861)"),
    (143, 143, "multicast listener discovery v2 (RFC 3810)"),
];

/// The beginning of the chain for ICMP to the host: what always passes.
pub(super) fn icmp_chain(icmp: Icmp) -> Chain {
    let (name, types) = match icmp {
        Icmp::V4 => ("input_icmp", ESSENTIAL_V4),
        Icmp::V6 => ("input_icmpv6", ESSENTIAL_V6),
    };
    let mut chain = Chain::new(name);
    for (first, last, why) in types {
        let mut statements = icmp_type(icmp, *first, *last);
        statements.push(build::accept());
        chain.rules.push(NftRule::new(statements, Some((*why).to_owned())));
    }
    chain
}

fn icmp_type(icmp: Icmp, first: u8, last: u8) -> Vec<Statement> {
    let protocol = match icmp {
        Icmp::V4 => Protocol::ICMP,
        Icmp::V6 => Protocol::ICMPV6,
    };
    let number = if first == last {
        build::icmp_type_is(first)
    } else {
        let (left, from, to) = (build::icmp_type(), [first].into(), [last].into());
        Statement::Range { left, invert: false, from, to }
    };
    vec![build::l4proto(protocol), number]
}

/// The chain for ICMP that no rule decides: `default.ping` is a default, and loses to rules.
pub(super) fn ping_chain(draft: &Draft<'_>, default: Option<&str>) -> Chain {
    let policy = &draft.policy.default;
    let mut chain = Chain::new("ping");
    for (icmp, echo) in [(Icmp::V4, 8), (Icmp::V6, 128)] {
        let mut statements = icmp_type(icmp, echo, echo);
        let comment = if policy.ping {
            statements.extend([build::counter(), build::accept()]);
            "default ping = true"
        } else if policy.inbound == Inbound::Accept {
            // Nothing behind would stop it; otherwise the default does.
            statements.extend([build::counter(), build::drop()]);
            "default ping = false"
        } else {
            continue;
        };
        chain.rules.push(NftRule::new(statements, Some(comment.to_owned())));
    }
    chain.rules.extend(default.map(|default| NftRule::new(vec![build::goto(default)], None)));
    chain
}

/// What is dialled at a loopback address from outside, and translated before the kernel would
/// refuse it.
pub(super) fn loopback_rules() -> Vec<NftRule> {
    [(IpFamily::Ipv4, "127.0.0.0/8"), (IpFamily::Ipv6, "::1")]
        .into_iter()
        .map(|(family, prefix)| {
            let prefix: Prefix = prefix.parse().expect("is a prefix");
            let statements = vec![
                build::nfproto(family),
                build::in_prefix(build::ct_original_daddr(family), prefix),
                build::counter(),
                build::drop(),
            ];
            NftRule::new(statements, Some("loopback is for the host itself".to_owned()))
        })
        .collect()
}

/// Answers to this host's own DHCP and DHCPv6 requests, which come from an address that it did
/// not ask (RFC 2131, 4.1; RFC 8415, 7.2).
pub(super) fn dhcp_rules(protocol: Protocol) -> Vec<NftRule> {
    if protocol != Protocol::UDP {
        return Vec::new();
    }
    let link_local: Prefix = "fe80::/10".parse().expect("is a prefix");
    let ipv4 = vec![
        build::nfproto(IpFamily::Ipv4),
        build::l4proto(Protocol::UDP),
        port_is(build::sport(), 67),
        port_is(build::dport(), 68),
        build::accept(),
    ];
    let ipv6 = vec![
        build::nfproto(IpFamily::Ipv6),
        build::in_prefix(build::saddr(IpFamily::Ipv6), link_local),
        build::l4proto(Protocol::UDP),
        port_is(build::sport(), 547),
        port_is(build::dport(), 546),
        build::accept(),
    ];
    vec![NftRule::new(ipv4, Some("DHCP".to_owned())), NftRule::new(ipv6, Some("DHCPv6".to_owned()))]
}

/// The DNS and DHCP that a container engine or libvirt serves on its own bridges.
pub(super) fn bridge_service_rules(protocol: Protocol) -> Vec<NftRule> {
    let rule = |mut statements: Vec<Statement>, what: &str| {
        statements.push(build::accept());
        NftRule::new(statements, Some(format!("{what} on the engine's own bridge")))
    };
    let port = |port| vec![build::l4proto(protocol), port_is(build::dport(), port)];
    let mut dns = port(53);
    // Only at the bridge's own addresses: another name server of the host is a port like others.
    let local = AddressType::Local.number().to_ne_bytes();
    dns.push(build::compare(build::fib_daddr_type(true), CompareOp::Eq, local));
    match protocol {
        Protocol::TCP => vec![rule(dns, "DNS")],
        Protocol::UDP => {
            vec![rule(dns, "DNS"), rule(port(67), "DHCP"), rule(port(547), "DHCPv6")]
        }
        _ => Vec::new(),
    }
}

/// Connections that were there before anything tracked them. Only packets that begin no TCP
/// connection count: a carried tuple opens nothing anew.
pub(super) fn carried_rule(draft: &mut Draft<'_>, protocol: Protocol) -> Option<NftRule> {
    let carried = &draft.environment.carried;
    if *carried == Carried::None || !matches!(protocol, Protocol::TCP | Protocol::UDP) {
        return None;
    }
    let mut chain = Chain::new(&format!("carried_{protocol}"));
    for family in IpFamily::BOTH {
        let (name, address) = match family {
            IpFamily::Ipv4 => (format!("carried_{protocol}_4"), KeyType::Ipv4Addr),
            IpFamily::Ipv6 => (format!("carried_{protocol}_6"), KeyType::Ipv6Addr),
        };
        let elements = draft.environment.carried.elements(protocol, family == IpFamily::Ipv4);
        let key = [address, KeyType::InetService, address, KeyType::InetService];
        let flags = SetFlags { timeout: true, ..SetFlags::default() };
        let mut own = set(&name, &key, flags, elements);
        own.timeout = Some(CARRIED_TIMEOUT);
        draft.add_set(own);
        let mut statements = vec![build::nfproto(family), build::l4proto(protocol)];
        if protocol == Protocol::TCP {
            statements.push(tcp_goes_on());
        }
        let key = vec![build::saddr(family), build::sport(), build::daddr(family), build::dport()];
        statements.extend([build::lookup(key, &name), build::counter(), build::accept()]);
        let comment = "open before fwctl: goes on".to_owned();
        chain.rules.push(NftRule::new(statements, Some(comment)));
    }
    let jump = vec![build::jump(&chain.name)];
    draft.add_chain(chain);
    Some(NftRule::new(jump, Some("connections from before fwctl".to_owned())))
}

/// `tcp flags & (syn | ack) != syn`: everything but what opens a connection.
fn tcp_goes_on() -> Statement {
    let mask = Transform::Mask { mask: [0x12].into(), xor: [0].into() };
    let flags = build::payload(PayloadBase::Transport, 13, 1);
    build::compare(Operand { transforms: vec![mask], ..flags }, CompareOp::Ne, [0x02])
}

fn port_is(operand: Operand, port: u16) -> Statement {
    build::compare(operand, CompareOp::Eq, port.to_be_bytes())
}

/// The chains in which packets end.
pub(super) fn verdict_chains(draft: &mut Draft<'_>) {
    let inbound = draft.policy.default.inbound;
    let ending = match inbound {
        Inbound::Drop => Some((vec![build::counter(), build::drop()], "default inbound = drop")),
        Inbound::Reject => {
            Some((vec![build::counter(), build::goto("refuse")], "default inbound = reject"))
        }
        Inbound::Accept => None,
    };
    if let Some((ending, comment)) = ending {
        draft.add_chain(verdict_chain(draft, "default", ending, comment));
    }
    let drop = vec![build::counter(), build::drop()];
    let comment = "container networks are closed from outside";
    draft.add_chain(verdict_chain(draft, "container_networks", drop.clone(), comment));
    if draft.policy.default.forwarded == Forwarded::Drop {
        let comment = "default forwarded = drop";
        draft.add_chain(verdict_chain(draft, "forwarding", drop, comment));
    }
    if inbound == Inbound::Reject {
        let mut refuse = Chain::new("refuse");
        let reset = vec![build::l4proto(Protocol::TCP), build::reject_tcp_reset()];
        refuse.rules.push(NftRule::new(reset, None));
        refuse.rules.push(NftRule::new(vec![build::reject_port_unreachable()], None));
        draft.add_chain(refuse);
    }
}

/// Logs a sample, then ends.
fn verdict_chain(draft: &Draft<'_>, name: &str, ending: Vec<Statement>, comment: &str) -> Chain {
    let mut chain = Chain::new(name);
    if let Some(rate) = draft.policy.default.log {
        let limit = Limit {
            rate: u64::from(rate.count),
            unit: LimitUnit::Packets,
            per: rate.per,
            burst: rate.burst,
            over: false,
        };
        let log = vec![Statement::Limit(limit), build::log(&format!("fwctl {name}: "))];
        chain.rules.push(NftRule::new(log, Some("default log".to_owned())));
    }
    chain.rules.push(NftRule::new(ending, Some(comment.to_owned())));
    chain
}
