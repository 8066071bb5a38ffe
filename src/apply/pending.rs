//! A change that the kernel takes back unless it is confirmed.
//!
//! In: a guarded plan, and for how long it may rule unconfirmed. Out: it rules beside the rules in
//! force, and the kernel's own clock runs. From then on nothing of ours needs to live: no process,
//! no terminal, no disk. Whatever a command that dies leaves behind, the next one that holds the
//! lock puts right ([`settle`]), and where the disk and the kernel disagree it believes the kernel.

use super::{Applied, ApplyError, Kernel, Lock, NftError, State, StateError, describe, read};
use crate::guard::GuardedPlan;
use crate::model::nft::Table;
use crate::observe::{Attempt, By, End, How, Installed};
use crate::plan::pending::{self, Change, Pending, Phase};
use crate::plan::{Outcome, Plan, diff};
use crate::policy::Policy;
use std::time::Duration;

/// How long the kernel waits for us where a change is kept at once.
const AT_ONCE: Duration = Duration::from_secs(300);

/// Who makes a change, why, and how long it waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Who.
    pub by: Option<By>,
    /// Why.
    pub message: Option<String>,
    /// The digest of the host's snapshot.
    pub snapshot: Option<String>,
    /// For how long it may rule unconfirmed; `None`: it is kept at once.
    pub within: Option<Duration>,
    /// Whether connections that it denies are closed once it is kept.
    pub cut: bool,
}

/// What was found to be going on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A change rules, and waits to be confirmed.
    Waiting {
        /// Its generation.
        generation: u32,
        /// How long it still rules.
        left: Duration,
    },
    /// A change had ended, and that is recorded and cleared away now.
    Ended {
        /// Its generation.
        generation: u32,
        /// How and when; the deadline, where nobody confirmed it.
        end: End,
    },
}

/// Puts a change in force until the kernel forgets it.
pub fn arm(
    _lock: &Lock,
    guarded: GuardedPlan,
    policy: &Policy,
    (terms, within): (&Terms, Duration),
    state: &State,
    kernel: &dyn Kernel,
) -> Result<Applied, ApplyError> {
    let plan = guarded.into_plan();
    if plan.outcome == Outcome::Unchanged {
        return Ok(Applied::Unchanged);
    }
    let generation = plan.desired.generation;
    let installed = Installed {
        generation,
        digest: plan.desired.digest.clone(),
        applied_at: kernel.now(),
        policy: policy.clone(),
        by: terms.by.clone(),
        message: terms.message.clone(),
        snapshot: terms.snapshot.clone(),
    };
    kernel.get_ready();
    // If we die here, nothing has changed: a generation that no kernel marker names is not used.
    state.write_generation(&installed, &plan.table).map_err(ApplyError::Disk)?;
    let digest = Some(plan.desired.digest);
    load((generation, digest), Some(&plan.table), (terms, within), state, kernel)
}

/// Makes a change by leading packets to all of it at once, as if it were confirmed right away: for
/// what cannot be made in place without a packet seeing a mixture.
///
/// If we die meanwhile, the kernel takes it back, or the next command finishes it.
pub(super) fn at_once(
    lock: &Lock,
    plan: &Plan,
    terms: &Terms,
    state: &State,
    kernel: &dyn Kernel,
) -> Result<(), ApplyError> {
    let own = (plan.desired.generation, Some(plan.desired.digest.clone()));
    let _ = load(own, Some(&plan.table), (terms, AT_ONCE), state, kernel)?;
    keep(lock, Some(plan.desired.generation), state, kernel)?;
    Ok(())
}

/// Lets everything pass until the kernel forgets it; taking our table out comes when it is kept.
pub fn arm_off(
    _lock: &Lock,
    generation: u32,
    (terms, within): (&Terms, Duration),
    state: &State,
    kernel: &dyn Kernel,
) -> Result<Applied, ApplyError> {
    load((generation, None), None, (terms, within), state, kernel)
}

