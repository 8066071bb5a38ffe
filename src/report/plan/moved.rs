//! What is not as it was when a plan was saved, in words.

use crate::plan::{Moved, Verdict};
use crate::report::phrase;

/// In a sentence.
pub fn moved(moved: &Moved) -> String {
    match moved {
        Moved::Host { then, now } => format!("it was made for {then}, and this is {now}"),
        Moved::Live { then, now } => {
            let name = |own: &Option<u32>| match own {
                Some(number) => format!("generation {number}"),
                None => "nothing of fwctl".to_owned(),
            };
            format!("{} was in force, and now {} is", name(then), name(now))
        }
        Moved::ByHand => "what was changed in the table by hand is not what it was".to_owned(),
        Moved::Table => {
            "the policy makes another table here now: interfaces or container networks \
                         are others, or this is another fwctl"
                .to_owned()
        }
        Moved::Served(endpoint) => format!(
            "{} is served now, by {}, and was not then",
            phrase::dialled(endpoint),
            phrase::who(&endpoint.owner)
        ),
        Moved::Owner { endpoint, then } => format!(
            "{} was served by {}, and now by {}",
            phrase::dialled(endpoint),
            phrase::who(then),
            phrase::who(&endpoint.owner)
        ),
        Moved::Reach { endpoint, zone, family, then, now } => {
            let fate = |own: &Option<(Verdict, Verdict)>| match own {
                Some((before, after)) => {
                    format!("{} → {}", phrase::verdict(*before), phrase::verdict(*after))
                }
                None => "not asked".to_owned(),
            };
            format!(
                "{} from {zone} over {} was {}, and now is {}",
                phrase::dialled(endpoint),
                phrase::family(*family),
                fate(then),
                fate(now)
            )
        }
    }
}
