//! Whole Debian hosts: their own systemd, sshd, nginx, MariaDB and Docker, in the network of
//! [`Lab`](crate::net::Lab), with `fwctl` under test as `/usr/local/bin/fwctl`.
//!
//! Use it from `tests/e2e_*.rs` with `mod net; mod host;`.
//!
//! ```ignore
//! let mut host = Host::boot();                          // or Host::without_docker()
//! host.docker_run("db", "-p 5432:5432", 5432);          // a container that serves TCP 5432
//! host.write("/etc/fwctl/policy.toml", "version = 1\n…");
//! let mut ssh = host.ssh(&host.lab.internet, net::HOST_WAN_V6);
//! host.sh("fwctl apply --no-confirm --yes");            // panics unless it exits 0
//! let refused = host.try_sh("fwctl plan");              // any exit status
//! net::expect(&[(net::Probe::tcp(&host.lab.lan, (net::HOST_LAN_V4, 5432)), Answer::Silent)]);
//! assert_eq!(ssh.ask("echo still here"), "still here");
//! host.reboot();                                        // a new kernel network stack as well
//! host.power_cut();
//! ```
//!
//! The tree comes from `tests/host/image`, which builds it where it is missing. A host ends with
//! its value, also on panic; hosts of a killed run are ended when the next one boots its first.

// Each test file compiles this module anew and uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::missing_panics_doc)]

mod cgroup;
mod container;
mod doors;
mod knocking;
mod machine;
mod package;
mod ssh;

pub use knocking::Knocking;
pub use machine::{Host, Setup};
pub use package::package;
