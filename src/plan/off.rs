//! The host without our table → who reaches what then.
//!
//! In: the policy in force, and the host. Out: every endpoint, now and with our table gone, by the
//! rules of all others. Pure.

use super::{DecidedBy, EndpointExposure, Verdict, ZoneReach, exposure::exposure, pending};
use crate::analyze::Analyzer;
use crate::model::ServedBy;
use crate::observe::Snapshot;
use crate::policy::Policy;

/// Who reaches what once our table is gone. Where that is more than now, what the policy says of it
/// is what keeps it closed today.
pub fn off(policy: &Policy, snapshot: &Snapshot) -> Vec<EndpointExposure> {
    let without = pending::host_without(snapshot);
    let snapshot = without.as_ref();
    let now = Analyzer::new(snapshot);
    let mut exposure = exposure(policy, &now, Some(&now.with_own(None)));
    for one in &mut exposure {
        let routed = matches!(one.endpoint.served_by, ServedBy::Routed { .. });
        for reach in &mut one.reach {
            if reach.decided_by == DecidedBy::PastPolicy {
                reach.decided_by = by_policy(reach, routed);
                reach.neighbour = None;
            }
        }
    }
    exposure
}

fn by_policy(reach: &ZoneReach, routed: bool) -> DecidedBy {
    match reach.policy {
        Verdict::Closed if !reach.origins.is_empty() => DecidedBy::Deny,
        Verdict::Closed if routed => DecidedBy::ContainerNetwork,
        Verdict::Closed => DecidedBy::Default,
        Verdict::Open | Verdict::Limited | Verdict::Partial | Verdict::Unknown => DecidedBy::Allow,
    }
}
