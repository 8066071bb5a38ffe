//! Whether a set holds a key.

use super::value::{Bits, Truth};
use crate::model::nft::{Element, ElementKey, Elements, KeyType, Set};
use std::cmp::Ordering;

/// What a lookup finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'s> {
    /// This element.
    Element(&'s Element),
    /// None.
    Nothing,
    /// The packet alone does not tell.
    Unknown,
}

/// Looks a key up, field by field.
pub fn find<'s>(set: &'s Set, key: &[Bits]) -> Found<'s> {
    let elements = match &set.elements {
        Elements::Listed(elements) => elements.as_slice(),
        Elements::NotListed { .. } => return Found::Unknown,
    };
    let bytes = concatenated(key, set);
    let found = if bytes.is_known() && (key.len() == 1 || !set.flags.interval) {
        search(elements, &bytes.value).map_or(Found::Nothing, Found::Element)
    } else {
        scan(elements, set, &bytes)
    };
    match found {
        // It sorts before all others.
        Found::Nothing => elements
            .first()
            .filter(|element| element.key == ElementKey::CatchAll)
            .map_or(Found::Nothing, Found::Element),
        found => found,
    }
}

/// The key as the kernel concatenates it: every field but a single one fills whole registers.
fn concatenated(key: &[Bits], set: &Set) -> Bits {
    let len = set.key_len as usize;
    if let [only] = key {
        return only.clone().truncated(len);
    }
    let mut all = Bits { value: Vec::with_capacity(len), known: Vec::with_capacity(len) };
    for field in key {
        let field = field.clone().padded();
        all.value.extend(field.value);
        all.known.extend(field.known);
    }
    all.truncated(len)
}

/// Elements are sorted by key and apart from each other.
fn search<'s>(elements: &'s [Element], key: &[u8]) -> Option<&'s Element> {
    let first = |element: &Element| match &element.key {
        ElementKey::Value(value) | ElementKey::Interval(value, _) => value.as_slice().cmp(key),
        ElementKey::CatchAll => Ordering::Less,
    };
    let behind = elements.partition_point(|element| first(element) != Ordering::Greater);
    let element = elements.get(behind.checked_sub(1)?)?;
    let holds = match &element.key {
        ElementKey::Value(value) => value.as_slice() == key,
        ElementKey::Interval(_, last) => key <= last.as_slice(),
        ElementKey::CatchAll => false,
    };
    holds.then_some(element)
}

fn scan<'s>(elements: &'s [Element], set: &Set, key: &Bits) -> Found<'s> {
    let mut unknown = false;
    for element in elements {
        match matches(element, set, key) {
            Truth::Yes => return Found::Element(element),
            Truth::Unknown => unknown = true,
            Truth::No => {}
        }
    }
    if unknown { Found::Unknown } else { Found::Nothing }
}

/// The elements that may match a key, and may not; `None` where they were not read.
pub fn candidates<'s>(set: &'s Set, key: &[Bits]) -> Option<Vec<&'s Element>> {
    let elements = match &set.elements {
        Elements::Listed(elements) => elements.as_slice(),
        Elements::NotListed { .. } => return None,
    };
    let bytes = concatenated(key, set);
    let may = |element: &&Element| {
        element.key == ElementKey::CatchAll || matches(element, set, &bytes) != Truth::No
    };
    Some(elements.iter().filter(may).collect())
}

/// Where each field stands in the key: offset, length.
pub fn fields(set: &Set) -> Vec<(usize, usize)> {
    let Some(lengths) = KeyType::field_lengths(&set.key, set.key_len) else {
        return vec![(0, set.key_len as usize)];
    };
    let mut at = 0;
    let mut found = Vec::with_capacity(lengths.len());
    for len in lengths {
        found.push((at, len));
        at += if set.key.len() > 1 { len.next_multiple_of(4) } else { len };
    }
    found
}

fn matches(element: &Element, set: &Set, key: &Bits) -> Truth {
    match &element.key {
        ElementKey::Value(value) => key.equals(value.as_slice()),
        ElementKey::Interval(from, to) => {
            let mut all = Truth::Yes;
            for (at, len) in fields(set) {
                let part = |bytes: &[u8]| bytes.get(at..at + len).map(<[u8]>::to_vec);
                let (Some(value), Some(known)) = (part(&key.value), part(&key.known)) else {
                    return Truth::Unknown;
                };
                let (Some(from), Some(to)) = (part(from.as_slice()), part(to.as_slice())) else {
                    return Truth::Unknown;
                };
                match (Bits { value, known }).within(&from, &to) {
                    Truth::No => return Truth::No,
                    Truth::Unknown => all = Truth::Unknown,
                    Truth::Yes => {}
                }
            }
            all
        }
        ElementKey::CatchAll => Truth::No,
    }
}
