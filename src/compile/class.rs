//! The chain of a class: who may dial its ports.
//!
//! In order: denies, allows without a limit, allows with one, the default. Each asks for its
//! sources by one lookup an IP version, however many prefixes they are.

use super::comment;
use super::draft::Draft;
use super::limits;
use super::prefix_sets::{PrefixSets, prefix_sets};
use super::sources::{Addresses, Term, World, declared, length, prefixes, terms};
use crate::model::nft::{
    Chain, Limit, LimitUnit, MetaKey, RateUnit, Rule as NftRule, Statement, build, build::CtState,
};
use crate::model::{IfaceName, IfacePattern, IpFamily, Prefix};
use crate::policy::{AddressRef, Destination, Inbound, Rule};
use std::collections::BTreeMap;

/// Lists up to this long that one rule asks for are united in a set of their own; longer ones
/// keep theirs, so that none is in the kernel twice.
const UNITE: usize = 1024;

/// How many decisions of a logged rule are written a second; the rest is counted only, so that
/// nobody fills the disk from outside.
const LOG_PER_SECOND: u64 = 10;

/// What a rule does with the packets that it is for.
struct Action {
    verdict: Vec<Statement>,
    log: Option<String>,
    comment: String,
    /// Whether nothing behind it sees the packet.
    last: bool,
}

/// Fills the chain of a class; `allow` and `deny` are the rules that speak in it.
pub(super) fn chain(
    draft: &mut Draft<'_>,
    name: &str,
    deny: &[&Rule],
    allow: &[&Rule],
    world: World<'_>,
    default: Option<&str>,
) -> Chain {
    let mut chain = Chain::new(name);
    for (index, (key, rules)) in alike(deny).into_iter().enumerate() {
        let verdict = match draft.policy.default.inbound {
            Inbound::Reject => vec![build::counter(), build::goto("refuse")],
            Inbound::Drop | Inbound::Accept => vec![build::counter(), build::drop()],
        };
        let action = action("deny", verdict, key.log, &rules, true);
        if act(draft, &mut chain, &format!("{name}_deny{index}"), &rules, &key, world, &action) {
            return chain;
        }
    }
    let (limited, free): (Vec<&Rule>, Vec<&Rule>) =
        allow.iter().partition(|rule| rule.limit.is_some());
    for (index, (key, rules)) in alike(&free).into_iter().enumerate() {
        let verdict = vec![build::counter(), build::accept()];
        let action = action("allow", verdict, key.log, &rules, true);
        if act(draft, &mut chain, &format!("{name}_allow{index}"), &rules, &key, world, &action) {
            return chain;
        }
    }
    for (index, rule) in limited.iter().enumerate() {
        let Some(rate) = rule.limit else { continue };
        let verdict = vec![build::jump(&limits::chain(draft, rule, rate))];
        let rules = [*rule];
        let action = action("limited allow", verdict, rule.log, &rules, false);
        let key = Alike { log: rule.log, to: addresses_of(rule) };
        let label = format!("{name}_limited{index}");
        act(draft, &mut chain, &label, &rules, &key, world, &action);
    }
    if let Some(default) = default {
        chain.rules.push(NftRule::new(vec![build::goto(default)], None));
    }
    chain
}

/// Rules with this in common are answered together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    log: bool,
    to: Vec<AddressRef>,
}

fn alike<'r>(rules: &[&'r Rule]) -> Vec<(Alike, Vec<&'r Rule>)> {
    let mut groups: BTreeMap<Alike, Vec<&'r Rule>> = BTreeMap::new();
    for rule in rules {
        let key = Alike { log: rule.log, to: addresses_of(rule) };
        groups.entry(key).or_default().push(rule);
    }
    groups.into_iter().collect()
}

fn addresses_of(rule: &Rule) -> Vec<AddressRef> {
    let mut addresses: Vec<AddressRef> = rule
        .to
        .iter()
        .filter_map(|destination| match destination {
            Destination::Address(reference) => Some(reference.clone()),
            Destination::ContainerNetwork(_) => None,
        })
        .collect();
    addresses.sort();
    addresses
}

