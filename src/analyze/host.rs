//! Where the host takes a packet: its addresses, routes and kernel settings.
//!
//! In: a snapshot. Out: what routing says of a destination and a source, as Linux's
//! `ip_route_input_slow()` and `fib_validate_source()` do.

use super::cuts::around;
use super::routes::Routes;
use crate::model::{IfaceName, IpFamily, Prefix, Protocol};
use crate::observe::{Link, LinkKind, Route, Snapshot};
use foldhash::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// `RT_TABLE_LOCAL`, `RT_TABLE_MAIN`, `RT_TABLE_DEFAULT`, in the order in which they are asked.
pub(super) const TABLES: [u32; 3] = [255, 254, 253];

/// The host of a snapshot, ready for many questions.
#[derive(Debug)]
pub struct HostView<'s> {
    snapshot: &'s Snapshot,
    routes: Routes<'s>,
    /// Tables of policy routing that hold routes, by IP version.
    other_tables: [Vec<u32>; 2],
    links: HashMap<&'s str, &'s Link>,
    loopback: Option<&'s Link>,
    /// The host's own addresses.
    own: HashSet<IpAddr>,
    /// Where the answer of a lookup can change, by IP version.
    cuts: [Vec<u128>; 2],
    /// Settings of IPv4 by interface, as [`SETTINGS`] names them; for all of them the last.
    ipv4: HashMap<&'s str, [i64; SETTINGS.len()]>,
}

/// The settings of an interface that decide where packets go.
const SETTINGS: [&str; 5] =
    ["forwarding", "route_localnet", "rp_filter", "accept_local", "src_valid_mark"];

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To a socket of the host.
    Local,
    /// On, by this interface; `None` where it is not known which of several.
    Forward(Option<IfaceName>),
    /// Nowhere, and why.
    Nowhere(Nowhere),
}

/// Why the host itself drops a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nowhere {
    /// No route to the destination.
    NoRoute,
    /// The input interface does not forward.
    NotForwarding,
    /// A loopback address from outside, without `route_localnet`.
    Loopback,
    /// The source is no source a packet may have: the host's own, loopback, multicast.
    MartianSource,
    /// Reverse-path filtering.
    ReversePath,
    /// A route says so (`blackhole`, `unreachable`, `prohibit`).
    RouteForbids,
    /// Link-local addresses are not forwarded.
    LinkLocal,
    /// Nobody on this host has joined the multicast group on the input interface.
    NotJoined,
    /// IPv6 is off on the input interface.
    Ipv6Disabled,
    /// The input interface is down, or there is none of this name.
    NoInterface,
}

impl std::fmt::Display for Nowhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::NoRoute => "there is no route",
            Self::NotForwarding => "the host does not forward what comes in there",
            Self::Loopback => "loopback addresses do not come from outside (route_localnet is off)",
            Self::MartianSource => "no packet may come from that source there",
            Self::ReversePath => "the answer would leave by another interface (rp_filter)",
            Self::RouteForbids => "a route forbids it",
            Self::LinkLocal => "link-local addresses are not forwarded",
            Self::NotJoined => "nobody here has joined that multicast group on that interface",
            Self::Ipv6Disabled => "IPv6 is off on that interface",
            Self::NoInterface => "there is no such interface, or it is down",
        })
    }
}

fn index(family: IpFamily) -> usize {
    match family {
        IpFamily::Ipv4 => 0,
        IpFamily::Ipv6 => 1,
    }
}

impl<'s> HostView<'s> {
    /// Sorts the routes.
    pub fn new(snapshot: &'s Snapshot) -> Self {
        let addresses = snapshot.links.iter().flat_map(|link| &link.addresses);
        let own: HashSet<IpAddr> = addresses.map(|own| own.address).collect();
        // Loopback, "this network", multicast and what is above it, what hosts of the world have,
        // link-local.
        let special: [&[&str]; 2] = [
            &["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"],
            &["::/128", "::1/128", "2000::/3", "fc00::/7", "fe80::/10", "ff00::/8"],
        ];
        let cuts = IpFamily::BOTH.map(|family| {
            let prefixes = snapshot.routes.iter().map(|route| route.to);
            let prefixes = prefixes.filter(|prefix| prefix.family() == family);
            let rules = snapshot.routing_rules.iter().flatten();
            let rules = rules.filter(|rule| rule.family == family);
            let named = rules.flat_map(|rule| rule.from.into_iter().chain(rule.to));
            let special = special[index(family)].iter().filter_map(|text| text.parse().ok());
            let own = own
                .iter()
                .filter(|own| IpFamily::of(**own) == family)
                .map(|own| Prefix::host(*own));
            around(prefixes.chain(named).chain(special).chain(own))
        });
        let setting = |name: &str, key: &str| {
            let all = &snapshot.sysctls.0;
            all.get(&format!("ipv4.conf.{name}.{key}")).copied().unwrap_or(0)
        };
        let names = snapshot.links.iter().map(|link| link.name.as_str()).chain(["all"]);
        let ipv4 = names.map(|name| (name, SETTINGS.map(|key| setting(name, key)))).collect();
        let other_tables = IpFamily::BOTH.map(|family| {
            let own = snapshot.routes.iter().filter(|route| route.to.family() == family);
            let tables: BTreeSet<u32> = own.map(|route| route.table).collect();
            let other = |table: &u32| !TABLES.contains(table) && *table != 0;
            tables.into_iter().filter(other).collect()
        });
        // Of two with one name the first.
        let links = snapshot.links.iter().rev().map(|link| (link.name.as_str(), link)).collect();
        let kind = |kind: LinkKind| snapshot.links.iter().find(move |link| link.kind == kind);
        Self {
            snapshot,
            routes: Routes::new(&snapshot.routes),
            other_tables,
            links,
            loopback: kind(LinkKind::Loopback),
            own,
            cuts,
            ipv4,
        }
    }

