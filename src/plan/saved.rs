//! A plan in a file: made anywhere, reviewed, and applied as it is.
//!
//! It holds the policy and the plan that was shown. What is applied is planned anew on the host as
//! it is then; where that differs from what was shown, [`moved`](super::moved) says in what.

use super::Plan;
use crate::model::nft::Bytes;
use crate::policy::Policy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The value of `format` in a saved plan that this version writes.
pub const SAVED_FORMAT: &str = "fwctl.saved-plan/1";

/// A plan, and the policy that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// [`SAVED_FORMAT`].
    format: String,
    /// SHA-256 of all that follows, hexadecimal.
    sha256: String,
    /// The policy, whole.
    pub policy: Policy,
    /// What was shown.
    pub plan: Plan,
}

/// Why a file is no saved plan.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It is something else, or of another version.
    #[error("it is no plan that this fwctl has saved")]
    Foreign(#[source] Option<serde_json::Error>),
    /// It is not what was written.
    #[error("it is not what fwctl wrote: its SHA-256 is another one")]
    Altered,
}

impl Saved {
    /// A plan as it is shown now.
    pub fn new(policy: Policy, plan: Plan) -> Self {
        let sha256 = sum(&policy, &plan);
        Self { format: SAVED_FORMAT.to_owned(), sha256, policy, plan }
    }

    /// The text of the file.
    #[allow(clippy::missing_panics_doc, reason = "the invariant holds for every plan")]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("it has only string keys");
        text.push('\n');
        text
    }

    /// Reads the text of a file.
    pub fn from_json(text: &str) -> Result<Self, SavedError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let foreign = |error| SavedError::Foreign(Some(error));
        let head: Head = serde_json::from_str(text).map_err(foreign)?;
        if head.format != SAVED_FORMAT {
            return Err(SavedError::Foreign(None));
        }
        let saved: Self = serde_json::from_str(text).map_err(foreign)?;
        // Whoever edits a plan has not reviewed what it does.
        if saved.sha256 != sum(&saved.policy, &saved.plan) {
            return Err(SavedError::Altered);
        }
        Ok(saved)
    }
}

fn sum(policy: &Policy, plan: &Plan) -> String {
    let text = serde_json::to_vec(&(policy, plan)).expect("they have only string keys");
    Bytes::from(&Sha256::digest(&text)[..]).to_string()
}
