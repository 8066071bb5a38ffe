//! `GuardedPlan` → rules in force: the only writer.
//!
//! In: a plan that [`crate::guard`] let through, and the lock. Out: the kernel runs exactly the
//! table that was planned, or what it ran before, and the error says which. One transaction makes
//! the change, with others around it that make what it leads to and take out what it left
//! ([`crate::plan::way`]); what is read back afterwards decides whether it was made.

mod aftermath;
mod attempt;
mod cut;
mod generation;
mod kernel;
mod nft;
pub mod pending;
mod reconnect;
pub mod restore;
mod seen;
mod ssh_only;
mod state;
#[cfg(test)]
mod tests;
mod trial;

pub use attempt::Record;
pub use cut::{Cut, cut};
pub use generation::{Damage, Sound};
pub use kernel::{Kernel, Live};
pub use nft::{Nft, NftError, Waiting as WaitingNft};
pub use pending::{Found, Terms};
pub use reconnect::{Reconnect, Waiting};
pub use seen::Seen;
pub use ssh_only::SSH_ONLY;
pub use state::{Lock, State, StateError};
pub use trial::{TrialError, trial};

use crate::compile::{self, TABLE};
use crate::guard::GuardedPlan;
use crate::model::nft::{Family, Ruleset, Table, text};
use crate::observe::{End, Installed, Snapshot, nft::stored};
use crate::plan::way::{Steps, Way, unused, way};
use crate::plan::{Edit, Outcome, Plan, diff, marker, pending as beside, transaction};
use crate::policy::Policy;
use std::borrow::Cow;

/// What apply did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// There was nothing to change; nothing was sent.
    Unchanged,
    /// This generation is in force.
    InForce {
        /// Its number.
        generation: u32,
        /// The kernel's generation id of the ruleset that was read back; `None` where somebody
        /// else changed something meanwhile.
        ruleset: Option<u32>,
    },
    /// This generation rules until the kernel forgets it, unless it is confirmed.
    Pending {
        /// Its number.
        generation: u32,
        /// How long.
        within: std::time::Duration,
    },
}

/// Why apply failed, and what the host runs now.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The disk refused before anything was changed.
    #[error("the generation could not be kept on disk, so nothing was changed")]
    Disk(#[source] StateError),
    /// nft or the kernel refused the transaction; what was read afterwards is as before.
    #[error("the transaction failed")]
    Refused(#[source] NftError),
    /// The transaction failed, and what it came to is not known.
    #[error("the transaction failed, and what it came to is not known")]
    Unknown(#[source] NftError),
    /// The change could be neither kept nor taken back: it rules until its deadline.
    #[error("the transaction failed, and the change still waits")]
    StillWaits(#[source] NftError),
    /// What is left of a change that has ended could not be cleared away; no packet meets it.
    #[error("what is left of a change that has ended could not be cleared away")]
    LeftOver(#[source] NftError),
    /// The change is taken back, but the disk does not know it yet.
    #[error("generation {generation} is taken back, but the disk could not be told")]
    BackUnrecorded {
        /// The generation.
        generation: u32,
        /// Why.
        source: StateError,
    },
    /// The kernel could not be read.
    #[error("the rules in force could not be read: {state}")]
    Read {
        /// What the host runs now, as far as it is known.
        state: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel does not run what was planned; the change was taken back.
    #[error(
        "the kernel did not take the change as it was planned ({difference}); it was taken back, \
         and the rules from before are in force"
    )]
    TakenBack {
        /// The first difference.
        difference: String,
    },
    /// The kernel does not run what was planned, and the change could not be taken back.
    #[error(
        "the kernel did not take the change as it was planned ({difference}), and it could not be \
         taken back: look at `nft list table inet fwctl`"
    )]
    NotTakenBack {
        /// The first difference.
        difference: String,
        /// Why not.
        source: NftError,
    },
    /// The rules are in force, but the disk does not know it yet.
    #[error(
        "generation {generation} is in force, but the disk could not be told; the next fwctl \
         command mends that"
    )]
    Unrecorded {
        /// The generation.
        generation: u32,
        /// Why.
        source: StateError,
    },
    /// Our table is out, but the disk does not know it yet.
    #[error("fwctl's table is gone, but the disk could not be told: a reboot would load it again")]
    OffUnrecorded(#[source] StateError),
    /// Somebody made objects of ours anew, as something else.
    #[error("{} cannot stand beside the new rules: somebody changed it by hand", objects.join(", "))]
    InTheWay {
        /// Which.
        objects: Vec<String>,
    },
    /// There is nothing to confirm.
    #[error("{}", ended.map_or("no change waits to be confirmed".to_owned(), |(own, end)| end.says(own)))]
    NothingPending {
        /// What became of the change that was meant, where that is known.
        ended: Option<(u32, End)>,
    },
    /// Another change waits than the one that was meant.
    #[error("generation {wanted} does not wait to be confirmed: generation {pending} does")]
    AnotherPending {
        /// What was meant.
        wanted: u32,
        /// What waits.
        pending: u32,
    },
    /// What the disk should keep of the change is not there, or is not what it was.
    #[error(
        "what the disk keeps of generation {generation} is damaged: a reboot would lose the change"
    )]
    Damaged {
        /// The generation.
        generation: u32,
    },
}

