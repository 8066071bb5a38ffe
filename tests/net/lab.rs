//! The network around a host: a client on the internet side, a client on the LAN, containers.
//!
//! ```text
//! internet  eth0 203.0.113.1  ──── wan0 203.0.113.10   host   lan0 192.0.2.10  ──── eth0 192.0.2.20  lan
//!                2001:db8:1::1          2001:db8:1::10             2001:db8:2::10        2001:db8:2::20
//! ```
//!
//! The host's default route leaves by `wan0`. Both clients route everything else to the host, so
//! that they reach container addresses directly where nothing forbids it. The internet client has
//! further addresses (`FAR_V4`, `FAR_V6`) to speak from.

use super::Namespace;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host, towards the internet.
pub const HOST_WAN_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
/// The host, towards the internet.
pub const HOST_WAN_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10));
/// The host, towards the LAN.
pub const HOST_LAN_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
/// The host, towards the LAN.
pub const HOST_LAN_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10));
/// The internet client.
pub const INTERNET_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// The internet client.
pub const INTERNET_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
/// Another address of the internet client, behind a router as the host sees it.
pub const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
/// Another address of the internet client, behind a router as the host sees it.
pub const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7));
/// The LAN client.
pub const LAN_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 20));
/// The LAN client.
pub const LAN_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x20));

/// A host between two clients. The host forwards.
#[derive(Debug)]
pub struct Lab {
    /// The host under test: `wan0`, `lan0`, loopback.
    pub host: Namespace,
    /// A client anywhere on the internet: `eth0`.
    pub internet: Namespace,
    /// A client on the host's LAN: `eth0`.
    pub lan: Namespace,
}

impl Lab {
    /// Wires and addresses all three.
    pub fn new() -> Self {
        let lab = Self::without_host_addresses();
        lab.host.ip(&format!("addr add {HOST_WAN_V4}/24 brd + dev wan0"));
        lab.host.ip(&format!("addr add {HOST_WAN_V6}/64 dev wan0 nodad"));
        lab.host.ip(&format!("addr add {HOST_LAN_V4}/24 brd + dev lan0"));
        lab.host.ip(&format!("addr add {HOST_LAN_V6}/64 dev lan0 nodad"));
        lab.host.ip(&format!("route add default via {INTERNET_V4}"));
        lab.host.ip(&format!("-6 route add default via {INTERNET_V6}"));
        lab.host.sysctl("ipv4/ip_forward", "1");
        lab.host.sysctl("ipv6/conf/all/forwarding", "1");
        lab
    }

    /// Wires all three and addresses the clients; the host's own init does the rest.
    pub fn without_host_addresses() -> Self {
        let lab = Self {
            host: Namespace::new("host"),
            internet: Namespace::new("internet"),
            lan: Namespace::new("lan"),
        };
        lab.wire();
        lab
    }

    /// Connects the clients to `host` (made anew for a reboot, which takes the links with it).
    pub fn wire(&self) {
        let clients = [
            (&self.internet, "wan0", INTERNET_V4, INTERNET_V6, HOST_WAN_V4, HOST_WAN_V6),
            (&self.lan, "lan0", LAN_V4, LAN_V6, HOST_LAN_V4, HOST_LAN_V6),
        ];
        for (client, device, v4, v6, host_v4, host_v6) in clients {
            self.host.link(device, client, "eth0");
            client.ip(&format!("addr add {v4}/24 brd + dev eth0"));
            client.ip(&format!("addr add {v6}/64 dev eth0 nodad"));
            client.ip(&format!("route add default via {host_v4}"));
            client.ip(&format!("-6 route add default via {host_v6}"));
        }
        self.internet.ip(&format!("addr replace {FAR_V4}/32 dev lo"));
        self.internet.ip(&format!("addr replace {FAR_V6}/128 dev lo nodad"));
    }

    /// A bridge on the host, as a container engine makes one; `v4` and `v6` are its own addresses
    /// with their prefix lengths.
    pub fn bridge(&self, bridge: &str, v4: &str, v6: &str) {
        self.host.ip(&format!("link add {bridge} type bridge"));
        self.host.ip(&format!("addr add {v4} brd + dev {bridge}"));
        self.host.ip(&format!("addr add {v6} dev {bridge} nodad"));
        self.host.ip(&format!("link set {bridge} up"));
    }

    /// A container on that bridge, with its default routes through the bridge's addresses
    /// `via_v4` and `via_v6` (without prefix lengths).
    pub fn container(&self, bridge: &str, v4: &str, v6: &str, via: (&str, &str)) -> Namespace {
        let container = Namespace::new("container");
        // The host's end is named after the bridge and the last part of the IPv4 address.
        let last = v4.split('/').next().and_then(|a| a.rsplit('.').next()).unwrap();
        let device: String = format!("v{last}{bridge}").chars().take(15).collect();
        self.host.link(&device, &container, "eth0");
        self.host.ip(&format!("link set {device} master {bridge}"));
        container.ip(&format!("addr add {v4} brd + dev eth0"));
        container.ip(&format!("addr add {v6} dev eth0 nodad"));
        container.ip(&format!("route add default via {}", via.0));
        container.ip(&format!("-6 route add default via {}", via.1));
        container
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}
