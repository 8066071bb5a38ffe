//! Desired + live → the transaction that puts a change beside the table in force.

use super::{COMMENT, OFF, is_pending_rule, map_name, prefix, read};
use crate::compile::{CARRIED_SETS, MARKER_CHAIN, PRIORITY, TABLE};
use crate::model::IpFamily;
use crate::model::nft::{
    BaseChain, Chain, Element, ElementData, Elements, Family, Hook, KeyType, Rule, Set, SetData,
    SetFlags, Statement, Table, Verdict, build, build::CtState,
};
use crate::plan::{diff, transaction};
use std::collections::BTreeSet;
use std::time::Duration;

/// How a change is put beside the table in force, in two transactions.
///
/// The kernel lets packets see the elements of some new sets (of intervals) a moment after the
/// transaction that made them. So what the new rules look up is there first, and only then does
/// anything lead to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arming {
    /// The transaction that puts it there, in the language of `nft(8)`. No packet sees it yet.
    pub beside: String,
    /// The transaction that leads packets there, and starts the kernel's clock.
    pub armed: String,
    /// The whole table that both lead to.
    pub table: Table,
}

/// Puts `desired` (`None`: no filtering of ours) beside `live` as this generation, to rule for so
/// long.
///
/// # Errors
/// The names of objects that somebody made anew by hand as something else: nothing can be put
/// beside those.
pub fn arm(
    live: Option<&Table>,
    desired: Option<&Table>,
    generation: u32,
    within: Duration,
) -> Result<Arming, Vec<String>> {
    let open = open();
    let wanted = desired.unwrap_or(&open);
    if let Some(live) = live {
        let mut in_the_way = live.redeclared(wanted);
        if let Some(other) = read(live) {
            in_the_way.push(format!("what is left of generation {}", other.generation));
        }
        if !in_the_way.is_empty() {
            return Err(in_the_way);
        }
    }
    let copies = copies(live, wanted, desired.is_none(), generation);
    let words = digest_words(&copies);
    let mut beside = live.cloned().unwrap_or_else(|| Table::new(Family::Inet, TABLE));
    let bases: Vec<&Chain> = wanted.chains.iter().filter(|chain| chain.hook.is_some()).collect();
    for base in &bases {
        if beside.chain(&base.name).is_none() {
            beside.chains.push(scaffold(base, generation));
        }
    }
    beside.sets.extend(copies.sets);
    beside.chains.extend(copies.chains);
    let mut table = beside.clone();
    for base in bases {
        let map = map_name(generation, &base.name);
        table.sets.push(armed_map(&map, &base.name, generation, within));
        let asks = Rule::new(
            vec![build::vmap(vec![build::meta_nfproto()], &map)],
            Some(format!("{COMMENT}{generation} {words}")),
        );
        let mut chains = table.chains.iter_mut();
        let chain = chains.find(|chain| chain.name == base.name).expect("was there, or was made");
        // Behind the rule for established connections it costs nothing to any of them.
        let established = chain.rules.first().is_some_and(|first| is_established(first, base));
        chain.rules.insert(usize::from(established), asks);
    }
    let text = |from: Option<&Table>, to: &Table| transaction::text(&diff::diff(from, to), to);
    Ok(Arming { beside: text(live, &beside), armed: text(Some(&beside), &table), table })
}

fn is_established(first: &Rule, base: &Chain) -> bool {
    is_pending_rule(first)
        || first.statements == [build::ct_state(&[CtState::Established]), build::accept()]
        || base.rules.first().is_some_and(|own| own.same_as(first))
}

/// What `off` leads to: base chains that let everything pass.
fn open() -> Table {
    let base = |name: &str, hook| {
        let hook = BaseChain {
            kind: "filter".to_owned(),
            hook,
            priority: PRIORITY,
            policy: Verdict::Accept,
            devices: Vec::new(),
        };
        let rules = vec![Rule::new(vec![build::accept()], None)];
        Chain { hook: Some(hook), rules, ..Chain::new(name) }
    };
    let marker = Chain {
        rules: vec![Rule::new(vec![build::return_()], Some(OFF.to_owned()))],
        ..Chain::new(MARKER_CHAIN)
    };
    let chains = vec![base("input", Hook::Input), base("forward", Hook::Forward), marker];
    Table { chains, ..Table::new(Family::Inet, TABLE) }
}

/// A base chain that is not there yet: nothing of it is left when the change is gone.
fn scaffold(base: &Chain, generation: u32) -> Chain {
    let established = vec![build::ct_state(&[CtState::Established]), build::accept()];
    let comment = format!("{COMMENT}{generation} established");
    Chain { rules: vec![Rule::new(established, Some(comment))], ..bare(base) }
}

fn bare(base: &Chain) -> Chain {
    Chain { rules: Vec::new(), ..base.clone() }
}

