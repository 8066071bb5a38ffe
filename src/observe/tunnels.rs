//! Interfaces that the kernel carries over IP → the protocol, addresses and port of what carries them.
//!
//! What an interface of an unknown kind or encapsulation is carried by is not guessed: it has none
//! here. Numbers are those of linux/rtnetlink.h, linux/if_link.h and linux/if_tunnel.h.

use super::netlink::{self, Channel, HEADER, NetlinkError, u16_at, u32_at};
use super::{Link, LinkKind, Socket, Tunnel, TunnelPeer, forwarding, l2tp};
use crate::model::{IfaceName, IpFamily, Owner, Prefix, Protocol};
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

const RTM_GETLINK: u16 = 18;
/// The length of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
/// How often a dump is taken again when interfaces change under it.
const ATTEMPTS: usize = 5;

/// The kinds that are read here.
const KINDS: [&str; 12] = [
    "ipip",
    "sit",
    "ip6tnl",
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
    "vti",
    "vti6",
    "geneve",
];

/// Whether packets of an interface of this kind are carried over IP, and it is read here by what.
fn is_carried(kind: &LinkKind) -> bool {
    *kind == LinkKind::Vxlan || KINDS.contains(&kind.word())
}

/// The tunnels of these interfaces, and what bridges have learned to be behind them.
pub fn read(links: &[Link]) -> Result<Vec<Tunnel>, NetlinkError> {
    let mut found = l2tp::read()?;
    let carried = links.iter().any(|link| link.up && is_carried(&link.kind));
    if !carried && found.is_empty() {
        return Ok(found);
    }
    let mut channel = Channel::open(NETLINK_ROUTE)?;
    let name = |index: u32| {
        let own = links.iter().find(|link| link.index == index && link.up);
        own.map(|link| link.name.clone())
    };
    if carried {
        found.extend(all(&mut channel, |message| from_message(message, name))?);
    }
    forwarding::read(&mut channel)?.place(&mut found, links);
    Ok(found)
}

/// Names the sockets on which tunnels are reached: the kernel holds them itself, and no process does.
pub fn own(links: &[Link], tunnels: &[Tunnel], sockets: &mut [Socket]) {
    for socket in sockets {
        let held = (socket.protocol, socket.local.port());
        let tunnel = tunnels.iter().find(|own| (own.protocol, own.port) == held);
        if let Some(tunnel) = tunnel
            && socket.protocol == Protocol::UDP
            && socket.owners.is_empty()
        {
            let link = links.iter().find(|link| link.name == tunnel.interface);
            let word = match link.map(|link| link.kind.word()) {
                Some("wireguard") => "WireGuard",
                Some("vxlan") => "VXLAN",
                Some("geneve") => "GENEVE",
                _ => "L2TP",
            };
            let process = Some(format!("{word} {}", tunnel.interface));
            socket.owners = Arc::new([Owner { process, ..Owner::default() }]);
        }
    }
}

/// The xfrm interfaces among these, by the number that policies name them with.
pub fn xfrm_interfaces(links: &[Link]) -> Result<BTreeMap<u32, IfaceName>, NetlinkError> {
    if !links.iter().any(|link| link.kind.word() == "xfrm") {
        return Ok(BTreeMap::new());
    }
    let number = |message: &[u8]| {
        let info = Info::read(message)?;
        let link = links.iter().find(|link| link.index == info.index)?;
        // IFLA_XFRM_IF_ID.
        let number = u32_at(netlink::value(info.data, 2).filter(|_| info.kind == "xfrm")?, 0)?;
        Some((number, link.name.clone()))
    };
    let found: Vec<_> = all(&mut Channel::open(NETLINK_ROUTE)?, number)?;
    Ok(found.into_iter().collect())
}

/// What all messages about interfaces tell.
fn all<T, I: IntoIterator<Item = T>>(
    channel: &mut Channel,
    read: impl Fn(&[u8]) -> I,
) -> Result<Vec<T>, NetlinkError> {
    netlink::whole(ATTEMPTS, || {
        let mut found = Vec::new();
        let each = |message: &[u8]| found.extend(read(message));
        channel.ask(RTM_GETLINK, NLM_F_DUMP, &[0; IFINFOMSG], each)?;
        Ok(found)
    })
}