fn load(
    (generation, digest): (u32, Option<String>),
    desired: Option<&Table>,
    (terms, within): (&Terms, Duration),
    state: &State,
    kernel: &dyn Kernel,
) -> Result<Applied, ApplyError> {
    kernel.get_ready();
    let before = read(kernel, "nothing was changed")?;
    let arming = pending::arm(before.as_ref(), desired, generation, within)
        .map_err(|objects| ApplyError::InTheWay { objects })?;
    kernel.hand_over(&arming.beside);
    let attempt = Attempt {
        generation,
        digest,
        armed_at: kernel.now(),
        within: within.as_secs(),
        by: terms.by.clone(),
        message: terms.message.clone(),
        cut: terms.cut,
        end: None,
    };
    // If we die here, the disk speaks of a change that the kernel has no trace of; the next
    // command finds that it never ruled.
    state.write_attempt(&attempt).map_err(ApplyError::Disk)?;
    // If we die while nft runs, or behind it, nothing leads to what is there; the next command
    // clears it away.
    if let Err(error) = kernel.run(&arming.beside) {
        return Err(not_armed(error, state, kernel));
    }
    // If we die while nft runs, it commits the batch whole or not at all; in both cases the rules
    // from before rule no later than at the deadline.
    if let Err(error) = kernel.run(&arming.armed) {
        return Err(not_armed(error, state, kernel));
    }
    // If we die here or later, the kernel forgets the change at its deadline, unless somebody
    // confirms it.
    let after = read(kernel, "the change rules until its deadline, unless it is confirmed")?;
    let difference = match &after {
        Some(after) => diff::diff(Some(after), &arming.table).first().map(describe),
        None => Some("there is no table of ours".to_owned()),
    };
    let Some(difference) = difference else { return Ok(Applied::Pending { generation, within }) };
    match take_back(state, kernel) {
        Ok(()) => Err(ApplyError::TakenBack { difference }),
        Err(ApplyError::StillWaits(source)) => Err(ApplyError::NotTakenBack { difference, source }),
        Err(error) => Err(error),
    }
}

/// A change that could not be armed: whatever of it the kernel took all the same goes again.
fn not_armed(error: NftError, state: &State, kernel: &dyn Kernel) -> ApplyError {
    match clear_away(kernel) {
        Ok(()) => {
            let _ = state.forget_attempt();
            ApplyError::Refused(error)
        }
        // Where it is armed after all, the record stays: the kernel takes it back.
        Err(ApplyError::LeftOver(_)) => ApplyError::Refused(error),
        Err(other) => other,
    }
}

/// Sees what is going on, finishes what a command that died had begun, and clears away what the
/// kernel has forgotten.
pub fn settle(_lock: &Lock, state: &State, kernel: &dyn Kernel) -> Result<Found, ApplyError> {
    super::clear_unused(state, kernel)?;
    let attempt = state.read_attempt().filter(|attempt| attempt.end.is_none());
    let live = read(kernel, "nothing was changed")?;
    let Some((live, found)) = live.and_then(|live| pending::read(&live).map(|found| (live, found)))
    else {
        // The kernel has no trace of it.
        let Some(attempt) = attempt else { return Ok(Found::Nothing) };
        let end = End { how: How::Lost, at: kernel.now() };
        return ended(attempt.generation, end, state);
    };
    let generation = found.generation;
    match found.phase {
        Phase::Armed { left } => {
            Ok(Found::Waiting { generation, left: Duration::from_millis(left) })
        }
        Phase::Kept => {
            let end = finish(&live, &found, state, kernel)?;
            Ok(Found::Ended { generation, end })
        }
        Phase::Detached if found.change == Some(Change::Off) && pending::off_was_kept(&live) => {
            let end = finish(&live, &found, state, kernel)?;
            Ok(Found::Ended { generation, end })
        }
        Phase::Expired | Phase::Detached => {
            let told = state.read_attempt().filter(|own| own.generation == generation);
            let (how, at) = match (&told, found.phase) {
                (Some(Attempt { end: Some(end), .. }), _) => (end.how, end.at),
                (Some(attempt), Phase::Expired) => (How::Expired, attempt.deadline()),
                (None, Phase::Expired) => (How::Expired, kernel.now()),
                _ => (How::RolledBack, kernel.now()),
            };
            // The record first: once it is cleared away, nobody could tell how it ended. If we die
            // here, the rules from before rule, and the next command does the same again.
            let end = End { how, at };
            let told_now = ended(generation, end, state);
            clear_away(kernel)?;
            if attempt.is_none() && found.phase == Phase::Detached {
                return Ok(Found::Nothing);
            }
            told_now
        }
    }
}

