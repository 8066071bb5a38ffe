//! `--cut`: closes the connections that the rules in force would not let in, never one's own.

use super::output::{self, Output};
use crate::apply::{self, Cut, State};
use crate::observe::{self, Flow, Snapshot};
use crate::plan::{Established, established};
use crate::policy::Policy;
use crate::report::phrase;
use std::collections::BTreeSet;

/// In the run directory: what was open when a change was armed, and only the change lets in.
const BEFORE: &str = "before.json";

/// Closes what this policy does not let in. What goes wrong is a warning: the rules are in force.
pub fn denied(policy: &Policy, user: Option<&str>, snapshot: &Snapshot, output: &Output) {
    close(&established(policy, snapshot), user, output);
}

/// The same, looking anew, once the rules are in force: nothing more can come in.
pub fn now(policy: &Policy, user: Option<&str>, state: &State, output: &Output) {
    denied(policy, user, &look(state), output);
}

/// The same, once a generation is confirmed for which it was asked.
pub fn once_kept(generation: u32, state: &State, output: &Output) {
    let attempt = state.read_attempt().filter(|own| own.generation == generation && own.cut);
    let (Some(attempt), Some(kept)) = (attempt, state.read_generation(generation)) else { return };
    let user = attempt.by.as_ref().map(|by| by.user.as_str());
    denied(&kept.policy, user, &look(state), output);
}

/// Keeps in mind what is open before a change is armed that would let it in, while the rules from
/// before do not.
pub fn remember(policy: &Policy, snapshot: &Snapshot, state: &State) {
    let before = snapshot.installed.as_ref().map(|own| only_by(policy, &own.policy, snapshot));
    let flows: Vec<Flow> = before.into_iter().flatten().map(|own| own.flow).collect();
    let text = serde_json::to_vec(&flows).expect("it has only string keys");
    // Without it, a rollback closes these as well.
    let _ = state.write_run_file(BEFORE, &text);
}

/// What only the change that was taken back had let in; the policies are that of the change
/// (`None` where it took our table out) and the one in force again.
pub fn taken_back(change: Option<&Policy>, policy: &Policy, state: &State, output: &Output) {
    let known = std::fs::read(state.run_file(BEFORE)).ok();
    let known: BTreeSet<Flow> =
        known.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let snapshot = look(state);
    let mut let_in = match change {
        Some(change) => only_by(change, policy, &snapshot),
        None => established(policy, &snapshot),
    };
    let same = |own: &Flow, other: &Flow| {
        (own.protocol, own.source, own.dialled) == (other.protocol, other.source, other.dialled)
    };
    let_in.retain(|own| !known.iter().any(|other| same(&own.flow, other)));
    let attempt = state.read_attempt();
    let user = attempt.and_then(|attempt| attempt.by).map(|by| by.user);
    close(&let_in, user.as_deref(), output);
}

/// What `change` lets in and `policy` does not.
fn only_by(change: &Policy, policy: &Policy, snapshot: &Snapshot) -> Vec<Established> {
    let denied_by_both = established(change, snapshot);
    let mut denied = established(policy, snapshot);
    denied.retain(|own| !denied_by_both.iter().any(|other| other.flow == own.flow));
    denied
}

fn look(state: &State) -> Snapshot {
    let root = state.root().to_owned();
    observe::observe(&observe::Options { root, engine_version: false, ..Default::default() })
}

fn close(denied: &[Established], user: Option<&str>, output: &Output) {
    // Whoever makes the change keeps every session of theirs.
    let is_own = |own: &Established| own.own || (own.user.is_some() && own.user.as_deref() == user);
    let (own, others): (Vec<_>, Vec<_>) = denied.iter().partition(|one| is_own(one));
    let flows: Vec<Flow> = others.iter().map(|own| own.flow.clone()).collect();
    let cut = apply::cut(&flows);
    let count = |wanted: Cut| cut.iter().filter(|came| **came == wanted).count();
    let closed = count(Cut::Closed);
    output.note(&format!("{} closed", phrase::count(closed, "connection")));
    for (flow, _) in flows.iter().zip(&cut).filter(|(_, came)| **came == Cut::Forgotten) {
        output::warning(&format!(
            "{} from {} to {} is not established any more, but its socket could not be closed: \
             it may go on if the service sends by itself",
            flow.protocol, flow.source, flow.dialled
        ));
    }
    for one in own {
        output::warning(&format!(
            "the session from {} goes on: it is yours, and the rules would not let it in again",
            one.flow.source
        ));
    }
}
