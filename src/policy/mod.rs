//! TOML text → [`Policy`].
//!
//! In: the policy file and the files that it names. Out: a policy in which every name is resolved,
//! every value is valid and every rule knows the line it came from; or every error that can be
//! found, each with file, line, column and a fix. Nothing here knows a host.

pub mod diagnostic;
pub mod expectation;
pub mod files;
mod gather;
mod lint;
mod load;
mod names;
mod read;
pub mod region;
mod resolve;
mod sense;
mod settings;
mod shipped;
mod suggest;
#[cfg(test)]
mod tests;
mod well_known;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, Style};
pub use expectation::{ExpectationFailure, Expected, check_expectations};
pub use files::{Files, MemoryFiles, RealFiles};
pub use load::{Loaded, load, load_shipped};
pub use region::{
    Arrival, Connection, DecidedBy, Decision, Judge, Reach, ReachVerdict, Target, Witness, decide,
    reach,
};
pub use resolve::prefixes;
pub use shipped::{POLICIES, SERVICES};
pub use well_known::{WellKnown, well_known};

use crate::model::nft::RateUnit;
use crate::model::{IfacePattern, PortSpec, Prefix, ZoneName, ZoneRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole policy, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What holds where no rule speaks.
    pub default: Defaults,
    /// The declared zones.
    pub zones: BTreeMap<ZoneName, Zone>,
    /// The named sets.
    pub sets: BTreeMap<ZoneName, NamedSet>,
    /// Every `[[allow]]`, in the order of the files and lines.
    pub allow: Vec<Rule>,
    /// Every `[[deny]]`.
    pub deny: Vec<Rule>,
    /// Every `[[expect]]`.
    pub expect: Vec<Expectation>,
    /// `[guard]`.
    pub guard: GuardSettings,
    /// Every file that was read, the policy file first.
    pub sources: Vec<SourceFile>,
}

impl Policy {
    /// Whether some rule opens a container network by its name.
    pub fn names_container_networks(&self) -> bool {
        let mut destinations = self.allow.iter().chain(&self.deny).flat_map(|rule| &rule.to);
        destinations.any(|destination| matches!(destination, Destination::ContainerNetwork(_)))
    }
}

/// A file of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its short name, as origins show it (`policy.toml`, `web-server`, `office.txt`).
    pub name: String,
    /// Where it was read; `None` for a built-in policy.
    pub path: Option<PathBuf>,
    /// SHA-256 of its text, hexadecimal.
    pub sha256: String,
    /// Its text, for a reader of what was applied; `None` for a long list of addresses, which the
    /// policy holds already, and in a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Where something in the policy was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The short name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}:{}", self.file, self.line))
    }
}

/// What holds where no rule speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// What becomes of new connections that no rule allows or denies.
    pub inbound: Inbound,
    /// What becomes of routing between networks that are no containers.
    pub forwarded: Forwarded,
    /// Whether echo requests are answered.
    pub ping: bool,
    /// How many of the packets that the default drops are logged.
    pub log: Option<Rate>,
}

/// The default for new inbound connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inbound {
    /// Silence.
    Drop,
    /// An answer that the port is closed.
    Reject,
    /// They pass.
    Accept,
}

/// The default for routing between networks that are no containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarded {
    /// As it is without fwctl.
    Keep,
    /// Nothing new passes.
    Drop,
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: RateUnit,
    /// How many may come at once.
    pub burst: u32,
}

/// A declared zone. Where both are given, both must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// By which interfaces its packets come in; empty for any.
    pub interfaces: Vec<IfacePattern>,
    /// From which addresses they come; `None` for any, an empty list where every set it names is
    /// empty.
    pub addresses: Option<Vec<AddressRef>>,
    /// Whether it may be as large as the world.
    pub world: bool,
    /// Where it was declared.
    pub origin: Origin,
}

/// Addresses in a list: a prefix, or a named set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressRef {
    /// A prefix.
    Prefix(Prefix),
    /// `@name`.
    Set(ZoneName),
}

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSet {
    /// Its prefixes, sorted, without duplicates.
    pub prefixes: Vec<Prefix>,
    /// Where it was declared.
    pub origin: Origin,
}

/// An `[[allow]]` or `[[deny]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What is dialled; sorted, never empty.
    pub ports: Vec<PortSpec>,
    /// The service names that it was written with, for a reader.
    pub services: Vec<String>,
    /// From where; empty for anywhere.
    pub from: Vec<Source>,
    /// Which address is dialled; empty for any of the host's.
    pub to: Vec<Destination>,
    /// How many new connections each source may open. Never set on a deny.
    pub limit: Option<Rate>,
    /// Whether what it decides is logged.
    pub log: bool,
    /// Why it is there.
    pub note: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// From where a connection comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A zone.
    Zone(ZoneRef),
    /// Addresses. Like a zone of addresses they never claim what comes in by a container engine's
    /// interface.
    Addresses(AddressRef),
}

/// To where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// The dialled address.
    Address(AddressRef),
    /// `container:NETWORK`: the containers' own addresses on this network.
    ContainerNetwork(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Zone(zone) => zone.fmt(f),
            Self::Addresses(addresses) => addresses.fmt(f),
        }
    }
}

impl std::fmt::Display for AddressRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Set(name) => f.pad(&format!("@{name}")),
        }
    }
}

/// An `[[expect]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// From where.
    pub from: Vec<Source>,
    /// What must be reachable.
    pub open: Vec<PortSpec>,
    /// What must not be.
    pub closed: Vec<PortSpec>,
    /// The words of `open` and `closed` as they were written, for a reader.
    pub words: Vec<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// `[guard]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// What must stay reachable.
    pub keep: Vec<PortSpec>,
    /// From where; `None`: from where the sessions in use come, else the internet.
    pub from: Option<Vec<Source>>,
    /// How long a change waits for its confirmation.
    pub confirm_within: std::time::Duration,
    /// How many generations are kept on disk.
    #[serde(default = "settings::keep_generations")]
    pub keep_generations: u32,
}
