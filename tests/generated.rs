//! Man pages and completions are generated from the command line; this fails when they are not
//! what it says. `FWCTL_WRITE=1 cargo test --test generated` writes them anew.

use clap_complete::Shell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What belongs below `docs/`, by path.
fn generated() -> BTreeMap<PathBuf, Vec<u8>> {
    let man = tempfile::tempdir().expect("a directory");
    clap_mangen::generate_to(fwctl::cli::command(), man.path()).expect("man pages are written");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(man.path()).expect("the directory is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a file has a name").to_owned();
        files.insert(Path::new("man").join(name), std::fs::read(&path).expect("it was written"));
    }
    for (shell, name) in
        [(Shell::Bash, "fwctl.bash"), (Shell::Zsh, "_fwctl"), (Shell::Fish, "fwctl.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut fwctl::cli::command(), "fwctl", &mut text);
        files.insert(Path::new("completions").join(name), text);
    }
    files
}

/// The files below `docs/` that are generated.
fn committed(docs: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["man", "completions"] {
        let Ok(entries) = std::fs::read_dir(docs.join(folder)) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(docs).expect("it is below").to_owned();
            files.insert(name, std::fs::read(&path).expect("it can be read"));
        }
    }
    files
}

#[test]
fn man_pages_and_completions_are_those_of_the_command_line() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let wanted = generated();
    if std::env::var_os("FWCTL_WRITE").is_some() {
        for old in committed(&docs).keys() {
            std::fs::remove_file(docs.join(old)).expect("it can be removed");
        }
        for (name, content) in &wanted {
            let path = docs.join(name);
            std::fs::create_dir_all(path.parent().expect("below docs")).expect("a folder");
            std::fs::write(path, content).expect("it can be written");
        }
    }
    let found = committed(&docs);
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "write them with FWCTL_WRITE=1");
    for (name, content) in &wanted {
        assert!(
            &found[name] == content,
            "docs/{} is not what the command line says; write it with \
             `FWCTL_WRITE=1 cargo test --test generated`",
            name.display()
        );
    }
}
