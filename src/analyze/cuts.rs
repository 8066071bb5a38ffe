//! Where, among all source addresses, a statement may begin to say something else.
//!
//! Between two cuts one source stands for all: what a statement does to many sources is found by
//! asking about one in each piece, so that the engine for one packet is the engine for all.

use super::host::HostView;
use super::packet::{highest, number, source_field};
use super::program::Program;
use super::sets;
use crate::model::nft::{
    CompareOp, CtDirection, CtKey, Element, ElementKey, Elements, Operand, PayloadBase, Selector,
    Set, Statement, Transform, XtKind, XtMatch,
};
use crate::model::{IpFamily, Prefix};

/// How a statement depends on the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuts {
    /// Not at all.
    None,
    /// It may change at these addresses; sorted.
    At(Vec<u128>),
    /// It may change anywhere.
    Anywhere,
}

/// How an operand depends on the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dependence {
    None,
    /// It is so many leading bits of the source.
    Leading(u32),
    /// By a lookup of routes.
    Routes,
    Anyhow,
}

/// What is needed to find cuts.
#[derive(Debug, Clone, Copy)]
pub struct Cutter<'a, 's> {
    pub program: &'a Program<'s>,
    pub host: &'a HostView<'s>,
    pub family: IpFamily,
    pub table: usize,
}

/// Cuts being gathered.
#[derive(Debug, Default)]
struct Gathered {
    depends: bool,
    anywhere: bool,
    cuts: Vec<u128>,
}

impl Gathered {
    fn interval(&mut self, (first, last): (u128, u128)) {
        self.cuts.push(first);
        self.cuts.extend(last.checked_add(1));
    }
}

impl Cutter<'_, '_> {
    /// Where the statement may begin to say something else.
    pub fn cuts(&self, statement: &Statement) -> Cuts {
        let mut gathered = Gathered::default();
        self.statement(statement, &mut gathered);
        if gathered.anywhere {
            return Cuts::Anywhere;
        }
        if !gathered.depends {
            return Cuts::None;
        }
        gathered.cuts.sort_unstable();
        gathered.cuts.dedup();
        Cuts::At(gathered.cuts)
    }

    /// Whether it depends on the source alone: whatever else is true, it passes or fails.
    pub fn is_about_source_alone(&self, statement: &Statement) -> bool {
        // What connection tracking says of the source is there only where it tracks.
        let plain = |operand: &Operand| {
            matches!(operand.selector, Selector::Payload { .. })
                && matches!(self.dependence(operand), Dependence::Leading(_))
        };
        match statement {
            Statement::Compare { left, .. } => matches!(&left[..], [only] if plain(only)),
            Statement::Range { left, .. } => plain(left),
            Statement::Lookup { key, set, .. } => {
                let set = self.program.set(self.table, set);
                matches!(&key[..], [only] if plain(only))
                    && set.is_some_and(|set| !self.program.is_filled_by_rules(self.table, set))
            }
            _ => false,
        }
    }

    /// The sources that a test about the source alone passes, where that can be read off what it
    /// holds the source against; sorted and apart.
    pub fn held(&self, statement: &Statement) -> Option<Vec<(u128, u128)>> {
        let whole = self.width();
        let bits = |operand: &Operand| match self.dependence(operand) {
            Dependence::Leading(bits) if operand.transforms.is_empty() => Some(bits),
            _ => None,
        };
        let (found, invert) = match statement {
            Statement::Compare { left, op: op @ (CompareOp::Eq | CompareOp::Ne), right } => {
                let [only] = &left[..] else { return None };
                let (bits, right) = (bits(only)?, right.as_slice());
                if right.len() * 8 != bits as usize {
                    return None;
                }
                (vec![(self.low(right, bits), self.high(right, bits))], *op == CompareOp::Ne)
            }
            Statement::Lookup { key, set, invert } => {
                let ([only], Some(set)) = (&key[..], self.program.set(self.table, set)) else {
                    return None;
                };
                let plain = bits(only)? == whole
                    && set.key_len * 8 == whole
                    && set.statements.is_empty()
                    && matches!(set.elements, Elements::Listed(_));
                let span = |element: &Element| {
                    let (from, to) = super::hull::ends(element)?;
                    let fits = from.len() == to.len() && from.len() * 8 == whole as usize;
                    (fits && element.statements.is_empty())
                        .then(|| (self.number(from, 0), self.number(to, 0)))
                };
                let all = set.elements.listed().iter().map(span);
                (plain.then(|| all.collect::<Option<Vec<_>>>())??, *invert)
            }
            _ => return None,
        };
        let found = super::arrivals::united(found);
        Some(if invert { without(&found, highest(self.family)) } else { found })
    }

