//! Everything that fwctl knows of a host, as one value that can be written to a file.
//!
//! Nothing in it is secret: no environments, no command-line arguments, no contents of files.

mod applied;
mod engines;
mod hooks;
mod network;
mod tunnels;

pub use applied::{Attempt, By, End, How, Installed};
pub use engines::{
    Container, ContainerNetwork, ContainerState, Engine, EngineKind, EngineState, PublishedPort,
};
pub use hooks::{HookEntry, HookPoint, Registrant};
pub use network::{
    Address, Handler, IpSet, IpSetElement, Link, LinkKind, Route, RoutingAction, RoutingRule,
    Sysctls,
};
pub use tunnels::{Ipsec, IpsecAssociation, IpsecCarried, IpsecPolicy, Tunnel, TunnelPeer};

use crate::model::nft::Ruleset;
use crate::model::{IfaceName, Owner, Protocol};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// The value of `format` in a snapshot that this version writes.
pub const FORMAT: &str = "fwctl.snapshot/1";

/// A host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`FORMAT`].
    pub format: String,
    /// When it was taken.
    pub taken_at: jiff::Timestamp,
    /// The host itself.
    pub host: Host,
    /// The nftables ruleset.
    pub ruleset: Ruleset,
    /// Tables of legacy iptables that are loaded (`/proc/net/ip_tables_names`), as `ip filter`.
    #[serde(default)]
    pub legacy_tables: Vec<String>,
    /// IP sets that rules of iptables name.
    #[serde(default)]
    pub ipsets: Vec<IpSet>,
    /// Interfaces with their addresses, by index.
    pub links: Vec<Link>,
    /// Routes of all tables.
    pub routes: Vec<Route>,
    /// Rules of policy routing, in the kernel's order; `None` where they were not read.
    #[serde(default)]
    pub routing_rules: Option<Vec<RoutingRule>>,
    /// What handles packets beside all rules.
    #[serde(default)]
    pub handlers: Vec<Handler>,
    /// What stands at the hooks of netfilter, in the kernel's order; `None` where the kernel does not
    /// tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<HookPoint>>,
    /// The kernel settings that matter to exposure.
    pub sysctls: Sysctls,
    /// Listening sockets, and those of live connections.
    pub sockets: Vec<Socket>,
    /// Connections that came in from elsewhere and are open.
    #[serde(default)]
    pub flows: Vec<Flow>,
    /// Container engines.
    pub engines: Vec<Engine>,
    /// SSH.
    pub ssh: Ssh,
    /// What carries the packets of interfaces over IP.
    #[serde(default)]
    pub tunnels: Vec<Tunnel>,
    /// What comes by IPsec.
    #[serde(default)]
    pub ipsec: Ipsec,
    /// What fwctl itself has put there.
    #[serde(default)]
    pub installed: Option<Installed>,
    /// The last change that was to be confirmed.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// The highest number that a generation on this host has had; 0 before the first.
    #[serde(default)]
    pub last_generation: u32,
    /// What could not be read.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// The host itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// Distribution and version, from `/etc/os-release`.
    #[serde(default)]
    pub os: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Programs that filter or route by means of their own, by name (`kubelet`, `docker-swarm`,
    /// `ufw`, `firewalld`, `libvirt`, `fail2ban`, …), where they run or are enabled.
    #[serde(default)]
    pub managers: Vec<String>,
    /// Whether connections were tracked when the snapshot was taken.
    pub conntrack: ConntrackPresence,
}

/// Whether connections are tracked in this network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConntrackPresence {
    /// Those of both IP versions are.
    Tracking,
    /// Those of at least one are not: established connections look new to the first rule that
    /// asks.
    NotTracking,
    /// It could not be found out.
    Unknown,
}

/// A socket of the host's network namespace or of a container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// The protocol.
    pub protocol: Protocol,
    /// The local address and port; `0.0.0.0` or `[::]` for any.
    pub local: SocketAddr,
    /// The other end, for a connection or a connected UDP socket.
    #[serde(default)]
    pub remote: Option<SocketAddr>,
    /// What it is doing.
    pub state: SocketState,
    /// Whether an IPv6 socket refuses IPv4 (`IPV6_V6ONLY`).
    #[serde(default)]
    pub v6only: bool,
    /// The interface that it is bound to (`SO_BINDTODEVICE`).
    #[serde(default)]
    pub device: Option<IfaceName>,
    /// The user id of its owner.
    pub uid: u32,
    /// Who holds it; several where processes share it. The sockets of a process share theirs.
    #[serde(default)]
    pub owners: Arc<[Owner]>,
    /// The container in whose network namespace it is; `None` for the host's.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// What a socket is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketState {
    /// It waits for connections, or for datagrams from anyone.
    Listening,
    /// It has one other end.
    Connected,
}

/// SSH on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// Where sshd listens, socket-activated ones included.
    pub listeners: Vec<SocketAddr>,
    /// Live sessions.
    pub sessions: Vec<SshSession>,
}

/// A live SSH session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshSession {
    /// The client's address and port.
    pub remote: SocketAddr,
    /// The address and port that it came in on.
    pub local: SocketAddr,
    /// What the client dialled, where connection tracking knows it: another address or port than
    /// `local` where a rule redirected it.
    #[serde(default)]
    pub dialled: Option<SocketAddr>,
    /// The interface by which packets for the client leave, and so most likely came.
    #[serde(default)]
    pub interface: Option<IfaceName>,
    /// The user who is logged in, where it is known.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether fwctl runs in it.
    pub own: bool,
}

/// A connection that came in from elsewhere and is open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// The protocol.
    pub protocol: Protocol,
    /// The client, as its packets come in.
    pub source: SocketAddr,
    /// What it dialled.
    pub dialled: SocketAddr,
    /// Who answers: another address or port than `dialled` where that was translated.
    pub served: SocketAddr,
    /// The client as the one who answers sees it.
    pub seen: SocketAddr,
    /// The interface by which packets for the client leave, and so most likely came.
    #[serde(default)]
    pub interface: Option<IfaceName>,
    /// Since when, where the kernel keeps that (`net.netfilter.nf_conntrack_timestamp`).
    #[serde(default)]
    pub since: Option<jiff::Timestamp>,
    /// Whether connection tracking knows it; else its socket alone does.
    pub tracked: bool,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What: `docker`, `sockets`, `nftables`, …
    pub subject: String,
    /// What happened, and what that means for the answers.
    pub message: String,
}