fn ended(generation: u32, end: End, state: &State) -> Result<Found, ApplyError> {
    let failed = |source| ApplyError::BackUnrecorded { generation, source };
    state.end_attempt(generation, end).map_err(failed)?;
    Ok(Found::Ended { generation, end })
}

/// Keeps the change that waits; with `generation`, only that one.
pub fn keep(
    lock: &Lock,
    generation: Option<u32>,
    state: &State,
    kernel: &dyn Kernel,
) -> Result<u32, ApplyError> {
    let live = read(kernel, "nothing was changed")?;
    let found = live.as_ref().and_then(pending::read);
    let (Some(live), Some(found)) = (live, found) else {
        return Err(nothing_waits(generation, &settle(lock, state, kernel)?, state));
    };
    let Phase::Armed { .. } = found.phase else {
        return Err(nothing_waits(generation, &settle(lock, state, kernel)?, state));
    };
    if let Some(wanted) = generation.filter(|wanted| *wanted != found.generation) {
        return Err(ApplyError::AnotherPending { wanted, pending: found.generation });
    }
    let desired = match &found.change {
        Some(Change::Off) => None,
        Some(Change::Table(_)) => {
            kept(&found, state)?;
            Some(pending::leads_to(&live, &found))
        }
        None => {
            let objects = vec![format!("the marker of generation {}", found.generation)];
            return Err(ApplyError::InTheWay { objects });
        }
    };
    // The one step that decides. If we die while nft runs, the kernel has kept the change or will
    // forget it; it cannot keep one that it has forgotten, because what is gone cannot be deleted.
    if let Err(error) = kernel.run(&pending::keep(&live, &found, desired.as_ref())) {
        let now = read(kernel, "whether the change is confirmed is not known")?;
        let now = now.as_ref().and_then(pending::read);
        match now.filter(|now| now.generation == found.generation).map(|now| now.phase) {
            // It was kept, whatever nft says.
            Some(Phase::Kept) => {}
            Some(Phase::Armed { .. }) => return Err(ApplyError::StillWaits(error)),
            Some(Phase::Expired | Phase::Detached) | None => {
                return Err(nothing_waits(generation, &settle(lock, state, kernel)?, state));
            }
        }
    }
    // If we die here, the change rules for good; the next command records it and clears away.
    let live = read(kernel, "the change is confirmed")?;
    if let Some(live) = &live {
        finish(live, &found, state, kernel)?;
    }
    Ok(found.generation)
}

/// Says what became of the change that was meant.
pub fn nothing_waits(generation: Option<u32>, found: &Found, state: &State) -> ApplyError {
    let ended = match *found {
        Found::Ended { generation, end } => Some((generation, end)),
        Found::Nothing | Found::Waiting { .. } => {
            state.read_attempt().and_then(|last| Some((last.generation, last.end?)))
        }
    };
    let meant = |own: u32| generation.is_none_or(|wanted| wanted == own);
    ApplyError::NothingPending { ended: ended.filter(|(own, _)| meant(*own)) }
}

/// What the disk knows of a pending change; without it the change would be lost at the next boot.
fn kept(found: &Pending, state: &State) -> Result<Installed, ApplyError> {
    let kept = state.sound_generation(found.generation).map(|kept| kept.installed).ok();
    let wanted = match &found.change {
        Some(Change::Table(digest)) => Some(digest),
        Some(Change::Off) | None => None,
    };
    kept.filter(|kept| Some(&kept.digest) == wanted)
        .ok_or(ApplyError::Damaged { generation: found.generation })
}

