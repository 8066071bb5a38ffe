//! Other kernels than this machine's: Debian's own for this release, and that of its backports.
//!
//! One program, so that all of its tests share one guest of each kernel: a boot under emulation takes
//! as long as many a test. Tests wait for deadlines and for what stays silent; several of them at a
//! time (`--test-threads`) keep a machine busy meanwhile.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod guest;
mod net;

mod kernel {
    mod apply;
    mod beside;
    mod harness;
    mod hooks;
    mod layers;
    mod net;
    mod vrf;
    mod wireguard;
}
