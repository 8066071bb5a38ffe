//! Constructs read wrongly, each in turn: what an engine would see that gets one of them wrong.

use fwctl::model::nft::{
    CompareOp, CtKey, ElementData, Elements, MetaKey, Operand, PayloadBase, Ruleset, Selector,
    Statement, Transform, Verdict,
};

/// A name, and how every statement of the construct is misread; false leaves the statement out.
type Misread = (&'static str, fn(&mut Statement) -> bool);

fn loads(operand: &Operand, wanted: fn(&Selector) -> bool) -> bool {
    wanted(&operand.selector)
}

/// Turns comparisons of these operands round.
fn inverted(statement: &mut Statement, wanted: fn(&Selector) -> bool) -> bool {
    match statement {
        Statement::Compare { left, op, .. } if left.iter().any(|own| loads(own, wanted)) => {
            *op = match op {
                CompareOp::Eq => CompareOp::Ne,
                CompareOp::Ne => CompareOp::Eq,
                CompareOp::Lt => CompareOp::Ge,
                CompareOp::Ge => CompareOp::Lt,
                CompareOp::Le => CompareOp::Gt,
                CompareOp::Gt => CompareOp::Le,
            };
        }
        Statement::Range { left, invert, .. } if loads(left, wanted) => *invert = !*invert,
        Statement::Lookup { key, invert, .. } if key.iter().any(|own| loads(own, wanted)) => {
            *invert = !*invert;
        }
        _ => {}
    }
    true
}

fn ct(selector: &Selector, wanted: CtKey) -> bool {
    matches!(selector, Selector::Ct { key, .. } if *key == wanted)
}

fn verdict(statement: &mut Statement, change: fn(&mut Verdict)) -> bool {
    if let Statement::Verdict(verdict) = statement {
        change(verdict);
    }
    true
}

const STATEMENTS: [Misread; 22] = [
    ("addresses", |own| {
        inverted(own, |load| {
            matches!(load, Selector::Payload { base: PayloadBase::Network, len: 4.., .. })
        })
    }),
    ("ports", |own| {
        inverted(own, |load| {
            matches!(load, Selector::Payload { base: PayloadBase::Transport, offset: 0..4, .. })
        })
    }),
    ("TCP flags", |own| {
        inverted(own, |load| {
            matches!(load, Selector::Payload { base: PayloadBase::Transport, offset: 13, .. })
        })
    }),
    ("protocol", |own| inverted(own, |load| *load == Selector::Meta(MetaKey::L4proto))),
    ("input interface", |own| inverted(own, |load| *load == Selector::Meta(MetaKey::Iifname))),
    ("output interface", |own| inverted(own, |load| *load == Selector::Meta(MetaKey::Oifname))),
    ("mark", |own| inverted(own, |load| *load == Selector::Meta(MetaKey::Mark))),
    ("ct mark", |own| inverted(own, |load| ct(load, CtKey::Mark))),
    ("ct state", |own| inverted(own, |load| ct(load, CtKey::State))),
    ("ct status", |own| inverted(own, |load| ct(load, CtKey::Status))),
    ("ct original port", |own| inverted(own, |load| ct(load, CtKey::ProtoDst))),
    ("fib", |own| inverted(own, |load| matches!(load, Selector::Fib { .. }))),
    ("setting marks", |own| !matches!(own, Statement::SetMeta { .. })),
    ("setting ct marks", |own| !matches!(own, Statement::SetCt { .. })),
    ("NAT", |own| !matches!(own, Statement::Nat { .. })),
    ("notrack", |own| !matches!(own, Statement::Notrack)),
    ("reject", |own| !matches!(own, Statement::Reject(_))),
    ("return", |own| {
        verdict(own, |verdict| {
            if *verdict == Verdict::Return {
                *verdict = Verdict::Accept;
            }
        })
    }),
    ("goto", |own| {
        verdict(own, |verdict| {
            if let Verdict::Goto(name) = verdict {
                *verdict = Verdict::Jump(name.clone());
            }
        })
    }),
    ("jump", |own| {
        verdict(own, |verdict| {
            if let Verdict::Jump(_) = verdict {
                *verdict = Verdict::Continue;
            }
        })
    }),
    ("masks", |own| {
        if let Statement::Compare { left, .. } = own {
            for operand in left {
                operand.transforms.retain(|own| !matches!(own, Transform::Mask { .. }));
            }
        }
        true
    }),
    ("a failed match ends a rule", |own| {
        !matches!(own, Statement::Compare { .. } | Statement::Lookup { .. })
    }),
];

/// Every misreading of a ruleset, by name.
pub fn misread(ruleset: &Ruleset) -> Vec<(&'static str, Ruleset)> {
    let mut all: Vec<(&'static str, Ruleset)> = Vec::new();
    for (name, change) in STATEMENTS {
        let mut wrong = ruleset.clone();
        for table in &mut wrong.tables {
            for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
                rule.statements.retain_mut(change);
            }
        }
        all.push((name, wrong));
    }
    let mut sets = ruleset.clone();
    let mut maps = ruleset.clone();
    let mut intervals = ruleset.clone();
    for (table, other) in sets.tables.iter_mut().zip(&mut maps.tables) {
        for set in &mut table.sets {
            set.elements = Elements::Listed(Vec::new());
        }
        for set in &mut other.sets {
            let Elements::Listed(elements) = &mut set.elements else { continue };
            for element in elements {
                if let Some(ElementData::Verdict(verdict)) = &mut element.data {
                    *verdict =
                        if *verdict == Verdict::Accept { Verdict::Drop } else { Verdict::Accept };
                }
            }
        }
    }
    for set in intervals.tables.iter_mut().flat_map(|table| &mut table.sets) {
        let Elements::Listed(elements) = &mut set.elements else { continue };
        for element in elements {
            if let fwctl::model::nft::ElementKey::Interval(from, _) = &element.key {
                element.key = fwctl::model::nft::ElementKey::Value(from.clone());
            }
        }
    }
    let mut policies = ruleset.clone();
    let mut order = ruleset.clone();
    let mut dormant = ruleset.clone();
    for table in &mut policies.tables {
        for base in table.chains.iter_mut().filter_map(|chain| chain.hook.as_mut()) {
            base.policy =
                if base.policy == Verdict::Drop { Verdict::Accept } else { Verdict::Drop };
        }
    }
    for table in &mut order.tables {
        for base in table.chains.iter_mut().filter_map(|chain| chain.hook.as_mut()) {
            base.priority = -base.priority;
        }
    }
    if let Some(table) = dormant.tables.last_mut() {
        table.dormant = true;
    }
    all.extend([
        ("sets", sets),
        ("verdict maps", maps),
        ("intervals", intervals),
        ("policies", policies),
        ("priorities", order),
        ("tables", dormant),
    ]);
    all
}
