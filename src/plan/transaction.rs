//! Edits → one transaction in the language of `nft(8)`: text that anyone can read and run.
//!
//! `nft -f` sends a whole file as one batch, which the kernel commits at once or not at all.

use super::{Edit, Place};
use crate::compile::TABLE;
use crate::model::nft::{Element, Elements, Set, Table, text};
use std::fmt::Write as _;

/// The transaction that makes these edits; `table` is the one that they lead to.
pub fn text(edits: &[Edit], table: &Table) -> String {
    if edits.is_empty() {
        return String::new();
    }
    if edits.first() == Some(&Edit::AddTable) {
        // `create` fails where someone else was faster; the block alone would add to theirs.
        return format!("create table inet {TABLE}\n{}", text::table(table));
    }
    let mut out = String::new();
    if let Some(Edit::Rebuild { .. }) = edits.first() {
        // A table that does not exist cannot be deleted; one that is added twice is one.
        return format!(
            "add table inet {TABLE}\ndelete table inet {TABLE}\n{}",
            text::table(table)
        );
    }
    let mut flushed = false;
    let mut index = 0;
    while index < edits.len() {
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
