//! What is chosen from a disk that is sound, torn, edited or empty, and what is sent.

use super::*;
use crate::observe::{CONFIRMED, GENERATIONS};
use crate::policy::{MemoryFiles, Policy};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// A kernel that keeps what it is told, and refuses what it is told to refuse.
#[derive(Default)]
struct Fake {
    table: Option<Table>,
    ran: RefCell<Vec<String>>,
    refuses: usize,
}

impl Kernel for Fake {
    fn run(&self, transaction: &str) -> Result<(), NftError> {
        self.ran.borrow_mut().push(transaction.to_owned());
        if self.ran.borrow().len() > self.refuses {
            Ok(())
        } else {
            Err(NftError::Refused { stderr: "no".to_owned() })
        }
    }

    fn read_table(&self) -> std::io::Result<Option<Table>> {
        Ok(self.table.clone())
    }

    fn generation(&self) -> std::io::Result<u32> {
        Ok(1)
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

struct Bench {
    root: tempfile::TempDir,
    state: State,
    kernel: Fake,
    ground: Ground,
}

impl Bench {
    /// A disk on which these generations were kept and confirmed in turn.
    fn new(generations: &[u32]) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let state = State::below(root.path());
        let ground = Ground { ssh_ports: BTreeSet::from([22, 2222]), ..Ground::default() };
        let bench = Self { state, root, kernel: Fake::default(), ground };
        for number in generations {
            bench.keep(*number);
            bench.state.confirm(&meant(*number).0).expect("confirmed");
        }
        bench
    }

    fn keep(&self, number: u32) {
        let (installed, table) = meant(number);
        self.state.write_generation(&installed, &table).expect("kept");
    }

    fn file(&self, number: u32, name: &str) -> PathBuf {
        self.root.path().join(GENERATIONS).join(number.to_string()).join(name)
    }

    fn restore(&self) -> Restored {
        let lock = self.state.lock().expect("is free");
        restore(&lock, &self.state, &self.kernel, &self.ground).expect("something is in force")
    }

    fn sent(&self) -> String {
        self.kernel.ran.borrow().join("---\n")
    }
}

/// A generation and its table: each number opens a port of its own.
fn meant(number: u32) -> (Installed, Table) {
    let policy = policy(number);
    let mut table = compile(&policy, &Environment::default()).expect("compiles");
    let own = Marker { generation: number, digest: compile::digest(&table) };
    table.chains.push(marker::chain(&own));
    let applied_at = jiff::Timestamp::UNIX_EPOCH;
    (
        Installed {
            generation: number,
            digest: own.digest,
            applied_at,
            policy,
            by: None,
            message: None,
            snapshot: None,
        },
        table,
    )
}

fn policy(number: u32) -> Policy {
    let path = Path::new("/etc/fwctl/policy.toml");
    let text = format!("version = 1\n[[allow]]\nports = [\"22/tcp\", \"{}/tcp\"]\n", 1000 + number);
    let files = MemoryFiles::default().with(path, text);
    crate::policy::load(&files, path).expect("is a policy").policy
}

fn outcome(outcome: Outcome) -> Restored {
    Restored { outcome, passed_over: Vec::new() }
}

#[test]
fn nothing_confirmed_is_nothing_done() {
    let bench = Bench::new(&[]);
    assert_eq!(bench.restore(), outcome(Outcome::NothingConfirmed));
    let bench = Bench::new(&[1, 2]);
    bench.state.unconfirm().expect("forgotten");
    assert_eq!(bench.restore(), outcome(Outcome::NothingConfirmed));
    assert_eq!(bench.sent(), "");
}

#[test]
fn the_confirmed_one_is_loaded_as_it_was_kept() {
    let bench = Bench::new(&[1, 2]);
    // Pending when the power went: kept, and never confirmed.
    bench.keep(3);
    assert_eq!(bench.restore(), outcome(Outcome::Loaded(2)));
    let text = std::fs::read_to_string(bench.file(2, "table.nft")).expect("is there");
    assert_eq!(bench.sent(), format!("create table inet fwctl\n{text}"));
}

#[test]
fn what_is_in_force_is_left_alone_and_its_damage_is_told() {
    let mut bench = Bench::new(&[1, 2]);
    bench.kernel.table = Some(meant(2).1);
    assert_eq!(bench.restore(), outcome(Outcome::InForce(2)));
    std::fs::remove_file(bench.file(2, "table.nft")).expect("removed");
    let restored = bench.restore();
    assert_eq!(restored.outcome, Outcome::InForce(2));
    assert!(restored.passed_over[0].contains("a reboot could not load it"), "{restored:?}");
    assert_eq!(bench.sent(), "");
}

#[test]
fn another_generation_is_changed_in_place() {
    let mut bench = Bench::new(&[1, 2]);
    bench.kernel.table = Some(meant(1).1);
    assert_eq!(bench.restore(), outcome(Outcome::Loaded(2)));
    assert!(!bench.sent().contains("delete table"), "{}", bench.sent());
    assert!(bench.sent().contains("1002"), "{}", bench.sent());
}

#[test]
fn where_the_policy_compiles_to_something_else_today_the_text_replaces_the_table() {
    let mut bench = Bench::new(&[1, 2]);
    bench.kernel.table = Some(meant(1).1);
    bench.ground.environment.uplink_bridges = vec!["br0".parse().expect("is a name")];
    assert_eq!(bench.restore(), outcome(Outcome::Loaded(2)));
    assert!(bench.sent().starts_with("add table inet fwctl\ndelete table inet fwctl\n"));
    assert!(bench.sent().contains("1002 : "), "{}", bench.sent());
}

#[test]
fn a_damaged_generation_is_passed_over_for_the_newest_that_was_confirmed() {
    for damage in [
        |path: &Path| std::fs::write(path, "").expect("torn"),
        |path: &Path| {
            let text = std::fs::read_to_string(path).expect("is there");
            std::fs::write(path, text.replace("drop", "accept")).expect("edited");
        },
        |path: &Path| std::fs::remove_file(path).expect("removed"),
    ] {
        let bench = Bench::new(&[1, 2, 3]);
        bench.keep(4);
        damage(&bench.file(3, "table.nft"));
        let restored = bench.restore();
        assert_eq!(restored.outcome, Outcome::Loaded(2));
        assert_eq!(restored.passed_over.len(), 1, "{restored:?}");
        assert!(restored.passed_over[0].starts_with("generation 3 was passed over"));
    }
}

#[test]
fn an_unreadable_record_of_what_is_confirmed_leads_to_what_is_in_force_or_the_newest() {
    let mut bench = Bench::new(&[1, 2, 3]);
    let record = bench.root.path().join(CONFIRMED);
    std::fs::write(&record, "{\"generation\": 2,").expect("torn");
    let restored = bench.restore();
    assert_eq!(restored.outcome, Outcome::Loaded(3));
    assert!(restored.passed_over[0].contains("confirmed.json is broken"), "{restored:?}");
    bench.kernel.table = Some(meant(1).1);
    assert_eq!(bench.restore().outcome, Outcome::InForce(1));
    // The record of one generation under the number of another.
    let mixed = Installed { generation: 3, ..meant(2).0 };
    bench.state.confirm(&mixed).expect("written");
    bench.kernel.table = None;
    assert_eq!(bench.restore().outcome, Outcome::Loaded(2));
}

#[test]
fn with_nothing_sound_ssh_alone_is_let_in() {
    let mut bench = Bench::new(&[1]);
    std::fs::write(bench.file(1, "SHA256SUMS"), "").expect("torn");
    let restored = bench.restore();
    assert_eq!(restored.outcome, Outcome::SshOnly(BTreeSet::from([22, 2222])));
    assert_eq!(restored.passed_over.len(), 1);
    let sent = bench.sent();
    for said in ["create table inet fwctl", "2222 : goto", "ct state established", "counter drop"] {
        assert!(sent.contains(said), "{said} is missing in\n{sent}");
    }
    assert!(!sent.contains("1001"), "{sent}");
    // Once it is in force, nothing more is sent.
    bench.kernel.table = Some(ssh_only::table(&bench.ground.ssh_ports, &bench.ground.environment));
    let before = bench.kernel.ran.borrow().len();
    assert!(matches!(bench.restore().outcome, Outcome::SshOnly(_)));
    assert_eq!(bench.kernel.ran.borrow().len(), before);
}

#[test]
fn what_the_kernel_refuses_is_passed_over_too() {
    let mut bench = Bench::new(&[1, 2]);
    bench.kernel.refuses = 1;
    let restored = bench.restore();
    assert_eq!(restored.outcome, Outcome::Loaded(1));
    assert!(restored.passed_over[0].contains("nft refused"), "{restored:?}");
    bench.kernel = Fake { refuses: 9, ..Fake::default() };
    let lock = bench.state.lock().expect("is free");
    let error = restore(&lock, &bench.state, &bench.kernel, &bench.ground);
    let Err(RestoreError::Refused { passed_over, .. }) = error else { panic!("{error:?}") };
    assert_eq!(passed_over.len(), 2);
}

#[test]
fn a_table_without_any_rule_and_a_dormant_one_are_gone() {
    let mut table = meant(1).1;
    assert!(is_gone(None));
    assert!(!is_gone(Some(&table)));
    let dormant = Table { dormant: true, ..table.clone() };
    assert!(is_gone(Some(&dormant)));
    let mut bench = Bench::new(&[1]);
    bench.kernel.table = Some(dormant);
    assert_eq!(bench.restore(), outcome(Outcome::Loaded(1)));
    for chain in &mut table.chains {
        chain.rules.clear();
    }
    assert!(is_gone(Some(&table)));
}
