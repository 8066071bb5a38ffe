//! A namespace as a host: fwctl run in it, with directories of its own for policy and state.

use super::Namespace;
use fwctl::model::nft::{Elements, Family, Statement, Table, text};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A namespace and what stands in for its `/`.
pub struct Host<'l> {
    pub namespace: &'l Namespace,
    pub root: tempfile::TempDir,
}

impl<'l> Host<'l> {
    pub fn new(namespace: &'l Namespace) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/fwctl")).unwrap();
        Self { namespace, root }
    }

    /// The file at this place below its `/`.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes its policy, less the version.
    pub fn policy(&self, text: &str) {
        let path = self.file("etc/fwctl/policy.toml");
        std::fs::write(path, format!("version = 1\n{text}")).unwrap();
    }

    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_fwctl"));
        command.args(arguments.split_whitespace()).env("FWCTL_ROOT", self.root.path());
        command
    }

    /// Runs it, expects this exit code, and gives what it printed on both streams.
    pub fn run(&self, arguments: &str, code: i32) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
        let text = said.concat();
        assert_eq!(output.status.code(), Some(code), "fwctl {arguments}\n{text}");
        text
    }

    /// Our table as the kernel runs it.
    pub fn live(&self) -> Option<Table> {
        self.namespace.enter(|| fwctl::observe::nft::read_table(Family::Inet, "fwctl").unwrap())
    }

    /// The same as text, in an order of its own, without what was counted and how long it lives.
    pub fn table(&self) -> Option<String> {
        self.live().map(|table| text::table(&sorted(timeless(table))))
    }

    /// The same without the marker, which names the generation.
    pub fn rules(&self) -> Option<String> {
        let mut table = self.live()?;
        table.chains.retain(|chain| chain.name != "generation");
        Some(text::table(&sorted(timeless(table))))
    }
}

/// The table without what was counted, and without how long elements still live.
pub fn timeless(mut table: Table) -> Table {
    for set in &mut table.sets {
        if let Elements::Listed(elements) = &mut set.elements {
            for element in elements {
                element.expires = None;
            }
        }
    }
    for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
        for statement in &mut rule.statements {
            if let Statement::Counter { packets, bytes } = statement {
                (*packets, *bytes) = (0, 0);
            }
        }
    }
    table
}

/// The table in an order that does not tell when what was made.
pub fn sorted(mut table: Table) -> Table {
    table.chains.sort_by(|a, b| a.name.cmp(&b.name));
    table.sets.sort_by(|a, b| a.name.cmp(&b.name));
    table
}
