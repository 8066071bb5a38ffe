//! The kernel's IPsec (xfrm) → which packets must have come by it, and by what they are carried.
//!
//! Keys are not looked at: the kernel sends them along with security associations, they are passed
//! over where they stand, and the buffer that they came in is wiped. Numbers and layouts are those of
//! linux/xfrm.h.

use super::netlink::{self, Channel, HEADER, NetlinkError, u16_at, u32_at};
use super::{Ipsec, IpsecAssociation, IpsecCarried, IpsecPolicy, Link, tunnels};
use crate::model::{IfaceName, Prefix, Protocol};
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_XFRM;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `XFRM_MSG_GETSA`, `XFRM_MSG_GETPOLICY`.
const GET_ASSOCIATIONS: u16 = 0x12;
const GET_POLICIES: u16 = 0x15;
/// The lengths of `struct xfrm_userpolicy_info`, `struct xfrm_usersa_info`, `struct xfrm_user_tmpl`.
const POLICY: usize = 168;
const ASSOCIATION: usize = 224;
const TEMPLATE: usize = 64;
/// `XFRMA_ENCAP`, `XFRMA_TMPL`, `XFRMA_MARK`, `XFRMA_IF_ID`.
const ENCAPSULATION: u16 = 4;
const TEMPLATES: u16 = 5;
const MARK: u16 = 21;
const INTERFACE: u16 = 31;

const IPCOMP: Protocol = Protocol(108);

/// Reads what there is; a kernel without IPsec has none.
pub fn read(links: &[Link]) -> Result<Ipsec, NetlinkError> {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap_or_default();
    if !is_there(&sockets) {
        return Ok(Ipsec::default());
    }
    let mut channel = Channel::open(NETLINK_XFRM)?;
    let interfaces = tunnels::xfrm_interfaces(links)?;
    let mut found = Vec::new();
    channel.ask(GET_POLICIES, NLM_F_DUMP, &[], |message| {
        found.extend(policy(message, &interfaces));
    })?;
    if found.is_empty() {
        return Ok(Ipsec::default());
    }
    let own = |address: IpAddr| {
        let mut all = links.iter().flat_map(|link| &link.addresses);
        all.any(|own| own.address == address)
    };
    let mut associations: Vec<IpsecAssociation> = Vec::new();
    let asked = channel.ask(GET_ASSOCIATIONS, NLM_F_DUMP, &[], |message| {
        associations.extend(association(message).filter(|found| own(found.destination)));
    });
    channel.wipe();
    asked?;
    associations.sort();
    associations.dedup();
    Ok(Ipsec { policies: in_order(found), associations })
}

/// Whether the kernel speaks NETLINK_XFRM, as its own socket of that protocol shows: to open one
/// would load the module.
fn is_there(netlink_sockets: &str) -> bool {
    let protocol = NETLINK_XFRM.to_string();
    netlink_sockets.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some(&protocol))
}

/// The order in which the kernel asks: by priority, and of one priority the older first. It tells
/// the newer first.
fn in_order(found: Vec<(u32, IpsecPolicy)>) -> Vec<IpsecPolicy> {
    let mut found: Vec<_> = found.into_iter().enumerate().collect();
    found.sort_by_key(|(place, (priority, _))| (*priority, Reverse(*place)));
    found.into_iter().map(|(_, (_, policy))| policy).collect()
}

/// How many policies and associations stand in these messages.
pub(super) fn from_message(bytes: &[u8]) -> usize {
    let policies = usize::from(policy(bytes, &BTreeMap::new()).is_some());
    policies + usize::from(association(bytes).is_some())
}

