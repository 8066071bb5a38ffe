//! Whole reports, as they are printed.

use super::{View, fixture, json, markdown, text};
use crate::plan::Plan;

/// Compares with the file of this name below `tests/golden/report`.
fn golden(name: &str, report: &str) {
    let plain = anstream::adapter::strip_str(report).to_string();
    insta::with_settings!({
        snapshot_path => "../../../tests/golden/report",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, plain);
    });
}

fn fits(report: &str, width: usize) {
    for line in anstream::adapter::strip_str(report).to_string().lines() {
        let own = crate::report::layout::width(line);
        assert!(own <= width, "{own} columns of {width}: {line}");
        assert!(!line.ends_with(' '), "ends with a space: {line:?}");
    }
}

#[test]
fn plans_at_every_width() {
    let plans = [
        ("first", fixture::first()),
        ("change", fixture::change()),
        ("same", fixture::unchanged()),
        ("drifted", fixture::drifted()),
    ];
    for (name, plan) in plans {
        for (width, verbose) in [(60, false), (80, false), (80, true), (160, false), (160, true)] {
            let report = text(&plan, View { width, verbose });
            fits(&report, width);
            let suffix = if verbose { "-v" } else { "" };
            golden(&format!("plan-{name}-{width}{suffix}"), &report);
        }
        golden(&format!("plan-{name}-markdown"), &markdown(&plan));
    }
}

#[test]
fn json_is_the_plan() {
    let plan = fixture::change();
    let again: Plan = serde_json::from_str(&json(&plan)).expect("own JSON is read");
    assert_eq!(again, plan);
    assert!(json(&plan).starts_with("{\n  \"format\": \"fwctl.plan/1\""));
}
