//! Every reader of bytes that others wrote, fed with what nobody would write.
//!
//! Each target takes the inputs of its corpus, changes them at random and reads them; nothing may
//! panic, hang, or need much memory. The same seed gives the same inputs. `fuzz/run` starts them
//! for as long as one likes; without `FWCTL_FUZZ_SECONDS` each runs for a moment, as a test.
//! What was found once lies in `fuzz/regressions/TARGET-…` and is read first.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod change;
mod corpus;
mod targets;
mod xt;

use change::Random;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one input may take.
const HANG: Duration = Duration::from_secs(10);
/// How much memory all of it may take, in MiB.
const MEMORY: u64 = 500;

/// Something that reads bytes.
pub struct Target {
    /// Its name, which is also the beginning of its regressions' names.
    pub name: &'static str,
    /// What it begins with.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// How an input becomes another.
    pub change: fn(&mut Vec<u8>, &mut Random),
    /// Reads.
    pub read: fn(&[u8]),
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn regressions(target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
    let start = format!("{}-", target.name);
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&start)))
        .collect();
    found.sort();
    found
}

/// What is read at the moment, for whoever has to say what went wrong.
struct Watch {
    input: Mutex<Vec<u8>>,
    /// Milliseconds since the start at which it began; 0 for nothing.
    since: AtomicU64,
    start: Instant,
}

fn keep(target: &Target, input: &[u8], what: &str) -> PathBuf {
    let folder =
        std::env::var_os("FWCTL_FUZZ_FOUND").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let sum = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = folder.join(format!("{}-{sum:016x}", target.name));
    std::fs::write(&path, input).unwrap();
    eprintln!("{}: {what}: {}; keep it in fuzz/regressions", target.name, path.display());
    path
}

/// The resident memory of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn watch(target: &'static Target) -> Arc<Watch> {
    let watch = Watch { input: Mutex::default(), since: AtomicU64::new(0), start: Instant::now() };
    let watch = Arc::new(watch);
    let other = Arc::downgrade(&watch);
    std::thread::spawn(move || {
        while let Some(watch) = other.upgrade() {
            let since = watch.since.load(Ordering::Relaxed);
            let now = u64::try_from(watch.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let late = since > 0 && u128::from(now.saturating_sub(since)) > HANG.as_millis();
            let large = resident() > MEMORY;
            if late || large {
                let what = if late { "takes too long" } else { "takes too much memory" };
                keep(target, &watch.input.lock().unwrap(), what);
                std::process::abort();
            }
            drop(watch);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    watch
}

fn read(target: &'static Target, watch: &Watch, input: &[u8]) {
    input.clone_into(&mut watch.input.lock().unwrap());
    let now = u64::try_from(watch.start.elapsed().as_millis()).unwrap_or(u64::MAX);
    watch.since.store(now.max(1), Ordering::Relaxed);
    let result = std::panic::catch_unwind(|| (target.read)(input));
    watch.since.store(0, Ordering::Relaxed);
    if let Err(panic) = result {
        keep(target, input, "panics");
        std::panic::resume_unwind(panic);
    }
}

fn fuzz(target: &'static Target) {
    let watch = watch(target);
    for path in regressions(target) {
        read(target, &watch, &std::fs::read(path).unwrap());
    }
    let corpus = (target.corpus)();
    assert!(!corpus.is_empty(), "nothing to begin with");
    for input in &corpus {
        read(target, &watch, input);
    }
    let seconds = setting("FWCTL_FUZZ_SECONDS", 0);
    let limit =
        if seconds == 0 { Duration::from_millis(700) } else { Duration::from_secs(seconds) };
    let mut random = Random(setting("FWCTL_FUZZ_SEED", 1));
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed() < limit {
        let mut input = random.pick(&corpus).clone();
        for _ in 0..=random.below(4) {
            if random.chance(15) {
                let other = random.pick(&corpus).clone();
                change::splice(&mut input, &other, &mut random);
            }
            (target.change)(&mut input, &mut random);
        }
        read(target, &watch, &input);
        count += 1;
    }
    println!("{}: {count} inputs, {} MiB", target.name, resident());
    assert!(count > 0, "no input was read");
}

#[test]
fn netlink() {
    fuzz(&targets::NETLINK);
}

#[test]
fn xt() {
    fuzz(&targets::XT);
}

#[test]
fn links_and_sockets() {
    fuzz(&targets::LINKS);
}

#[test]
fn proc_texts() {
    fuzz(&targets::PROC);
}

#[test]
fn engines() {
    fuzz(&targets::ENGINES);
}

#[test]
fn legacy() {
    fuzz(&targets::LEGACY);
}

#[test]
fn snapshots() {
    fuzz(&targets::SNAPSHOTS);
}

#[test]
fn policies() {
    fuzz(&targets::POLICIES);
}
