//! What was seen when nothing had to be changed, so that the next look can be short.
//!
//! The kernel counts every committed transaction of a network namespace. While the count, the
//! policy's files and what the table names of the host are the same, the rules in force are what
//! they were. The file lies below `/run`: a reboot forgets it.

use super::state::{State, StateError};
use crate::compile::Environment;
use crate::model::nft::Bytes;
use crate::observe::nft::stored;
use crate::policy::Policy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FILE: &str = "seen.json";

/// What an unchanged host looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The version of fwctl, which decides what a policy compiles to.
    version: String,
    /// The running kernel's boot, and the network namespace.
    place: String,
    /// The kernel's generation id of the ruleset.
    ruleset: u32,
    /// SHA-256 of the policy's files and of what the table names of the host.
    inputs: String,
    /// The generation in force.
    pub generation: u32,
}

impl Seen {
    /// What is to be seen here and now; `ruleset` is the kernel's generation id.
    pub fn now(
        policy: &Policy,
        environment: &Environment,
        ruleset: u32,
        generation: u32,
    ) -> std::io::Result<Self> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            place: stored::place()?,
            ruleset,
            inputs: inputs(policy, environment),
            generation,
        })
    }

    /// The record; `None` where there is none that can be read.
    pub fn read(state: &State) -> Option<Self> {
        let text = std::fs::read(state.run_file(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether nothing has changed since the record was made.
    pub fn still_holds(&self, now: &Self) -> bool {
        Self { generation: now.generation, ..self.clone() } == *now
    }

    /// Makes the record.
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        let text = serde_json::to_vec(self).expect("it has only string keys");
        state.write_run_file(FILE, &text)
    }
}

fn inputs(policy: &Policy, environment: &Environment) -> String {
    let mut hash = Sha256::new();
    for source in &policy.sources {
        hash.update(format!("{} {}\n", source.name, source.sha256));
    }
    // Connections that are carried over are what they are; they do not change what is right.
    let Environment {
        uplink_bridges,
        default_route_interfaces,
        vrf_ports,
        vrf_bridges,
        networks,
        carried: _,
    } = environment;
    hash.update(format!("{uplink_bridges:?} {default_route_interfaces:?} {networks:?}"));
    hash.update(format!("{vrf_ports:?} {vrf_bridges:?}"));
    Bytes::from(&hash.finalize()[..]).to_string()
}
