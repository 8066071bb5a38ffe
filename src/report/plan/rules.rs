//! Changes of rules, sets and chains, in the language of `nft(8)`.
//!
//! In: edits and the tables that they lead from and to. Out: one block for each chain or set, with
//! a line for each rule and for the elements; long lists are cut and say by how much.

use crate::compile::MARKER_CHAIN;
use crate::model::nft::text as nft;
use crate::model::nft::{Element, ElementData, Rule, Set, Table};
use crate::plan::Edit;
use crate::report::layout::{clean, labelled, styled, width as columns};
use crate::report::phrase::thousands;
use crate::report::style;
use anstyle::Style;
use std::fmt::Write as _;

/// What happens to an object or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It is made.
    Added,
    /// It is taken away.
    Removed,
    /// A part of it is made or taken away.
    Changed,
}

impl Sign {
    /// The character for it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed => "~",
        }
    }

    /// Its colour.
    pub fn style(self) -> Style {
        match self {
            Self::Added => style::ADDED,
            Self::Removed => style::REMOVED,
            Self::Changed => style::CHANGED,
        }
    }
}

/// A rule or some elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whether it is made or taken away.
    pub sign: Sign,
    /// What, in nft's words.
    pub text: String,
    /// The lines of the policy that it comes from, as its comment has them.
    pub note: String,
}

/// A chain or set, and what changes in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What happens to the chain or set itself.
    pub sign: Sign,
    /// `chain NAME`, `set NAME`, `map NAME`.
    pub title: String,
    /// Its rules and elements.
    pub lines: Vec<Line>,
}

/// How many elements of a list are shown.
pub fn elements_shown(verbose: bool) -> usize {
    if verbose { 200 } else { 8 }
}

/// Whether an edit only writes the new number into the table.
pub fn is_marker(edit: &Edit) -> bool {
    match edit {
        Edit::AddRule { chain, .. } | Edit::DeleteRule { chain, .. } => chain == MARKER_CHAIN,
        Edit::AddTable
        | Edit::Rebuild { .. }
        | Edit::AddSet { .. }
        | Edit::AddChain { .. }
        | Edit::AddElements { .. }
        | Edit::DeleteElements { .. }
        | Edit::DeleteChain { .. }
        | Edit::DeleteSet { .. } => false,
    }
}

/// The blocks of these edits, in the order in which each chain and set comes up first. `most` is
/// how many elements of a list are spelled out.
pub fn blocks<'e>(edits: impl Iterator<Item = &'e Edit>, table: &Table, most: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for edit in edits {
        let (sign, title, lines) = match edit {
            Edit::AddTable => continue,
            Edit::Rebuild { objects } => {
                let text = format!("made anew, since these differ: {}", objects.join(", "));
                let line = Line { sign: Sign::Changed, text, note: String::new() };
                (Sign::Changed, format!("table inet {}", table.name), vec![line])
            }
            Edit::AddSet { set } => {
                (Sign::Added, declared(set), content(Sign::Added, set, table, most))
            }
            Edit::DeleteSet { set } => {
                (Sign::Removed, declared(set), content(Sign::Removed, set, table, most))
            }
            Edit::AddChain { chain } => (Sign::Added, format!("chain {}", chain.name), Vec::new()),
            Edit::DeleteChain { chain } => {
                let rules = chain.rules.iter().map(|one| rule(Sign::Removed, one, table)).collect();
                (Sign::Removed, format!("chain {}", chain.name), rules)
            }
            Edit::AddRule { chain, rule: own, .. } => {
                (Sign::Changed, format!("chain {chain}"), vec![rule(Sign::Added, own, table)])
            }
            Edit::DeleteRule { chain, rule: own } => {
                (Sign::Changed, format!("chain {chain}"), vec![rule(Sign::Removed, own, table)])
            }
            Edit::AddElements { set, elements } => {
                let lines = members(Sign::Added, set, elements, table, most);
                (Sign::Changed, named(set, table), lines)
            }
            Edit::DeleteElements { set, elements } => {
                let lines = members(Sign::Removed, set, elements, table, most);
                (Sign::Changed, named(set, table), lines)
            }
        };
        // What is changed stands below what was made or changed before.
        match blocks.iter_mut().find(|block| block.title == title && block.sign != Sign::Removed) {
            Some(block) if sign != Sign::Removed => block.lines.extend(lines),
            _ => blocks.push(Block { sign, title, lines }),
        }
    }
    blocks
}

