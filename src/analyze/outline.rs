//! The ends of a packet's way in both orders of equal priorities → whether the order matters.

use super::End;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where packets that get through arrive.
type Arrives = Option<(IpAddr, Option<u16>)>;

/// Whether other sources get through, or to another place.
pub fn differ(ends: &[End], others: &[End]) -> bool {
    !alike(ends, others) && outline(ends) != outline(others)
}

/// Whether both are the same at first sight.
fn alike(ends: &[End], others: &[End]) -> bool {
    ends.len() == others.len()
        && ends.iter().zip(others).all(|(one, two)| {
            one.fate == two.fate
                && one.state.env == two.state.env
                && one.state.sources.is(&two.state.sources)
        })
}

/// Which sources get through, and to where: what the order of equal priorities may change.
fn outline(ends: &[End]) -> BTreeMap<Arrives, Vec<(u128, u128)>> {
    let mut all: BTreeMap<Arrives, Vec<(u128, u128)>> = BTreeMap::new();
    for end in ends {
        let env = &end.state.env;
        let key = end.fate.passes().then_some((env.destination, env.port));
        let spans = end.state.sources.spans().iter().map(|span| (span.first, span.last));
        all.entry(key).or_default().extend(spans);
    }
    for intervals in all.values_mut() {
        intervals.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals.drain(..) {
            match joined.last_mut() {
                Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => {
                    *end = (*end).max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        *intervals = joined;
    }
    all
}