/// Makes the planned change.
pub fn apply(
    lock: &Lock,
    guarded: GuardedPlan,
    policy: &Policy,
    terms: &Terms,
    state: &State,
    kernel: &dyn Kernel,
) -> Result<Applied, ApplyError> {
    let plan = guarded.into_plan();
    let installed = Installed {
        generation: plan.desired.generation,
        digest: plan.desired.digest.clone(),
        applied_at: kernel.now(),
        policy: policy.clone(),
        by: terms.by.clone(),
        message: terms.message.clone(),
        snapshot: terms.snapshot.clone(),
    };
    if plan.outcome == Outcome::Unchanged {
        return Ok(Applied::Unchanged);
    }
    // What starts here waits until the disk has all of it.
    kernel.get_ready();
    let before = read(kernel, "nothing was changed")?;
    let lasting = compile::lasting(&plan.table);
    let block = text::table(&lasting);
    let making = match (plan.edits.first(), &lasting) {
        // The text of a large table is not made twice.
        (Some(Edit::AddTable), Cow::Borrowed(_)) => Making::Whole(transaction::create(&block)),
        _ => Making::By(way(before.as_ref(), &plan.edits, &plan.table)),
    };
    match &making {
        Making::Whole(create) => kernel.hand_over(create),
        Making::By(Way::InPlace(steps)) => kernel.hand_over(steps.first()),
        Making::By(Way::Beside) => {}
    }
    // If we die here, nothing has changed: a generation that no kernel marker names is not used.
    state.write_generation_text(&installed, &block).map_err(ApplyError::Disk)?;
    match making {
        // If we die while nft runs, it commits the batch whole or not at all.
        Making::Whole(create) => {
            let made = |now: Option<&Table>| aftermath::same(now, Some(&plan.table));
            aftermath::run(kernel, &create, before.as_ref(), made)?;
        }
        Making::By(Way::InPlace(steps)) => {
            in_place(&steps, &plan, before.as_ref(), (state, kernel))?;
        }
        Making::By(Way::Beside) => pending::at_once(lock, &plan, terms, state, kernel)?,
    }
    // If we die here, the kernel runs the new table and names its generation; the next command
    // believes the kernel and corrects the disk.
    let id = kernel.generation().ok();
    let after = verify(&plan, before.as_ref(), kernel)?;
    let ruleset = id.filter(|id| kernel.generation().ok() == Some(*id));
    if let Some(generation) = ruleset {
        remember_sets(&Ruleset { generation, tables: vec![after] }, state);
    }
    let generation = installed.generation;
    let failed = |source| ApplyError::Unrecorded { generation, source };
    state.confirm(&installed).map_err(failed)?;
    state.forget_attempt().map_err(failed)?;
    Ok(Applied::InForce { generation, ruleset })
}

/// How a change is made.
enum Making {
    /// By this text, which makes the table where there is none.
    Whole(String),
    /// In the table that is there.
    By(Way),
}

/// Makes the edits where they belong.
fn in_place(
    steps: &Steps,
    plan: &Plan,
    before: Option<&Table>,
    (state, kernel): (&State, &dyn Kernel),
) -> Result<(), ApplyError> {
    let alone = steps.prepare.is_empty() && steps.clear.is_empty();
    if !alone {
        // If we die from here on, the next command clears away what nothing leads to.
        state.begin_in_place(plan.desired.generation).map_err(ApplyError::Disk)?;
    }
    if !steps.prepare.is_empty() {
        aftermath::run(kernel, &steps.prepare, before, |_| false)?;
    }
    // The one step that decides. If we die while nft runs, it commits the batch whole or not at
    // all.
    if let Err(source) = kernel.run(&steps.switch) {
        // What is left then is the table from before, or all of the new one.
        clear_unused(state, kernel)?;
        let made = |now: Option<&Table>| aftermath::same(now, Some(&plan.table));
        return aftermath::judge(kernel, source, before, made);
    }
    if !steps.clear.is_empty() {
        // Where it fails, what is read back is not what was planned.
        let _ = kernel.run(&steps.clear);
    }
    let generation = plan.desired.generation;
    state.end_in_place().map_err(|source| ApplyError::Unrecorded { generation, source })
}

/// Clears away what a change in place has left that was not made to its end.
fn clear_unused(state: &State, kernel: &dyn Kernel) -> Result<(), ApplyError> {
    if !state.in_place_begun() {
        return Ok(());
    }
    if let Some(live) = read(kernel, "what is left of a change was not cleared away")? {
        let transaction = transaction::text(&unused(&live), &live);
        if !transaction.is_empty() {
            kernel.run(&transaction).map_err(ApplyError::LeftOver)?;
        }
    }
    state.end_in_place().map_err(ApplyError::Disk)
}

