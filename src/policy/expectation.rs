//! Whether a policy keeps what its own `[[expect]]` say.
//!
//! In: a policy. Out: each expectation that its rules do not fulfil, with the rule that decides
//! and a source that shows it. This is the policy's own verdict; whether the whole ruleset of a
//! host keeps it is for a later stage.

use super::region::{self, Judge, Reach, ReachVerdict, To};
use super::{Origin, Policy, Source};
use crate::model::{IpFamily, PortSpec};
use serde::Serialize;
use std::net::IpAddr;

/// What was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// That every source gets through, at least at a limited rate, at one address at least.
    Open,
    /// That no source gets through, at whichever address.
    Closed,
}

/// An expectation that the policy does not fulfil.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpectationFailure {
    /// The expectation.
    pub origin: Origin,
    /// What it expects.
    pub expected: Expected,
    /// From where.
    pub from: Source,
    /// The IP version in which it fails.
    pub family: IpFamily,
    /// Of the ports that it names, some on which it fails.
    pub ports: PortSpec,
    /// The dialled address on which it fails, where a rule names addresses.
    pub dialled: Option<IpAddr>,
    /// The container network on which it fails.
    pub network: Option<String>,
    /// What is so instead, with the rules that decide it and a witness.
    pub reach: Reach,
}

/// Evaluates every `[[expect]]` against the policy's own rules, each IP version by itself.
pub fn check_expectations(policy: &Policy) -> Vec<ExpectationFailure> {
    let judge = Judge::new(policy);
    let mut failures = Vec::new();
    for expectation in &policy.expect {
        let open = expectation.open.iter().map(|spec| (Expected::Open, *spec));
        let closed = expectation.closed.iter().map(|spec| (Expected::Closed, *spec));
        for (expected, spec) in open.chain(closed) {
            for from in &expectation.from {
                for family in IpFamily::BOTH {
                    let failure = first_failure(policy, &judge, expected, from, family, spec);
                    let Some((ports, to, reach)) = failure else { continue };
                    failures.push(ExpectationFailure {
                        origin: expectation.origin.clone(),
                        expected,
                        from: from.clone(),
                        family,
                        ports,
                        dialled: to.dialled,
                        network: to.network.map(str::to_owned),
                        reach,
                    });
                }
            }
        }
    }
    failures
}

type Failure<'p> = (PortSpec, To<'p>, Reach);

fn first_failure<'p>(
    policy: &'p Policy,
    judge: &Judge<'_>,
    expected: Expected,
    from: &Source,
    family: IpFamily,
    spec: PortSpec,
) -> Option<Failure<'p>> {
    let destinations = region::destinations(policy, family);
    for ports in region::ports(policy, spec) {
        let mut first = None;
        for to in &destinations {
            let reach = judge.reach_class(from, family, ports, *to)?;
            let passes = match reach.verdict {
                ReachVerdict::Open | ReachVerdict::Limited => true,
                ReachVerdict::Partial | ReachVerdict::Closed => false,
            };
            match expected {
                Expected::Open if passes => {
                    first = None;
                    break;
                }
                Expected::Closed if reach.verdict != ReachVerdict::Closed => {
                    return Some((ports, *to, reach));
                }
                Expected::Open => first = first.or(Some((ports, *to, reach))),
                Expected::Closed => {}
            }
        }
        if first.is_some() {
            return first;
        }
    }
    None
}

impl std::fmt::Display for ExpectationFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let expected = match self.expected {
            Expected::Open => "open",
            Expected::Closed => "closed",
        };
        let found = match self.reach.verdict {
            ReachVerdict::Open => "open",
            ReachVerdict::Limited => "open, limited",
            ReachVerdict::Partial => "open to some sources only",
            ReachVerdict::Closed => "closed",
        };
        write!(f, "{}: {} is expected {expected} from {}", self.origin, self.ports, self.from)?;
        if let Some(address) = self.dialled {
            write!(f, " at {address}")?;
        }
        if let Some(network) = &self.network {
            write!(f, " in container:{network}")?;
        }
        let family = match self.family {
            IpFamily::Ipv4 => "IPv4",
            IpFamily::Ipv6 => "IPv6",
        };
        write!(f, ", but is {found} over {family}: {}", self.reach.by)?;
        for (index, origin) in self.reach.origins.iter().enumerate() {
            write!(f, "{} {origin}", if index == 0 { "" } else { "," })?;
        }
        let shown = match (self.expected, &self.reach.refused) {
            (Expected::Open, Some(refused)) => refused,
            (Expected::Open | Expected::Closed, _) => &self.reach.witness,
        };
        write!(f, " (for example {shown})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{MemoryFiles, load};
    use std::path::Path;

    fn failures(text: &str) -> Vec<String> {
        let files = MemoryFiles::default().with("/p.toml", format!("version = 1\n{text}"));
        let loaded = load(&files, Path::new("/p.toml")).unwrap_or_else(|error| panic!("{error}"));
        check_expectations(&loaded.policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_expected_open_must_be_open_for_all_of_the_zone_in_both_ip_versions() {
        let found = failures(
            "[[allow]]\nservice = [\"https\"]\nfrom = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n\
             [[expect]]\nfrom = [\"internet\"]\nopen = [\"https\"]\n",
        );
        assert_eq!(
            found,
            ["p.toml:5: 443/tcp is expected open from internet, but is closed over IPv6: \
              by default (for example 2000:: by eth0)"]
        );
    }

    #[test]
    fn what_is_expected_closed_must_be_closed_at_every_address_and_network() {
        let found = failures(
            "[[allow]]\nservice = [\"postgresql\"]\nto = [\"192.0.2.7\", \"container:db\"]\nfrom = [\"internet\"]\n\
             [[deny]]\nports = [\"all\"]\nto = [\"192.0.2.0/24\"]\n\
             [[expect]]\nfrom = [\"internet\"]\nclosed = [\"databases\"]\n",
        );
        assert!(found.iter().all(|text| text.contains("in container:db")), "{found:#?}");
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("allowed by p.toml:2"), "{found:#?}");
    }

    #[test]
    fn open_at_one_address_is_open() {
        let rules = "[[allow]]\nservice = [\"https\"]\nto = [\"192.0.2.7\", \"2001:db8::7\"]\n";
        let open = "[[expect]]\nfrom = [\"internet\"]\nopen = [\"https\"]\n";
        assert!(failures(&format!("{rules}{open}")).is_empty());
        let closed = "[[expect]]\nfrom = [\"internet\"]\nclosed = [\"https\"]\n";
        assert_eq!(failures(&format!("{rules}{closed}")).len(), 2);
    }

    #[test]
    fn a_limit_leaves_a_port_open_and_a_partial_allow_does_not() {
        let zone = "[zone.lan]\naddresses = [\"10.0.0.0/8\"]\n";
        let expect = "[[expect]]\nfrom = [\"lan\"]\nopen = [\"ssh\"]\n";
        let limited = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"lan\"]\nlimit = \"6/minute\"\n";
        assert!(failures(&format!("{zone}{limited}{expect}")).is_empty());
        let partial = "[[allow]]\nservice = [\"ssh\"]\nfrom = [\"10.1.0.0/16\"]\n\
                       [[allow]]\nservice = [\"http\"]\nfrom = [\"lan\"]\n";
        let found = failures(&format!("{zone}{partial}{expect}"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("some sources only over IPv4"), "{found:#?}");
    }
}