/// Records a change that the kernel keeps, and clears away what made it pending.
fn finish(
    live: &Table,
    found: &Pending,
    state: &State,
    kernel: &dyn Kernel,
) -> Result<End, ApplyError> {
    let generation = found.generation;
    let failed = |source| ApplyError::Unrecorded { generation, source };
    let end = End { how: How::Kept, at: kernel.now() };
    if found.change == Some(Change::Off) {
        state.unconfirm().map_err(ApplyError::OffUnrecorded)?;
        state.end_attempt(generation, end).map_err(ApplyError::OffUnrecorded)?;
        // If we die here, everything passes already; the next command takes the table out.
        kernel.run(&pending::take_out(live)).map_err(ApplyError::LeftOver)?;
        let delete = format!("delete table inet {}\n", crate::compile::TABLE);
        kernel.run(&delete).map_err(ApplyError::LeftOver)?;
        return Ok(end);
    }
    state.confirm(&kept(found, state)?).map_err(failed)?;
    state.end_attempt(generation, end).map_err(failed)?;
    // If we die here, both ways through the table lead to the same rules; the next command clears
    // away.
    clear_away(kernel)?;
    Ok(end)
}

/// Takes back the change that waits, and says which it was; `None` where none waits any more.
pub fn roll_back(
    lock: &Lock,
    state: &State,
    kernel: &dyn Kernel,
) -> Result<Option<u32>, ApplyError> {
    match settle(lock, state, kernel)? {
        Found::Waiting { generation, .. } => {
            take_back(state, kernel)?;
            Ok(Some(generation))
        }
        Found::Nothing | Found::Ended { .. } => Ok(None),
    }
}

fn take_back(state: &State, kernel: &dyn Kernel) -> Result<(), ApplyError> {
    let Some(live) = read(kernel, "the change rules until its deadline")? else { return Ok(()) };
    let found = pending::read(&live);
    let detach = pending::detach(&live);
    if !detach.is_empty() {
        // If we die while nft runs, the rules from before rule at once or at the deadline.
        detached(&detach, kernel)?;
    }
    let told = found.map_or(Ok(()), |found| {
        let end = End { how: How::RolledBack, at: kernel.now() };
        state.end_attempt(found.generation, end).map_err(|source| (found.generation, source))
    });
    // If we die here, nothing leads to what is left; the next command clears it away.
    clear_away(kernel)?;
    told.map_err(|(generation, source): (u32, StateError)| ApplyError::BackUnrecorded {
        generation,
        source,
    })
}

/// Makes the transaction after which nothing leads to the change any more. Where nft fails, the
/// kernel is asked.
fn detached(transaction: &str, kernel: &dyn Kernel) -> Result<(), ApplyError> {
    let Err(source) = kernel.run(transaction) else { return Ok(()) };
    let Ok(now) = kernel.read_table() else { return Err(ApplyError::Unknown(source)) };
    match now.as_ref().and_then(pending::read).map(|found| found.phase) {
        Some(Phase::Armed { .. }) => Err(ApplyError::StillWaits(source)),
        Some(Phase::Kept | Phase::Expired) => Err(ApplyError::LeftOver(source)),
        Some(Phase::Detached) | None => Ok(()),
    }
}

/// First nothing leads to it, then it goes: a packet that is under way finds all that it looks up.
fn clear_away(kernel: &dyn Kernel) -> Result<(), ApplyError> {
    let state = "what is left of a change was not cleared away";
    let Some(live) = read(kernel, state)? else { return Ok(()) };
    let detach = pending::detach(&live);
    if !detach.is_empty() {
        detached(&detach, kernel)?;
    }
    let Some(live) = read(kernel, state)? else { return Ok(()) };
    if pending::is_there(&live)
        && let Err(source) = kernel.run(&pending::sweep(&live))
    {
        let now = read(kernel, state)?;
        if now.as_ref().is_some_and(pending::is_there) {
            return Err(ApplyError::LeftOver(source));
        }
    }
    Ok(())
}
