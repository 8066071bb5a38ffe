//! The kernel's route netlink → interfaces, their addresses and settings, and the routes of all
//! tables.
//!
//! A message that cannot be read costs that object alone; how many there were is told.

use super::netlink::{self, Channel, NetlinkError};
use super::{Address, Link, LinkKind, Route, Sysctls, sysctls};
use crate::model::{IfaceName, Prefix};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    InfoData, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    XdpAttached,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How often a dump is taken again when the tables change under it.
const ATTEMPTS: usize = 5;

/// What the route netlink knows.
#[derive(Debug, Default)]
pub struct Network {
    /// Interfaces, by index.
    pub links: Vec<Link>,
    /// Routes.
    pub routes: Vec<Route>,
    /// The settings of the interfaces.
    pub settings: Sysctls,
    /// How many messages could not be read.
    pub unreadable: usize,
}

/// Reads interfaces, addresses and routes of this thread's network namespace.
pub fn read() -> Result<Network, NetlinkError> {
    let mut channel = Channel::open(NETLINK_ROUTE)?;
    let mut network = Network::default();
    let link = || RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut found = Vec::new();
    for message in collect(&mut channel, link, &mut network.unreadable)? {
        if let RouteNetlinkMessage::NewLink(message) = message {
            match to_link(&message) {
                Some(read) => {
                    let name = read.link.name.as_str();
                    network.settings.0.extend(sysctls::of_link(name, &message.attributes));
                    found.push(read);
                }
                None => network.unreadable += 1,
            }
        }
    }
    let names: BTreeMap<u32, IfaceName> =
        found.iter().map(|read| (read.link.index, read.link.name.clone())).collect();
    for Read { mut link, master, below, .. } in found {
        link.master = master.and_then(|index| names.get(&index).cloned());
        link.below = below.and_then(|index| names.get(&index).cloned());
        network.links.push(link);
    }
    network.links.sort_by_key(|link| link.index);

    let address = || RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for message in collect(&mut channel, address, &mut network.unreadable)? {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            let Some(address) = to_address(&message) else { continue };
            if let Some(link) =
                network.links.iter_mut().find(|link| link.index == message.header.index)
            {
                link.addresses.push(address);
            }
        }
    }
    for link in &mut network.links {
        link.addresses.sort_by_key(|address| (address.address, address.length));
    }

    let route = || RouteNetlinkMessage::GetRoute(RouteMessage::default());
    for message in collect(&mut channel, route, &mut network.unreadable)? {
        if let RouteNetlinkMessage::NewRoute(message) = message {
            network.routes.extend(to_routes(&message, &names));
        }
    }
    network.routes.sort_by(|a, b| {
        (a.table, a.to, a.metric, &a.interface, &a.kind, a.gateway).cmp(&(
            b.table,
            b.to,
            b.metric,
            &b.interface,
            &b.kind,
            b.gateway,
        ))
    });
    network.routes.dedup();
    Ok(network)
}

/// The interfaces of this thread's network namespace, each with whether it stands on one of another
/// namespace, and nothing else.
pub(super) fn all() -> Result<Vec<(Link, bool)>, NetlinkError> {
    let mut channel = Channel::open(NETLINK_ROUTE)?;
    let request = || RouteNetlinkMessage::GetLink(LinkMessage::default());
    let messages = collect(&mut channel, request, &mut 0)?;
    let links = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(message) => {
            to_link(&message).map(|read| (read.link, read.elsewhere))
        }
        _ => None,
    });
    Ok(links.collect())
}

/// How many links, addresses and routes stand in these messages.
pub(super) fn from_messages(bytes: &[u8]) -> usize {
    let Ok(NetlinkPayload::InnerMessage(message)) =
        NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|own| own.payload)
    else {
        return 0;
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => usize::from(to_link(&link).is_some()),
        RouteNetlinkMessage::NewAddress(own) => usize::from(to_address(&own).is_some()),
        RouteNetlinkMessage::NewRoute(route) => to_routes(&route, &BTreeMap::new()).len(),
        _ => 0,
    }
}

fn collect(
    channel: &mut Channel,
    request: impl Fn() -> RouteNetlinkMessage,
    unreadable: &mut usize,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    let (messages, failed) =
        netlink::whole(ATTEMPTS, || {
            let mut messages = Vec::new();
            let mut failed = 0;
            channel.dump(request(), |bytes| {
                match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|m| m.payload) {
                    Ok(NetlinkPayload::InnerMessage(message)) => messages.push(message),
                    Ok(_) => {}
                    Err(_) => failed += 1,
                }
            })?;
            Ok((messages, failed))
        })?;
    *unreadable += failed;
    Ok(messages)
}

/// A link, and the indexes of what it is a port of and of what it stands on.
struct Read {
    link: Link,
    master: Option<u32>,
    below: Option<u32>,
    /// What it stands on, or its other end, is in another namespace.
    elsewhere: bool,
}

