//! Exposure as a person reads it: one row for each thing that can be dialled.
//!
//! In: the endpoints of a plan. Out: rows in which sockets of both IP versions, and the proxy and
//! NAT of one published port, are one wherever they fare the same in every zone; where they do
//! not, they say how.

use super::{phrase, style};
use crate::model::{Bind, IpFamily, ServedBy, ZoneRef};
use crate::plan::{DecidedBy, EndpointExposure, Verdict, ZoneReach, openness};
use anstyle::Style;
use std::collections::BTreeMap;

/// How an endpoint fares in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The zone.
    pub zone: ZoneRef,
    /// Over which IP versions.
    pub families: Vec<IpFamily>,
    /// Whether it fares otherwise over the other one.
    pub apart: bool,
    /// Now.
    pub before: Verdict,
    /// Afterwards.
    pub after: Verdict,
    /// What decides, with the lines of the policy.
    pub because: String,
    /// What a neighbour's rule keeps closed, or closes in part, although the policy lets it in: by
    /// which rule.
    pub kept_by: Option<String>,
}

/// One thing that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What a client dials.
    pub dialled: String,
    /// Who answers.
    pub who: String,
    /// The same in a word.
    pub server: String,
    /// By which ways.
    pub path: String,
    /// The container network, for a container's own address.
    pub network: Option<String>,
    /// Whether only the host itself can dial it.
    pub loopback: bool,
    /// The zones, in the order in which they are shown.
    pub reach: Vec<Reach>,
}

/// What becomes of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It was open, at least in part, and is closed.
    Closes,
    /// It was closed and is open, at least in part.
    Opens,
    /// It stays open for less.
    Narrows,
    /// It stays open for more.
    Widens,
}

impl Change {
    /// What becomes of a door that fared so before and fares so after.
    pub fn of(before: Verdict, after: Verdict) -> Option<Self> {
        // How open, not how different: nothing is said to open that may have been open before.
        match (openness(before), openness(after)) {
            (0, 0) => None,
            (_, 0) => Some(Self::Closes),
            (0, _) => Some(Self::Opens),
            (old, new) if old > new => Some(Self::Narrows),
            (old, new) if old < new => Some(Self::Widens),
            _ => None,
        }
    }

    /// Its colour.
    pub fn style(self) -> Style {
        match self {
            Self::Closes => style::REMOVED,
            Self::Opens => style::ADDED,
            Self::Narrows | Self::Widens => style::CHANGED,
        }
    }

    /// The sign that stands before it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Closes => "-",
            Self::Opens => "+",
            Self::Narrows | Self::Widens => "~",
        }
    }
}

impl Row {
    /// What changes, with the zones for which it does.
    pub fn changes(&self) -> Vec<(Change, Vec<&Reach>)> {
        let mut groups: Vec<(Change, Vec<&Reach>)> = Vec::new();
        for reach in &self.reach {
            let Some(change) = Change::of(reach.before, reach.after) else { continue };
            let same = |group: &&mut (Change, Vec<&Reach>)| {
                let first = group.1[0];
                (first.before, first.after, &first.because)
                    == (reach.before, reach.after, &reach.because)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.1.push(reach),
                None => groups.push((change, vec![reach])),
            }
        }
        groups
    }

    /// What neighbours keep closed, by which rule, with the zones for which they do.
    pub fn kept(&self) -> Vec<(&str, Vec<&Reach>)> {
        let mut groups: Vec<(&str, Vec<&Reach>)> = Vec::new();
        for reach in &self.reach {
            let Some(rule) = &reach.kept_by else { continue };
            let same = |group: &&mut (&str, Vec<&Reach>)| {
                group.0 == rule && group.1[0].after == reach.after
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.1.push(reach),
                None => groups.push((rule, vec![reach])),
            }
        }
        groups
    }

