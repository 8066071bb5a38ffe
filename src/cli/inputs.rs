//! What commands start from: the policy, and the host as it is or as a file says it was.

use super::args::{Global, Host};
use super::{Exit, failure::Failure, output, paths::Paths};
use crate::observe::{self, Snapshot};
use crate::policy::{self, Diagnostics, Loaded, RealFiles};
use std::path::{Path, PathBuf};

/// What a failure says of the host where only files were read.
pub const UNTOUCHED: &str = "nothing was changed";

/// What to do where this host cannot be looked at.
const AS_ROOT: &str = "run fwctl as root";

/// The policy file that is meant.
pub fn policy_path(global: &Global, paths: &Paths) -> PathBuf {
    global.policy.clone().unwrap_or_else(|| paths.policy())
}

/// Reads a policy.
pub fn load(path: &Path, paths: &Paths) -> Result<Loaded, Diagnostics> {
    policy::load(&RealFiles::new(paths.root().map(Path::to_path_buf)), path)
}

/// Reads the policy that is meant; its oddities go to standard error, its errors into the failure.
pub fn policy(global: &Global, paths: &Paths, width: usize) -> Result<policy::Policy, Failure> {
    let path = policy_path(global, paths);
    let style = policy::Style { colour: true, width };
    match load(&path, paths) {
        Ok(loaded) => {
            output::aside(&loaded.warnings.render(style));
            Ok(loaded.policy)
        }
        Err(diagnostics) => {
            let headline = format!("the policy {} cannot be used", path.display());
            Err(Failure::new(Exit::Failed, headline)
                .detail(diagnostics.render(style))
                .state(UNTOUCHED)
                .hint(format!("mend the policy; `fwctl check {}` tries it", path.display())))
        }
    }
}

/// The host that is meant: this one, or the one of a snapshot file. It is a failure where its rules
/// are not known, since nothing true can be said without them.
pub fn snapshot(host: &Host, paths: &Paths) -> Result<Snapshot, Failure> {
    let Some(path) = &host.snapshot else { return live(paths) };
    let fail = |error: &dyn std::error::Error| {
        let headline = format!("the snapshot {} cannot be read", path.display());
        Failure::from_error(Exit::Failed, headline, error)
            .state(UNTOUCHED)
            .hint("`fwctl snapshot > FILE`, on the host that is meant, makes one")
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    let snapshot = Snapshot::from_json(&text).map_err(|error| fail(&error))?;
    with_ruleset(snapshot, "take the snapshot as root")
}

/// The policy and the host that are meant. This host is looked at while the policy is read; where
/// the policy cannot be used, what was seen is of no interest.
pub fn policy_and_snapshot(
    global: &Global,
    host: &Host,
    paths: &Paths,
    width: usize,
) -> Result<(policy::Policy, Snapshot), Failure> {
    if host.snapshot.is_some() {
        return Ok((policy(global, paths, width)?, snapshot(host, paths)?));
    }
    let options = observe::Options { engine_version: false, ..options(paths) };
    let observing = std::thread::spawn(move || observe::observe(&options));
    let policy = policy(global, paths, width)?;
    let snapshot = observing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok((policy, with_ruleset(snapshot, AS_ROOT)?))
}

/// This host, its rules included.
pub fn live(paths: &Paths) -> Result<Snapshot, Failure> {
    let options = observe::Options { engine_version: false, ..options(paths) };
    with_ruleset(observe::observe(&options), AS_ROOT)
}

/// As much of this host as can be read.
pub fn observed(paths: &Paths) -> Snapshot {
    observe::observe(&options(paths))
}

fn options(paths: &Paths) -> observe::Options {
    let defaults = observe::Options::default();
    let root = paths.root().map_or(defaults.root, Path::to_path_buf);
    observe::Options { root, ..defaults }
}

/// The subjects of the warnings that the ruleset, or every interface and route, could not be read.
/// Without them the table would be another one: a bridge with an uplink is no container network.
const NEEDED: [(&str, &str); 2] =
    [("nftables", "the rules in force are not known"), ("network", "the interfaces are not known")];

fn with_ruleset(snapshot: Snapshot, hint: &str) -> Result<Snapshot, Failure> {
    for (subject, headline) in NEEDED {
        let lost = snapshot.warnings.iter().find(|warning| warning.subject == subject);
        let Some(warning) = lost else { continue };
        let mut failure = Failure::new(Exit::Failed, headline).state(UNTOUCHED).hint(hint);
        failure.causes.push(warning.message.clone());
        return Err(failure);
    }
    warn(&snapshot);
    Ok(snapshot)
}

/// Says what could not be read.
pub fn warn(snapshot: &Snapshot) {
    for warning in &snapshot.warnings {
        output::warning(&format!("{}: {}", warning.subject, warning.message));
    }
}
