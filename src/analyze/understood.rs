//! How much of a ruleset fwctl understands: what each statement asks and does.
//!
//! In: a ruleset. Out: how many rules are exact, and by name the statements of all others: those
//! that no packet alone decides (rates, time, chance, what other programs answer), and those that
//! were not read at all. Pure.

mod idle;

use super::explain::Decider;
use super::modules;
use crate::model::nft::{
    CtKey, Elements, MetaKey, NatKind, Operand, Rule, Ruleset, Selector, SetData, Statement, Table,
    Transform, Verdict, XtKind, XtMatch, object_kind, text,
};
use serde::Serialize;

/// How well a statement is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Understanding {
    /// What it does is known for every packet.
    Exact,
    /// It is read, but what it does depends on more than the packet, the rules and the host's
    /// addresses and routes: answers that it touches name it.
    Conditional,
    /// It may do anything.
    NotRead,
}

/// How much of a ruleset is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Understood {
    /// How many rules there are.
    pub rules: usize,
    /// How many of them are exact: in every statement, or but for rates that decide only what is
    /// logged.
    pub exact: usize,
    /// The statements that are conditional, and the rules that they are in.
    pub conditional: Vec<Named>,
    /// The statements that were not read.
    pub not_read: Vec<Named>,
}

/// A statement and its rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The statement in nft's words.
    pub statement: String,
    /// The rule.
    pub rule: Decider,
}

/// Judges every rule.
pub fn understood(ruleset: &Ruleset) -> Understood {
    let mut all = Understood::default();
    for table in &ruleset.tables {
        for chain in &table.chains {
            for (at, rule) in chain.rules.iter().enumerate() {
                all.rules += 1;
                let exact = idle::rates_decide_nothing(chain, at, table)
                    || judge(rule, table, &chain.name, &mut all) == Understanding::Exact;
                all.exact += usize::from(exact);
            }
        }
    }
    all
}

fn judge(rule: &Rule, table: &Table, chain: &str, all: &mut Understood) -> Understanding {
    let mut worst = Understanding::Exact;
    let mut context = text::Context::new(table);
    for statement in &rule.statements {
        let own = statement_is(statement, table);
        worst = worst.max(own);
        let list = match own {
            Understanding::Exact => None,
            Understanding::Conditional => Some(&mut all.conditional),
            Understanding::NotRead => Some(&mut all.not_read),
        };
        if let Some(list) = list {
            list.push(Named {
                statement: text::statement(statement, &context),
                rule: Decider {
                    table: format!("{} {}", table.family.as_str(), table.name),
                    chain: chain.to_owned(),
                    rule: text::rule(rule, table),
                    handle: Some(rule.handle),
                },
            });
        }
        context.pass(statement);
    }
    worst
}

