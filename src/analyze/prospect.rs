//! Every endpoint × zone × IP version: who reaches it now, and who will once our table is another.
//!
//! In: a policy, the ruleset in force and the predicted one of the same host. Out: both answers
//! beside what the policy says, and who keeps closed what the policy opens. An endpoint that is
//! bound to every address of the host is dialled at each; where they differ, it is open in part.

use super::asked::{Asked, Told, arrivals, target};
use super::explain::Decider;
use super::ports::Classes;
use super::reach::Reach;
use super::together::Together;
use super::{Analyzer, Arrival, Witness};
use crate::compile::Environment;
use crate::model::{Endpoint, IpFamily, PortRange, ZoneRef};
use crate::observe::endpoints;
use crate::policy::{self, Judge, Policy, ReachVerdict};

/// An endpoint, and who reaches it now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// The endpoint; its ports are some that nothing tells apart.
    pub endpoint: Endpoint,
    /// For each zone and IP version.
    pub reach: Vec<ZoneProspect>,
}

/// Whether a zone reaches an endpoint now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneProspect {
    /// The zone.
    pub zone: ZoneRef,
    /// The IP version.
    pub family: IpFamily,
    /// How much of the zone gets through now.
    pub before: Reach,
    /// How much will.
    pub after: Reach,
    /// How much the policy lets through.
    pub says: ReachVerdict,
    /// What in the policy decides that.
    pub by: policy::DecidedBy,
    /// The lines of the policy that decide.
    pub origins: Vec<policy::Origin>,
    /// By which way it will be served.
    pub path: String,
    /// Who will decide; `None` where no rule does.
    pub decided_by: Option<Decider>,
    /// Who will keep out those of the zone that do not get through; `None` where no rule does.
    pub refused_by: Option<Decider>,
    /// A source for which it will be so.
    pub witness: Option<Witness>,
    /// On what it will depend, by name.
    pub depends_on: Vec<String>,
}

/// Who reaches what now and later; `predicted` is `None` where nothing changes.
pub fn prospects(
    live: &Analyzer<'_>,
    predicted: Option<&Analyzer<'_>>,
    policy: &Policy,
) -> Vec<Prospect> {
    let snapshot = live.snapshot();
    let environment = Environment::of_links(&snapshot.links, &snapshot.routes);
    let containers = environment.container_interfaces(snapshot);
    let judge = Judge::with_containers(policy, &containers);
    let arrivals = arrivals(live, Some(policy));
    let asked = |analyzer| Asked::new(analyzer, Some(&judge), &arrivals);
    let both = Both { now: asked(live), later: predicted.map(asked), judge: &judge };
    let mut classes = Classes::default();
    classes.of_rules(live);
    if let Some(predicted) = predicted {
        classes.of_rules(predicted);
    }
    classes.of_policy(policy);
    let mut found: Vec<Prospect> = Vec::new();
    for endpoint in endpoints(snapshot) {
        for ports in classes.split(endpoint.protocol, endpoint.ports) {
            let endpoint = Endpoint { ports, ..endpoint.clone() };
            let of = |(zone, family, ways): &(ZoneRef, IpFamily, Vec<Arrival>)| {
                both.reach(&endpoint, zone, *family, ways)
            };
            let reach: Vec<ZoneProspect> = arrivals.iter().filter_map(of).collect();
            let again = found.last_mut().filter(|last| {
                last.reach == reach
                    && last.endpoint.ports.last().checked_add(1) == Some(ports.first())
                    && Endpoint { ports, ..last.endpoint.clone() } == endpoint
            });
            match again {
                Some(last) => {
                    last.endpoint.ports = PortRange::new(last.endpoint.ports.first(), ports.last())
                        .expect("one range behind the other ascends");
                }
                None => found.push(Prospect { endpoint, reach }),
            }
        }
    }
    found
}

/// The rulesets of now and later.
struct Both<'a, 's> {
    now: Asked<'a, 's>,
    later: Option<Asked<'a, 's>>,
    judge: &'a Judge<'a>,
}

impl Both<'_, '_> {
    fn reach(
        &self,
        endpoint: &Endpoint,
        zone: &ZoneRef,
        family: IpFamily,
        ways: &[Arrival],
    ) -> Option<ZoneProspect> {
        if ways.is_empty() {
            return None;
        }
        let says = self.says(endpoint, zone, family)?;
        let whole = |asked: &Asked<'_, '_>| -> Option<Told> {
            let mut all = Together::default();
            for (_, told) in asked.told_of_each(endpoint, Some(endpoint), ways, family) {
                all.add(&told);
            }
            all.told()
        };
        let now = whole(&self.now)?;
        let before = now.summary.reach;
        let told = match &self.later {
            Some(later) => whole(later)?,
            None => now,
        };
        Some(ZoneProspect {
            zone: zone.clone(),
            family,
            before,
            after: told.summary.reach,
            says: says.verdict,
            by: says.by,
            origins: says.origins,
            path: told.path,
            decided_by: told.decided_by,
            refused_by: told.refused_by,
            witness: told.witness,
            depends_on: told.summary.depends_on,
        })
    }

    /// What the policy says of all addresses that can be dialled.
    fn says(&self, endpoint: &Endpoint, zone: &ZoneRef, family: IpFamily) -> Option<policy::Reach> {
        let mut dialled = self.now.dialled(endpoint, family);
        if !self.judge.tells_addresses_apart() {
            dialled.truncate(1);
        }
        let each = dialled.into_iter();
        each.filter_map(|address| self.judge.reach(zone, family, &target(endpoint, address)))
            .reduce(|one, other| {
                if one.verdict == other.verdict {
                    return one;
                }
                let open = |own: &policy::Reach| own.verdict != ReachVerdict::Closed;
                let more = if open(&one) { one } else { other };
                policy::Reach { verdict: ReachVerdict::Partial, ..more }
            })
    }
}
