//! One form for what versions of nft translate differently.
//!
//! In: a rule as it was built, or as some version of nft loaded it. Out: the same meaning in one
//! form, so that two rules can be compared statement by statement.

use super::{CompareOp, MetaKey, Operand, PayloadBase, Rule, Selector, Statement, Transform};
use crate::model::Protocol;
use std::borrow::Cow;

impl Rule {
    /// The rule in its one form (see [`Self::canonical`]); itself where it is in that form.
    pub fn in_one_form(&self) -> Cow<'_, Self> {
        let mut before: Option<&Statement> = None;
        for statement in &self.statements {
            let plain = match statement {
                Statement::Compare { left, op, right } => match left.as_slice() {
                    [Operand { selector: Selector::Payload { base, offset, len }, transforms }]
                        if transforms.is_empty() =>
                    {
                        !merges(*base, *offset, *len)
                    }
                    _ => short_prefix(left, *op, right.as_slice()).is_none(),
                },
                _ => true,
            };
            let bounds = before.is_some_and(|before| range(before, statement).is_some());
            if !plain || bounds {
                return Cow::Owned(self.canonical());
            }
            before = Some(statement);
        }
        Cow::Borrowed(self)
    }

    /// The rule in the one form that every version of nft leads to.
    ///
    /// - A comparison with a prefix of whole bytes compares these bytes only; older and newer
    ///   versions mask instead.
    /// - A lower and an upper bound are a range; nft has one expression for the inverted range
    ///   only.
    /// - Adjacent header fields that nft merged into one load are apart again.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut statements: Vec<Statement> = Vec::with_capacity(self.statements.len());
        let mut protocol = None;
        let apart = self.statements.iter().cloned().flat_map(|statement| {
            protocol = l4proto(&statement).or(protocol);
            split(statement, protocol)
        });
        for next in apart.map(statement) {
            match statements.last().and_then(|last| range(last, &next)) {
                Some(range) => {
                    statements.pop();
                    statements.push(range);
                }
                None => statements.push(next),
            }
        }
        Self { handle: self.handle, statements, comment: self.comment.clone() }
    }
}

/// `x >= from` and `x <= to`, one behind the other.
fn range(first: &Statement, second: &Statement) -> Option<Statement> {
    let Statement::Compare { left, op: CompareOp::Ge, right: from } = first else { return None };
    let Statement::Compare { left: same, op: CompareOp::Le, right: to } = second else {
        return None;
    };
    match left.as_slice() {
        [operand] if left == same && from.len() == to.len() => {
            let (from, to) = (from.clone(), to.clone());
            Some(Statement::Range { left: operand.clone(), invert: false, from, to })
        }
        _ => None,
    }
}

/// One statement, less its merged fields.
pub(super) fn statement(statement: Statement) -> Statement {
    match statement {
        Statement::Compare { left, op, right } => match short_prefix(&left, op, right.as_slice()) {
            Some((operand, len)) => Statement::Compare {
                left: vec![operand],
                op,
                right: right.as_slice()[..len].into(),
            },
            None => Statement::Compare { left, op, right },
        },
        other => other,
    }
}

/// Whether the comparison masks all but whole leading bytes: the operand without the mask, as
/// short as it can be, and how many bytes are compared.
fn short_prefix(left: &[Operand], op: CompareOp, right: &[u8]) -> Option<(Operand, usize)> {
    let [Operand { selector, transforms }] = left else { return None };
    let [Transform::Mask { mask, xor }] = transforms.as_slice() else { return None };
    let mask = mask.as_slice();
    let keep = mask.iter().position(|byte| *byte != 0xff).unwrap_or(mask.len());
    let is_prefix = mask[keep..].iter().all(|byte| *byte == 0);
    let rest_is_zero = right.get(keep..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    let no_xor = xor.as_slice().iter().all(|byte| *byte == 0);
    let exact = matches!(op, CompareOp::Eq | CompareOp::Ne);
    // Only addresses: nft masks shorter fields whole.
    if keep == 0 || !is_prefix || !rest_is_zero || !no_xor || !exact || right.len() != mask.len() {
        return None;
    }
    let selector = match selector {
        Selector::Payload { base: PayloadBase::Network, offset, len }
            if (*len == 4 || *len == 16) && *len as usize == mask.len() =>
        {
            let len = u32::try_from(keep).ok()?;
            Selector::Payload { base: PayloadBase::Network, offset: *offset, len }
        }
        Selector::Ct { key, .. } if key.is_address() => selector.clone(),
        _ => return None,
    };
    Some((Operand::plain(selector), keep))
}

/// Whether nft may have merged fields into such a load.
fn merges(base: PayloadBase, offset: u32, len: u32) -> bool {
    matches!(
        (base, offset, len),
        (PayloadBase::Network, 12, 8)
            | (PayloadBase::Network, 8, 32)
            | (PayloadBase::Transport, 0, 2 | 4)
            | (PayloadBase::Link, 0, 12 | 14)
            | (PayloadBase::Link, 6, 8)
    )
}

/// The protocol that the statement asks for.
fn l4proto(statement: &Statement) -> Option<Protocol> {
    let Statement::Compare { left, op: CompareOp::Eq, right } = statement else { return None };
    match (left.as_slice(), right.as_slice()) {
        ([Operand { selector: Selector::Meta(MetaKey::L4proto), .. }], [number]) => {
            Some(Protocol(*number))
        }
        _ => None,
    }
}

/// The fields that nft merged into one load and comparison.
fn split(statement: Statement, protocol: Option<Protocol>) -> Vec<Statement> {
    let Statement::Compare { left, op: CompareOp::Eq, right } = &statement else {
        return vec![statement];
    };
    let [Operand { selector: Selector::Payload { base, offset, len }, transforms }] =
        left.as_slice()
    else {
        return vec![statement];
    };
    if !transforms.is_empty() || right.len() != *len as usize {
        return vec![statement];
    }
    let icmp = matches!(protocol, Some(Protocol::ICMP | Protocol::ICMPV6));
    let widths = match (base, offset, len) {
        (PayloadBase::Network, 12, 8) => vec![4, 4],
        (PayloadBase::Network, 8, 32) => vec![16, 16],
        (PayloadBase::Transport, 0, 4) if protocol.is_none_or(Protocol::has_ports) => vec![2, 2],
        (PayloadBase::Transport, 0, 2) if icmp => vec![1, 1],
        (PayloadBase::Link, 0, 12) => vec![6, 6],
        (PayloadBase::Link, 0, 14) => vec![6, 6, 2],
        (PayloadBase::Link, 6, 8) => vec![6, 2],
        _ => return vec![statement],
    };
    let mut at = 0;
    let part = |width: usize| {
        let bytes = right.as_slice()[at..at + width].into();
        let selector = Selector::Payload {
            base: *base,
            offset: offset + u32::try_from(at).unwrap_or(0),
            len: u32::try_from(width).unwrap_or(0),
        };
        at += width;
        Statement::Compare { left: vec![Operand::plain(selector)], op: CompareOp::Eq, right: bytes }
    };
    widths.into_iter().map(part).collect()
}
