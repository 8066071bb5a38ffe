//! What every command that changes the rules shares: its flags, who runs it, and what must be
//! settled before it begins.

use super::inputs::UNTOUCHED;
use super::{Exit, failure::Failure, output};
use crate::apply::{self, ApplyError, Found, Kernel, Lock, State, Terms, pending};
use crate::observe::{By, Snapshot};
use std::time::Duration;

/// The bounds of `--confirm-within`, as those of the policy's `confirm_within`.
const BOUNDS: (u64, u64) = (10, 3600);

/// How a change is made.
#[derive(Debug, Clone, clap::Args)]
pub struct Confirmation {
    /// Keep the change at once, without waiting to be confirmed; the guard still stands
    #[arg(long, conflicts_with = "confirm_within")]
    pub no_confirm: bool,

    /// How long the change waits to be confirmed before the kernel takes it back: 10s to 1h
    /// [default: the policy's, else 60s]
    #[arg(long, value_name = "TIME", value_parser = within)]
    pub confirm_within: Option<Duration>,

    /// Keep the change as soon as the same user has logged in anew over SSH, from outside. A
    /// connection that was open before does not count, nor does a login that fails
    #[arg(long, conflicts_with = "no_confirm")]
    pub confirm_on_reconnect: bool,

    /// Ask nothing beforehand
    #[arg(long)]
    pub yes: bool,

    /// Why; `fwctl history` shows it
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
}

impl Confirmation {
    /// What apply needs to know; `default` is how long the policy lets a change wait.
    pub fn terms(&self, default: Duration, snapshot: &Snapshot) -> Terms {
        let within = (!self.no_confirm).then(|| self.confirm_within.unwrap_or(default));
        Terms {
            by: Some(by(snapshot)),
            message: self.message.clone(),
            snapshot: Some(snapshot.digest()),
            within,
            cut: false,
        }
    }
}

fn within(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a time such as 60s, 5m or 1h".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds) if (BOUNDS.0..=BOUNDS.1).contains(&seconds) => {
            Ok(Duration::from_secs(seconds))
        }
        _ => Err("it must be from 10s to 1h".to_owned()),
    }
}

/// Who runs this, whatever `sudo` and `su` made of it: the user of the SSH session, else the one
/// who logged in (`/proc/self/loginuid`), else the one that the process runs as.
fn by(snapshot: &Snapshot) -> By {
    let mut own = snapshot.ssh.sessions.iter().filter(|session| session.own);
    if let (Some(session), None) = (own.next(), own.next())
        && let Some(user) = &session.user
    {
        return By { user: user.clone(), from: Some(session.remote.ip().to_canonical()) };
    }
    let login = std::fs::read_to_string("/proc/self/loginuid").ok();
    // What nobody logged in for has the greatest number.
    let login = login.and_then(|text| text.trim().parse().ok()).filter(|id| *id != u32::MAX);
    let id = login.map_or_else(nix::unistd::getuid, nix::unistd::Uid::from_raw);
    let user = nix::unistd::User::from_uid(id).ok().flatten();
    By { user: user.map_or_else(|| id.to_string(), |user| user.name), from: None }
}

/// Finishes what an earlier command left behind, and says so; a change that still waits to be
/// confirmed is in the way.
pub fn nothing_waits(lock: &Lock, state: &State, kernel: &dyn Kernel) -> Result<(), Failure> {
    match pending::settle(lock, state, kernel).map_err(|error| failed(&error))? {
        Found::Nothing => Ok(()),
        Found::Ended { generation, end } => {
            output::warning(&format!(
                "{}; what was left of it is cleared away",
                end.says(generation)
            ));
            Ok(())
        }
        Found::Waiting { generation, left } => Err(waiting(generation, left)),
    }
}

/// Says that a change waits, and what to do about it.
pub fn waiting(generation: u32, left: Duration) -> Failure {
    let headline = format!(
        "generation {generation} waits to be confirmed, for {} s more",
        left.as_secs().max(1)
    );
    Failure::new(Exit::Busy, headline)
        .state(format!("generation {generation} rules until then; nothing was changed"))
        .hint("`fwctl confirm` keeps it, `fwctl rollback` takes it back; then try again")
}

