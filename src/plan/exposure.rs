//! Who reaches which endpoint by all rules of the host: now, and when the plan is applied.
//!
//! In: the ruleset in force and the predicted one. Out: both answers, and who decides where it is
//! not the policy.

use super::{DecidedBy, EndpointExposure, Verdict, ZoneReach};
use crate::analyze::{Analyzer, Prospect, Reach, ZoneProspect, prospects};
use crate::model::{Bind, Endpoint, ServedBy, ZoneRef};
use crate::policy::{self, Policy, ReachVerdict};

/// Every endpoint of the host; `predicted` is `None` where nothing changes.
pub(super) fn exposure(
    policy: &Policy,
    live: &Analyzer<'_>,
    predicted: Option<&Analyzer<'_>>,
) -> Vec<EndpointExposure> {
    let told = |Prospect { endpoint, reach }: Prospect| {
        let reach = reach.into_iter().map(|own| told(&endpoint, own)).collect();
        EndpointExposure { endpoint, reach }
    };
    prospects(live, predicted, policy).into_iter().map(told).collect()
}

fn told(endpoint: &Endpoint, own: ZoneProspect) -> ZoneReach {
    let says = said(own.says);
    let after = verdict(own.after);
    let decided_by = decided_by(endpoint, &own, says, after);
    let silent = matches!(decided_by, DecidedBy::Loopback | DecidedBy::Engine);
    let neighbour = match decided_by {
        // Who keeps out is told before who lets in only so often.
        DecidedBy::Neighbour => own.refused_by.or(own.decided_by),
        DecidedBy::PastPolicy | DecidedBy::Unclear => own.decided_by,
        DecidedBy::Allow
        | DecidedBy::Deny
        | DecidedBy::Default
        | DecidedBy::Loopback
        | DecidedBy::ContainerNetwork
        | DecidedBy::Engine
        | DecidedBy::Host => None,
    };
    ZoneReach {
        zone: own.zone,
        family: own.family,
        before: verdict(own.before),
        after,
        policy: says,
        decided_by,
        origins: if silent { Vec::new() } else { own.origins },
        neighbour: neighbour.filter(|rule| !rule.is_ours()),
        depends_on: own.depends_on,
        witness: own.witness.map(|witness| witness.source),
    }
}

fn decided_by(endpoint: &Endpoint, own: &ZoneProspect, says: Verdict, after: Verdict) -> DecidedBy {
    let published = matches!(endpoint.served_by, ServedBy::Published { .. });
    let routed = matches!(endpoint.served_by, ServedBy::Routed { .. });
    let loopback = matches!(endpoint.bind, Bind::Address(address) if address.is_loopback());
    let openness = super::openness;
    // A container that dials a published port may be translated to another container: what
    // containers send to each other is left to the engine.
    let between = own.zone == ZoneRef::Containers
        && (published || routed)
        && openness(after) > openness(says);
    if loopback && after == Verdict::Closed && own.refused_by.is_none() {
        DecidedBy::Loopback
    } else if after == Verdict::Unknown {
        DecidedBy::Unclear
    } else if between || own.by == policy::DecidedBy::LeftToEngine {
        DecidedBy::Engine
    } else if openness(after) < openness(says) {
        let keeps = own.refused_by.as_ref().or(own.decided_by.as_ref());
        match keeps {
            Some(rule) if !rule.is_ours() => DecidedBy::Neighbour,
            None if after == Verdict::Closed => DecidedBy::Host,
            // The part of a zone that can come here at all fares as the rules say of it.
            Some(_) | None => by_policy(own.by, routed),
        }
    } else if openness(after) > openness(says) {
        match &own.decided_by {
            Some(rule) if rule.is_ours() => by_policy(own.by, routed),
            Some(_) | None => DecidedBy::PastPolicy,
        }
    } else {
        by_policy(own.by, routed)
    }
}

fn by_policy(by: policy::DecidedBy, routed: bool) -> DecidedBy {
    match by {
        policy::DecidedBy::Deny => DecidedBy::Deny,
        policy::DecidedBy::Default if routed => DecidedBy::ContainerNetwork,
        policy::DecidedBy::Default => DecidedBy::Default,
        policy::DecidedBy::Allow | policy::DecidedBy::AlwaysPasses => DecidedBy::Allow,
        policy::DecidedBy::LeftToEngine => DecidedBy::Engine,
    }
}

fn verdict(reach: Reach) -> Verdict {
    match reach {
        Reach::Open => Verdict::Open,
        Reach::Limited => Verdict::Limited,
        Reach::Partial => Verdict::Partial,
        Reach::Closed => Verdict::Closed,
        Reach::Unknown => Verdict::Unknown,
    }
}

fn said(verdict: ReachVerdict) -> Verdict {
    match verdict {
        ReachVerdict::Open => Verdict::Open,
        ReachVerdict::Limited => Verdict::Limited,
        ReachVerdict::Partial => Verdict::Partial,
        ReachVerdict::Closed => Verdict::Closed,
    }
}
