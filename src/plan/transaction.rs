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
    let refilled: Vec<&str> = edits.iter().filter_map(|edit| refilled(edit, table)).collect();
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

/// The map whose elements must all be put in anew: nft 1.0.6 accepts the deletion of an element
/// that begins at the highest key of an interval map (port 65535), and deletes nothing.
fn refilled<'e>(edit: &'e Edit, table: &Table) -> Option<&'e str> {
    let Edit::DeleteElements { set, elements } = edit else { return None };
    let own = table.set(set)?;
    let at_the_end = |element: &Element| match &element.key {
        ElementKey::Value(first) | ElementKey::Interval(first, _) => {
            first.as_slice().iter().all(|byte| *byte == u8::MAX)
        }
        ElementKey::CatchAll => false,
    };
    let hit = own.flags.interval && own.data.is_some() && elements.iter().any(at_the_end);
    hit.then_some(set.as_str())
}

/// Empties a map and fills it with all that it is to hold.
fn refill(out: &mut String, name: &str, table: &Table) {
    let Some(set) = table.set(name) else { return };
    let _ = writeln!(out, "flush map inet {TABLE} {name}");
    let elements = set.elements.listed();
    if !elements.is_empty() {
        let list = element_list(set, elements, table);
        let _ = writeln!(out, "add element inet {TABLE} {name} {list}");
    }
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
            let word = if set.data.is_some() { "map" } else { "set" };
            format!("delete {word} inet {TABLE} {}", set.name)
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
