//! Source addresses, each with the condition under which it is meant.
//!
//! Spans are sorted and apart from each other; neighbours with one condition are one span, so that
//! equal values are equal sets. A copy shares its spans, so that what was found out about large
//! sources once can be known again (`super::shared`).

use super::guard::{Guard, Guards};
use std::rc::Rc;

/// Addresses from `first` to `last`, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub first: u128,
    /// The highest.
    pub last: u128,
    /// When.
    pub guard: Guard,
}

/// A set of sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(Rc<Vec<Span>>);

impl Sources {
    /// These intervals, sorted and apart.
    pub fn of(intervals: &[(u128, u128)]) -> Self {
        let mut sources = Self::default();
        for (first, last) in intervals {
            sources.push(Span { first: *first, last: *last, guard: Guard::ALWAYS });
        }
        sources
    }

    /// The spans.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest.
    pub fn first(&self) -> Option<u128> {
        self.0.first().map(|span| span.first)
    }

    /// Whether there are so many addresses at most.
    pub fn at_most(&self, count: u128) -> bool {
        let mut left = count;
        self.0.iter().all(|span| {
            let more = span.last - span.first;
            let fits = more < left;
            left = left.saturating_sub(more).saturating_sub(1);
            fits
        })
    }

    /// Whether both are the very same value, shared.
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Where the shared spans are, for as long as one of them lives.
    pub fn place(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }

    /// Whether all of them are meant whatever else holds.
    pub fn is_certain(&self) -> bool {
        self.0.iter().all(|span| span.guard == Guard::ALWAYS)
    }

    /// The condition of one address.
    pub fn at(&self, address: u128) -> Guard {
        let index = self.0.partition_point(|span| span.last < address);
        let found = self.0.get(index).filter(|span| span.first <= address);
        found.map_or(Guard::NEVER, |span| span.guard)
    }

    /// Adds a span behind all others.
    pub fn push(&mut self, span: Span) {
        push(Rc::make_mut(&mut self.0), span);
    }

    /// Takes out what is in the intervals, which are sorted and apart.
    #[must_use]
    pub fn take(&mut self, intervals: &[(u128, u128)]) -> Self {
        let mut taken = Vec::new();
        if intervals.len() * 8 < self.0.len() {
            for (first, last) in intervals {
                self.take_one(*first, *last, &mut taken);
            }
            return Self(Rc::new(taken));
        }
        let mut left = Vec::new();
        let mut at = 0;
        for span in self.0.iter() {
            at += behind(&intervals[at..], span.first);
            let mut from = Some(span.first);
            while let Some((first, last)) = intervals.get(at).copied() {
                let Some(start) = from else { break };
                if last < start {
                    at += 1;
                    continue;
                }
                if first > span.last {
                    break;
                }
                if first > start {
                    push(&mut left, Span { first: start, last: first - 1, ..*span });
                }
                let end = last.min(span.last);
                push(&mut taken, Span { first: first.max(start), last: end, ..*span });
                from = if end < span.last { Some(end + 1) } else { None };
            }
            if let Some(first) = from {
                push(&mut left, Span { first, ..*span });
            }
        }
        if left.is_empty() {
            return std::mem::take(self);
        }
        if !taken.is_empty() {
            self.0 = Rc::new(left);
        }
        Self(Rc::new(taken))
    }

    fn take_one(&mut self, first: u128, last: u128, taken: &mut Vec<Span>) {
        let begin = self.0.partition_point(|span| span.last < first);
        let end = self.0.partition_point(|span| span.first <= last);
        if begin >= end {
            return;
        }
        let mut keep = Vec::with_capacity(2);
        for span in &self.0[begin..end] {
            if span.first < first {
                keep.push(Span { last: first - 1, ..*span });
            }
            push(taken, Span { first: span.first.max(first), last: span.last.min(last), ..*span });
            if span.last > last {
                keep.push(Span { first: last + 1, ..*span });
            }
        }
        Rc::make_mut(&mut self.0).splice(begin..end, keep);
    }

    /// The spans, cut before each of these addresses, which are sorted.
    pub fn pieces(&self, cuts: &[u128]) -> Vec<Span> {
        let mut pieces = Vec::with_capacity(self.0.len());
        for span in self.0.iter() {
            let begin = cuts.partition_point(|cut| *cut <= span.first);
            let mut first = span.first;
            for cut in cuts[begin..].iter().take_while(|cut| **cut <= span.last) {
                if *cut > first {
                    pieces.push(Span { first, last: cut - 1, ..*span });
                    first = *cut;
                }
            }
            pieces.push(Span { first, ..*span });
        }
        pieces
    }

