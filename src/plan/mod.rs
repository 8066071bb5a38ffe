//! Desired + live → [`Plan`]: what changes in the rules, and what that changes for people.
//!
//! In: a policy, a snapshot and the table compiled from both. Out: a value that can be shown,
//! saved, reviewed elsewhere, and handed to [`crate::guard`]. Pure.

mod build;
pub mod diff;
mod established;
mod expectations;
mod exposure;
pub mod marker;
mod moved;
mod off;
pub mod pending;
mod saved;
mod status;
pub mod transaction;
pub mod way;

pub use build::plan;
pub use established::{Established, established};
pub use expectations::expectations;
pub use moved::{Moved, moved};
pub use off::off;
pub use saved::{SAVED_FORMAT, Saved, SavedError};
pub use status::{Counted, Ended, PutBack, STATUS_FORMAT, State, Status, Waiting, status};

use crate::analyze::Decider;
use crate::model::nft::{Chain, Element, Rule, Set, Table};
use crate::model::{Endpoint, IpFamily, ZoneRef};
use crate::policy::Origin;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The value of `format` in a plan that this version writes.
pub const FORMAT: &str = "fwctl.plan/1";

/// Our table as it stands in the ruleset of a host.
pub fn ours(snapshot: &crate::observe::Snapshot) -> Option<&Table> {
    snapshot.ruleset.table(crate::model::nft::Family::Inet, crate::compile::TABLE)
}

/// What apply would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: String,
    /// When the snapshot that it stands on was taken.
    pub taken_at: jiff::Timestamp,
    /// The name of the host that it is for.
    pub host: String,
    /// Whether the table is made, changed or left alone.
    pub outcome: Outcome,
    /// The generation that is in force; `None` where no table of ours is.
    pub live: Option<Marker>,
    /// The generation that it leads to.
    pub desired: Marker,
    /// The whole table that it leads to.
    pub table: Table,
    /// The changes, in the order in which the transaction makes them.
    pub edits: Vec<Edit>,
    /// Which of the live table's objects are not as fwctl left them: someone changed them by hand.
    /// What the edits mend of that needs no policy change to explain it.
    pub drift: Vec<Edit>,
    /// Every endpoint, and whether each zone reaches it.
    pub exposure: Vec<EndpointExposure>,
    /// Whether the policy's own expectations hold.
    pub expectations: Vec<ExpectationResult>,
    /// Connections that are open and that the policy would not let in; they go on unless they are
    /// cut.
    #[serde(default)]
    pub established: Vec<Established>,
    /// What a reader should know besides.
    pub notices: Vec<Notice>,
}

/// Whether a plan changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There is no table of ours yet.
    Create,
    /// It is changed in place.
    Update,
    /// It is as it should be.
    Unchanged,
}

/// How fwctl recognises a table as its own, and which generation it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The number of the generation, from 1; 0 where no kept one could be loaded at boot, and SSH
    /// alone is let in.
    pub generation: u32,
    /// SHA-256 of the table's text, hexadecimal.
    pub digest: String,
}

/// One change to our table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "edit")]
pub enum Edit {
    /// Makes the table.
    AddTable,
    /// Takes every rule, set and chain out before all is made anew: the live table holds an object
    /// of ours whose declaration was changed by hand.
    Rebuild {
        /// Which objects.
        objects: Vec<String>,
    },
    /// Makes a set or map, with its elements.
    AddSet {
        /// The set.
        set: Set,
    },
    /// Makes a chain, without rules.
    AddChain {
        /// The chain; its rules follow as edits of their own.
        chain: Chain,
    },
    /// Puts a rule into a chain.
    AddRule {
        /// The chain's name.
        chain: String,
        /// Where in the chain.
        place: Place,
        /// The rule.
        rule: Rule,
    },
    /// Takes a rule out of a chain.
    DeleteRule {
        /// The chain's name.
        chain: String,
        /// The live rule.
        rule: Rule,
    },
    /// Puts elements into a set or map.
    AddElements {
        /// The set's name.
        set: String,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Takes elements out of a set or map.
    DeleteElements {
        /// The set's name.
        set: String,
        /// The live elements.
        elements: Vec<Element>,
    },
    /// Takes a chain out, with its rules.
    DeleteChain {
        /// The live chain.
        chain: Chain,
    },
    /// Takes a set or map out.
    DeleteSet {
        /// The live set.
        set: Set,
    },
}

/// Where a rule is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Before every rule that stays.
    First,
    /// Right behind the live rule with this handle.
    After(u64),
    /// Behind every rule.
    End,
}

/// An endpoint, and whether each zone reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointExposure {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// One for each zone and IP version that the endpoint and the zone have.
    pub reach: Vec<ZoneReach>,
}

/// Whether a zone reaches an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneReach {
    /// The zone.
    pub zone: ZoneRef,
    /// The IP version.
    pub family: IpFamily,
    /// Now, by all rules of the host.
    pub before: Verdict,
    /// When the plan is applied, by all rules of the host.
    pub after: Verdict,
    /// What the policy alone says.
    pub policy: Verdict,
    /// What decides.
    pub decided_by: DecidedBy,
    /// The lines of the policy that speak of it; empty for the default.
    pub origins: Vec<Origin>,
    /// The rule of another's table that decides otherwise than the policy.
    #[serde(default)]
    pub neighbour: Option<Decider>,
    /// On what it depends, by name.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// A source for which it is so.
    pub witness: Option<IpAddr>,
}

/// Whether packets reach an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// From the whole zone.
    Open,
    /// From the whole zone, at a limited rate.
    Limited,
    /// From a part of the zone.
    Partial,
    /// From nowhere in the zone.
    Closed,
    /// It depends on something that is not known.
    Unknown,
}

/// How open a verdict is. What is not known may be open.
pub(crate) fn openness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Closed => 0,
        Verdict::Partial => 1,
        Verdict::Limited => 2,
        Verdict::Open | Verdict::Unknown => 3,
    }
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecidedBy {
    /// An `[[allow]]`.
    Allow,
    /// A `[[deny]]`.
    Deny,
    /// `[default]`.
    Default,
    /// The endpoint is bound to loopback: only the host itself dials it.
    Loopback,
    /// A container's own address, which nothing routed from outside reaches.
    ContainerNetwork,
    /// Between containers, which is left to their engine.
    Engine,
    /// A neighbour's rule: less gets through than the policy would let.
    Neighbour,
    /// The host itself does not take the packet there, whatever the rules say.
    Host,
    /// More gets through than the policy lets: its table does not see these packets.
    PastPolicy,
    /// It is not known.
    Unclear,
}

/// Whether an `[[expect]]` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationResult {
    /// Where it was written.
    pub origin: Origin,
    /// What it says, for a reader.
    pub says: String,
    /// Why it does not hold; empty where it does.
    pub failures: Vec<String>,
}

/// Something that a reader of the plan should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// A stable name: `docker-not-read`, `macvlan`, `carried-connections`, …
    pub id: String,
    /// What it is, in a sentence or two.
    pub message: String,
}
