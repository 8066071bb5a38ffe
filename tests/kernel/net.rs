//! Some of the tests of network namespaces on another kernel: each says the same there.
//!
//! A choice of what tells kernels apart and takes seconds under emulation: what is loaded and read
//! back, and what packets then see.

use crate::guest::shared;

#[test]
fn what_is_applied_is_what_was_meant() {
    shared().test("net_apply", "", "makes_it_so only_what_differs");
}

#[test]
fn the_analysis_says_what_this_kernel_does() {
    shared().test("net_analyze", "FWCTL_ANALYZE_RULESETS=5", "--skip misreads");
}

/// The kernel has no programs at hooks of netfilter before 6.4, and at an interface by tcx not
/// before 6.6.
#[test]
fn programs_that_drop_are_named() {
    shared().test("net_programs", "", "--skip at_a_hook --skip at_an_interface");
}
