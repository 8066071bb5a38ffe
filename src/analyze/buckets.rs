//! Which rules of a chain may concern a packet, found without looking at each.
//!
//! In: the boxes of a chain's rules, and the interfaces that they ask for. Out: for a protocol, port,
//! destination and the interfaces by which a packet comes and goes the rules that may match, in their
//! order. More may be named than can match; none that can is left out.

use super::gate::{Field, Gate};
use super::passage::{ANYHOW, Passage, SIDES};
use foldhash::HashMap;

/// A chain of fewer rules is looked at as a whole.
const SMALL: usize = 8;
/// A range of more ports is not worth a place in each of them.
const WIDE: u128 = 4096;
/// A rule has a place in so many cells at most.
const CELLS: usize = 128;
/// What rules are found by: protocol and port, destination, and the sides of a passage.
const KEYS: usize = 2 + SIDES;

/// The rules of a chain, by what they are about.
#[derive(Debug)]
pub struct Buckets {
    /// Each rule stands in one of them.
    by: [Cells; KEYS],
    /// Those that are about many of all.
    rest: Vec<u32>,
}

/// Packets that the same rules may concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Every rule may.
    All,
    /// Those in these cells, which are counted from 1, and those in none.
    Cells([u32; KEYS]),
}

impl Buckets {
    /// Sorts the rules in; `passage` says which interfaces one asks for.
    pub fn new<'p>(gates: &[Gate], passage: impl Fn(usize) -> Option<&'p Passage>) -> Option<Self> {
        if gates.len() < SMALL {
            return None;
        }
        let about = |rule: usize| asked(&gates[rule], passage(rule));
        let mut crowds: HashMap<Asked, u32> = HashMap::default();
        for rule in 0..gates.len() {
            for own in about(rule) {
                *crowds.entry(own).or_default() += 1;
            }
        }
        let mut places: [Vec<(u128, u128, u32)>; KEYS] = Default::default();
        let mut rest = Vec::new();
        for (number, rule) in (0..).zip(0..gates.len()) {
            // Where the fewest others are: of two rules in one place both are looked at.
            match about(rule).min_by_key(|own| crowds[own]) {
                Some((key, (first, last))) => places[key].push((first, last, number)),
                None => rest.push(number),
            }
        }
        let by = places.map(|own| Cells::new(own, &mut rest));
        rest.sort_unstable();
        Some(Self { by, rest })
    }

    /// Where a packet with these values belongs.
    pub fn bucket(&self, about: &Gate, passage: &Passage) -> Bucket {
        let [name, index, to, to_index] = passage.0;
        let port = ports(about).unwrap_or(ANYHOW);
        let values = [port, about.range(Field::Destination), name, index, to, to_index];
        let mut found = [0; KEYS];
        for ((cells, (first, last)), cell) in self.by.iter().zip(values).zip(&mut found) {
            match cells.find(first) {
                _ if cells.rules.is_empty() => {}
                _ if first != last => return Bucket::All,
                own => *cell = own.map_or(0, |own| own + 1),
            }
        }
        Bucket::Cells(found)
    }

    /// The rules of a bucket, in their order.
    pub fn rules(&self, bucket: Bucket) -> Option<Vec<u32>> {
        let Bucket::Cells(found) = bucket else { return None };
        let mut rules = self.rest.clone();
        for (cells, cell) in self.by.iter().zip(found) {
            rules.extend(cell.checked_sub(1).map(|own| cells.rules(own)).unwrap_or_default());
        }
        rules.sort_unstable();
        Some(rules)
    }
}

/// Which key, and the range of it.
type Asked = (usize, (u128, u128));

/// What a rule can be found by.
fn asked(gate: &Gate, passage: Option<&Passage>) -> impl Iterator<Item = Asked> {
    let port = ports(gate).filter(|(first, last)| last.saturating_sub(*first) < WIDE);
    let destination = Some(gate.range(Field::Destination));
    let destination = destination.filter(|own| *own != Gate::ANY.destination);
    let sides = passage.into_iter().flat_map(|own| own.0).enumerate();
    let sides = sides.filter(|(_, range)| *range != ANYHOW).map(|(side, range)| (side + 2, range));
    let fields = [port, destination].into_iter().enumerate();
    fields.filter_map(|(key, range)| Some((key, range?))).chain(sides)
}

/// Protocol and ports as one range; `None` where there are several protocols.
fn ports(gate: &Gate) -> Option<(u128, u128)> {
    let (protocol, port) = (gate.range(Field::Protocol), gate.range(Field::Port));
    (protocol.0 == protocol.1).then_some((protocol.0 << 16 | port.0, protocol.0 << 16 | port.1))
}

/// Values cut into cells, and the rules of each, one cell behind the other.
#[derive(Debug, Default)]
struct Cells {
    /// Where each begins.
    firsts: Vec<u128>,
    /// Where the rules of each begin, and where the last ones end.
    at: Vec<u32>,
    rules: Vec<u32>,
}