    fn statement(&self, statement: &Statement, out: &mut Gathered) {
        match statement {
            Statement::Compare { left, right, .. } => match &left[..] {
                [only] => self.constant(only, right.as_slice(), right.as_slice(), out),
                several => several.iter().for_each(|one| self.whole(one, out)),
            },
            Statement::Range { left, from, to, .. } => {
                self.constant(left, from.as_slice(), to.as_slice(), out);
            }
            Statement::Lookup { key, set, .. }
            | Statement::VerdictMap { key, map: set }
            | Statement::ObjectMap { key, map: set } => {
                self.lookup(key, set, out);
            }
            Statement::Nat { range, .. } => {
                let pairs = [&range.address, &range.port];
                for (low, high) in pairs.into_iter().flatten() {
                    self.whole(low, out);
                    if let Some(high) = high {
                        self.whole(high, out);
                    }
                }
            }
            Statement::SetMeta { value, .. }
            | Statement::SetCt { value, .. }
            | Statement::SetPayload { value, .. } => self.whole(value, out),
            Statement::Xt { kind: XtKind::Match, name, decoded: Some(decoded), .. } => {
                match decoded {
                    XtMatch::Other { options } if name == "set" => self.ipset(options, out),
                    XtMatch::Other { .. } if name == "rpfilter" => self.routes(out),
                    XtMatch::IpRange { source: Some((low, high)), .. } => {
                        out.depends = true;
                        out.interval((number(*low), number(*high)));
                    }
                    XtMatch::AddrType { source, .. } if *source != 0 => self.routes(out),
                    _ => {}
                }
            }
            // Whether a dynamic set takes the key in is not known anyway.
            Statement::UpdateSet { .. }
            | Statement::Verdict(_)
            | Statement::Counter { .. }
            | Statement::Limit(_)
            | Statement::Log(_)
            | Statement::Reject(_)
            | Statement::Notrack
            | Statement::Queue { .. }
            | Statement::Object { .. }
            | Statement::Quota { .. }
            | Statement::ConnLimit { .. }
            | Statement::Xt { .. }
            | Statement::Opaque { .. } => {}
        }
    }

    fn ipset(&self, options: &[String], out: &mut Gathered) {
        let Some((_, name, sides)) = super::ipset::parsed(options) else { return };
        let found = super::ipset::find(self.host.snapshot(), name);
        let elements = found.and_then(|set| set.elements.as_deref()).unwrap_or_default();
        if sides.first() == Some(&true) {
            for (low, high) in elements.iter().filter_map(|own| own.addresses) {
                out.depends = true;
                out.interval((number(low), number(high)));
            }
        }
    }

    fn routes(&self, out: &mut Gathered) {
        out.depends = true;
        out.cuts.extend(self.host.cuts(self.family));
    }

    /// An operand that is held against constants.
    fn constant(&self, operand: &Operand, from: &[u8], to: &[u8], out: &mut Gathered) {
        match self.dependence(operand) {
            Dependence::Leading(bits) => {
                out.depends = true;
                out.interval((self.low(from, bits), self.high(to, bits)));
                out.interval((self.low(from, bits), self.high(from, bits)));
                out.interval((self.low(to, bits), self.high(to, bits)));
            }
            Dependence::None => {}
            Dependence::Routes | Dependence::Anyhow => self.whole(operand, out),
        }
    }

    /// An operand whose value counts as a whole.
    fn whole(&self, operand: &Operand, out: &mut Gathered) {
        match self.dependence(operand) {
            Dependence::None => {
                if let Selector::Map { key, map } = &operand.selector {
                    self.lookup(key, map, out);
                }
            }
            Dependence::Routes => self.routes(out),
            Dependence::Leading(_) | Dependence::Anyhow => out.anywhere = true,
        }
    }

    fn lookup(&self, key: &[Operand], name: &str, out: &mut Gathered) {
        let set = self.program.set(self.table, name);
        let fields = set.map(sets::fields).unwrap_or_default();
        for (operand, (at, len)) in key.iter().zip(fields) {
            match self.dependence(operand) {
                Dependence::Leading(bits) => {
                    out.depends = true;
                    if let Some(set) = set {
                        self.elements(set, at, len, bits, out);
                    }
                }
                Dependence::None | Dependence::Routes | Dependence::Anyhow => {
                    self.whole(operand, out);
                }
            }
        }
    }