    /// The same where the condition holds too.
    #[must_use]
    pub fn and(&self, guard: Guard, guards: &mut Guards) -> Self {
        let mut out = Self::default();
        for span in self.0.iter() {
            out.push(Span { guard: guards.and(span.guard, guard), ..*span });
        }
        out
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self, guards: &mut Guards) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let mut out = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut ones, mut twos) = (self.0.iter().copied(), other.0.iter().copied());
        let (mut one, mut two) = (ones.next(), twos.next());
        loop {
            match (one, two) {
                (Some(a), Some(b)) if a.first > b.first => {
                    // The rest is said once: what begins first is `one`.
                    std::mem::swap(&mut ones, &mut twos);
                    (one, two) = (Some(b), Some(a));
                }
                (Some(a), Some(b)) if a.first < b.first => {
                    let end = a.last.min(b.first - 1);
                    push(&mut out, Span { last: end, ..a });
                    one = rest(a, end).or_else(|| ones.next());
                }
                (Some(a), Some(b)) => {
                    let end = a.last.min(b.last);
                    let guard = guards.or(a.guard, b.guard);
                    push(&mut out, Span { last: end, guard, ..a });
                    one = rest(a, end).or_else(|| ones.next());
                    two = rest(b, end).or_else(|| twos.next());
                }
                (Some(a), None) => {
                    push(&mut out, a);
                    one = ones.next();
                }
                (None, Some(b)) => {
                    push(&mut out, b);
                    two = twos.next();
                }
                (None, None) => return Self(Rc::new(out)),
            }
        }
    }
}

/// What of a span is behind an address in it.
fn rest(span: Span, end: u128) -> Option<Span> {
    (end < span.last).then(|| Span { first: end + 1, ..span })
}

/// Adds a span behind all others.
fn push(spans: &mut Vec<Span>, span: Span) {
    if let Some(end) = spans.last_mut()
        && end.guard == span.guard
        && end.last.checked_add(1) == Some(span.first)
    {
        end.last = span.last;
    } else if span.guard != Guard::NEVER {
        spans.push(span);
    }
}

/// How many intervals end before an address; they are sorted, and few of them do as a rule.
fn behind(intervals: &[(u128, u128)], address: u128) -> usize {
    match intervals.first() {
        Some((_, last)) if *last < address => {
            intervals.partition_point(|(_, last)| *last < address)
        }
        _ => 0,
    }
}

/// What is in any of them: halves first, so that many small ones cost little.
pub(super) fn union_all(mut all: Vec<Sources>, guards: &mut Guards) -> Sources {
    while all.len() > 1 {
        let pairs = all.chunks(2);
        all = pairs
            .map(|pair| match pair {
                [one, two] => one.union(two, guards),
                other => other.first().cloned().unwrap_or_default(),
            })
            .collect();
    }
    all.pop().unwrap_or_default()
}

/// Adds a span to the sources of an equal value.
pub(super) fn add<T: PartialEq>(groups: &mut Vec<(T, Sources)>, value: T, span: Span) {
    if let Some((_, sources)) = groups.iter_mut().find(|(own, _)| *own == value) {
        sources.push(span);
    } else {
        let mut sources = Sources::default();
        sources.push(span);
        groups.push((value, sources));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(sources: &Sources, point: u128) -> Guard {
        let found = sources.0.iter().find(|span| (span.first..=span.last).contains(&point));
        let found = found.map_or(Guard::NEVER, |span| span.guard);
        assert_eq!(sources.at(point), found);
        found
    }

    fn intervals() -> impl Strategy<Value = Vec<(u128, u128)>> {
        proptest::collection::btree_set(0_u128..120, 0..40).prop_map(|points| {
            let points: Vec<u128> = points.into_iter().collect();
            points.chunks_exact(2).map(|two| (two[0], two[1])).collect()
        })
    }

    proptest! {
        #[test]
        fn the_algebra_holds_point_by_point(a in intervals(), b in intervals(), small in intervals()) {
            let mut guards = Guards::default();
            let unknown = guards.holds(0);
            let (a, conditional) = (Sources::of(&a), Sources::of(&b).and(unknown, &mut guards));
            let all = a.union(&conditional, &mut guards);
            for cut in [&b[..], &small[..small.len().min(1)]] {
                let mut rest = all.clone();
                let taken = rest.take(cut);
                for point in 0..125 {
                    let whole = guards.or(at(&a, point), at(&conditional, point));
                    let inside = cut.iter().any(|(first, last)| (first..=last).contains(&&point));
                    prop_assert_eq!(at(&all, point), whole);
                    prop_assert_eq!(at(&taken, point), if inside { whole } else { Guard::NEVER });
                    prop_assert_eq!(at(&rest, point), if inside { Guard::NEVER } else { whole });
                }
                prop_assert_eq!(rest.union(&taken, &mut guards), all.clone());
            }
        }
    }

    #[test]
    fn pieces_end_before_each_cut() {
        let sources = Sources::of(&[(0, 9), (20, u128::MAX)]);
        let found: Vec<(u128, u128)> = sources
            .pieces(&[0, 5, 15, 20, 21])
            .iter()
            .map(|span| (span.first, span.last))
            .collect();
        assert_eq!(found, [(0, 4), (5, 9), (20, 20), (21, u128::MAX)]);
        assert!(Sources::of(&[(1, 3)]).at_most(3) && !Sources::of(&[(1, 3), (9, 9)]).at_most(3));
    }
}
