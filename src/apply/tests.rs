//! Each step fails in turn; afterwards the kernel runs the old table or the new one, and the error
//! says which.

use super::*;
use crate::guard::guard;
use crate::model::nft::{Chain, Rule, build};
use crate::policy::MemoryFiles;
use std::cell::RefCell;
use std::path::Path;

/// A kernel that takes each table it is told to, in turn, and then reads back what it took.
#[derive(Default)]
struct Fake {
    /// What the table is after each transaction; `Err` where nft refuses it.
    outcomes: RefCell<Vec<Result<Option<Table>, ()>>>,
    /// Whether nft is killed each time, whatever the kernel did.
    killed: bool,
    /// Whether the table cannot be read any more once something was sent.
    blind: bool,
    table: RefCell<Option<Table>>,
    ran: RefCell<Vec<String>>,
}

impl Kernel for Fake {
    fn run(&self, transaction: &str) -> Result<(), NftError> {
        self.ran.borrow_mut().push(transaction.to_owned());
        match self.outcomes.borrow_mut().remove(0) {
            Ok(table) => {
                *self.table.borrow_mut() = table;
                if self.killed { Err(NftError::Timeout) } else { Ok(()) }
            }
            Err(()) => Err(NftError::Refused { stderr: "no".to_owned() }),
        }
    }

    fn read_table(&self) -> std::io::Result<Option<Table>> {
        if self.blind && !self.ran.borrow().is_empty() {
            return Err(std::io::Error::from_raw_os_error(105));
        }
        Ok(self.table.borrow().clone())
    }

    fn generation(&self) -> std::io::Result<u32> {
        Ok(u32::try_from(self.ran.borrow().len()).expect("few"))
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

struct Bench {
    root: tempfile::TempDir,
    state: State,
    policy: Policy,
    kernel: Fake,
}

impl Bench {
    fn new() -> Self {
        let path = Path::new("/etc/fwctl/policy.toml");
        let text = "version = 1\n[[allow]]\nservice = [\"ssh\"]\n";
        let files = MemoryFiles::default().with(path, text);
        let policy = crate::policy::load(&files, path).expect("is a policy").policy;
        let root = tempfile::tempdir().expect("temporary directory");
        Self { state: State::below(root.path()), root, policy, kernel: Fake::default() }
    }

    fn plan(&self) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped/docker-host.json");
        let text = std::fs::read_to_string(path).expect("is there");
        let mut snapshot = Snapshot::from_json(&text).expect("is a snapshot");
        snapshot.ruleset.tables.extend(self.kernel.table.borrow().clone());
        crate::plan::plan(&self.policy, &snapshot).expect("can be enforced")
    }

    fn guarded(&self) -> GuardedPlan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped/docker-host.json");
        let text = std::fs::read_to_string(path).expect("is there");
        let snapshot = Snapshot::from_json(&text).expect("is a snapshot");
        guard(self.plan(), &self.policy, &snapshot).expect("locks nobody out")
    }

    fn outcomes(&self, outcomes: Vec<Result<Option<Table>, ()>>) {
        *self.kernel.outcomes.borrow_mut() = outcomes;
    }

    fn apply(&self) -> Result<Applied, ApplyError> {
        let lock = self.state.lock().expect("is free");
        apply(&lock, self.guarded(), &self.policy, &Terms::default(), &self.state, &self.kernel)
    }

    fn confirmed(&self) -> bool {
        self.root.path().join(crate::observe::CONFIRMED).exists()
    }
}

fn other_table() -> Table {
    let mut chain = Chain::new("input");
    chain.rules.push(Rule::new(vec![build::drop()], None));
    Table { chains: vec![chain], ..Table::new(Family::Inet, TABLE) }
}

#[test]
fn what_is_read_back_as_planned_is_recorded() {
    let bench = Bench::new();
    let table = bench.plan().table;
    bench.outcomes(vec![Ok(Some(table))]);
    let applied = bench.apply().expect("nothing fails");
    assert_eq!(applied, Applied::InForce { generation: 1, ruleset: Some(1) });
    assert!(bench.confirmed());
    assert_eq!(bench.state.read_generation(1).expect("is kept").generation, 1);
    // Again: nothing is sent.
    assert_eq!(bench.apply().expect("nothing fails"), Applied::Unchanged);
    assert_eq!(bench.kernel.ran.borrow().len(), 1);
}

#[test]
fn a_refused_transaction_leaves_everything_as_it_was() {
    let bench = Bench::new();
    bench.outcomes(vec![Err(())]);
    assert!(matches!(bench.apply(), Err(ApplyError::Refused(_))));
    assert!(!bench.confirmed());
    assert_eq!(*bench.kernel.table.borrow(), None);
}

#[test]
fn where_nft_was_killed_the_kernel_is_asked_what_came_of_it() {
    let mut bench = Bench::new();
    bench.kernel.killed = true;
    // The kernel had committed.
    bench.outcomes(vec![Ok(Some(bench.plan().table))]);
    assert!(matches!(bench.apply(), Ok(Applied::InForce { generation: 1, .. })));
    assert!(bench.confirmed());

    // It had not.
    let mut bench = Bench::new();
    bench.kernel.killed = true;
    bench.outcomes(vec![Ok(None)]);
    assert!(matches!(bench.apply(), Err(ApplyError::Refused(NftError::Timeout))));
    assert!(!bench.confirmed());

    // Somebody made something else of it meanwhile, or nobody can tell.
    bench.outcomes(vec![Ok(Some(other_table()))]);
    assert!(matches!(bench.apply(), Err(ApplyError::Unknown(NftError::Timeout))));
    let mut bench = Bench::new();
    bench.kernel.blind = true;
    bench.outcomes(vec![Err(())]);
    assert!(matches!(bench.apply(), Err(ApplyError::Unknown(NftError::Refused { .. }))));
    assert!(!bench.confirmed());
}

