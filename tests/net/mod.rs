//! Network namespaces for tests that need real packets but no init.
//!
//! Use it from a test file with `mod net;`. Files that do so are named `tests/net_*.rs` (light) or
//! `tests/e2e_*.rs` (whole hosts), need root, and run with `tests/run net` and `tests/run host`.
//!
//! ```ignore
//! let lab = net::Lab::new();                       // host, internet and lan, wired, IPv4 and IPv6
//! lab.host.nft("add table inet t");               // nft text
//! let _ssh = lab.host.listen_tcp("[::]:22");       // answers on both families until dropped
//! net::expect(&[
//!     (net::Probe::tcp(&lab.internet, (net::HOST_WAN_V4, 22)), net::Answer::Open),
//!     (net::Probe::tcp(&lab.internet, (net::HOST_WAN_V6, 23)), net::Answer::Refused),
//!     (net::Probe::ping(&lab.lan, net::HOST_LAN_V6), net::Answer::Open),
//! ]);
//! lab.host.command(env!("CARGO_BIN_EXE_fwctl")).arg("status").output();   // a process inside
//! lab.host.enter(|| std::fs::read("/proc/thread-self/net/dev"));          // a closure inside
//! ```
//!
//! A namespace ends with its value, also on panic; what a killed run left behind is deleted when
//! the next one makes its first namespace. Nothing here touches the machine's own namespace.

// Each test file compiles this module anew and uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::missing_panics_doc)]

mod admin;
mod bpf;
mod flood;
mod generation;
mod host;
mod lab;
mod listen;
mod namespace;
mod probe;
mod session;

pub use admin::{Admin, fix};
pub use bpf::{Attached, Place, attach};
pub use flood::{Flood, Flooded};
pub use host::{Host, sorted, timeless};
pub use lab::*;
pub use listen::{Listener, interface_index};
pub use namespace::{Namespace, owner_id, owner_lives, run};
pub use probe::{Answer, PATIENCE, Probe, expect, observe, send_udp, tcp_from, tcp_stream};
pub use session::Session;
