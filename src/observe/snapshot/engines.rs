//! Container engines: their networks, and their containers with what those publish.

use crate::model::{IfaceName, Prefix, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

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
