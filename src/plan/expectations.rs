//! Whether the policy's `[[expect]]` hold on a whole ruleset, for all packets of their sources.
//!
//! In: a policy, and the ruleset of a host as it is or as it will be. Out: what does not hold, each
//! with a packet that shows it and the rule that decides. The policy's own verdict counts first:
//! what its rules alone do not fulfil holds on no host. Beyond that, nothing of the sources may
//! reach what is closed, at any address of the host or of its containers, and all of them must
//! reach what is open, at one address at least. What is not known is not proved.
//!
//! A neighbour that bans some addresses of the internet, as fail2ban does, leaves a port open.

use super::ExpectationResult;
use crate::analyze::{Analyzer, Arrival, Classes, Reach, Signature, Told};
use crate::model::{IpFamily, PortRange, PortSpec, Protocol, ZoneRef};
use crate::observe::{ContainerState, Snapshot};
use crate::policy::{
    Expectation, ExpectationFailure, Expected, Policy, Source, check_expectations,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The part of the internet that a neighbour may ban without a port being no longer open to it.
const BANNED: u128 = 256;

/// Every expectation, and why it does not hold.
pub fn expectations(policy: &Policy, analyzer: &Analyzer<'_>) -> Vec<ExpectationResult> {
    if policy.expect.is_empty() {
        return Vec::new();
    }
    let own = check_expectations(policy);
    let ground = Ground {
        policy,
        analyzer,
        classes: Classes::new(analyzer, policy),
        own: &own,
        containers: containers(analyzer.snapshot()),
    };
    let result = |expectation: &Expectation| {
        let stated = own.iter().filter(|failure| failure.origin == expectation.origin);
        let mut failures: Vec<String> = stated.map(ToString::to_string).collect();
        failures.extend(ground.failures(expectation));
        ExpectationResult {
            origin: expectation.origin.clone(),
            says: expectation.words.join(", "),
            failures,
        }
    };
    policy.expect.iter().map(result).collect()
}

/// Containers' own addresses on the host's bridges.
fn containers(snapshot: &Snapshot) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for engine in &snapshot.engines {
        let running = engine.containers.iter().filter(|own| own.state == ContainerState::Running);
        for (network, addresses) in running.flat_map(|container| &container.addresses) {
            let bridged =
                engine.networks.iter().any(|own| own.name == *network && own.bridge.is_some());
            if bridged {
                found.extend(addresses);
            }
        }
    }
    found
}

struct Ground<'a, 's> {
    policy: &'a Policy,
    analyzer: &'a Analyzer<'s>,
    classes: Classes,
    /// What the policy's own rules do not fulfil; once is enough.
    own: &'a [ExpectationFailure],
    containers: Vec<IpAddr>,
}

/// One question.
struct Asked<'a> {
    expectation: &'a Expectation,
    expected: Expected,
    spec: PortSpec,
    from: &'a Source,
    family: IpFamily,
}

impl Ground<'_, '_> {
    fn failures(&self, expectation: &Expectation) -> Vec<String> {
        let open = expectation.open.iter().map(|spec| (Expected::Open, *spec));
        let closed = expectation.closed.iter().map(|spec| (Expected::Closed, *spec));
        let specs: Vec<(Expected, PortSpec)> = open.chain(closed).collect();
        let mut found = Vec::new();
        for from in &expectation.from {
            for family in IpFamily::BOTH {
                let ways = self.analyzer.arrivals_of(self.policy, from, family);
                if ways.is_empty() {
                    continue;
                }
                let mut holds = BTreeSet::new();
                for (expected, spec) in &specs {
                    let (expected, spec) = (*expected, *spec);
                    let asked = Asked { expectation, expected, spec, from, family };
                    if !self.is_told(&asked) {
                        found.extend(self.failure(&asked, &ways, &mut holds));
                    }
                }
            }
        }
        found
    }

    fn is_told(&self, asked: &Asked<'_>) -> bool {
        self.own.iter().any(|failure| {
            failure.origin == asked.expectation.origin
                && failure.expected == asked.expected
                && failure.from == *asked.from
                && failure.family == asked.family
                && asked.spec.covers(failure.ports)
        })
    }

