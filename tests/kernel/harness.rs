//! The guest itself: another kernel, commands with their end and output, and probes that see.

use crate::net::{Answer, HOST_WAN_V4, HOST_WAN_V6, Lab, Probe};
use crate::{guest, net};
use std::time::Duration;

#[test]
fn commands_end_as_they_end_there() {
    let guest = guest::shared();
    let output = guest.try_sh("echo said; echo complained >&2; exit 7");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"said\n"[..], &b"complained\n"[..]));
    let endless = guest.try_sh_within("sleep 1000", Duration::from_secs(1));
    assert_eq!(endless.status.code(), Some(124));
    // Several at a time, and what one leaves behind.
    std::thread::scope(|scope| {
        let waits =
            scope.spawn(|| guest.sh("until [ -e /tmp/there ]; do sleep 0.1; done; echo seen"));
        guest.sh("touch /tmp/there");
        assert_eq!(waits.join().unwrap(), "seen");
    });
}

#[test]
fn it_is_another_kernel_with_modules_that_this_one_may_lack() {
    let here = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let there = guest::shared().sh("cat /proc/sys/kernel/osrelease");
    assert_ne!(here.trim(), there);
    guest::shared().sh("modprobe -a wireguard vrf openvswitch nf_flow_table macvtap");
}

#[test]
fn probes_see_what_is_open_there() {
    guest::inside(|| {
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), "guest\n");
        let lab = Lab::new();
        let _open = lab.host.listen_tcp("[::]:22");
        lab.host.nft(
            "add table inet t; add chain inet t c { type filter hook input priority 0; }; \
                      add rule inet t c tcp dport 25 drop",
        );
        for host in [HOST_WAN_V4, HOST_WAN_V6] {
            net::expect(&[
                (Probe::tcp(&lab.internet, (host, 22)), Answer::Open),
                (Probe::tcp(&lab.internet, (host, 23)), Answer::Refused),
                (Probe::tcp(&lab.internet, (host, 25)), Answer::Silent),
                (Probe::ping(&lab.internet, host), Answer::Open),
            ]);
        }
    });
}

#[test]
#[should_panic(expected = "in the guest, kernel::harness::what_fails_there_fails_here failed")]
fn what_fails_there_fails_here() {
    guest::inside(|| std::process::exit(3));
}
