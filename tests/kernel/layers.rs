//! Real tunnels and real IPsec, with SSH sessions through them: what is read of them is true, and the
//! guard keeps what carries them open.

use crate::guest;
use crate::net::{
    Admin, HOST_WAN_V4, HOST_WAN_V6, INTERNET_V4, INTERNET_V6, Lab, Namespace, Session, fix,
};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// Lets SSH in, and closes what it comes by.
const SHUT: &str = "[[allow]]\nservice = [\"ssh\"]\n";
/// Inside: the host, and its client.
const HOST: &str = "10.9.0.1";
const CLIENT: &str = "10.9.0.2";

/// A host and its administrator. Connection tracking forgets the outer packets within a second, as
/// it would overnight.
fn admin(modules: &[&str]) -> Admin {
    guest::load(&["nf_conntrack"]);
    guest::load(modules);
    let lab = Lab::new();
    for timeout in ["generic_timeout", "gre_timeout", "gre_timeout_stream", "udp_timeout"] {
        lab.host.sysctl(&format!("netfilter/nf_conntrack_{timeout}"), "1");
    }
    lab.host.sysctl("netfilter/nf_conntrack_udp_timeout_stream", "1");
    Admin::new(lab)
}

fn forgotten() {
    std::thread::sleep(Duration::from_secs(3));
}

/// The snapshot that fwctl takes in the session.
fn snapshot(admin: &Admin, ssh: &mut Session) -> Value {
    let (text, code) = admin.fwctl(ssh, "snapshot");
    assert_eq!(code, 0, "{text}");
    let snapshot: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(snapshot["warnings"], json!([]));
    snapshot
}

/// The guard refuses what closes the outer layer, lets it through once what it says is added, and
/// has refused with reason.
fn guarded(admin: &Admin, ssh: &mut Session, outer: &str) {
    admin.policy(SHUT);
    let (refused, code) = admin.fwctl(ssh, "apply --yes --no-confirm");
    assert_eq!(code, 4, "{refused}");
    let mending = fix(&refused);
    let expected = format!("[[allow]]\nports = [\"{outer}\"]\nfrom  = [\"{INTERNET_V4}\"]\n");
    assert_eq!(mending, expected, "{refused}");
    admin.policy(&format!("{SHUT}{mending}"));
    let (armed, code) = admin.fwctl(ssh, "apply --yes --confirm-within 300s");
    assert_eq!(code, 0, "{armed}");
    let (kept, code) = admin.fwctl(ssh, "confirm");
    assert_eq!(code, 0, "{kept}");
    forgotten();
    assert_eq!(ssh.ask("echo on"), "on");
    assert_eq!(admin.ssh(HOST).ask("echo anew"), "anew");

    admin.policy(SHUT);
    let (armed, code) = admin.fwctl(ssh, "apply --yes --confirm-within 30s --override-guard");
    assert_eq!(code, 0, "{armed}");
    forgotten();
    assert_eq!(ssh.try_ask("echo late"), None, "the guard refused what does no harm");
    // The kernel takes it back, and what was asked is answered.
    let answer = ssh.try_ask_within("true", Duration::from_secs(90));
    assert_eq!(answer.as_deref(), Some("late"));
}

#[test]
fn a_session_through_gre_keeps_it() {
    guest::inside(|| {
        let admin = admin(&["ip_gre"]);
        let (host, internet) = (&admin.lab.host, &admin.lab.internet);
        host.ip(&format!("link add gre1 type gre local {HOST_WAN_V4} remote {INTERNET_V4}"));
        internet.ip(&format!("link add gre1 type gre local {INTERNET_V4} remote {HOST_WAN_V4}"));
        for (namespace, own) in [(host, HOST), (internet, CLIENT)] {
            namespace.ip(&format!("addr add {own}/24 dev gre1"));
            namespace.ip("link set gre1 up");
        }
        let mut ssh = admin.ssh(HOST);
        guarded(&admin, &mut ssh, "gre");
    });
}

#[test]
fn a_session_through_vxlan_in_a_bridge_keeps_it() {
    guest::inside(|| {
        let admin = admin(&["vxlan", "bridge"]);
        for (namespace, own, here, there) in [
            (&admin.lab.host, HOST, HOST_WAN_V4, INTERNET_V4),
            (&admin.lab.internet, CLIENT, INTERNET_V4, HOST_WAN_V4),
        ] {
            namespace.ip(&format!(
                "link add vx0 type vxlan id 42 local {here} remote {there} dstport 4789"
            ));
            namespace.ip("link add br0 type bridge");
            namespace.ip("link set vx0 master br0");
            namespace.ip("link set vx0 up");
            namespace.ip("link set br0 up");
            namespace.ip(&format!("addr add {own}/24 dev br0"));
        }
        let mut ssh = admin.ssh(HOST);
        let snapshot = snapshot(&admin, &mut ssh);
        let tunnels = snapshot["tunnels"].as_array().unwrap();
        let bridge = tunnels.iter().find(|own| own["interface"] == "br0").unwrap();
        assert_eq!((&bridge["protocol"], &bridge["port"]), (&json!("udp"), &json!(4789)));
        let behind = bridge["peers"][0]["allowed"].as_array().unwrap();
        assert!(behind.contains(&json!(CLIENT)), "{bridge}");
        guarded(&admin, &mut ssh, "4789/udp");
    });
}