fn to_link(message: &LinkMessage) -> Option<Read> {
    let mut name = None;
    let (mut master, mut below, mut elsewhere) = (None, None, false);
    let (mut kind, mut table) = (None, None);
    let mut xdp = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = text.parse::<IfaceName>().ok(),
            LinkAttribute::Controller(index) => master = Some(*index),
            LinkAttribute::Link(index) => below = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(word) => kind = Some(kind_of(&word.to_string())),
                        LinkInfo::Data(InfoData::Vrf(about)) => table = about.iter().find_map(vrf),
                        _ => {}
                    }
                }
            }
            LinkAttribute::Xdp(entries) => {
                xdp = entries.iter().any(
                    |entry| matches!(entry, LinkXdp::Attached(how) if *how != XdpAttached::None),
                );
            }
            _ => {}
        }
    }
    let kind = kind.unwrap_or(if message.header.link_layer_type == LinkLayerType::Loopback {
        LinkKind::Loopback
    } else {
        LinkKind::Physical
    });
    let up = message.header.flags.contains(LinkFlags::Up);
    let index = message.header.index;
    // Of tunnels it is only by which interface they send.
    below = below.filter(|_| !elsewhere && stands_on_another(&kind));
    let link = Link { up, table, xdp, ..Link::new(index, name?, kind) };
    Some(Read { link, master, below, elsewhere })
}

/// The routing table of a VRF.
fn vrf(about: &InfoVrf) -> Option<u32> {
    match about {
        InfoVrf::TableId(table) => Some(*table),
        _ => None,
    }
}

/// Whether frames of an interface of this kind are those of another interface.
fn stands_on_another(kind: &LinkKind) -> bool {
    match kind {
        LinkKind::Vlan | LinkKind::Macvlan | LinkKind::Ipvlan => true,
        LinkKind::Other(word) => matches!(word.as_str(), "macvtap" | "ipvtap" | "macsec"),
        LinkKind::Loopback
        | LinkKind::Physical
        | LinkKind::Bridge
        | LinkKind::Veth
        | LinkKind::Tun
        | LinkKind::Bond
        | LinkKind::Vxlan
        | LinkKind::Wireguard
        | LinkKind::Vrf
        | LinkKind::Dummy => false,
    }
}

/// The kind that the kernel names so (`rtnl_link_ops.kind`).
fn kind_of(word: &str) -> LinkKind {
    match word {
        "bridge" => LinkKind::Bridge,
        "veth" => LinkKind::Veth,
        "tun" => LinkKind::Tun,
        "bond" => LinkKind::Bond,
        "vlan" => LinkKind::Vlan,
        "macvlan" => LinkKind::Macvlan,
        "ipvlan" => LinkKind::Ipvlan,
        "vxlan" => LinkKind::Vxlan,
        "wireguard" => LinkKind::Wireguard,
        "vrf" => LinkKind::Vrf,
        "dummy" => LinkKind::Dummy,
        other => LinkKind::Other(other.to_owned()),
    }
}

fn to_address(message: &AddressMessage) -> Option<Address> {
    let mut own = None;
    let mut other = None;
    let mut permanent = message.header.flags.contains(AddressHeaderFlags::Permanent);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point interface `IFA_ADDRESS` is the other end, `IFA_LOCAL` ours.
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Flags(flags) => permanent = flags.contains(AddressFlags::Permanent),
            _ => {}
        }
    }
    let address = own.or(other)?;
    let peer = other.filter(|other| *other != address);
    Some(Address { address, length: message.header.prefix_len, peer, dynamic: !permanent })
}

/// One route for each next hop; none for a cached exception, which is no route of its own.
fn to_routes(message: &RouteMessage, names: &BTreeMap<u32, IfaceName>) -> Vec<Route> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return Vec::new();
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Vec::new(),
    };
    let mut to = unspecified;
    let mut table = u32::from(header.table);
    let mut metric = 0;
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address).unwrap_or(unspecified),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::MultiPath(nexthops) => {
                for hop in nexthops {
                    let interface = names.get(&hop.interface_index).cloned();
                    hops.push((interface, gateway(&hop.attributes)));
                }
            }
            _ => {}
        }
    }
    if hops.is_empty() {
        let interface = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => names.get(index).cloned(),
            _ => None,
        });
        hops.push((interface, gateway(&message.attributes)));
    }
    let Some(to) = Prefix::around(to, header.destination_prefix_length) else {
        return Vec::new();
    };
    let kind = type_name(header.kind);
    hops.into_iter()
        .map(|(interface, gateway)| Route {
            to,
            table,
            kind: kind.clone(),
            interface,
            gateway,
            metric,
        })
        .collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// The word of ip-route(8) for a type of route (`RTN_*`).
fn type_name(kind: RouteType) -> String {
    let word = match kind {
        RouteType::Unicast => "unicast",
        RouteType::Local => "local",
        RouteType::Broadcast => "broadcast",
        RouteType::Anycast => "anycast",
        RouteType::Multicast => "multicast",
        RouteType::BlackHole => "blackhole",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
        RouteType::Nat => "nat",
        other => return format!("type {}", u8::from(other)),
    };
    word.to_owned()
}
