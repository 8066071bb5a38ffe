//! The API sockets of Docker and Podman → [`Engine`]s.
//!
//! Whatever an engine does (absent, refusing, hanging, stalling in the middle of an answer,
//! answering garbage), this ends within the given time, and says which it was. Read are names,
//! addresses and ports; never environments, arguments or labels.

mod api;
pub(super) mod convert;

use super::{Engine, EngineKind, EngineState, Link, LinkKind, Options, Warning};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// Where an engine's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSocket {
    /// Which engine.
    pub kind: EngineKind,
    /// Its socket.
    pub path: PathBuf,
}

/// An engine that is asked.
pub enum Asked<'scope> {
    /// On a thread of its own, since it may take its time.
    Waiting(ScopedJoinHandle<'scope, (Engine, Vec<Warning>)>),
    /// There is none.
    Known((Engine, Vec<Warning>)),
}

impl<'scope> Asked<'scope> {
    /// Asks it, if it is there.
    pub fn begin(
        scope: &'scope Scope<'scope, '_>,
        engine: &'scope EngineSocket,
        options: &'scope Options,
    ) -> Self {
        let ask = move || {
            let mut warnings = Vec::new();
            let found = read(engine, options.engine_timeout, options.engine_version, &mut warnings);
            (found, warnings)
        };
        if engine.path.exists() { Self::Waiting(scope.spawn(ask)) } else { Self::Known(ask()) }
    }

    /// Waits for what it answers.
    pub fn end(self, warnings: &mut Vec<Warning>) -> Option<Engine> {
        match self {
            Self::Waiting(thread) => super::joined(thread, "engines", warnings),
            Self::Known((engine, own)) => {
                warnings.extend(own);
                Some(engine)
            }
        }
    }
}

/// Asks one engine, also for its `version`; ends within `limit`.
pub fn read(
    engine: &EngineSocket,
    limit: Duration,
    version: bool,
    warnings: &mut Vec<Warning>,
) -> Engine {
    let mut answer = Engine {
        kind: engine.kind,
        socket: engine.path.display().to_string(),
        state: EngineState::Absent,
        version: None,
        swarm: false,
        networks: Vec::new(),
        containers: Vec::new(),
    };
    answer.state = match reachable(&engine.path) {
        Ok(()) => api::ask(&engine.path, limit, version, &mut answer, warnings),
        Err(state) => state,
    };
    if let Some(message) = complaint(&answer) {
        warnings.push(Warning { subject: subject(engine.kind).into(), message });
    }
    answer
}

/// The name of an engine in warnings.
fn subject(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Docker => "docker",
        EngineKind::Podman => "podman",
    }
}

/// Whether somebody takes connections there; does not wait.
fn reachable(path: &Path) -> Result<(), EngineState> {
    let failed = |error: Errno| EngineState::Failed(format!("its socket: {error}"));
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
    match connect(&socket, &address) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(EngineState::Absent),
        Err(Errno::ACCESS | Errno::PERM) => Err(EngineState::Denied),
        Err(Errno::CONNREFUSED) => Err(EngineState::Refused),
        // Its queue of connections is full: it takes none any more.
        Err(Errno::AGAIN) => Err(EngineState::Hung),
        Err(error) => Err(failed(error)),
    }
}

/// What the user must know of an engine that did not answer.
fn complaint(engine: &Engine) -> Option<String> {
    let what = match &engine.state {
        EngineState::Answered | EngineState::Absent => return None,
        EngineState::Denied => "may not be opened; run fwctl as root".to_owned(),
        // A socket file that was left behind: nothing runs.
        EngineState::Refused => "is there, but nobody listens on it".to_owned(),
        EngineState::Hung => "did not answer in time".to_owned(),
        EngineState::Failed(why) => format!("answered with an error: {why}"),
    };
    Some(format!(
        "{} {what}. What its containers publish is known from the ruleset and the sockets alone.",
        engine.socket
    ))
}

/// Finds the bridges that an engine did not name: the one that has the network's gateway.
pub fn find_bridges(engines: &mut [Engine], links: &[Link]) {
    for network in engines.iter_mut().flat_map(|engine| &mut engine.networks) {
        if network.driver != "bridge" || network.bridge.is_some() {
            continue;
        }
        network.bridge = links
            .iter()
            .filter(|link| link.kind == LinkKind::Bridge)
            .find(|link| {
                link.addresses
                    .iter()
                    .any(|own| network.subnets.iter().any(|subnet| subnet.contains(own.address)))
            })
            .map(|link| link.name.clone());
    }
}
