//! `fwctl apply` ÷ `nft -f` of the same table, and an apply with nothing to do ÷ `nft list tables`.

use crate::measure::{Line, Pairs, median, peak, run as call, time};
use crate::net::Namespace;
use crate::table::{Goal, Table};
use crate::{Size, policies};
use fwctl::apply::{Applied, Kernel, Live, NftError, State, Terms};
use fwctl::guard::{GuardedPlan, guard};
use fwctl::model::nft;
use fwctl::observe::{Options, Snapshot, observe};
use fwctl::plan::{plan, transaction};
use fwctl::policy::Policy;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

const DELETE: Line = &["/usr/sbin/nft", "delete table inet fwctl"];
const FWCTL: &str = env!("CARGO_BIN_EXE_fwctl");
const WHOLE: Line = &[FWCTL, "apply", "--no-confirm", "--yes"];

/// Measures all sizes.
pub fn run(size: Size, table: &mut Table) {
    let large = u32::try_from(size.of(100_000, 2_000)).unwrap();
    let many = u32::try_from(size.of(1_000, 50)).unwrap();
    let cases = [
        ("small", policies::SMALL.to_owned(), Goal::AtMost(1.3), 40, 50),
        ("1,000 rules", policies::rules(many), Goal::AtMost(1.1), 12, 100),
        ("100,000 prefixes", policies::prefixes(large), Goal::AtMost(1.1), 5, 700),
    ];
    for (name, text, goal, rounds, rest) in cases {
        let rounds = size.of(rounds, 1);
        let rest = Duration::from_millis(u64::try_from(size.of(rest, 0)).unwrap());
        let namespace = Namespace::new("apply");
        let root = tempfile::tempdir().unwrap();
        policies::write(root.path(), "policy.toml", &text);
        namespace.enter(|| one(name, goal, rounds, rest, root.path(), table));
    }
    unchanged(size, table);
}

fn one(name: &str, goal: Goal, rounds: usize, rest: Duration, root: &Path, table: &mut Table) {
    let policy = policies::load(root, &root.join("etc/fwctl/policy.toml"));
    let file = root.join("table.nft");
    let (guarded, _) = planned(&policy, root);
    let text = transaction::text(&guarded.plan().edits, &guarded.plan().table);
    std::fs::write(&file, text).unwrap();
    let load: Line = &["/usr/sbin/nft", "-f", file.to_str().unwrap()];
    // The kernel frees a deleted table behind the answer: neither alternative is to pay for it.
    // Each time is the first: without records, as on a host where fwctl never was.
    let clear = || {
        call(DELETE, root);
        let _ = std::fs::remove_dir_all(root.join("var"));
        std::thread::sleep(rest);
    };
    let peer = || {
        let took = time(&[load], root);
        clear();
        took
    };
    let all = RefCell::new(Vec::new());
    let in_force = || {
        let (in_force, read_back) = apply(&policy, root);
        all.borrow_mut().push(read_back.as_secs_f64() / in_force.as_secs_f64());
        clear();
        in_force
    };
    let pairs = Pairs::take(rounds, in_force, peer);
    let whole = || {
        let took = time(&[WHOLE], root);
        clear();
        took
    };
    let peaks = (peak(WHOLE, root), {
        clear();
        peak(load, root)
    });
    clear();
    table.ratio(
        "apply",
        &format!("finished plan to rules in force, {name} ÷ `nft -f`"),
        goal,
        &pairs,
        Some(peaks),
    );
    let read_back = median(all.into_inner().into_iter()) * pairs.ratio();
    let what = format!("the same, read back and compared, {name} ÷ `nft -f`");
    table.number("apply", &what, read_back);
    let pairs = Pairs::take(rounds.div_ceil(2), whole, peer);
    let what = format!("the whole command, {name} ÷ `nft -f`");
    table.ratio("apply", &what, Goal::None, &pairs, None);
}

fn planned(policy: &Policy, root: &Path) -> (GuardedPlan, Snapshot) {
    let options = Options { root: root.to_owned(), engines: Vec::new(), ..Options::default() };
    let snapshot = observe(&options);
    let plan = plan(policy, &snapshot).unwrap();
    (guard(plan, policy, &snapshot).unwrap(), snapshot)
}

/// From the finished plan until the rules are in force, and until they have been read back as they
/// were planned.
fn apply(policy: &Policy, root: &Path) -> (Duration, Duration) {
    let state = State::below(root);
    let lock = state.lock().unwrap();
    let (guarded, _) = planned(policy, root);
    let start = Instant::now();
    let kernel = Watched {
        live: Live::new().unwrap(),
        in_force: Cell::new(start),
        read_back: Cell::new(start),
    };
    let applied =
        fwctl::apply::apply(&lock, guarded, policy, &Terms::default(), &state, &kernel).unwrap();
    assert!(matches!(applied, Applied::InForce { ruleset: Some(_), .. }));
    (kernel.in_force.get().duration_since(start), kernel.read_back.get().duration_since(start))
}

/// The live kernel, which notes when the transaction was made, and when it was last asked for the
/// generation id: there apply has compared what it read back, and its record is not written yet.
struct Watched {
    live: Live,
    in_force: Cell<Instant>,
    read_back: Cell<Instant>,
}

impl Kernel for Watched {
    fn get_ready(&self) {
        self.live.get_ready();
    }

    fn hand_over(&self, transaction: &str) {
        self.live.hand_over(transaction);
    }

    fn run(&self, transaction: &str) -> Result<(), NftError> {
        let result = self.live.run(transaction);
        self.in_force.set(Instant::now());
        result
    }

    fn read_table(&self) -> std::io::Result<Option<nft::Table>> {
        self.live.read_table()
    }

    fn generation(&self) -> std::io::Result<u32> {
        let id = self.live.generation();
        self.read_back.set(Instant::now());
        id
    }

    fn now(&self) -> jiff::Timestamp {
        self.live.now()
    }
}

fn unchanged(size: Size, table: &mut Table) {
    let namespace = Namespace::new("apply");
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    policies::write(root, "policy.toml", policies::SMALL);
    let list: Line = &["/usr/sbin/nft", "list", "tables"];
    let (pairs, peaks) = namespace.enter(|| {
        call(WHOLE, root);
        let pairs = Pairs::take(size.of(100, 2), || time(&[WHOLE], root), || time(&[list], root));
        (pairs, (peak(WHOLE, root), peak(list, root)))
    });
    table.ratio(
        "apply",
        "nothing to change ÷ `nft list tables`",
        Goal::AtMost(2.0),
        &pairs,
        Some(peaks),
    );
}