/// Corrects the record where the kernel runs a generation that the disk does not name: fwctl died
/// between the kernel's commit and the record, and the kernel is believed.
///
/// Only who holds the lock corrects the disk; another may be between the two right now.
pub fn believe_the_kernel(
    snapshot: &mut Snapshot,
    state: &State,
    lock: Option<&Lock>,
) -> Result<(), StateError> {
    let without = beside::host_without(snapshot);
    let live = without.ruleset.table(Family::Inet, TABLE).and_then(marker::read);
    let Some(live) = live else { return Ok(()) };
    if snapshot.installed.as_ref().is_some_and(|installed| installed.digest == live.digest) {
        return Ok(());
    }
    let kept = state.read_generation(live.generation);
    let Some(kept) = kept.filter(|kept| kept.digest == live.digest) else { return Ok(()) };
    // If we die here, the next command does the same again.
    if lock.is_some() {
        state.confirm(&kept)?;
    }
    snapshot.installed = Some(kept);
    Ok(())
}

/// Takes our table out. Neighbours' tables are not touched.
pub fn off(_lock: &Lock, state: &State, kernel: &dyn Kernel) -> Result<bool, ApplyError> {
    let before = read(kernel, "nothing was changed")?;
    if before.is_some() {
        // If we die here or right behind, the table is gone whole or there whole; the disk may
        // still name a generation, which the next command finds out of force.
        let delete = format!("delete table inet {TABLE}\n");
        aftermath::run(kernel, &delete, before.as_ref(), |now| now.is_none())?;
    }
    state.unconfirm().map_err(ApplyError::OffUnrecorded)?;
    state.forget_attempt().map_err(ApplyError::OffUnrecorded)?;
    Ok(before.is_some())
}

/// Keeps large sets as they were read, so that they need not be dumped again while nothing
/// changes. Without that the next look is longer, nothing else.
pub fn remember_sets(ruleset: &Ruleset, state: &State) {
    if let Some(content) = stored::content(ruleset) {
        let _ = state.write_run_file(stored::FILE, &content);
    }
}

/// Compares what the kernel runs with what was planned, and takes the change back otherwise.
fn verify(plan: &Plan, before: Option<&Table>, kernel: &dyn Kernel) -> Result<Table, ApplyError> {
    let after = read(kernel, "the change was made, but what came of it is not known")?;
    let difference = match &after {
        Some(after) => diff::diff(Some(after), &plan.table).first().map(describe),
        None => Some("there is no table of ours".to_owned()),
    };
    let (difference, after) = match (difference, after) {
        (None, Some(after)) => return Ok(after),
        (difference, after) => (difference.unwrap_or_default(), after),
    };
    let undo = match (before, &after) {
        (None, Some(_)) => format!("delete table inet {TABLE}\n"),
        (None, None) => return Err(ApplyError::TakenBack { difference }),
        (Some(before), after) => transaction::text(&diff::diff(after.as_ref(), before), before),
    };
    match aftermath::run(kernel, &undo, after.as_ref(), |now| aftermath::same(now, before)) {
        Ok(()) => Err(ApplyError::TakenBack { difference }),
        Err(ApplyError::Refused(source) | ApplyError::Unknown(source)) => {
            Err(ApplyError::NotTakenBack { difference, source })
        }
        Err(error) => Err(error),
    }
}

fn read(kernel: &dyn Kernel, state: &'static str) -> Result<Option<Table>, ApplyError> {
    kernel.read_table().map_err(|source| ApplyError::Read { state, source })
}

/// A difference in words, for an error.
fn describe(edit: &Edit) -> String {
    match edit {
        Edit::AddTable => "the table is missing".to_owned(),
        Edit::Rebuild { objects } => format!("{} is something else", objects.join(", ")),
        Edit::AddSet { set } => format!("set {} is missing", set.name),
        Edit::AddChain { chain } => format!("chain {} is missing", chain.name),
        Edit::AddRule { chain, rule, .. } => format!(
            "chain {chain} lacks a rule ({})",
            rule.comment.as_deref().unwrap_or("without a comment")
        ),
        Edit::DeleteRule { chain, rule } => format!(
            "chain {chain} has a rule too many ({})",
            rule.comment.as_deref().unwrap_or("without a comment")
        ),
        Edit::AddElements { set, elements } => {
            format!("{} elements of {set} are missing", elements.len())
        }
        Edit::DeleteElements { set, elements } => {
            format!("{set} has {} elements too many", elements.len())
        }
        Edit::DeleteChain { chain } => format!("chain {} is too many", chain.name),
        Edit::DeleteSet { set } => format!("set {} is too many", set.name),
    }
}
