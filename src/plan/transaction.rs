//! Edits → one transaction in the language of `nft(8)`: text that anyone can read and run.
//!
//! `nft -f` sends a whole file as one batch, which the kernel commits at once or not at all.

use super::{Edit, Place};
use crate::compile::TABLE;
use crate::model::nft::{Element, ElementKey, Elements, Set, Table, text};
use std::fmt::Write as _;

/// The transaction that makes these edits; `table` is the one that they lead to.
pub fn text(edits: &[Edit], table: &Table) -> String {
    if edits.is_empty() {
        return String::new();
    }
    if edits.first() == Some(&Edit::AddTable) {
        return create(&text::table(table));
    }
    let mut out = String::new();
    if let Some(Edit::Rebuild { .. }) = edits.first() {
        // A table that does not exist cannot be deleted; one that is added twice is one.
        return format!(
            "add table inet {TABLE}\ndelete table inet {TABLE}\n{}",
            text::table(table)
        );
    }
    let refilled = refilled(edits, table);
    let mut flushed = false;
    let mut index = 0;
    while index < edits.len() {
        match &edits[index] {
            Edit::DeleteElements { set, .. } if refilled.contains(&set.as_str()) => {
                refill(&mut out, set, table);
                index += 1;
                continue;
            }
            Edit::AddElements { set, .. } if refilled.contains(&set.as_str()) => {
                index += 1;
                continue;
            }
            _ => {}
        }
        let takes_out = matches!(edits[index], Edit::DeleteSet { .. } | Edit::DeleteChain { .. });
        if takes_out && !flushed {
            flush(&mut out, edits);
            flushed = true;
        }
        let run = run_of_rules(&edits[index..]);
        if run > 1 {
            // Each of several rules put behind the same one pushes the others back.
            for edit in edits[index..index + run].iter().rev() {
                write(&mut out, edit, table);
            }
            index += run;
        } else {
            write(&mut out, &edits[index], table);
            index += 1;
        }
    }
    out
}

/// The interval sets and maps whose elements must all be put in anew: nft 1.0.6 accepts the deletion
/// of an element that begins at the highest key of a map (port 65535), and deletes nothing; nft 1.0.2
/// refuses an element that overlaps one that the same transaction deletes.
fn refilled<'e>(edits: &'e [Edit], table: &'e Table) -> Vec<&'e str> {
    let at_the_end = |element: &Element| {
        range(element).is_some_and(|(first, _)| first.iter().all(|byte| *byte == u8::MAX))
    };
    let anew = |(set, gone, come): &(&Set, &[Element], &[Element])| {
        let loses_the_end = set.data.is_some() && gone.iter().any(at_the_end);
        loses_the_end || overlap(gone, come).is_some_and(|own| own == Overlap::Other)
    };
    exchanged(edits, table).filter(anew).map(|(set, ..)| set.name.as_str()).collect()
}

/// Whether elements are put in at keys of others that are taken out.
///
/// The kernel keeps both in one tree until the transaction has ended, and a lookup that comes to the
/// one that does not count may find nothing: throughout, before "netfilter: nft_set_rbtree: continue
/// traversal if element is inactive" (2025), and for a moment as long as lookups go through the tree.
pub(super) fn displaces(edits: &[Edit], table: &Table) -> bool {
    exchanged(edits, table).any(|(_, gone, come)| overlap(gone, come).is_some())
}

/// The interval sets and maps out of which elements are taken: those, and what is put in.
fn exchanged<'e>(
    edits: &'e [Edit],
    table: &'e Table,
) -> impl Iterator<Item = (&'e Set, &'e [Element], &'e [Element])> {
    let added = |name: &str| {
        edits.iter().find_map(|edit| match edit {
            Edit::AddElements { set, elements } if set == name => Some(elements.as_slice()),
            _ => None,
        })
    };
    edits.iter().filter_map(move |edit| {
        let Edit::DeleteElements { set, elements } = edit else { return None };
        let own = table.set(set).filter(|own| own.flags.interval)?;
        Some((own, elements.as_slice(), added(set).unwrap_or_default()))
    })
}

/// The first and the last key that an element stands for.
fn range(element: &Element) -> Option<(&[u8], &[u8])> {
    match &element.key {
        ElementKey::Value(key) => Some((key.as_slice(), key.as_slice())),
        ElementKey::Interval(first, last) => Some((first.as_slice(), last.as_slice())),
        ElementKey::CatchAll => None,
    }
}

/// How elements that are put in overlap those that are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// They stand for the same keys as others did.
    Same,
    /// Some stand for a part of theirs, or for more.
    Other,
}

/// How these elements overlap those; among themselves neither do.
fn overlap(gone: &[Element], come: &[Element]) -> Option<Overlap> {
    let mut ranges: Vec<_> = gone.iter().chain(come).filter_map(range).collect();
    let count = ranges.len();
    ranges.sort_unstable();
    ranges.dedup();
    if ranges.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        Some(Overlap::Other)
    } else {
        (ranges.len() < count).then_some(Overlap::Same)
    }
}

/// Empties a set or map and fills it with all that it is to hold.
fn refill(out: &mut String, name: &str, table: &Table) {
    let Some(set) = table.set(name) else { return };
    let _ = writeln!(out, "flush {} inet {TABLE} {name}", word(set));
    let elements = set.elements.listed();
    if !elements.is_empty() {
        let list = element_list(set, elements, table);
        let _ = writeln!(out, "add element inet {TABLE} {name} {list}");
    }
}

