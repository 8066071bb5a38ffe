//! What a policy says of connections: of one, and of all that a zone can open.
//!
//! In: a policy, and what is asked. Out: whether it is let in, which rules decide that, and a
//! source as a witness. No host is looked at: what a packet meets after our own table, and which
//! endpoints there are, is for later stages.

mod arrival;
mod classes;
mod decide;
mod interval;
mod judge;
mod space;
#[cfg(test)]
mod tests;

pub use arrival::Arrival;
pub(super) use classes::{destinations, ports};
pub use decide::{Connection, Decision, decide};
pub(in crate::policy) use judge::Kind;
pub use judge::{DecidedBy, Judge, Reach, ReachVerdict, reach};
pub use space::Witness;

use crate::model::{PortRange, PortSpec, Protocol};
use crate::policy::{AddressRef, Destination, Policy, Rule, prefixes};
use serde::Serialize;
use std::net::IpAddr;

/// What is dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    /// The protocol.
    pub protocol: Protocol,
    /// The port, for a protocol that has ports.
    pub port: Option<u16>,
    /// The dialled address; `None` for one of the host's that no rule's `to` names.
    pub dialled: Option<IpAddr>,
    /// The container network, for a container's own address that is routed to. A port that is
    /// published is a port of the host, and has none.
    pub network: Option<String>,
}

impl Target {
    /// A port of the host, at an address that no rule names; 0 for a protocol without ports.
    pub fn port(protocol: Protocol, port: u16) -> Self {
        Self { protocol, port: (port != 0).then_some(port), dialled: None, network: None }
    }

    fn spec(&self) -> PortSpec {
        match self.port.and_then(|port| PortRange::single(port).ok()) {
            Some(range) => PortSpec::Ports(self.protocol, range),
            None => PortSpec::Protocol(self.protocol),
        }
    }
}

/// Where something is dialled, beside its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct To<'a> {
    pub dialled: Option<IpAddr>,
    pub network: Option<&'a str>,
}

impl<'a> To<'a> {
    fn of(target: &'a Target) -> Self {
        Self { dialled: target.dialled, network: target.network.as_deref() }
    }
}

/// Whether the rule speaks of this port: one that no rule of the policy splits.
fn names_port(rule: &Rule, spec: PortSpec) -> bool {
    rule.ports.iter().any(|own| own.covers(spec))
}

fn names_address(policy: &Policy, own: &AddressRef, dialled: Option<IpAddr>) -> bool {
    let Some(dialled) = dialled else { return false };
    prefixes(policy, std::slice::from_ref(own)).any(|prefix| prefix.contains(dialled))
}

/// Whether an allow speaks of this destination. Into a container network, only one that names it.
fn allows_to(policy: &Policy, rule: &Rule, to: To<'_>) -> bool {
    (rule.to.is_empty() && to.network.is_none())
        || rule.to.iter().any(|own| match own {
            Destination::ContainerNetwork(name) => to.network == Some(name),
            Destination::Address(own) => {
                to.network.is_none() && names_address(policy, own, to.dialled)
            }
        })
}

/// Whether a deny speaks of this destination. One without `to` denies container networks too.
fn denies_to(policy: &Policy, rule: &Rule, to: To<'_>) -> bool {
    rule.to.is_empty()
        || rule.to.iter().any(|own| match own {
            Destination::ContainerNetwork(name) => to.network == Some(name),
            Destination::Address(own) => {
                to.network.is_none() && names_address(policy, own, to.dialled)
            }
        })
}
