//! A change that waits → confirmed by itself, once the one who made it has logged in anew from
//! outside.
//!
//! Such a login shows that the way in is open under the new rules: the connection was opened after
//! the change was armed, and somebody has authenticated on it. A connection that was open before,
//! or was being opened, never counts, so neither does a further session on it (a shared
//! connection, `ControlMaster`); nor one that has not got as far as a login, one from the host
//! itself, or one from its containers.
//!
//! Where this process dies, nobody confirms, and the kernel takes the change back.

use super::{State, StateError};
use crate::compile::Environment;
use crate::model::IfaceName;
use crate::observe::{self, LinkKind, Login, Logins, Network};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

const FILE: &str = "reconnect.json";

/// Who waits for a login; for the command that started it, and for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The generation that the login confirms.
    pub generation: u32,
    /// Whose.
    pub user: String,
    /// The process that waits.
    pub process: u32,
}

impl Waiting {
    /// The record; `None` where there is none that can be read.
    pub fn read(state: &State) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(state.run_file(FILE)).ok()?).ok()
    }

    /// Makes the record.
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        let text = serde_json::to_vec(self).expect("it has only string keys");
        state.write_run_file(FILE, &text)
    }

    /// Takes it away.
    pub fn forget(state: &State) {
        // One that is left names a process that is gone.
        let _ = std::fs::remove_file(state.run_file(FILE));
    }
}

/// Waits for a user's login.
#[derive(Debug)]
pub struct Reconnect {
    user: String,
    logins: Logins,
}

impl Reconnect {
    /// Begins to wait for this user. The change is armed already: whatever is open now may have
    /// been opened before.
    pub fn begin(user: String) -> std::io::Result<Self> {
        Ok(Self { user, logins: Logins::begin().map_err(std::io::Error::other)? })
    }

    /// Looks for connections that have come since.
    pub fn listen(&mut self) -> std::io::Result<()> {
        self.logins.listen().map_err(std::io::Error::other)
    }

    /// The login that confirms, if there is one by now.
    pub fn look(&mut self) -> std::io::Result<Option<Login>> {
        let logins = self.logins.look();
        if logins.is_empty() {
            return Ok(None);
        }
        let network = observe::network().map_err(std::io::Error::other)?;
        Ok(logins.into_iter().find(|login| counts(login, &self.user, &network)))
    }

    /// Whether somebody may be about to log in.
    pub fn is_anybody_there(&self) -> bool {
        self.logins.is_anybody_there()
    }
}

/// Whether the login is that user's, and comes from outside.
fn counts(login: &Login, user: &str, network: &Network) -> bool {
    let from = login.from.ip().to_canonical();
    login.user == user && !from.is_loopback() && !is_inside(from, network)
}

/// Whether it is the host itself, or one of its containers.
fn is_inside(from: IpAddr, network: &Network) -> bool {
    let own = network.links.iter().flat_map(|link| &link.addresses);
    if own.map(|own| own.address).any(|own| own == from) {
        return true;
    }
    let uplinks = Environment::of_links(&network.links, &network.routes).uplink_bridges;
    let bridge = |name: &IfaceName| {
        network.links.iter().any(|l| l.name == *name && l.kind == LinkKind::Bridge)
    };
    observe::routing::interface_to(&network.routes, from)
        .is_some_and(|name| bridge(name) && !uplinks.contains(name))
}