/// What nft calls a set, or a map.
fn word(set: &Set) -> &'static str {
    if set.data.is_some() { "map" } else { "set" }
}

/// The transaction that makes our table from its text.
pub fn create(block: &str) -> String {
    // `create` fails where someone else was faster; the block alone would add to theirs.
    format!("create table inet {TABLE}\n{block}")
}

/// What is taken out may refer to one another: their rules go first, then maps, then chains.
fn flush(out: &mut String, edits: &[Edit]) {
    for edit in edits {
        if let Edit::DeleteChain { chain } = edit {
            let _ = writeln!(out, "flush chain inet {TABLE} {}", chain.name);
        }
    }
}

/// How many of the first edits put rules into the same place, not counting the end of a chain.
fn run_of_rules(edits: &[Edit]) -> usize {
    let place = |edit: &Edit| match edit {
        Edit::AddRule { chain, place, .. } if *place != Place::End => Some((chain.clone(), *place)),
        _ => None,
    };
    let Some(first) = edits.first().and_then(place) else { return 1 };
    edits.iter().take_while(|edit| place(edit).as_ref() == Some(&first)).count()
}

fn write(out: &mut String, edit: &Edit, table: &Table) {
    let line = match edit {
        Edit::AddTable | Edit::Rebuild { .. } => return,
        Edit::AddChain { chain } => {
            format!("add {}", text::chain_declaration(chain, table))
        }
        Edit::AddSet { set } => {
            let mut line = format!("add {}", text::set_declaration(set, table));
            if let Elements::Listed(elements) = &set.elements
                && !elements.is_empty()
            {
                let _ = write!(line, "\nadd element inet {TABLE} {} ", set.name);
                line.push_str(&element_list(set, elements, table));
            }
            line
        }
        Edit::AddRule { chain, place, rule } => {
            let rule = text::rule(rule, table);
            match place {
                Place::End => format!("add rule inet {TABLE} {chain} {rule}"),
                Place::First => format!("insert rule inet {TABLE} {chain} {rule}"),
                Place::After(handle) => {
                    format!("add rule inet {TABLE} {chain} position {handle} {rule}")
                }
            }
        }
        Edit::DeleteRule { chain, rule } => {
            format!("delete rule inet {TABLE} {chain} handle {}", rule.handle)
        }
        Edit::AddElements { set, elements } | Edit::DeleteElements { set, elements } => {
            let Some(own) = table.set(set) else { return };
            let word = if matches!(edit, Edit::AddElements { .. }) { "add" } else { "delete" };
            let list = element_list(own, elements, table);
            format!("{word} element inet {TABLE} {set} {list}")
        }
        Edit::DeleteChain { chain } => {
            format!("delete chain inet {TABLE} {}", chain.name)
        }
        Edit::DeleteSet { set } => {
            format!("delete {} inet {TABLE} {}", word(set), set.name)
        }
    };
    out.push_str(&line);
    out.push('\n');
}

fn element_list(set: &Set, elements: &[Element], table: &Table) -> String {
    let context = text::Context::new(table);
    let list: Vec<String> =
        elements.iter().map(|element| text::element(element, set, &context)).collect();
    format!("{{ {} }}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PortRange;
    use crate::model::nft::{Family, KeyType, SetData, SetFlags, Verdict, build};

    /// A table with a map of ranges of ports, each with where packets go on.
    fn table(ranges: &[((u16, u16), &str)]) -> Table {
        let elements = ranges.iter().map(|((first, last), chain)| {
            let ports = PortRange::new(*first, *last).expect("valid");
            Element::verdict(build::key_port_range(ports), Verdict::Goto((*chain).into()))
        });
        let map = Set {
            name: "m".into(),
            handle: 0,
            key: vec![KeyType::InetService],
            key_len: 2,
            data: Some(SetData::Verdict),
            flags: SetFlags { interval: true, ..SetFlags::default() },
            size: None,
            timeout: None,
            comment: None,
            statements: Vec::new(),
            elements: Elements::Listed(elements.collect()),
        };
        Table { sets: vec![map], ..Table::new(Family::Inet, TABLE) }
    }

    /// The first words of the lines that lead from one to the other.
    fn words(live: &[((u16, u16), &str)], desired: &[((u16, u16), &str)]) -> Vec<String> {
        let (live, desired) = (table(live), table(desired));
        let text = text(&super::super::diff::diff(Some(&live), &desired), &desired);
        text.lines().map(|line| line.split(" {").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn only_the_ranges_that_change_are_sent() {
        let live = [((22, 100), "a"), ((200, 300), "b")];
        let changed = [((22, 100), "a"), ((301, 400), "b")];
        let sent = ["delete element inet fwctl m", "add element inet fwctl m"];
        assert_eq!(words(&live, &changed), sent);
        assert_eq!(words(&live, &[((22, 100), "c"), ((200, 300), "b")]), sent, "another way on");
    }

    #[test]
    fn a_range_in_place_of_one_that_it_overlaps_is_put_in_with_all_others() {
        let live = [((22, 100), "a"), ((200, 300), "b")];
        let anew = ["flush map inet fwctl m", "add element inet fwctl m"];
        for range in [(22, 99), (1, 22), (100, 101), (50, 50), (1, 199)] {
            assert_eq!(words(&live, &[(range, "a"), ((200, 300), "b")]), anew, "{range:?}");
        }
        let last = [((22, 100), "a"), ((65535, 65535), "b")];
        assert_eq!(words(&last, &[((22, 100), "a")]), anew, "the highest port");
    }
}
