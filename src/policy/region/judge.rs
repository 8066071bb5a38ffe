//! All sources of a zone at once.

use super::arrival::Engines;
use super::space::{Region, Space, Witness};
use super::{Target, To, allows_to, denies_to, names_port};
use crate::model::{IfaceName, IpFamily, PortSpec, ZoneRef};
use crate::policy::{Destination, Inbound, Origin, Policy, Rule, Source};
use serde::Serialize;
use std::collections::BTreeSet;

/// A kind of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Kind {
    /// `[[allow]]`
    Allow,
    /// `[[deny]]`
    Deny,
}

/// How much of a zone reaches a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReachVerdict {
    /// Every source, as often as it likes.
    Open,
    /// Every source, and some or all only so often.
    Limited,
    /// Some sources and not others.
    Partial,
    /// None.
    Closed,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecidedBy {
    /// An `[[allow]]`.
    Allow,
    /// A `[[deny]]`.
    Deny,
    /// `[default]`, or that nothing is routed into container networks by itself.
    Default,
    /// What comes from the host itself always passes.
    AlwaysPasses,
    /// What goes between containers is left to their engine.
    LeftToEngine,
}

impl std::fmt::Display for DecidedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Allow => "allowed by",
            Self::Deny => "denied by",
            Self::Default => "by default",
            Self::AlwaysPasses => "what the host sends to itself always passes",
            Self::LeftToEngine => "traffic between containers is left to their engine",
        })
    }
}

/// The answer for one zone, IP version and target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// How much of the zone gets through.
    pub verdict: ReachVerdict,
    /// What decides it.
    pub by: DecidedBy,
    /// The rules that decide it, in the order of the policy; none for the default.
    pub origins: Vec<Origin>,
    /// A source that gets through; where none does, one that does not.
    pub witness: Witness,
    /// Where some get through, a source that does not.
    pub refused: Option<Witness>,
}

/// A policy made ready for many questions.
#[derive(Debug)]
pub struct Judge<'p> {
    policy: &'p Policy,
    space: Space<'p>,
    allow: Vec<Region>,
    deny: Vec<Region>,
}

/// How much of a zone reaches a target: `None` where the zone has no source of this IP version.
///
/// To ask more than once, make a [`Judge`].
pub fn reach(policy: &Policy, zone: &ZoneRef, family: IpFamily, target: &Target) -> Option<Reach> {
    Judge::new(policy).reach(zone, family, target)
}

impl<'p> Judge<'p> {
    /// Judges without a host: an interface that a zone names is a container engine's if it is
    /// called like one.
    pub fn new(policy: &'p Policy) -> Self {
        Self::with(policy, Engines::UsualNames)
    }

    /// Judges for a host whose container engines' interfaces are these.
    pub fn with_containers(policy: &'p Policy, interfaces: &BTreeSet<IfaceName>) -> Self {
        Self::with(policy, Engines::Known(interfaces))
    }

    fn with(policy: &'p Policy, engines: Engines<'_>) -> Self {
        let space = Space::new(policy, engines);
        let regions =
            |rules: &[Rule]| rules.iter().map(|rule| space.from(&rule.from)).collect::<Vec<_>>();
        let (allow, deny) = (regions(&policy.allow), regions(&policy.deny));
        Self { policy, space, allow, deny }
    }

    /// How much of a zone reaches a target: `None` where the zone has no source of this IP
    /// version.
    pub fn reach(&self, zone: &ZoneRef, family: IpFamily, target: &Target) -> Option<Reach> {
        let zone = self.space.zone(zone).only(family);
        self.reach_from(&zone, target.spec(), To::of(target))
    }

    /// The same for sources that are no zone.
    pub fn reach_source(
        &self,
        source: &Source,
        family: IpFamily,
        target: &Target,
    ) -> Option<Reach> {
        let region = self.space.source(source).only(family);
        self.reach_from(&region, target.spec(), To::of(target))
    }

    /// Whether some rule speaks of the dialled address.
    pub fn tells_addresses_apart(&self) -> bool {
        self.policy.allow.iter().chain(&self.policy.deny).any(|rule| !rule.to.is_empty())
    }

    /// Whether no source at all is meant.
    pub fn is_empty(&self, source: &Source) -> bool {
        self.space.source(source).is_empty()
    }

    /// The denies that keep out, on a port that no rule splits, all that an allow lets in.
    pub(in crate::policy) fn denies_over(
        &self,
        allow: usize,
        spec: PortSpec,
    ) -> Option<Vec<usize>> {
        let rule = &self.policy.allow[allow];
        let mut left = self.allow[allow].clone();
        if left.is_empty() {
            return None;
        }
        let mut over = Vec::new();
        for (index, deny) in self.policy.deny.iter().enumerate() {
            let covers_to = deny.to.is_empty()
                || (!rule.to.is_empty() && rule.to.iter().all(|to| deny.to.contains(to)));
            let next = left.without(&self.deny[index]);
            if names_port(deny, spec) && covers_to && next != left {
                left = next;
                over.push(index);
            }
            if left.is_empty() {
                return Some(over);
            }
        }
        None
    }

