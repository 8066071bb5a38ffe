//! The built-in table of services, for a reader and for the names of a policy.

use super::diagnostic::{At, FileId, Place, Problems, SourceText};
use super::names::Names;
use super::read;
use super::read::document::RawService;
use super::shipped::SERVICES;
use crate::model::{PortSpec, ZoneName};
use std::cell::OnceCell;

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
    let catalogue = Catalogue::new(&mut problems);
    let mut names = Names::collect(&mut problems, &[], &catalogue);
    let services = catalogue.entries.iter().map(|entry| {
        let (name, service) = entry.read(catalogue.file);
        WellKnown {
            name: name.value.clone(),
            about: service.about.clone().unwrap_or_default(),
            ports: names.known_service(name.value.as_str()).unwrap_or_default(),
            members: service.members.iter().map(|member| member.value.clone()).collect(),
        }
    });
    services.collect()
}

/// The table, farther than any file. Each command reads a policy, and a policy names few services:
/// no more of it is read than is asked for.
#[derive(Debug)]
pub(super) struct Catalogue {
    file: FileId,
    entries: Vec<Entry>,
}

/// One service: a line of the table.
#[derive(Debug)]
struct Entry {
    name: &'static str,
    line: &'static str,
    /// Where the line begins.
    at: usize,
    read: OnceCell<(At<ZoneName>, RawService)>,
}

impl Catalogue {
    /// The table, as a source that messages can show.
    pub fn new(problems: &mut Problems) -> Self {
        let (name, shown) = ("services.toml".to_owned(), "services.toml (built in)".to_owned());
        let file = problems.add_source(SourceText::new(name, shown, None, SERVICES.to_owned()));
        let mut at = 0;
        let lines = SERVICES.split_inclusive('\n').map(|line| {
            at += line.len();
            (at - line.len(), line.trim_end())
        });
        let entry = |(at, line): (usize, &'static str)| {
            let (name, _) = line.split_once(" =").filter(|_| !line.starts_with('#'))?;
            Some(Entry { name: name.trim_end(), line, at, read: OnceCell::new() })
        };
        Self { file, entries: lines.filter_map(entry).collect() }
    }

    /// The service of this name.
    pub fn get(&self, name: &str) -> Option<&(At<ZoneName>, RawService)> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| entry.read(self.file))
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name)
    }
}

impl Entry {
    fn read(&self, file: FileId) -> &(At<ZoneName>, RawService) {
        self.read.get_or_init(|| {
            let text = format!("{HEADER}{}", self.line);
            let mut problems = Problems::default();
            let alone =
                problems.add_source(SourceText::new(String::new(), String::new(), None, text));
            let mut services = read::services(&mut problems, alone).services;
            let (mut name, mut service) = services.pop().expect("each line of the table is sound");
            // Messages show the whole table.
            let moved = |place: &Place| {
                let to = |byte: usize| byte + self.at - HEADER.len();
                Place::new(file, to(place.start)..to(place.end))
            };
            name.at = moved(&name.at);
            for member in &mut service.members {
                member.at = moved(&member.at);
            }
            (name, service)
        })
    }
}

/// What stands before a line where it is read alone.
const HEADER: &str = "service.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_alone_say_what_the_whole_table_says() {
        let mut problems = Problems::default();
        let catalogue = Catalogue::new(&mut problems);
        let whole = read::services(&mut problems, catalogue.file);
        let alone: Vec<_> = catalogue.entries.iter().map(|own| own.read(catalogue.file)).collect();
        assert_eq!(
            format!("{alone:?}"),
            format!("{:?}", whole.services.iter().collect::<Vec<_>>())
        );
        let found = problems.finish();
        assert!(found.is_empty(), "{found}");
    }

    #[test]
    fn no_group_of_the_table_holds_another() {
        let mut problems = Problems::default();
        let catalogue = Catalogue::new(&mut problems);
        for name in catalogue.names() {
            let (_, service) = catalogue.get(name).expect("is there");
            for member in &service.members {
                let (_, member) = catalogue.get(&member.value).expect("is in the table");
                assert!(member.members.is_empty(), "{name}");
            }
        }
    }
}
