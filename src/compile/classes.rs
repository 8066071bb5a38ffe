//! Ports with the same rules share a class, and a class is one chain.
//!
//! In: the rules that hold in one world. Out: each protocol's ports cut into segments, each with
//! its class. Cutting at every boundary once makes the lookup one step, however many rules there
//! are.

use crate::model::{PortRange, PortSpec, Protocol};
use crate::policy::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// Indexes into the rules that speak of the same ports, ascending.
pub(super) type Speaking = Vec<usize>;

/// How the ports are divided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Classes {
    /// The classes, by the rules that speak in them; with the name of their chain.
    pub names: BTreeMap<Speaking, String>,
    /// For each protocol with ports, the segments that some rule names, ascending.
    pub segments: BTreeMap<Protocol, Vec<(PortRange, Speaking)>>,
    /// The protocols that some rule names as a whole.
    pub protocols: BTreeMap<Protocol, Speaking>,
    /// The rules that speak of everything.
    pub rest: Speaking,
}

/// Divides the ports by the rules; `prefix` begins the name of every chain. The protocols in
/// `apart` are left to the caller.
pub(super) fn divide(rules: &[&Rule], prefix: &str, apart: &[Protocol]) -> Classes {
    let mut classes = Classes { rest: speaking(rules, PortSpec::All), ..Classes::default() };
    for protocol in Protocol::WITH_PORTS {
        let segments: Vec<(PortRange, Speaking)> = segments(rules, protocol)
            .into_iter()
            .map(|range| (range, speaking(rules, PortSpec::Ports(protocol, range))))
            .filter(|(_, speaking)| *speaking != classes.rest)
            .collect();
        for (range, speaking) in &segments {
            name(&mut classes.names, speaking, || format!("{prefix}{protocol}_{}", range.first()));
        }
        if !segments.is_empty() {
            classes.segments.insert(protocol, join(segments));
        }
    }
    let whole: BTreeSet<Protocol> = rules
        .iter()
        .flat_map(|rule| &rule.ports)
        .filter_map(|spec| match spec {
            PortSpec::Protocol(protocol) => Some(*protocol),
            PortSpec::Ports(..) | PortSpec::All => None,
        })
        .filter(|protocol| !apart.contains(protocol))
        .collect();
    for protocol in whole {
        let speaking = speaking(rules, PortSpec::Protocol(protocol));
        name(&mut classes.names, &speaking, || protocol_chain(prefix, protocol));
        classes.protocols.insert(protocol, speaking);
    }
    classes
}

fn name(
    names: &mut BTreeMap<Speaking, String>,
    speaking: &Speaking,
    make: impl FnOnce() -> String,
) {
    if !names.contains_key(speaking) {
        names.insert(speaking.clone(), make());
    }
}

/// The name of a chain for a protocol as a whole. Some protocols are keywords of nft (`esp`), and
/// no name.
pub(super) fn protocol_chain(prefix: &str, protocol: Protocol) -> String {
    format!("{prefix}protocol_{protocol}")
}

/// The rules that speak of all of this.
pub(super) fn speaking(rules: &[&Rule], what: PortSpec) -> Speaking {
    let speaks = |rule: &Rule| rule.ports.iter().any(|spec| spec.covers(what));
    (0..rules.len()).filter(|index| speaks(rules[*index])).collect()
}

/// The ports that some rule names, cut wherever one begins or ends.
fn segments(rules: &[&Rule], protocol: Protocol) -> Vec<PortRange> {
    let ranges: Vec<PortRange> = rules
        .iter()
        .flat_map(|rule| &rule.ports)
        .filter_map(|spec| match spec {
            PortSpec::Ports(own, range) if *own == protocol => Some(*range),
            PortSpec::Ports(..) | PortSpec::Protocol(_) | PortSpec::All => None,
        })
        .collect();
    // Where a segment may begin; one behind the last port is beyond u16.
    let cuts: BTreeSet<u32> = ranges
        .iter()
        .flat_map(|range| [u32::from(range.first()), u32::from(range.last()) + 1])
        .collect();
    let cuts: Vec<u32> = cuts.into_iter().collect();
    cuts.windows(2)
        .filter_map(|pair| {
            let first = u16::try_from(pair[0]).ok()?;
            let last = u16::try_from(pair[1] - 1).ok()?;
            let range = PortRange::new(first, last).ok()?;
            ranges.iter().any(|own| own.covers(range)).then_some(range)
        })
        .collect()
}

/// Neighbouring segments with the same rules become one.
fn join(segments: Vec<(PortRange, Speaking)>) -> Vec<(PortRange, Speaking)> {
    let mut joined: Vec<(PortRange, Speaking)> = Vec::new();
    for (range, speaking) in segments {
        if let Some((last, own)) = joined.last_mut()
            && *own == speaking
            && u32::from(last.last()) + 1 == u32::from(range.first())
        {
            *last = PortRange::new(last.first(), range.last()).expect("both ranges ascend");
            continue;
        }
        joined.push((range, speaking));
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Origin;

    fn rule(ports: &[&str]) -> Rule {
        Rule {
            ports: ports.iter().map(|port| port.parse().expect("valid")).collect(),
            services: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            limit: None,
            log: false,
            note: None,
            origin: Origin { file: "p".into(), line: 1 },
        }
    }

    fn shown(classes: &Classes, protocol: Protocol) -> Vec<String> {
        classes.segments[&protocol]
            .iter()
            .map(|(range, speaking)| format!("{range} {speaking:?} {}", classes.names[speaking]))
            .collect()
    }

    #[test]
    fn overlapping_ranges_are_cut_once_and_equal_neighbours_joined() {
        let (wide, narrow, all) =
            (rule(&["20-30/tcp"]), rule(&["25/tcp", "25/udp"]), rule(&["all"]));
        let classes = divide(&[&wide, &narrow, &all], "", &[]);
        assert_eq!(
            shown(&classes, Protocol::TCP),
            ["20-24 [0, 2] tcp_20", "25 [0, 1, 2] tcp_25", "26-30 [0, 2] tcp_20"]
        );
        assert_eq!(shown(&classes, Protocol::UDP), ["25 [1, 2] udp_25"]);
        assert_eq!(classes.rest, [2]);
        let (low, high) = (rule(&["1-100/tcp"]), rule(&["101-65535/tcp"]));
        let both = rule(&["1-100/tcp", "101-65535/tcp"]);
        assert_eq!(shown(&divide(&[&both], "", &[]), Protocol::TCP), ["1-65535 [0] tcp_1"]);
        assert_eq!(divide(&[&low, &high], "", &[]).names.len(), 2);
    }

    #[test]
    fn what_everything_covers_already_needs_no_segment() {
        let (all, ssh) = (rule(&["all", "22/tcp"]), rule(&["esp"]));
        let classes = divide(&[&all, &ssh], "x_", &[]);
        assert!(classes.segments.is_empty());
        assert_eq!(classes.protocols[&Protocol(50)], [0, 1]);
        assert_eq!(classes.names[&vec![0, 1]], "x_protocol_esp");
    }
}