fn digest_words(copies: &Copies) -> String {
    let comment = copies.marker.as_deref().unwrap_or(OFF);
    comment.split_once("sha256").map_or("off".to_owned(), |(_, digest)| format!("sha256{digest}"))
}

/// The map that the kernel forgets: both IP versions with one timeout, made at one moment.
fn armed_map(name: &str, base: &str, generation: u32, within: Duration) -> Set {
    let target = format!("{}{base}", prefix(generation));
    let timeout = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let elements = IpFamily::BOTH.map(|family| Element {
        timeout: Some(timeout),
        ..Element::verdict(build::key_nfproto(family), Verdict::Goto(target.clone()))
    });
    Set {
        name: name.to_owned(),
        handle: 0,
        key: vec![KeyType::NF_PROTO],
        key_len: 1,
        data: Some(SetData::Verdict),
        flags: SetFlags { timeout: true, ..SetFlags::default() },
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(elements.to_vec()),
    }
}

/// What stands beside the table in force.
struct Copies {
    chains: Vec<Chain>,
    sets: Vec<Set>,
    /// The comment of the marker.
    marker: Option<String>,
}

fn copies(live: Option<&Table>, wanted: &Table, off: bool, generation: u32) -> Copies {
    let used = wanted.named_sets();
    let shared: BTreeSet<&str> = wanted
        .sets
        .iter()
        .filter(|set| {
            used.contains(set.name.as_str()) && live.is_some_and(|live| can_share(live, set))
        })
        .map(|set| set.name.as_str())
        .collect();
    let prefix = prefix(generation);
    let set_name = |name: &str| {
        if shared.contains(name) { name.to_owned() } else { format!("{prefix}{name}") }
    };
    let names = Names { chain: &|name| format!("{prefix}{name}"), set: &set_name };
    let chains: Vec<Chain> = wanted.chains.iter().map(|chain| names.chain(chain)).collect();
    let marker = (!off).then(|| wanted.chain(MARKER_CHAIN)).flatten();
    Copies {
        marker: marker.and_then(|chain| chain.rules.first()?.comment.clone()),
        chains,
        sets: wanted
            .sets
            .iter()
            .filter(|set| !shared.contains(set.name.as_str()))
            .map(|set| names.set(set))
            .collect(),
    }
}

/// Whether both generations can use the live set: it is the same, and using it changes nothing.
fn can_share(live: &Table, set: &Set) -> bool {
    // What connections are carried over is the kernel's to keep.
    let carried = CARRIED_SETS.contains(&set.name.as_str());
    let same = live.set(&set.name).is_some_and(|own| diff::elements(own, set).is_empty());
    same && (carried || !set.flags.dynamic) && !matches!(set.data, Some(SetData::Verdict))
}

/// New names for chains and sets, wherever they are named. The compiler names them in verdicts,
/// lookups, verdict maps and updates, and nowhere else.
pub(super) struct Names<'n> {
    pub chain: &'n dyn Fn(&str) -> String,
    pub set: &'n dyn Fn(&str) -> String,
}

impl Names<'_> {
    /// The chain under its new name, without a hook.
    pub fn chain(&self, chain: &Chain) -> Chain {
        let rules = chain.rules.iter().map(|rule| self.rule(rule)).collect();
        Chain { rules, ..Chain::new(&(self.chain)(&chain.name)) }
    }

    /// The set under its new name.
    pub fn set(&self, set: &Set) -> Set {
        let elements = match &set.elements {
            Elements::Listed(elements) => Elements::Listed(
                elements
                    .iter()
                    .map(|element| {
                        let data = match &element.data {
                            Some(ElementData::Verdict(verdict)) => {
                                Some(ElementData::Verdict(self.verdict(verdict)))
                            }
                            other => other.clone(),
                        };
                        Element { data, ..element.clone() }
                    })
                    .collect(),
            ),
            other @ Elements::NotListed { .. } => other.clone(),
        };
        Set { name: (self.set)(&set.name), handle: 0, elements, ..set.clone() }
    }

    fn rule(&self, rule: &Rule) -> Rule {
        let statements = rule.statements.iter().map(|statement| {
            let mut statement = statement.clone();
            match &mut statement {
                Statement::Verdict(verdict) => *verdict = self.verdict(verdict),
                Statement::Lookup { set, .. } | Statement::UpdateSet { set, .. } => {
                    *set = (self.set)(set);
                }
                Statement::VerdictMap { map, .. } => *map = (self.set)(map),
                Statement::Counter { packets, bytes } => (*packets, *bytes) = (0, 0),
                _ => {}
            }
            statement
        });
        Rule::new(statements.collect(), rule.comment.clone())
    }

    fn verdict(&self, verdict: &Verdict) -> Verdict {
        match verdict {
            Verdict::Jump(chain) => Verdict::Jump((self.chain)(chain)),
            Verdict::Goto(chain) => Verdict::Goto((self.chain)(chain)),
            other => other.clone(),
        }
    }
}
