//! A host whose uplink is a port of a VRF: rules behind prerouting see the VRF as the interface by
//! which packets came. What a policy says of the port, and of the VRF, is what packets see, and what
//! the analysis says.

use crate::guest;
use crate::net::{
    Admin, Answer, FAR_V4, FAR_V6, HOST_LAN_V4, HOST_LAN_V6, HOST_WAN_V4, HOST_WAN_V6, Host,
    INTERNET_V4, INTERNET_V6, LAN_V4, LAN_V6, Lab, Probe,
};
use fwctl::analyze::{Analyzer, From, Packet, Reach, exposure};
use fwctl::model::Protocol;
use fwctl::observe::{Options, Snapshot, observe};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Neighbours on the uplink.
const NEAR: &str = "[zone.near]\ninterfaces = [\"wan0\"]\n\
                    addresses = [\"203.0.113.0/24\", \"2001:db8:1::/64\"]\n";

/// The host's uplink is a port of the VRF `blue`, whose routes lie in table 100; its LAN is not.
fn host() -> Lab {
    guest::load(&["vrf"]);
    let lab = Lab::without_host_addresses();
    let host = &lab.host;
    host.ip("link add blue type vrf table 100");
    host.ip("link set blue up");
    host.ip("link set wan0 master blue");
    for (address, device) in [
        (format!("{HOST_WAN_V4}/24 brd +"), "wan0"),
        (format!("{HOST_WAN_V6}/64"), "wan0"),
        (format!("{HOST_LAN_V4}/24 brd +"), "lan0"),
        (format!("{HOST_LAN_V6}/64"), "lan0"),
    ] {
        let nodad = if address.contains("::") { "nodad" } else { "" };
        host.ip(&format!("addr add {address} dev {device} {nodad}"));
    }
    host.ip(&format!("route add table 100 default via {INTERNET_V4} dev wan0"));
    host.ip(&format!("-6 route add table 100 default via {INTERNET_V6} dev wan0"));
    host.sysctl("ipv4/tcp_l3mdev_accept", "1");
    lab
}

/// By the uplink from near and from far, and by the LAN: what packets see of a port, and what the
/// analysis says of them.
fn same(lab: &Lab, port: u16, near: Answer, far: Answer, lan: Answer) {
    let snapshot = look(lab);
    let analyzer = Analyzer::new(&snapshot);
    let mut asked = Vec::new();
    for (from, device, source, to, answer) in [
        (&lab.internet, "wan0", INTERNET_V4, HOST_WAN_V4, near),
        (&lab.internet, "wan0", INTERNET_V6, HOST_WAN_V6, near),
        (&lab.internet, "wan0", FAR_V4, HOST_WAN_V4, far),
        (&lab.internet, "wan0", FAR_V6, HOST_WAN_V6, far),
        (&lab.lan, "lan0", LAN_V4, HOST_LAN_V4, lan),
        (&lab.lan, "lan0", LAN_V6, HOST_LAN_V6, lan),
    ] {
        let (source, to): (IpAddr, IpAddr) = (source, to);
        asked.push((Probe::tcp(from, SocketAddr::new(to, port)).source(source), answer));
        let packet =
            Packet::new(From::Interface(device.parse().unwrap()), source, to, Protocol::TCP, port);
        let said = analyzer.explain(&packet, None);
        let reach = if answer == Answer::Open { Reach::Open } else { Reach::Closed };
        assert_eq!((said.verdict, &*said.depends_on), (reach, &[][..]), "{source} {port}");
    }
    crate::net::expect(&asked);
}

#[test]
fn zones_hold_what_comes_by_a_port_of_a_vrf_and_by_the_vrf() {
    guest::inside(|| {
        zones_of_ports_and_of_the_vrf();
    });
}

#[test]
fn zones_hold_the_same_on_a_newer_kernel() {
    guest::inside_newer(|| {
        zones_of_ports_and_of_the_vrf();
    });
}

