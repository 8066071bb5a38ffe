//! Conditions over what a packet alone does not tell: small decision diagrams.
//!
//! In: numbers of unknowns, in the order in which a walk meets them. Out: conditions in one form,
//! so that equal conditions are equal values and a condition that does not matter disappears.

use foldhash::HashMap;
use std::collections::BTreeSet;

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guard(u32);

impl Guard {
    /// Never holds.
    pub const NEVER: Self = Self(0);
    /// Always holds.
    pub const ALWAYS: Self = Self(1);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    unknown: u32,
    without: Guard,
    with: Guard,
}

/// The conditions of one walk.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    /// Node `n` is the condition `n + 2`.
    nodes: Vec<Node>,
    known: HashMap<Node, Guard>,
    joined: HashMap<(bool, Guard, Guard), Guard>,
}

impl Guards {
    fn node(&mut self, node: Node) -> Guard {
        if node.without == node.with {
            return node.with;
        }
        if let Some(known) = self.known.get(&node) {
            return *known;
        }
        let guard = Guard(u32::try_from(self.nodes.len() + 2).expect("fewer than 2^32 nodes"));
        self.nodes.push(node);
        self.known.insert(node, guard);
        guard
    }

    /// That the unknown holds.
    pub fn holds(&mut self, unknown: u32) -> Guard {
        self.node(Node { unknown, without: Guard::NEVER, with: Guard::ALWAYS })
    }

    /// That it does not.
    pub fn not(&mut self, guard: Guard) -> Guard {
        match guard {
            Guard::NEVER => Guard::ALWAYS,
            Guard::ALWAYS => Guard::NEVER,
            Guard(index) => {
                let Node { unknown, without, with } = self.nodes[index as usize - 2];
                let (without, with) = (self.not(without), self.not(with));
                self.node(Node { unknown, without, with })
            }
        }
    }

    /// Both.
    pub fn and(&mut self, one: Guard, two: Guard) -> Guard {
        self.join(true, one, two)
    }

    /// At least one.
    pub fn or(&mut self, one: Guard, two: Guard) -> Guard {
        self.join(false, one, two)
    }

    fn join(&mut self, both: bool, one: Guard, two: Guard) -> Guard {
        let (neutral, final_) =
            if both { (Guard::ALWAYS, Guard::NEVER) } else { (Guard::NEVER, Guard::ALWAYS) };
        if one == two || two == neutral {
            return one;
        }
        if one == neutral {
            return two;
        }
        if one == final_ || two == final_ {
            return final_;
        }
        let key = (both, one.min(two), one.max(two));
        if let Some(known) = self.joined.get(&key) {
            return *known;
        }
        let (a, b) = (self.nodes[one.0 as usize - 2], self.nodes[two.0 as usize - 2]);
        let unknown = a.unknown.min(b.unknown);
        let parts = |node: Node, guard: Guard| {
            if node.unknown == unknown { (node.without, node.with) } else { (guard, guard) }
        };
        let ((a0, a1), (b0, b1)) = (parts(a, one), parts(b, two));
        let (without, with) = (self.join(both, a0, b0), self.join(both, a1, b1));
        let guard = self.node(Node { unknown, without, with });
        self.joined.insert(key, guard);
        guard
    }

    /// The same condition over other numbers of unknowns, among other conditions.
    pub fn renamed(&self, guard: Guard, numbers: &[u32], into: &mut Self) -> Guard {
        match guard {
            Guard::NEVER | Guard::ALWAYS => guard,
            Guard(index) => {
                let Node { unknown, without, with } = self.nodes[index as usize - 2];
                let without = self.renamed(without, numbers, into);
                let with = self.renamed(with, numbers, into);
                let holds = into.holds(numbers[unknown as usize]);
                let not = into.not(holds);
                let (yes, no) = (into.and(holds, with), into.and(not, without));
                into.or(yes, no)
            }
        }
    }

    /// The unknowns that it depends on.
    pub fn depends_on(&self, guard: Guard) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![guard];
        while let Some(Guard(index)) = open.pop() {
            if index >= 2 && seen.insert(index) {
                let node = self.nodes[index as usize - 2];
                found.insert(node.unknown);
                open.extend([node.without, node.with]);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A condition as a truth table of three unknowns, and as a diagram.
    fn build(guards: &mut Guards, program: &[(u8, u8, u8)]) -> Vec<(u8, Guard)> {
        let tables = [0b1010_1010_u8, 0b1100_1100, 0b1111_0000];
        let mut all = vec![(0, Guard::NEVER), (0xff, Guard::ALWAYS)];
        for (unknown, table) in tables.into_iter().enumerate() {
            all.push((table, guards.holds(u32::try_from(unknown).expect("small"))));
        }
        for (op, one, two) in program {
            let (a, b) = (all[usize::from(*one) % all.len()], all[usize::from(*two) % all.len()]);
            all.push(match op % 3 {
                0 => (a.0 & b.0, guards.and(a.1, b.1)),
                1 => (a.0 | b.0, guards.or(a.1, b.1)),
                _ => (!a.0, guards.not(a.1)),
            });
        }
        all
    }

    proptest! {
        #[test]
        fn equal_conditions_are_equal_values(program in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..12)) {
            let mut guards = Guards::default();
            let all = build(&mut guards, &program);
            for (table, guard) in &all {
                for (other_table, other) in &all {
                    prop_assert_eq!(table == other_table, guard == other);
                }
            }
        }
    }

    #[test]
    fn what_does_not_matter_disappears() {
        let mut guards = Guards::default();
        let limit = guards.holds(0);
        let not = guards.not(limit);
        let either = guards.or(limit, not);
        assert_eq!(either, Guard::ALWAYS);
        let other = guards.holds(1);
        let both = guards.and(limit, other);
        assert_eq!(guards.depends_on(both), [0, 1].into());
    }
}
