//! The `fwctl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    fwctl::cli::main()
}
