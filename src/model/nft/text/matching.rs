//! Statements that compare and look up → text.

use super::selector::{self, Named};
use super::{Context, Written, set, value};
use crate::model::nft::{Bytes, CompareOp, KeyType, Operand, Statement, Transform};

/// The text of a comparison or lookup; `None` for any other statement.
pub(super) fn matching(statement: &Statement, context: &Context) -> Option<Written> {
    match statement {
        Statement::Compare { left, op, right } => Some(match left.as_slice() {
            [one] => compare(one, *op, right.as_slice(), context),
            several => compare_concat(several, *op, right.as_slice(), context),
        }),
        Statement::Range { left, invert, from, to } => {
            let named = selector::operand(left, context);
            let write = |bytes: &[u8]| value::value(named.kind, named.host_order, bytes);
            // One byte that nft names (`icmp type`): a range of names is none that it reads.
            let number = |bytes: &Bytes| match bytes.as_slice() {
                [byte] => byte.to_string(),
                bytes => write(bytes),
            };
            let (from, to) = (number(from), number(to));
            let not = if *invert { "!= " } else { "" };
            let text = format!("{} {not}{from}-{to}", named.text);
            Some(Written { text, loadable: named.loadable })
        }
        Statement::Lookup { key, set, invert } => {
            let key = concat(key, context);
            let not = if *invert { "!= " } else { "" };
            let text = format!("{} {not}{}", key.text, set::reference(set, context));
            Some(Written { text, ..key })
        }
        Statement::VerdictMap { key, map } => {
            let key = concat(key, context);
            let text = format!("{} vmap {}", key.text, set::reference(map, context));
            Some(Written { text, ..key })
        }
        _ => None,
    }
}

/// The fields of a key, joined.
pub(super) fn concat(key: &[Operand], context: &Context) -> Written {
    let fields: Vec<_> = key.iter().map(|key| selector::operand(key, context)).collect();
    let loadable = fields.iter().all(|field| field.loadable) && !fields.is_empty();
    let text = fields.into_iter().map(|field| field.text).collect::<Vec<_>>().join(" . ");
    Written { text, loadable }
}

fn sign(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "==",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

/// `==` is silent, except where silence would mean "any of these bits".
fn implicit(op: CompareOp) -> String {
    match op {
        CompareOp::Eq => String::new(),
        other => format!("{} ", sign(other)),
    }
}

fn compare(left: &Operand, op: CompareOp, right: &[u8], context: &Context) -> Written {
    let named = selector::operand(left, context);
    let equality = matches!(op, CompareOp::Eq | CompareOp::Ne);
    let loadable = named.loadable;
    if let Some(text) = short(&named, op, right).filter(|_| equality) {
        return Written { text, loadable };
    }
    if let Some(text) = masked(left, op, right, context).filter(|_| equality) {
        return Written { text, loadable };
    }
    let fits = named.len.is_none_or(|len| len == right.len());
    if !fits {
        let number = value::number(right, false);
        return Written::human(format!("{} {}{number:#x}", named.text, implicit(op)));
    }
    let computed = left.transforms.iter().any(|t| !matches!(t, Transform::ByteOrder { .. }));
    if computed || value::is_bits(named.kind) {
        let right = selector::mask_value(&named, right);
        return Written { text: format!("{} {} {right}", named.text, sign(op)), loadable };
    }
    let right = value::value(named.kind, named.host_order, right);
    Written { text: format!("{} {}{right}", named.text, implicit(op)), loadable }
}

/// A comparison with the beginning of a value: `ip6 saddr 2001:db8::/32`, `iifname "wg*"`.
fn short(named: &Named, op: CompareOp, right: &[u8]) -> Option<String> {
    let whole = named.whole.or(named.len)?;
    if right.len() >= whole {
        return None;
    }
    let value = match named.kind {
        KeyType::Ipv4Addr | KeyType::Ipv6Addr => {
            let mut address = right.to_vec();
            address.resize(whole, 0);
            format!("{}/{}", value::value(named.kind, false, &address), right.len() * 8)
        }
        KeyType::Ifname => value::quoted(&format!("{}*", String::from_utf8_lossy(right))),
        _ => return None,
    };
    Some(format!("{} {}{value}", named.text, implicit(op)))
}

/// A comparison under a mask that has a shorter notation: prefixes, sets of flags.
fn masked(left: &Operand, op: CompareOp, right: &[u8], context: &Context) -> Option<String> {
    let (Transform::Mask { mask, xor }, before) = left.transforms.split_last()? else {
        return None;
    };
    let mask = mask.as_slice();
    if mask.len() != right.len() || xor.as_slice().iter().any(|byte| *byte != 0) {
        return None;
    }
    let plain = Operand { selector: left.selector.clone(), transforms: before.to_vec() };
    let named = selector::operand(&plain, context);
    if named.len != Some(right.len()) {
        return None;
    }
    if let Some((word, shift)) = selector::bits_in_byte(&plain, mask, context) {
        let value = value::number(right, false) >> shift;
        return Some(format!("{word} {}{value:#x}", implicit(op)));
    }
    match named.kind {
        KeyType::Ipv4Addr | KeyType::Ipv6Addr => {
            let length = value::mask_length(mask)?;
            let inside = right.iter().zip(mask).all(|(right, mask)| right & !mask == 0);
            let address = value::value(named.kind, false, right);
            inside.then(|| format!("{} {}{address}/{length}", named.text, implicit(op)))
        }
        kind if value::is_bits(kind) && right.iter().all(|byte| *byte == 0) => {
            let bits = value::bits(kind, value::number(mask, named.host_order))?;
            let any = op == CompareOp::Ne && (kind != KeyType::TCP_FLAG || bits.len() == 1);
            any.then(|| format!("{} {}", named.text, bits.join(",")))
        }
        _ => None,
    }
}

/// A comparison of several registers at once.
fn compare_concat(left: &[Operand], op: CompareOp, right: &[u8], context: &Context) -> Written {
    let fields: Vec<_> = left.iter().map(|left| selector::operand(left, context)).collect();
    let words = fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" . ");
    let mut values = Vec::with_capacity(fields.len());
    let mut at = 0;
    for field in &fields {
        let Some(bytes) = field.len.and_then(|len| right.get(at..at + len)) else {
            let number = value::number(right, false);
            return Written::human(format!("{words} {} {number:#x}", sign(op)));
        };
        values.push(value::value(field.kind, field.host_order, bytes));
        at += bytes.len().div_ceil(4) * 4;
    }
    let loadable = fields.iter().all(|field| field.loadable) && !fields.is_empty();
    Written { text: format!("{words} {}{}", implicit(op), values.join(" . ")), loadable }
}
