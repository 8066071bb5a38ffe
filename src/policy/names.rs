//! The zones, sets and services of all documents, by name; which of them are used.

use super::diagnostic::{At, Place, Problem, Problems};
use super::read::document::{Depth, Document, RawService, RawSet, RawZone};
use super::read::values;
use super::resolve::united;
use super::suggest::did_you_mean;
use super::well_known::Catalogue;
use crate::model::{PortSpec, ZoneName, ZoneRef};
use std::collections::{BTreeMap, BTreeSet};

/// A named table, and how near the file is that it stands in.
#[derive(Debug)]
pub(super) struct Named<'d, T> {
    pub name: &'d At<ZoneName>,
    pub value: &'d T,
    depth: Depth,
}

impl<T> Clone for Named<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Named<'_, T> {}

type Table<'d, T> = BTreeMap<ZoneName, Named<'d, T>>;

/// Every name of the policy.
#[derive(Debug)]
pub(super) struct Names<'d> {
    pub zones: Table<'d, RawZone>,
    pub sets: Table<'d, RawSet>,
    /// Those of the documents; the others are in the catalogue.
    services: Table<'d, RawService>,
    catalogue: &'d Catalogue,
    used_zones: BTreeSet<ZoneName>,
    used_sets: BTreeSet<ZoneName>,
    used_services: BTreeSet<ZoneName>,
    /// The ports of the services that have been looked up.
    resolved: BTreeMap<ZoneName, Vec<PortSpec>>,
}

/// The depth of the services table: any file is nearer.
const CATALOGUE: Depth = (usize::MAX, usize::MAX);

impl<'d> Names<'d> {
    pub fn collect(
        problems: &mut Problems,
        documents: &'d [Document],
        catalogue: &'d Catalogue,
    ) -> Self {
        let mut names = Self {
            zones: BTreeMap::new(),
            sets: BTreeMap::new(),
            services: BTreeMap::new(),
            catalogue,
            used_zones: BTreeSet::new(),
            used_sets: BTreeSet::new(),
            used_services: BTreeSet::new(),
            resolved: BTreeMap::new(),
        };
        for document in documents {
            let depth = document.depth;
            for (name, value) in &document.zones {
                add(problems, &mut names.zones, Named { name, value, depth }, "zone", false);
            }
            for (name, value) in &document.sets {
                add(problems, &mut names.sets, Named { name, value, depth }, "set", false);
            }
            for (name, value) in &document.services {
                add(problems, &mut names.services, Named { name, value, depth }, "service", true);
            }
        }
        names.check_members(problems);
        names
    }

    /// Looks a zone up.
    pub fn zone(&mut self, problems: &mut Problems, word: &str, at: &Place) -> Option<ZoneRef> {
        if let Ok(name) = word.parse::<ZoneName>() {
            if ZoneRef::BUILT_IN.contains(&word) {
                return Some(ZoneRef::from(name));
            }
            if self.zones.contains_key(&name) {
                self.used_zones.insert(name.clone());
                return Some(ZoneRef::Declared(name));
            }
        }
        let zones = self.zones.keys().map(ZoneName::as_str).chain(ZoneRef::BUILT_IN);
        let fix = if matches!(word, "any" | "all" | "anywhere" | "world" | "everywhere") {
            "for anywhere, take the `from` line out".to_owned()
        } else if self.sets.keys().any(|set| set.as_str() == word) {
            format!("`{word}` is a set: write `\"@{word}\"`")
        } else {
            did_you_mean(word, zones).unwrap_or_else(|| {
                declare("zone", word, "`addresses = [...]` or `interfaces = [...]`")
            })
        };
        problems.push(
            Problem::error("unknown-zone", at, format!("there is no zone `{word}`"))
                .label("neither declared nor built in")
                .fix(fix),
        );
        None
    }

    /// Looks a set up.
    pub fn set(&mut self, problems: &mut Problems, name: &ZoneName, at: &Place) -> bool {
        if self.sets.contains_key(name) {
            self.used_sets.insert(name.clone());
            return true;
        }
        let sets = self.sets.keys().map(ZoneName::as_str);
        let fix = if self.zones.contains_key(name) {
            format!("`{name}` is a zone: write `\"{name}\"`")
        } else {
            did_you_mean(name.as_str(), sets)
                .unwrap_or_else(|| format!("declare it: `[set.{name}]` with `addresses = [...]`"))
        };
        problems.push(
            Problem::error("unknown-set", at, format!("there is no set `{name}`"))
                .label("not declared")
                .fix(fix),
        );
        false
    }

    /// The ports of a service, or `None` where there is none of that name.
    pub fn known_service(&mut self, word: &str) -> Option<Vec<PortSpec>> {
        let name = word.parse::<ZoneName>().ok()?;
        self.service(&name).is_some().then(|| self.expand(&name, &mut Vec::new()))
    }

