//! What `docs/policy.md` shows can be used as it stands.

use fwctl::policy::{MemoryFiles, POLICIES, Severity, check_expectations, load, well_known};
use std::path::Path;

const DOCUMENT: &str = include_str!("../docs/policy.md");

/// The blocks of this language, each with the line it begins on.
fn blocks<'d>(document: &'d str, language: &str) -> Vec<(usize, &'d str)> {
    let fence = format!("```{language}\n");
    let starts = document.match_indices(&fence);
    starts
        .map(|(at, fence)| {
            let start = at + fence.len();
            let end = document[start..].find("\n```").expect("every block ends");
            (document[..start].lines().count() + 1, &document[start..=start + end])
        })
        .collect()
}

#[test]
fn every_example_is_a_policy_that_keeps_its_expectations() {
    let blocks = blocks(DOCUMENT, "toml");
    assert!(blocks.len() >= 12, "{}", blocks.len());
    for (line, block) in blocks {
        let versioned = block.contains("version = 1");
        let text = if versioned { block.to_owned() } else { format!("version = 1\n{block}") };
        let files = MemoryFiles::default()
            .with("/p/policy.toml", text.as_str())
            .with("/p/office.txt", "# the office\n192.0.2.64/26\n")
            .with("/p/policy.d/10-more.toml", "version = 1\n")
            .with("/p/extra.toml", "version = 1\n");
        let loaded = match load(&files, Path::new("/p/policy.toml")) {
            Ok(loaded) => loaded,
            Err(errors) => panic!("docs/policy.md:{line}\n{text}\n{errors}"),
        };
        assert!(loaded.warnings.is_empty(), "docs/policy.md:{line}\n{text}\n{}", loaded.warnings);
        let failures = check_expectations(&loaded.policy);
        assert!(failures.is_empty(), "docs/policy.md:{line}: {}", failures[0]);
    }
}

#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let read = |text: &str| {
        let files = MemoryFiles::default().with("/p.toml", text);
        load(&files, Path::new("/p.toml")).expect("sound").policy
    };
    let (_, shown) = blocks(DOCUMENT, "toml")
        .into_iter()
        .find(|(_, block)| block.starts_with("[default]"))
        .expect("it shows them");
    assert_eq!(read("version = 1\n").default, read(&format!("version = 1\n{shown}")).default);
}

#[test]
fn the_message_it_shows_is_the_message() {
    let files = MemoryFiles::default()
        .with("policy.toml", "version = 1\n\n[[allow]]\nservice = [\"htpps\"]\n");
    let errors = load(&files, Path::new("policy.toml")).expect_err("there is no such service");
    let (_, shown) = blocks(DOCUMENT, "text")[0];
    assert_eq!(errors.to_string(), shown);
}

#[test]
fn it_names_what_is_there() {
    for (name, _) in POLICIES {
        assert!(DOCUMENT.contains(&format!("| `{name}` |")), "{name} is not described");
    }
    for service in well_known() {
        if ["web", "databases", "coturn"].contains(&service.name.as_str()) {
            assert!(DOCUMENT.contains(&format!("`{}`", service.name)), "{}", service.name);
        }
    }
    assert!(well_known().len() >= 190, "about 200 are promised");
}

#[test]
fn every_name_of_an_error_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_cases");
    let mut names = std::collections::BTreeSet::new();
    for case in std::fs::read_dir(folder).expect("the folder is there") {
        let path = case.expect("readable").path().join("policy.toml");
        let (warnings, errors) = match load(&fwctl::policy::RealFiles::default(), &path) {
            Ok(loaded) => (loaded.warnings, None),
            Err(errors) => (fwctl::policy::Diagnostics::default(), Some(errors)),
        };
        for one in warnings.iter().chain(errors.iter().flatten()) {
            names.insert((one.severity == Severity::Warning, one.id));
        }
    }
    assert!(names.len() >= 30, "{names:?}");
    let (errors, warnings) = DOCUMENT.split_once("Warnings, with which").expect("both are listed");
    for (is_warning, name) in names {
        let list = if is_warning { warnings } else { errors };
        assert!(list.contains(&format!("`{name}`")), "{name} is not listed");
    }
}
