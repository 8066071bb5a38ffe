//! The guard on what carries a session: tunnels of the kernel, IPsec, and one through another.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "guard/support.rs"]
mod support;

use fwctl::guard::{Cause, Caution, Refusal};
use fwctl::model::Protocol;
use fwctl::observe::{
    IpsecAssociation, IpsecCarried, IpsecPolicy, Link, LinkKind, Route, Snapshot, Tunnel,
    TunnelPeer,
};
use support::{
    bare, cautioned, host, in_use, judged, lost, refused_until_mended, socket, ufw_host,
};

const SSH: &str = "[[allow]]\nservice = [\"ssh\"]\n";
const PEER: &str = "198.51.100.7";

/// A session by `lan0`, which is of this kind.
fn by(kind: LinkKind, tunnels: Vec<Tunnel>) -> Snapshot {
    let mut host = in_use(bare(host()), "192.0.2.20:50123", "192.0.2.10:22", "lan0");
    link(&mut host, "lan0").kind = kind;
    host.tunnels = tunnels;
    host
}

fn other(word: &str) -> LinkKind {
    LinkKind::Other(word.to_owned())
}

fn link<'a>(host: &'a mut Snapshot, name: &str) -> &'a mut Link {
    host.links.iter_mut().find(|link| link.name.as_str() == name).unwrap()
}

/// A tunnel of `lan0`, for all that comes by it.
fn tunnel(protocol: &str, port: u16, end: Option<&str>) -> Tunnel {
    Tunnel {
        interface: "lan0".parse().unwrap(),
        protocol: protocol.parse().unwrap(),
        local: "203.0.113.10".parse().ok(),
        port,
        peers: vec![peer(end, &["0.0.0.0/0", "::/0"])],
    }
}

fn peer(end: Option<&str>, behind: &[&str]) -> TunnelPeer {
    TunnelPeer {
        endpoint: end.map(|end| format!("{end}:0").parse().unwrap()),
        allowed: behind.iter().map(|own| own.parse().unwrap()).collect(),
    }
}

/// What it says to add, without what is said twice.
fn fixes(refusals: &[Refusal]) -> Vec<String> {
    let mut fixes: Vec<String> = refusals.iter().filter_map(Refusal::fix).collect();
    fixes.sort();
    fixes.dedup();
    fixes
}

fn allow(port: &str, from: &str) -> String {
    format!("[[allow]]\nports = [\"{port}\"]\nfrom  = [\"{from}\"]\n")
}

#[test]
fn every_kind_needs_what_carries_it_from_its_other_end() {
    for (kind, protocol, port, dialled) in [
        (other("ipip"), "ipip", 0, "ipip"),
        (other("sit"), "ipv6", 0, "ipv6"),
        (other("gre"), "gre", 0, "gre"),
        (other("gretap"), "gre", 0, "gre"),
        (other("vti"), "esp", 0, "esp"),
        (LinkKind::Vxlan, "udp", 4789, "4789/udp"),
        (other("geneve"), "udp", 6081, "6081/udp"),
        // L2TP's Ethernet interfaces have no kind.
        (LinkKind::Physical, "l2tp", 0, "l2tp"),
    ] {
        let host = by(kind.clone(), vec![tunnel(protocol, port, Some(PEER))]);
        let refusals = refused_until_mended(SSH, &host);
        assert_eq!(fixes(&refusals), [allow(dialled, PEER)], "{kind:?}");
        assert_eq!(refusals[0].id(), "vpn");
        let message = refusals[0].message();
        assert!(message.contains("lan0") && message.contains("no rule allows it"), "{message}");
        let open = format!("{SSH}{}", allow(dialled, "198.51.100.0/24"));
        assert_eq!(judged(&open, &host), Ok(()), "{kind:?}");
        let deny = format!("{open}[[deny]]\nports = [\"{dialled}\"]\nfrom = [\"{PEER}\"]\n");
        let refusals = judged(&deny, &host).expect_err("let through");
        assert!(matches!(lost(&refusals)[0].cause, Cause::Denied(_)), "{refusals:?}");
    }
}

