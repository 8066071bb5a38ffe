//! Sets of addresses of one IP version, as intervals.

use crate::model::prefix::joined;
use crate::model::{IpFamily, Prefix};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// An address as a number; of IPv4 the low 32 bits.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number of this IP version.
pub(super) fn address(family: IpFamily, number: u128) -> IpAddr {
    match family {
        IpFamily::Ipv4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpFamily::Ipv6 => Ipv6Addr::from_bits(number).into(),
    }
}

fn highest(family: IpFamily) -> u128 {
    match family {
        IpFamily::Ipv4 => u128::from(u32::MAX),
        IpFamily::Ipv6 => u128::MAX,
    }
}

/// Intervals, both ends included: sorted, apart from each other by one address at least, so that
/// equal sets are equal values. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intervals(Arc<[(u128, u128)]>);

impl Intervals {
    pub fn empty() -> Self {
        Self(Arc::new([]))
    }

    pub fn full(family: IpFamily) -> Self {
        Self(Arc::new([(0, highest(family))]))
    }

    /// The addresses of those prefixes that are of this IP version.
    pub fn of(family: IpFamily, prefixes: impl Iterator<Item = Prefix>) -> Self {
        let own = prefixes.filter(|prefix| prefix.family() == family);
        let mut list: Vec<_> =
            own.map(|prefix| (number(prefix.first()), number(prefix.last()))).collect();
        list.sort_unstable();
        Self(joined(list.into_iter()).into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest address.
    pub fn first(&self) -> Option<u128> {
        self.0.first().map(|(first, _)| *first)
    }

    /// Whether this is one interval that holds all of the other.
    fn spans(&self, other: &Self) -> bool {
        match (&*self.0, &*other.0) {
            ([(first, last)], [theirs, .., (_, end)]) => *first <= theirs.0 && end <= last,
            ([(first, last)], [theirs]) => *first <= theirs.0 && theirs.1 <= *last,
            _ => false,
        }
    }

    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() || self.spans(other) {
            return self.clone();
        }
        if self.is_empty() || other.spans(self) {
            return other.clone();
        }
        let (mut a, mut b) =
            (self.0.iter().copied().peekable(), other.0.iter().copied().peekable());
        let merged = std::iter::from_fn(|| match (a.peek(), b.peek()) {
            (Some(one), Some(two)) if one <= two => a.next(),
            (_, Some(_)) => b.next(),
            (_, None) => a.next(),
        });
        Self(joined(merged).into())
    }

    pub fn intersection(&self, other: &Self) -> Self {
        // What is common: one side is everything, or both are the same.
        if Arc::ptr_eq(&self.0, &other.0) || other.is_empty() || self.spans(other) {
            return other.clone();
        }
        if self.is_empty() || other.spans(self) {
            return self.clone();
        }
        let (mut i, mut j) = (0, 0);
        let mut out = Vec::new();
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                out.push((first, last));
            }
            if a.1 < b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        Self(out.into())
    }

    /// Every other address of this IP version.
    pub fn complement(&self, family: IpFamily) -> Self {
        let mut out = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(0);
        for (first, last) in self.0.iter() {
            if let Some(start) = next
                && start < *first
            {
                out.push((start, first - 1));
            }
            next = last.checked_add(1);
        }
        if let Some(start) = next
            && start <= highest(family)
        {
            out.push((start, highest(family)));
        }
        Self(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(set: &Intervals, number: u128) -> bool {
        set.0.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn sets() -> impl Strategy<Value = Intervals> {
        let prefix = (0_u32..64, 24_u8..=32).prop_map(|(low, length)| {
            Prefix::around(Ipv4Addr::from_bits(low * 4).into(), length).expect("at most 32")
        });
        let whole = Just("0.0.0.0/0".parse::<Prefix>().expect("valid"));
        proptest::collection::vec(prop_oneof![30 => prefix, 1 => whole], 0..6)
            .prop_map(|list| Intervals::of(IpFamily::Ipv4, list.into_iter()))
    }

    proptest! {
        #[test]
        fn the_algebra_holds_point_by_point(a in sets(), b in sets(), point in 0_u128..1100) {
            let (union, both) = (a.union(&b), a.intersection(&b));
            let not = a.complement(IpFamily::Ipv4);
            prop_assert_eq!(holds(&union, point), holds(&a, point) || holds(&b, point));
            prop_assert_eq!(holds(&both, point), holds(&a, point) && holds(&b, point));
            prop_assert_eq!(holds(&not, point), !holds(&a, point));
            prop_assert_eq!(not.complement(IpFamily::Ipv4), a.clone());
            prop_assert_eq!(a.union(&not), Intervals::full(IpFamily::Ipv4));
        }
    }

    #[test]
    fn the_ends_of_the_address_space_are_addresses() {
        let all = Intervals::of(IpFamily::Ipv6, ["::/0".parse().expect("valid")].into_iter());
        assert_eq!(all, Intervals::full(IpFamily::Ipv6));
        assert!(all.complement(IpFamily::Ipv6).is_empty());
        let upper = Intervals::of(IpFamily::Ipv6, ["8000::/1".parse().expect("valid")].into_iter());
        assert_eq!(upper.complement(IpFamily::Ipv6).complement(IpFamily::Ipv6), upper);
    }
}
