//! `fwctl status`: what of ours is in force here.

use super::args::Host;
use super::{Exit, failure::Failure, inputs, output, output::Output, paths::Paths, watch};
use crate::plan;
use crate::policy::SourceFile;
use crate::report;
use clap::ValueEnum;

/// Says which generation is in force, whether someone changed it, and what it counted.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Which host.
    #[command(flatten)]
    pub host: Host,

    /// What to print
    #[arg(long, value_name = "text|json", default_value = "text", hide_possible_values = true)]
    pub format: Format,
}

/// What `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: "fwctl.status/1".
    Json,
}

/// Prints it.
pub fn run(status: &Status, paths: &Paths, output: &Output) -> Result<Exit, Failure> {
    let state = super::apply::state(paths);
    let snapshot = if status.host.snapshot.is_some() {
        inputs::snapshot(&status.host, paths)?
    } else {
        let snapshot = super::apply::host(paths, &state, None)?;
        let known = state.confirmed().ok().flatten().map(|installed| installed.generation);
        let believed = snapshot.installed.as_ref().map(|installed| installed.generation);
        // Status changes nothing but a record that is behind, and that only where nobody else
        // is at work; what was read before the lock may be old.
        match state.lock() {
            Ok(lock) if known != believed => super::apply::host(paths, &state, Some(&lock))?,
            _ => snapshot,
        }
    };
    let mut found = plan::status(&snapshot);
    if let (None, plan::State::InForce { marker, .. }) = (&status.host.snapshot, &found.state) {
        let back = watch::put_back(&state);
        found.put_back = back.filter(|back| back.generation == marker.generation);
        found.policy_changed = snapshot
            .installed
            .as_ref()
            .filter(|installed| installed.digest == marker.digest)
            .map_or_else(Vec::new, |installed| changed(&installed.policy.sources, paths));
    }
    output::data(&match status.format {
        Format::Text => report::status::text(&found, output.view()),
        Format::Json => report::status::json(&found),
    })?;
    Ok(Exit::Done)
}

/// The files of the policy that are not what was applied. The first is the policy file itself.
fn changed(applied: &[SourceFile], paths: &Paths) -> Vec<String> {
    let Some(path) = applied.first().and_then(|file| file.path.as_deref()) else {
        return Vec::new();
    };
    let Ok(now) = inputs::load(path, paths) else {
        return vec![format!("{} (it cannot be used)", applied[0].name)];
    };
    let now = &now.policy.sources;
    let is_in = |list: &[SourceFile], file: &SourceFile| {
        list.iter().any(|own| (&own.name, &own.sha256) == (&file.name, &file.sha256))
    };
    let gone = applied.iter().filter(|file| !is_in(now, file));
    let new = now.iter().filter(|file| !is_in(applied, file));
    let names: std::collections::BTreeSet<String> =
        gone.chain(new).map(|file| file.name.clone()).collect();
    names.into_iter().collect()
}
