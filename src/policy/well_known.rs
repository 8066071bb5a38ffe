//! The built-in table of services, for a reader and for the names of a policy.

use super::diagnostic::{Problems, SourceText};
use super::names::Names;
use super::read;
use super::read::document::Document;
use super::shipped::SERVICES;
use crate::model::{PortSpec, ZoneName};

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
    let mut problems = Problems::default();
    let catalogue = catalogue(&mut problems);
    let mut names = Names::collect(&mut problems, &[], &catalogue);
    let services = catalogue.services.iter().map(|(name, service)| WellKnown {
        name: name.value.clone(),
        about: service.about.clone().unwrap_or_default(),
        ports: names.known_service(name.value.as_str()).unwrap_or_default(),
        members: service.members.iter().map(|member| member.value.clone()).collect(),
    });
    services.collect()
}

/// The table as a document that is farther than any file.
pub(super) fn catalogue(problems: &mut Problems) -> Document {
    let (name, shown) = ("services.toml".to_owned(), "services.toml (built in)".to_owned());
    let source = SourceText::new(name, shown, None, SERVICES.to_owned());
    let file = problems.add_source(source);
    read::services(problems, file)
}
