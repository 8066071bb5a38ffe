//! A policy and the connections that are open → those that could not be opened anew under it.
//!
//! An apply cuts nothing: what is open goes on, and is let out by the first rule. So they are
//! named: who, from where, to what. Pure.

use crate::compile::Environment;
use crate::model::{Owner, Protocol};
use crate::observe::{Flow, Snapshot};
use crate::policy::{Arrival, Connection, Decision, Origin, Policy, Target, decide};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A connection that is open, and that the policy would not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Established {
    /// The connection.
    #[serde(flatten)]
    pub flow: Flow,
    /// Who answers it, where that is known.
    pub owner: Option<Owner>,
    /// The user, where it is an SSH session.
    pub user: Option<String>,
    /// Whether fwctl runs in it: that one is never closed.
    pub own: bool,
    /// The lines that deny it; none where no rule lets it in.
    pub denied_by: Vec<Origin>,
}

/// Those that this policy would not let in.
pub fn established(policy: &Policy, snapshot: &Snapshot) -> Vec<Established> {
    let ground = Ground::new(snapshot);
    let denied = |flow: &Flow| {
        let decision = decide(policy, &ground.connection(flow)?);
        let denied_by = match decision {
            Decision::Deny(origins) => origins,
            Decision::Default(_) | Decision::NoRoute if !decision.passes() => Vec::new(),
            _ => return None,
        };
        let session = snapshot.ssh.sessions.iter().find(|session| {
            flow.protocol == Protocol::TCP
                && canonical(session.remote) == flow.seen
                && canonical(session.local) == flow.served
        });
        Some(Established {
            owner: ground.owner(flow),
            user: session.and_then(|session| session.user.clone()),
            own: session.is_some_and(|session| session.own),
            denied_by,
            flow: flow.clone(),
        })
    };
    snapshot.flows.iter().filter_map(denied).collect()
}

struct Ground<'s> {
    snapshot: &'s Snapshot,
    environment: Environment,
    containers: std::collections::BTreeSet<crate::model::IfaceName>,
}

impl<'s> Ground<'s> {
    fn new(snapshot: &'s Snapshot) -> Self {
        let environment = Environment::of(snapshot);
        let containers = environment.container_interfaces(snapshot);
        Self { snapshot, environment, containers }
    }

    /// The question that the connection's first packet would be; `None` where none of ours is
    /// asked.
    fn connection(&self, flow: &Flow) -> Option<Connection> {
        let arrival = match &flow.interface {
            Some(name) if self.containers.contains(name) => Arrival::Container(name.clone()),
            Some(name) => Arrival::Interface(name.clone()),
            // By an interface that no zone names.
            None => Arrival::Interface("unknown".parse().expect("is an interface name")),
        };
        let on_host = self.is_own(flow.served);
        if matches!(arrival, Arrival::Container(_)) && !on_host {
            // What containers say to each other is their engine's, published or not.
            return None;
        }
        let routed = !on_host && flow.dialled == flow.served;
        let network = if routed { self.network(flow) } else { None };
        let target = Target {
            dialled: Some(flow.dialled.ip()),
            network,
            ..Target::port(flow.protocol, flow.dialled.port())
        };
        Some(Connection { arrival, source: flow.source.ip(), target })
    }

    fn is_own(&self, end: SocketAddr) -> bool {
        let addresses = self.snapshot.links.iter().flat_map(|link| &link.addresses);
        addresses.map(|own| own.address).any(|own| own == end.ip())
    }

    /// The container network that the connection was routed to.
    fn network(&self, flow: &Flow) -> Option<String> {
        let to = crate::observe::routing::interface_to(&self.snapshot.routes, flow.served.ip())?;
        let known = self.environment.networks.iter().find(|(_, bridge)| *bridge == to);
        Some(known.map_or_else(|| to.to_string(), |(name, _)| name.clone()))
    }

    fn owner(&self, flow: &Flow) -> Option<Owner> {
        let sockets = self.snapshot.sockets.iter().filter(|own| own.namespace.is_none());
        let exact = sockets.clone().find(|own| {
            own.protocol == flow.protocol
                && canonical(own.local) == flow.served
                && own.remote.map(canonical) == Some(flow.seen)
        });
        let on_host = self.is_own(flow.served);
        let listener = sockets.clone().filter(|_| on_host).find(|own| {
            own.protocol == flow.protocol
                && own.remote.is_none()
                && own.local.port() == flow.served.port()
                && (own.local.ip().is_unspecified() || canonical(own.local) == flow.served)
        });
        let held = exact.into_iter().chain(listener).find_map(|own| own.owners.first().cloned());
        held.or_else(|| {
            let mut containers = self.snapshot.engines.iter().flat_map(|own| &own.containers);
            let container = containers
                .find(|own| own.addresses.values().flatten().any(|ip| *ip == flow.served.ip()))?;
            Some(Owner { process: None, unit: None, container: Some(container.name.clone()) })
        })
    }
}

fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}
