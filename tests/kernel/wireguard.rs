//! A real WireGuard tunnel, with an SSH session through it: what is read of it is true, and the
//! guard keeps the VPN's own port open.

use crate::net::{
    Admin, HOST_WAN_V4, HOST_WAN_V6, INTERNET_V4, INTERNET_V6, Lab, Namespace, Session, fix,
};
use crate::{guest, net};
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Lets SSH in, and closes the port that it comes by.
const SHUT: &str = "[[allow]]\nservice = [\"ssh\"]\n";
const PORT: u16 = 51820;
/// Inside the tunnel: the host, and its peer.
const HOST_V4: &str = "10.9.0.1";
const HOST_V6: &str = "fd09::1";
const PEER_V4: &str = "10.9.0.2";
const PEER_V6: &str = "fd09::2";

/// A host whose administrator comes through WireGuard from the internet.
struct Vpn {
    admin: Admin,
}

impl Vpn {
    /// The tunnel's outer packets go to this address of the host.
    fn new(outer: IpAddr) -> Self {
        guest::load(&["wireguard"]);
        let lab = Lab::new();
        let (host_key, host_public) = keys();
        let (peer_key, peer_public) = keys();
        interface(
            &lab.host,
            &host_key,
            &[HOST_V4, HOST_V6],
            &format!(
                "listen-port {PORT} peer {peer_public} allowed-ips {PEER_V4}/32,{PEER_V6}/128"
            ),
        );
        interface(
            &lab.internet,
            &peer_key,
            &[PEER_V4, PEER_V6],
            &format!(
                "listen-port 40001 peer {host_public} endpoint {} allowed-ips {HOST_V4}/32,{HOST_V6}/128",
                SocketAddr::new(outer, PORT)
            ),
        );
        Self { admin: Admin::new(lab) }
    }

    /// The peer speaks from another port: as behind a router that forgot it, or once the host's
    /// conntrack has.
    fn peer_moves(&self, port: u16) {
        let mut wg = self.admin.lab.internet.command("wg");
        net::run(wg.args(["set", "wg0", "listen-port", &port.to_string()]));
    }
}

/// A private and its public key.
fn keys() -> (String, String) {
    let private = net::run(Command::new("wg").arg("genkey"));
    let mut child = Command::new("wg")
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(private.as_bytes()).unwrap();
    let public = child.wait_with_output().unwrap().stdout;
    (private, String::from_utf8(public).unwrap().trim().to_owned())
}

fn interface(namespace: &Namespace, private: &str, addresses: &[&str], settings: &str) {
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), private).unwrap();
    namespace.ip("link add wg0 type wireguard");
    let mut wg = namespace.command("wg");
    wg.args(["set", "wg0", "private-key"]).arg(key.path()).args(settings.split_whitespace());
    net::run(&mut wg);
    for address in addresses {
        let length = if address.contains(':') { 64 } else { 24 };
        namespace.ip(&format!("addr add {address}/{length} dev wg0"));
    }
    namespace.ip("link set wg0 up");
}

/// What is read is what is there; and the guard refuses what closes the tunnel's port, and lets it
/// through once what it says is added.
fn guarded(outer: IpAddr, peer: IpAddr, inner: &str) -> (Vpn, Session) {
    let vpn = Vpn::new(outer);
    let mut ssh = vpn.admin.ssh(inner);
    let (snapshot, _) = vpn.admin.fwctl(&mut ssh, "snapshot");
    let json: serde_json::Value = serde_json::from_str(&snapshot).expect(&snapshot);
    let links = json["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["name"] == "wg0").unwrap();
    assert_eq!(link["kind"], "wireguard");
    let expected = serde_json::json!([{
        "interface": "wg0",
        "protocol": "udp",
        "local": null,
        "port": PORT,
        "peers": [{
            "endpoint": SocketAddr::new(peer, 40001).to_string(),
            "allowed": [PEER_V4, PEER_V6],
        }],
    }]);
    assert_eq!(json["tunnels"], expected);
    assert_eq!(json["warnings"], serde_json::json!([]));
    let (exposure, _) = vpn.admin.fwctl(&mut ssh, "exposure");
    assert!(exposure.contains("51820/udp  WireGuard wg0"), "{exposure}");

    vpn.admin.policy(SHUT);
    let (refused, code) = vpn.admin.fwctl(&mut ssh, "apply --yes --no-confirm");
    assert_eq!(code, 4, "{refused}");
    let mending = fix(&refused);
    assert!(mending.contains("\"51820/udp\"") && mending.contains(&peer.to_string()), "{refused}");
    vpn.admin.policy(&format!("{SHUT}{mending}"));
    let (armed, code) = vpn.admin.fwctl(&mut ssh, "apply --yes --confirm-within 60s");
    assert_eq!(code, 0, "{armed}");
    let (kept, code) = vpn.admin.fwctl(&mut ssh, "confirm");
    assert_eq!(code, 0, "{kept}");
    vpn.peer_moves(40002);
    assert_eq!(ssh.ask("echo on"), "on");
    assert_eq!(vpn.admin.ssh(inner).ask("echo anew"), "anew");

    (vpn, ssh)
}

#[test]
fn a_session_through_wireguard_keeps_the_port_of_the_vpn() {
    guest::inside(|| {
        let (vpn, mut ssh) = guarded(HOST_WAN_V4, INTERNET_V4, HOST_V4);
        // It refused with good reason: the session goes on only as long as the peer's packets are
        // the flow that they were.
        vpn.admin.policy(SHUT);
        let (armed, code) =
            vpn.admin.fwctl(&mut ssh, "apply --yes --confirm-within 30s --override-guard");
        assert_eq!(code, 0, "{armed}");
        assert_eq!(ssh.ask("echo on"), "on");
        vpn.peer_moves(40003);
        assert_eq!(ssh.try_ask("echo late"), None, "the guard refused what does no harm");
        // The kernel takes it back, and what was asked is answered.
        let answer = ssh.try_ask_within("true", Duration::from_secs(90));
        assert_eq!(answer.as_deref(), Some("late"));
    });
}

#[test]
fn so_does_one_whose_tunnel_goes_over_ipv6() {
    guest::inside(|| drop(guarded(HOST_WAN_V6, INTERNET_V6, HOST_V6)));
}
