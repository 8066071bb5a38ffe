//! What fwctl itself has done on the host: the generation in force, and what became of the last
//! change.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What fwctl itself has put on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The number of the confirmed generation.
    pub generation: u32,
    /// Its digest: SHA-256 of its table's text, hexadecimal.
    pub digest: String,
    /// When it was applied.
    pub applied_at: jiff::Timestamp,
    /// The policy that it came from.
    pub policy: crate::policy::Policy,
    /// Who applied it.
    #[serde(default)]
    pub by: Option<By>,
    /// Why, in that person's words.
    #[serde(default)]
    pub message: Option<String>,
    /// SHA-256 of the snapshot of the host for which it was made, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The user who logged in, whatever user the command ran as.
    pub user: String,
    /// From where, over SSH; `None` at the console or where it is not known.
    #[serde(default)]
    pub from: Option<IpAddr>,
}

/// A change that was, or is, to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its generation.
    pub generation: u32,
    /// The digest of the table that it leads to; `None` where it takes our table out.
    pub digest: Option<String>,
    /// When it began to rule.
    pub armed_at: jiff::Timestamp,
    /// For how many seconds unless it is confirmed.
    pub within: u64,
    /// Who made it.
    #[serde(default)]
    pub by: Option<By>,
    /// Why, in that person's words.
    #[serde(default)]
    pub message: Option<String>,
    /// Whether connections that it denies are closed once it is confirmed.
    #[serde(default)]
    pub cut: bool,
    /// How it ended; `None` while it is pending, and where that is not recorded yet.
    #[serde(default)]
    pub end: Option<End>,
}

impl Attempt {
    /// When the kernel forgets it, by the clock of `armed_at`. The kernel itself counts time from
    /// boot, which nobody sets.
    pub fn deadline(&self) -> jiff::Timestamp {
        let within = jiff::SignedDuration::from_secs(i64::try_from(self.within).unwrap_or(0));
        self.armed_at.checked_add(within).unwrap_or(self.armed_at)
    }
}

/// How and when a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub how: How,
    /// When.
    pub at: jiff::Timestamp,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was confirmed.
    Kept,
    /// Somebody took it back.
    RolledBack,
    /// Nobody confirmed it in time.
    Expired,
    /// The kernel has no trace of it: the host was booted anew, somebody flushed the ruleset, or
    /// it never began.
    Lost,
}

impl End {
    /// What became of this generation, in a sentence.
    pub fn says(self, generation: u32) -> String {
        let at = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        match self.how {
            How::Kept => format!("generation {generation} was confirmed at {at}"),
            How::RolledBack => format!("generation {generation} was taken back at {at}"),
            How::Expired => format!(
                "generation {generation} was not confirmed by {at}: since then the rules from \
                 before it rule again"
            ),
            How::Lost => format!(
                "generation {generation} was lost before it was confirmed (a reboot, or somebody \
                 flushed the ruleset)"
            ),
        }
    }
}