/// A policy for what comes in, and its priority; `None` where it lets nothing through, or may not
/// be for all packets that fwctl would take it to be for.
fn policy(message: &[u8], interfaces: &BTreeMap<u32, IfaceName>) -> Option<(u32, IpsecPolicy)> {
    const INBOUND: u8 = 0;
    const ALLOWS: u8 = 0;
    let body = message.get(HEADER..)?;
    let inside = body.get(POLICY..)?;
    if (*body.get(160)?, *body.get(161)?) != (INBOUND, ALLOWS) {
        return None;
    }
    // `struct xfrm_selector`.
    let family = u16_at(body, 40)?;
    let prefix = |at, length: usize| Prefix::around(address(body, at, family)?, *body.get(length)?);
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let (port_mask, source_mask) = (port(34)?, port(38)?);
    let single = |value: u16, mask: u16| (mask == u16::MAX).then_some(value);
    let value = |wanted: u16| netlink::value(inside, wanted);
    let number = value(INTERFACE).and_then(|own| u32_at(own, 0)).filter(|own| *own != 0);
    let interface = match number {
        Some(number) => Some(interfaces.get(&number)?.clone()),
        None => None,
    };
    let templates: Vec<&[u8]> =
        value(TEMPLATES).unwrap_or_default().chunks_exact(TEMPLATE).collect();
    let carried = match carried(&templates) {
        Some(carried) => Some(carried),
        // Whether it came by IPsec is left to the sender.
        None if !templates.is_empty() => return None,
        None => {
            let narrower = [port_mask, source_mask].iter().any(|own| !matches!(own, 0 | 0xffff));
            if narrower || u32_at(body, 48)? != 0 {
                return None;
            }
            None
        }
    };
    let policy = IpsecPolicy {
        source: prefix(16, 43)?,
        destination: prefix(0, 42)?,
        protocol: Some(Protocol(*body.get(44)?)).filter(|own| own.0 != 0),
        source_port: single(port(36)?, source_mask),
        port: single(port(32)?, port_mask),
        marked: value(MARK).and_then(|own| u32_at(own, 4)).is_some_and(|mask| mask != 0),
        interface,
        carried,
    };
    Some((u32_at(body, 152)?, policy))
}

/// What the packets of a policy are carried by: the last of its templates is the outermost.
/// `None` where none is required.
fn carried(templates: &[&[u8]]) -> Option<IpsecCarried> {
    const TUNNEL: u8 = 1;
    const BEET: u8 = 4;
    let protocol = |template: &&[u8]| template.get(20).copied().map(Protocol);
    let is_optional = |template: &&[u8]| template.get(50).is_none_or(|own| *own != 0);
    if templates.iter().all(is_optional) {
        return None;
    }
    let outermost = protocol(templates.last()?)?;
    let outer = templates.iter().rev().find_map(|template| {
        let family = u16_at(template, 24)?;
        let ends = || Some((address(template, 28, family)?, address(template, 0, family)?));
        let (source, own) = matches!(template.get(48), Some(&(TUNNEL | BEET))).then(ends)??;
        (!source.is_unspecified() && !own.is_unspecified()).then_some((source, own))
    });
    // What IPComp would not make smaller comes as IP in IP, once it is out of ESP (RFC 3173).
    let compressed = templates.iter().any(|template| protocol(template) == Some(IPCOMP));
    let uncompressed = outer
        .filter(|_| compressed && outermost != IPCOMP)
        .map(|(source, _)| Protocol(if source.is_ipv4() { 4 } else { 41 }));
    Some(IpsecCarried { protocol: outermost, uncompressed, outer })
}

fn association(message: &[u8]) -> Option<IpsecAssociation> {
    let body = message.get(HEADER..)?;
    let inside = body.get(ASSOCIATION..)?;
    let family = u16_at(body, 212)?;
    // The only attribute that is looked into.
    let around = netlink::value(inside, ENCAPSULATION);
    Some(IpsecAssociation {
        source: address(body, 80, family)?,
        destination: address(body, 56, family)?,
        protocol: Protocol(*body.get(76)?),
        encapsulated: around.and_then(encapsulation),
    })
}

