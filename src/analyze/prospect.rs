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
///
/// Both are asked at the same time: nobody should wait for a plan.
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
    let mut classes = Classes::default();
    classes.of_rules(live);
    if let Some(predicted) = predicted {
        classes.of_rules(predicted);
    }
    classes.of_policy(policy);
    let now = Asked::new(live, Some(&judge), &arrivals);
    let mut parts = Vec::new();
    for endpoint in endpoints(snapshot) {
        let split = classes.split(endpoint.protocol, endpoint.ports).into_iter();
        parts.extend(split.map(|ports| Endpoint { ports, ..endpoint.clone() }));
    }
    let questions: Vec<Question<'_>> = parts
        .iter()
        .enumerate()
        .flat_map(|part| arrivals.iter().map(move |arrival| (part, arrival)))
        .filter(|(_, (_, _, ways))| !ways.is_empty())
        .filter_map(|((part, endpoint), (zone, family, ways))| {
            let says = says(&now, &judge, endpoint, zone, *family)?;
            Some(Question { part, endpoint, zone, family: *family, ways, says })
        })
        .collect();
    let (before, after) = match predicted {
        None => {
            let now = answers(&now, &questions);
            (reaches(&now), now)
        }
        Some(predicted) => {
            let recipe = live.recipe();
            std::thread::scope(|scope| {
                let before = scope.spawn(|| {
                    let again = recipe.analyzer();
                    reaches(&answers(&Asked::new(&again, Some(&judge), &arrivals), &questions))
                });
                let after = answers(&Asked::new(predicted, Some(&judge), &arrivals), &questions);
                let before = before.join().unwrap_or_else(|own| std::panic::resume_unwind(own));
                (before, after)
            })
        }
    };
    let mut found: Vec<Prospect> =
        parts.iter().map(|own| Prospect { endpoint: own.clone(), reach: Vec::new() }).collect();
    for (question, answer) in questions.into_iter().zip(before.into_iter().zip(after)) {
        let (part, (Some(before), Some(after))) = (question.part, answer) else { continue };
        found[part].reach.push(question.answered(before, after));
    }
    joined(found)
}

fn reaches(told: &[Option<Told>]) -> Vec<Option<Reach>> {
    told.iter().map(|own| own.as_ref().map(|told| told.summary.reach)).collect()
}

/// What is asked about the rulesets of now and later.
struct Question<'a> {
    /// Which of the parts of endpoints it is about.
    part: usize,
    endpoint: &'a Endpoint,
    zone: &'a ZoneRef,
    family: IpFamily,
    ways: &'a [Arrival],
    says: policy::Reach,
}

impl Question<'_> {
    /// The answer: how much gets through now, and what is told of later.
    fn answered(self, before: Reach, after: Told) -> ZoneProspect {
        ZoneProspect {
            zone: self.zone.clone(),
            family: self.family,
            before,
            after: after.summary.reach,
            says: self.says.verdict,
            by: self.says.by,
            origins: self.says.origins,
            path: after.path,
            decided_by: after.decided_by,
            refused_by: after.refused_by,
            witness: after.witness,
            depends_on: after.summary.depends_on,
        }
    }
}

/// What a ruleset says to each question.
fn answers(asked: &Asked<'_, '_>, questions: &[Question<'_>]) -> Vec<Option<Told>> {
    let answer = |own: &Question<'_>| {
        let mut all = Together::default();
        let endpoint = own.endpoint;
        for (_, told) in asked.told_of_each(endpoint, Some(endpoint), own.ways, own.family) {
            all.add(&told);
        }
        all.told()
    };
    questions.iter().map(answer).collect()
}

/// What the policy says of all addresses that can be dialled.
fn says(
    asked: &Asked<'_, '_>,
    judge: &Judge<'_>,
    endpoint: &Endpoint,
    zone: &ZoneRef,
    family: IpFamily,
) -> Option<policy::Reach> {
    let mut dialled = asked.dialled(endpoint, family);
    if !judge.tells_addresses_apart() {
        dialled.truncate(1);
    }
    let each = dialled.into_iter();
    each.filter_map(|address| judge.reach(zone, family, &target(endpoint, address))).reduce(
        |one, other| {
            if one.verdict == other.verdict {
                return one;
            }
            let open = |own: &policy::Reach| own.verdict != ReachVerdict::Closed;
            let more = if open(&one) { one } else { other };
            policy::Reach { verdict: ReachVerdict::Partial, ..more }
        },
    )
}

/// Neighbouring ports of one endpoint with the same answers are one again.
fn joined(parts: Vec<Prospect>) -> Vec<Prospect> {
    let mut found: Vec<Prospect> = Vec::new();
    for part in parts {
        let own = part.endpoint.ports;
        let again = found.last_mut().filter(|last| {
            last.reach == part.reach
                && last.endpoint.ports.last().checked_add(1) == Some(own.first())
                && Endpoint { ports: own, ..last.endpoint.clone() } == part.endpoint
        });
        match again {
            Some(last) => {
                last.endpoint.ports = PortRange::new(last.endpoint.ports.first(), own.last())
                    .expect("one range behind the other ascends");
            }
            None => found.push(part),
        }
    }
    found
}
