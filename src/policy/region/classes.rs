//! Ports and destinations that no rule of a policy tells apart, so that one answer holds for all.

use super::To;
use super::interval::{address, number};
use crate::model::{IpFamily, PortRange, PortSpec, Protocol};
use crate::policy::{Destination, Policy, prefixes};
use std::collections::BTreeSet;

/// Splits what is named into parts that each rule names wholly or not at all.
pub(in crate::policy) fn ports(policy: &Policy, spec: PortSpec) -> Vec<PortSpec> {
    let rules = || policy.allow.iter().chain(&policy.deny).flat_map(|rule| &rule.ports);
    match spec {
        PortSpec::Protocol(_) => vec![spec],
        PortSpec::Ports(protocol, range) => {
            let mut starts = BTreeSet::from([range.first()]);
            for other in rules() {
                if let PortSpec::Ports(theirs, other) = other
                    && *theirs == protocol
                {
                    starts.insert(other.first());
                    starts.extend(other.last().checked_add(1));
                }
            }
            let starts: Vec<u16> =
                starts.into_iter().filter(|start| range.contains(*start)).collect();
            let ends = starts[1..].iter().map(|next| next - 1).chain([range.last()]);
            let parts = starts.iter().zip(ends);
            parts
                .filter_map(|(first, last)| PortRange::new(*first, last).ok())
                .map(|part| PortSpec::Ports(protocol, part))
                .collect()
        }
        PortSpec::All => {
            let mut named: BTreeSet<Protocol> = Protocol::WITH_PORTS.into();
            named.extend(rules().filter_map(|spec| match spec {
                PortSpec::Ports(protocol, _) | PortSpec::Protocol(protocol) => Some(*protocol),
                PortSpec::All => None,
            }));
            // The first protocol that nothing names stands for all of those.
            let other = (0..=u8::MAX).rev().map(Protocol).find(|p| !named.contains(p));
            named
                .into_iter()
                .chain(other)
                .flat_map(|protocol| {
                    if protocol.has_ports() {
                        ports(policy, PortSpec::Ports(protocol, PortRange::ALL))
                    } else {
                        vec![PortSpec::Protocol(protocol)]
                    }
                })
                .collect()
        }
    }
}

/// One destination for each kind that the rules tell apart: an address that none names, one of
/// each part of the addresses that some name, and each container network that one names.
pub(in crate::policy) fn destinations(policy: &Policy, family: IpFamily) -> Vec<To<'_>> {
    let rules = || policy.allow.iter().chain(&policy.deny).flat_map(|rule| &rule.to);
    let mut points = BTreeSet::new();
    let mut networks = BTreeSet::new();
    for to in rules() {
        match to {
            Destination::ContainerNetwork(name) => {
                networks.insert(name.as_str());
            }
            Destination::Address(list) => {
                for prefix in prefixes(policy, std::slice::from_ref(list)) {
                    if prefix.family() == family {
                        points.insert(number(prefix.first()));
                        points.extend(number(prefix.last()).checked_add(1));
                    }
                }
            }
        }
    }
    let named = |point: &u128| {
        let address = address(family, *point);
        rules().any(|to| match to {
            Destination::Address(list) => {
                prefixes(policy, std::slice::from_ref(list)).any(|prefix| prefix.contains(address))
            }
            Destination::ContainerNetwork(_) => false,
        })
    };
    let points = points.into_iter().filter(named);
    let points = points.map(|point| To { dialled: Some(address(family, point)), network: None });
    let networks = networks.into_iter().map(|name| To { dialled: None, network: Some(name) });
    [To { dialled: None, network: None }].into_iter().chain(points).chain(networks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{MemoryFiles, load};
    use std::path::Path;

    fn policy(rules: &str) -> Policy {
        let files = MemoryFiles::default().with("/p.toml", format!("version = 1\n{rules}"));
        load(&files, Path::new("/p.toml")).expect("sound").policy
    }

    #[test]
    fn ranges_are_split_where_a_rule_begins_or_ends() {
        let policy = policy(
            "[[allow]]\nports = [\"80/tcp\", \"90-99/tcp\", \"85/udp\"]\n\
             [[deny]]\nports = [\"95-200/tcp\"]\nfrom = [\"internet\"]\n",
        );
        let parts = ports(&policy, "80-100/tcp".parse().expect("valid"));
        let texts: Vec<_> = parts.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["80/tcp", "81-89/tcp", "90-94/tcp", "95-99/tcp", "100/tcp"]);
        let parts = ports(&policy, PortSpec::All);
        assert!(parts.contains(&PortSpec::Protocol(Protocol(255))), "{parts:?}");
    }

    #[test]
    fn destinations_are_told_apart_as_rules_do() {
        let policy = policy(
            "[[allow]]\nports = [\"80/tcp\"]\nto = [\"192.0.2.0/30\", \"192.0.2.1\", \"container:db\"]\n",
        );
        let found: Vec<_> = destinations(&policy, IpFamily::Ipv4)
            .into_iter()
            .map(|to| (to.dialled.map(|a| a.to_string()), to.network.map(str::to_owned)))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                (None, None),
                (some("192.0.2.0"), None),
                (some("192.0.2.1"), None),
                (some("192.0.2.2"), None),
                (None, some("db")),
            ]
        );
    }
}