/// `struct xfrm_encap_tmpl`: TCP where its type is `TCP_ENCAP_ESPINTCP`, else UDP.
fn encapsulation(bytes: &[u8]) -> Option<(Protocol, u16, u16)> {
    let port = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let protocol = if u16_at(bytes, 0)? == 7 { Protocol::TCP } else { Protocol::UDP };
    Some((protocol, port(2)?, port(4)?))
}

/// `xfrm_address_t`.
fn address(bytes: &[u8], at: usize, family: u16) -> Option<IpAddr> {
    match family {
        2 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?).into()),
        10 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::netlink::attribute;

    const PEER: [u8; 4] = [198, 51, 100, 7];
    const HOST: [u8; 4] = [203, 0, 113, 10];

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn template(protocol: u8, mode: u8, optional: u8, ends: Option<([u8; 4], [u8; 4])>) -> Vec<u8> {
        let mut bytes = vec![0; TEMPLATE];
        put(&mut bytes, 24, &2_u16.to_ne_bytes());
        if let Some((source, destination)) = ends {
            put(&mut bytes, 0, &destination);
            put(&mut bytes, 28, &source);
        }
        (bytes[20], bytes[48], bytes[50]) = (protocol, mode, optional);
        bytes
    }

    fn policy_message(priority: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; POLICY];
        put(&mut body, 0, &[10, 1, 0, 0]);
        put(&mut body, 16, &[10, 2, 0, 0]);
        put(&mut body, 40, &2_u16.to_ne_bytes());
        (body[42], body[43]) = (16, 24);
        put(&mut body, 152, &priority.to_ne_bytes());
        let inside = attributes.iter().flat_map(|(kind, value)| attribute(*kind, value));
        [vec![0; HEADER], body, inside.collect()].concat()
    }

    fn read(message: &[u8]) -> Option<IpsecPolicy> {
        let interfaces = BTreeMap::from([(7, "ipsec0".parse().expect("a name"))]);
        policy(message, &interfaces).map(|(_, policy)| policy)
    }

    #[test]
    fn a_tunnel_is_carried_between_its_ends() {
        let tunnel = template(50, 1, 0, Some((PEER, HOST)));
        let found = read(&policy_message(1, &[(TEMPLATES, &tunnel)])).expect("a policy");
        assert_eq!(found.source.to_string(), "10.2.0.0/24");
        assert_eq!(found.destination.to_string(), "10.1.0.0/16");
        let carried = found.carried.expect("carried");
        assert_eq!((carried.protocol, carried.uncompressed), (Protocol(50), None));
        assert_eq!(carried.outer, Some((PEER.into(), HOST.into())));
    }

    #[test]
    fn a_transport_has_the_ends_of_its_packets() {
        let transport = template(50, 0, 0, None);
        let mut message = policy_message(1, &[(TEMPLATES, &transport)]);
        // UDP to port 1701, from any port.
        put(&mut message, HEADER + 32, &[0x06, 0xa5, 0xff, 0xff]);
        message[HEADER + 44] = 17;
        let found = read(&message).expect("a policy");
        assert_eq!((found.protocol, found.port), (Some(Protocol::UDP), Some(1701)));
        assert_eq!(found.source_port, None);
        assert_eq!(found.carried.expect("carried").outer, None);
    }

    #[test]
    fn behind_ipcomp_plain_ip_in_ip_comes_too() {
        let bundle = [template(108, 1, 1, Some((PEER, HOST))), template(50, 0, 0, None)].concat();
        let found = read(&policy_message(1, &[(TEMPLATES, &bundle)])).expect("a policy");
        let carried = found.carried.expect("carried");
        assert_eq!((carried.protocol, carried.uncompressed), (Protocol(50), Some(Protocol(4))));
        assert_eq!(carried.outer, Some((PEER.into(), HOST.into())));
    }

    #[test]
    fn what_is_for_others_or_for_some_only_is_passed_over() {
        let clear = policy_message(1, &[]);
        assert_eq!(read(&clear).expect("a policy").carried, None);
        let changed = |at: usize, value: &[u8]| {
            let mut message = clear.clone();
            put(&mut message, HEADER + at, value);
            read(&message)
        };
        assert_eq!(changed(160, &[1]), None, "outbound");
        assert_eq!(changed(161, &[1]), None, "blocks");
        assert_eq!(changed(48, &3_u32.to_ne_bytes()), None, "in the clear by one interface alone");
        assert_eq!(changed(34, &[0xf0, 0]), None, "in the clear for some ports alone");
        let optional = template(50, 1, 1, Some((PEER, HOST)));
        assert_eq!(read(&policy_message(1, &[(TEMPLATES, &optional)])), None, "may come by it");
    }

    #[test]
    fn marks_and_interfaces_are_told() {
        let tunnel = template(51, 1, 0, Some((PEER, HOST)));
        let number = |own: u32| own.to_ne_bytes();
        let mark = [number(5), number(u32::MAX)].concat();
        let found = read(&policy_message(1, &[(TEMPLATES, &tunnel), (MARK, &mark)]));
        assert!(found.expect("a policy").marked);
        let of =
            |own: u32| read(&policy_message(1, &[(TEMPLATES, &tunnel), (INTERFACE, &number(own))]));
        let found = of(7).expect("a policy");
        assert_eq!(found.interface.expect("an interface").as_str(), "ipsec0");
        assert!(!of(0).expect("a policy").marked);
        assert_eq!(of(8), None, "an interface that is not here");
    }

    #[test]
    fn the_kernels_order_is_kept() {
        let of = |priority: u32, length: u8| {
            let mut message = policy_message(priority, &[]);
            message[HEADER + 43] = length;
            policy(&message, &BTreeMap::new()).expect("a policy")
        };
        let order = in_order(vec![of(9, 1), of(5, 2), of(5, 3), of(7, 4)]);
        let lengths: Vec<u8> = order.iter().map(|own| own.source.length()).collect();
        assert_eq!(lengths, [3, 2, 4, 1]);
    }

    fn association_message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; ASSOCIATION];
        put(&mut body, 56, &HOST);
        put(&mut body, 80, &PEER);
        body[76] = 50;
        put(&mut body, 212, &2_u16.to_ne_bytes());
        let inside = attributes.iter().flat_map(|(kind, value)| attribute(*kind, value));
        [vec![0; HEADER], body, inside.collect()].concat()
    }

    #[test]
    fn no_byte_of_a_key_is_in_what_is_read() {
        // ESP in UDP from port 40123 to 4500.
        let around = [&2_u16.to_ne_bytes()[..], &[0x9c, 0xbb, 0x11, 0x94], &[0; 18]].concat();
        let plain = association(&association_message(&[(ENCAPSULATION, &around)]));
        let expected = IpsecAssociation {
            source: PEER.into(),
            destination: HOST.into(),
            protocol: Protocol(50),
            encapsulated: Some((Protocol::UDP, 40123, 4500)),
        };
        assert_eq!(plain.as_ref(), Some(&expected));
        // XFRMA_ALG_AUTH, _CRYPT, _COMP, _AEAD, _AUTH_TRUNC: a name of 64 bytes, and a key.
        for kind in [1, 2, 3, 18, 20] {
            for key in [[0xa5; 32], [b'k'; 32]] {
                let algorithm = [&b"rfc4106(gcm(aes))"[..], &[0; 55], &key].concat();
                let with = [(kind, &algorithm[..]), (ENCAPSULATION, &around[..])];
                assert_eq!(association(&association_message(&with)), plain);
                let behind = [(ENCAPSULATION, &around[..]), (kind, &algorithm[..])];
                assert_eq!(association(&association_message(&behind)), plain);
            }
        }
    }

    #[test]
    fn a_kernel_without_it_is_seen_by_its_sockets() {
        let head = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks\n";
        let line =
            |protocol: &str| format!("{head}00000000ad7cd77c {protocol:<3} 0 00000000 0 0\n");
        assert!(is_there(&line("6")));
        assert!(!is_there(&line("16")) && !is_there(head) && !is_there(""));
    }
}