#[test]
fn a_tunnel_from_anywhere_needs_it_from_anyone() {
    let host = by(other("gre"), vec![tunnel("gre", 0, None)]);
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("gre", "internet")]);
    // Where nobody knows who is behind, and what it is carried by is known.
    let mut nobody = tunnel("udp", 4789, None);
    nobody.peers.clear();
    let host = by(LinkKind::Vxlan, vec![nobody]);
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("4789/udp", "internet")]);
}

#[test]
fn what_is_inside_tells_what_is_outside() {
    let mut four = tunnel("ipip", 0, Some(PEER));
    four.peers[0] = peer(Some(PEER), &["0.0.0.0/0"]);
    let mut six = tunnel("ipv6", 0, Some(PEER));
    six.peers[0] = peer(Some(PEER), &["::/0"]);
    let host = by(other("sit"), vec![four, six]);
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("ipip", PEER)]);
}

#[test]
fn a_kind_that_nobody_knows_needs_guard_keep() {
    for kind in ["gtp", "ipip", "xfrm", "tomorrows"] {
        let host = by(other(kind), Vec::new());
        let refusals = judged(SSH, &host).expect_err("let through");
        assert!(matches!(lost(&refusals)[0].cause, Cause::Unclear(_)), "{refusals:?}");
        assert!(refusals[0].advice().unwrap().contains("keep"), "{refusals:?}");
        // What is named there is proved.
        let keep = format!("{SSH}[guard]\nkeep = [\"ssh\", \"ip-200\"]\n");
        assert_eq!(fixes(&refused_until_mended(&keep, &host)), [allow("ip-200", "internet")]);
        let open = format!("{keep}{}", allow("ip-200", "internet"));
        assert_eq!(judged(&open, &host), Ok(()));
    }
    for kind in ["team", "ipoib", "netkit"] {
        assert_eq!(judged(SSH, &by(other(kind), Vec::new())), Ok(()), "{kind}");
    }
}

#[test]
fn what_comes_by_an_interface_of_open_vswitch_is_behind_its_flows() {
    let refusals = judged(SSH, &by(other("openvswitch"), Vec::new())).expect_err("let through");
    let Cause::Unclear(why) = &lost(&refusals)[0].cause else { panic!("{refusals:?}") };
    assert_eq!(why, &["Open vSwitch, of which lan0 is a port"]);
}

#[test]
fn open_vswitch_with_tunnels_is_not_known() {
    let mut host = by(other("openvswitch"), vec![tunnel("udp", 4789, None)]);
    host.tunnels[0].interface = "wan0".parse().unwrap();
    link(&mut host, "wan0").master = "ovs-system".parse().ok();
    let refusals = judged(SSH, &host).expect_err("let through");
    assert!(matches!(lost(&refusals)[0].cause, Cause::Unclear(_)), "{refusals:?}");
}

#[test]
fn an_interface_that_stands_on_a_tunnel_needs_it() {
    let mut host = by(LinkKind::Vlan, vec![tunnel("gre", 0, Some(PEER))]);
    host.tunnels[0].interface = "lan1".parse().unwrap();
    assert_eq!(judged(SSH, &host), Ok(()));
    let mut lower = link(&mut host, "lan0").clone();
    lower.name = "lan1".parse().unwrap();
    lower.kind = other("gretap");
    host.links.retain(|link| link.name != lower.name);
    host.links.push(lower);
    link(&mut host, "lan0").below = "lan1".parse().ok();
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("gre", PEER)]);
}

#[test]
fn of_several_ends_the_one_counts_that_the_client_is_behind() {
    let mut ends = tunnel("udp", 4789, None);
    ends.peers =
        vec![peer(Some("198.51.100.8"), &["192.0.2.21/32"]), peer(Some(PEER), &["192.0.2.20/32"])];
    let mut host = by(LinkKind::Vxlan, vec![ends]);
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("4789/udp", PEER)]);
    // Behind a gateway that is.
    host.ssh.sessions[0].remote = "10.77.0.5:50123".parse().unwrap();
    host.routes.push(Route {
        to: "10.77.0.0/16".parse().unwrap(),
        table: 254,
        kind: "unicast".to_owned(),
        interface: "lan0".parse().ok(),
        gateway: "192.0.2.21".parse().ok(),
        metric: 0,
    });
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("4789/udp", "198.51.100.8")]);
    // Behind which nobody knows: behind any.
    host.tunnels[0].peers.iter_mut().for_each(|peer| peer.allowed.clear());
    assert_eq!(fixes(&refused_until_mended(SSH, &host)).len(), 2);
}

