//! The namespace harness itself: its probes tell open, refused and silent ports apart.

mod net;

use net::{Answer, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Lab, Probe, expect};
use std::time::Duration;

#[test]
fn probes_tell_open_refused_and_silent_apart() {
    let lab = Lab::new();
    let tcp = lab.host.listen_tcp("[::]:22");
    let udp = lab.host.listen_udp("[::]:53");
    let _dropped = lab.host.listen_tcp("[::]:23");
    lab.host.nft(
        "table inet t { chain c { type filter hook input priority 0;
            tcp dport 23 drop
            udp dport 54 drop
            tcp dport 24 reject with icmpx admin-prohibited
            ip6 saddr 2001:db8:7::7 icmpv6 type echo-request drop
            ip saddr 198.51.100.7 icmp type echo-request drop
        }
        }",
    );
    let mut expected = Vec::new();
    for (from, v4, v6) in
        [(&lab.internet, HOST_WAN_V4, HOST_WAN_V6), (&lab.lan, HOST_LAN_V4, HOST_LAN_V6)]
    {
        for host in [v4, v6] {
            expected.extend([
                (Probe::tcp(from, (host, 22)), Answer::Open),
                (Probe::tcp(from, (host, 23)), Answer::Silent),
                (Probe::tcp(from, (host, 24)), Answer::Unreachable),
                (Probe::tcp(from, (host, 25)), Answer::Refused),
                (Probe::udp(from, (host, 53)), Answer::Open),
                (Probe::udp(from, (host, 54)), Answer::Silent),
                (Probe::udp(from, (host, 55)), Answer::Refused),
                (Probe::ping(from, host), Answer::Open),
            ]);
        }
    }
    expected.push((Probe::ping(&lab.internet, HOST_WAN_V4).source(net::FAR_V4), Answer::Silent));
    expected.push((Probe::ping(&lab.internet, HOST_WAN_V6).source(net::FAR_V6), Answer::Silent));
    expected.push((Probe::tcp(&lab.internet, (HOST_WAN_V6, 22)).source(net::FAR_V6), Answer::Open));
    expect(&expected);
    assert!(tcp.wait_heard(5, Duration::from_secs(1)));
    assert_eq!(udp.heard(), 4);
}

#[test]
#[should_panic(expected = "1 of 2 probes")]
fn a_wrong_answer_is_told() {
    let lab = Lab::new();
    let _open = lab.host.listen_tcp("[::]:22");
    expect(&[
        (Probe::tcp(&lab.internet, (HOST_WAN_V4, 22)), Answer::Silent),
        (Probe::tcp(&lab.internet, (HOST_WAN_V4, 23)), Answer::Refused),
    ]);
}

#[test]
fn containers_are_reached_through_the_host() {
    let lab = Lab::new();
    lab.bridge("br-test", "172.30.0.1/24", "2001:db8:d1::1/64");
    let via = ("172.30.0.1", "2001:db8:d1::1");
    let one = lab.container("br-test", "172.30.0.2/24", "2001:db8:d1::2/64", via);
    let two = lab.container("br-test", "172.30.0.3/24", "2001:db8:d1::3/64", via);
    let _web = one.listen_tcp("[::]:80");
    let v4 = "172.30.0.2:80".parse::<std::net::SocketAddr>().unwrap();
    let v6 = "[2001:db8:d1::2]:80".parse::<std::net::SocketAddr>().unwrap();
    for from in [&lab.internet, &lab.lan, &lab.host, &two] {
        expect(&[(Probe::tcp(from, v4), Answer::Open), (Probe::tcp(from, v6), Answer::Open)]);
    }
}

#[test]
fn multicast_and_broadcast_arrive() {
    let lab = Lab::new();
    let v4 = lab.host.listen_multicast("239.1.2.3".parse().unwrap(), 5000, "203.0.113.10");
    let v6 = lab.host.listen_multicast("ff02::1:5".parse().unwrap(), 5001, "wan0");
    let broadcast = lab.host.listen_udp("0.0.0.0:5002");
    net::send_udp(&lab.internet, "239.1.2.3:5000", "eth0");
    net::send_udp(&lab.internet, "[ff02::1:5]:5001", "eth0");
    net::send_udp(&lab.internet, "203.0.113.255:5002", "eth0");
    for listener in [&v4, &v6, &broadcast] {
        assert!(listener.wait_heard(1, Duration::from_secs(2)), "{}", listener.address());
    }
}
