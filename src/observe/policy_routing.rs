//! The kernel's rules of policy routing (`ip rule`) → [`RoutingRule`].
//!
//! What a rule asks that fwctl does not evaluate (user ids, ports, type of service) is kept by name.

use super::netlink::Channel;
use super::snapshot::{RoutingAction, RoutingRule};
use crate::model::{IfaceName, IpFamily, Prefix};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

/// Reads the rules of both IP versions, in the order in which the kernel asks them; `None` where
/// they could not be read whole.
pub fn read() -> Option<Vec<RoutingRule>> {
    let mut channel = Channel::open(NETLINK_ROUTE).ok()?;
    let mut rules = Vec::new();
    let mut whole = true;
    let request = RouteNetlinkMessage::GetRule(RuleMessage::default());
    let asked = channel.dump(request, |bytes| {
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|m| m.payload) {
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRule(message))) => {
                let family = match message.header.family {
                    AddressFamily::Inet => IpFamily::Ipv4,
                    AddressFamily::Inet6 => IpFamily::Ipv6,
                    _ => return,
                };
                match rule(&message, family) {
                    Some(rule) => rules.push(rule),
                    None => whole = false,
                }
            }
            Ok(_) => {}
            Err(_) => whole = false,
        }
    });
    if asked.is_err() || !whole {
        return None;
    }
    // Stable: rules of one priority stay in the kernel's order.
    rules.sort_by_key(|rule| (rule.family == IpFamily::Ipv6, rule.priority));
    Some(rules)
}

fn rule(message: &RuleMessage, family: IpFamily) -> Option<RoutingRule> {
    let header = &message.header;
    let mut rule = RoutingRule {
        family,
        priority: 0,
        invert: header.flags.contains(RuleFlags::Invert),
        from: None,
        to: None,
        input: None,
        output: None,
        mark: None,
        suppress_length: None,
        others: Vec::new(),
        action: RoutingAction::Nothing,
    };
    let mut table = u32::from(header.table);
    let mut goto = 0;
    let (mut mark, mut bits) = (None, u32::MAX);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Destination(to) => rule.to = Some(Prefix::around(*to, header.dst_len)?),
            RuleAttribute::Source(from) => rule.from = Some(Prefix::around(*from, header.src_len)?),
            RuleAttribute::Iifname(name) => rule.input = Some(name.parse::<IfaceName>().ok()?),
            RuleAttribute::Oifname(name) => rule.output = Some(name.parse::<IfaceName>().ok()?),
            RuleAttribute::Goto(priority) => goto = *priority,
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::FwMark(own) => mark = Some(*own),
            RuleAttribute::FwMask(own) => bits = *own,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => {
                rule.suppress_length = Some(*length);
            }
            RuleAttribute::SuppressIfGroup(group) if *group != u32::MAX => {
                rule.others.push(format!("suppress_ifgroup {group}"));
            }
            RuleAttribute::L3MDev(true) => rule.others.push("l3mdev".to_owned()),
            RuleAttribute::UidRange(_) => rule.others.push("uidrange".to_owned()),
            RuleAttribute::IpProtocol(_) => rule.others.push("ipproto".to_owned()),
            RuleAttribute::SourcePortRange(_) => rule.others.push("sport".to_owned()),
            RuleAttribute::DestinationPortRange(_) => rule.others.push("dport".to_owned()),
            RuleAttribute::TunId(id) if *id != 0 => rule.others.push("tun_id".to_owned()),
            _ => {}
        }
    }
    if header.tos != 0 {
        rule.others.push("tos".to_owned());
    }
    rule.mark = mark.map(|mark| (mark, bits));
    rule.action = match header.action {
        RuleAction::ToTable => RoutingAction::Table(table),
        RuleAction::Goto => RoutingAction::Goto(goto),
        RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
            RoutingAction::Forbid
        }
        RuleAction::Unspec | RuleAction::Nop => RoutingAction::Nothing,
        _ => return None,
    };
    Some(rule)
}
