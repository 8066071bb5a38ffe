//! A policy file and the files that it names → every [`Document`] of the policy.
//!
//! In: a path. Out: the documents, the policy file first, then what it includes and uses, each
//! once; a file that comes round to itself, or that is not there, is a problem.

use super::diagnostic::{At, FileId, Place, Problem, Problems, SourceText};
use super::files::Files;
use super::read::document::{Depth, Document};
use super::read::{self, values};
use super::shipped;
use super::suggest::did_you_mean;
use std::io;
use std::path::{Component, Path, PathBuf};

/// So many errors in one set file are enough.
const MOST_ERRORS_IN_A_LIST: usize = 20;

/// Reads the files of one policy.
pub(super) struct Loader<'f> {
    files: &'f dyn Files,
    pub problems: Problems,
    pub documents: Vec<Document>,
    /// Every file of the policy in the order in which it was read.
    pub order: Vec<FileId>,
    /// What has been read or is being read, with the chain of places that led to the latter.
    seen: Vec<Visit>,
    /// The directory of the policy file; names below it are shown from there on.
    base: PathBuf,
}

struct Visit {
    key: PathBuf,
    open: bool,
    /// Where it was named; `None` for the policy file.
    named_at: Option<Place>,
}

impl<'f> Loader<'f> {
    pub fn new(files: &'f dyn Files) -> Self {
        let problems = Problems::default();
        let (documents, order, seen) = (Vec::new(), Vec::new(), Vec::new());
        Self { files, problems, documents, order, seen, base: PathBuf::new() }
    }

