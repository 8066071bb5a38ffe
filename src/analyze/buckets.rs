//! Which rules of a chain may concern a packet, found without looking at each.
//!
//! In: the boxes of a chain's rules. Out: for a protocol, port and destination the rules that may
//! match, in their order. More may be named than can match; none that can is left out.

use super::gate::{Field, Gate};

/// A chain of fewer rules is looked at as a whole.
const SMALL: usize = 24;
/// A range of more ports is not worth a place in each of them.
const WIDE: u128 = 4096;
/// A rule has a place in so many cells at most.
const CELLS: usize = 128;

/// The rules of a chain, by what they are about.
#[derive(Debug)]
pub struct Buckets {
    /// By protocol and port.
    ports: Cells,
    destinations: Cells,
    /// Those that are about many of both.
    rest: Vec<u32>,
}

/// Packets that the same rules may concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Every rule may.
    All,
    /// Those in these cells, and those in none.
    Cells(Option<u32>, Option<u32>),
}

impl Buckets {
    /// Sorts the rules in.
    pub fn new(gates: &[Gate]) -> Option<Self> {
        if gates.len() < SMALL {
            return None;
        }
        let mut places = Places::default();
        for (rule, gate) in (0..).zip(gates) {
            let (destination, port) = (gate.range(Field::Destination), ports(gate));
            match port {
                Some((first, last)) if last - first < WIDE => {
                    places.ports.push((first, last, rule));
                }
                _ if destination != Gate::ANY.destination => {
                    places.destinations.push((destination.0, destination.1, rule));
                }
                _ => places.rest.push(rule),
            }
        }
        let ports = Cells::new(places.ports, &mut places.rest);
        let destinations = Cells::new(places.destinations, &mut places.rest);
        places.rest.sort_unstable();
        Some(Self { ports, destinations, rest: places.rest })
    }

    /// Where a packet with these values belongs.
    pub fn bucket(&self, about: &Gate) -> Bucket {
        let (destination, port) = (about.range(Field::Destination), ports(about));
        match port {
            Some((first, last)) if first == last && destination.0 == destination.1 => {
                Bucket::Cells(self.ports.find(first), self.destinations.find(destination.0))
            }
            _ => Bucket::All,
        }
    }

    /// The rules of a bucket, in their order.
    pub fn rules(&self, bucket: Bucket) -> Option<Vec<u32>> {
        let Bucket::Cells(port, destination) = bucket else { return None };
        let mut rules = self.rest.clone();
        rules.extend(port.map(|cell| self.ports.rules(cell)).unwrap_or_default());
        rules.extend(destination.map(|cell| self.destinations.rules(cell)).unwrap_or_default());
        rules.sort_unstable();
        Some(rules)
    }
}

/// Rules with the range that each is about.
#[derive(Default)]
struct Places {
    ports: Vec<(u128, u128, u32)>,
    destinations: Vec<(u128, u128, u32)>,
    rest: Vec<u32>,
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
        for (first, last, rule) in ranges {
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

    proptest! {
        #[test]
        fn no_rule_that_may_match_is_left_out(all in gates(), port in 0_u16..40, to in 0_u128..40) {
            let Some(buckets) = Buckets::new(&all) else { return Ok(()) };
            let about = gate(6, (port, port), (to, to));
            let found = buckets.rules(buckets.bucket(&about)).expect("one packet is in a cell");
            prop_assert!(found.is_sorted());
            for (rule, own) in (0..).zip(&all) {
                prop_assert!(!own.meets(&about) || found.contains(&rule));
            }
            prop_assert_eq!(buckets.bucket(&Gate::ANY), Bucket::All);
        }
    }

    #[test]
    fn what_is_about_other_ports_is_not_looked_at() {
        let many: Vec<Gate> = (0..1000).map(|port| gate(6, (port, port), (0, u128::MAX))).collect();
        let buckets = Buckets::new(&many).expect("a long chain");
        assert_eq!(buckets.rules(buckets.bucket(&gate(6, (7, 7), (1, 1)))), Some(vec![7]));
        assert_eq!(buckets.rules(buckets.bucket(&gate(17, (7, 7), (1, 1)))), Some(vec![]));
    }
}