    /// From where: the zones of a group of [`Row::changes`], in words.
    pub fn from(&self, group: &[&Reach]) -> String {
        let outside = |reach: &&Reach| reach.zone != ZoneRef::Host;
        let family = match group[0].families[..] {
            [only] if group.iter().all(|reach| reach.apart && reach.families == [only]) => {
                Some(only)
            }
            _ => None,
        };
        let all = self.reach.iter().filter(outside);
        let all = all.filter(|reach| family.is_none_or(|own| reach.families.contains(&own)));
        let zone = |reach: &&Reach| match reach.families[..] {
            [only] if reach.apart && family.is_none() => {
                format!("{} ({})", reach.zone, phrase::family(only))
            }
            _ => reach.zone.to_string(),
        };
        let zones = if group.len() > 1 && group.iter().filter(|r| outside(r)).count() == all.count()
        {
            "everywhere".to_owned()
        } else {
            group.iter().map(zone).collect::<Vec<_>>().join(", ")
        };
        match family {
            Some(family) => format!("{zones} over {}", phrase::family(family)),
            None => zones,
        }
    }

    /// The sign of all its changes together; empty where there are none.
    pub fn sign(&self) -> &'static str {
        let mut signs: Vec<_> = self.changes().iter().map(|(change, _)| change.sign()).collect();
        signs.dedup();
        match signs[..] {
            [] => "",
            [only] => only,
            _ => Change::Narrows.sign(),
        }
    }

    /// Whether it can be left out of a short list: nobody but the host dials it, and nothing
    /// changes.
    pub fn is_minor(&self) -> bool {
        let closed = |reach: &Reach| {
            reach.zone == ZoneRef::Host
                || (reach.before, reach.after) == (Verdict::Closed, Verdict::Closed)
        };
        self.loopback || (self.network.is_some() && self.reach.iter().all(closed))
    }

    /// Itself where both IP versions fare the same in every zone, else one row for each.
    pub fn by_family(&self) -> Vec<Self> {
        if !self.reach.iter().any(|reach| reach.apart) {
            return vec![self.clone()];
        }
        let of = |family: IpFamily| Self {
            dialled: format!("{} ({})", self.dialled, phrase::family(family)),
            reach: self
                .reach
                .iter()
                .filter(|reach| reach.families.contains(&family))
                .cloned()
                .collect(),
            ..self.clone()
        };
        IpFamily::BOTH.into_iter().map(of).collect()
    }

    /// How it fares in a zone.
    pub fn in_zone(&self, zone: &ZoneRef) -> Option<&Reach> {
        self.reach.iter().find(|reach| reach.zone == *zone)
    }
}

/// The rows of these endpoints. `whole` shows each container's own address; else those of one
/// network that fare the same are one row.
pub fn rows(exposure: &[EndpointExposure], whole: bool) -> Vec<Row> {
    let mut doors: Vec<Door> = Vec::new();
    for endpoint in exposure {
        let door = Door::of(endpoint);
        match doors.iter_mut().find(|other| other.is_same_as(&door)) {
            Some(other) => other.take_in(door),
            None => doors.push(door),
        }
    }
    doors.sort_by(|a, b| a.order.cmp(&b.order));
    let rows = doors.into_iter().map(Door::row).collect();
    if whole { rows } else { collapse_networks(rows) }
}

/// The zones of all rows, in the order in which they are shown; the host itself only where
/// something about it is not plainly open.
pub fn zones(rows: &[Row]) -> Vec<ZoneRef> {
    let mut zones: Vec<ZoneRef> = Vec::new();
    for reach in rows.iter().flat_map(|row| &row.reach) {
        let plain = |verdict| verdict == Verdict::Open;
        let told = reach.zone != ZoneRef::Host || !plain(reach.before) || !plain(reach.after);
        if told && !zones.contains(&reach.zone) {
            zones.push(reach.zone.clone());
        }
    }
    zones.sort_by_key(phrase::zone_order);
    zones
}

/// How a door fares for one zone and IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fate {
    before: Verdict,
    after: Verdict,
    decided_by: DecidedBy,
    because: String,
    kept_by: Option<String>,
}

/// Sockets and published ports that are one to whoever dials.
struct Door {
    order: (bool, u16, u8, Bind, String),
    dialled: String,
    bind: Bind,
    who: String,
    server: String,
    paths: Vec<String>,
    network: Option<String>,
    fates: BTreeMap<((u8, String), ZoneRef, IpFamily), Fate>,
}

