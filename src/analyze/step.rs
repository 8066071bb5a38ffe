//! What one statement does to one packet from one source.
//!
//! The heart of the analysis, and all of it that must agree with the kernel, beside the routing
//! decision and the order of the hooks.

use super::lasting::stays;
use super::load::Scene;
use super::packet::From;
use super::sets::{Found, candidates, find};
use super::state::{Exactness, Tracking};
use super::translate::Translation;
use super::value::{Bits, Truth, Value};
use crate::model::nft::{
    CtKey, Element, ElementData, MetaKey, NatKind, Operand, RejectWith, Selector, Set, SetData,
    SetOp, Statement, Verdict, XtKind, object_kind,
};

/// Why a test cannot be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unclear {
    /// It counts packets or connections: the first ones pass.
    Rate,
    /// Something about the packet or the host that was not asked or read; the same wherever it is
    /// tested.
    Fact,
    /// It may be otherwise each time.
    Chance,
}

/// More verdicts than this are told as one that is not known.
const MOST_VERDICTS: usize = 64;

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'p> {
    /// The rule goes on.
    Pass,
    /// The rule ends here without a match.
    Fail,
    /// One of both.
    Perhaps(Unclear),
    /// A verdict.
    Verdict(&'p Verdict),
    /// Dropped, with an answer.
    Reject(RejectWith),
    /// One of these verdicts, or with `misses` none: then the rule ends without a match.
    OneOf {
        /// Which.
        verdicts: Vec<&'p Verdict>,
        /// Whether it may be none.
        misses: bool,
    },
    /// Something else decides, and may decide anything.
    Anything,
    /// The packet or its connection changes, and the rule goes on.
    Change(Change),
    /// The connection is translated; that is a verdict.
    Translate(Translation),
}

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The packet's mark.
    Mark(Option<u32>),
    /// The connection's mark.
    CtMark(Option<u32>),
    /// Labels or the zone of the connection.
    CtOther,
    /// It is not tracked.
    Notrack,
    /// Bytes of the packet itself.
    Overwrite,
}

pub(super) fn decided<'p>(truth: Truth, unclear: Unclear) -> Step<'p> {
    match truth {
        Truth::Yes => Step::Pass,
        Truth::No => Step::Fail,
        Truth::Unknown => Step::Perhaps(unclear),
    }
}

