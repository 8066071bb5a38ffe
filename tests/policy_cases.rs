//! Each folder of `tests/policy_cases` is a policy and the exact message about it.
//!
//! `policy.toml` is read, with the files beside it; `expected.txt` is what a user sees, or for a
//! sound policy `sound` and the warnings. `UPDATE=1 cargo test --test policy_cases` writes them
//! anew.

use fwctl::policy::{Files, Loaded, RealFiles, Style, check_expectations, load};
use std::io;
use std::path::{Path, PathBuf};

/// The files of a case, which reads nothing of the machine that it runs on.
struct CaseFiles(PathBuf);

impl CaseFiles {
    fn place(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Files for CaseFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        RealFiles::default().read(&self.place(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealFiles::default().list(&self.place(directory))
    }
}

fn said(case: &Path) -> String {
    let style = Style { colour: false, width: 100 };
    match load(&CaseFiles(case.to_owned()), Path::new("policy.toml")) {
        Ok(Loaded { policy, warnings }) => {
            let mut text = format!("sound\n{}", warnings.render(style));
            for failure in check_expectations(&policy) {
                text.push_str("violated: ");
                text.push_str(&failure.to_string());
                text.push('\n');
            }
            text
        }
        Err(errors) => errors.render(style),
    }
}

#[test]
fn every_case_says_what_it_is_expected_to_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_cases");
    let update = std::env::var_os("UPDATE").is_some();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    let (mut wrong, mut broken) = (Vec::new(), 0);
    for case in &cases {
        let said = said(case);
        broken += usize::from(!said.starts_with("sound"));
        let expected = case.join("expected.txt");
        if update {
            std::fs::write(&expected, &said).expect("writable");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if wanted != said {
            let name = case.file_name().expect("a name").display().to_string();
            wrong.push(format!("=== {name}\n--- expected\n{wanted}--- said\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(broken >= 45, "{broken} broken policies are too few");
    assert!(cases.len() > broken + 4, "sound policies are cases too");
}

#[test]
fn a_broken_file_is_drawn_in_colour_with_the_same_words() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_cases/unknown-service");
    let errors = load(&CaseFiles(case), Path::new("policy.toml")).expect_err("broken");
    let coloured = errors.render(Style { colour: true, width: 100 });
    assert!(coloured.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((text, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(text);
        rest = escape.split_once('m').expect("only colours are set").1;
    }
    plain.push_str(rest);
    let trimmed: Vec<_> = plain.lines().map(str::trim_end).collect();
    let expected = errors.render(Style { colour: false, width: 100 });
    assert_eq!(trimmed, expected.lines().collect::<Vec<_>>());
}
