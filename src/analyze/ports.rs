//! Destination ports that no rule tells apart, so that one answer holds for all of them.
//!
//! In: every rule of the ruleset, and the policy. Out: the ports at which something may begin to be
//! otherwise. Too many cuts cost time; a missing one would make an answer wrong, so every constant
//! that is compared with a port of either side counts.

use super::Analyzer;
use crate::model::nft::{
    CompareOp, CtKey, ElementKey, KeyType, MetaKey, Operand, PayloadBase, Selector, Set, Statement,
    Transform, XtMatch,
};
use crate::model::{PortRange, PortSpec, Protocol};
use crate::policy::Policy;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The ports at which something may begin to be otherwise, and what is asked of ports.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    cuts: BTreeSet<u16>,
    /// Ranges that rules compare ports with.
    ranges: BTreeSet<(u16, u16)>,
    /// What each set or map holds for ports: first, last, and what stands there.
    sets: Vec<Vec<(u16, u16, u64)>>,
    /// How many ports that follow one another, from a multiple of it on, are the same to every test
    /// of some of a port's bits alone; `None` without such a test.
    block: Option<u16>,
}

/// Ports with the same one fare the same: every test says the same of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(Vec<u64>);

impl Classes {
    /// The cuts of a ruleset and a policy.
    pub fn new(analyzer: &Analyzer<'_>, policy: &Policy) -> Self {
        let mut classes = Self::default();
        classes.of_rules(analyzer);
        classes.of_policy(policy);
        classes
    }

    /// Adds the cuts of a ruleset.
    pub fn of_rules(&mut self, analyzer: &Analyzer<'_>) {
        let sets = analyzer.snapshot().ipsets.iter().filter_map(|set| set.elements.as_ref());
        for (first, last) in sets.flatten().filter_map(|element| element.ports) {
            self.range(first, last);
        }
        for table in analyzer.tables() {
            for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
                // What stands behind a test of ICMP's type is asked of no port.
                let of_ports = rule.statements.iter().take_while(|own| !leaves_no_ports(own));
                of_ports.for_each(|statement| cut(statement, self));
            }
            table.sets.iter().for_each(|set| elements(set, self));
        }
    }

    /// Adds the cuts of a policy.
    pub fn of_policy(&mut self, policy: &Policy) {
        for spec in policy.allow.iter().chain(&policy.deny).flat_map(|rule| &rule.ports) {
            if let PortSpec::Ports(_, range) = spec {
                self.begin(range.first(), range.last());
            }
        }
    }

    fn begin(&mut self, first: u16, last: u16) {
        self.cuts.insert(first);
        self.cuts.extend(last.checked_add(1));
    }

    fn range(&mut self, first: u16, last: u16) {
        self.begin(first, last);
        self.ranges.insert((first, last));
    }

    /// What all tests of the ruleset together say of a port.
    pub fn signature(&self, port: u16) -> Signature {
        let within = |first: u16, last: u16| (first..=last).contains(&port);
        let ranges = self.ranges.iter().map(|(first, last)| u64::from(within(*first, *last)));
        let sets = self.sets.iter().flat_map(|set| {
            let here = set.iter().filter(|(first, last, _)| within(*first, *last));
            here.map(|(.., what)| *what).chain([u64::MAX])
        });
        let block = self.block.map(|block| u64::from(port / block));
        Signature(ranges.chain(sets).chain(block).collect())
    }

    /// A range, cut before each of them.
    pub fn split(&self, protocol: Protocol, ports: PortRange) -> Vec<PortRange> {
        if !protocol.has_ports() || ports.first() == ports.last() {
            return vec![ports];
        }
        let mut firsts = vec![ports.first()];
        firsts.extend(self.cuts.range(ports.first()..=ports.last()));
        if let Some(block) = self.block {
            let next = u32::from(ports.first()).next_multiple_of(block.into());
            let blocks = (next..=ports.last().into()).step_by(block.into());
            firsts.extend(blocks.filter_map(|at| u16::try_from(at).ok()));
        }
        firsts.sort_unstable();
        firsts.dedup();
        let lasts = firsts.iter().skip(1).map(|first| first - 1).chain([ports.last()]);
        let pairs = firsts.iter().zip(lasts);
        pairs.filter_map(|(first, last)| PortRange::new(*first, last).ok()).collect()
    }
}

/// Whether only packets of a protocol without ports come past it.
fn leaves_no_ports(statement: &Statement) -> bool {
    let Statement::Compare { left, op: CompareOp::Eq, right } = statement else { return false };
    let ([Operand { selector, transforms }], [number]) = (left.as_slice(), right.as_slice()) else {
        return false;
    };
    let is_protocol = matches!(selector, Selector::Meta(MetaKey::L4proto));
    let protocol = Protocol(*number);
    let has_ports = protocol.has_ports() || protocol == Protocol::UDPLITE;
    is_protocol && transforms.is_empty() && !has_ports
}

