//! What the README shows is what the command prints. `FWCTL_WRITE=1 cargo test --test readme`
//! writes it anew.

use std::process::Command;

/// The text of the first fenced block in this language.
fn block<'t>(text: &'t str, language: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("the README has it");
    rest.split_once("```").expect("it ends").0
}

#[test]
fn the_plan_in_the_readme_is_that_of_its_policy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = &std::fs::read_to_string(path).expect("there is a README");
    let root = tempfile::tempdir().expect("a directory");
    let folder = root.path().join("etc/fwctl");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("policy.toml"), block(readme, "toml")).expect("a file");
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cli/web1.json");
    let output = Command::new(env!("CARGO_BIN_EXE_fwctl"))
        .args(["plan", "--snapshot", snapshot])
        .env_clear()
        .env("FWCTL_ROOT", root.path())
        .output()
        .expect("fwctl runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if std::env::var_os("FWCTL_WRITE").is_some() {
        std::fs::write(path, readme.replace(block(readme, "text"), &text)).expect("it is written");
        return;
    }
    assert_eq!(
        text,
        block(readme, "text"),
        "write it with `FWCTL_WRITE=1 cargo test --test readme`"
    );
}