impl<'s> Scene<'_, 's> {
    /// What the statement does.
    pub fn step<'p>(&self, statement: &'p Statement) -> Step<'p>
    where
        's: 'p,
    {
        match statement {
            Statement::Compare { left, op, right } => {
                let Some(value) = self.joined(left) else { return Step::Fail };
                decided(value.compare(*op, right.as_slice()), self.unclear(left))
            }
            Statement::Range { left, invert, from, to } => match self.load(left) {
                Value::Absent => Step::Fail,
                Value::Bits(bits) => decided(
                    bits.within(from.as_slice(), to.as_slice()).inverted(*invert),
                    self.unclear(std::slice::from_ref(left)),
                ),
            },
            Statement::Lookup { key, set, invert } => self.lookup(key, set, *invert),
            Statement::VerdictMap { key, map } => self.verdict_map(key, map),
            Statement::Verdict(Verdict::Queue) | Statement::Queue { .. } => Step::Anything,
            Statement::Verdict(verdict) => Step::Verdict(verdict),
            Statement::Counter { .. } | Statement::Log(_) => Step::Pass,
            Statement::Limit(_) | Statement::ConnLimit { .. } => Step::Perhaps(Unclear::Rate),
            Statement::Quota { .. } => Step::Perhaps(Unclear::Chance),
            Statement::Reject(with) => Step::Reject(*with),
            Statement::UpdateSet { op, set, statements, invert, key, .. } => {
                if self.key(key).is_none() {
                    return Step::Fail;
                }
                self.update(*op, set, statements, *invert)
            }
            // In a table of both versions, `nft_nat_inet_eval()` passes by packets of the other one;
            // `nft_tproxy_eval()` ends the rule.
            Statement::Nat { kind, family: Some(family), .. }
                if *family != self.packet.family() =>
            {
                if *kind == NatKind::Tproxy {
                    Step::Fail
                } else {
                    Step::Pass
                }
            }
            Statement::Nat { kind: NatKind::Tproxy, range, .. } => self.tproxy(range),
            Statement::Nat { kind, range, .. } => self.nat(*kind, range),
            Statement::SetMeta { key, value } => match key {
                MetaKey::Mark => match self.load(value) {
                    Value::Absent => Step::Fail,
                    Value::Bits(bits) => Step::Change(Change::Mark(bits.truncated(4).as_number())),
                },
                _ => Step::Pass,
            },
            Statement::SetCt { key, value, .. } => self.set_ct(*key, value),
            Statement::SetPayload { base, offset, len, value }
                if self.writes_aside((*base, *offset, *len), value) =>
            {
                Step::Pass
            }
            Statement::SetPayload { .. } => Step::Change(Change::Overwrite),
            Statement::Notrack => self.notrack(),
            Statement::Object { kind, .. } => object(kind),
            Statement::ObjectMap { key, map } => self.object_map(key, map),
            Statement::Xt { kind: XtKind::Match, name, decoded, .. } => {
                self.xt_match(name, decoded.as_ref())
            }
            Statement::Xt { kind: XtKind::Target, name, decoded, .. } => {
                self.xt_target(name, decoded.as_ref())
            }
            Statement::Opaque { name, detail } => match name.as_str() {
                // Both only look on; an extension header or TCP option is rewritten in place.
                "last" | "dup" | "flow_offload" => Step::Pass,
                "exthdr" if detail.starts_with("set ") => Step::Pass,
                _ => Step::Anything,
            },
        }
    }

    /// Operands as the registers hold them, one behind the other.
    fn joined(&self, operands: &[Operand]) -> Option<Bits> {
        let mut key = self.key(operands)?;
        if key.len() == 1 {
            return key.pop();
        }
        let mut all = Bits { value: Vec::new(), known: Vec::new() };
        for field in key {
            let field = field.padded();
            all.value.extend(field.value);
            all.known.extend(field.known);
        }
        Some(all)
    }

    /// What a set holds for a key; `Unknown` also where rules add to the set as packets come.
    fn found(&self, key: &[Bits], set: Option<&'s Set>) -> Found<'s> {
        match set {
            None => Found::Unknown,
            Some(set) if self.program.is_filled_by_rules(self.table, set) => Found::Unknown,
            Some(set) => find(set, key),
        }
    }

    fn lookup<'p>(&self, key: &[Operand], name: &str, invert: bool) -> Step<'p> {
        let Some(bits) = self.key(key) else { return Step::Fail };
        let set = self.program.set(self.table, name);
        let truth = match self.found(&bits, set) {
            Found::Element(element) => {
                let limits =
                    element.statements.iter().chain(set.map_or(&[][..], |set| &set.statements));
                match limits.map(rate).max() {
                    Some(Some(unclear)) => return Step::Perhaps(unclear),
                    _ => Truth::Yes,
                }
            }
            Found::Nothing => Truth::No,
            Found::Unknown => Truth::Unknown,
        };
        let counted = set.is_some_and(|set| self.program.is_filled_by_rate(self.table, set));
        // Who is in a set that rules fill as they count tells how often he came.
        let unclear = if counted { Unclear::Rate } else { self.unclear(key) };
        decided(truth.inverted(invert), unclear)
    }

    /// `nft_objref_map_eval()`.
    fn object_map<'p>(&self, key: &[Operand], name: &str) -> Step<'p> {
        let Some(bits) = self.key(key) else { return Step::Fail };
        let Some(set) = self.program.set(self.table, name) else { return Step::Anything };
        let Some(SetData::Object(kind)) = &set.data else { return Step::Anything };
        let step = object(object_kind(*kind).unwrap_or(""));
        match (self.found(&bits, Some(set)), step) {
            (Found::Nothing, _) => Step::Fail,
            (Found::Unknown, Step::Pass) => Step::Perhaps(Unclear::Chance),
            (Found::Element(_) | Found::Unknown, step) => step,
        }
    }

    /// What a verdict map says. Where the key is one of several, so is the verdict.
    fn verdict_map<'p>(&self, key: &[Operand], name: &str) -> Step<'p>
    where
        's: 'p,
    {
        let Some(bits) = self.key(key) else { return Step::Fail };
        match self.found(&bits, self.program.set(self.table, name)) {
            Found::Element(element) => match &element.data {
                Some(ElementData::Verdict(Verdict::Queue)) => Step::Anything,
                Some(ElementData::Verdict(verdict)) => Step::Verdict(verdict),
                _ => Step::Anything,
            },
            Found::Nothing => Step::Fail,
            Found::Unknown => self.one_of(key, &bits, name).unwrap_or(Step::Anything),
        }
    }

    /// Which verdicts a map may give for a key that is not known.
    fn one_of<'p>(&self, key: &[Operand], bits: &[Bits], name: &str) -> Option<Step<'p>>
    where
        's: 'p,
    {
        let set = self.program.set(self.table, name)?;
        if self.program.is_filled_by_rules(self.table, set) {
            return None;
        }
        let mut verdicts: Vec<&'p Verdict> = Vec::new();
        let mut misses = false;
        let mut take = |element: &'p Element| match &element.data {
            Some(ElementData::Verdict(Verdict::Queue)) | None => None,
            Some(ElementData::Verdict(verdict)) => {
                if !verdicts.contains(&verdict) {
                    verdicts.push(verdict);
                }
                Some(())
            }
            Some(_) => None,
        };
        if let Some(range) = numbers(key) {
            for number in range {
                match find(set, &[Bits::known(number.to_ne_bytes())]) {
                    Found::Element(element) => take(element)?,
                    Found::Nothing => misses = true,
                    Found::Unknown => return None,
                }
            }
        } else {
            misses = true;
            for element in candidates(set, bits)? {
                take(element)?;
            }
        }
        (verdicts.len() <= MOST_VERDICTS).then_some(Step::OneOf { verdicts, misses })
    }

    fn update<'p>(
        &self,
        op: SetOp,
        name: &str,
        statements: &[Statement],
        invert: bool,
    ) -> Step<'p> {
        let full = self.program.set(self.table, name).is_none_or(|set| {
            set.size.is_some_and(|size| set.elements.listed().len() >= size as usize)
        });
        match statements.iter().map(rate).max() {
            Some(Some(unclear)) => Step::Perhaps(unclear),
            _ if (full && op != SetOp::Delete) || invert => Step::Perhaps(Unclear::Chance),
            _ => Step::Pass,
        }
    }

    fn set_ct<'p>(&self, key: CtKey, value: &Operand) -> Step<'p> {
        let tracked = self.env.tracking == Tracking::Connection;
        match (key, self.load(value)) {
            (_, Value::Absent) => Step::Fail,
            // Without a connection nothing happens (nft_ct_set_eval()).
            (CtKey::Mark, Value::Bits(bits)) if tracked => {
                Step::Change(Change::CtMark(bits.truncated(4).as_number()))
            }
            (CtKey::Labels, _) if tracked => Step::Change(Change::CtOther),
            (CtKey::Zone, _) => Step::Change(Change::CtOther),
            _ => Step::Pass,
        }
    }

    /// What is tracked already stays so.
    pub(super) fn notrack<'p>(&self) -> Step<'p> {
        match self.env.tracking {
            // A packet of no connection has no entry either (`nft_notrack_eval()`).
            Tracking::NotYet | Tracking::Invalid => Step::Change(Change::Notrack),
            Tracking::Never | Tracking::Connection => Step::Pass,
        }
    }

    /// What an undecided test of these operands is: one fact where no rule, no translation and no
    /// router on the way changes what is loaded.
    fn unclear(&self, operands: &[Operand]) -> Unclear {
        let fact = !self.env.overwritten && operands.iter().all(stays);
        if fact { Unclear::Fact } else { Unclear::Chance }
    }

    /// Whether the packet comes from the host itself.
    pub(super) fn is_own(&self) -> bool {
        self.packet.from == From::Host
    }

    /// Whether the destination is one of the host's for sure, though not which.
    pub(super) fn is_local_for_sure(&self) -> bool {
        self.env.exactness == Exactness::OneOfLocal
    }
}

