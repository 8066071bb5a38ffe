//! Which rules packets meet: the kernel's counters against the analysis's trace.
//!
//! A rule is compared where a counter stands before what it decides: it counts exactly the packets
//! that match. What the analysis is certain of is the least that the kernel may have counted, and
//! what it thinks possible is the most.

use fwctl::analyze::guard::Guard;
use fwctl::analyze::{Answer, Fate, Happened, RuleId};
use fwctl::model::nft::{NatKind, Operand, Rule, Ruleset, Selector, Statement, XtKind};
use std::collections::BTreeMap;

/// No answer of any host's own: of what comes in only the packets that are sent count.
pub const QUIET: &str = "table inet quiet {
  chain output { type filter hook output priority -1000; policy accept;
    meta mark != 0x7 drop
  }
}
";

/// How often each rule must and may have matched.
#[derive(Debug, Default)]
pub struct Expected {
    rules: BTreeMap<RuleId, (u64, u64)>,
    /// Packets that may meet any rule.
    anywhere: u64,
}

impl Expected {
    /// Takes in what the analysis says of one packet.
    pub fn packet(&mut self, answer: &Answer) {
        if answer.ends.iter().any(|end| matches!(end.fate, Fate::Unknown(_)))
            || !answer.order_matters.is_empty()
        {
            self.anywhere += 1;
        }
        for event in &answer.events {
            let whole = match event.what {
                Happened::Entered | Happened::Changed | Happened::Routed(_) => false,
                Happened::Matched
                | Happened::Jumped
                | Happened::Returned
                | Happened::Translated
                | Happened::Accepted
                | Happened::Dropped
                | Happened::Rejected
                | Happened::Unclear => event.rule.rule.is_some(),
            };
            if whole && event.guard != Guard::NEVER {
                let (least, most) = self.rules.entry(event.rule).or_default();
                // An order of tables that is not known may be the other one.
                let certain = event.guard == Guard::ALWAYS && answer.order_matters.is_empty();
                *least += u64::from(certain);
                *most += 1;
            }
        }
    }

    /// Holds the counters of a ruleset, read before and after, against it. Gives how many rules
    /// were compared, and what is wrong.
    pub fn compare(&self, before: &Ruleset, after: &Ruleset) -> (usize, Vec<String>) {
        let mut compared = 0;
        let mut wrong = Vec::new();
        for (table_at, table) in after.tables.iter().enumerate() {
            for (chain_at, chain) in table.chains.iter().enumerate() {
                for (rule_at, rule) in chain.rules.iter().enumerate() {
                    let earlier = &before.tables[table_at].chains[chain_at].rules[rule_at];
                    let (Some(now), Some(then)) = (counted(rule), counted(earlier)) else {
                        continue;
                    };
                    let id = RuleId { table: table_at, chain: chain_at, rule: Some(rule_at) };
                    let (least, most) = self.rules.get(&id).copied().unwrap_or_default();
                    compared += 1;
                    if !(least..=most + self.anywhere).contains(&(now - then)) {
                        wrong.push(format!(
                            "{} {} {}: {} packets, said {least} to {}",
                            table.name,
                            chain.name,
                            fwctl::model::nft::text::rule(rule, table),
                            now - then,
                            most + self.anywhere
                        ));
                    }
                }
            }
        }
        (compared, wrong)
    }
}

/// What the counter before a rule's decision counted; `None` for a rule that cannot be compared.
fn counted(rule: &Rule) -> Option<u64> {
    // Whether that goes on is for sockets to say, or for the map.
    let asks = |own: &Statement| match own {
        Statement::Nat { kind, .. } => *kind == NatKind::Tproxy,
        Statement::VerdictMap { .. } => {
            matches!(rule.statements.last(), Some(Statement::Counter { .. }))
        }
        _ => false,
    };
    if rule.statements.iter().any(asks) {
        return None;
    }
    let at = rule.statements.iter().rposition(|own| matches!(own, Statement::Counter { .. }))?;
    let Statement::Counter { packets, .. } = &rule.statements[at] else { return None };
    rule.statements[at + 1..].iter().all(always_decides).then_some(*packets)
}

/// Whether the statement does the same to every packet that comes to it.
fn always_decides(statement: &Statement) -> bool {
    let constant = |operand: &Operand| matches!(operand.selector, Selector::Immediate(_));
    match statement {
        Statement::Verdict(_)
        | Statement::Reject(_)
        | Statement::Xt { kind: XtKind::Target, .. } => true,
        Statement::Nat { range, .. } => {
            let bounds = [&range.address, &range.port].into_iter().flatten();
            bounds.flat_map(|(low, high)| std::iter::once(low).chain(high)).all(constant)
        }
        _ => false,
    }
}