/// A rule without its comment, which stands beside it.
fn rule(sign: Sign, rule: &Rule, table: &Table) -> Line {
    let bare = Rule { comment: None, ..rule.clone() };
    Line { sign, text: nft::rule(&bare, table), note: rule.comment.clone().unwrap_or_default() }
}

fn declared(set: &Set) -> String {
    format!("{} {}", if set.data.is_some() { "map" } else { "set" }, set.name)
}

fn named(name: &str, table: &Table) -> String {
    table.set(name).map_or_else(|| format!("set {name}"), declared)
}

fn content(sign: Sign, set: &Set, table: &Table, most: usize) -> Vec<Line> {
    listed(sign, set, set.elements.listed(), table, most)
}

fn members(sign: Sign, name: &str, elements: &[Element], table: &Table, most: usize) -> Vec<Line> {
    let Some(set) = table.set(name) else {
        let text = format!("{} elements", thousands(elements.len()));
        return vec![Line { sign, text, note: String::new() }];
    };
    listed(sign, set, elements, table, most)
}

/// The elements of a set in one line; those of a map in one line for each value that they share.
fn listed(sign: Sign, set: &Set, elements: &[Element], table: &Table, most: usize) -> Vec<Line> {
    let mut groups: Vec<(Option<&ElementData>, Vec<&Element>)> = Vec::new();
    for element in elements {
        let plain =
            element.timeout.is_none() && element.comment.is_none() && element.statements.is_empty();
        let data = element.data.as_ref().filter(|_| plain);
        match groups.iter_mut().find(|(own, _)| *own == data) {
            Some((_, members)) => members.push(element),
            None => groups.push((data, vec![element])),
        }
    }
    let context = nft::Context::new(table);
    let line = |(data, members): (Option<&ElementData>, Vec<&Element>)| {
        // The last of a group says what all of it yield.
        let shown = members.len().min(most);
        let mut words: Vec<String> = members[..shown]
            .iter()
            .map(|element| match data {
                Some(_) => nft::key(&element.key, set),
                None => nft::element(element, set, &context),
            })
            .collect();
        if members.len() > shown {
            words.push(format!("… and {} more", thousands(members.len() - shown)));
        }
        let mut text = words.join(", ");
        if data.is_some()
            && let Some((_, value)) = nft::element(members[0], set, &context).split_once(" : ")
        {
            let _ = write!(text, " : {value}");
        }
        Line { sign, text, note: String::new() }
    };
    let mut lines: Vec<Line> = Vec::new();
    let more = groups.len().saturating_sub(most);
    lines.extend(groups.into_iter().take(most).map(line));
    if more > 0 {
        let text = format!("… and {} more", thousands(more));
        lines.push(Line { sign, text, note: String::new() });
    }
    lines
}

/// The blocks as text; at most `lines` lines, the last of which says how many are missing.
pub fn text(blocks: &[Block], width: usize, lines: Option<usize>) -> String {
    let mut out = String::new();
    for block in blocks {
        let title = format!("{} {}", block.sign.text(), block.title);
        let _ = writeln!(out, "  {}", styled(block.sign.style(), &title));
        let widest =
            |part: fn(&Line) -> &str| block.lines.iter().map(|line| columns(part(line))).max();
        let rules = widest(|line| &line.text).unwrap_or_default();
        let fits = 8 + rules + 4 + widest(|line| &line.note).unwrap_or_default() <= width;
        for line in &block.lines {
            out.push_str(&self::line(line, fits.then_some(rules), width));
        }
    }
    match lines {
        Some(most) if out.lines().count() > most => {
            let more = out.lines().count() - most;
            let kept: Vec<&str> = out.lines().take(most).collect();
            let more = format!("… and {} more lines (-v shows them)", thousands(more));
            format!("{}\n  {}\n", kept.join("\n"), styled(style::FAINT, &more))
        }
        _ => out,
    }
}

/// The note beside the rule where all of the block fits so, else behind it.
fn line(line: &Line, column: Option<usize>, width: usize) -> String {
    let sign = line.sign;
    if line.note.is_empty() {
        return labelled(6, sign.text(), sign.style(), &line.text, width);
    }
    let note = styled(style::FAINT, &format!("# {}", line.note));
    let own = columns(&line.text);
    let gap = match column {
        Some(column) => column - own + 2,
        // On a line of its own where it does not fit behind the rule.
        None if 8 + own + 4 + columns(&line.note) > width => {
            let rule = labelled(6, sign.text(), sign.style(), &line.text, width);
            return rule + &labelled(10, "#", style::FAINT, &line.note, width);
        }
        None => 2,
    };
    format!("      {} {}{:gap$}{note}\n", styled(sign.style(), sign.text()), clean(&line.text), "")
}
