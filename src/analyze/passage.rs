//! A rule → the interfaces by which packets that it is about come and go at most.
//!
//! In: a rule in its one form, and its table. Out: the lowest and highest name and index of the input
//! and of the output interface with which the rule can match or change anything, where it asks for
//! them: beside [`super::gate`], which says the same of what stands in a packet.

use super::gate::Settled;
use super::host::HostView;
use super::hull::ends;
use crate::model::IfaceName;
use crate::model::nft::{CompareOp, Hook, MetaKey, Operand, Rule, Selector, Statement};

/// So many values tell by which interfaces a packet comes and goes.
pub const SIDES: usize = 4;
/// All values of one.
pub const ANYHOW: (u128, u128) = (0, u128::MAX);

/// The lowest and highest number of the input's name and index, and of the output's.
///
/// A name is its sixteen bytes as the kernel pads it, the first one counting most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage(pub [(u128, u128); SIDES]);

impl Passage {
    /// By whichever interfaces.
    pub const ANY: Self = Self([ANYHOW; SIDES]);

    /// What a rule asks for; `None` where that is nothing.
    pub fn of(rule: &Rule, sets: Settled<'_>) -> Option<Self> {
        let mut passage = None;
        for statement in rule.statements.iter().take_while(|own| own.only_tests()) {
            if let Some((side, (first, last))) = asked(statement, sets) {
                let own = &mut passage.get_or_insert(Self::ANY).0[side];
                *own = (own.0.max(first), own.1.min(last));
            }
        }
        passage
    }

    /// The passage of packets at a hook.
    pub fn at(
        hook: Hook,
        input: Option<&IfaceName>,
        output: Option<&IfaceName>,
        host: &HostView<'_>,
    ) -> Self {
        let one = |number: u128| (number, number);
        let of = |interface: Option<&IfaceName>| match interface {
            // The kernel compares with an empty name, and with 0.
            None => [one(0), one(0)],
            Some(name) => {
                let index = host.link(name).map_or(ANYHOW, |link| one(link.index.into()));
                [one(padded(name.as_str().as_bytes(), 0)), index]
            }
        };
        let leaves = matches!(hook, Hook::Forward | Hook::Postrouting | Hook::Output);
        let [name, index] = of(input);
        let [to, to_index] = match output {
            // By one of several.
            None if leaves => [ANYHOW; 2],
            output => of(output),
        };
        Self([name, index, to, to_index])
    }

    /// Whether a packet may be in both.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(one, two)| one.0 <= two.1 && two.0 <= one.1)
    }
}

/// Bytes of a name, filled up.
fn padded(bytes: &[u8], fill: u8) -> u128 {
    let mut all = [fill; 16];
    for (place, byte) in all.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u128::from_be_bytes(all)
}

/// The side that a test asks for, and the lowest and highest number with which it passes.
fn asked(statement: &Statement, sets: Settled<'_>) -> Option<(usize, (u128, u128))> {
    match statement {
        Statement::Compare { left, op: CompareOp::Eq, right } => {
            let [operand] = &left[..] else { return None };
            let right = right.as_slice();
            let (side, is_name) = side(operand)?;
            let range = if is_name {
                (padded(right, 0), padded(right, u8::MAX))
            } else {
                let index = u32::from_ne_bytes(right.try_into().ok()?);
                (index.into(), index.into())
            };
            Some((side, range))
        }
        Statement::Lookup { key, set, invert: false } => {
            let [operand] = &key[..] else { return None };
            let (side, true) = side(operand)? else { return None };
            let mut range: Option<(u128, u128)> = None;
            for element in sets(set)?.elements.listed() {
                let (from, to) = ends(element)?;
                let (from, to) = (padded(from, 0), padded(to, u8::MAX));
                range = Some(range.map_or((from, to), |own| (own.0.min(from), own.1.max(to))));
            }
            Some((side, range?))
        }
        _ => None,
    }
}

/// Of which side an operand is the name, or the index.
fn side(operand: &Operand) -> Option<(usize, bool)> {
    let Selector::Meta(key) = &operand.selector else { return None };
    if !operand.transforms.is_empty() {
        return None;
    }
    match key {
        MetaKey::Iifname => Some((0, true)),
        MetaKey::Iif => Some((1, false)),
        MetaKey::Oifname => Some((2, true)),
        MetaKey::Oif => Some((3, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::build;
    use crate::observe::Snapshot;

    fn asks(key: MetaKey, bytes: &[u8]) -> Option<Passage> {
        let test = build::compare(build::meta(key), CompareOp::Eq, bytes);
        Passage::of(&Rule::new(vec![test, build::drop()], None), &|_| None)
    }

    #[test]
    fn a_rule_is_about_the_interfaces_that_it_names() {
        let text = include_str!("../../tests/golden/cli/web1.json");
        let snapshot = Snapshot::from_json(text).expect("a snapshot");
        let host = HostView::new(&snapshot);
        let name = |text: &str| text.parse::<IfaceName>().expect("a name");
        let (eth0, docker0) = (name("eth0"), name("docker0"));
        let index = host.link(&eth0).expect("an uplink").index.to_ne_bytes();
        let mut whole = *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0";
        let by_name = asks(MetaKey::Iifname, &whole).expect("an interface");
        let by_index = asks(MetaKey::Iif, &index).expect("an interface");
        let pattern = asks(MetaKey::Iifname, b"eth").expect("interfaces");
        let leaves = asks(MetaKey::Oifname, &whole).expect("an interface");
        whole[3] = b'1';
        let other = asks(MetaKey::Iifname, &whole).expect("an interface");

        let comes = Passage::at(Hook::Input, Some(&eth0), None, &host);
        for own in [by_name, by_index, pattern] {
            assert!(own.meets(&comes), "{own:?}");
            let elsewhere = Passage::at(Hook::Input, Some(&docker0), None, &host);
            assert!(!own.meets(&elsewhere), "{own:?}");
        }
        assert!(!other.meets(&comes));
        assert!(!leaves.meets(&comes), "nothing leaves there");
        assert!(leaves.meets(&Passage::at(Hook::Forward, Some(&docker0), Some(&eth0), &host)));
        assert!(!leaves.meets(&Passage::at(Hook::Forward, Some(&eth0), Some(&docker0), &host)));
        let unknown = Passage::at(Hook::Forward, Some(&docker0), None, &host);
        assert!(leaves.meets(&unknown), "by one of several interfaces");
        assert_eq!(asks(MetaKey::Mark, &index), None);
    }
}
