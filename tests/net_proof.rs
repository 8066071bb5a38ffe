//! What was proved before a change is proved again on what the kernel runs then: where somebody
//! else changed the rules meanwhile, so that it does not hold any more, the change is taken back.
//!
//! The program is stopped (`tests/crash`) when it starts nft, and a neighbour's table is loaded
//! just then: behind the plan, and before the change.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod crash;
mod net;

use crash::End;
use net::{Answer, HOST_WAN_V4, HOST_WAN_V6, Host, Lab, Probe};

const WEB: &str = "[[allow]]\nports = [\"22/tcp\", \"80/tcp\"]\n";
const DATABASE: &str = "[[allow]]\nports = [\"22/tcp\", \"5432/tcp\"]\n\
                        [[expect]]\nfrom = [\"internet\"]\nopen = [\"5432/tcp\"]\n";

/// Says what is lost, and that the change was taken back.
const NOT_PROVED: &str = "what was proved beforehand does not hold on the rules in force";

struct Bench<'l> {
    host: Host<'l>,
    lab: &'l Lab,
}

impl<'l> Bench<'l> {
    /// The kernel's switch was tried, and no rules are in force.
    fn new(lab: &'l Lab) -> Self {
        let bench = Self { host: Host::new(&lab.host), lab };
        bench.host.policy(WEB);
        bench.host.run("apply --yes", 0);
        bench.host.run("rollback", 0);
        bench
    }

    /// Runs it, while a neighbour begins to drop what dials a port; gives what it said.
    fn meanwhile(&self, arguments: &str, port: u16, code: i32) -> String {
        let said = self.host.file("said");
        let mut command = self.lab.host.command("sh");
        command.args(["-c", "exec \"$@\" 2>\"$SAID\"", "sh", env!("CARGO_BIN_EXE_fwctl")]);
        command.args(arguments.split_whitespace());
        command.env("FWCTL_ROOT", self.host.root.path()).env("SAID", &said);
        let mut begun = false;
        let end = crash::run(&command, "fwctl", |effect| {
            if effect.what == crash::STARTS && !begun {
                begun = true;
                self.lab.host.nft(&format!(
                    "table inet neighbour {{\n chain input {{\n \
                     type filter hook input priority 0\n tcp dport {port} drop\n }}\n}}"
                ));
            }
            false
        });
        let said = std::fs::read_to_string(said).unwrap();
        assert_eq!(end, End::Completed(code), "fwctl {arguments}\n{said}");
        assert!(begun, "fwctl {arguments} never started nft");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn neighbour_goes(&self) {
        self.lab.host.nft("delete table inet neighbour");
    }

    fn answers(&self, ports: &[(u16, Answer)]) {
        let both = |(port, answer): &(u16, Answer)| {
            [HOST_WAN_V4, HOST_WAN_V6]
                .map(|address| (Probe::tcp(&self.lab.internet, (address, *port)), *answer))
        };
        net::expect(&ports.iter().flat_map(both).collect::<Vec<_>>());
    }
}

fn lab() -> (Lab, [net::Listener; 3]) {
    let lab = Lab::new();
    let listeners = [22, 80, 5432].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
    (lab, listeners)
}

#[test]
fn a_first_change_is_taken_back_to_nothing() {
    let (lab, _listeners) = lab();
    let bench = Bench::new(&lab);
    for how in ["apply --yes", "apply --yes --no-confirm"] {
        let said = bench.meanwhile(how, 22, 4);
        assert!(said.contains(NOT_PROVED) && said.contains("inet neighbour input"), "{said}");
        assert!(said.contains("the change was taken back"), "{said}");
        assert_eq!(bench.host.live(), None, "{how}");
        bench.answers(&[(22, Answer::Silent), (80, Answer::Open), (5432, Answer::Open)]);
        bench.neighbour_goes();
        bench.answers(&[(22, Answer::Open)]);
        assert!(bench.host.run("status", 0).contains("not in force"));
        assert!(bench.host.run("restore", 0).contains("no generation is confirmed"));
    }
    // What does not matter stops nothing.
    bench.meanwhile("apply --yes --no-confirm", 9999, 0);
    bench.answers(&[(22, Answer::Open), (80, Answer::Open), (5432, Answer::Silent)]);
}

#[test]
fn a_change_is_taken_back_to_the_rules_from_before() {
    let (lab, _listeners) = lab();
    let bench = Bench::new(&lab);
    bench.host.run("apply --yes --no-confirm", 0);
    let before = bench.host.rules();
    bench.host.policy(DATABASE);
    // A way in is lost; or what the policy expects.
    for (port, code) in [(22, 4), (5432, 5)] {
        for how in ["apply --yes", "apply --yes --no-confirm"] {
            let said = bench.meanwhile(how, port, code);
            assert!(said.contains(NOT_PROVED), "{said}");
            assert!(said.contains("the rules from before are in force"), "{said}");
            bench.neighbour_goes();
            assert_eq!(bench.host.rules(), before, "{how}, port {port}");
            bench.answers(&[(22, Answer::Open), (80, Answer::Open), (5432, Answer::Silent)]);
            bench.host.run("confirm", 6);
            let restore = bench.host.run("restore", 0);
            assert!(restore.contains("Nothing to change"), "{restore}");
        }
    }
}