    /// Reads the policy file and all it names.
    pub fn policy_file(&mut self, path: &Path) {
        path.parent().unwrap_or(Path::new("")).clone_into(&mut self.base);
        match self.files.read(path) {
            Ok(text) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                let name = name.to_string_lossy().into_owned();
                let shown = path.display().to_string();
                self.document(
                    &normal(path),
                    SourceText::new(name, shown, Some(path.into()), text),
                    None,
                    (0, 0),
                );
            }
            Err(error) => {
                let message =
                    format!("cannot read the policy {}: {}", path.display(), reason(&error));
                let problem = Problem::nowhere("cannot-read", message);
                self.problems.push(match error.kind() {
                    io::ErrorKind::NotFound => problem.fix(
                        "name another file with `--policy FILE`, or begin with the two lines \
                         `version = 1` and `use = [\"ssh-only\"]`",
                    ),
                    _ => problem,
                });
            }
        }
    }

    /// Reads a shipped policy as if it were the policy file.
    pub fn shipped(&mut self, name: &str) {
        let Some(text) = shipped::text(name) else {
            let message = format!("no policy `{name}` is built in");
            self.problems
                .push(Problem::nowhere("unknown-policy", message).fix(known_policies(name)));
            return;
        };
        self.document(Path::new(&format!("<{name}>")), built_in(name, text), None, (0, 0));
    }

    /// Reads the text, then what it names.
    fn document(&mut self, key: &Path, source: SourceText, named_at: Option<Place>, depth: Depth) {
        let directory = source.path.as_deref().and_then(Path::parent).map(Path::to_owned);
        let file = self.problems.add_source(source);
        self.order.push(file);
        self.seen.push(Visit { key: key.to_owned(), open: true, named_at });
        let mut document = read::policy(&mut self.problems, file);
        document.depth = depth;
        self.set_files(&mut document, directory.as_deref());
        let includes = std::mem::take(&mut document.includes);
        let uses = std::mem::take(&mut document.uses);
        self.documents.push(document);
        for include in includes {
            self.include(&include, directory.as_deref(), (depth.0, depth.1 + 1));
        }
        for name in uses {
            self.used(&name, (depth.0 + 1, 0));
        }
        if let Some(visit) = self.seen.iter_mut().find(|visit| visit.key == key) {
            visit.open = false;
        }
    }

    /// Whether a file still has to be read; reports it where it is just being read.
    fn is_new(&mut self, key: &Path, at: &Place, what: &str) -> bool {
        let Some(first) = self.seen.iter().position(|visit| visit.key == key) else { return true };
        if self.seen[first].open {
            let mut problem = Problem::error("cycle", at, format!("{what} comes round to itself"))
                .label("leads back to a file that is being read")
                .fix("take one of these out");
            for visit in self.seen[first..].iter().filter(|visit| visit.open) {
                if let Some(place) = &visit.named_at {
                    problem = problem.also(place, "which was named here");
                }
            }
            self.problems.push(problem);
        }
        false
    }

    fn include(&mut self, pattern: &At<String>, directory: Option<&Path>, depth: Depth) {
        let Some(directory) = directory else {
            self.problems.push(
                Problem::error(
                    "include-built-in",
                    &pattern.at,
                    "a built-in policy includes no files",
                )
                .label("relative to nothing"),
            );
            return;
        };
        let path = directory.join(&pattern.value);
        let last = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.to_string_lossy().contains(['*', '?']) {
            self.problems.push(
                Problem::error(
                    "bad-include",
                    &pattern.at,
                    "`*` and `?` may stand in the last part only",
                )
                .label("in a directory's name")
                .fix("write one `include` for each directory"),
            );
            return;
        }
        let paths = match &last {
            Some(last) if last.contains(['*', '?']) => self.matching(pattern, parent, last),
            _ => vec![path.clone()],
        };
        for path in paths {
            let key = normal(&path);
            if !self.is_new(&key, &pattern.at, &format!("`include` of `{}`", pattern.value)) {
                continue;
            }
            match self.files.read(&path) {
                Ok(text) => {
                    let source = self.own_source(&path, text);
                    self.document(&key, source, Some(pattern.at.clone()), depth);
                }
                Err(error) => self.problems.push(
                    Problem::error(
                        "cannot-read",
                        &pattern.at,
                        format!("cannot read {}: {}", path.display(), reason(&error)),
                    )
                    .label("included here")
                    .fix("names are relative to this file; a pattern such as `policy.d/*.toml` may match nothing"),
                ),
            }
        }
    }

    /// The files that a pattern means, sorted. That there are none is no problem.
    fn matching(&mut self, pattern: &At<String>, directory: &Path, last: &str) -> Vec<PathBuf> {
        let listed = if directory == Path::new("") { Path::new(".") } else { directory };
        let mut names = match self.files.list(listed) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let message = format!("cannot list {}: {}", listed.display(), reason(&error));
                self.problems.push(
                    Problem::error("cannot-read", &pattern.at, message).label("included here"),
                );
                Vec::new()
            }
        };
        names.retain(|name| !name.starts_with('.') && glob(last.as_bytes(), name.as_bytes()));
        names.sort();
        names.into_iter().map(|name| directory.join(name)).collect()
    }

    fn used(&mut self, name: &At<String>, depth: Depth) {
        let word = &name.value;
        let plain = !word.is_empty() && !word.starts_with('.') && !word.contains('/');
        if !plain {
            self.problems.push(
                Problem::error("bad-name", &name.at, format!("`{word}` is no name of a policy"))
                    .label("`use` takes the name of a shipped policy")
                    .fix(format!("to read a file, write `include = [\"{word}\"]`")),
            );
            return;
        }
        let what = format!("`use` of `{word}`");
        for directory in shipped::DIRECTORIES {
            let path = Path::new(directory).join(format!("{word}.toml"));
            match self.files.read(&path) {
                Ok(text) => {
                    if self.is_new(&path, &name.at, &what) {
                        let shown = path.display().to_string();
                        let source = SourceText::new(word.clone(), shown, Some(path.clone()), text);
                        self.document(&path, source, Some(name.at.clone()), depth);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("cannot read {}: {}", path.display(), reason(&error));
                    self.problems
                        .push(Problem::error("cannot-read", &name.at, message).label("used here"));
                    return;
                }
            }
        }
        let Some(text) = shipped::text(word) else {
            self.problems.push(
                Problem::error("unknown-policy", &name.at, format!("there is no policy `{word}`"))
                    .label("neither in /etc/fwctl/policies, nor shipped")
                    .fix(known_policies(word)),
            );
            return;
        };
        let key = PathBuf::from(format!("<{word}>"));
        if self.is_new(&key, &name.at, &what) {
            self.document(&key, built_in(word, text), Some(name.at.clone()), depth);
        }
    }

    fn own_source(&self, path: &Path, text: String) -> SourceText {
        let name = path.strip_prefix(&self.base).unwrap_or(path).display().to_string();
        SourceText::new(name, path.display().to_string(), Some(path.to_owned()), text)
    }

    /// Adds to each set what its file lists.
    fn set_files(&mut self, document: &mut Document, directory: Option<&Path>) {
        for (_, set) in &mut document.sets {
            let Some(name) = &set.file else { continue };
            let path = directory.unwrap_or(Path::new("")).join(&name.value);
            let text = match self.files.read(&path) {
                Ok(text) => text,
                Err(error) => {
                    let message = format!("cannot read {}: {}", path.display(), reason(&error));
                    self.problems.push(
                        Problem::error("cannot-read", &name.at, message).label("named here").fix(
                            "the name is relative to this file; an empty file is an empty set",
                        ),
                    );
                    continue;
                }
            };
            let source = self.own_source(&path, text);
            let file = self.problems.add_source(source);
            self.order.push(file);
            let text = self.problems.source(file).text.clone();
            let (mut start, mut errors) = (0, 0);
            for line in text.split_inclusive('\n') {
                let entry = line.split('#').next().unwrap_or_default();
                let word = entry.trim();
                let begin = start + (entry.len() - entry.trim_start().len());
                start += line.len();
                if word.is_empty() {
                    continue;
                }
                let at = Place::new(file, begin..begin + word.len());
                if errors == MOST_ERRORS_IN_A_LIST {
                    self.problems.push(
                        Problem::error("too-many-errors", &at, "no more of this file was read")
                            .label("first line that was not looked at"),
                    );
                    break;
                }
                let read = values::prefix(&mut self.problems, &At { value: word.to_owned(), at });
                errors += usize::from(read.is_none());
                set.prefixes.extend(read);
            }
        }
    }
}

fn built_in(name: &str, text: &str) -> SourceText {
    SourceText::new(name.to_owned(), format!("{name} (built in)"), None, text.to_owned())
}

fn known_policies(word: &str) -> String {
    let names = shipped::POLICIES.iter().map(|(name, _)| *name);
    did_you_mean(word, names.clone())
        .unwrap_or_else(|| format!("shipped are: {}", names.collect::<Vec<_>>().join(", ")))
}

/// What went wrong, without the number of the system call's error.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// The path without `.` and, where what it leaves is no link of its own, `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            Component::Prefix(_)
            | Component::RootDir
            | Component::ParentDir
            | Component::Normal(_) => {
                out.push(part);
            }
        }
    }
    out
}

/// Whether `*` (any text) and `?` (any byte) of the pattern fit the name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    p = star + 1;
                    n = from + 1;
                    retry = Some((star, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, fits) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("a?c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXc", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn paths_are_compared_without_detours() {
        assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(normal(Path::new("../a/x")), Path::new("../a/x"));
    }
}
