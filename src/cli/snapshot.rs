//! `fwctl snapshot`: this host's state as JSON, for `--snapshot FILE` on any other machine.

use super::Exit;
use super::failure::Failure;
use crate::observe::{Options, observe};
use std::io::Write;

/// Prints the snapshot to `out`, and what could not be read to `notes`.
pub fn run(
    options: &Options,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Exit, Failure> {
    let snapshot = observe(options);
    for warning in &snapshot.warnings {
        // Standard error may be closed; the warnings are in the snapshot too.
        let _ = writeln!(notes, "warning: {}: {}", warning.subject, warning.message);
    }
    match out.write_all(snapshot.to_json().as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Done),
        // A reader that went away (`fwctl snapshot | head`) is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => {
            Err(Failure::from_error(Exit::Failed, "the snapshot could not be written", &error)
                .state("unchanged; a snapshot only reads"))
        }
    }
}
