//! `fwctl plan --out FILE` and `fwctl apply FILE`: what was reviewed is made, or nothing.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod net;

use net::{Answer, HOST_WAN_V4, HOST_WAN_V6, Host, Lab, Probe};

const WEB: &str = "[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nservice = [\"http\"]\n";
const SSH: &str = "[[allow]]\nservice = [\"ssh\"]\n";

#[test]
fn what_was_reviewed_is_made_or_nothing() {
    let lab = Lab::new();
    let _listeners = [22, 80, 5432].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
    let host = Host::new(&lab.host);
    let file = host.file("change.plan");
    let (plan, apply) = (format!("plan --out {}", file.display()), format!("{}", file.display()));
    let apply = |how: &str, code: i32| host.run(&format!("apply {apply} --yes {how}"), code);
    let answers = |expected: &[(u16, Answer)]| {
        let both = |(port, answer): &(u16, Answer)| {
            [HOST_WAN_V4, HOST_WAN_V6]
                .map(|address| (Probe::tcp(&lab.internet, (address, *port)), *answer))
        };
        net::expect(&expected.iter().flat_map(both).collect::<Vec<_>>());
    };

    // From a snapshot, as on another machine; the policy file of the host says something else.
    let snapshot = host.file("host.json");
    let taken = host.command("snapshot").output().unwrap();
    std::fs::write(&snapshot, taken.stdout).unwrap();
    host.policy(WEB);
    let text = host.run(&format!("{plan} --snapshot {}", snapshot.display()), 0);
    assert!(text.contains("generation 1 makes table inet fwctl"), "{text}");
    assert!(text.contains(&format!("`fwctl apply {}`", file.display())), "{text}");
    host.policy(SSH);

    // Somebody begins to serve something meanwhile.
    let late = lab.host.listen_tcp("[::]:6379");
    let text = apply("--no-confirm", 7);
    assert!(text.contains("the host is not as it was when this was planned"), "{text}");
    assert!(text.contains("cause: 6379/tcp is served now, by ") && text.contains("host:  nothing"));
    assert_eq!(host.live(), None);
    drop(late);
    // Or closes a port.
    lab.host.nft(
        "table inet neighbour {\n chain input {\n type filter hook input priority 0\n \
         tcp dport 80 drop\n }\n}",
    );
    let text = apply("", 7);
    let moved = "80/tcp from internet over IPv4 was open → open, and now is closed → closed";
    assert!(text.contains(moved), "{text}");
    assert_eq!(host.live(), None);
    lab.host.nft("delete table inet neighbour");

    let text = apply("--confirm-within 60s", 0);
    assert!(text.contains("Generation 1 rules for 60 s"), "{text}");
    host.run("confirm", 0);
    answers(&[(22, Answer::Open), (80, Answer::Open), (5432, Answer::Silent)]);
    assert!(apply("--no-confirm", 0).contains("Nothing to change: generation 1 is in force"));

    // Other rules of ours are in force than then.
    host.policy(SSH);
    host.run(&plan, 0);
    host.policy("[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nports = [\"5432/tcp\"]\n");
    host.run("apply --yes --no-confirm", 0);
    let text = apply("--no-confirm", 7);
    assert!(text.contains("generation 1 was in force, and now generation 2 is"), "{text}");
    answers(&[(22, Answer::Open), (80, Answer::Silent), (5432, Answer::Open)]);
    // Planned anew, it can be made.
    host.policy(SSH);
    host.run(&plan, 0);
    apply("--no-confirm", 0);
    answers(&[(22, Answer::Open), (80, Answer::Silent), (5432, Answer::Silent)]);

    // What is no plan, or not as it was saved; and the plan holds its policy.
    let saved = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, saved.replace("\"closed\"", "\"open\"")).unwrap();
    let text = apply("--no-confirm", 1);
    assert!(text.contains("its SHA-256 is another one") && text.contains("nothing was"), "{text}");
    std::fs::remove_file(&file).unwrap();
    let text = apply("--no-confirm", 1);
    assert!(text.contains("change.plan cannot be used"), "{text}");
    apply("--policy other.toml", 2);
    let text = host.run("plan --out /nowhere/x.plan", 1);
    assert!(text.contains("/nowhere/x.plan"), "{text}");
}
