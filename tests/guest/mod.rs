//! Another kernel than this machine's: Debian's own for this release, with all of its modules, in a
//! virtual machine under software emulation (no KVM, and no network to the outside).
//!
//! Used by the modules of `tests/kernel.rs`. A test there runs itself again in the guest, so that all
//! of `mod net;` (namespaces, links, probes) can be used as in `tests/net_*.rs`:
//!
//! ```ignore
//! #[test]
//! fn the_kernel_is_another_one() {
//!     guest::inside(|| {
//!         guest::load(&["wireguard"]);             // modules, each by modprobe
//!         let lab = net::Lab::new();               // as in tests/net_*.rs, but in the guest
//!         lab.host.command(env!("CARGO_BIN_EXE_fwctl")).arg("snapshot").output();
//!     });
//! }
//! ```
//!
//! `guest::inside_newer()` does so with the kernel of the release's backports, which has what Debian built
//! into none of the release's (`CONFIG_NETFILTER_NETLINK_HOOK`).
//!
//! `guest::shared()` is the guest itself as this machine sees it: `sh` and `try_sh` run a shell
//! script in it. All tests share one guest of each kernel, which boots with the first of them and ends
//! with the test process, however that ends. It sees the repository and the built programs under
//! their own paths, read-only, and the tree of `tests/host/image` as its root, on an overlay that
//! is gone with it. No init but `tests/guest/init` runs in it: no systemd, nothing listens.
//! Emulation makes it some ten times slower than this machine.

// Each test file compiles this module anew and uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::missing_panics_doc)]

mod inside;
mod machine;
mod programs;

pub use inside::{inside, inside_newer, load};
pub use machine::{Guest, shared, shared_newer};
