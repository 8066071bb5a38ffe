//! Prints a snapshot of this host: `cargo run --example snapshot`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = fwctl::observe::Options::default();
    match fwctl::cli::snapshot::run(&options, &mut std::io::stdout(), &mut std::io::stderr()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{}", failure.headline);
            failure.exit.into()
        }
    }
}
