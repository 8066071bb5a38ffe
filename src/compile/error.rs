//! What a policy says and this host cannot enforce: an error, never a log line.

use super::Environment;
use crate::model::{IfaceName, ZoneRef};
use crate::policy::{Destination, Origin, Policy, Source};

/// Something in the policy that cannot be enforced on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A zone would swallow the internet.
    #[error(
        "{origin}: zone `{zone}` holds `{interface}`, the interface of a default route, and names \
         no addresses: everything from the internet would be in it. Name its addresses, or write \
         `world = true` in the zone if that is meant"
    )]
    ZoneHoldsDefaultRoute {
        /// Where the zone was declared.
        origin: Origin,
        /// Its name.
        zone: String,
        /// The interface.
        interface: IfaceName,
    },
    /// A container network that the host does not have.
    #[error(
        "{origin}: `container:{network}` is no bridge network of a container engine on this host \
         ({known}). Create it first, or take the rule out"
    )]
    UnknownNetwork {
        /// Where the rule was written.
        origin: Origin,
        /// The network's name.
        network: String,
        /// Those that the host has, for a reader.
        known: String,
    },
    /// Containers behind a VRF.
    #[error(
        "the bridge {bridge} of a container network is a port of the VRF {vrf}: what comes from its \
         containers is seen as the VRF's, and cannot be told from what comes from outside. Take it \
         out of the VRF"
    )]
    ContainersInVrf {
        /// The bridge.
        bridge: IfaceName,
        /// The VRF.
        vrf: IfaceName,
    },
    /// A deny of what always passes.
    #[error(
        "{origin}: a deny from `host` cannot be enforced: what the host sends to itself always \
         passes. Take `host` out of `from`"
    )]
    DenyFromHost {
        /// Where the rule was written.
        origin: Origin,
    },
    /// A deny towards a container network by name.
    #[error(
        "{origin}: `container:{network}` in a deny: container networks are closed from outside \
         unless an allow opens them. Take the deny out, or narrow the allow"
    )]
    DenyToNetwork {
        /// Where the rule was written.
        origin: Origin,
        /// The network's name.
        network: String,
    },
}

/// Every reason why the policy cannot be enforced here.
pub(super) fn check(policy: &Policy, environment: &Environment) -> Result<(), Vec<CompileError>> {
    let mut errors = Vec::new();
    for (name, zone) in &policy.zones {
        if zone.world || zone.addresses.is_some() {
            continue;
        }
        let held = environment
            .default_route_interfaces
            .iter()
            .find(|interface| zone.interfaces.iter().any(|pattern| pattern.matches(interface)));
        if let Some(interface) = held {
            errors.push(CompileError::ZoneHoldsDefaultRoute {
                origin: zone.origin.clone(),
                zone: name.to_string(),
                interface: interface.clone(),
            });
        }
    }
    for (bridge, vrf) in &environment.vrf_bridges {
        errors.push(CompileError::ContainersInVrf { bridge: bridge.clone(), vrf: vrf.clone() });
    }
    for rule in &policy.deny {
        if rule.from.contains(&Source::Zone(ZoneRef::Host)) {
            errors.push(CompileError::DenyFromHost { origin: rule.origin.clone() });
        }
        for destination in &rule.to {
            if let Destination::ContainerNetwork(network) = destination {
                errors.push(CompileError::DenyToNetwork {
                    origin: rule.origin.clone(),
                    network: network.clone(),
                });
            }
        }
    }
    for rule in &policy.allow {
        for destination in &rule.to {
            let Destination::ContainerNetwork(network) = destination else { continue };
            if !environment.networks.contains_key(network) {
                errors.push(CompileError::UnknownNetwork {
                    origin: rule.origin.clone(),
                    network: network.clone(),
                    known: known_networks(environment),
                });
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn known_networks(environment: &Environment) -> String {
    if environment.networks.is_empty() {
        return "it has none".to_owned();
    }
    let names: Vec<&str> = environment.networks.keys().map(String::as_str).collect();
    format!("it has {}", names.join(", "))
}