impl Cells {
    /// Cuts; rules that would stand in too many cells go to `rest`.
    fn new(ranges: Vec<(u128, u128, u32)>, rest: &mut Vec<u32>) -> Self {
        let mut firsts: Vec<u128> = Vec::with_capacity(2 * ranges.len());
        for (first, last, _) in &ranges {
            firsts.push(*first);
            firsts.extend(last.checked_add(1));
        }
        firsts.sort_unstable();
        firsts.dedup();
        let mut placed: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        // What no value is in matches nothing.
        for (first, last, rule) in ranges.into_iter().filter(|own| own.0 <= own.1) {
            let begin = firsts.partition_point(|own| *own < first);
            let end = firsts.partition_point(|own| *own <= last);
            if end - begin > CELLS {
                rest.push(rule);
                continue;
            }
            placed.extend((begin..end).filter_map(|cell| Some((u32::try_from(cell).ok()?, rule))));
        }
        placed.sort_unstable();
        let mut cells = Self { firsts, at: vec![0], rules: Vec::with_capacity(placed.len()) };
        let mut next = placed.into_iter().peekable();
        for cell in 0..cells.firsts.len() {
            while let Some((_, rule)) = next.next_if(|(own, _)| *own as usize == cell) {
                cells.rules.push(rule);
            }
            cells.at.push(u32::try_from(cells.rules.len()).expect("fewer than 2^32 rules"));
        }
        cells
    }

    /// The cell of a value, if any rule stands in it.
    fn find(&self, value: u128) -> Option<u32> {
        let cell = self.firsts.partition_point(|own| *own <= value).checked_sub(1)?;
        let cell = u32::try_from(cell).ok()?;
        (!self.rules(cell).is_empty()).then_some(cell)
    }

    fn rules(&self, cell: u32) -> &[u32] {
        let (begin, end) = (self.at[cell as usize], self.at[cell as usize + 1]);
        &self.rules[begin as usize..end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gate(protocol: u8, port: (u16, u16), destination: (u128, u128)) -> Gate {
        let mut gate = Gate::ANY;
        if protocol > 0 {
            gate.narrow(Field::Protocol, protocol.into(), protocol.into());
        }
        gate.narrow(Field::Port, port.0.into(), port.1.into());
        gate.narrow(Field::Destination, destination.0, destination.1);
        gate
    }

    fn range(most: u16) -> impl Strategy<Value = (u16, u16)> {
        (0..most, 0..most).prop_map(|(a, b)| (a.min(b), a.max(b)))
    }

    fn gates() -> impl Strategy<Value = Vec<Gate>> {
        let port = prop_oneof![range(30), range(u16::MAX), Just((0, u16::MAX))];
        let to = prop_oneof![
            range(30).prop_map(|(first, last)| (first.into(), last.into())),
            Just((0, u128::MAX))
        ];
        let one = (prop_oneof![Just(0_u8), Just(6), Just(17)], port, to);
        proptest::collection::vec(
            one.prop_map(|(protocol, port, to)| gate(protocol, port, to)),
            0..150,
        )
    }

    /// Of each side one, few, or none.
    fn passage() -> impl Strategy<Value = Option<Passage>> {
        let side = || {
            prop_oneof![
                2 => Just(ANYHOW),
                2 => (0_u128..6).prop_map(|own| (own, own)),
                1 => (0_u128..6, 0_u128..6)
            ]
        };
        proptest::option::of([side(), side(), side(), side()].prop_map(Passage))
    }

    proptest! {
        #[test]
        fn no_rule_that_may_match_is_left_out(
            all in gates(),
            passages in proptest::collection::vec(passage(), 150),
            port in 0_u16..40,
            to in 0_u128..40,
            sides in [0_u128..6, 0_u128..6, 0_u128..6, 0_u128..6]
        ) {
            let Some(buckets) = Buckets::new(&all, |rule| passages[rule].as_ref()) else {
                return Ok(());
            };
            let about = gate(6, (port, port), (to, to));
            let packet = Passage(sides.map(|own| (own, own)));
            let bucket = buckets.bucket(&about, &packet);
            let found = buckets.rules(bucket).expect("one packet is in a cell");
            prop_assert!(found.is_sorted());
            for (rule, own) in (0..).zip(&all) {
                let passes = passages[rule as usize].is_none_or(|own| {
                    own.0.iter().zip(sides).all(|((first, last), at)| (first..=last).contains(&&at))
                });
                prop_assert!(!own.meets(&about) || !passes || found.contains(&rule));
            }
            // What may be one of several is in no cell.
            let open = buckets.bucket(&about, &Passage::ANY);
            prop_assert!(open == Bucket::All || buckets.rules(open) == Some(found));
        }
    }

    #[test]
    fn what_is_about_other_ports_is_not_looked_at() {
        let many: Vec<Gate> = (0..1000).map(|port| gate(6, (port, port), (0, u128::MAX))).collect();
        let buckets = Buckets::new(&many, |_| None).expect("a long chain");
        let found = |about: Gate| buckets.rules(buckets.bucket(&about, &Passage::ANY));
        assert_eq!(found(gate(6, (7, 7), (1, 1))), Some(vec![7]));
        assert_eq!(found(gate(17, (7, 7), (1, 1))), Some(vec![]));
        assert_eq!(found(Gate::ANY), None);
    }

    #[test]
    fn a_rule_is_found_by_what_the_fewest_others_ask_for() {
        // All are about one port, and each about an interface of its own.
        let same: Vec<Gate> = (0..100).map(|_| gate(6, (80, 80), (0, u128::MAX))).collect();
        let passages: Vec<Passage> =
            (0..100_u128).map(|own| Passage([(own, own), ANYHOW, ANYHOW, ANYHOW])).collect();
        let buckets = Buckets::new(&same, |rule| passages.get(rule)).expect("a long chain");
        let about = gate(6, (80, 80), (1, 1));
        assert_eq!(buckets.rules(buckets.bucket(&about, &passages[7])), Some(vec![7]));
    }
}