/// Tries the kernel's switch where that was not done since boot.
pub fn tried(state: &State) -> Result<(), Failure> {
    apply::trial(state).map_err(|error| {
        let headline = "a change that the kernel takes back by itself does not work here";
        Failure::from_error(Exit::Failed, headline, &error)
            .state(UNTOUCHED)
            .hint("`--no-confirm` makes the change at once, without a way back of its own")
    })
}

/// What apply could not do, and what to do about it.
pub fn failed(error: &ApplyError) -> Failure {
    let (exit, state, hint) = match error {
        ApplyError::Disk(_) => (Exit::Failed, UNTOUCHED, "mend the disk, then try again"),
        ApplyError::Unknown(_) => (
            Exit::Failed,
            "what it runs now could not be read, or is neither the old nor the new rules",
            "`fwctl status` says what is in force; `fwctl apply` makes it as the policy says",
        ),
        ApplyError::StillWaits(_) => (
            Exit::Failed,
            "the change rules until its deadline, then the rules from before it",
            "`fwctl confirm` and `fwctl rollback` can be tried again until then",
        ),
        ApplyError::LeftOver(_) => (
            Exit::Failed,
            "what filters is as it should be; nothing leads to what is left",
            "the next fwctl command that changes something clears it away",
        ),
        ApplyError::BackUnrecorded { .. } => (
            Exit::Failed,
            "the rules from before the change are in force",
            "mend the disk, then `fwctl status`",
        ),
        ApplyError::Refused(_) => (
            Exit::Failed,
            "the rules in force are those from before",
            "`fwctl plan` shows the change",
        ),
        ApplyError::Read { state, .. } => {
            (Exit::Failed, *state, "`fwctl status` tries to read them again")
        }
        ApplyError::TakenBack { .. } => (
            Exit::Failed,
            "the rules in force are those from before",
            "`nft list table inet fwctl` shows them; please report this",
        ),
        ApplyError::NotTakenBack { .. } => (
            Exit::Failed,
            "the rules in force are neither the old nor the new ones",
            "`fwctl rollback` where the change waits to be confirmed, else \
             `fwctl off --no-confirm --yes`, which takes our table out",
        ),
        ApplyError::Unrecorded { .. } => {
            (Exit::Failed, "the new rules are in force", "mend the disk, then `fwctl status`")
        }
        ApplyError::OffUnrecorded(_) => (
            Exit::Failed,
            "nothing of fwctl filters now",
            "mend the disk, then `fwctl off --no-confirm --yes` again",
        ),
        ApplyError::InTheWay { .. } => (
            Exit::Failed,
            UNTOUCHED,
            "`fwctl apply --no-confirm` makes the table anew, as the policy says",
        ),
        ApplyError::NothingPending { .. } => (
            Exit::RolledBack,
            "nothing was changed by this; `fwctl status` says what is in force",
            "`fwctl apply` makes the change again",
        ),
        ApplyError::AnotherPending { .. } => {
            (Exit::RolledBack, UNTOUCHED, "`fwctl status` says what waits")
        }
        ApplyError::Damaged { .. } => (
            Exit::Failed,
            "it was not confirmed: it rules until its deadline",
            "`fwctl rollback`, then `fwctl apply` again",
        ),
    };
    let headline = match error {
        ApplyError::NothingPending { .. } | ApplyError::AnotherPending { .. } => {
            return Failure::new(exit, error.to_string()).state(state).hint(hint);
        }
        ApplyError::Damaged { .. } => "the change was not confirmed",
        ApplyError::StillWaits(_) => "the change was neither kept nor taken back",
        ApplyError::BackUnrecorded { .. } => "the change is taken back, but that is not recorded",
        ApplyError::LeftOver(_) => "the change has ended, but it is not cleared away",
        _ => "the change was not made as planned",
    };
    Failure::from_error(exit, headline, error).state(state).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_bounds() {
        assert_eq!(within("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(within("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(within("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "s", "60", "9s", "61m", "2h", "-5m", "1d", "99999999999999999999h"] {
            assert!(within(bad).is_err(), "{bad}");
        }
    }
}
