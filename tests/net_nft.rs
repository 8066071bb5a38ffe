//! nft as apply runs it: started before it is told anything, in a namespace of its own.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use fwctl::apply::{Kernel as _, Live, Nft, NftError};
use net::Namespace;
use std::time::{Duration, Instant};

const TABLE: &str = "table inet fwctl {\n chain c {\n }\n}\n";

#[test]
fn what_waits_does_nothing_until_it_is_told() {
    let namespace = Namespace::new("nft");
    let (before, waits, ran) = namespace.enter(|| {
        let kernel = Live::new().unwrap();
        let before = kernel.generation().unwrap();
        kernel.get_ready();
        // Long enough for it to have started, and to do whatever it does by itself.
        std::thread::sleep(Duration::from_millis(300));
        let waits = kernel.generation().unwrap();
        kernel.run(TABLE).unwrap();
        // A second one is not told of what the first was.
        kernel.run("add chain inet fwctl d\n").unwrap();
        (before, waits, kernel.read_table().unwrap().unwrap())
    });
    assert_eq!(before, waits);
    let names: Vec<&str> = ran.chains.iter().map(|chain| chain.name.as_str()).collect();
    assert_eq!(names, ["c", "d"]);
}

#[test]
fn what_is_handed_over_is_made_when_it_is_told() {
    let namespace = Namespace::new("nft");
    let names = |kernel: &Live| -> Vec<String> {
        let table = kernel.read_table().unwrap().unwrap();
        table.chains.into_iter().map(|chain| chain.name).collect()
    };
    let moment = || std::thread::sleep(Duration::from_millis(300));
    namespace.enter(|| {
        let kernel = Live::new().unwrap();
        let before = kernel.generation().unwrap();
        kernel.get_ready();
        kernel.hand_over(TABLE);
        moment();
        assert_eq!(kernel.generation().unwrap(), before, "it did not wait");
        kernel.run(TABLE).unwrap();
        assert_eq!(names(&kernel), ["c"]);

        // Of two transactions the one is made that is told, and the other is not.
        kernel.get_ready();
        kernel.hand_over("add chain inet fwctl never\n");
        kernel.run("add chain inet fwctl d\n").unwrap();
        moment();
        assert_eq!(names(&kernel), ["c", "d"]);

        // What cannot be read says so where it is told.
        kernel.get_ready();
        kernel.hand_over("add nonsense\n");
        moment();
        match kernel.run("add nonsense\n") {
            Err(NftError::Refused { stderr }) => assert!(stderr.starts_with("1:"), "{stderr}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_is_told_nothing_ends_without_a_trace() {
    let namespace = Namespace::new("nft");
    namespace.enter(|| {
        let kernel = Live::new().unwrap();
        let before = kernel.generation().unwrap();
        let start = Instant::now();
        drop(Nft::find().unwrap().start().unwrap());
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(kernel.generation().unwrap(), before);
        let children = std::fs::read_to_string("/proc/thread-self/children");
        assert_eq!(children.unwrap_or_default().trim(), "", "it is still there");
    });
}

#[test]
fn what_it_complains_of_is_the_transaction() {
    let namespace = Namespace::new("nft");
    let complaint = namespace.enter(|| {
        let broken = format!("{TABLE}add chain inet missing c\n");
        match Nft::find().unwrap().run(&broken) {
            Err(NftError::Refused { stderr }) => stderr,
            other => panic!("{other:?}"),
        }
    });
    assert!(complaint.starts_with("5:"), "the line of the transaction: {complaint}");
    assert!(!complaint.contains("included") && !complaint.contains("/proc"), "{complaint}");
    assert_eq!(namespace.enter(|| Live::new().unwrap().read_table().unwrap()), None);
}

#[test]
fn one_that_was_killed_while_it_waited_was_told_nothing() {
    let namespace = Namespace::new("nft");
    namespace.enter(|| {
        let waiting = Nft::find().unwrap().start().unwrap();
        let id = waiting.id().to_string();
        let killed = std::process::Command::new("kill").args(["-9", &id]).status();
        assert!(killed.unwrap().success());
        std::thread::sleep(Duration::from_millis(100));
        assert!(matches!(waiting.run(TABLE), Err(NftError::Run { .. })));
        assert_eq!(Live::new().unwrap().read_table().unwrap(), None);
    });
}
