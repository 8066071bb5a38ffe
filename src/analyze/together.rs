//! Answers about several dialled addresses, or by several ways in, as one.

use super::asked::Told;
use super::explain::Decider;
use super::reach::{Reach, Summary};
use std::rc::Rc;

/// Several answers.
#[derive(Debug, Default)]
pub(super) struct Together(Option<(Rc<Told>, Joined)>);

/// What is not the same as in the answer that tells most.
#[derive(Debug)]
struct Joined {
    reach: Reach,
    depends_on: Vec<String>,
    refused_by: Option<Decider>,
}

impl Together {
    /// Adds an answer.
    pub fn add(&mut self, own: &Rc<Told>) {
        let Some((more, all)) = &mut self.0 else {
            let all = Joined {
                reach: own.summary.reach,
                depends_on: own.summary.depends_on.clone(),
                refused_by: own.refused_by.clone(),
            };
            self.0 = Some((Rc::clone(own), all));
            return;
        };
        // The way that lets more through, or is less known, tells more.
        if rank(own.summary.reach) > rank(all.reach) {
            *more = Rc::clone(own);
        }
        all.reach = match (all.reach, own.summary.reach) {
            (a, b) if a == b => a,
            (Reach::Unknown, _) | (_, Reach::Unknown) => Reach::Unknown,
            (Reach::Open, Reach::Limited) | (Reach::Limited, Reach::Open) => Reach::Limited,
            _ => Reach::Partial,
        };
        for name in &own.summary.depends_on {
            if !all.depends_on.contains(name) {
                all.depends_on.push(name.clone());
            }
        }
        if all.refused_by.is_none() {
            all.refused_by.clone_from(&own.refused_by);
        }
    }

    /// What they tell together; `None` of none.
    pub fn told(self) -> Option<Told> {
        let (more, Joined { reach, depends_on, refused_by }) = self.0?;
        let told = Rc::unwrap_or_clone(more);
        Some(Told { summary: Summary { reach, depends_on, ..told.summary }, refused_by, ..told })
    }
}

fn rank(reach: Reach) -> u8 {
    match reach {
        Reach::Unknown => 4,
        Reach::Open => 3,
        Reach::Limited => 2,
        Reach::Partial => 1,
        Reach::Closed => 0,
    }
}