/// The tunnels that a message about an interface tells of.
pub(super) fn from_message(message: &[u8], name: impl Fn(u32) -> Option<IfaceName>) -> Vec<Tunnel> {
    let Some(info) = Info::read(message) else { return Vec::new() };
    let Some(outer) = Outer::read(&info.kind, info.data) else { return Vec::new() };
    let Some(interface) = name(info.index) else { return Vec::new() };
    let carried = |(protocol, inner): (Protocol, &[IpFamily])| Tunnel {
        interface: interface.clone(),
        protocol,
        local: outer.local,
        port: outer.port,
        peers: vec![TunnelPeer {
            endpoint: outer.remote.map(|end| SocketAddr::new(end, 0)),
            allowed: inner.iter().copied().map(everything).collect(),
        }],
    };
    outer.carriers.iter().map(|own| carried((own.0, own.1.as_slice()))).collect()
}

/// What a message tells of an interface's kind.
struct Info<'a> {
    index: u32,
    /// `IFLA_INFO_KIND`.
    kind: String,
    /// `IFLA_INFO_DATA`.
    data: &'a [u8],
}

impl<'a> Info<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let body = message.get(HEADER..)?;
        // IFLA_LINKINFO.
        let info = netlink::value(body.get(IFINFOMSG..)?, 18)?;
        let kind = netlink::value(info, 1)?;
        let kind = String::from_utf8_lossy(kind.strip_suffix(b"\0").unwrap_or(kind)).into_owned();
        Some(Self { index: u32_at(body, 4)?, kind, data: netlink::value(info, 2)? })
    }
}

fn everything(family: IpFamily) -> Prefix {
    let any: IpAddr = match family {
        IpFamily::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        IpFamily::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    Prefix::around(any, 0).expect("the prefix of all addresses")
}

/// What `IFLA_INFO_DATA` tells of the outer packets.
struct Outer {
    /// Each protocol, and the IP versions that it may carry.
    carriers: Vec<(Protocol, Vec<IpFamily>)>,
    local: Option<IpAddr>,
    remote: Option<IpAddr>,
    port: u16,
}

impl Outer {
    fn read(kind: &str, data: &[u8]) -> Option<Self> {
        const GRE: Protocol = Protocol(47);
        const ESP: Protocol = Protocol(50);
        const IPIP: Protocol = Protocol(4);
        const IPV6: Protocol = Protocol(41);
        let value = |wanted: u16| netlink::value(data, wanted);
        let end = |wanted: u16| value(wanted).and_then(address);
        let both = || IpFamily::BOTH.to_vec();
        // IFLA_*_LOCAL, IFLA_*_REMOTE, IFLA_*_ENCAP_TYPE.
        let (local, remote, wrapped) = match kind {
            "ipip" | "sit" | "ip6tnl" => (2, 3, Some(15)),
            "vti" | "vti6" => (4, 5, None),
            "vxlan" => return Some(Self::vxlan(data)),
            // IFLA_GENEVE_PORT, IFLA_GENEVE_REMOTE, IFLA_GENEVE_REMOTE6.
            "geneve" => {
                return Some(Self {
                    carriers: vec![(Protocol::UDP, both())],
                    local: None,
                    remote: end(2).or(end(7)),
                    port: value(5).and_then(network_u16).unwrap_or(6081),
                });
            }
            _ if KINDS.contains(&kind) => (6, 7, Some(14)),
            _ => return None,
        };
        // Foo-over-UDP and its like: the port on which that listens is told elsewhere.
        if wrapped.and_then(value).and_then(|own| u16_at(own, 0)).is_some_and(|own| own != 0) {
            return None;
        }
        let (v4, v6) = ((IPIP, vec![IpFamily::Ipv4]), (IPV6, vec![IpFamily::Ipv6]));
        // IFLA_IPTUN_PROTO: what is carried, 0 for either.
        let carriers = match (kind, value(9).and_then(<[u8]>::first).copied()) {
            ("ipip", _) | ("sit" | "ip6tnl", Some(4)) => vec![v4],
            ("sit" | "ip6tnl", Some(41)) => vec![v6],
            ("sit" | "ip6tnl", Some(0) | None) => vec![v4, v6],
            ("sit" | "ip6tnl", Some(_)) => return None,
            ("vti" | "vti6", _) => vec![(ESP, both())],
            _ => vec![(GRE, both())],
        };
        Some(Self { carriers, local: end(local), remote: end(remote), port: 0 })
    }

    /// A group is from where nothing comes; the ends behind one are learned.
    fn vxlan(data: &[u8]) -> Self {
        let value = |wanted: u16| netlink::value(data, wanted);
        let end = |wanted: u16| value(wanted).and_then(address);
        Self {
            carriers: vec![(Protocol::UDP, IpFamily::BOTH.to_vec())],
            // IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6; IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6;
            // IFLA_VXLAN_PORT.
            local: end(4).or(end(17)),
            remote: end(2).or(end(16)).filter(|own| !own.is_multicast()),
            port: value(15).and_then(network_u16).unwrap_or(8472),
        }
    }
}

/// The address that is no wildcard.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    netlink::address(bytes).filter(|address| !address.is_unspecified())
}

