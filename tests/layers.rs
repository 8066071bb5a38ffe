//! The order of the stages: a stage imports the vocabulary and earlier stages, never later ones.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Every stage after all that it may import. `report` may import each of these, `cli` everything;
/// neither is imported by a stage.
const ORDER: [&str; 8] =
    ["model", "policy", "observe", "compile", "analyze", "plan", "guard", "apply"];

/// Whether code of `from` may name `to`.
fn allowed(from: &str, to: &str) -> bool {
    let place = |stage: &str| ORDER.iter().position(|s| *s == stage);
    match (from, place(from), place(to)) {
        _ if from == to => true,
        ("cli" | "lib" | "main", ..) | ("report", _, Some(_)) => true,
        (_, Some(from), Some(to)) => to < from,
        _ => false,
    }
}

/// The top-level modules that a file names, each with its line number.
fn imports(path: &[String], text: &str) -> Vec<(usize, String)> {
    let code: Vec<&str> = text.lines().map(without_comment).collect();
    let offsets: Vec<usize> = code
        .iter()
        .scan(0, |offset, line| {
            *offset += line.len() + 1;
            Some(*offset)
        })
        .collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    let mut roots: Vec<(usize, usize)> =
        code.match_indices("crate::").map(|(at, root)| (at, at + root.len())).collect();
    // `super::super::x` names a top-level module as well, where it climbs high enough.
    for (at, _) in code.match_indices("super::") {
        if !code[..at].ends_with("super::") {
            let rest = code[at..].trim_start_matches("super::");
            let climbed = (code.len() - at - rest.len()) / "super::".len();
            if climbed >= path.len() {
                roots.push((at, code.len() - rest.len()));
            }
        }
    }
    for (at, after) in roots {
        let line = offsets.iter().filter(|end| **end <= at).count() + 1;
        found.extend(first_names(&code[after..]).into_iter().map(|name| (line, name)));
    }
    found
}

/// What stands before a `//`. Inside a string that would cut too much, which hides no import.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The names that follow `crate::`: one, or those at the first level of a group in braces.
fn first_names(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![name(text)] };
    let mut depth = 0_u32;
    let mut names = vec![name(group)];
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `src/a/b.rs` → `[a, b]`, `src/a/mod.rs` → `[a]`.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    path
}

#[test]
fn no_stage_imports_a_later_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources are not where this test looks");
    let tops: Vec<String> = files
        .iter()
        .map(|file| module_path(file.strip_prefix(&root).unwrap())[0].clone())
        .collect();
    let mut wrong = Vec::new();
    for file in &files {
        let path = module_path(file.strip_prefix(&root).unwrap());
        for (line, name) in imports(&path, &fs::read_to_string(file).unwrap()) {
            if tops.contains(&name) && !allowed(&path[0], &name) {
                let file = file.strip_prefix(root.parent().unwrap()).unwrap().display();
                wrong.push(format!("{file}:{line}: {} imports {name}", path[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "later stages are imported:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_has_its_place_in_the_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let known = ORDER.contains(&name.as_str())
            || ["cli", "report", "lib", "main"].contains(&name.as_str());
        assert!(known, "src/{name} has no place in the order of tests/layers.rs");
    }
}

#[test]
fn forbidden_imports_are_found_however_they_are_written() {
    let path = ["compile".to_owned(), "rules".to_owned()];
    let text = "use crate::model::Port;\n\
                // use crate::apply::commented;\n\
                use crate::{policy::{Policy, Zone}, plan,\n    apply::Apply};\n\
                fn f() { super::super::guard::check(); super::own(); }\n";
    let mut names: Vec<(usize, String)> = imports(&path, text);
    names.sort();
    let names: Vec<(usize, &str)> = names.iter().map(|(l, n)| (*l, n.as_str())).collect();
    assert_eq!(names, [(1, "model"), (3, "apply"), (3, "plan"), (3, "policy"), (5, "guard")]);
    assert!(allowed("compile", "policy") && allowed("observe", "policy"));
    assert!(
        !allowed("compile", "plan") && !allowed("plan", "report") && !allowed("model", "policy")
    );
    assert!(allowed("report", "apply") && !allowed("report", "cli"));
}
