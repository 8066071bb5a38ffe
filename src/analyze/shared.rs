//! What was found out about large sources, to be known again.
//!
//! Questions about many ports put the same sources through the same tests. What a test leaves of
//! sources that are meant whatever else holds is the same each time, so it is found once. Nothing
//! here changes an answer; it is bounded, and forgotten as a whole.

use super::Intervals;
use super::sources::Sources;
use foldhash::HashMap;
use std::cell::{Cell, RefCell};

/// Fewer spans are sooner cut than looked up.
const FEW: usize = 64;
/// So many spans are kept at most, of 48 bytes each.
const MOST: usize = 600_000;

/// What is known again.
#[derive(Debug, Default)]
pub struct Shared {
    /// The sources of questions, by themselves.
    asked: RefCell<HashMap<Vec<(u128, u128)>, Sources>>,
    /// What tests left of sources, by where both are.
    taken: RefCell<HashMap<(usize, usize), Taken>>,
    /// How many addresses there are, by where they are.
    sizes: RefCell<HashMap<usize, (Sources, u128)>>,
    held: Cell<usize>,
}

/// What a test left. Sources and intervals are held, so that nothing else is in their place.
#[derive(Debug)]
struct Taken {
    _of: Sources,
    _by: Intervals,
    inside: Sources,
    outside: Sources,
}

impl Shared {
    /// These sources, the same value each time.
    pub fn asked(&self, intervals: &[(u128, u128)]) -> Sources {
        if let Some(known) = self.asked.borrow().get(intervals) {
            return known.clone();
        }
        let sources = Sources::of(intervals);
        self.hold(intervals.len());
        self.asked.borrow_mut().insert(intervals.to_vec(), sources.clone());
        sources
    }

    /// Takes out what is in the intervals.
    pub fn take(&self, sources: &mut Sources, intervals: &Intervals) -> Sources {
        if sources.spans().len() + intervals.len() < FEW {
            return sources.take(intervals);
        }
        let key = (sources.place(), intervals.as_ptr().addr());
        if let Some(known) = self.taken.borrow().get(&key) {
            *sources = known.outside.clone();
            return known.inside.clone();
        }
        if !sources.is_certain() {
            return sources.take(intervals);
        }
        let of = sources.clone();
        let taken = sources.take(intervals);
        self.hold(taken.spans().len() + sources.spans().len());
        let (inside, outside) = (taken.clone(), sources.clone());
        let found = Taken { _of: of, _by: intervals.clone(), inside, outside };
        self.taken.borrow_mut().insert(key, found);
        taken
    }

    /// How many addresses there are; `None` where some are meant under a condition only.
    pub fn size(&self, sources: &Sources) -> Option<u128> {
        let known = || {
            let sizes = self.sizes.borrow();
            sizes.get(&sources.place()).map(|(_, size)| *size)
        };
        let large = sources.spans().len() >= FEW;
        if large && let Some(known) = known() {
            return Some(known);
        }
        if !sources.is_certain() {
            return None;
        }
        let each = sources.spans().iter().map(|span| (span.last - span.first).saturating_add(1));
        let size = each.fold(0_u128, u128::saturating_add);
        if large {
            self.hold(1);
            self.sizes.borrow_mut().insert(sources.place(), (sources.clone(), size));
        }
        Some(size)
    }

    fn hold(&self, more: usize) {
        if self.held.get() + more > MOST {
            self.asked.borrow_mut().clear();
            self.taken.borrow_mut().clear();
            self.sizes.borrow_mut().clear();
            self.held.set(0);
        }
        self.held.set(self.held.get() + more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn what_is_known_again_is_what_was_found() {
        let shared = Shared::default();
        let each = |step: u128| (0..200_u128).map(move |at| (at * step, at * step + 3));
        let (all, by): (Vec<_>, Intervals) = (each(10).collect(), each(15).collect());
        let mut plain = Sources::of(&all);
        let expected = plain.take(&by);
        for _ in 0..2 {
            let mut sources = shared.asked(&all);
            let taken = shared.take(&mut sources, &by);
            assert_eq!((&taken, &sources), (&expected, &plain));
            assert_eq!(
                shared.size(&sources).zip(shared.size(&taken)).map(|(a, b)| a + b),
                Some(800)
            );
        }
        let first = shared.asked(&all);
        assert!(first.is(&shared.asked(&all)), "one value for one question");
        let other: Intervals = Rc::from([(0_u128, 1_u128)]);
        let mut sources = shared.asked(&all);
        assert_eq!(shared.take(&mut sources, &other), Sources::of(&[(0, 1)]));
    }

    #[test]
    fn a_condition_is_not_forgotten() {
        let (shared, mut guards) = (Shared::default(), crate::analyze::guard::Guards::default());
        let unknown = guards.holds(0);
        let by: Intervals = (0..100_u128).map(|at| (at * 2, at * 2)).collect();
        let mut certain = shared.asked(&[(0, 300)]);
        let mut doubtful = certain.and(unknown, &mut guards);
        let plain = shared.take(&mut certain, &by);
        let taken = shared.take(&mut doubtful, &by);
        assert!(plain.is_certain() && taken.spans().iter().all(|span| span.guard == unknown));
        assert_eq!(shared.size(&taken), None);
    }
}