    /// The snapshot.
    pub(super) fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    /// The routes by table and prefix.
    pub(super) fn routes(&self) -> &Routes<'s> {
        &self.routes
    }

    /// Whether an address is one of the host's.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// The VRF that an interface is a port of.
    pub fn vrf_over(&self, interface: &IfaceName) -> Option<&'s Link> {
        let master = self.link(interface)?.master.as_ref()?;
        self.link(master).filter(|link| link.kind == LinkKind::Vrf)
    }

    /// The interfaces on which one stands, the lowest first: a VLAN's hardware, the link of a macvlan.
    pub fn below(&self, interface: &IfaceName) -> Vec<&'s IfaceName> {
        /// Interfaces are not piled up higher (`MAX_NEST_DEV`).
        const MOST: usize = 8;
        let next = |name: &&'s IfaceName| self.link(name)?.below.as_ref();
        let first = self.link(interface).and_then(|link| link.below.as_ref());
        let mut found: Vec<_> = std::iter::successors(first, next).take(MOST).collect();
        found.reverse();
        found
    }

    /// The ports by one of which comes and leaves what does so by an interface, each behind the
    /// interfaces on which it stands.
    pub fn ports_of(&self, interface: &IfaceName) -> impl Iterator<Item = &'s IfaceName> {
        let of_ports = self.link(interface).filter(|link| match &link.kind {
            LinkKind::Bridge | LinkKind::Bond => true,
            LinkKind::Other(word) => word == "team",
            _ => false,
        });
        let links = of_ports.into_iter().flat_map(|_| &self.snapshot.links);
        links
            .filter(move |port| of_ports.is_some_and(|own| port.master.as_ref() == Some(&own.name)))
            .flat_map(|port| self.below(&port.name).into_iter().chain([&port.name]))
    }

    /// Whether multicast that comes by an interface may be passed on.
    pub fn routes_groups(&self, interface: &IfaceName, family: IpFamily) -> bool {
        let version = if family == IpFamily::Ipv4 { "ipv4" } else { "ipv6" };
        self.setting(&format!("{version}.conf.{interface}.mc_forwarding")) != 0
    }

    /// Whether a socket hears what comes by an interface (`inet_bound_dev_eq()`): one that is bound to
    /// no device hears a VRF's ports only where the kernel is told so.
    pub fn is_heard(
        &self,
        interface: &IfaceName,
        device: Option<&IfaceName>,
        protocol: Protocol,
    ) -> bool {
        let Some(vrf) = self.vrf_over(interface) else {
            return device.is_none_or(|device| device == interface);
        };
        match device {
            Some(device) => device == interface || *device == vrf.name,
            None => match protocol {
                Protocol::TCP => self.setting("ipv4.tcp_l3mdev_accept") != 0,
                Protocol::UDP | Protocol::UDPLITE => self.setting("ipv4.udp_l3mdev_accept") != 0,
                Protocol::SCTP => self.setting("sctp.l3mdev_accept") != 0,
                // What has no ports is for the kernel itself, or for raw sockets.
                _ => true,
            },
        }
    }

    /// The addresses before which a lookup may say something else.
    pub fn cuts(&self, family: IpFamily) -> &[u128] {
        &self.cuts[index(family)]
    }

    /// The interface of this name.
    pub fn link(&self, name: &IfaceName) -> Option<&'s Link> {
        self.links.get(name.as_str()).copied()
    }

    /// The loopback interface's name.
    pub fn loopback(&self) -> Option<&'s Link> {
        self.loopback
    }

    pub(super) fn setting(&self, name: &str) -> i64 {
        self.snapshot.sysctls.0.get(name).copied().unwrap_or(0)
    }

    /// A setting of an interface, one of [`SETTINGS`].
    pub(super) fn ipv4(&self, interface: &IfaceName, key: &str) -> i64 {
        self.ipv4_of(interface.as_str(), key)
    }

    /// The same for all interfaces.
    pub(super) fn ipv4_all(&self, key: &str) -> i64 {
        self.ipv4_of("all", key)
    }

    fn ipv4_of(&self, name: &str, key: &str) -> i64 {
        let at = SETTINGS.iter().position(|own| *own == key);
        at.zip(self.ipv4.get(name)).map_or(0, |(at, all)| all[at])
    }

    /// Tables of policy routing that hold routes.
    pub fn other_tables(&self, family: IpFamily) -> &[u32] {
        &self.other_tables[index(family)]
    }

    /// The route that a lookup finds.
    pub fn route(&self, address: IpAddr) -> Option<&'s Route> {
        TABLES.iter().find_map(|table| self.route_in(*table, address))
    }

    /// All next hops of the route that a lookup finds.
    pub(super) fn interfaces(&self, found: &Route) -> impl Iterator<Item = &'s IfaceName> {
        let metric = found.metric;
        let same = self.routes.with(found.table, found.to).iter();
        same.filter(move |route| route.metric == metric)
            .filter_map(|route| route.interface.as_ref())
    }

    /// Whether an address is one of this interface's.
    pub fn is_on(&self, interface: &IfaceName, address: IpAddr) -> bool {
        let link = self.link(interface);
        link.is_some_and(|link| link.addresses.iter().any(|own| own.address == address))
    }

    /// The kind of an address (`RTN_*`), as `fib … type` and `-m addrtype` see it; with an
    /// interface only its own addresses are the host's.
    pub fn address_type(&self, address: IpAddr, interface: Option<&IfaceName>) -> u32 {
        const UNICAST: u32 = 1;
        const LOCAL: u32 = 2;
        const BROADCAST: u32 = 3;
        const ANYCAST: u32 = 4;
        const MULTICAST: u32 = 5;
        const BLACKHOLE: u32 = 6;
        const UNREACHABLE: u32 = 7;
        const PROHIBIT: u32 = 8;
        let kind = |route: &Route| match route.kind.as_str() {
            "local" => LOCAL,
            "broadcast" => BROADCAST,
            "anycast" => ANYCAST,
            "multicast" => MULTICAST,
            "blackhole" => BLACKHOLE,
            "unreachable" => UNREACHABLE,
            "prohibit" => PROHIBIT,
            _ => UNICAST,
        };
        match address {
            IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_broadcast() => BROADCAST,
            IpAddr::V4(v4) if v4.is_multicast() => MULTICAST,
            IpAddr::V4(_) => {
                // Only the local table is asked.
                let local = self.route(address).filter(|route| route.table == TABLES[0]);
                let ours = local.filter(|route| {
                    interface.is_none_or(|name| route.interface.as_ref() == Some(name))
                });
                ours.map_or(UNICAST, kind)
            }
            IpAddr::V6(v6) => {
                let Some(route) = self.route(address) else { return UNREACHABLE };
                match (interface, kind(route)) {
                    (Some(name), LOCAL) if self.is_on(name, address) => LOCAL,
                    (Some(_), LOCAL) => UNICAST,
                    (_, MULTICAST) if v6.is_multicast() => MULTICAST,
                    (_, kind) => kind,
                }
            }
        }
    }

    /// The interface by which a lookup leaves, for `fib … oif`; `None` for no route, and for the
    /// host's own addresses. With `through`, only where the route uses that interface.
    pub fn leaves_by(&self, address: IpAddr, through: Option<&IfaceName>) -> Option<&'s IfaceName> {
        let route = self.route(address).filter(|route| route.kind == "unicast")?;
        match through {
            Some(name) => self.interfaces(route).find(|own| *own == name),
            None => route.interface.as_ref(),
        }
    }

    /// What the host drops before any hook.
    pub fn refuses(
        &self,
        interface: &IfaceName,
        source: IpAddr,
        destination: IpAddr,
    ) -> Option<Nowhere> {
        match self.link(interface) {
            Some(link) if link.up => {}
            _ => return Some(Nowhere::NoInterface),
        }
        if destination.is_ipv6() {
            if self.setting(&format!("ipv6.conf.{interface}.disable_ipv6")) != 0 {
                return Some(Nowhere::Ipv6Disabled);
            }
            // ip6_rcv_core()
            if destination.is_loopback() || source.is_loopback() {
                return Some(Nowhere::Loopback);
            }
            if source.is_multicast() {
                return Some(Nowhere::MartianSource);
            }
        }
        None
    }

    /// The interfaces by which some table's route leads to an address: packets from there may come
    /// by them.
    pub fn may_come_by(&self, source: IpAddr) -> impl Iterator<Item = &'s IfaceName> {
        let others = self.other_tables(IpFamily::of(source)).iter();
        let best = others.filter_map(move |table| self.routes.longest(*table, source).last());
        let found = best.copied().chain(self.route(source));
        let leads_on = found.filter(|route| route.kind == "unicast");
        leads_on.flat_map(|route| self.interfaces(route))
    }

    /// Whether the bridge itself sends a packet on whose destination was translated to one of its
    /// own ports (`br_nf_pre_routing_finish()`): back to the port that it came from only in hairpin
    /// mode, which is not in a snapshot.
    pub fn bridges_translated(&self, interface: &IfaceName, family: IpFamily) -> bool {
        let key = match family {
            IpFamily::Ipv4 => "bridge.bridge-nf-call-iptables",
            IpFamily::Ipv6 => "bridge.bridge-nf-call-ip6tables",
        };
        self.link(interface).is_some_and(|link| link.kind == LinkKind::Bridge)
            && self.setting(key) != 0
    }
}
