//! Keys, elements and references to sets → text.

use super::{Context, Written, action, value};
use crate::model::nft::{Bytes, Element, ElementData, ElementKey, KeyType, Set, SetData, Verdict};

/// `@name`, or the elements in braces where the set is an anonymous one of the context's table.
pub(super) fn reference(name: &str, context: &Context) -> String {
    let anonymous =
        context.table.and_then(|table| table.set(name)).filter(|set| set.flags.anonymous);
    match anonymous {
        Some(set) => {
            let elements = set.elements.listed().iter();
            let elements: Vec<_> = elements.map(|e| write_element(e, set, context).text).collect();
            format!("{{ {} }}", elements.join(", "))
        }
        None => format!("@{name}"),
    }
}

/// The type of a map's values, where they are of a single one.
pub(super) fn data_kind(set: &Set) -> Option<KeyType> {
    match &set.data {
        Some(SetData::Value { fields, .. }) => match fields.as_slice() {
            [one] => Some(*one),
            _ => None,
        },
        Some(SetData::Verdict | SetData::Object(_)) | None => None,
    }
}

/// The fields of one key or value, padded to 4 bytes each where there are several.
fn fields<'b>(kinds: &[KeyType], bytes: &'b [u8], len: u32) -> Option<Vec<(KeyType, &'b [u8])>> {
    let widths = KeyType::field_lengths(kinds, len)?;
    let mut at = 0;
    kinds
        .iter()
        .zip(widths)
        .map(|(kind, width)| {
            let field = bytes.get(at..at + width)?;
            at += width.div_ceil(4) * 4;
            Some((*kind, field))
        })
        .collect()
}

fn unknown(bytes: &Bytes) -> Written {
    Written::human(format!("0x{bytes}"))
}

/// One value of a key or of a map's data.
fn value_of(kinds: &[KeyType], len: u32, network_order: bool, bytes: &Bytes) -> Written {
    let Some(fields) = fields(kinds, bytes.as_slice(), len) else { return unknown(bytes) };
    let words = fields
        .into_iter()
        .map(|(kind, bytes)| value::value(kind, kind.host_order() && !network_order, bytes));
    Written::plain(words.collect::<Vec<_>>().join(" . "))
}

/// A value of a map whose values are ranges: the lowest, and behind it the highest.
fn range_of(kinds: &[KeyType], len: u32, bytes: &Bytes) -> Option<Written> {
    let half = len / 2;
    let widths = kinds.iter().map(|kind| kind.width().map(|own| own.div_ceil(4) * 4));
    let whole = match kinds {
        [one] => one.width()?,
        _ => widths.sum::<Option<usize>>()?,
    };
    if whole != half as usize || bytes.len() != len as usize {
        return None;
    }
    let (low, high) = bytes.as_slice().split_at(whole);
    let words = fields(kinds, low, half)?.into_iter().zip(fields(kinds, high, half)?);
    let words =
        words.map(|((kind, low), (_, high))| value::interval(kind, kind.host_order(), low, high));
    Some(Written::plain(words.collect::<Vec<_>>().join(" . ")))
}

/// The key of an element of the set: `22`, `10.0.0.0/8`, `192.0.2.1 . 80-90`, `*`.
pub fn key(key: &ElementKey, set: &Set) -> String {
    write_key(key, set).text
}

fn write_key(key: &ElementKey, set: &Set) -> Written {
    let network_order = set.flags.interval;
    // Large sets are of single fields: these are written without a detour.
    if let [kind] = set.key.as_slice() {
        let order = kind.host_order() && !network_order;
        let whole = |bytes: &Bytes| bytes.as_slice().len() == set.key_len as usize;
        match key {
            ElementKey::Value(bytes) if whole(bytes) => {
                return Written::plain(value::value(*kind, order, bytes.as_slice()));
            }
            ElementKey::Interval(from, to) if whole(from) && whole(to) => {
                let text = value::interval(*kind, order, from.as_slice(), to.as_slice());
                return Written::plain(text);
            }
            ElementKey::Value(_) | ElementKey::Interval(..) | ElementKey::CatchAll => {}
        }
    }
    match key {
        ElementKey::CatchAll => Written::plain("*"),
        ElementKey::Value(bytes) => value_of(&set.key, set.key_len, network_order, bytes),
        ElementKey::Interval(from, to) => {
            let low = fields(&set.key, from.as_slice(), set.key_len);
            let high = fields(&set.key, to.as_slice(), set.key_len);
            let (Some(low), Some(high)) = (low, high) else {
                return Written::human(format!("0x{from}-0x{to}"));
            };
            let words = low.into_iter().zip(high).map(|((kind, low), (_, high))| {
                value::interval(kind, kind.host_order() && !network_order, low, high)
            });
            Written::plain(words.collect::<Vec<_>>().join(" . "))
        }
    }
}

/// An element of the set as it stands between the braces of `elements = { … }`.
pub fn element(element: &Element, set: &Set, context: &Context) -> String {
    write_element(element, set, context).text
}

pub(super) fn write_element(element: &Element, set: &Set, context: &Context) -> Written {
    let Written { mut text, mut loadable } = write_key(&element.key, set);
    for statement in &element.statements {
        let written = action::action(statement, context);
        loadable &= written.loadable;
        text = format!("{text} {}", written.text);
    }
    if let Some(timeout) = element.timeout {
        text = format!("{text} timeout {}", value::duration(timeout));
    }
    if let Some(expires) = element.expires {
        text = format!("{text} expires {}", value::duration(expires));
    }
    if let Some(comment) = &element.comment {
        text = format!("{text} comment {}", value::quoted(comment));
    }
    match (&element.data, &set.data) {
        (None, _) => {}
        (Some(ElementData::Verdict(verdict)), _) => {
            text = format!("{text} : {}", verdict_text(verdict));
        }
        (Some(ElementData::Object(name)), _) => {
            text = format!("{text} : {}", value::quoted(name));
        }
        (Some(ElementData::Value(bytes)), Some(SetData::Value { fields, len })) => {
            let data = range_of(fields, *len, bytes)
                .unwrap_or_else(|| value_of(fields, *len, false, bytes));
            loadable &= data.loadable;
            text = format!("{text} : {}", data.text);
        }
        (Some(ElementData::Value(bytes)), _) => {
            loadable = false;
            text = format!("{text} : {}", unknown(bytes).text);
        }
    }
    Written { text, loadable }
}

/// The words of a verdict.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Continue => "continue".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
        Verdict::Queue => "queue".to_owned(),
    }
}
