//! A plan in two sentences: what it does to the table, and what that does to people.

use super::{guarded, rules};
use crate::guard::Findings;
use crate::model::nft::Elements;
use crate::plan::{Edit, Outcome, Plan};
use crate::report::exposure::{Change, Row};
use crate::report::phrase::{count, list, thousands};

/// The title over what others keep closed.
pub const KEPT: &str = "Allowed by the policy, and kept closed by others";

/// What apply would do to the table.
pub fn headline(plan: &Plan) -> String {
    let host = &plan.host;
    let number = plan.desired.generation;
    match (plan.outcome, &plan.live) {
        (Outcome::Unchanged, live) => {
            let number = live.as_ref().map_or(number, |live| live.generation);
            format!("{host}: nothing to change; generation {number} is in force")
        }
        (Outcome::Create, _) => {
            let contents = contents(plan);
            format!(
                "{host}: nothing of fwctl is in force yet; generation {number} makes table inet \
                 fwctl with {contents}"
            )
        }
        (Outcome::Update, Some(live)) if live.generation == number => {
            format!("{host}: generation {number} is put back as it was: {}", work(&plan.edits))
        }
        (Outcome::Update, Some(live)) => {
            format!("{host}: generation {} → {number}: {}", live.generation, work(&plan.edits))
        }
        (Outcome::Update, None) => {
            format!("{host}: generation {number}: {}", work(&plan.edits))
        }
    }
}

/// What that does to people.
pub fn effect(plan: &Plan, findings: Option<&Findings>, rows: &[Row]) -> String {
    let kept = rows.iter().filter(|row| !row.kept().is_empty()).count();
    let kept = match kept {
        0 => "",
        1 => "Others keep 1 closed that the policy opens.",
        many => &format!("Others keep {many} closed that the policy opens."),
    };
    let hand = if plan.drift.is_empty() { "" } else { "Someone changed the table by hand." };
    let sentences = [&opening(rows), kept, hand, &expectations(plan), guarded::sentence(findings)];
    let said: Vec<&str> = sentences.into_iter().filter(|own| !own.is_empty()).collect();
    said.join(" ")
}

/// How many doors open and close.
pub(super) fn opening(rows: &[Row]) -> String {
    let of = |kind: fn(Change) -> bool| {
        let hit = |row: &&Row| row.changes().iter().any(|(change, _)| kind(*change));
        rows.iter().filter(hit).count()
    };
    let closes = of(|change| change == Change::Closes);
    let opens = of(|change| change == Change::Opens);
    let shifts = of(|change| matches!(change, Change::Narrows | Change::Widens));
    let mut parts = Vec::new();
    for (number, one, many) in [
        (closes, "closes", "close"),
        (opens, "opens", "open"),
        (shifts, "changes in part", "change in part"),
    ] {
        if number > 0 {
            let verb = if number == 1 { one } else { many };
            let what = if parts.is_empty() { count(number, "endpoint") } else { thousands(number) };
            parts.push(format!("{what} {verb}"));
        }
    }
    let doors =
        if parts.is_empty() { "No endpoint opens or closes".to_owned() } else { list(&parts) };
    format!("{doors}.")
}

fn expectations(plan: &Plan) -> String {
    let all = plan.expectations.len();
    let failed = plan.expectations.iter().filter(|one| !one.failures.is_empty()).count();
    match (all, failed) {
        (0, _) => String::new(),
        (1, 0) => "The policy's expectation holds.".to_owned(),
        (_, 0) => format!("All {all} expectations of the policy hold."),
        (_, 1) => format!("1 of {} does not hold.", count(all, "expectation")),
        _ => format!("{failed} of {} do not hold.", count(all, "expectation")),
    }
}

/// What a whole table holds.
fn contents(plan: &Plan) -> String {
    let table = &plan.table;
    let rules = table.chains.iter().map(|chain| chain.rules.len()).sum();
    let elements: usize = table.sets.iter().map(|set| set.elements.listed().len()).sum();
    let mut parts = vec![count(table.chains.len(), "chain"), count(rules, "rule")];
    if !table.sets.is_empty() {
        let sets = count(table.sets.len(), "set");
        parts.push(format!("{sets} of {}", count(elements, "element")));
    }
    list(&parts)
}

/// What the edits do, counted.
fn work(edits: &[Edit]) -> String {
    let mut tally = [(0, 0); 4];
    let [in_rules, elements, chains, sets] = &mut tally;
    let mut rebuilt = false;
    for edit in edits.iter().filter(|edit| !rules::is_marker(edit)) {
        match edit {
            Edit::AddTable => {}
            Edit::Rebuild { .. } => rebuilt = true,
            Edit::AddSet { set } => {
                sets.0 += 1;
                if let Elements::Listed(own) = &set.elements {
                    elements.0 += own.len();
                }
            }
            Edit::AddChain { .. } => chains.0 += 1,
            Edit::AddRule { .. } => in_rules.0 += 1,
            Edit::DeleteRule { .. } => in_rules.1 += 1,
            Edit::AddElements { elements: own, .. } => elements.0 += own.len(),
            Edit::DeleteElements { elements: own, .. } => elements.1 += own.len(),
            Edit::DeleteChain { chain } => {
                chains.1 += 1;
                in_rules.1 += chain.rules.len();
            }
            Edit::DeleteSet { set } => {
                sets.1 += 1;
                elements.1 += set.elements.listed().len();
            }
        }
    }
    if rebuilt {
        return "all of it is made anew".to_owned();
    }
    let mut parts = Vec::new();
    for ((added, removed), noun) in tally.into_iter().zip(["rule", "element", "chain", "set"]) {
        match (added, removed) {
            (0, 0) => {}
            (added, 0) => parts.push(format!("{} added", count(added, noun))),
            (0, removed) => parts.push(format!("{} removed", count(removed, noun))),
            (added, removed) => {
                let removed = thousands(removed);
                parts.push(format!("{} added, {removed} removed", count(added, noun)));
            }
        }
    }
    if parts.is_empty() { "only its own mark is written anew".to_owned() } else { parts.join("; ") }
}
