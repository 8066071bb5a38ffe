//! Rules that decide nothing, whatever a packet is: they count and log.
//!
//! In: a rule, and what stands behind it in its chain. Out: whether a rate in it may change what becomes
//! of a packet, or only what is logged, as all those of ufw's logging chains do. Pure.

use super::{Understanding, statement_is};
use crate::model::nft::{Chain, Rule, Statement, Table, Verdict, XtKind, XtMatch};

/// Targets of iptables that only tell of a packet.
const TELLING: [&str; 4] = ["AUDIT", "LOG", "NFLOG", "ULOG"];
/// Chains are not entered deeper (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// Whether the rates in this rule of a chain decide nothing: from the first of them on it only counts
/// and logs, and where it leaves the chain, what is left of that does no more either.
pub(super) fn rates_decide_nothing(chain: &Chain, at: usize, table: &Table) -> bool {
    let Some(rule) = chain.rules.get(at) else { return false };
    let Some(first) = rule.statements.iter().position(is_rate) else { return false };
    let (before, from) = rule.statements.split_at(first);
    let exact = before.iter().all(|own| statement_is(own, table) == Understanding::Exact);
    let leaves = from.iter().any(|own| matches!(own, Statement::Verdict(way) if leaves(way)));
    exact
        && from.iter().all(|own| is_idle(own, table, 0))
        && (!leaves || chain.rules[at + 1..].iter().all(|own| is_idle_rule(own, table, 0)))
}

/// A rate that no other rule counts with.
fn is_rate(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Limit(_) | Statement::Xt { decoded: Some(XtMatch::Limit { .. }), .. }
    )
}

fn leaves(way: &Verdict) -> bool {
    matches!(way, Verdict::Return | Verdict::Goto(_))
}

fn is_idle_rule(rule: &Rule, table: &Table, depth: usize) -> bool {
    rule.statements.iter().all(|own| is_idle(own, table, depth))
}

/// Whether a statement asks, counts or logs, or goes on to what does no more.
fn is_idle(statement: &Statement, table: &Table, depth: usize) -> bool {
    let asks = || is_rate(statement) || statement_is(statement, table) == Understanding::Exact;
    match statement {
        Statement::Compare { .. }
        | Statement::Range { .. }
        | Statement::Lookup { .. }
        | Statement::Xt { kind: XtKind::Match, .. } => asks(),
        Statement::Counter { .. }
        | Statement::Limit(_)
        | Statement::Log(_)
        | Statement::Verdict(Verdict::Continue | Verdict::Return) => true,
        Statement::Xt { kind: XtKind::Target, name, .. } => TELLING.contains(&name.as_str()),
        Statement::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
            let chain = table.chain(to).filter(|_| depth < DEEPEST);
            chain.is_some_and(|own| own.rules.iter().all(|own| is_idle_rule(own, table, depth + 1)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::{Family, Limit, LimitUnit, RateUnit, build};

    fn rate() -> Statement {
        build::limit(Limit {
            rate: 3,
            unit: LimitUnit::Packets,
            per: RateUnit::Minute,
            burst: 10,
            over: false,
        })
    }

    fn chain(name: &str, rules: Vec<Vec<Statement>>) -> Chain {
        let mut chain = Chain::new(name);
        chain.rules = rules.into_iter().map(|own| Rule::new(own, None)).collect();
        chain
    }

    /// For each rule of the first chain, whether its rates decide nothing.
    fn judged(chains: Vec<Chain>) -> Vec<bool> {
        let table = Table { chains, ..Table::new(Family::Ip, "filter") };
        let first = &table.chains[0];
        (0..first.rules.len()).map(|at| rates_decide_nothing(first, at, &table)).collect()
    }

    #[test]
    fn a_rate_before_a_log_decides_nothing() {
        let log = || vec![rate(), build::counter(), build::log("x")];
        assert_eq!(judged(vec![chain("c", vec![log(), vec![build::drop()]])]), [true, false]);
        assert_eq!(judged(vec![chain("c", vec![vec![rate(), build::accept()]])]), [false]);
        assert_eq!(
            judged(vec![chain("c", vec![vec![rate(), build::log("x"), build::drop()]])]),
            [false]
        );
    }

    #[test]
    fn a_rate_before_leaving_a_chain_counts_where_something_is_left_of_it() {
        let leave = || vec![rate(), build::return_()];
        let logs = || vec![rate(), build::log("x")];
        assert_eq!(judged(vec![chain("c", vec![leave(), logs()])]), [true, true]);
        assert!(!judged(vec![chain("c", vec![leave(), vec![build::drop()]])])[0]);
    }

    #[test]
    fn a_rate_before_another_chain_counts_where_that_decides() {
        let go = |to: &str| chain("c", vec![vec![rate(), build::jump(to)], vec![build::drop()]]);
        let logs = chain("logs", vec![vec![build::log("x")], vec![build::jump("more")]]);
        let drops = chain("drops", vec![vec![build::drop()]]);
        let more = chain("more", vec![vec![build::counter(), build::return_()]]);
        assert!(judged(vec![go("logs"), logs.clone(), more.clone()])[0]);
        assert!(!judged(vec![go("drops"), drops])[0]);
        assert!(!judged(vec![go("missing")])[0]);
        let round = chain("round", vec![vec![build::jump("round")]]);
        assert!(!judged(vec![go("round"), round])[0], "the kernel refuses it");
    }
}