    /// The service of this name that is nearest.
    fn service(&self, name: &ZoneName) -> Option<Named<'d, RawService>> {
        self.services.get(name).copied().or_else(|| {
            let (name, value) = self.catalogue.get(name.as_str())?;
            Some(Named { name, value, depth: CATALOGUE })
        })
    }

    /// The ports of a service that a policy names.
    pub fn ports_of_service(
        &mut self,
        problems: &mut Problems,
        word: &At<String>,
    ) -> Option<Vec<PortSpec>> {
        let ports = self.known_service(&word.value);
        if ports.is_none() {
            let problem = self.unknown_service(word);
            problems.push(problem);
        }
        ports
    }

    fn unknown_service(&self, word: &At<String>) -> Problem {
        let text = &word.value;
        let fix = match text.parse::<PortSpec>() {
            Ok(spec) => format!("a port or protocol is named in `ports = [\"{spec}\"]`"),
            Err(_) if values::like_a_port(text) => {
                "ports are named in `ports = [...]`, as `\"8080/tcp\"`".to_owned()
            }
            Err(_) => {
                let own = self.services.keys().map(ZoneName::as_str);
                did_you_mean(text, own.chain(self.catalogue.names()))
                    .unwrap_or_else(|| declare("service", text, "`ports = [\"8080/tcp\"]`"))
            }
        };
        Problem::error("unknown-service", &word.at, format!("there is no service `{text}`"))
            .label("neither declared nor well known")
            .fix(fix)
    }

    /// The ports of a service and of its members; a cycle ends where it began.
    fn expand(&mut self, name: &ZoneName, path: &mut Vec<ZoneName>) -> Vec<PortSpec> {
        if let Some(ports) = self.resolved.get(name) {
            return ports.clone();
        }
        let Some(named) = self.service(name) else { return Vec::new() };
        if path.contains(name) {
            return Vec::new();
        }
        self.used_services.insert(name.clone());
        path.push(name.clone());
        let mut ports = named.value.ports.clone();
        for member in &named.value.members {
            if let Ok(member) = member.value.parse::<ZoneName>() {
                ports.extend(self.expand(&member, path));
            }
        }
        path.pop();
        let ports = united(ports);
        if path.is_empty() {
            self.resolved.insert(name.clone(), ports.clone());
        }
        ports
    }

    /// Reports members that do not exist, and groups that hold themselves. The catalogue alone has
    /// neither.
    fn check_members(&self, problems: &mut Problems) {
        for named in self.services.values() {
            for member in &named.value.members {
                let name = member.value.parse::<ZoneName>().ok();
                if name.is_none_or(|name| self.service(&name).is_none()) {
                    problems.push(self.unknown_service(member));
                }
            }
        }
        let mut done = BTreeSet::new();
        for name in self.services.keys() {
            self.find_cycle(problems, name, &mut Vec::new(), &mut done);
        }
    }

    fn find_cycle(
        &self,
        problems: &mut Problems,
        name: &ZoneName,
        path: &mut Vec<ZoneName>,
        done: &mut BTreeSet<ZoneName>,
    ) {
        let Some(named) = self.service(name) else { return };
        if let Some(start) = path.iter().position(|one| one == name) {
            let mut problem =
                Problem::error("cycle", &named.name.at, format!("the group `{name}` holds itself"))
                    .label("comes round to itself")
                    .fix("take one of the members out");
            for other in &path[start + 1..] {
                if let Some(other) = self.service(other) {
                    problem = problem.also(&other.name.at, "through this one");
                }
            }
            problems.push(problem);
            return;
        }
        if done.contains(name) {
            return;
        }
        path.push(name.clone());
        for member in &named.value.members {
            if let Ok(member) = member.value.parse::<ZoneName>() {
                self.find_cycle(problems, &member, path, done);
            }
        }
        path.pop();
        done.insert(name.clone());
    }

    /// Warns of names in one's own files that nothing speaks of. A zone that is never named still
    /// takes its sources out of the internet, and may be there for that alone.
    pub fn unused(&self, problems: &mut Problems) {
        let zones =
            self.zones.values().map(|zone| (zone.depth, zone.name, "zone", &self.used_zones));
        let sets = self.sets.values().map(|set| (set.depth, set.name, "set", &self.used_sets));
        // A service that is nearer than the table's may be there to change a group.
        let services = self
            .services
            .values()
            .map(|service| (service.depth, service.name, "service", &self.used_services));
        for (depth, name, what, used) in zones.chain(sets).chain(services) {
            if depth.0 > 0 || used.contains(&name.value) {
                continue;
            }
            let problem = Problem::warning(
                "unused",
                &name.at,
                format!("the {what} `{}` is not used", name.value),
            );
            problems.push(match what {
                "zone" => problem
                    .label("no rule names it; its sources only no longer count as `internet`")
                    .fix("take it out, or name it in a rule"),
                _ => problem.label("nothing names it").fix("take it out, or name it in a rule"),
            });
        }
    }
}

/// What to do about a name that nothing has.
fn declare(what: &str, name: &str, with: &str) -> String {
    if name.parse::<ZoneName>().is_ok() {
        format!("declare it: `[{what}.{name}]` with {with}")
    } else {
        "a name is a letter, then letters, digits, `-` or `_`, all of them ASCII".to_owned()
    }
}

fn add<'d, T>(
    problems: &mut Problems,
    table: &mut Table<'d, T>,
    new: Named<'d, T>,
    what: &str,
    nearer_wins: bool,
) {
    let key = new.name.value.clone();
    let Some(old) = table.get(&key).copied() else {
        table.insert(key, new);
        return;
    };
    if nearer_wins && old.depth.0 != new.depth.0 {
        if new.depth < old.depth {
            table.insert(key, new);
        }
        return;
    }
    problems.push(
        Problem::error("duplicate", &new.name.at, format!("the {what} `{key}` is declared twice"))
            .label("again")
            .also(&old.name.at, "first")
            .fix("rename one of them, or take it out"),
    );
}
