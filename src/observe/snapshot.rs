//! Everything that fwctl knows of a host, as one value that can be written to a file.
//!
//! Nothing in it is secret: no environments, no command-line arguments, no contents of files.

mod hooks;
mod network;
mod tunnels;

pub use hooks::{HookEntry, HookPoint, Registrant};
pub use network::{
    Address, Handler, IpSet, IpSetElement, Link, LinkKind, Route, RoutingAction, RoutingRule,
    Sysctls,
};
pub use tunnels::{Ipsec, IpsecAssociation, IpsecCarried, IpsecPolicy, Tunnel, TunnelPeer};

use crate::model::nft::Ruleset;
use crate::model::{IfaceName, Owner, Prefix, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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
    /// Who holds it; several where processes share it.
    #[serde(default)]
    pub owners: Vec<Owner>,
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

/// A container engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Which.
    pub kind: EngineKind,
    /// Its API socket.
    pub socket: String,
    /// What it answered.
    pub state: EngineState,
    /// Its version, if it answered.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether it is part of a swarm.
    #[serde(default)]
    pub swarm: bool,
    /// Its networks, by name.
    #[serde(default)]
    pub networks: Vec<ContainerNetwork>,
    /// Its containers, by name.
    #[serde(default)]
    pub containers: Vec<Container>,
}

/// Which container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum EngineKind {
    Docker,
    Podman,
}

/// What an engine's API answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineState {
    /// Everything.
    Answered,
    /// There is no socket.
    Absent,
    /// The socket may not be opened.
    Denied,
    /// Nobody listens on the socket.
    Refused,
    /// It did not answer in time.
    Hung,
    /// It answered with an error.
    Failed(String),
}

/// A network of a container engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `none`, `macvlan`, `ipvlan`, `overlay`, …
    pub driver: String,
    /// The host's interface of a bridge network.
    #[serde(default)]
    pub bridge: Option<IfaceName>,
    /// Its subnets.
    #[serde(default)]
    pub subnets: Vec<Prefix>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its image.
    pub image: String,
    /// Whether it runs.
    pub state: ContainerState,
    /// Whether it has no network namespace of its own (`--network host`).
    #[serde(default)]
    pub host_network: bool,
    /// Its addresses, by the name of the network.
    #[serde(default)]
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// What it publishes.
    #[serde(default)]
    pub published: Vec<PublishedPort>,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum ContainerState {
    Running,
    Stopped,
}

/// A port that a container publishes on the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address; the unspecified one for any.
    pub host_address: IpAddr,
    /// The port that a client dials.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
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

/// What fwctl itself has put on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The number of the confirmed generation.
    pub generation: u32,
    /// Its digest: SHA-256 of its table's text, hexadecimal.
    pub digest: String,
    /// When it was applied.
    pub applied_at: jiff::Timestamp,
    /// The policy that it came from.
    pub policy: crate::policy::Policy,
    /// Who applied it.
    #[serde(default)]
    pub by: Option<By>,
    /// Why, in that person's words.
    #[serde(default)]
    pub message: Option<String>,
    /// SHA-256 of the snapshot of the host for which it was made, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The user who logged in, whatever user the command ran as.
    pub user: String,
    /// From where, over SSH; `None` at the console or where it is not known.
    #[serde(default)]
    pub from: Option<IpAddr>,
}

/// A change that was, or is, to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its generation.
    pub generation: u32,
    /// The digest of the table that it leads to; `None` where it takes our table out.
    pub digest: Option<String>,
    /// When it began to rule.
    pub armed_at: jiff::Timestamp,
    /// For how many seconds unless it is confirmed.
    pub within: u64,
    /// Who made it.
    #[serde(default)]
    pub by: Option<By>,
    /// Why, in that person's words.
    #[serde(default)]
    pub message: Option<String>,
    /// Whether connections that it denies are closed once it is confirmed.
    #[serde(default)]
    pub cut: bool,
    /// How it ended; `None` while it is pending, and where that is not recorded yet.
    #[serde(default)]
    pub end: Option<End>,
}

impl Attempt {
    /// When the kernel forgets it, by the clock of `armed_at`. The kernel itself counts time from
    /// boot, which nobody sets.
    pub fn deadline(&self) -> jiff::Timestamp {
        let within = jiff::SignedDuration::from_secs(i64::try_from(self.within).unwrap_or(0));
        self.armed_at.checked_add(within).unwrap_or(self.armed_at)
    }
}

/// How and when a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub how: How,
    /// When.
    pub at: jiff::Timestamp,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was confirmed.
    Kept,
    /// Somebody took it back.
    RolledBack,
    /// Nobody confirmed it in time.
    Expired,
    /// The kernel has no trace of it: the host was booted anew, somebody flushed the ruleset, or
    /// it never began.
    Lost,
}

impl End {
    /// What became of this generation, in a sentence.
    pub fn says(self, generation: u32) -> String {
        let at = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        match self.how {
            How::Kept => format!("generation {generation} was confirmed at {at}"),
            How::RolledBack => format!("generation {generation} was taken back at {at}"),
            How::Expired => format!(
                "generation {generation} was not confirmed by {at}: since then the rules from \
                 before it rule again"
            ),
            How::Lost => format!(
                "generation {generation} was lost before it was confirmed (a reboot, or somebody \
                 flushed the ruleset)"
            ),
        }
    }
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What: `docker`, `sockets`, `nftables`, …
    pub subject: String,
    /// What happened, and what that means for the answers.
    pub message: String,
}
