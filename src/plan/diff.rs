//! Live table → desired table, as the fewest edits in place.
//!
//! Never `delete table` and anew: that denies packets to open ports and lets some through to
//! closed ones while the transaction is committed. Rules, sets and elements that stay are not
//! touched, so counters and limits go on.

use super::{Edit, Place};
use crate::compile::CARRIED_SETS;
use crate::model::nft::{Chain, Element, ElementKey, Elements, Rule, Set, Table};
use std::collections::BTreeMap;

/// The edits that turn `live` into `desired`; none where both are the same.
pub fn diff(live: Option<&Table>, desired: &Table) -> Vec<Edit> {
    let Some(live) = live else {
        let mut edits = vec![Edit::AddTable];
        edits.extend(create(desired));
        return edits;
    };
    let redeclared = live.redeclared(desired);
    if !redeclared.is_empty() {
        let mut edits = vec![Edit::Rebuild { objects: redeclared }];
        edits.extend(create(desired));
        return edits;
    }
    let mut edits = Vec::new();
    // A chain whose policy alone was changed by hand is declared again, which sets it.
    let new_chains = desired
        .chains
        .iter()
        .filter(|chain| live.chain(&chain.name).is_none_or(|old| old.hook != chain.hook));
    edits.extend(new_chains.map(|chain| Edit::AddChain { chain: bare(chain) }));
    let new_sets = desired.sets.iter().filter(|set| live.set(&set.name).is_none());
    edits.extend(new_sets.map(|set| Edit::AddSet { set: set.clone() }));
    for set in &desired.sets {
        if let Some(old) = live.set(&set.name) {
            edits.extend(elements(old, set));
        }
    }
    for chain in &desired.chains {
        let old = live.chain(&chain.name).map_or(&[][..], |old| &old.rules);
        edits.extend(rules(&chain.name, old, &chain.rules));
    }
    let old_sets = live
        .sets
        .iter()
        // An anonymous set goes with the rule that it belongs to.
        .filter(|set| !set.flags.anonymous && desired.set(&set.name).is_none());
    edits.extend(old_sets.map(|set| Edit::DeleteSet { set: set.clone() }));
    let old_chains = live.chains.iter().filter(|chain| desired.chain(&chain.name).is_none());
    edits.extend(old_chains.map(|chain| Edit::DeleteChain { chain: chain.clone() }));
    edits
}

fn create(desired: &Table) -> Vec<Edit> {
    let mut edits = Vec::new();
    edits.extend(desired.chains.iter().map(|chain| Edit::AddChain { chain: bare(chain) }));
    edits.extend(desired.sets.iter().map(|set| Edit::AddSet { set: set.clone() }));
    for chain in &desired.chains {
        edits.extend(rules(&chain.name, &[], &chain.rules));
    }
    edits
}

fn bare(chain: &Chain) -> Chain {
    Chain { rules: Vec::new(), ..chain.clone() }
}

/// What must be taken out of and put into a set. What rules add, and connections that are carried
/// over, belong to the kernel: they are no difference.
pub(super) fn elements(live: &Set, desired: &Set) -> Vec<Edit> {
    let runtime = desired.flags.dynamic || CARRIED_SETS.contains(&desired.name.as_str());
    let (Elements::Listed(old), Elements::Listed(new)) = (&live.elements, &desired.elements) else {
        return Vec::new();
    };
    if runtime {
        return Vec::new();
    }
    let by_key = |elements: &[Element]| -> BTreeMap<ElementKey, Element> {
        elements.iter().map(|element| (element.key.clone(), element.clone())).collect()
    };
    let (old, new) = (by_key(old), by_key(new));
    let same = |a: &Element, b: &Element| a.data == b.data && a.timeout == b.timeout;
    let gone: Vec<Element> = old
        .iter()
        .filter(|(key, element)| !new.get(key).is_some_and(|other| same(element, other)))
        .map(|(_, element)| element.clone())
        .collect();
    let come: Vec<Element> = new
        .iter()
        .filter(|(key, element)| !old.get(key).is_some_and(|other| same(element, other)))
        .map(|(_, element)| element.clone())
        .collect();
    let mut edits = Vec::new();
    if !gone.is_empty() {
        edits.push(Edit::DeleteElements { set: desired.name.clone(), elements: gone });
    }
    if !come.is_empty() {
        edits.push(Edit::AddElements { set: desired.name.clone(), elements: come });
    }
    edits
}

/// The longest common subsequence of rules stays.
fn rules(chain: &str, live: &[Rule], desired: &[Rule]) -> Vec<Edit> {
    let kept = common(live, desired);
    let mut edits = Vec::new();
    for (index, rule) in live.iter().enumerate() {
        if !kept.iter().any(|(old, _)| *old == index) {
            edits.push(Edit::DeleteRule { chain: chain.to_owned(), rule: rule.clone() });
        }
    }
    for (index, rule) in desired.iter().enumerate() {
        if kept.iter().any(|(_, new)| *new == index) {
            continue;
        }
        let before = kept.iter().rev().find(|(_, new)| *new < index);
        let behind = kept.iter().any(|(_, new)| *new > index);
        let place = match before {
            _ if !behind => Place::End,
            Some((old, _)) => Place::After(live[*old].handle),
            None => Place::First,
        };
        edits.push(Edit::AddRule { chain: chain.to_owned(), place, rule: rule.clone() });
    }
    edits
}