#[test]
fn by_a_bridge_only_those_come_by_a_tunnel_who_are_known_behind_it() {
    let mut port = tunnel("gre", 0, Some(PEER));
    port.peers[0] = peer(Some(PEER), &["192.0.2.20/32"]);
    let mut host = by(LinkKind::Bridge, vec![port]);
    // A bridge without an uplink would be a container engine's.
    link(&mut host, "wan0").master = None;
    let mut uplink = link(&mut host, "lan0").clone();
    (uplink.name, uplink.kind) = ("up0".parse().unwrap(), LinkKind::Physical);
    uplink.master = "lan0".parse().ok();
    uplink.addresses.clear();
    host.links.push(uplink);
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("gre", PEER)]);
    host.tunnels[0].peers[0] = peer(Some(PEER), &["192.0.2.21/32"]);
    assert_eq!(judged(SSH, &host), Ok(()));
}

#[test]
fn a_tunnel_through_another_needs_both() {
    let mut host = by(other("gre"), vec![tunnel("gre", 0, Some("10.9.0.2"))]);
    host.tunnels[0].local = "10.9.0.1".parse().ok();
    let mut vpn = link(&mut host, "lan0").clone();
    (vpn.name, vpn.kind, vpn.index) = ("wg0".parse().unwrap(), LinkKind::Wireguard, 99);
    vpn.addresses.truncate(1);
    vpn.addresses[0].address = "10.9.0.1".parse().unwrap();
    vpn.addresses[0].length = 24;
    host.links.push(vpn);
    let route = |to: &str, table, kind: &str| Route {
        to: to.parse().unwrap(),
        table,
        kind: kind.to_owned(),
        interface: "wg0".parse().ok(),
        gateway: None,
        metric: 0,
    };
    host.routes.push(route("10.9.0.0/24", 254, "unicast"));
    host.routes.push(route("10.9.0.1/32", 255, "local"));
    host.tunnels.push(Tunnel {
        interface: "wg0".parse().unwrap(),
        protocol: Protocol::UDP,
        local: None,
        port: 51820,
        peers: vec![TunnelPeer {
            endpoint: format!("{PEER}:40001").parse().ok(),
            allowed: vec!["10.9.0.2/32".parse().unwrap()],
        }],
    });
    let expected = [allow("51820/udp", PEER), allow("gre", "10.9.0.2")];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), expected);
    // One that comes by itself has an end.
    host.tunnels[1].peers[0].endpoint = "10.9.0.2:40001".parse().ok();
    assert!(judged(SSH, &host).is_err());
}

#[test]
fn a_neighbour_that_keeps_it_out_is_named_with_its_command() {
    let mut host = in_use(ufw_host(), "192.0.2.20:50123", "192.0.2.10:22", "lan0");
    link(&mut host, "lan0").kind = other("gre");
    host.tunnels = vec![tunnel("gre", 0, Some(PEER))];
    let policy = format!("{SSH}{}", allow("gre", PEER));
    let refusals = judged(&policy, &host).expect_err("let through");
    let advice = refusals[0].advice().unwrap();
    assert!(advice.contains("`ufw allow proto gre from 198.51.100.7`"), "{advice}");
    host.tunnels = vec![tunnel("ipip", 0, Some(PEER))];
    let policy = format!("{SSH}{}", allow("ipip", PEER));
    let refusals = judged(&policy, &host).expect_err("let through");
    let advice = refusals[0].advice().unwrap();
    assert!(advice.contains("-p 4 -j ACCEPT"), "{advice}");
}