#[test]
fn a_table_that_is_not_what_was_planned_is_taken_out_again() {
    let bench = Bench::new();
    bench.outcomes(vec![Ok(Some(other_table())), Ok(None)]);
    let error = bench.apply().expect_err("is another table");
    assert!(matches!(error, ApplyError::TakenBack { .. }), "{error}");
    assert_eq!(bench.kernel.ran.borrow()[1], "delete table inet fwctl\n");
    assert!(!bench.confirmed());
}

#[test]
fn a_change_that_is_not_what_was_planned_is_taken_back_to_the_table_before() {
    let bench = Bench::new();
    // In force: the table of a policy that also lets HTTP in, so that there is a change to make.
    let mut before = bench.plan().table;
    before.chains[0].rules.pop();
    *bench.kernel.table.borrow_mut() = Some(before.clone());
    bench.outcomes(vec![Ok(Some(other_table())), Ok(Some(before.clone()))]);
    let error = bench.apply().expect_err("is another table");
    assert!(matches!(error, ApplyError::TakenBack { .. }), "{error}");
    assert_eq!(*bench.kernel.table.borrow(), Some(before));
    assert!(!bench.confirmed());
}

#[test]
fn a_change_that_cannot_be_taken_back_says_so() {
    let bench = Bench::new();
    bench.outcomes(vec![Ok(Some(other_table())), Err(())]);
    let error = bench.apply().expect_err("is another table");
    assert!(matches!(error, ApplyError::NotTakenBack { .. }), "{error}");
    assert!(!bench.confirmed());
}

#[test]
fn an_armed_change_that_is_not_what_was_planned_is_taken_back_or_that_is_said() {
    let within = std::time::Duration::from_secs(60);
    let armed = |bench: &Bench| {
        let table = bench.plan().table;
        let mut armed = beside::arm(None, Some(&table), 1, within).expect("nothing is there").table;
        // A rule that was planned is not there.
        let copied = armed.chains.iter_mut().find(|chain| chain.name == "p1_default");
        copied.expect("the default has a chain").rules.pop().expect("it has rules");
        armed
    };
    let arm = |bench: &Bench| {
        let lock = bench.state.lock().expect("is free");
        let terms = (&Terms::default(), within);
        pending::arm(&lock, bench.guarded(), &bench.policy, terms, &bench.state, &bench.kernel)
    };
    let bench = Bench::new();
    bench.outcomes(vec![Ok(None), Ok(Some(armed(&bench))), Ok(None)]);
    let error = arm(&bench).expect_err("is not what was planned");
    assert!(matches!(error, ApplyError::TakenBack { .. }), "{error}");
    assert!(error.to_string().contains("chain p1_default lacks a rule"), "{error}");
    assert!(bench.kernel.ran.borrow()[2].starts_with("delete rule inet fwctl "));
    let end = bench.state.read_attempt().and_then(|attempt| attempt.end);
    assert_eq!(end.map(|end| end.how), Some(crate::observe::How::RolledBack));
    // nft fails just then: the kernel takes it back at the deadline.
    let bench = Bench::new();
    bench.outcomes(vec![Ok(None), Ok(Some(armed(&bench))), Err(())]);
    let error = arm(&bench).expect_err("is not what was planned");
    assert!(matches!(error, ApplyError::NotTakenBack { .. }), "{error}");
    assert_eq!(bench.state.read_attempt().and_then(|attempt| attempt.end), None);
    assert!(!bench.confirmed());
}

#[test]
fn a_disk_that_fails_before_the_change_prevents_it_and_one_that_fails_after_is_told() {
    let bench = Bench::new();
    let library = bench.root.path().join("var/lib");
    std::fs::create_dir_all(&library).expect("made");
    // Something else stands where the directory should be.
    std::fs::write(library.join("fwctl"), "").expect("written");
    assert!(matches!(bench.apply(), Err(ApplyError::Disk(_))));
    assert!(bench.kernel.ran.borrow().is_empty(), "nothing was sent");

    std::fs::remove_file(library.join("fwctl")).expect("removed");
    std::fs::create_dir_all(bench.root.path().join(crate::observe::CONFIRMED)).expect("made");
    bench.outcomes(vec![Ok(Some(bench.plan().table))]);
    let error = bench.apply().expect_err("cannot be recorded");
    assert!(matches!(error, ApplyError::Unrecorded { generation: 1, .. }), "{error}");
}

#[test]
fn the_kernel_is_believed_where_the_record_is_behind() {
    let bench = Bench::new();
    bench.outcomes(vec![Ok(Some(bench.plan().table))]);
    let _ = bench.apply().expect("nothing fails");
    // As if fwctl had died between the commit and the record.
    std::fs::remove_file(bench.root.path().join(crate::observe::CONFIRMED)).expect("was there");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shipped/docker-host.json");
    let text = std::fs::read_to_string(path).expect("is there");
    let mut snapshot = Snapshot::from_json(&text).expect("is a snapshot");
    snapshot.ruleset.tables.extend(bench.kernel.table.borrow().clone());
    let lock = bench.state.lock().expect("is free");
    believe_the_kernel(&mut snapshot, &bench.state, Some(&lock)).expect("nothing fails");
    assert!(bench.confirmed());
    assert_eq!(snapshot.installed.expect("is known now").generation, 1);
}
