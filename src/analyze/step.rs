//! What one statement does to one packet from one source.
//!
//! The heart of the analysis, and all of it that must agree with the kernel, beside the routing
//! decision and the order of the hooks.

use super::load::Scene;
use super::packet::From;
use super::sets::{Found, find};
use super::state::{Exactness, Tracking};
use super::translate::Translation;
use super::value::{Bits, Truth, Value};
use crate::model::nft::{
    CtKey, ElementData, MetaKey, Operand, RejectWith, Set, SetOp, Statement, Verdict, XtKind,
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
                decided(value.compare(*op, right.as_slice()), unclear(left))
            }
            Statement::Range { left, invert, from, to } => match self.load(left) {
                Value::Absent => Step::Fail,
                Value::Bits(bits) => decided(
                    bits.within(from.as_slice(), to.as_slice()).inverted(*invert),
                    unclear(std::slice::from_ref(left)),
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
            Statement::Nat { kind, range, .. } => self.nat(*kind, range),
            Statement::SetMeta { key, value } => match key {
                MetaKey::Mark => match self.load(value) {
                    Value::Absent => Step::Fail,
                    Value::Bits(bits) => Step::Change(Change::Mark(bits.truncated(4).as_number())),
                },
                _ => Step::Pass,
            },
            Statement::SetCt { key, value, .. } => self.set_ct(*key, value),
            Statement::SetPayload { .. } => Step::Change(Change::Overwrite),
            Statement::Notrack => self.notrack(),
            Statement::Object { kind, .. } => match kind.as_str() {
                "limit" | "connlimit" => Step::Perhaps(Unclear::Rate),
                "quota" => Step::Perhaps(Unclear::Chance),
                "counter" | "ct helper" | "ct timeout" | "ct expectation" | "secmark"
                | "tunnel" => Step::Pass,
                _ => Step::Anything,
            },
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
        let unclear = if counted { Unclear::Rate } else { unclear(key) };
        decided(truth.inverted(invert), unclear)
    }

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
            Found::Unknown => Step::Anything,
        }
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

    /// Whether the packet comes from the host itself.
    pub(super) fn is_own(&self) -> bool {
        self.packet.from == From::Host
    }

    /// Whether the destination is one of the host's for sure, though not which.
    pub(super) fn is_local_for_sure(&self) -> bool {
        self.env.exactness == Exactness::OneOfLocal
    }
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

/// What an undecided test of these operands is.
fn unclear(operands: &[Operand]) -> Unclear {
    use crate::model::nft::Selector;
    let chance = operands.iter().any(|operand| match &operand.selector {
        Selector::Meta(MetaKey::Random | MetaKey::Cpu) => true,
        Selector::Other { name, .. } => name == "numgen",
        _ => false,
    });
    if chance { Unclear::Chance } else { Unclear::Fact }
}
