//! An answer in one word: how much of the sources gets through.

use super::guard::{Guard, Guards};
use super::packet::address;
use super::sources::{Sources, Span, union_all};
use super::step::Unclear;
use super::{Answer, End, Fate};
use crate::model::IpFamily;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// How much gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Every source, as often as it likes.
    Open,
    /// Every source, and some or all only so often.
    Limited,
    /// Some sources and not others.
    Partial,
    /// None.
    Closed,
    /// It depends on something that is not known.
    Unknown,
}

/// How much gets through, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// In one word.
    pub reach: Reach,
    /// What it depends on, by name; for [`Reach::Limited`] the rates.
    pub depends_on: Vec<String>,
    /// A source that gets through, at least at times.
    pub admitted: Option<IpAddr>,
    /// A source that never does.
    pub refused: Option<IpAddr>,
    /// A source for which it is not known.
    pub doubtful: Option<IpAddr>,
    /// How many sources never get through, and how many were asked about.
    pub kept_out: (u128, u128),
}

impl Answer {
    /// How much arrives where it is meant to.
    pub fn summary(&mut self, family: IpFamily, arrives: impl Fn(&End) -> bool) -> Summary {
        let mut guards = std::mem::take(&mut self.guards);
        let summary = self.summary_by(family, &arrives, &mut guards);
        self.guards = guards;
        summary
    }

    /// The same of an answer that others hold too.
    pub(super) fn summary_of_shared(
        &self,
        family: IpFamily,
        arrives: impl Fn(&End) -> bool,
    ) -> Summary {
        match self.counted(&arrives) {
            Some(count) => self.told(family, &count),
            None => self.summary_by(family, &arrives, &mut self.guards.clone()),
        }
    }

    fn summary_by(
        &self,
        family: IpFamily,
        arrives: &impl Fn(&End) -> bool,
        guards: &mut Guards,
    ) -> Summary {
        if let Some(count) = self.counted(arrives) {
            return self.told(family, &count);
        }
        let [mut through, mut doubt, mut rest] = [Vec::new(), Vec::new(), Vec::new()];
        let mut named = BTreeSet::new();
        for end in &self.ends {
            let part = match end.fate {
                Fate::Unknown(unknown) => {
                    named.insert(unknown);
                    &mut doubt
                }
                _ if arrives(end) => &mut through,
                _ => &mut rest,
            };
            part.push(end.state.sources.clone());
        }
        let [through, doubt, rest] = [through, doubt, rest].map(|part| union_all(part, guards));
        let mut count = Count::default();
        for (first, size, admits, doubts) in pieces(&through, &doubt, &rest, guards) {
            count.asked = count.asked.saturating_add(size);
            let depends: BTreeSet<u32> = guards.depends_on(admits);
            let known = |unknown: &u32| self.unknowns[*unknown as usize].unclear == Unclear::Rate;
            if doubts != Guard::NEVER {
                count.doubtful.get_or_insert(first);
                count.depends.extend(&depends);
                count.depends.extend(guards.depends_on(doubts));
                count.depends.extend(&named);
            } else if admits == Guard::ALWAYS {
                count.open.get_or_insert(first);
            } else if admits == Guard::NEVER {
                count.closed.get_or_insert(first);
                count.kept_out = count.kept_out.saturating_add(size);
            } else if depends.iter().all(known) {
                count.limited.get_or_insert(first);
                count.rates.extend(depends);
            } else {
                count.doubtful.get_or_insert(first);
                count.depends.extend(depends);
            }
        }
        self.told(family, &count)
    }

    /// The same, where no end depends on anything: then no source has two.
    fn counted(&self, arrives: &impl Fn(&End) -> bool) -> Option<Count> {
        let mut count = Count::default();
        for end in &self.ends {
            let size = self.shared.size(&end.state.sources)?;
            count.asked = count.asked.saturating_add(size);
            let kind = match end.fate {
                Fate::Unknown(unknown) => {
                    count.depends.insert(unknown);
                    &mut count.doubtful
                }
                _ if arrives(end) => &mut count.open,
                _ => {
                    count.kept_out = count.kept_out.saturating_add(size);
                    &mut count.closed
                }
            };
            *kind = [*kind, end.state.sources.first()].into_iter().flatten().min();
        }
        Some(count)
    }

    fn told(&self, family: IpFamily, count: &Count) -> Summary {
        let reach = match (count.doubtful, count.open, count.limited, count.closed) {
            _ if !self.order_matters.is_empty() => Reach::Unknown,
            (Some(_), ..) => Reach::Unknown,
            (_, None, None, _) => Reach::Closed,
            (.., Some(_)) => Reach::Partial,
            (_, _, Some(_), None) => Reach::Limited,
            (_, Some(_), None, None) => Reach::Open,
        };
        let chosen = match reach {
            Reach::Unknown => &count.depends,
            Reach::Limited | Reach::Partial => &count.rates,
            Reach::Open | Reach::Closed => &BTreeSet::new(),
        };
        let mut depends_on: Vec<String> = self.order_matters.clone();
        for unknown in chosen {
            let name = &self.unknowns[*unknown as usize].name;
            if !depends_on.contains(name) {
                depends_on.push(name.clone());
            }
        }
        let at = |number: Option<u128>| number.map(|number| address(family, number));
        Summary {
            reach,
            depends_on,
            admitted: at(count.open.or(count.limited)),
            refused: at(count.closed),
            doubtful: at(count.doubtful),
            kept_out: (count.kept_out, count.asked),
        }
    }
}

/// The first source of each kind, and what decides.
#[derive(Debug, Default)]
struct Count {
    open: Option<u128>,
    limited: Option<u128>,
    closed: Option<u128>,
    doubtful: Option<u128>,
    kept_out: u128,
    asked: u128,
    rates: BTreeSet<u32>,
    depends: BTreeSet<u32>,
}

/// For each piece of all three its first source, its size, and when it is in the first two.
fn pieces(
    through: &Sources,
    doubt: &Sources,
    rest: &Sources,
    guards: &mut Guards,
) -> Vec<(u128, u128, Guard, Guard)> {
    let mut cuts: Vec<u128> = Vec::new();
    for span in [through, doubt, rest].into_iter().flat_map(Sources::spans) {
        cuts.push(span.first);
        cuts.extend(span.last.checked_add(1));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let all = through.union(doubt, guards).union(rest, guards);
    let at = |spans: &[Span], first: u128| {
        let index = spans.partition_point(|span| span.last < first);
        let found = spans.get(index).filter(|span| span.first <= first);
        found.map_or(Guard::NEVER, |span| span.guard)
    };
    let each = all.pieces(&cuts).into_iter();
    each.map(|piece| {
        let (first, size) = (piece.first, (piece.last - piece.first).saturating_add(1));
        (first, size, at(through.spans(), first), at(doubt.spans(), first))
    })
    .collect()
}