#[test]
fn the_point_to_point_protocol_is_a_vpn_or_an_uplink() {
    let mut host = by(other("ppp"), Vec::new());
    let refusals = judged(SSH, &host).expect_err("let through");
    assert!(matches!(lost(&refusals)[0].cause, Cause::Unclear(_)), "{refusals:?}");
    host.sockets.push(socket(Protocol::UDP, "0.0.0.0:1701", "xl2tpd"));
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("1701/udp", "internet")]);
    *host.sockets.last_mut().unwrap() = socket(Protocol::TCP, "0.0.0.0:1723", "pptpd");
    let expected = [allow("1723/tcp", "internet"), allow("gre", "internet")];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), expected);
    *host.sockets.last_mut().unwrap() = socket(Protocol::TCP, "0.0.0.0:50999", "openfortivpn");
    let cautions = cautioned(SSH, &host).unwrap();
    assert!(cautions.iter().any(|own| matches!(own, Caution::ConnectsOut { .. })), "{cautions:?}");
    // What the host itself is connected by is no VPN.
    host.sockets.pop();
    let uplink = host.routes.iter().find(|route| route.is_default()).unwrap().interface.clone();
    let uplink = uplink.unwrap();
    link(&mut host, "lan0").kind = LinkKind::Physical;
    link(&mut host, uplink.as_str()).kind = other("ppp");
    host.ssh.sessions[0].interface = Some(uplink);
    host.ssh.sessions[0].remote = "198.51.100.9:50123".parse().unwrap();
    assert_eq!(judged(SSH, &host), Ok(()));
}

/// A session from `10.2.0.5` by the uplink, for which this policy of IPsec holds.
fn by_ipsec(policies: Vec<IpsecPolicy>) -> Snapshot {
    let mut host = in_use(bare(host()), "10.2.0.5:50123", "203.0.113.10:22", "wan0");
    host.ipsec.policies = policies;
    host
}

fn ipsec(source: &str, carried: Option<IpsecCarried>) -> IpsecPolicy {
    IpsecPolicy {
        source: source.parse().unwrap(),
        destination: "203.0.113.10/32".parse().unwrap(),
        protocol: None,
        source_port: None,
        port: None,
        marked: false,
        interface: None,
        carried,
    }
}

fn esp() -> IpsecCarried {
    IpsecCarried {
        protocol: "esp".parse().unwrap(),
        uncompressed: None,
        outer: Some((PEER.parse().unwrap(), "203.0.113.10".parse().unwrap())),
    }
}

fn association(encapsulated: Option<(Protocol, u16, u16)>) -> IpsecAssociation {
    IpsecAssociation {
        source: PEER.parse().unwrap(),
        destination: "203.0.113.10".parse().unwrap(),
        protocol: "esp".parse().unwrap(),
        encapsulated,
    }
}

#[test]
fn ipsec_needs_its_own_protocol_from_its_other_end() {
    let mut host = by_ipsec(vec![ipsec("10.2.0.0/24", Some(esp()))]);
    let refusals = refused_until_mended(SSH, &host);
    assert_eq!(fixes(&refusals), [allow("esp", PEER)]);
    let message = refusals[0].message();
    assert!(message.contains("by IPsec") && message.contains(PEER), "{message}");
    let open = format!("{SSH}{}", allow("esp", "198.51.100.0/24"));
    assert_eq!(judged(&open, &host), Ok(()));
    // In UDP, from whatever port the router in between has taken.
    host.ipsec.associations = vec![association(Some((Protocol::UDP, 40123, 4500)))];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("4500/udp", PEER)]);
    host.ipsec.associations = vec![association(None)];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("esp", PEER)]);
    host.ipsec.policies[0].carried.as_mut().unwrap().uncompressed = "ipip".parse().ok();
    let expected = [allow("esp", PEER), allow("ipip", PEER)];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), expected);
}

#[test]
fn who_agrees_on_keys_must_be_reached_too() {
    let mut host = by_ipsec(vec![ipsec("10.2.0.0/24", Some(esp()))]);
    for port in ["500", "4500", "1812"] {
        host.sockets.push(socket(Protocol::UDP, &format!("0.0.0.0:{port}"), "charon"));
    }
    let expected = [allow("4500/udp", PEER), allow("500/udp", PEER), allow("esp", PEER)];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), expected);
}

