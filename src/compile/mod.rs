//! [`Policy`] + [`Environment`] → the desired `table inet fwctl`.
//!
//! In: a resolved policy, and the little of the host that rules must name (bridges that carry an
//! uplink, interfaces of container networks, connections to carry over). Out: a table that
//! `nft(8)` loads, in which every rule says which line of the policy it came from. Pure, and the
//! same for the same inputs.
//!
//! The table looks a port up first, and asks for sources then:
//!
//! ```text
//! input    established? → loopback? → protocol map ─┬ dialled port map → chain of the port → default
//! forward  established? → from a container? → to a container? ─┘
//! ```
//!
//! Ports with the same rules share one chain, so the cost of a packet depends on how many rules
//! speak of *its* port, never on how many ports, rules or prefixes there are. All sets and maps
//! are named: what is read back can then be compared without guessing.

mod base;
mod class;
mod classes;
mod comment;
mod dispatch;
mod draft;
mod environment;
mod error;
mod essential;
mod limits;
mod prefix_sets;
mod sources;

pub use environment::{CARRIED_SETS, Carried, Environment};
pub use error::CompileError;

use crate::model::nft::{Bytes, Rule, Statement, Table, Verdict};
use crate::policy::Policy;
use draft::Draft;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The name of our table, of family inet.
pub const TABLE: &str = "fwctl";

/// The priority of our base chains: just before `filter` (0), so that what we drop is dropped
/// whatever a neighbour accepts, and what we accept is still a neighbour's to drop.
pub const PRIORITY: i32 = -10;

/// The chain without a hook that carries the generation and digest in a rule's comment. (A
/// table's own comment cannot be changed in place.)
pub const MARKER_CHAIN: &str = "generation";

/// The table that enforces the policy on a host with this environment, without its marker.
pub fn compile(policy: &Policy, environment: &Environment) -> Result<Table, Vec<CompileError>> {
    error::check(policy, environment)?;
    let mut draft = Draft::new(policy, environment);
    base::chains(&mut draft);
    Ok(draft.finish())
}

/// What identifies a table's content: SHA-256 of all that the policy decides in it, hexadecimal.
/// Connections that are carried over do not count; they run out by themselves.
pub fn digest(table: &Table) -> String {
    let table = lasting(table);
    let text = serde_json::to_vec(&*table).expect("a table has only string keys");
    Bytes::from(&Sha256::digest(&text)[..]).to_string()
}

/// The table without what is of its moment: connections that are carried over. This is what a
/// reboot finds again.
pub fn lasting(table: &Table) -> Cow<'_, Table> {
    let is_carried = |name: &str| name.starts_with("carried_");
    let is_jump = |rule: &Rule| {
        rule.statements.iter().any(|statement| match statement {
            Statement::Verdict(Verdict::Jump(target)) => is_carried(target),
            _ => false,
        })
    };
    let carries = table.sets.iter().any(|set| is_carried(&set.name))
        || table
            .chains
            .iter()
            .any(|chain| is_carried(&chain.name) || chain.rules.iter().any(is_jump));
    if !carries {
        return Cow::Borrowed(table);
    }
    let mut table = table.clone();
    table.sets.retain(|set| !is_carried(&set.name));
    table.chains.retain(|chain| !is_carried(&chain.name));
    for chain in &mut table.chains {
        chain.rules.retain(|rule| !is_jump(rule));
    }
    Cow::Owned(table)
}
