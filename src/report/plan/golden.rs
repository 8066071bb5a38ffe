//! Whole reports, as they are printed.

use super::{View, fixture, json, markdown, off, text};
use crate::guard::Findings;
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
        ("first", fixture::first(), None),
        ("change", fixture::change(), None),
        ("same", fixture::unchanged(), None),
        ("drifted", fixture::drifted(), None),
        ("refused", fixture::change(), Some(fixture::refused())),
    ];
    for (name, plan, findings) in plans {
        let findings = findings.as_ref();
        for (width, verbose) in [(60, false), (80, false), (80, true), (160, false), (160, true)] {
            let report = text(&plan, findings, View { width, verbose });
            fits(&report, width);
            let suffix = if verbose { "-v" } else { "" };
            golden(&format!("plan-{name}-{width}{suffix}"), &report);
        }
        golden(&format!("plan-{name}-markdown"), &markdown(&plan, findings));
    }
}

#[test]
fn what_opens_without_the_table() {
    let mut exposure = fixture::first().exposure;
    for reach in exposure.iter_mut().flat_map(|one| &mut one.reach) {
        std::mem::swap(&mut reach.before, &mut reach.after);
    }
    for width in [60, 80, 160] {
        let report = off("web1", &exposure, View { width, verbose: false });
        fits(&report, width);
        golden(&format!("off-{width}"), &report);
    }
    let nothing = off("web1", &[], View { width: 80, verbose: false });
    assert!(nothing.contains("No endpoint opens or closes."), "{nothing}");
}

#[test]
fn json_is_the_plan_and_what_the_guard_says_of_it() {
    let plan = fixture::change();
    let again: Plan = serde_json::from_str(&json(&plan, None)).expect("own JSON is read");
    assert_eq!(again, plan);
    assert!(json(&plan, None).starts_with("{\n  \"format\": \"fwctl.plan/1\""));
    let guard = |findings: Option<&Findings>| {
        let all: serde_json::Value =
            serde_json::from_str(&json(&plan, findings)).expect("own JSON is read");
        all["guard"].clone()
    };
    assert_eq!(guard(None), serde_json::Value::Null);
    let nothing = serde_json::json!({"refusals": [], "cautions": []});
    assert_eq!(guard(Some(&Findings::default())), nothing);
    let told = guard(Some(&fixture::refused()));
    let words = |field: &str| -> Vec<String> {
        let all = told["refusals"].as_array().expect("a list");
        all.iter().map(|one| one[field].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(words("id"), ["session", "sshd", "sshd", "expectation"]);
    let allow = "[[allow]]\nports = [\"2222/tcp\"]\nfrom  = [\"192.0.2.20\"]\n";
    assert_eq!(words("fix"), [allow, allow, "-", "-"]);
    assert!(words("advice")[2].contains("`ufw allow 2222/tcp`"), "{told}");
    assert!(words("message")[0].starts_with("your own SSH session of alice"), "{told}");
    assert_eq!(told["cautions"].as_array().map(Vec::len), Some(1));
}
