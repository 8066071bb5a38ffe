//! `[default]` and `[guard]` of all documents → what holds: the nearest file decides, key by key.

use super::diagnostic::{At, Problem, Problems};
use super::names::Names;
use super::read::document::{Depth, Document};
use super::resolve::{source, united, words};
use super::{Defaults, Forwarded, GuardSettings, Inbound, Rate};
use crate::model::nft::RateUnit;
use std::time::Duration;

/// What is logged where the policy does not say.
const LOG: Rate = Rate { count: 3, per: RateUnit::Minute, burst: 5 };

/// How many generations are kept where the policy does not say.
pub(super) fn keep_generations() -> u32 {
    32
}

/// What the nearest file says; two files equally near that disagree are an error.
fn decide<'d, T>(
    problems: &mut Problems,
    documents: &'d [Document],
    key: &str,
    get: impl Fn(&'d Document) -> Option<&'d At<T>>,
    same: impl Fn(&T, &T) -> bool,
) -> Option<&'d At<T>> {
    let said: Vec<(Depth, &At<T>)> =
        documents.iter().filter_map(|document| Some((document.depth, get(document)?))).collect();
    let nearest = said.iter().map(|(depth, _)| *depth).min()?;
    let mut equals = said.iter().filter(|(depth, _)| *depth == nearest).map(|(_, value)| *value);
    let first = equals.next()?;
    if let Some(other) = equals.find(|other| !same(&other.value, &first.value)) {
        problems.push(
            Problem::error("disagreement", &other.at, format!("two files disagree on `{key}`"))
                .label("this one says so")
                .also(&first.at, "this one otherwise")
                .fix(format!("write `{key}` in your own policy file: it decides")),
        );
    }
    Some(first)
}

pub(super) fn defaults(problems: &mut Problems, documents: &[Document]) -> Defaults {
    let inbound =
        decide(problems, documents, "inbound", |d| d.default.inbound.as_ref(), PartialEq::eq);
    let forwarded =
        decide(problems, documents, "forwarded", |d| d.default.forwarded.as_ref(), PartialEq::eq);
    let ping = decide(problems, documents, "ping", |d| d.default.ping.as_ref(), PartialEq::eq);
    let log = decide(problems, documents, "log", |d| d.default.log.as_ref(), PartialEq::eq);
    Defaults {
        inbound: inbound.map_or(Inbound::Drop, |at| at.value),
        forwarded: forwarded.map_or(Forwarded::Keep, |at| at.value),
        ping: ping.is_none_or(|at| at.value),
        log: log.map_or(Some(LOG), |at| at.value),
    }
}

pub(super) fn guard(
    problems: &mut Problems,
    documents: &[Document],
    names: &mut Names<'_>,
) -> GuardSettings {
    let keep = decide(
        problems,
        documents,
        "keep",
        |d| d.guard.keep.as_ref(),
        |one, other| one.iter().map(|at| &at.value).eq(other.iter().map(|at| &at.value)),
    );
    let from = decide(
        problems,
        documents,
        "from",
        |d| d.guard.from.as_ref(),
        |one, other| one.iter().map(|at| &at.value).eq(other.iter().map(|at| &at.value)),
    );
    let keep = match keep {
        Some(keep) => {
            words(problems, names, &keep.value).into_iter().flat_map(|at| at.value).collect()
        }
        None => names.known_service("ssh").unwrap_or_default(),
    };
    let from = from.map(|from| {
        let sources = from.value.iter().filter_map(|word| source(problems, names, word));
        sources.map(|at| at.value).collect()
    });
    let confirm = decide(
        problems,
        documents,
        "confirm_within",
        |d| d.guard.confirm_within.as_ref(),
        PartialEq::eq,
    );
    let generations = decide(
        problems,
        documents,
        "keep_generations",
        |d| d.guard.keep_generations.as_ref(),
        PartialEq::eq,
    );
    GuardSettings {
        keep: united(keep),
        from,
        confirm_within: confirm.map_or(Duration::from_secs(60), |at| at.value),
        keep_generations: generations.map_or_else(keep_generations, |at| at.value),
    }
}
