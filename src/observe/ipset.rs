//! IP sets (ipset(8)), which matches of iptables name → what they hold.
//!
//! In: the answers of nfnetlink's subsystem of IP sets. Out: sets of addresses, networks and ports,
//! whole; of another type the name alone. Only asked where a rule uses a set.

use super::netlink::{Channel, text};
use super::snapshot::{IpSet, IpSetElement};
use crate::model::nft::{Ruleset, Statement, XtMatch};
use crate::model::{IpFamily, Prefix, Protocol};
use netlink_packet_core::NetlinkSerializable;
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NFNL_SUBSYS_IPSET` and `IPSET_CMD_LIST`.
const LIST: u16 = 6 << 8 | 7;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADERS: usize = 20;

/// Whether a rule asks for a set.
pub fn are_used(ruleset: &Ruleset) -> bool {
    let rules = ruleset.tables.iter().flat_map(|table| &table.chains);
    let mut statements = rules.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.statements);
    statements.any(|own| matches!(own, Statement::Xt { name, .. } if name == "set"))
}

/// Puts the names of sets in place of their numbers, where what they hold was read.
pub fn name(ruleset: &mut Ruleset, sets: &[IpSet]) {
    let rules = ruleset.tables.iter_mut().flat_map(|table| &mut table.chains);
    for statement in rules.flat_map(|chain| &mut chain.rules).flat_map(|rule| &mut rule.statements)
    {
        let Statement::Xt { name, decoded: Some(XtMatch::Other { options }), .. } = statement
        else {
            continue;
        };
        let [option] = options.as_mut_slice() else { continue };
        if name != "set" {
            continue;
        }
        let (not, rest) = option.strip_prefix("! ").map_or(("", &option[..]), |rest| ("! ", rest));
        let mut words = rest.split(' ');
        if let (Some("number"), Some(number), Some(sides)) =
            (words.next(), words.next(), words.next())
            && let Some(set) = sets.iter().find(|set| Ok(set.index) == number.parse())
            && set.elements.is_some()
        {
            *option = format!("{not}match-set {} {sides}", set.name);
        }
    }
}

#[derive(Debug)]
struct Request;

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        LIST
    }

    fn buffer_len(&self) -> usize {
        12
    }

    fn serialize(&self, buffer: &mut [u8]) {
        // `struct nfgenmsg` of IPv4, and `IPSET_ATTR_PROTOCOL` 7.
        let mut bytes = vec![2, 0, 0, 0];
        bytes.extend(5_u16.to_ne_bytes());
        bytes.extend(1_u16.to_ne_bytes());
        bytes.extend([7, 0, 0, 0]);
        buffer[..12].copy_from_slice(&bytes);
    }
}

/// Reads the sets of this thread's network namespace; none where they cannot be read.
pub fn read() -> Vec<IpSet> {
    let Ok(mut channel) = Channel::open(NETLINK_NETFILTER) else { return Vec::new() };
    let mut sets: Vec<IpSet> = Vec::new();
    let asked = channel.dump(Request, |message| {
        if let Some(body) = message.get(HEADERS..) {
            take(body, &mut sets);
        }
    });
    if asked.is_ok() { sets } else { Vec::new() }
}

/// The sets that one message holds, whatever it is.
pub fn from_message(body: &[u8]) -> usize {
    let mut sets = Vec::new();
    take(body, &mut sets);
    sets.len()
}

/// Attributes: number without flags, value.
fn attributes(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(header) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = rest.get(4..length) else { break };
        found.push((u16::from_ne_bytes([header[2], header[3]]) & 0x3fff, value));
        let Some(next) = rest.get(length.next_multiple_of(4)..) else { break };
        rest = next;
    }
    found
}

fn attribute<'b>(list: &[(u16, &'b [u8])], number: u16) -> Option<&'b [u8]> {
    list.iter().find(|(kind, _)| *kind == number).map(|(_, value)| *value)
}

/// One message: a set's head with some of its elements, or further ones.
fn take(body: &[u8], sets: &mut Vec<IpSet>) {
    let list = attributes(body);
    let Some(name) = attribute(&list, 2).map(text) else { return };
    if !sets.iter().any(|set| set.name == name) {
        let (Some(index), Some(kind)) = (attribute(&list, 11), attribute(&list, 3).map(text))
        else {
            return;
        };
        let Some(index) = index.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else {
            return;
        };
        let family = match attribute(&list, 5).and_then(|value| value.first()) {
            Some(2) => Some(IpFamily::Ipv4),
            Some(10) => Some(IpFamily::Ipv6),
            _ => None,
        };
        let known = matches!(
            kind.as_str(),
            "hash:ip" | "hash:net" | "hash:ip,port" | "hash:net,port" | "bitmap:ip" | "bitmap:port"
        );
        sets.push(IpSet {
            index,
            name: name.clone(),
            kind,
            family,
            elements: known.then(Vec::new),
        });
    }
    let Some(set) = sets.iter_mut().find(|set| set.name == name) else { return };
    for (kind, value) in attribute(&list, 8).map(attributes).unwrap_or_default() {
        if kind == 7
            && let Some(elements) = &mut set.elements
        {
            match element(&attributes(value), set.family) {
                Some(element) => elements.push(element),
                None => set.elements = None,
            }
        }
    }
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let list = attributes(value);
    if let Some(v4) = attribute(&list, 1) {
        return Some(Ipv4Addr::from(*v4.first_chunk::<4>()?).into());
    }
    Some(Ipv6Addr::from(*attribute(&list, 2)?.first_chunk::<16>()?).into())
}

fn element(list: &[(u16, &[u8])], family: Option<IpFamily>) -> Option<IpSetElement> {
    const NOMATCH: u32 = 4;
    let port = |number| {
        let value: Option<&[u8]> = attribute(list, number);
        value.and_then(|value| value.first_chunk()).map(|two| u16::from_be_bytes(*two))
    };
    let first = attribute(list, 1).map(address);
    let addresses = match first {
        None => None,
        Some(first) => {
            let first = first?;
            let widest = if family == Some(IpFamily::Ipv6) { 128 } else { 32 };
            let length = attribute(list, 3).and_then(|own| own.first().copied()).unwrap_or(widest);
            let prefix = Prefix::around(first, length)?;
            match attribute(list, 2) {
                Some(end) => Some((first, address(end)?)),
                None => Some((prefix.first(), prefix.last())),
            }
        }
    };
    let low = port(4);
    let flags =
        attribute(list, 8).and_then(|own| own.first_chunk().map(|b| u32::from_be_bytes(*b)));
    Some(IpSetElement {
        addresses,
        protocol: attribute(list, 7).and_then(|own| own.first().copied()).map(Protocol),
        ports: low.map(|low| (low, port(5).unwrap_or(low))),
        excepts: flags.unwrap_or(0) & NOMATCH != 0,
    })
}