    /// The first packet that shows that it does not hold.
    fn failure(
        &self,
        asked: &Asked<'_>,
        ways: &[Arrival],
        holds: &mut BTreeSet<(bool, Protocol, Signature)>,
    ) -> Option<String> {
        let own = self.analyzer.own_addresses(asked.family);
        let inside = self.containers.iter().copied();
        let inside: Vec<IpAddr> =
            inside.filter(|address| IpFamily::of(*address) == asked.family).collect();
        for (protocol, ports) in self.parts(asked) {
            let port = ports.map_or(0, PortRange::first);
            let open = asked.expected == Expected::Open;
            let question = (open, protocol, self.classes.signature(port));
            // Of ports that no rule tells apart one is asked about.
            if holds.contains(&question) {
                continue;
            }
            // Of addresses that nothing tells apart there one is asked about.
            let apart = |all: &[IpAddr]| self.analyzer.apart(all.iter().copied(), (protocol, port));
            let (own, inside) = (apart(&own), apart(&inside));
            let dial = |ways: &[Arrival], address: &IpAddr| {
                self.analyzer.dial(ways, *address, (protocol, port))
            };
            let closed = |ways: &[Arrival], address: &IpAddr| {
                self.analyzer.is_closed(ways, *address, (protocol, port))
            };
            let told = match asked.expected {
                Expected::Closed => {
                    let outside: Vec<Arrival> = ways
                        .iter()
                        .filter(|way| !self.analyzer.is_container(&way.from))
                        .cloned()
                        .collect();
                    let own = own.iter().find(|address| !closed(ways, address));
                    let found = own.map(|address| (ways, address)).or_else(|| {
                        let mut inside = inside.iter().map(|address| (&outside[..], address));
                        inside.find(|(ways, address)| !closed(ways, address))
                    });
                    found.and_then(|(ways, address)| dial(ways, address))
                }
                Expected::Open => ways.iter().find_map(|way| {
                    let mut first = None;
                    for address in &own {
                        let told = dial(std::slice::from_ref(way), address)?;
                        if is_open(&told, asked.from) {
                            return None;
                        }
                        first = first.or(Some(told));
                    }
                    first
                }),
            };
            if let Some(told) = told {
                let spec = ports
                    .map_or(PortSpec::Protocol(protocol), |range| PortSpec::Ports(protocol, range));
                return Some(sentence(asked, spec, &told));
            }
            holds.insert(question);
        }
        None
    }

    /// What is named, cut where some rule may say something else.
    fn parts(&self, asked: &Asked<'_>) -> Vec<(Protocol, Option<PortRange>)> {
        let split = |protocol: Protocol, range: PortRange| {
            let parts = self.classes.split(protocol, range).into_iter();
            parts.map(move |part| (protocol, Some(part))).collect::<Vec<_>>()
        };
        match asked.spec {
            PortSpec::Ports(protocol, range) => split(protocol, range),
            // Each IP version has its own.
            PortSpec::Protocol(Protocol::ICMP) if asked.family == IpFamily::Ipv6 => Vec::new(),
            PortSpec::Protocol(Protocol::ICMPV6) if asked.family == IpFamily::Ipv4 => Vec::new(),
            PortSpec::Protocol(protocol) => vec![(protocol, None)],
            PortSpec::All => Protocol::WITH_PORTS
                .into_iter()
                .flat_map(|protocol| split(protocol, PortRange::ALL))
                .collect(),
        }
    }
}

/// Whether a way in is open, at least at a limited rate.
fn is_open(told: &Told, from: &Source) -> bool {
    match told.summary.reach {
        Reach::Open | Reach::Limited => true,
        Reach::Closed | Reach::Unknown => false,
        Reach::Partial => {
            let (kept_out, all) = told.summary.kept_out;
            let by_neighbour = told.refused_by.as_ref().is_some_and(|rule| !rule.is_ours());
            *from == Source::Zone(ZoneRef::Internet) && by_neighbour && kept_out <= all / BANNED
        }
    }
}

fn sentence(asked: &Asked<'_>, spec: PortSpec, told: &Told) -> String {
    let expected = match asked.expected {
        Expected::Open => "open",
        Expected::Closed => "closed",
    };
    let family = match asked.family {
        IpFamily::Ipv4 => "IPv4",
        IpFamily::Ipv6 => "IPv6",
    };
    let rule = match asked.expected {
        Expected::Open => told.refused_by.as_ref().or(told.decided_by.as_ref()),
        Expected::Closed => told.decided_by.as_ref(),
    };
    let by = rule.map_or(String::new(), |rule| format!(" by {rule}"));
    let depends = || told.summary.depends_on.join(" and ");
    let is = match (asked.expected, told.summary.reach) {
        (_, Reach::Unknown) => {
            format!("but over {family} that is not known: it depends on {}", depends())
        }
        (Expected::Open, Reach::Partial) => {
            format!("but over {family} some are kept out{by}")
        }
        (Expected::Open, _) if rule.is_none() => {
            format!("but over {family} none come there: {}", told.path)
        }
        (Expected::Open, _) => format!("but over {family} they are kept out{by}"),
        (Expected::Closed, Reach::Partial) => {
            format!("but over {family} some are let in{by} ({})", told.path)
        }
        (Expected::Closed, _) => format!("but over {family} they are let in{by} ({})", told.path),
    };
    let origin = &asked.expectation.origin;
    let mut text = format!("{origin}: {spec} is expected {expected} from {}, {is}", asked.from);
    if let Some(witness) = &told.witness {
        let to = match spec {
            PortSpec::Ports(_, range) => SocketAddr::new(told.address, range.first()).to_string(),
            PortSpec::Protocol(_) | PortSpec::All => told.address.to_string(),
        };
        let _ = write!(text, " (for example {witness} to {to})");
    }
    text
}