/// Whether a port is in what the operand loads.
fn is_port(operand: &Operand) -> bool {
    match &operand.selector {
        Selector::Payload { base: PayloadBase::Transport, offset, .. } => *offset < 4,
        Selector::Ct { key, .. } => matches!(key, CtKey::ProtoSrc | CtKey::ProtoDst),
        _ => false,
    }
}

/// How many ports that follow one another an operand does not tell apart; `None` where it is ports
/// whole.
fn block(operand: &Operand) -> Option<u16> {
    let whole = match operand.selector {
        Selector::Payload { offset, len, .. } => matches!((offset, len), (0 | 2, 2) | (0, 4)),
        _ => true,
    };
    match operand.transforms.as_slice() {
        [] if whole => None,
        [Transform::Mask { mask, .. }] if whole => {
            let halves = mask.as_slice().chunks_exact(2).flat_map(numbers);
            let halves = halves.filter(|half| *half != 0).map(|half| 1 << half.trailing_zeros());
            Some(halves.min().unwrap_or(1))
        }
        _ => Some(1),
    }
}

/// Every two bytes that may be a port.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.windows(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}

fn cut(statement: &Statement, classes: &mut Classes) {
    let operands = match statement {
        Statement::Compare { left: key, .. }
        | Statement::Lookup { key, .. }
        | Statement::VerdictMap { key, .. }
        | Statement::ObjectMap { key, .. }
        | Statement::UpdateSet { key, .. } => key.as_slice(),
        Statement::Range { left, .. } => std::slice::from_ref(left),
        _ => &[],
    };
    let blocks = operands.iter().filter(|own| is_port(own)).filter_map(block);
    classes.block = classes.block.into_iter().chain(blocks).min();
    match statement {
        Statement::Compare { left, op, right } if left.iter().any(is_port) => {
            for number in numbers(right.as_slice()) {
                match op {
                    CompareOp::Eq | CompareOp::Ne => classes.range(number, number),
                    CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => {
                        // Below it, at it or above it.
                        classes.range(0, number);
                        classes.range(number, u16::MAX);
                    }
                }
            }
        }
        Statement::Range { left, from, to, .. } if is_port(left) => {
            let (first, last) = (numbers(from.as_slice()).last(), numbers(to.as_slice()).last());
            if let (Some(first), Some(last)) = (first, last) {
                classes.range(first, last);
            }
        }
        Statement::Xt { decoded: Some(decoded), .. } => match decoded {
            XtMatch::Ports { source, destination, .. } => {
                classes.range(source.0, source.1);
                classes.range(destination.0, destination.1);
            }
            XtMatch::Multiport { ranges, .. } => {
                for (first, last) in ranges {
                    classes.range(*first, *last);
                }
            }
            XtMatch::Conntrack { others, .. } => {
                for word in others.iter().flat_map(|option| option.split([' ', ':'])) {
                    if let Ok(port) = word.parse() {
                        classes.range(port, port);
                    }
                }
            }
            _ => {}
        },
        _ => {}
    }
}

fn elements(set: &Set, classes: &mut Classes) {
    let fields = super::sets::fields(set);
    let single = set.key.len() == 1;
    let mut held = Vec::new();
    for (kind, (at, len)) in set.key.iter().zip(fields) {
        // A port, or two bytes that `typeof` calls an integer.
        if len != 2 || !matches!(kind, KeyType::InetService | KeyType::Other(_)) {
            continue;
        }
        for (index, element) in set.elements.listed().iter().enumerate() {
            let (from, to) = match &element.key {
                ElementKey::Value(value) => (value.as_slice(), value.as_slice()),
                ElementKey::Interval(from, to) => (from.as_slice(), to.as_slice()),
                ElementKey::CatchAll => continue,
            };
            let port = |bytes: &[u8]| bytes.get(at..at + 2).and_then(|own| numbers(own).next());
            if let (Some(first), Some(last)) = (port(from), port(to)) {
                classes.begin(first, last);
                // Elements of a set of ports alone that lead to the same are the same.
                let mut hasher = DefaultHasher::new();
                match &element.data {
                    Some(data) if single => format!("{data:?}").hash(&mut hasher),
                    None if single => 0.hash(&mut hasher),
                    _ => (at, index).hash(&mut hasher),
                }
                format!("{:?}", element.statements).hash(&mut hasher);
                held.push((first, last, hasher.finish()));
            }
        }
    }
    if !held.is_empty() {
        classes.sets.push(held);
    }
}
