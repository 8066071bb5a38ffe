//! The live host → [`Snapshot`].
//!
//! Reads only. What cannot be read becomes a [`Warning`] that names it; the rest is still there.

mod snapshot;

pub use snapshot::{
    Address, ConntrackPresence, Container, ContainerNetwork, ContainerState, Engine, EngineKind,
    EngineState, FORMAT, Host, Installed, Link, LinkKind, PublishedPort, Route, Snapshot, Socket,
    SocketState, Ssh, SshSession, Sysctls, Warning,
};