fn network_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::netlink::attribute;

    const HOST: [u8; 4] = [203, 0, 113, 10];
    const PEER: [u8; 4] = [198, 51, 100, 7];

    /// RTM_NEWLINK about interface 7 of this kind.
    fn message(kind: &str, data: &[(u16, &[u8])]) -> Vec<u8> {
        let data: Vec<u8> = data.iter().flat_map(|(kind, own)| attribute(*kind, own)).collect();
        let info = [attribute(1, format!("{kind}\0").as_bytes()), attribute(2, &data)].concat();
        let mut all = vec![0; HEADER + IFINFOMSG];
        all[HEADER + 4] = 7;
        all.extend(attribute(3, b"t0\0"));
        all.extend(attribute(18, &info));
        all
    }

    fn read(kind: &str, data: &[(u16, &[u8])]) -> Vec<Tunnel> {
        from_message(
            &message(kind, data),
            |index| {
                if index == 7 { "t0".parse().ok() } else { None }
            },
        )
    }

    /// In words: protocol, own address, port, and for each end where it is and what is behind it.
    fn said(tunnels: &[Tunnel]) -> Vec<String> {
        let ends = |tunnel: &Tunnel| -> Vec<String> {
            let end = |peer: &TunnelPeer| {
                let behind: Vec<String> = peer.allowed.iter().map(ToString::to_string).collect();
                let end = peer.endpoint.map_or("?".to_owned(), |own| own.ip().to_string());
                format!("{end} {}", behind.join(" "))
            };
            tunnel.peers.iter().map(end).collect()
        };
        let words = |own: &Tunnel| {
            let local = own.local.map_or("?".to_owned(), |own| own.to_string());
            format!("{} {local} {} < {}", own.protocol, own.port, ends(own).join(", "))
        };
        tunnels.iter().map(words).collect()
    }

    #[test]
    fn ip_in_ip_is_told_by_what_it_carries() {
        let ends: [(u16, &[u8]); 2] = [(2, &HOST), (3, &PEER)];
        let v4 = "ipip 203.0.113.10 0 < 198.51.100.7 0.0.0.0/0";
        let v6 = "ipv6 203.0.113.10 0 < 198.51.100.7 ::/0";
        assert_eq!(said(&read("ipip", &ends)), [v4]);
        let with = |carried: u8| said(&read("sit", &[ends[0], ends[1], (9, &[carried])]));
        assert_eq!(with(41), [v6]);
        assert_eq!(with(4), [v4]);
        assert_eq!(with(0), [v4, v6]);
        assert!(with(137).is_empty(), "MPLS");
        let (own, end) = ([0xfd; 16], [0xfe; 16]);
        let six: [(u16, &[u8]); 3] = [(2, &own), (3, &end), (9, &[41])];
        let six = said(&read("ip6tnl", &six));
        assert!(six[0].starts_with("ipv6 fdfd:") && six[0].contains("< fefe:"), "{six:?}");
    }

    #[test]
    fn gre_and_vti_have_attributes_of_their_own() {
        let gre: [(u16, &[u8]); 4] = [(4, &[0, 0, 0, 9]), (6, &HOST), (7, &PEER), (14, &[0, 0])];
        let expected = ["gre 203.0.113.10 0 < 198.51.100.7 0.0.0.0/0 ::/0"];
        for kind in ["gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"] {
            assert_eq!(said(&read(kind, &gre)), expected, "{kind}");
        }
        let vti: [(u16, &[u8]); 2] = [(4, &HOST), (5, &PEER)];
        let expected = ["esp 203.0.113.10 0 < 198.51.100.7 0.0.0.0/0 ::/0"];
        assert_eq!(said(&read("vti", &vti)), expected);
    }

    #[test]
    fn a_wildcard_is_no_address_and_a_group_no_end() {
        let any: [(u16, &[u8]); 2] = [(6, &[0; 4]), (7, &[0; 4])];
        assert_eq!(said(&read("gre", &any)), ["gre ? 0 < ? 0.0.0.0/0 ::/0"]);
        let port = 4789_u16.to_be_bytes();
        let group: [(u16, &[u8]); 2] = [(2, &[239, 1, 1, 1]), (15, &port)];
        assert_eq!(said(&read("vxlan", &group)), ["udp ? 4789 < ? 0.0.0.0/0 ::/0"]);
    }

    #[test]
    fn those_over_udp_have_a_port() {
        let port = 4790_u16.to_be_bytes();
        let vxlan: [(u16, &[u8]); 3] = [(4, &HOST), (2, &PEER), (15, &port)];
        let expected = ["udp 203.0.113.10 4790 < 198.51.100.7 0.0.0.0/0 ::/0"];
        assert_eq!(said(&read("vxlan", &vxlan)), expected);
        let end = [0xfe; 16];
        let geneve: [(u16, &[u8]); 2] = [(7, &end), (5, &port)];
        let geneve = said(&read("geneve", &geneve));
        assert!(geneve[0].starts_with("udp ? 4790 < fefe:"), "{geneve:?}");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let ends: [(u16, &[u8]); 3] = [(2, &HOST), (3, &PEER), (15, &[1, 0])];
        assert!(read("ipip", &ends).is_empty(), "foo over UDP");
        assert!(read("gtp", &ends[..2]).is_empty());
        let elsewhere = message("gre", &[(6, &HOST), (7, &PEER)]);
        assert!(from_message(&elsewhere, |_| None).is_empty(), "it is down, or not ours");
    }

    #[test]
    fn a_socket_that_no_process_holds_is_named_by_its_tunnel() {
        let link = Link::new(7, "t0".parse().expect("a name"), LinkKind::Vxlan);
        let tunnels = read("vxlan", &[(15, &4789_u16.to_be_bytes())]);
        let socket = |protocol, local: &str| Socket {
            protocol,
            local: local.parse().expect("an address"),
            remote: None,
            state: crate::observe::SocketState::Listening,
            v6only: false,
            device: None,
            uid: 0,
            owners: Arc::default(),
            namespace: None,
        };
        let mut sockets = [
            socket(Protocol::UDP, "0.0.0.0:4789"),
            socket(Protocol::UDP, "0.0.0.0:4790"),
            socket(Protocol::TCP, "0.0.0.0:4789"),
        ];
        own(&[link], &tunnels, &mut sockets);
        let names: Vec<_> = sockets.iter().map(|own| own.owners.first()).collect();
        let vxlan = Owner { process: Some("VXLAN t0".to_owned()), ..Owner::default() };
        assert_eq!(names, [Some(&vxlan), None, None]);
    }
}
