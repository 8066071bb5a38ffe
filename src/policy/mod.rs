//! TOML text → [`Policy`].
//!
//! In: the policy file and the files that it names. Out: a policy in which every name is resolved,
//! every value is valid and every rule knows the line it came from; or every error that can be
//! found, each with file, line, column and a fix. Nothing here knows a host.

pub mod diagnostic;
pub mod expectation;
pub mod files;
mod load;
mod names;
mod read;
pub mod region;
mod resolve;
mod sense;
mod settings;
mod shipped;
mod suggest;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, Style};
pub use expectation::{ExpectationFailure, Expected, check_expectations};
pub use files::{Files, MemoryFiles, RealFiles};
pub use region::{
    Arrival, Connection, DecidedBy, Decision, Judge, Reach, ReachVerdict, Target, Witness, decide,
    reach,
};
pub use resolve::prefixes;
pub use shipped::{POLICIES, SERVICES};

use crate::model::nft::RateUnit;
use crate::model::{IfacePattern, PortSpec, Prefix, ZoneName, ZoneRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// A file of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its short name, as origins show it (`policy.toml`, `web-server`, `office.txt`).
    pub name: String,
    /// Where it was read; `None` for a built-in policy.
    pub path: Option<PathBuf>,
    /// SHA-256 of its text, hexadecimal.
    pub sha256: String,
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
}

/// A policy that can be used, and what is odd about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// Warnings alone.
    pub warnings: Diagnostics,
}

/// Reads the policy file and every file it names.
///
/// The error holds everything that is wrong with them, warnings too.
pub fn load(files: &dyn Files, path: &Path) -> Result<Loaded, Diagnostics> {
    let mut loader = load::Loader::new(files);
    loader.policy_file(path);
    finish(loader)
}

/// Reads a shipped policy as it is built in.
pub fn load_shipped(name: &str) -> Result<Loaded, Diagnostics> {
    let files = MemoryFiles::default();
    let mut loader = load::Loader::new(&files);
    loader.shipped(name);
    finish(loader)
}

/// A service of the built-in table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WellKnown {
    /// Its name.
    pub name: ZoneName,
    /// What it is, in one line.
    pub about: String,
    /// Its ports; those of its members for a group.
    pub ports: Vec<PortSpec>,
    /// For a group, the services in it.
    pub members: Vec<String>,
}

/// The built-in table of services, in its own order.
pub fn well_known() -> Vec<WellKnown> {
    let mut problems = diagnostic::Problems::default();
    let catalogue = catalogue(&mut problems);
    let mut names = names::Names::collect(&mut problems, &[], &catalogue);
    let services = catalogue.services.iter().map(|(name, service)| WellKnown {
        name: name.value.clone(),
        about: service.about.clone().unwrap_or_default(),
        ports: names.known_service(name.value.as_str()).unwrap_or_default(),
        members: service.members.iter().map(|member| member.value.clone()).collect(),
    });
    services.collect()
}

fn catalogue(problems: &mut diagnostic::Problems) -> read::document::Document {
    let (name, shown) = ("services.toml".to_owned(), "services.toml (built in)".to_owned());
    let source = diagnostic::SourceText::new(name, shown, None, SERVICES.to_owned());
    let file = problems.add_source(source);
    read::services(problems, file)
}

fn finish(loader: load::Loader<'_>) -> Result<Loaded, Diagnostics> {
    let load::Loader { mut problems, documents, order, .. } = loader;
    if documents.is_empty() {
        return Err(problems.finish());
    }
    let catalogue = catalogue(&mut problems);
    let (mut policy, places) = resolve::resolve(&mut problems, &documents, &catalogue);
    problems.silence_echoes();
    if !problems.has_errors() {
        sense::check(&mut problems, &policy, &places);
    }
    if problems.has_errors() {
        return Err(problems.finish());
    }
    policy.sources = order.into_iter().map(|file| source_file(problems.source(file))).collect();
    Ok(Loaded { policy, warnings: problems.finish() })
}

fn source_file(source: &diagnostic::SourceText) -> SourceFile {
    use sha2::{Digest, Sha256};
    use std::fmt::Write as _;
    let digest = Sha256::digest(source.text.as_bytes());
    let sha256 = digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    SourceFile { name: source.name.clone(), path: source.path.clone(), sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_table_is_sound() {
        let mut problems = diagnostic::Problems::default();
        let catalogue = catalogue(&mut problems);
        names::Names::collect(&mut problems, &[], &catalogue);
        let found = problems.finish();
        assert!(found.is_empty(), "{found}");
        let services = well_known();
        let (groups, services): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|service| !service.members.is_empty());
        assert!(services.len() >= 120, "{}", services.len());
        assert!(groups.len() >= 10, "{}", groups.len());
        for service in groups.iter().chain(&services) {
            assert!(!service.ports.is_empty(), "{}", service.name);
            assert!(!service.about.is_empty(), "{}", service.name);
            assert!(!crate::model::ZoneRef::BUILT_IN.contains(&service.name.as_str()));
        }
    }

    #[test]
    fn shipped_policies_load_without_a_word() {
        for (name, _) in POLICIES {
            let loaded = load_shipped(name).unwrap_or_else(|error| panic!("{error}"));
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            assert!(!loaded.policy.expect.is_empty(), "{name}");
            assert_eq!(check_expectations(&loaded.policy), [], "{name}");
            let files = MemoryFiles::default()
                .with("/p/policy.toml", format!("version = 1\nuse = [\"{name}\"]\n"));
            let used = load(&files, Path::new("/p/policy.toml")).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(used.policy.allow, loaded.policy.allow);
            assert_eq!(used.policy.sources[1], loaded.policy.sources[0]);
        }
    }
}
