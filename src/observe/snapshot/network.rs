//! The network around a host: interfaces, routes, kernel settings, and what handles packets beside
//! the rules.

use crate::model::nft::Hook;
use crate::model::{IfaceName, IpFamily, Prefix, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its index; for correlation within this snapshot only.
    pub index: u32,
    /// Its name.
    pub name: IfaceName,
    /// Its kind.
    pub kind: LinkKind,
    /// Whether it is up.
    pub up: bool,
    /// The bridge, bond or VRF that it is a port of.
    #[serde(default)]
    pub master: Option<IfaceName>,
    /// The routing table of a VRF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The interface below a VLAN, macvlan, ipvlan or MACsec.
    #[serde(default)]
    pub below: Option<IfaceName>,
    /// Whether an XDP program is attached.
    #[serde(default)]
    pub xdp: bool,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// The multicast groups that somebody on the host has joined on it; `None` where that is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<IpAddr>>,
}

impl Link {
    /// An interface that is up, and of which nothing else is known.
    pub fn new(index: u32, name: IfaceName, kind: LinkKind) -> Self {
        Self {
            index,
            name,
            kind,
            up: true,
            master: None,
            table: None,
            below: None,
            xdp: false,
            addresses: Vec::new(),
            groups: None,
        }
    }
}

/// The kind of an interface (`IFLA_INFO_KIND`; a device without one is physical or virtio).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the kernel's own")]
pub enum LinkKind {
    Loopback,
    /// Without a kind of its own: hardware, virtio.
    Physical,
    Bridge,
    Veth,
    Tun,
    Bond,
    Vlan,
    Macvlan,
    Ipvlan,
    Vxlan,
    Wireguard,
    Vrf,
    Dummy,
    /// Any other, by the kernel's name.
    Other(String),
}

impl LinkKind {
    /// The kernel's own word (`rtnl_link_ops.kind`); of no meaning for what has none there.
    pub fn word(&self) -> &str {
        match self {
            Self::Loopback => "loopback",
            Self::Physical => "physical",
            Self::Bridge => "bridge",
            Self::Veth => "veth",
            Self::Tun => "tun",
            Self::Bond => "bond",
            Self::Vlan => "vlan",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Vxlan => "vxlan",
            Self::Wireguard => "wireguard",
            Self::Vrf => "vrf",
            Self::Dummy => "dummy",
            Self::Other(word) => word,
        }
    }
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix in bits.
    pub length: u8,
    /// The other end, on a point-to-point interface.
    #[serde(default)]
    pub peer: Option<IpAddr>,
    /// Whether it came by DHCP or router advertisement and may be another one tomorrow.
    pub dynamic: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub to: Prefix,
    /// The routing table.
    pub table: u32,
    /// `unicast`, `local`, `broadcast`, `multicast`, `blackhole`, …
    pub kind: String,
    /// By which interface.
    #[serde(default)]
    pub interface: Option<IfaceName>,
    /// By which gateway.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// The metric.
    #[serde(default)]
    pub metric: u32,
}

impl Route {
    /// Whether it is a default route.
    pub fn is_default(&self) -> bool {
        self.to.length() == 0 && self.kind == "unicast"
    }
}

/// A rule of policy routing (`ip rule`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingRule {
    /// For which IP version.
    pub family: IpFamily,
    /// Its priority; lower ones are asked first.
    pub priority: u32,
    /// Whether it holds for what does not match.
    #[serde(default)]
    pub invert: bool,
    /// The source.
    #[serde(default)]
    pub from: Option<Prefix>,
    /// The destination.
    #[serde(default)]
    pub to: Option<Prefix>,
    /// The interface by which the packet came; `lo` for the host's own.
    #[serde(default)]
    pub input: Option<IfaceName>,
    /// The interface to which the socket is bound.
    #[serde(default)]
    pub output: Option<IfaceName>,
    /// The mark and its mask.
    #[serde(default)]
    pub mark: Option<(u32, u32)>,
    /// Routes with prefixes of at most so many bits do not count.
    #[serde(default)]
    pub suppress_length: Option<u32>,
    /// What else it asks, by ip-rule(8)'s word; fwctl does not evaluate it.
    #[serde(default)]
    pub others: Vec<String>,
    /// What it does.
    pub action: RoutingAction,
}

/// An IP set (ipset(8)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpSet {
    /// The kernel's number of it.
    pub index: u16,
    /// The name.
    pub name: String,
    /// The type, such as `hash:net`.
    pub kind: String,
    /// Of which IP version; `None` for a set of ports.
    #[serde(default)]
    pub family: Option<IpFamily>,
    /// What it holds; `None` for a type that is not read.
    #[serde(default)]
    pub elements: Option<Vec<IpSetElement>>,
}

/// An element of an IP set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpSetElement {
    /// The lowest and highest address.
    #[serde(default)]
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// The lowest and highest port.
    #[serde(default)]
    pub ports: Option<(u16, u16)>,
    /// Whether it is an exception (`nomatch`).
    #[serde(default)]
    pub excepts: bool,
}

/// What a rule of policy routing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoutingAction {
    /// Looks the destination up in this table; goes on where that has no route.
    Table(u32),
    /// Goes on with the first rule of this priority or a higher number.
    Goto(u32),
    /// There is no way.
    Forbid,
    /// Goes on.
    Nothing,
}

/// Something that handles packets and that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Handler {
    /// Filters of traffic control (tc-filter(8)); what they do is not read.
    TrafficFilter {
        /// The interface.
        interface: IfaceName,
        /// Whether they see what leaves, not what comes in.
        leaving: bool,
        /// The kernel's name of their kind (`bpf`, `flower`, `u32`); `tcx` or `netkit` for BPF
        /// programs at the interface itself.
        #[serde(rename = "filter")]
        kind: String,
    },
    /// A service of IPVS, which sends packets to other servers behind the input hook.
    Service {
        /// The protocol.
        protocol: Protocol,
        /// Where it is dialled; port 0 is every one.
        at: SocketAddr,
    },
    /// A service of IPVS for every packet with a mark.
    MarkService {
        /// The mark.
        mark: u32,
    },
    /// A BPF program at a hook of netfilter, in this network namespace or another one: the kernel
    /// does not tell.
    Program {
        /// For which IP version.
        family: IpFamily,
        /// At which hook.
        hook: Hook,
        /// At which priority.
        priority: i32,
    },
    /// BPF programs that choose the socket for what comes in (`BPF_SK_LOOKUP`), or drop it.
    SocketLookup,
    /// BPF programs of a control group, which see what its processes receive or send; systemd makes
    /// them for `IPAddressDeny=` and `IPAddressAllow=`.
    ControlGroup {
        /// Its path in the hierarchy.
        path: String,
        /// The unit, where it is one's.
        #[serde(default)]
        unit: Option<String>,
        /// The container, where it is one's.
        #[serde(default)]
        container: Option<String>,
    },
    /// An interface to the outside in another network namespace: what comes in by it passes no rule
    /// of this one.
    Uplink {
        /// Whose namespace it is: a container's name, a unit or a process.
        of: String,
        /// The interface there.
        interface: IfaceName,
        /// Its kind.
        link: LinkKind,
    },
    /// A table of legacy ebtables whose module is loaded; whether it is in force here, and what it
    /// does to what bridges pass on, is not read: asking would put it in force.
    BridgeTable {
        /// Its name.
        table: String,
    },
}

/// Kernel settings that matter to exposure: the file below `/proc/sys/net`, dots for slashes
/// (`ipv4.ip_forward`, `ipv4.conf.eth0.route_localnet`), and its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sysctls(pub BTreeMap<String, i64>);