    /// The other rules of a kind that decide alike, on a port that no rule splits, all that one of
    /// them decides; those that are gone do not count.
    pub(in crate::policy) fn alike_over(
        &self,
        kind: Kind,
        index: usize,
        spec: PortSpec,
        gone: &BTreeSet<usize>,
    ) -> Option<Vec<usize>> {
        let (rules, regions) = match kind {
            Kind::Allow => (&self.policy.allow, &self.allow),
            Kind::Deny => (&self.policy.deny, &self.deny),
        };
        let rule = &rules[index];
        let mut left = regions[index].clone();
        if left.is_empty() {
            return None;
        }
        let into_networks = rule.to.iter().any(|to| matches!(to, Destination::ContainerNetwork(_)));
        let mut over = Vec::new();
        for (other, theirs) in rules.iter().enumerate() {
            let named = !rule.to.is_empty() && rule.to.iter().all(|to| theirs.to.contains(to));
            let anywhere = theirs.to.is_empty() && (kind == Kind::Deny || !into_networks);
            // Each limit counts by itself.
            let alike = theirs.limit.is_none();
            let told = theirs.log || !rule.log;
            if other == index
                || gone.contains(&other)
                || !alike
                || !told
                || !names_port(theirs, spec)
            {
                continue;
            }
            let next = left.without(&regions[other]);
            if (named || anywhere) && next != left {
                left = next;
                over.push(other);
            }
            if left.is_empty() {
                return Some(over);
            }
        }
        None
    }

    /// The same for a port that no rule splits.
    pub(in crate::policy) fn reach_class(
        &self,
        source: &Source,
        family: IpFamily,
        spec: PortSpec,
        to: To<'_>,
    ) -> Option<Reach> {
        self.reach_from(&self.space.source(source).only(family), spec, to)
    }

    fn reach_from(&self, zone: &Region, spec: PortSpec, to: To<'_>) -> Option<Reach> {
        self.space.witness(zone)?;
        let free = self.free(zone, to);
        let rest = zone.without(&free.0);
        let mut denied = Part::new(self.space.nothing());
        for (rule, region) in self.policy.deny.iter().zip(&self.deny) {
            if names_port(rule, spec) && denies_to(self.policy, rule, to) {
                denied.add(rule, &rest.intersection(region));
            }
        }
        let rest = rest.without(&denied.region);
        let mut allowed = Part::new(self.space.nothing());
        let mut limited = Part::new(self.space.nothing());
        for (rule, region) in self.policy.allow.iter().zip(&self.allow) {
            if names_port(rule, spec) && allows_to(self.policy, rule, to) {
                let part = if rule.limit.is_some() { &mut limited } else { &mut allowed };
                part.add(rule, &rest.intersection(region));
            }
        }
        limited.region = limited.region.without(&allowed.region);
        let undecided = rest.without(&allowed.region).without(&limited.region);
        let accepted = self.policy.default.inbound == Inbound::Accept && to.network.is_none();
        let nothing = self.space.nothing();
        let (by_default, dropped) =
            if accepted { (&undecided, &nothing) } else { (&nothing, &undecided) };
        let open = allowed.region.union(by_default).union(&free.0);
        let closed = denied.region.union(dropped);
        let verdict = match (open.is_empty(), limited.region.is_empty(), closed.is_empty()) {
            (_, true, true) => ReachVerdict::Open,
            (_, false, true) => ReachVerdict::Limited,
            (true, true, false) => ReachVerdict::Closed,
            (_, _, false) => ReachVerdict::Partial,
        };
        let (by, mut origins) = match verdict {
            ReachVerdict::Open if zone.is_subset(&free.0) => (free.1, Vec::new()),
            ReachVerdict::Open if by_default.is_empty() && !allowed.origins.is_empty() => {
                (DecidedBy::Allow, allowed.origins)
            }
            ReachVerdict::Closed if dropped.is_empty() => (DecidedBy::Deny, denied.origins),
            ReachVerdict::Open | ReachVerdict::Closed => (DecidedBy::Default, Vec::new()),
            ReachVerdict::Limited => (DecidedBy::Allow, limited.origins),
            ReachVerdict::Partial if !denied.region.is_empty() => (DecidedBy::Deny, denied.origins),
            // Containers that the engine lets through, beside sources that nothing lets in.
            ReachVerdict::Partial if allowed.region.is_empty() && limited.region.is_empty() => {
                (DecidedBy::Default, Vec::new())
            }
            ReachVerdict::Partial => {
                (DecidedBy::Allow, [allowed.origins, limited.origins].concat())
            }
        };
        origins.dedup();
        let admitted = self.space.witness(&open).or_else(|| self.space.witness(&limited.region));
        let refused = self.space.witness(&closed);
        let (witness, refused) = match (admitted, refused) {
            (Some(admitted), refused) => (admitted, refused),
            (None, refused) => (refused?, None),
        };
        Some(Reach { verdict, by, origins, witness, refused })
    }

    /// What no rule is asked about: the host itself, and containers that dial containers.
    fn free(&self, zone: &Region, to: To<'_>) -> (Region, DecidedBy) {
        let host = zone.intersection(&self.space.zone(&ZoneRef::Host));
        if to.network.is_none() {
            return (host, DecidedBy::AlwaysPasses);
        }
        let containers = zone.intersection(&self.space.containers());
        if containers.is_empty() {
            (host, DecidedBy::AlwaysPasses)
        } else {
            (host.union(&containers), DecidedBy::LeftToEngine)
        }
    }
}

/// Sources, and the rules that speak of some of them.
struct Part {
    region: Region,
    origins: Vec<Origin>,
}

impl Part {
    fn new(nothing: Region) -> Self {
        Self { region: nothing, origins: Vec::new() }
    }

    fn add(&mut self, rule: &Rule, region: &Region) {
        if !region.is_empty() {
            self.region = self.region.union(region);
            self.origins.push(rule.origin.clone());
        }
    }
}
