//! A ruleset → the rules that never decide anything, because earlier ones decide before them.
//!
//! In: any ruleset. Out: each rule that no packet can reach and match at once, with those that
//! cover it. What is named is so on every host; a rule that only a host's addresses or a test that
//! two rules word differently make useless may be missed.

use super::gate::{Field, Gate};
use super::program::Program;
use super::state::RuleId;
use crate::model::nft::{
    CompareOp, CtKey, MetaKey, Operand, Rule, Ruleset, Selector, Statement, Verdict, XtKind,
    XtMatch,
};
use foldhash::HashMap;
use std::collections::BTreeMap;

/// A rule that never decides anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// The rule.
    pub rule: RuleId,
    /// Those that decide before it, together; none where its own tests contradict each other.
    pub by: Vec<RuleId>,
}

/// So many rules together are tried as a cover.
const TOGETHER: usize = 48;
/// So many pieces of a rule's box are looked at.
const PIECES: usize = 512;
/// The kernel refuses rulesets that jump deeper.
const DEPTH: usize = 16;

/// Finds the rules that never decide.
pub fn shadowed(ruleset: &Ruleset) -> Vec<Shadowed> {
    let program = Program::new(ruleset.tables.iter().collect());
    let mut found = Vec::new();
    for (table, own) in ruleset.tables.iter().enumerate() {
        for chain in 0..own.chains.len() {
            Rules { program: &program, table, chain }.shadowed(&mut found);
        }
    }
    found
}

/// One chain of a program.
#[derive(Clone, Copy)]
struct Rules<'p, 's> {
    program: &'p Program<'s>,
    table: usize,
    chain: usize,
}

/// Deciding rules that came already, to be found by what they are about.
#[derive(Default)]
struct Earlier {
    /// By port (`None` for more than one) and source, where that is a prefix.
    by_source: HashMap<(Option<u16>, u128, u128), Vec<usize>>,
    /// How long the sources are that were seen, with their number.
    sizes: BTreeMap<u128, usize>,
    /// Those whose source is no prefix.
    odd: Vec<usize>,
    /// By the first source.
    in_order: BTreeMap<(Option<u16>, u128), Vec<usize>>,
}

fn single(gate: &Gate) -> Option<u16> {
    (gate.port.0 == gate.port.1).then_some(gate.port.0)
}

impl Earlier {
    fn add(&mut self, index: usize, gate: &Gate) {
        let (first, last) = gate.source;
        let size = last.wrapping_sub(first);
        let port = single(gate);
        if size & size.wrapping_add(1) == 0 && first & size == 0 {
            *self.sizes.entry(size).or_default() += 1;
            self.by_source.entry((port, first, last)).or_default().push(index);
        } else {
            self.odd.push(index);
        }
        self.in_order.entry((port, first)).or_default().push(index);
    }