    fn elements(&self, set: &Set, at: usize, len: usize, bits: u32, out: &mut Gathered) {
        for element in set.elements.listed() {
            let (from, to) = match &element.key {
                ElementKey::Value(value) => (value.as_slice(), value.as_slice()),
                ElementKey::Interval(from, to) => (from.as_slice(), to.as_slice()),
                ElementKey::CatchAll => continue,
            };
            if let (Some(from), Some(to)) = (from.get(at..at + len), to.get(at..at + len)) {
                out.interval((self.low(from, bits), self.high(to, bits)));
            }
        }
    }

    fn width(&self) -> u32 {
        source_field(self.family).1 * 8
    }

    /// The lowest source with these leading bytes.
    fn low(&self, bytes: &[u8], bits: u32) -> u128 {
        let number = self.number(bytes, 0);
        let free = self.width() - bits;
        if free >= 128 { 0 } else { number >> free << free }
    }

    /// The highest source with these leading bytes.
    fn high(&self, bytes: &[u8], bits: u32) -> u128 {
        let free = self.width() - bits;
        let rest = if free >= 128 { u128::MAX } else { (1 << free) - 1 };
        self.number(bytes, 0xff) | rest
    }

    fn number(&self, bytes: &[u8], fill: u8) -> u128 {
        let len = self.width() as usize / 8;
        let byte = |at: usize| u128::from(bytes.get(at).copied().unwrap_or(fill));
        (0..len).fold(0, |all, at| all << 8 | byte(at))
    }

    fn dependence(&self, operand: &Operand) -> Dependence {
        let (start, len) = source_field(self.family);
        let whole = match &operand.selector {
            Selector::Payload { base: PayloadBase::Network, offset, len: loaded } => {
                let end = offset.saturating_add(*loaded);
                if end <= start || *offset >= start + len {
                    return Dependence::None;
                }
                if *offset != start || end > start + len {
                    return Dependence::Anyhow;
                }
                loaded * 8
            }
            Selector::Ct { key, direction } => {
                let reply = *direction == Some(CtDirection::Reply);
                match (key, reply) {
                    (CtKey::Src | CtKey::SrcIp | CtKey::SrcIp6, false)
                    | (CtKey::Dst | CtKey::DstIp | CtKey::DstIp6, true) => len * 8,
                    _ => return Dependence::None,
                }
            }
            Selector::Fib { flags, .. } if flags.saddr => return Dependence::Routes,
            Selector::Payload { .. }
            | Selector::Meta(_)
            | Selector::Fib { .. }
            | Selector::Immediate(_)
            | Selector::Map { .. }
            | Selector::Other { .. } => return Dependence::None,
        };
        match &operand.transforms[..] {
            [] => Dependence::Leading(whole),
            [Transform::Mask { mask, xor }] if xor.as_slice().iter().all(|byte| *byte == 0) => {
                let bits = leading_ones(mask.as_slice());
                bits.map_or(Dependence::Anyhow, |bits| Dependence::Leading(bits.min(whole)))
            }
            _ => Dependence::Anyhow,
        }
    }
}

/// All addresses up to the highest but these, which are sorted and apart.
fn without(intervals: &[(u128, u128)], highest: u128) -> Vec<(u128, u128)> {
    let mut found = Vec::with_capacity(intervals.len() + 1);
    let mut from = Some(0);
    for (first, last) in intervals {
        if let Some(start) = from
            && start < *first
        {
            found.push((start, first - 1));
        }
        from = last.checked_add(1);
    }
    found.extend(from.filter(|start| *start <= highest).map(|start| (start, highest)));
    found
}

/// The length of a mask that is a prefix.
pub(super) fn leading_ones(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let mut left = ones;
    for byte in mask {
        let here = left.min(8);
        if byte.leading_ones() != here || byte.count_ones() != here {
            return None;
        }
        left -= here;
    }
    Some(ones)
}

/// Where prefixes begin and have just ended.
pub fn around(prefixes: impl Iterator<Item = Prefix>) -> Vec<u128> {
    let mut cuts = Vec::new();
    for prefix in prefixes {
        cuts.push(number(prefix.first()));
        cuts.extend(number(prefix.last()).checked_add(1));
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