/// IPsec in tunnel mode between the outer addresses, for the inner ones, with keys made here;
/// returns these.
fn ipsec(lab: &Lab, more: &str) -> Vec<String> {
    let keys: Vec<String> = (0..2).map(|_| key()).collect();
    let ends =
        |incoming| if incoming { (INTERNET_V4, HOST_WAN_V4) } else { (HOST_WAN_V4, INTERNET_V4) };
    for (namespace, own, other, dev) in
        [(&lab.host, HOST, CLIENT, "wan0"), (&lab.internet, CLIENT, HOST, "eth0")]
    {
        namespace.ip(&format!("addr add {own}/32 dev lo"));
        namespace.ip(&format!("route add {other}/32 dev {dev} src {own}"));
        for (incoming, key) in [true, false].into_iter().zip(&keys) {
            let (from, to) = ends(incoming);
            let inner = if incoming { (CLIENT, HOST) } else { (HOST, CLIENT) };
            namespace.ip(&format!(
                "xfrm state add src {from} dst {to} proto esp spi {} reqid 1 mode tunnel \
                 aead rfc4106(gcm(aes)) 0x{key} 128 {more}",
                if incoming { 4097 } else { 4098 }
            ));
            let direction = if incoming == (own == HOST) { "in" } else { "out" };
            namespace.ip(&format!(
                "xfrm policy add src {}/32 dst {}/32 dir {direction} \
                 tmpl src {from} dst {to} proto esp reqid 1 mode tunnel",
                inner.0, inner.1
            ));
        }
    }
    keys
}