/// What a stateful object of this kind does.
fn object<'p>(kind: &str) -> Step<'p> {
    match kind {
        "limit" | "connlimit" => Step::Perhaps(Unclear::Rate),
        "quota" => Step::Perhaps(Unclear::Chance),
        "counter" | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "tunnel" => {
            Step::Pass
        }
        _ => Step::Anything,
    }
}

/// The values that `numgen` or `hash` may yield, where they are few.
fn numbers(key: &[Operand]) -> Option<std::ops::Range<u32>> {
    let [Operand { selector: Selector::Other { name, detail }, transforms }] = key else {
        return None;
    };
    if !transforms.is_empty() || !matches!(name.as_str(), "numgen" | "hash") {
        return None;
    }
    let field = |wanted: &str| {
        let found = detail.split(' ').find_map(|word| word.strip_prefix(wanted));
        found.and_then(|number| number.parse::<u32>().ok())
    };
    let (modulus, offset) = (field("mod=")?, field("offset=").unwrap_or(0));
    let few = u32::try_from(MOST_VERDICTS * 4).unwrap_or(u32::MAX);
    (modulus <= few).then(|| offset..offset.saturating_add(modulus))
}

/// Whether the statement counts, and so may fail.
fn rate(statement: &Statement) -> Option<Unclear> {
    match statement {
        Statement::Limit(_) | Statement::ConnLimit { .. } => Some(Unclear::Rate),
        Statement::Counter { .. } => None,
        Statement::Opaque { name, .. } if name == "last" => None,
        // A quota, or what is not known.
        _ => Some(Unclear::Chance),
    }
}
