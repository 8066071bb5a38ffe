//! Two answers about the same sources → whether they are the same answer.
//!
//! What becomes of a packet is its fate, and the addresses and port with which it meets it.
//! Unknowns of two answers are one where the same rule asks the same.

use super::super::guard::{Guard, Guards};
use super::super::sources::Sources;
use super::super::{Analyzer, Answer, End, Fate};
use crate::model::nft::text;
use foldhash::HashMap;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Outcome {
    fate: Fate,
    destination: IpAddr,
    port: Option<u16>,
    /// Whether the source was rewritten, and to what if that is known.
    source: (bool, Option<IpAddr>),
}

fn outcome(end: &End, fate: Fate) -> Outcome {
    let env = &end.state.env;
    if fate.passes() {
        let source = (env.source.is_some(), env.source.flatten());
        return Outcome { fate, destination: env.destination, port: env.port, source };
    }
    // With what address a packet ends nowhere does not matter.
    let nowhere = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    Outcome { fate, destination: nowhere, port: None, source: (false, None) }
}

/// Names for unknowns that are the same in both answers.
#[derive(Debug, Default)]
struct Shared {
    guards: Guards,
    names: Vec<String>,
    known: HashMap<(String, usize), u32>,
}

impl Shared {
    /// The numbers of an answer's unknowns in the shared order.
    fn number(&mut self, analyzer: &Analyzer<'_>, answer: &Answer) -> Vec<u32> {
        let mut seen: HashMap<String, usize> = HashMap::default();
        let mut numbers = Vec::new();
        for unknown in &answer.unknowns {
            let tables = analyzer.tables();
            let rule = unknown.rule.and_then(|id| {
                let table = *tables.get(id.table)?;
                let rule = table.chains.get(id.chain)?.rules.get(id.rule?)?;
                Some(text::rule(rule, table))
            });
            let fact = unknown.unclear == super::super::Unclear::Fact;
            let name = match rule {
                Some(rule) if !fact => format!("{} in `{rule}`", unknown.name),
                _ => unknown.name.clone(),
            };
            let count = seen.entry(name.clone()).or_default();
            let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
            let number = *self.known.entry((name, *count)).or_insert_with(|| {
                self.names.push(unknown.name.clone());
                next
            });
            *count += 1;
            numbers.push(number);
        }
        numbers
    }
}

/// The ends of an answer over shared unknowns: for each outcome its sources.
fn outcomes(
    shared: &mut Shared,
    analyzer: &Analyzer<'_>,
    answer: &Answer,
) -> HashMap<Outcome, Sources> {
    let numbers = shared.number(analyzer, answer);
    let mut all: HashMap<Outcome, Vec<Sources>> = HashMap::default();
    for end in &answer.ends {
        let fate = match &end.fate {
            Fate::Unknown(unknown) => Fate::Unknown(numbers[*unknown as usize]),
            other => other.clone(),
        };
        let mut own = Sources::default();
        for span in end.state.sources.spans() {
            let guard = answer.guards.renamed(span.guard, &numbers, &mut shared.guards);
            own.push(super::super::sources::Span { guard, ..*span });
        }
        all.entry(outcome(end, fate)).or_default().push(own);
    }
    all.into_iter()
        .map(|(key, own)| (key, super::super::sources::union_all(own, &mut shared.guards)))
        .collect()
}

/// The first source for which two answers are not the same, and the names of the unknowns on which
/// that depends.
pub fn difference(
    one: (&Analyzer<'_>, &Answer),
    two: (&Analyzer<'_>, &Answer),
) -> Option<(u128, Vec<String>)> {
    let mut shared = Shared::default();
    let a = outcomes(&mut shared, one.0, one.1);
    let b = outcomes(&mut shared, two.0, two.1);
    let none = Sources::default();
    let mut found: Option<(u128, Vec<String>)> = None;
    for key in a.keys().chain(b.keys()) {
        let (x, y) = (a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none));
        if let Some((source, guards)) = first_apart(x, y)
            && found.as_ref().is_none_or(|(before, _)| source < *before)
        {
            let depends: BTreeSet<u32> =
                guards.into_iter().flat_map(|guard| shared.guards.depends_on(guard)).collect();
            let mut names: Vec<String> =
                depends.iter().map(|unknown| shared.names[*unknown as usize].clone()).collect();
            if let Fate::Unknown(unknown) = key.fate {
                names.push(shared.names[unknown as usize].clone());
            }
            names.sort();
            names.dedup();
            found = Some((source, names));
        }
    }
    if found.is_none() && one.1.order_matters != two.1.order_matters {
        let source = one.1.ends.iter().filter_map(|end| end.state.sources.first()).min()?;
        let names = one.1.order_matters.iter().chain(&two.1.order_matters).cloned().collect();
        return Some((source, names));
    }
    found
}

/// The first source that is not in both under the same condition.
fn first_apart(one: &Sources, two: &Sources) -> Option<(u128, [Guard; 2])> {
    let (a, b) = (one.spans(), two.spans());
    if a == b {
        return None;
    }
    let mut cuts: Vec<u128> = Vec::new();
    for span in a.iter().chain(b) {
        cuts.push(span.first);
        cuts.extend(span.last.checked_add(1));
    }
    cuts.sort_unstable();
    let at = |spans: &[super::super::sources::Span], point: u128| {
        let index = spans.partition_point(|span| span.last < point);
        spans.get(index).filter(|span| span.first <= point).map_or(Guard::NEVER, |own| own.guard)
    };
    let apart = cuts.into_iter().find(|point| at(a, *point) != at(b, *point))?;
    Some((apart, [at(a, apart), at(b, apart)]))
}

/// What an answer says of a packet from one source, in words.
pub fn words(answer: &Answer) -> String {
    let mut all: Vec<String> = Vec::new();
    for end in &answer.ends {
        let env = &end.state.env;
        let to = match env.port {
            Some(port) if port > 0 => std::net::SocketAddr::new(env.destination, port).to_string(),
            _ => env.destination.to_string(),
        };
        let mut text = match &end.fate {
            Fate::Delivered => format!("delivered to {to}"),
            Fate::Forwarded(Some(name)) => format!("forwarded to {to} by {name}"),
            Fate::Forwarded(None) => format!("forwarded to {to}"),
            Fate::Dropped => "dropped".to_owned(),
            Fate::Rejected(_) => "rejected".to_owned(),
            Fate::Nowhere(why) => format!("dropped: {why}"),
            Fate::Unknown(_) => "not known".to_owned(),
        };
        if answer.guard(end) != Guard::ALWAYS {
            text += " at times";
        }
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(", ")
}