/// Pairs of equal rules in order, as many as can be.
fn common(live: &[Rule], desired: &[Rule]) -> Vec<(usize, usize)> {
    let mut start = 0;
    while start < live.len() && start < desired.len() && live[start].same_as(&desired[start]) {
        start += 1;
    }
    let (mut old_end, mut new_end) = (live.len(), desired.len());
    while old_end > start && new_end > start && live[old_end - 1].same_as(&desired[new_end - 1]) {
        old_end -= 1;
        new_end -= 1;
    }
    let (old, new) = (&live[start..old_end], &desired[start..new_end]);
    // lengths[i][j]: how many rules of old[i..] and new[j..] can stay.
    let mut lengths = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i][j] = if old[i].same_as(&new[j]) {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    let mut pairs: Vec<(usize, usize)> = (0..start).map(|index| (index, index)).collect();
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() {
        if old[i].same_as(&new[j]) {
            pairs.push((start + i, start + j));
            i += 1;
            j += 1;
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs.extend((old_end..live.len()).zip(new_end..desired.len()));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::{Family, KeyType, SetData, SetFlags, Verdict, build};

    fn rule(handle: u64, comment: &str) -> Rule {
        Rule { handle, ..Rule::new(vec![build::counter(), build::accept()], Some(comment.into())) }
    }

    fn chain_of(comments: &[&str]) -> Chain {
        let mut chain = Chain::new("c");
        chain.rules = comments.iter().zip(10..).map(|(text, handle)| rule(handle, text)).collect();
        chain
    }

    fn table(chains: Vec<Chain>) -> Table {
        Table { chains, ..Table::new(Family::Inet, "fwctl") }
    }

    /// The edits of one chain, in short.
    fn shown(live: &[&str], desired: &[&str]) -> Vec<String> {
        let edits = diff(Some(&table(vec![chain_of(live)])), &table(vec![chain_of(desired)]));
        edits
            .iter()
            .map(|edit| match edit {
                Edit::AddRule { place, rule, .. } => {
                    format!("+{} {place:?}", rule.comment.as_ref().expect("has one"))
                }
                Edit::DeleteRule { rule, .. } => {
                    format!("-{}", rule.comment.as_ref().expect("has one"))
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn rules_that_stay_are_not_touched() {
        assert!(shown(&["a", "b"], &["a", "b"]).is_empty());
        assert_eq!(shown(&["a", "b", "c"], &["a", "c"]), ["-b"]);
        assert_eq!(shown(&["a", "c"], &["a", "b", "c"]), ["+b After(10)"]);
        assert_eq!(shown(&["a"], &["x", "y", "a", "z"]), ["+x First", "+y First", "+z End"]);
        assert_eq!(shown(&["a", "b"], &["b", "a"]), ["-a", "+a End"]);
        assert_eq!(shown(&[], &["a", "b"]), ["+a End", "+b End"]);
    }

    #[test]
    fn counters_are_no_difference() {
        let mut live = table(vec![chain_of(&["a"])]);
        live.chains[0].rules[0].statements[0] =
            crate::model::nft::Statement::Counter { packets: 7, bytes: 99 };
        assert!(diff(Some(&live), &table(vec![chain_of(&["a"])])).is_empty());
    }

    fn map(ports: &[(u16, &str)]) -> Set {
        let elements = ports.iter().map(|(port, chain)| {
            let range = crate::model::PortRange::single(*port).expect("valid");
            Element::verdict(build::key_port_range(range), Verdict::Goto((*chain).into()))
        });
        Set {
            name: "m".into(),
            handle: 0,
            key: vec![KeyType::InetService],
            key_len: 2,
            data: Some(SetData::Verdict),
            flags: SetFlags::default(),
            size: None,
            timeout: None,
            comment: None,
            statements: Vec::new(),
            elements: Elements::Listed(elements.collect()),
        }
    }

    #[test]
    fn only_the_elements_that_differ_are_sent() {
        let live = Table { sets: vec![map(&[(22, "a"), (80, "b"), (443, "b")])], ..table(vec![]) };
        let desired =
            Table { sets: vec![map(&[(22, "a"), (80, "c"), (25, "b")])], ..table(vec![]) };
        let edits = diff(Some(&live), &desired);
        let keys = |elements: &[Element]| -> Vec<String> {
            elements.iter().map(|element| format!("{:?}", element.key)).collect()
        };
        let [Edit::DeleteElements { elements: gone, .. }, Edit::AddElements { elements: come, .. }] =
            edits.as_slice()
        else {
            panic!("{edits:?}")
        };
        assert_eq!(keys(gone), ["Value(0x0050)", "Value(0x01bb)"]);
        assert_eq!(keys(come), ["Value(0x0019)", "Value(0x0050)"]);
    }

    #[test]
    fn an_object_made_anew_by_hand_is_rebuilt() {
        let live = Table { sets: vec![map(&[])], ..table(vec![]) };
        let desired = Table { sets: vec![Set { key_len: 4, ..map(&[]) }], ..table(vec![]) };
        assert!(diff(Some(&live), &desired).is_empty(), "the length follows from the type");
        let other = Set { key: vec![KeyType::Mark], ..map(&[]) };
        let edits = diff(Some(&live), &Table { sets: vec![other], ..table(vec![]) });
        assert!(matches!(&edits[0], Edit::Rebuild { objects } if objects == &["set m"]));
    }
}
