//! Generations on disk → rules in force: at boot, and whenever somebody took our table away.
//!
//! Loaded is `table.nft`, the text that was kept when the generation was applied, once its digest
//! has been checked: it needs no Docker, network, DNS or policy file. Where a table of ours is in
//! force, and the policy compiles here and now to the very same, it is changed in place; else it is
//! replaced in one transaction. What is damaged, or what the kernel refuses, is passed over for the
//! newest generation that was confirmed before, and in the end for SSH alone: never wide open,
//! never locked out.

use super::kernel::Kernel;
use super::nft::NftError;
use super::ssh_only::{self, SSH_ONLY};
use super::{Damage, Lock, Sound, State};
use crate::compile::{self, Carried, Environment, TABLE, compile};
use crate::model::nft::Table;
use crate::observe::Installed;
use crate::plan::{Marker, diff, marker, transaction};
use std::collections::BTreeSet;

/// What the last resort has to know of the host.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// What rules must name.
    pub environment: Environment,
    /// Where sshd is meant to listen.
    pub ssh_ports: BTreeSet<u16>,
}

/// What restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Restored {
    /// What is in force now.
    pub outcome: Outcome,
    /// What should have been loaded instead, and why it was not; the first is the worst.
    pub passed_over: Vec<String>,
}

/// What is in force after a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was ever confirmed, or fwctl is off: nothing was done.
    NothingConfirmed,
    /// This generation was in force already.
    InForce(u32),
    /// This generation was loaded.
    Loaded(u32),
    /// SSH at these ports, and what is established: nothing better could be loaded.
    SshOnly(BTreeSet<u16>),
}

/// Nothing could be put in force.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The kernel could not be read.
    #[error("the rules in force could not be read")]
    Read(#[source] std::io::Error),
    /// Even the last resort was refused.
    #[error("neither a generation nor SSH alone could be loaded")]
    Refused {
        /// What was passed over.
        passed_over: Vec<String>,
        /// Why the last resort was refused.
        source: NftError,
    },
}

/// Puts the confirmed generation in force.
///
/// If we die before a transaction, the rules are those from before; behind it, they are restored.
pub fn restore(
    _lock: &Lock,
    state: &State,
    kernel: &dyn Kernel,
    ground: &Ground,
) -> Result<Restored, RestoreError> {
    let mut passed_over = Vec::new();
    let confirmed = match state.confirmed() {
        Ok(None) => return Ok(Restored { outcome: Outcome::NothingConfirmed, passed_over }),
        Ok(Some(confirmed)) => Some(confirmed),
        Err(damage) => {
            passed_over.push(format!("which generation is confirmed is not known: {damage}"));
            None
        }
    };
    let live_table = kernel.read_table().map_err(RestoreError::Read)?;
    // A dormant table filters nothing, whatever its marker says.
    let live = live_table.as_ref().filter(|table| !table.dormant).and_then(marker::read);
    if let (Some(live), Some(confirmed)) = (&live, &confirmed)
        && *live == marker_of(confirmed)
    {
        if let Err(damage) = state.sound_generation(live.generation) {
            passed_over.push(format!(
                "generation {} is in force, but a reboot could not load it: {damage}",
                live.generation
            ));
        }
        return Ok(Restored { outcome: Outcome::InForce(live.generation), passed_over });
    }
    for number in candidates(confirmed.as_ref(), live.as_ref(), &state.once_confirmed()) {
        let why = match sound(state, number, confirmed.as_ref()) {
            Ok(kept) if live.as_ref() == Some(&marker_of(&kept.installed)) => {
                return Ok(Restored { outcome: Outcome::InForce(number), passed_over });
            }
            Ok(kept) => {
                match kernel.run(&loading(&kept, live_table.as_ref(), &ground.environment)) {
                    Ok(()) => {
                        return Ok(Restored { outcome: Outcome::Loaded(number), passed_over });
                    }
                    // Killed behind the kernel's commit, nft fails although all is well.
                    Err(_) if runs(kernel, &kept) => {
                        return Ok(Restored { outcome: Outcome::Loaded(number), passed_over });
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(damage) => damage.to_string(),
        };
        passed_over.push(format!("generation {number} was passed over: {why}"));
    }
    let table = ssh_only::table(&ground.ssh_ports, &ground.environment);
    let is_there = live.as_ref().is_some_and(|live| live.generation == SSH_ONLY);
    let edits = diff::diff(live_table.as_ref(), &table);
    if !(is_there && edits.is_empty())
        && let Err(source) = kernel.run(&transaction::text(&edits, &table))
    {
        return Err(RestoreError::Refused { passed_over, source });
    }
    Ok(Restored { outcome: Outcome::SshOnly(ground.ssh_ports.clone()), passed_over })
}

/// Whether the kernel runs this generation now.
fn runs(kernel: &dyn Kernel, kept: &Sound) -> bool {
    let now = kernel.read_table().ok().flatten().filter(|table| !table.dormant);
    now.as_ref().and_then(marker::read) == Some(marker_of(&kept.installed))
}

fn marker_of(installed: &Installed) -> Marker {
    Marker { generation: installed.generation, digest: installed.digest.clone() }
}

/// The generations to try, in this order: the confirmed one; where it is not known, the one in
/// force; then those that were confirmed before, the newest first. One that never was confirmed is
/// none of them: it may have been taken back for a reason.
fn candidates(
    confirmed: Option<&Installed>,
    live: Option<&Marker>,
    once_confirmed: &[u32],
) -> Vec<u32> {
    let first = match confirmed {
        Some(confirmed) => Some(confirmed.generation),
        None => live.map(|live| live.generation).filter(|live| once_confirmed.contains(live)),
    };
    let others = once_confirmed.iter().rev().copied().filter(|number| Some(*number) != first);
    first.into_iter().chain(others).collect()
}

/// A generation as it was written; where the record of the confirmed one is another's, it is none.
fn sound(state: &State, number: u32, confirmed: Option<&Installed>) -> Result<Sound, Damage> {
    let kept = state.sound_generation(number)?;
    match confirmed {
        Some(confirmed)
            if confirmed.generation == number && confirmed.digest != kept.installed.digest =>
        {
            Err(Damage::Broken(state.root().join(crate::observe::CONFIRMED)))
        }
        _ => Ok(kept),
    }
}

/// The transaction that puts a generation in force.
fn loading(kept: &Sound, live: Option<&Table>, environment: &Environment) -> String {
    let Some(live) = live else { return format!("create table inet {TABLE}\n{}", kept.table) };
    if let Some(table) = compiled(&kept.installed, live, environment) {
        return transaction::text(&diff::diff(Some(live), &table), &table);
    }
    // Not seamless: a packet may be dropped meanwhile, as the kernel takes the old maps away first.
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n{}", kept.table)
}

/// The generation's table, where its policy still compiles to what was kept.
fn compiled(installed: &Installed, live: &Table, environment: &Environment) -> Option<Table> {
    let environment = Environment { carried: Carried::in_table(live), ..environment.clone() };
    let mut table = compile(&installed.policy, &environment).ok()?;
    if compile::digest(&table) != installed.digest {
        return None;
    }
    table.chains.push(marker::chain(&marker_of(installed)));
    Some(table)
}

/// Whether somebody took our table away: it is not there, is switched off, or no rule is left in it.
pub fn is_gone(table: Option<&Table>) -> bool {
    table.is_none_or(|table| {
        table.dormant || table.chains.iter().all(|chain| chain.rules.is_empty())
    })
}

#[cfg(test)]
mod tests;