    /// Those that may cover the whole box.
    fn around(&self, gate: &Gate) -> impl Iterator<Item = usize> + '_ {
        let (first, last) = gate.source;
        let own = single(gate);
        let ports = [None, own].into_iter().take(if own.is_some() { 2 } else { 1 });
        let all = ports.flat_map(move |port| {
            let size = last.wrapping_sub(first);
            self.sizes.range(size..).filter_map(move |(size, _)| {
                let low = first & !size;
                self.by_source.get(&(port, low, low | size))
            })
        });
        all.flatten().copied().chain(self.odd.iter().copied())
    }

    /// Those that may cover a part of it; not all where there are many.
    fn inside(&self, gate: &Gate) -> Vec<usize> {
        let (first, last) = gate.source;
        let mut found: Vec<usize> = self.around(gate).take(TOGETHER).collect();
        let own = single(gate);
        let mut ports: Vec<Option<u16>> = vec![None];
        ports.extend(own.map(Some));
        if own.is_none() && gate.port.1 - gate.port.0 < 64 {
            ports.extend((gate.port.0..=gate.port.1).map(Some));
        }
        for port in ports {
            let within = self.in_order.range((port, first)..=(port, last));
            found.extend(within.flat_map(|(_, all)| all).take(TOGETHER));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Rules<'_, '_> {
    fn id(self, rule: usize) -> RuleId {
        RuleId { table: self.table, chain: self.chain, rule: Some(rule) }
    }

    fn shadowed(self, found: &mut Vec<Shadowed>) {
        let (program, table, chain) = (self.program, self.table, self.chain);
        let gates = program.gates(table, chain);
        let untracks = program.rules(table, chain).flat_map(|rule| &rule.statements).any(|own| {
            matches!(own, Statement::Notrack)
                || matches!(own, Statement::Xt { kind: XtKind::Target, name, .. }
                    if name == "CT" || name == "NOTRACK")
        });
        let mut earlier = Earlier::default();
        for (index, rule) in program.rules(table, chain).enumerate() {
            let gate = &gates[index];
            if gate.is_empty() && does_something(rule) {
                found.push(Shadowed { rule: self.id(index), by: Vec::new() });
                continue;
            }
            if does_something(rule)
                && let Some(by) = self.cover(&earlier, index, gate, untracks)
            {
                let by = by.into_iter().map(|rule| self.id(rule)).collect();
                found.push(Shadowed { rule: self.id(index), by });
                continue;
            }
            if rule.statements.iter().any(|own| matches!(own, Statement::SetPayload { .. })) {
                // From here on other values may stand in the packet.
                earlier = Earlier::default();
            } else if self.decides(rule, 0) {
                earlier.add(index, gate);
            }
        }
    }

    /// The rules that decide before this one, if no packet is left for it.
    fn cover(
        self,
        earlier: &Earlier,
        index: usize,
        gate: &Gate,
        untracks: bool,
    ) -> Option<Vec<usize>> {
        let covers = |other: usize, within: &Gate| self.passes(other, index, within, untracks);
        if let Some(one) = earlier.around(gate).find(|other| covers(*other, gate)) {
            return Some(vec![one]);
        }
        let gates = self.program.gates(self.table, self.chain);
        let parts: Vec<usize> = earlier
            .inside(gate)
            .into_iter()
            .filter(|other| gates[*other].meets(gate))
            .filter(|other| covers(*other, &gates[*other].and(gate)))
            .collect();
        if parts.len() < 2 {
            return None;
        }
        let mut left = vec![*gate];
        let mut by = Vec::new();
        for other in parts {
            let mut next = Vec::new();
            for piece in &left {
                if piece.meets(&gates[other]) {
                    without(piece, &gates[other], &mut next);
                } else {
                    next.push(*piece);
                }
            }
            if next.len() > PIECES {
                return None;
            }
            if next != left {
                by.push(other);
            }
            left = next;
            if left.is_empty() {
                return Some(by);
            }
        }
        None
    }

    /// Whether every packet of the box that passes all tests of one rule passes those of another.
    fn passes(self, other: usize, own: usize, within: &Gate, untracks: bool) -> bool {
        let rule = |index: usize| self.program.rule(self.table, self.chain, index);
        let own = &rule(own).statements;
        let sets = |name: &str| self.program.settled(self.table, name);
        rule(other).statements.iter().all(|test| match test {
            Statement::Compare { .. }
            | Statement::Range { .. }
            | Statement::Lookup { .. }
            | Statement::Xt { kind: XtKind::Match, .. } => {
                within.implies(test, &sets)
                    || (lasts(test, untracks, &|set| sets(set).is_some())
                        && own.iter().any(|theirs| theirs == test))
            }
            // What decides, counts or logs.
            _ => true,
        })
    }

    /// Whether a packet that passes its tests goes no further in this chain.
    fn decides(self, rule: &Rule, depth: usize) -> bool {
        let Some((last, before)) = rule.statements.split_last() else { return false };
        let only_tests = before.iter().all(|own| {
            matches!(
                own,
                Statement::Compare { .. }
                    | Statement::Range { .. }
                    | Statement::Lookup { .. }
                    | Statement::Counter { .. }
                    | Statement::Log(_)
            ) || matches!(own, Statement::Xt { kind: XtKind::Match, decoded: Some(_), .. })
        });
        only_tests
            && match last {
                Statement::Verdict(verdict) => match verdict {
                    Verdict::Accept | Verdict::Drop | Verdict::Return | Verdict::Goto(_) => true,
                    Verdict::Jump(name) => self.always_ends(name, depth),
                    Verdict::Continue | Verdict::Queue => false,
                },
                Statement::Reject(_)
                | Statement::Xt {
                    kind: XtKind::Target,
                    decoded: Some(XtMatch::Reject { .. }),
                    ..
                } => true,
                _ => false,
            }
    }

    /// Whether nothing comes back out of a chain.
    fn always_ends(self, name: &str, depth: usize) -> bool {
        let Some(chain) = self.program.chain(self.table, name).filter(|_| depth < DEPTH) else {
            return false;
        };
        let inner = Self { chain, ..self };
        let returns = |statement: &Statement| {
            matches!(statement, Statement::Verdict(Verdict::Return) | Statement::VerdictMap { .. })
        };
        for rule in self.program.rules(self.table, chain) {
            if rule.statements.iter().any(returns) {
                return false;
            }
            let tests = rule.statements.iter().any(|own| {
                !matches!(
                    own,
                    Statement::Counter { .. }
                        | Statement::Log(_)
                        | Statement::Verdict(_)
                        | Statement::Reject(_)
                )
            });
            let goes = matches!(rule.statements.last(), Some(Statement::Verdict(Verdict::Goto(_))));
            if !tests && !goes && inner.decides(rule, depth + 1) {
                return true;
            }
        }
        false
    }
}

/// Whether a rule does anything that another could do before it.
fn does_something(rule: &Rule) -> bool {
    rule.statements
        .iter()
        .any(|own| !own.only_tests() && *own != Statement::Verdict(Verdict::Continue))
}

/// The box less another: boxes that do not meet.
fn without(gate: &Gate, other: &Gate, out: &mut Vec<Gate>) {
    const FIELDS: [Field; 6] = [
        Field::Version,
        Field::Protocol,
        Field::Port,
        Field::Source,
        Field::Destination,
        Field::SourcePort,
    ];
    let mut rest = *gate;
    for field in FIELDS {
        let (low, high) = rest.range(field);
        let (first, last) = other.range(field);
        if low < first {
            let mut piece = rest;
            piece.narrow(field, low, first - 1);
            out.push(piece);
        }
        if last < high {
            let mut piece = rest;
            piece.narrow(field, last + 1, high);
            out.push(piece);
        }
        rest.narrow(field, first, last);
    }
}

/// Whether a test says the same of a packet wherever in a chain it stands.
fn lasts(test: &Statement, untracks: bool, settled: &dyn Fn(&str) -> bool) -> bool {
    let operand = |operand: &Operand| match &operand.selector {
        Selector::Payload { .. } | Selector::Fib { .. } => true,
        Selector::Meta(key) => matches!(
            key,
            MetaKey::Protocol
                | MetaKey::Nfproto
                | MetaKey::L4proto
                | MetaKey::Iif
                | MetaKey::Oif
                | MetaKey::Iifname
                | MetaKey::Oifname
                | MetaKey::Iifkind
                | MetaKey::Oifkind
                | MetaKey::Iiftype
                | MetaKey::Oiftype
                | MetaKey::Pkttype
        ),
        Selector::Ct { key, .. } => {
            !untracks
                && (key.is_address()
                    || matches!(
                        key,
                        CtKey::State
                            | CtKey::Direction
                            | CtKey::Protocol
                            | CtKey::ProtoSrc
                            | CtKey::ProtoDst
                    ))
        }
        Selector::Immediate(_) | Selector::Map { .. } | Selector::Other { .. } => false,
    };
    match test {
        Statement::Compare { left, op: CompareOp::Eq | CompareOp::Ne, .. } => {
            left.iter().all(operand)
        }
        Statement::Range { left, .. } => operand(left),
        Statement::Lookup { key, set, .. } => settled(set) && key.iter().all(operand),
        Statement::Xt { decoded: Some(decoded), .. } => match decoded {
            XtMatch::Conntrack { others, .. } => !untracks && others.is_empty(),
            XtMatch::Ports { .. }
            | XtMatch::Multiport { .. }
            | XtMatch::AddrType { .. }
            | XtMatch::Icmp { .. }
            | XtMatch::IpRange { .. }
            | XtMatch::PktType { .. } => true,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests;
