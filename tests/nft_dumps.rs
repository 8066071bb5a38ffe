//! Recorded dumps of the kernel → the ruleset; and no bytes lead to a panic. Needs no root.
//!
//! A dump is recorded with `RECORD_NFT_DUMPS=1` (as root) from the rules of the other tests, and
//! stands for kernels that the machine under test does not run.

use fwctl::model::nft::{Ruleset, text};
use fwctl::observe::{legacy, nft};
use proptest::prelude::*;
use std::path::PathBuf;

const CASES: [&str; 3] = ["matches", "actions", "sets"];

fn path(case: &str) -> PathBuf {
    PathBuf::from(format!("tests/nft_dumps/{case}.bin"))
}

fn recorded(case: &str) -> Vec<u8> {
    std::fs::read(path(case)).expect("a recorded dump")
}

fn words(ruleset: &Ruleset) -> String {
    ruleset.tables.iter().map(text::table).collect()
}

#[test]
fn recorded_dumps_read_as_before() {
    if std::env::var_os("RECORD_NFT_DUMPS").is_some() {
        record();
    }
    for case in CASES {
        let ruleset = nft::decode(7, &recorded(case));
        assert_eq!(ruleset.generation, 7);
        insta::with_settings!({ filters => vec![(r"expires \S+", "expires [time]")] }, {
            insta::assert_snapshot!(case, words(&ruleset));
        });
    }
}

fn record() {
    for case in CASES {
        let rules = format!("tests/nft_roundtrip/{case}.nft");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
                let status = std::process::Command::new("nft").args(["-f", &rules]).status();
                assert!(status.expect("nft").success());
                let (_, dump) = nft::dump().expect("readable");
                std::fs::write(path(case), dump).expect("writable");
            });
            thread.join().expect("recorded");
        });
    }
}

#[test]
fn what_is_read_survives_a_snapshot() {
    for case in CASES {
        let ruleset = nft::decode(7, &recorded(case));
        let json = serde_json::to_string(&ruleset).expect("serialisable");
        let again: Ruleset = serde_json::from_str(&json).expect("its own text");
        assert_eq!(ruleset, again, "{case}");
    }
}

/// Tables of legacy iptables, recorded with `RECORD_LEGACY_DUMPS=1 cargo test --test nft_modules`.
#[test]
fn tables_of_legacy_iptables_read_whole_or_not_at_all() {
    for (named, rules) in [("ip filter", 57), ("ip nat", 6), ("ip6 filter", 10)] {
        let dump = std::fs::read(format!("tests/legacy_dumps/{}.bin", named.replace(' ', "-")))
            .expect("a recorded dump");
        let table = legacy::decode(named, &dump).expect("a table");
        let count: usize = table.chains.iter().map(|chain| chain.rules.len()).sum();
        assert_eq!(count, rules, "{named}");
        assert!(text::table(&table).contains("hook"), "{named}");
        for length in (0..dump.len()).step_by(11) {
            let _ = legacy::decode(named, &dump[..length]);
        }
        for at in (0..dump.len()).step_by(5) {
            for byte in [0, 0xff] {
                let mut changed = dump.clone();
                changed[at] = byte;
                if let Some(table) = legacy::decode(named, &changed) {
                    text::table(&table);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_lead_to_a_panic(
        case in 0..CASES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut dump = recorded(CASES[case]);
        for (at, byte) in changes {
            let at = at.index(dump.len());
            dump[at] = byte;
        }
        if cut {
            dump.truncate(length.index(dump.len()));
        }
        let ruleset = nft::decode(0, &dump);
        words(&ruleset);
    }

    #[test]
    fn no_noise_leads_to_a_panic(dump in prop::collection::vec(any::<u8>(), 0..400)) {
        words(&nft::decode(0, &dump));
    }
}