fn action(verb: &str, verdict: Vec<Statement>, log: bool, rules: &[&Rule], last: bool) -> Action {
    let comment = comment::of_rules(verb, rules);
    Action { verdict, log: log.then(|| comment::log_prefix(&comment)), comment, last }
}

/// Adds the rules by which the action is taken; true where it is taken for every packet.
fn act(
    draft: &mut Draft<'_>,
    chain: &mut Chain,
    label: &str,
    rules: &[&Rule],
    key: &Alike,
    world: World<'_>,
    action: &Action,
) -> bool {
    let mut all: Vec<Term> = Vec::new();
    for rule in rules {
        for term in terms(draft.policy, rule, world) {
            if !all.contains(&term) {
                all.push(term);
            }
        }
    }
    let to = destination(draft, label, key, world);
    if all.contains(&Term::Any) {
        push(chain, &to, action);
        return key.to.is_empty() && action.last;
    }
    let internet = all.contains(&Term::Internet);
    let sources = conditions(draft, label, &all);
    push(chain, &both(&sources, &to), action);
    if internet {
        let mut inner = Chain::new(&format!("{label}_internet"));
        let zones = declared(draft.policy);
        for condition in conditions(draft, "declared", &zones) {
            let mut statements = condition.statements();
            statements.push(build::return_());
            inner.rules.push(NftRule::new(statements, Some("a declared zone".to_owned())));
        }
        push(&mut inner, &to, action);
        let name = inner.name.clone();
        draft.add_chain(inner);
        chain.rules.push(NftRule::new(vec![build::jump(&name)], Some(action.comment.clone())));
    }
    false
}

fn push(chain: &mut Chain, conditions: &[Condition], action: &Action) {
    for condition in conditions {
        if let Some(prefix) = &action.log {
            let mut statements = condition.statements();
            statements.push(Statement::Limit(Limit {
                rate: LOG_PER_SECOND,
                unit: LimitUnit::Packets,
                per: RateUnit::Second,
                burst: 20,
                over: false,
            }));
            statements.push(build::log(prefix));
            chain.rules.push(NftRule::new(statements, Some(action.comment.clone())));
        }
        let mut statements = condition.statements();
        statements.extend(action.verdict.iter().cloned());
        chain.rules.push(NftRule::new(statements, Some(action.comment.clone())));
    }
}

/// What a packet must be for a rule to act.
#[derive(Debug, Clone, Default)]
struct Condition {
    interface: Option<Statement>,
    family: Option<IpFamily>,
    rest: Vec<Statement>,
}

impl Condition {
    fn statements(&self) -> Vec<Statement> {
        let mut statements: Vec<Statement> = self.interface.iter().cloned().collect();
        statements.extend(self.family.map(build::nfproto));
        statements.extend(self.rest.iter().cloned());
        statements
    }
}

/// Every pair that can hold at once.
fn both(sources: &[Condition], destinations: &[Condition]) -> Vec<Condition> {
    let mut pairs = Vec::new();
    for source in sources {
        for destination in destinations {
            if let (Some(own), Some(other)) = (source.family, destination.family)
                && own != other
            {
                continue;
            }
            let rest = source.rest.iter().chain(&destination.rest).cloned().collect();
            let family = source.family.or(destination.family);
            pairs.push(Condition { interface: source.interface.clone(), family, rest });
        }
    }
    pairs
}

/// The dialled address: by the connection's original direction, and for packets of no known
/// connection (which nothing translates) by the packet itself.
fn destination(
    draft: &mut Draft<'_>,
    label: &str,
    key: &Alike,
    world: World<'_>,
) -> Vec<Condition> {
    if key.to.is_empty() || matches!(world, World::Network(_)) {
        return vec![Condition::default()];
    }
    let policy = draft.policy;
    let sets = prefix_sets(draft, &format!("{label}_to"), || prefixes(policy, &key.to));
    let mut conditions = Vec::new();
    for family in IpFamily::BOTH {
        let Some(set) = sets.of(family) else { continue };
        let tracked = vec![build::lookup(vec![build::ct_original_daddr(family)], set)];
        let untracked = vec![
            build::ct_state(&[CtState::Invalid, CtState::Untracked]),
            build::lookup(vec![build::daddr(family)], set),
        ];
        for rest in [tracked, untracked] {
            conditions.push(Condition { interface: None, family: Some(family), rest });
        }
    }
    conditions
}