/// A key and its salt (RFC 4106), hexadecimal.
fn key() -> String {
    let mut bytes = [0_u8; 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What is read is what is there, and no key.
fn is_read(admin: &Admin, ssh: &mut Session, keys: &[String], encapsulated: &Value) {
    let snapshot = snapshot(admin, ssh);
    let expected = json!({
        "policies": [{
            "source": CLIENT, "destination": HOST,
            "protocol": null, "source_port": null, "port": null, "marked": false,
            "interface": null,
            "carried": {
                "protocol": "esp", "uncompressed": null, "outer": [INTERNET_V4, HOST_WAN_V4],
            },
        }],
        "associations": [{
            "source": INTERNET_V4, "destination": HOST_WAN_V4, "protocol": "esp",
            "encapsulated": encapsulated,
        }],
    });
    assert_eq!(snapshot["ipsec"], expected);
    let text = snapshot.to_string();
    for key in keys {
        // Neither whole nor in part, as digits or as a list of bytes.
        let bytes: Vec<String> = (0..4)
            .map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap().to_string())
            .collect();
        for part in [&key[..8], &key[32..], &bytes.join(",")] {
            assert!(!text.contains(part), "a key is in the snapshot");
        }
    }
}

#[test]
fn a_session_through_ipsec_keeps_it() {
    guest::inside(|| {
        let admin = admin(&["esp4", "xfrm_user"]);
        let keys = ipsec(&admin.lab, "");
        let mut ssh = admin.ssh(HOST);
        is_read(&admin, &mut ssh, &keys, &Value::Null);
        guarded(&admin, &mut ssh, "esp");
    });
}

#[test]
fn a_session_through_ipsec_in_udp_keeps_its_port() {
    guest::inside(|| {
        let admin = admin(&["esp4", "xfrm_user"]);
        let _open = [&admin.lab.host, &admin.lab.internet].map(takes_esp);
        let keys = ipsec(&admin.lab, "encap espinudp 4500 4500 0.0.0.0");
        let mut ssh = admin.ssh(HOST);
        is_read(&admin, &mut ssh, &keys, &json!(["udp", 4500, 4500]));
        guarded(&admin, &mut ssh, "4500/udp");
    });
}

/// A socket on port 4500 whose datagrams the kernel takes for ESP (RFC 3948), as a program that
/// speaks IKE holds it.
#[allow(unsafe_code, reason = "no crate of ours has this option")]
fn takes_esp(namespace: &Namespace) -> UdpSocket {
    use nix::libc;
    /// `UDP_ENCAP` of linux/udp.h.
    const ENCAP: libc::c_int = 100;
    // `UDP_ENCAP_ESPINUDP`.
    let esp: libc::c_int = 2;
    let socket = namespace.enter(|| UdpSocket::bind("0.0.0.0:4500").unwrap());
    let (value, length) = ((&raw const esp).cast(), libc::socklen_t::try_from(size_of_val(&esp)));
    // SAFETY: the kernel reads a number of that length.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, ENCAP, value, length.unwrap())
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    socket
}

#[test]
fn what_carries_an_interface_is_read_of_every_kind() {
    guest::inside(|| {
        guest::load(&["ipip", "sit", "ip_gre", "ip6_gre", "ip6_tunnel", "ip_vti", "ip6_vti"]);
        guest::load(&["vxlan", "geneve", "xfrm_interface", "xfrm_user", "esp4"]);
        guest::load(&["l2tp_eth", "l2tp_ip", "fou", "macvlan"]);
        let lab = Lab::new();
        let four = format!("local {HOST_WAN_V4} remote {INTERNET_V4}");
        let six = format!("local {HOST_WAN_V6} remote {INTERNET_V6}");
        let (v4, v6) = (json!([HOST_WAN_V4, INTERNET_V4]), json!([HOST_WAN_V6, INTERNET_V6]));
        let (all4, all6, all) =
            (json!(["0.0.0.0/0"]), json!(["::/0"]), json!(["0.0.0.0/0", "::/0"]));
        let some = json!([]);
        // The interface, what carries it, its port, its own and its other end, what is behind that.
        let kinds = [
            (format!("t1 type ipip {four}"), "ipip", 0, &v4, &all4),
            (format!("t2 type sit {four} mode ip6ip"), "ipv6", 0, &v4, &all6),
            (format!("t3 type gre {four} key 3"), "gre", 0, &v4, &all),
            (format!("t4 type gretap {four} key 4"), "gre", 0, &v4, &all),
            (format!("t5 type erspan {four} seq key 5 erspan_ver 1 erspan 5"), "gre", 0, &v4, &all),
            (format!("t6 type ip6tnl {six} mode ip6ip6"), "ipv6", 0, &v6, &all6),
            (format!("t7 type ip6gre {six} key 7"), "gre", 0, &v6, &all),
            (format!("t8 type ip6gretap {six} key 8"), "gre", 0, &v6, &all),
            (format!("t9 type vti {four} key 9"), "esp", 0, &v4, &all),
            (format!("ta type vti6 {six} key 10"), "esp", 0, &v6, &all),
            (format!("tb type vxlan id 11 {six} dstport 4790"), "udp", 4790, &v6, &some),
        ];
        let mut expected = Vec::new();
        for (link, protocol, port, ends, behind) in &kinds {
            lab.host.ip(&format!("link add {link}"));
            let name = &link[..2];
            lab.host.ip(&format!("link set {name} up"));
            let end = ends[1].as_str().unwrap();
            let end = if end.contains(':') { format!("[{end}]:0") } else { format!("{end}:0") };
            expected.push(json!({
                "interface": name, "protocol": protocol, "local": ends[0], "port": port,
                "peers": [{ "endpoint": end, "allowed": behind }],
            }));
        }
        lab.host.ip(&format!("link add tc type geneve id 12 remote {INTERNET_V4}"));
        lab.host.ip(&format!("link add td type gre {four} key 13 encap fou encap-dport 5555"));
        lab.host.ip("link add te type xfrm dev wan0 if_id 14");
        lab.host.ip("link add tf link t4 type macvlan");
        lab.host.ip(&format!(
            "l2tp add tunnel tunnel_id 16 peer_tunnel_id 17 encap udp {four} udp_sport 5000 udp_dport 6000"
        ));
        lab.host.ip("l2tp add session name tg tunnel_id 16 session_id 18 peer_session_id 19");
        for name in ["tc", "td", "te", "tg"] {
            lab.host.ip(&format!("link set {name} up"));
        }
        lab.host.ip(&format!(
            "xfrm policy add src 10.2.0.0/16 dst 10.1.0.0/16 dir in if_id 14 \
             tmpl src {INTERNET_V6} dst {HOST_WAN_V6} proto ah mode tunnel"
        ));
        expected.push(json!({
            "interface": "tc", "protocol": "udp", "local": null, "port": 6081,
            "peers": [{ "endpoint": format!("{INTERNET_V4}:0"), "allowed": all }],
        }));
        expected.push(json!({
            "interface": "tg", "protocol": "udp", "local": HOST_WAN_V4, "port": 5000,
            "peers": [{ "endpoint": format!("{INTERNET_V4}:6000"), "allowed": all }],
        }));
        let output =
            lab.host.command(env!("CARGO_BIN_EXE_fwctl")).arg("snapshot").output().unwrap();
        let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(snapshot["warnings"], json!([]));
        let mut found = snapshot["tunnels"].as_array().unwrap().clone();
        let name = |own: &Value| own["interface"].as_str().unwrap().to_owned();
        found.sort_by_key(name);
        expected.sort_by_key(name);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), expected.len());
        let links = snapshot["links"].as_array().unwrap();
        let below = |name: &str| &links.iter().find(|link| link["name"] == name).unwrap()["below"];
        assert_eq!((below("tf"), below("t3")), (&json!("t4"), &Value::Null));
        let policy = &snapshot["ipsec"]["policies"][0];
        assert_eq!(
            (&policy["interface"], &policy["source"]),
            (&json!("te"), &json!("10.2.0.0/16"))
        );
        let carried = json!({
            "protocol": "ah", "uncompressed": null, "outer": [INTERNET_V6, HOST_WAN_V6],
        });
        assert_eq!(policy["carried"], carried);
    });
}
