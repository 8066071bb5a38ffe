//! Exit codes: a contract with scripts.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing to change, all holds.
    Done,
    /// It failed; the message says in which state the host is, and the next command.
    Failed,
    /// The command line is wrong.
    Usage,
    /// `plan --detailed-exitcode`: there are changes.
    Changes,
    /// The guard refused.
    GuardRefused,
    /// An expectation of the policy does not hold.
    Violated,
    /// Rolled back, or confirmed too late.
    RolledBack,
    /// The host is not as it was when the plan was saved.
    Stale,
    /// Another change is pending or in progress.
    Busy,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Changes => 3,
            Self::GuardRefused => 4,
            Self::Violated => 5,
            Self::RolledBack => 6,
            Self::Stale => 7,
            Self::Busy => 8,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
