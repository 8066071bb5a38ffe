//! The main job on another kernel, by packets: a policy in force, a change that nobody confirms and
//! one that somebody does, and the table out again. Nothing is lost meanwhile.

use crate::net::{Answer, HOST_LAN_V4, HOST_WAN_V4, HOST_WAN_V6, Host, Lab, Probe};
use crate::{guest, net};
use fwctl::plan::pending;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SSH: &str = "[[allow]]\nservice = [\"ssh\"]\n";
const WEB: &str = "[[allow]]\nservice = [\"ssh\"]\n[[allow]]\nports = [\"80/tcp\"]\n";

/// What both clients see of these ports, over both IP versions.
fn answers(lab: &Lab, ports: &[(u16, Answer)]) {
    let expected: Vec<_> = ports
        .iter()
        .flat_map(|(port, answer)| {
            [(&lab.internet, HOST_WAN_V4), (&lab.internet, HOST_WAN_V6), (&lab.lan, HOST_LAN_V4)]
                .map(|(from, to)| (Probe::tcp(from, (to, *port)), *answer))
        })
        .collect();
    net::expect(&expected);
}

/// How long the kernel still lets a change wait.
fn left(host: &Host) -> Option<Duration> {
    match pending::read(&host.live()?)?.phase {
        pending::Phase::Armed { left } => Some(Duration::from_millis(left)),
        _ => None,
    }
}

/// `more` stands behind the policy that opens port 80.
fn a_life(lab: &Lab, host: &Host, more: &str) {
    host.policy(SSH);
    host.run("apply --yes --no-confirm", 0);
    let before = host.rules();
    answers(lab, &[(22, Answer::Open), (80, Answer::Silent), (5432, Answer::Silent)]);

    host.policy(&format!("{WEB}{more}"));
    host.run("apply --yes --confirm-within 40s", 0);
    answers(lab, &[(22, Answer::Open), (80, Answer::Open), (5432, Answer::Silent)]);
    while let Some(left) = left(host) {
        std::thread::sleep(left + Duration::from_millis(5));
    }
    // Nothing of ours has run since: the kernel did it.
    answers(lab, &[(22, Answer::Open), (80, Answer::Silent), (5432, Answer::Silent)]);
    assert!(host.run("confirm", 6).contains("was not confirmed by"));
    assert_eq!(host.rules(), before);

    host.run("apply --yes --confirm-within 120s", 0);
    host.run("confirm", 0);
    answers(lab, &[(22, Answer::Open), (80, Answer::Open), (5432, Answer::Silent)]);
}

#[test]
fn rules_come_change_expire_stay_and_go_and_nothing_is_lost() {
    guest::inside(|| {
        let lab = Lab::new();
        let _open = [22, 80, 5432].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
        let host = Host::new(&lab.host);
        let stop = AtomicBool::new(false);
        let (asked, lost) = std::thread::scope(|scope| {
            let dials = scope.spawn(|| {
                lab.internet.enter(|| {
                    let (mut asked, mut lost) = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        for to in [HOST_WAN_V4, HOST_WAN_V6] {
                            // A lost first packet is sent again after one second.
                            let patience = Duration::from_millis(900);
                            asked += 1;
                            lost += i32::from(
                                TcpStream::connect_timeout(&(to, 22).into(), patience).is_err(),
                            );
                        }
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    (asked, lost)
                })
            });
            // Stopped however the life ends.
            let life = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                a_life(&lab, &host, "");
            }));
            stop.store(true, Ordering::Relaxed);
            let dialled = dials.join().unwrap();
            life.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            dialled
        });
        assert!(asked > 100, "only {asked} connections were tried");
        assert_eq!(lost, 0, "of {asked}");

        host.run("off --yes --no-confirm", 0);
        assert_eq!(host.live(), None);
        answers(&lab, &[(22, Answer::Open), (80, Answer::Open), (5432, Answer::Open)]);
    });
}

/// The kernel lists its hooks: whether port 80 opens is known, although it depends on the order of
/// chains that have our priority.
#[test]
fn so_they_do_among_neighbours_of_equal_priority() {
    guest::inside_newer(|| {
        let lab = Lab::new();
        let _open = [22, 80, 5432].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
        // The last registered runs first, before the mark that it drops is set.
        for (table, rule) in [("marks", "meta mark set 1"), ("drops", "meta mark 1 drop")] {
            lab.host.nft(&format!(
                "add table inet {table}; \
                 add chain inet {table} c {{ type filter hook input priority -10; }}; \
                 add rule inet {table} c tcp dport 80 {rule}"
            ));
        }
        let expected = "[[expect]]\nfrom = [\"internet\"]\nopen = [\"80/tcp\"]\n";
        a_life(&lab, &Host::new(&lab.host), expected);
    });
}