impl Door {
    fn of(exposure: &EndpointExposure) -> Self {
        let endpoint = &exposure.endpoint;
        let who = phrase::who(&endpoint.owner);
        let network = match &endpoint.served_by {
            ServedBy::Routed { network } => Some(network.clone()),
            ServedBy::HostSocket | ServedBy::Proxy | ServedBy::Published { .. } => None,
        };
        let fate = |reach: &ZoneReach| {
            let key = (phrase::zone_order(&reach.zone), reach.zone.clone(), reach.family);
            let fate = Fate {
                before: reach.before,
                after: reach.after,
                decided_by: reach.decided_by,
                because: phrase::because(reach),
                kept_by: phrase::kept_by(reach),
            };
            (key, fate)
        };
        Self {
            order: (
                network.is_some(),
                endpoint.ports.first(),
                endpoint.protocol.0,
                endpoint.bind,
                who.clone(),
            ),
            dialled: phrase::dialled(endpoint),
            bind: endpoint.bind,
            who,
            server: phrase::server(&endpoint.owner),
            paths: Some(phrase::path(&endpoint.served_by))
                .filter(|path| !path.is_empty())
                .into_iter()
                .collect(),
            network,
            fates: exposure.reach.iter().map(fate).collect(),
        }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        let any = |bind| !matches!(bind, Bind::Address(_));
        let common = self
            .fates
            .iter()
            .all(|(key, fate)| other.fates.get(key).is_none_or(|theirs| theirs == fate));
        self.dialled == other.dialled
            && self.who == other.who
            && self.network == other.network
            && (self.bind == other.bind || (any(self.bind) && any(other.bind)))
            && common
    }

    fn take_in(&mut self, other: Self) {
        if self.bind != other.bind {
            self.bind = Bind::Any;
        }
        for path in other.paths {
            if !self.paths.contains(&path) {
                self.paths.push(path);
            }
        }
        self.fates.extend(other.fates);
    }

    fn row(self) -> Row {
        let suffix = match self.bind {
            Bind::AnyIpv4 => " (IPv4)",
            Bind::AnyIpv6 => " (IPv6)",
            Bind::Any | Bind::Address(_) => "",
        };
        let loopback = |((_, zone, _), fate): (&(_, ZoneRef, _), &Fate)| {
            *zone == ZoneRef::Host || fate.decided_by == DecidedBy::Loopback
        };
        let loopback = !self.fates.is_empty() && self.fates.iter().all(loopback);
        // The map is sorted by zone, then IP version.
        let mut reach: Vec<Reach> = Vec::new();
        for ((_, zone, family), Fate { before, after, because, kept_by, .. }) in self.fates {
            let families = vec![family];
            let mut own = Reach { zone, families, apart: false, before, after, because, kept_by };
            match reach.last_mut() {
                Some(last) if last.zone == own.zone => {
                    let fate = |reach: &Reach| {
                        (reach.before, reach.after, reach.because.clone(), reach.kept_by.clone())
                    };
                    if fate(last) == fate(&own) {
                        last.families.push(family);
                    } else {
                        last.apart = true;
                        own.apart = true;
                        reach.push(own);
                    }
                }
                _ => reach.push(own),
            }
        }
        Row {
            dialled: format!("{}{suffix}", self.dialled),
            who: self.who,
            server: self.server,
            path: self.paths.join(", "),
            network: self.network,
            loopback,
            reach,
        }
    }
}

/// Containers' own addresses on one network, in one row where they fare the same.
fn collapse_networks(rows: Vec<Row>) -> Vec<Row> {
    let mut collapsed: Vec<(Row, usize)> = Vec::new();
    for row in rows {
        let same = |(other, _): &&mut (Row, usize)| {
            row.network.is_some() && row.network == other.network && row.reach == other.reach
        };
        match collapsed.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => collapsed.push((row, 1)),
        }
    }
    let named = |(mut row, count): (Row, usize)| {
        if count > 1 {
            row.dialled = format!("{count} container ports");
            row.who = String::from("containers' own addresses");
            row.server = String::from("containers");
        }
        row
    };
    collapsed.into_iter().map(named).collect()
}