/// One condition for each interface and IP version that must be asked for separately.
fn conditions(draft: &mut Draft<'_>, label: &str, terms: &[Term]) -> Vec<Condition> {
    let mut groups: BTreeMap<Vec<IfacePattern>, Vec<&Addresses>> = BTreeMap::new();
    for term in terms {
        if let Term::Match { interfaces, addresses } = term {
            let mut interfaces = interfaces.clone();
            interfaces.sort();
            groups.entry(interfaces).or_default().push(addresses);
        }
    }
    let mut conditions = Vec::new();
    for (index, (interfaces, addresses)) in groups.into_iter().enumerate() {
        let label = if index == 0 { label.to_owned() } else { format!("{label}_{index}") };
        let sources = if addresses.contains(&&Addresses::Any) {
            vec![Condition::default()]
        } else {
            united(draft, &label, &addresses)
                .iter()
                .flat_map(|sets| {
                    IpFamily::BOTH.into_iter().filter_map(|family| {
                        let set = sets.of(family)?;
                        let rest = vec![build::lookup(vec![build::saddr(family)], set)];
                        Some(Condition { interface: None, family: Some(family), rest })
                    })
                })
                .collect()
        };
        for interface in interface_conditions(draft, &interfaces) {
            for source in &sources {
                conditions.push(Condition { interface: interface.clone(), ..source.clone() });
            }
        }
    }
    conditions
}

/// The sets to look in: short lists united, long ones and a single one as they are.
fn united(draft: &mut Draft<'_>, label: &str, addresses: &[&Addresses]) -> Vec<PrefixSets> {
    let policy = draft.policy;
    if let [Addresses::Named { name, references }] = addresses {
        return vec![prefix_sets(draft, name, || prefixes(policy, references))];
    }
    let mut sets = Vec::new();
    let mut short: Vec<Prefix> = Vec::new();
    for list in addresses {
        match list {
            Addresses::Any => {}
            Addresses::Literal(prefix) => short.push(*prefix),
            Addresses::Named { name, references } if length(policy, references) > UNITE => {
                sets.push(prefix_sets(draft, name, || prefixes(policy, references)));
            }
            Addresses::Named { references, .. } => short.extend(prefixes(policy, references)),
        }
    }
    if !short.is_empty() {
        sets.push(prefix_sets(draft, label, || short));
    }
    sets
}

/// Exact names in one lookup; a pattern (`wg*`) is a comparison of its own.
fn interface_conditions(draft: &mut Draft<'_>, own: &[IfacePattern]) -> Vec<Option<Statement>> {
    if own.is_empty() {
        return vec![None];
    }
    // Behind prerouting a port of a VRF goes by another name, and its own is found elsewhere.
    let ports = &draft.environment.vrf_ports;
    let is_port = |pattern: &IfacePattern| ports.iter().any(|port| pattern.matches(port));
    let in_vrf = own.iter().any(is_port);
    let mut exact: Vec<IfaceName> = Vec::new();
    let mut conditions = Vec::new();
    for pattern in own {
        match pattern {
            IfacePattern::Exact(name) => exact.push(name.clone()),
            IfacePattern::StartsWith(_) => {
                conditions.push(Some(build::iifname(pattern)));
                conditions.extend(is_port(pattern).then(|| Some(build::sdifname(pattern))));
            }
        }
    }
    match exact.as_slice() {
        [] => {}
        [one] => {
            let pattern = IfacePattern::Exact(one.clone());
            conditions.push(Some(build::iifname(&pattern)));
            conditions.extend(is_port(&pattern).then(|| Some(build::sdifname(&pattern))));
        }
        several => {
            let set = draft.interface_set(several);
            let keys = [Some(MetaKey::Iifname), in_vrf.then_some(MetaKey::Sdifname)];
            let asked = keys.into_iter().flatten();
            conditions.extend(asked.map(|key| Some(build::lookup(vec![build::meta(key)], &set))));
        }
    }
    conditions
}
