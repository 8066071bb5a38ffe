//! Routes → for an address those of its longest prefix, found by halving.
//!
//! In: the routes of a host. Out: for each table the addresses cut where another prefix becomes the
//! longest. Prefixes hold one another or have nothing in common, so that one pass over them in order
//! finds every piece, and a lookup does not grow with their number.

use super::packet::number;
use crate::model::{IpFamily, Prefix};
use crate::observe::Route;
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The routes of a host, by table and prefix.
#[derive(Debug)]
pub struct Routes<'s> {
    /// Routes of one table with one prefix, in the order of the snapshot.
    groups: Vec<Vec<&'s Route>>,
    places: HashMap<(u32, Prefix), usize>,
    /// Few, and asked often. By IP version as [`IpFamily::BOTH`] has them.
    tables: Vec<(u32, [Pieces; 2])>,
}

/// Addresses in order: from each of these on, until the next, this group has the longest prefix.
#[derive(Debug, Default)]
struct Pieces {
    firsts: Vec<u128>,
    groups: Vec<Option<usize>>,
}

impl Pieces {
    /// Groups of one table and IP version.
    fn new(mut own: Vec<(Prefix, usize)>) -> Self {
        // A prefix comes behind those that hold it.
        own.sort_by_key(|(prefix, _)| (number(prefix.first()), prefix.length()));
        let mut pieces = Self::default();
        let mut open: Vec<(u128, usize)> = Vec::new();
        for (prefix, group) in own {
            let (first, last) = (number(prefix.first()), number(prefix.last()));
            pieces.close(&mut open, Some(first));
            pieces.begin(first, Some(group));
            open.push((last, group));
        }
        pieces.close(&mut open, None);
        pieces
    }

    /// Ends the open prefixes that do not reach an address; all of them without one.
    fn close(&mut self, open: &mut Vec<(u128, usize)>, next: Option<u128>) {
        while let Some((last, _)) = open.pop_if(|(last, _)| next.is_none_or(|next| *last < next)) {
            if let Some(behind) = last.checked_add(1) {
                self.begin(behind, open.last().map(|(_, group)| *group));
            }
        }
    }

    fn begin(&mut self, first: u128, group: Option<usize>) {
        if self.firsts.last() == Some(&first) {
            // What ends or begins at the same address says the last word.
            self.groups.pop();
        } else {
            self.firsts.push(first);
        }
        self.groups.push(group);
    }

    fn find(&self, address: u128) -> Option<usize> {
        let piece = self.firsts.partition_point(|first| *first <= address).checked_sub(1)?;
        self.groups[piece]
    }
}

impl<'s> Routes<'s> {
    /// Sorts the routes in.
    pub fn new(routes: &'s [Route]) -> Self {
        let mut groups: Vec<Vec<&Route>> = Vec::new();
        let mut places = HashMap::default();
        let mut own: BTreeMap<u32, Vec<(Prefix, usize)>> = BTreeMap::new();
        for route in routes {
            let place = *places.entry((route.table, route.to)).or_insert_with(|| {
                own.entry(route.table).or_default().push((route.to, groups.len()));
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(route);
        }
        let of = |own: &[(Prefix, usize)]| {
            IpFamily::BOTH.map(|family| {
                let own = own.iter().filter(|(prefix, _)| prefix.family() == family);
                Pieces::new(own.copied().collect())
            })
        };
        let tables = own.iter().map(|(table, own)| (*table, of(own))).collect();
        Self { groups, places, tables }
    }

    /// The routes of a table whose prefix is the longest that holds an address, in the order of the
    /// snapshot; none where no prefix does.
    pub fn longest(&self, table: u32, address: IpAddr) -> &[&'s Route] {
        let pieces = self.tables.iter().find(|(own, _)| *own == table);
        let group =
            pieces.and_then(|(_, own)| own[usize::from(address.is_ipv6())].find(number(address)));
        group.map_or(&[], |group| &self.groups[group])
    }

    /// The routes of a table with this prefix, in the order of the snapshot.
    pub fn with(&self, table: u32, to: Prefix) -> &[&'s Route] {
        self.places.get(&(table, to)).map_or(&[], |group| &self.groups[*group])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::packet::address;
    use proptest::prelude::*;

    fn route(table: u32, to: Prefix, metric: u32) -> Route {
        Route { to, table, kind: "unicast".to_owned(), interface: None, gateway: None, metric }
    }

    /// Prefixes of few addresses, so that many hold one another.
    fn prefix() -> impl Strategy<Value = Prefix> {
        let v4 = (0_u128..64, 24_u8..=32).prop_map(|(low, length)| (IpFamily::Ipv4, low, length));
        let ends = prop_oneof![Just(0), 0_u128..64, u128::MAX - 64..=u128::MAX];
        let v6 = (ends, prop_oneof![Just(0_u8), 118_u8..=128])
            .prop_map(|(low, length)| (IpFamily::Ipv6, low, length));
        prop_oneof![v4, v6].prop_map(|(family, low, length)| {
            Prefix::around(address(family, low), length).expect("short enough")
        })
    }

    proptest! {
        #[test]
        fn the_longest_prefix_is_found(
            all in proptest::collection::vec((0_u32..2, prefix(), 0_u32..3), 0..40)
        ) {
            let all: Vec<Route> = all.into_iter().map(|(table, to, own)| route(table, to, own)).collect();
            let routes = Routes::new(&all);
            let numbers = (0_u128..70).chain(u128::MAX - 70..=u128::MAX);
            for number in numbers {
                for family in IpFamily::BOTH {
                    let to = address(family, number);
                    for table in 0..3 {
                        let fits = || all.iter().filter(|own| own.table == table && own.to.contains(to));
                        let most = fits().map(|own| own.to.length()).max();
                        let expected: Vec<&Route> =
                            fits().filter(|own| Some(own.to.length()) == most).collect();
                        let found = routes.longest(table, to);
                        prop_assert_eq!(found, &expected[..]);
                        if let Some(first) = found.first() {
                            prop_assert_eq!(routes.with(table, first.to), found);
                        }
                    }
                }
            }
        }
    }
}