/// How well a statement is understood.
pub fn statement_is(statement: &Statement, table: &Table) -> Understanding {
    use Understanding::{Conditional, Exact, NotRead};
    let operands = |list: &[Operand]| list.iter().map(operand_is).max().unwrap_or(Exact);
    match statement {
        Statement::Compare { left, .. } => operands(left),
        Statement::Range { left, .. } => operand_is(left),
        Statement::Lookup { key, set, .. } | Statement::VerdictMap { key, map: set } => {
            operands(key).max(set_is(set, table))
        }
        Statement::ObjectMap { key, map } => {
            let kind = match table.set(map).and_then(|set| set.data.as_ref()) {
                Some(SetData::Object(kind)) => object_is(object_kind(*kind).unwrap_or("")),
                _ => NotRead,
            };
            operands(key).max(set_is(map, table)).max(kind)
        }
        Statement::Verdict(Verdict::Queue)
        | Statement::Queue { .. }
        | Statement::Limit(_)
        | Statement::Quota { .. }
        | Statement::ConnLimit { .. } => Conditional,
        Statement::Verdict(_)
        | Statement::Counter { .. }
        | Statement::Log(_)
        | Statement::Reject(_)
        | Statement::Notrack => Exact,
        Statement::UpdateSet { key, statements, .. } => {
            let inner = statements.iter().map(|own| statement_is(own, table)).max();
            operands(key).max(inner.unwrap_or(Exact))
        }
        Statement::Nat { kind, range, .. } => {
            let bounds = [&range.address, &range.port].into_iter().flatten();
            let all = bounds.flat_map(|(low, high)| std::iter::once(low).chain(high));
            let own = all.map(operand_is).max().unwrap_or(Exact);
            let proxy = *kind == NatKind::Tproxy;
            own.max(if proxy { Conditional } else { Exact })
        }
        Statement::SetMeta { value, .. }
        | Statement::SetCt { value, .. }
        | Statement::SetPayload { value, .. } => operand_is(value),
        Statement::Object { kind, .. } => object_is(kind),
        Statement::Xt { kind, name, decoded, .. } => xt_is(*kind, name, decoded.as_ref()),
        Statement::Opaque { name, detail } => match name.as_str() {
            "last" | "dup" | "flow_offload" => Exact,
            "exthdr" if detail.starts_with("set ") => Exact,
            "synproxy" | "fwd" => Conditional,
            _ => NotRead,
        },
    }
}

fn object_is(kind: &str) -> Understanding {
    match kind {
        "counter" | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "tunnel" => {
            Understanding::Exact
        }
        "limit" | "connlimit" | "quota" | "synproxy" => Understanding::Conditional,
        _ => Understanding::NotRead,
    }
}

/// Whether what the set holds is what was read.
fn set_is(name: &str, table: &Table) -> Understanding {
    match table.set(name) {
        None => Understanding::NotRead,
        Some(set) if matches!(set.elements, Elements::NotListed { .. }) => Understanding::NotRead,
        Some(set) if set.flags.dynamic => Understanding::Conditional,
        Some(_) => Understanding::Exact,
    }
}

fn operand_is(operand: &Operand) -> Understanding {
    use Understanding::{Conditional, Exact, NotRead};
    let transformed = operand.transforms.iter().map(|own| match own {
        Transform::Other(what) if !what.starts_with("bytes from ") => NotRead,
        _ => Exact,
    });
    let loaded = match &operand.selector {
        Selector::Meta(MetaKey::Other(_)) | Selector::Ct { key: CtKey::Other(_), .. } => NotRead,
        Selector::Meta(
            MetaKey::Random | MetaKey::Cpu | MetaKey::Time | MetaKey::Day | MetaKey::Hour,
        ) => Conditional,
        Selector::Map { key, .. } => key.iter().map(operand_is).max().unwrap_or(Exact),
        Selector::Other { name, .. } => match name.as_str() {
            "exthdr" => Exact,
            "numgen" | "hash" | "socket" | "osf" | "rt" | "tunnel" | "xfrm" => Conditional,
            _ => NotRead,
        },
        Selector::Payload { .. }
        | Selector::Meta(_)
        | Selector::Ct { .. }
        | Selector::Fib { .. }
        | Selector::Immediate(_) => Exact,
    };
    transformed.max().unwrap_or(Exact).max(loaded)
}

fn xt_is(kind: XtKind, name: &str, decoded: Option<&XtMatch>) -> Understanding {
    use Understanding::{Conditional, Exact, NotRead};
    match (kind, decoded) {
        (_, None) => NotRead,
        (XtKind::Target, Some(XtMatch::Other { options })) => {
            if super::xt::is_passing(name) || options.iter().any(|own| own == "notrack") {
                Exact
            } else {
                Conditional
            }
        }
        (XtKind::Match, Some(XtMatch::Other { options })) => {
            if modules::is_exact(name, options) {
                Exact
            } else {
                Conditional
            }
        }
        (_, Some(XtMatch::Limit { .. })) => Conditional,
        (_, Some(_)) => Exact,
    }
}
