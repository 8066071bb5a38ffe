//! Who reaches what, as values: what reports show.

use super::explain::Decider;
use super::reach::Reach;
use crate::model::{Endpoint, IpFamily, Owner, Protocol, ZoneRef};
use crate::policy::{Origin, ReachVerdict};
use serde::Serialize;
use std::net::IpAddr;

/// The value of `format` in an exposure that this version writes.
pub const EXPOSURE_FORMAT: &str = "fwctl.exposure/1";

/// Who reaches what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// [`EXPOSURE_FORMAT`].
    pub format: &'static str,
    /// The name of the host.
    pub host: String,
    /// When the snapshot was taken.
    pub taken_at: jiff::Timestamp,
    /// Whether a policy was compared.
    pub policy: bool,
    /// What filters or serves past all rules, or could not be read, in words.
    pub unseen: Vec<String>,
    /// Everything that can be dialled.
    pub endpoints: Vec<Exposed>,
    /// Every port that would be reachable if something listened; only where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<Exposed>>,
}

/// Something that can be dialled, and who reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exposed {
    /// The address that it is bound to; `null` for every one.
    pub address: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The last port, of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_port: Option<u16>,
    /// Who holds it.
    pub owner: Owner,
    /// For each zone and IP version.
    pub reach: Vec<ZoneReach>,
    /// As the snapshot has it; `None` for a port on which nothing listens.
    #[serde(skip)]
    pub endpoint: Option<Endpoint>,
}

/// Whether a zone reaches something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZoneReach {
    /// The zone.
    pub zone: ZoneRef,
    /// The IP version.
    pub family: IpFamily,
    /// The dialled address, where that matters.
    pub address: Option<IpAddr>,
    /// How much of the zone gets through.
    pub verdict: Reach,
    /// By which way it is served.
    pub path: String,
    /// Who decides; `null` where no rule does.
    pub decided_by: Option<Decider>,
    /// What decides in the policy: `allow`, `deny` or `default`; `null` without a policy.
    pub policy: Option<&'static str>,
    /// How much of the zone the policy lets through; `null` without a policy.
    pub policy_verdict: Option<ReachVerdict>,
    /// The lines of the policy that decide.
    pub origins: Vec<Origin>,
    /// Whether more gets through than the policy lets, or that cannot be ruled out.
    pub violation: Option<Violation>,
    /// A source for which the verdict holds.
    pub witness: Option<Witness>,
    /// What the verdict depends on, by name.
    pub depends_on: Vec<String>,
}

/// How rules and policy disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Violation {
    /// More gets through than the policy lets.
    Forbidden,
    /// It is not known that no more gets through.
    NotProved,
}

/// A source and its way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// The address.
    pub source: IpAddr,
    /// The interface; `null` from the host itself.
    pub interface: Option<String>,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.interface {
            Some(name) => write!(f, "{} by {name}", self.source),
            None => write!(f, "{} from the host itself", self.source),
        }
    }
}

impl Exposure {
    /// Every disagreement with the policy.
    pub fn violations(&self) -> impl Iterator<Item = (&Exposed, &ZoneReach)> {
        let of = |exposed: &'_ Exposed| {
            let reach: Vec<usize> = (0..exposed.reach.len())
                .filter(|index| exposed.reach[*index].violation.is_some())
                .collect();
            reach
        };
        self.endpoints.iter().flat_map(move |exposed| {
            of(exposed).into_iter().map(move |index| (exposed, &exposed.reach[index]))
        })
    }
}