#[test]
fn the_first_policy_that_is_about_the_session_counts() {
    let clear = ipsec("10.2.0.5/32", None);
    let whole = ipsec("10.2.0.0/24", Some(esp()));
    assert_eq!(judged(SSH, &by_ipsec(vec![clear.clone(), whole.clone()])), Ok(()));
    assert!(judged(SSH, &by_ipsec(vec![whole.clone(), clear])).is_err());
    let not_about_it = [
        IpsecPolicy { source: "10.3.0.0/24".parse().unwrap(), ..whole.clone() },
        IpsecPolicy { destination: "203.0.113.11/32".parse().unwrap(), ..whole.clone() },
        IpsecPolicy { protocol: Some(Protocol::UDP), ..whole.clone() },
        IpsecPolicy { port: Some(1701), ..whole.clone() },
        IpsecPolicy { source_port: Some(1701), ..whole.clone() },
        IpsecPolicy { interface: "ipsec0".parse().ok(), ..whole.clone() },
        IpsecPolicy { marked: true, source: "0.0.0.0/0".parse().unwrap(), ..whole.clone() },
    ];
    for policy in not_about_it {
        assert_eq!(judged(SSH, &by_ipsec(vec![policy.clone()])), Ok(()), "{policy:?}");
    }
    let about_it = IpsecPolicy { protocol: Some(Protocol::TCP), port: Some(22), ..whole };
    assert!(judged(SSH, &by_ipsec(vec![about_it])).is_err());
}

#[test]
fn in_transport_mode_the_client_is_the_other_end() {
    let carried = IpsecCarried { outer: None, ..esp() };
    let mut host = by_ipsec(vec![ipsec("198.51.100.0/24", Some(carried))]);
    host.ssh.sessions[0].remote = format!("{PEER}:50123").parse().unwrap();
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("esp", PEER)]);
}

#[test]
fn a_tunnel_inside_ipsec_needs_both() {
    // GRE between the same hosts, in transport mode.
    let mut host = by(other("gre"), vec![tunnel("gre", 0, Some(PEER))]);
    let carried = IpsecCarried { outer: None, ..esp() };
    let gre = IpsecPolicy { protocol: "gre".parse().ok(), ..ipsec("0.0.0.0/0", Some(carried)) };
    host.ipsec.policies = vec![gre];
    let expected = [allow("esp", PEER), allow("gre", PEER)];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), expected);
}

#[test]
fn interfaces_of_ipsec_need_it() {
    // By xfrm's interface, the policies that name it.
    let policy = IpsecPolicy { interface: "lan0".parse().ok(), ..ipsec("0.0.0.0/0", Some(esp())) };
    let policy = IpsecPolicy { destination: "0.0.0.0/0".parse().unwrap(), ..policy };
    let mut host = by(other("xfrm"), Vec::new());
    host.ipsec.policies = vec![policy];
    assert_eq!(fixes(&refused_until_mended(SSH, &host)), [allow("esp", PEER)]);
    // By vti's, what is between its ends; its policies have a mark.
    let marked = IpsecPolicy { marked: true, ..ipsec("192.0.2.0/24", Some(esp())) };
    let mut host = by(other("vti"), vec![tunnel("esp", 0, Some(PEER))]);
    host.ipsec.policies = vec![marked];
    host.ipsec.associations = vec![association(Some((Protocol::UDP, 4500, 4500)))];
    let refusals = refused_until_mended(SSH, &host);
    assert_eq!(fixes(&refusals), [allow("4500/udp", PEER)]);
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[test]
fn older_snapshots_speak_of_wireguard_alone() {
    let text = r#"{ "interface": "wg0", "port": 51820, "peers": [] }"#;
    let tunnel: Tunnel = serde_json::from_str(text).unwrap();
    assert_eq!((tunnel.protocol, tunnel.local), (Protocol::UDP, None));
}
