//! The `fwctl` command.

fn main() {}
