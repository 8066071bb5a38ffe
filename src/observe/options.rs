//! Where the host is looked at, and how long.

use super::{EngineKind, EngineSocket};
use std::path::PathBuf;
use std::time::Duration;

/// Where to look, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The prefix of fwctl's own state (`FWCTL_ROOT`).
    pub root: PathBuf,
    /// The API sockets of container engines.
    pub engines: Vec<EngineSocket>,
    /// How long an engine may take altogether.
    pub engine_timeout: Duration,
    /// Whether to ask engines for their version, which takes Docker longer than all the rest.
    pub engine_version: bool,
    /// Whether to look into the network namespaces of containers.
    pub container_namespaces: bool,
    /// The process whose own SSH session is looked for: this one.
    pub process: u32,
}

impl Default for Options {
    fn default() -> Self {
        let engine = |kind, path: &str| EngineSocket { kind, path: path.into() };
        Self {
            root: "/".into(),
            engines: vec![
                engine(EngineKind::Docker, "/run/docker.sock"),
                engine(EngineKind::Podman, "/run/podman/podman.sock"),
            ],
            engine_timeout: Duration::from_millis(1500),
            engine_version: true,
            container_namespaces: true,
            process: std::process::id(),
        }
    }
}
