//! Loads that fwctl does not interpret, by name: `exthdr`, `socket`, `numgen`, …

use super::attr::{Attributes, be32};
use super::expression::Decoder;
use crate::model::nft::{Operand, Selector, Statement, text};

impl Decoder<'_> {
    /// Loads that fwctl does not interpret: named, with their attributes, so that equal ones
    /// compare equal.
    #[allow(clippy::option_option, reason = "as `known`")]
    pub fn other_load(&mut self, name: &str, data: Attributes) -> Option<Option<Statement>> {
        // (number, name, whether it is one byte)
        let (target, source, fields): (u16, Option<u16>, &[(u16, &str)]) = match name {
            "exthdr" => {
                (1, Some(7), &[(6, "op"), (2, "type"), (3, "offset"), (4, "len"), (5, "flags")])
            }
            "socket" => (2, None, &[(1, "key"), (3, "level")]),
            "osf" => (1, None, &[(2, "ttl"), (3, "flags")]),
            "rt" => (1, None, &[(2, "key")]),
            "numgen" => (1, None, &[(3, "type"), (2, "mod"), (4, "offset")]),
            "hash" => (2, None, &[(7, "type"), (4, "mod"), (5, "seed"), (6, "offset"), (3, "len")]),
            "tunnel" => (2, None, &[(1, "key"), (3, "mode")]),
            "xfrm" => (1, None, &[(2, "key"), (3, "dir"), (4, "spnum")]),
            _ => return None,
        };
        let number = |kind: u16| {
            let value = data.get(kind)?;
            be32(value).or_else(|| value.first().map(|byte| u32::from(*byte)))
        };
        let mut words: Vec<String> = fields
            .iter()
            .filter_map(|(kind, field)| Some(format!("{field}={}", number(*kind)?)))
            .collect();
        if name == "hash"
            && let Some(register) = number(1)
        {
            let len = number(3).unwrap_or(0) as usize;
            let fields = text::fields(&self.registers.read(register, len), self.family);
            words.push(format!("of={fields}"));
        }
        let detail = words.join(" ");
        if let Some(register) = number(target) {
            let len = match name {
                "exthdr" => number(4).unwrap_or(4).clamp(1, 64),
                "osf" | "rt" | "xfrm" => 16,
                "socket" => 8,
                _ => 4,
            };
            let selector = Selector::Other { name: name.to_owned(), detail };
            self.load(register, selector, len as usize);
            return Some(None);
        }
        // An assignment: `tcp option maxseg size set …`.
        let value = self.registers.operand(number(source?)?);
        let value = match &value {
            // As it will stand in the packet.
            Operand { selector: Selector::Immediate(bytes), transforms }
                if transforms.is_empty() && bytes.len() <= 8 =>
            {
                let bytes = bytes.as_slice().iter();
                bytes.fold(0_u64, |all, byte| all << 8 | u64::from(*byte)).to_string()
            }
            value => text::fields(std::slice::from_ref(value), self.family),
        };
        let detail = format!("set {detail} to {value}");
        Some(Some(Statement::Opaque { name: name.to_owned(), detail }))
    }
}
