//! The ways on which a packet can come in, as far as a policy can tell them apart.

use crate::model::{IfaceName, IfacePattern};
use crate::policy::Policy;
use std::collections::BTreeSet;

/// How a packet comes in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// From the host itself, over loopback.
    Host,
    /// By a container engine's interface.
    Container(IfaceName),
    /// By any other interface.
    Interface(IfaceName),
}

impl std::fmt::Display for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.pad("loopback"),
            Self::Container(name) | Self::Interface(name) => name.fmt(f),
        }
    }
}

/// One of the ways: all interfaces that are no different to the policy.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    /// The most special pattern of the policy that names them; `None` for the host and for
    /// interfaces that no pattern names.
    pub pattern: Option<IfacePattern>,
    /// One of them.
    pub example: Arrival,
}

impl Atom {
    pub fn is_container(&self) -> bool {
        matches!(self.example, Arrival::Container(_))
    }

    /// Whether the pattern names all of these interfaces; otherwise it names none.
    pub fn is_named_by(&self, pattern: &IfacePattern) -> bool {
        self.pattern.as_ref().is_some_and(|own| pattern.covers(own))
    }
}

/// What is known of which interfaces are a container engine's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Engines<'a> {
    /// Nothing: their usual names are taken.
    UsualNames,
    /// It is these.
    Known(&'a BTreeSet<IfaceName>),
}

/// How the interfaces of Docker, Podman, LXD, Incus, LXC and libvirt begin.
const USUAL: [&str; 8] = ["docker", "br-", "podman", "cni", "lxdbr", "incusbr", "lxcbr", "virbr"];

/// Tried as the name of an interface that no pattern names.
const EXAMPLES: [&str; 6] = ["eth0", "ens3", "enp1s0", "wan0", "net0", "uplink0"];
const CONTAINER_EXAMPLES: [&str; 4] = ["docker0", "br-0", "podman0", "cni0"];

/// The ways on which a packet can come in under this policy.
pub(super) fn atoms(policy: &Policy, engines: Engines<'_>) -> Vec<Atom> {
    let mut patterns: Vec<&IfacePattern> =
        policy.zones.values().flat_map(|zone| &zone.interfaces).collect();
    patterns.sort();
    patterns.dedup();
    // An exact name, then the longest beginning first.
    patterns.sort_by_key(|pattern| match pattern {
        IfacePattern::Exact(_) => 0,
        IfacePattern::StartsWith(start) => usize::MAX - start.len(),
    });
    let best = |name: &IfaceName| patterns.iter().find(|pattern| pattern.matches(name)).copied();
    let mut atoms = vec![Atom { pattern: None, example: Arrival::Host }];
    for pattern in &patterns {
        let own = |name: &IfaceName| best(name) == Some(*pattern);
        let (outside, container) = match (pattern, engines) {
            (IfacePattern::Exact(name), _) => {
                if is_container(name, engines) {
                    (None, Some(name.clone()))
                } else {
                    (Some(name.clone()), None)
                }
            }
            (IfacePattern::StartsWith(start), Engines::Known(names)) => {
                let container = names.iter().find(|name| own(name)).cloned();
                let free = |name: &IfaceName| own(name) && !names.contains(name);
                (names_that_begin(start).find(free), container)
            }
            (IfacePattern::StartsWith(start), Engines::UsualNames) => {
                let usual = USUAL.iter().find(|usual| usual.starts_with(start.as_str()));
                let longer = usual.map_or(start.as_str(), |usual| usual);
                let container = |name: &IfaceName| own(name) && is_container(name, engines);
                let outside = |name: &IfaceName| own(name) && !is_container(name, engines);
                (names_that_begin(start).find(outside), names_that_begin(longer).find(container))
            }
        };
        let pattern = Some((*pattern).clone());
        atoms.extend(
            outside
                .map(|name| Atom { pattern: pattern.clone(), example: Arrival::Interface(name) }),
        );
        atoms.extend(
            container
                .map(|name| Atom { pattern: pattern.clone(), example: Arrival::Container(name) }),
        );
    }
    let free = |name: &IfaceName| best(name).is_none();
    let outside = example(&EXAMPLES, |name| free(name) && !is_container(name, engines));
    let known: Vec<&str> = match engines {
        Engines::Known(names) => names.iter().map(IfaceName::as_str).collect(),
        Engines::UsualNames => Vec::new(),
    };
    let container = example(&known, free).or_else(|| example(&CONTAINER_EXAMPLES, free));
    atoms.extend(outside.map(|name| Atom { pattern: None, example: Arrival::Interface(name) }));
    atoms.extend(container.map(|name| Atom { pattern: None, example: Arrival::Container(name) }));
    atoms
}

fn is_container(name: &IfaceName, engines: Engines<'_>) -> bool {
    match engines {
        Engines::UsualNames => USUAL.iter().any(|start| name.as_str().starts_with(start)),
        Engines::Known(names) => names.contains(name),
    }
}

/// Names that begin so, the plainest first.
fn names_that_begin(start: &str) -> impl Iterator<Item = IfaceName> + '_ {
    let endings = (0..10)
        .map(|digit| digit.to_string())
        .chain((b'a'..=b'z').map(|letter| char::from(letter).to_string()));
    endings.chain([String::new()]).filter_map(move |end| format!("{start}{end}").parse().ok())
}

/// The first of these names that fits, or else any that does.
fn example(names: &[&str], fits: impl Fn(&IfaceName) -> bool) -> Option<IfaceName> {
    let known = names.iter().filter_map(|name| name.parse::<IfaceName>().ok());
    let letters = (b'a'..=b'z').chain(b'0'..=b'9').map(|byte| char::from(byte).to_string());
    let any = letters.flat_map(|start| names_that_begin(&start).collect::<Vec<_>>());
    known.chain(any).find(|name| fits(name))
}