fn zones_of_ports_and_of_the_vrf() {
    use Answer::{Open, Silent};
    let lab = host();
    let _open = [22, 80, 443, 5432].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
    let host = Host::new(&lab.host);
    host.policy(&format!(
        "{NEAR}\
         [zone.vrf]\ninterfaces = [\"blue\"]\nworld = true\n\
         [guard]\nkeep = [\"ssh\"]\nfrom = [\"near\"]\n\
         [[allow]]\nports = [\"22/tcp\"]\nfrom = [\"near\"]\n\
         [[allow]]\nports = [\"80/tcp\"]\nfrom = [\"vrf\"]\n\
         [[allow]]\nports = [\"443/tcp\"]\nfrom = [\"internet\"]\n\
         [[allow]]\nports = [\"5432/tcp\"]\n\
         [[deny]]\nports = [\"5432/tcp\"]\nfrom = [\"near\"]\n"
    ));
    host.run("apply --yes --no-confirm", 0);
    same(&lab, 22, Open, Silent, Silent);
    same(&lab, 80, Open, Open, Silent);
    same(&lab, 443, Silent, Silent, Open);
    same(&lab, 5432, Silent, Open, Open);
    // What the host sends itself there comes by the VRF, and by no port of it.
    for (port, opens) in [(80, true), (22, false)] {
        let to = format!("TCP4:{HOST_WAN_V4}:{port},bindtodevice=blue,connect-timeout=2");
        let mut dial = lab.host.command("socat");
        let dialled = dial.args(["-u", "-T1", &to, "-"]).output().unwrap();
        assert_eq!(dialled.stdout == b"hello\n", opens, "{dialled:?}");
    }
    let said = host.run("exposure", 0);
    assert!(said.contains("22/tcp"), "{said}");
    assert!(host.run("apply --yes --no-confirm", 0).contains("othing to change"));

    // Now a socket that is bound to no device hears nothing of it.
    assert!(heard_by(&lab).contains(&Some("wan0".to_owned())));
    lab.host.sysctl("ipv4/tcp_l3mdev_accept", "0");
    let refused = Probe::tcp(&lab.internet, (HOST_WAN_V4, 22)).source(INTERNET_V4);
    assert_eq!(refused.ask(), Answer::Refused);
    assert_eq!(heard_by(&lab), [Some("lan0".to_owned())].into());
}

/// By which interfaces strangers reach what listens, as `fwctl exposure` says.
fn heard_by(lab: &Lab) -> BTreeSet<Option<String>> {
    let snapshot = look(lab);
    let exposed = exposure(&Analyzer::new(&snapshot), None, false);
    let reach = exposed.endpoints.iter().flat_map(|own| &own.reach);
    reach.filter_map(|own| own.witness.as_ref()).map(|own| own.interface.clone()).collect()
}

fn look(lab: &Lab) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    lab.host.enter(|| observe(&options))
}

#[test]
fn a_vrf_with_a_default_route_is_no_small_zone() {
    guest::inside(|| {
        let lab = host();
        let host = Host::new(&lab.host);
        host.policy("[zone.vrf]\ninterfaces = [\"blue\"]\n[[allow]]\nservice = [\"ssh\"]\n");
        let said = host.run("plan", 1);
        assert!(said.contains("the interface of a default route"), "{said}");
    });
}

#[test]
fn a_session_that_comes_by_a_vrf_is_seen_to_go_on() {
    guest::inside(|| {
        let admin = Admin::new(host());
        let mut ssh = admin.ssh(&HOST_WAN_V4.to_string());
        admin.policy(&format!("{NEAR}[[allow]]\nports = [\"443/tcp\"]\nfrom = [\"near\"]\n"));
        let (refused, code) = admin.fwctl(&mut ssh, "apply --yes --no-confirm");
        assert_eq!(code, 4, "{refused}");
        let (near, vrf) = ("from = [\"near\"]", "from = [\"vrf\"]");
        admin.policy(&format!(
            "{NEAR}[zone.vrf]\ninterfaces = [\"blue\"]\nworld = true\n\
             [[allow]]\nservice = [\"ssh\"]\n{near}\n[[deny]]\nservice = [\"ssh\"]\n{vrf}\n"
        ));
        let (refused, code) = admin.fwctl(&mut ssh, "apply --yes --no-confirm");
        assert_eq!(code, 4, "{refused}");
        assert!(refused.contains("denied by policy.toml:"), "{refused}");
        admin.policy(&format!("{NEAR}[[allow]]\nservice = [\"ssh\"]\nfrom = [\"near\"]\n"));
        let (applied, code) = admin.fwctl(&mut ssh, "apply --yes --no-confirm");
        assert_eq!(code, 0, "{applied}");
        assert_eq!(ssh.ask("echo on"), "on");
        assert_eq!(admin.ssh(&HOST_WAN_V4.to_string()).ask("echo anew"), "anew");
    });
}
