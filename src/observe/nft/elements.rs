//! Elements of a set as the kernel lists them → elements as people mean them.
//!
//! A set of intervals without concatenation is stored as beginnings and exclusive ends (each end
//! an element of its own with a flag); these become intervals with both bounds included.

use super::attr::{Attributes, text, user_data};
use super::expression::Decoder;
use super::simple::{bytes, verdict};
use crate::model::nft::{Element, ElementData, ElementKey, Set};

const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_OBJREF: u16 = 9;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
const NFT_SET_ELEM_CATCHALL: u32 = 2;

/// An element of the kernel's, not yet paired with its end.
#[derive(Debug)]
pub(super) enum Raw {
    /// A whole element.
    Whole(Element),
    /// The beginning of an interval.
    Begin(Vec<u8>, Element),
    /// The first value behind an interval.
    End(Vec<u8>),
}

/// Reads one element; `None` for one that lacks what it must have.
pub(super) fn element(data: Attributes, set: &Set, decoder: &mut Decoder) -> Option<Raw> {
    let flags = data.be32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
    let key = data.nested(NFTA_SET_ELEM_KEY).and_then(bytes);
    if flags & NFT_SET_ELEM_INTERVAL_END != 0 {
        return Some(Raw::End(key?.to_vec()));
    }
    let end = data.nested(NFTA_SET_ELEM_KEY_END).and_then(bytes);
    let key_of = |key: &[u8]| match end {
        Some(end) if end != key => ElementKey::Interval(key.into(), end.into()),
        _ => ElementKey::Value(key.into()),
    };
    let mut element = Element::new(if flags & NFT_SET_ELEM_CATCHALL != 0 {
        ElementKey::CatchAll
    } else {
        key_of(key?)
    });
    element.data = match (data.text(NFTA_SET_ELEM_OBJREF), data.nested(NFTA_SET_ELEM_DATA)) {
        (Some(object), _) => Some(ElementData::Object(object)),
        (None, Some(data)) => match (verdict(data), bytes(data)) {
            (Some(verdict), _) => Some(ElementData::Verdict(verdict)),
            (None, value) => Some(ElementData::Value(value?.into())),
        },
        (None, None) => None,
    };
    // The set's own timeout says the same; kernels differ in whether they repeat it.
    element.timeout =
        data.be64(NFTA_SET_ELEM_TIMEOUT).filter(|own| *own > 0 && Some(*own) != set.timeout);
    element.expires = data.be64(NFTA_SET_ELEM_EXPIRATION);
    element.comment = data
        .get(NFTA_SET_ELEM_USERDATA)
        .and_then(|data| user_data(data, NFTNL_UDATA_SET_ELEM_COMMENT))
        .map(text);
    element.statements = match data.nested(NFTA_SET_ELEM_EXPRESSIONS) {
        Some(list) => decoder.list(list),
        None => data
            .nested(NFTA_SET_ELEM_EXPR)
            .and_then(|expression| decoder.expression(expression))
            .into_iter()
            .collect(),
    };
    let paired = set.flags.interval && set.key.len() == 1 && end.is_none();
    match (paired, key) {
        (true, Some(key)) if element.key != ElementKey::CatchAll => {
            Some(Raw::Begin(key.to_vec(), element))
        }
        _ => Some(Raw::Whole(element)),
    }
}

/// `NFTNL_UDATA_SET_ELEM_COMMENT`.
const NFTNL_UDATA_SET_ELEM_COMMENT: u8 = 0;

/// Pairs beginnings with ends, and sorts by key.
pub(super) fn paired(raw: Vec<Raw>) -> Vec<Element> {
    let mut whole = Vec::new();
    // An end sorts before a beginning at the same value: the intervals touch.
    let mut edges = Vec::new();
    for raw in raw {
        match raw {
            Raw::Whole(element) => whole.push(element),
            Raw::Begin(key, element) => edges.push((key, true, Some(element))),
            Raw::End(key) => edges.push((key, false, None)),
        }
    }
    edges.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut open: Option<(Vec<u8>, Element)> = None;
    let mut close = |open: Option<(Vec<u8>, Element)>, last: Vec<u8>| {
        if let Some((first, mut element)) = open {
            element.key = if first == last {
                ElementKey::Value(first.into())
            } else {
                ElementKey::Interval(first.into(), last.into())
            };
            whole.push(element);
        }
    };
    for (key, _, element) in edges {
        if open.is_some() {
            close(open.take(), before(&key));
        }
        open = element.map(|element| (key, element));
    }
    // Without an end it goes on to the greatest value.
    let greatest = open.as_ref().map(|(key, _)| vec![0xff; key.len()]).unwrap_or_default();
    close(open, greatest);
    whole.sort_by(|a, b| a.key_order().cmp(&b.key_order()));
    whole
}

/// The value before this one, as a number in network order; 0 stays.
fn before(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    if key.iter().all(|byte| *byte == 0) {
        return key;
    }
    for byte in key.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::Bytes;

    fn begin(key: &[u8]) -> Raw {
        Raw::Begin(key.to_vec(), Element::new(ElementKey::CatchAll))
    }

    #[test]
    fn ends_become_inclusive_whatever_the_order() {
        let raw = vec![
            Raw::End(vec![0, 90]),
            begin(&[1, 0]),
            begin(&[0, 22]),
            Raw::End(vec![0, 23]),
            begin(&[0, 80]),
            Raw::End(vec![0, 0]),
            begin(&[0, 23]),
            Raw::End(vec![0, 24]),
        ];
        let keys: Vec<_> = paired(raw).into_iter().map(|element| element.key).collect();
        let interval = |from: [u8; 2], to: [u8; 2]| ElementKey::Interval(from.into(), to.into());
        assert_eq!(
            keys,
            [
                ElementKey::Value(Bytes::from([0, 22])),
                ElementKey::Value(Bytes::from([0, 23])),
                interval([0, 80], [0, 89]),
                interval([1, 0], [255, 255]),
            ]
        );
    }
}
