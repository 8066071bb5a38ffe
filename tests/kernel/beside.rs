//! What packets meet beside the chains of their own interface: at the hardware of a VLAN, at the ports of
//! a bond, as they leave, in Open vSwitch, in a flowtable, by multicast routing, in another namespace.
//! What the analysis says is what they see, or it names what it does not know.

use crate::guest;
use crate::net::{
    Answer, FAR_V4, HOST_LAN_V4, HOST_WAN_V4, INTERNET_V4, LAN_V4, Lab, Namespace, Probe,
};
use fwctl::analyze::{Analyzer, Explanation, From, Packet, Reach, past_the_rules};
use fwctl::model::Protocol;
use fwctl::observe::{Options, Snapshot, observe};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

const HOST_VLAN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 10));
const VLAN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 1));

fn look(host: &Namespace) -> Snapshot {
    let options =
        Options { engines: Vec::new(), container_namespaces: false, ..Options::default() };
    host.enter(|| observe(&options))
}

fn explain(host: &Namespace, (by, from): (&str, IpAddr), to: (IpAddr, u16)) -> Explanation {
    let from_interface = From::Interface(by.parse().unwrap());
    let packet = Packet::new(from_interface, from, to.0, Protocol::TCP, to.1);
    Analyzer::new(&look(host)).explain(&packet, None)
}

/// What packets see, and that the analysis says so without any doubt.
fn same(lab: &Lab, (by, from): (&str, IpAddr), to: (IpAddr, u16), answer: Answer) {
    let client = if by == "lan0" { &lab.lan } else { &lab.internet };
    assert_eq!(Probe::tcp(client, to).source(from).ask(), answer, "{from} {to:?}");
    let said = explain(&lab.host, (by, from), to);
    let reach = if answer == Answer::Open { Reach::Open } else { Reach::Closed };
    assert_eq!((said.verdict, &*said.depends_on), (reach, &[][..]), "{from} {to:?}");
}

/// Whether the host says so of what no rule decides.
fn says(host: &Namespace, words: &str) -> bool {
    past_the_rules(&look(host)).iter().any(|line| line.contains(words))
}

/// A VLAN between the host and the internet.
fn vlan(lab: &Lab) {
    guest::load(&["8021q"]);
    for (namespace, device, address) in
        [(&lab.host, "wan0", HOST_VLAN), (&lab.internet, "eth0", VLAN)]
    {
        namespace.ip(&format!("link add link {device} name vlan7 type vlan id 7"));
        namespace.ip(&format!("addr add {address}/24 dev vlan7"));
        namespace.ip("link set vlan7 up");
    }
}

#[test]
fn what_stands_at_the_hardware_sees_its_vlans() {
    guest::inside(|| {
        let lab = Lab::new();
        vlan(&lab);
        let _open = [80, 81].map(|port| lab.host.listen_tcp(&format!("[::]:{port}")));
        lab.host.nft(
            "add table netdev t; \
             add chain netdev t in { type filter hook ingress device wan0 priority 0; }; \
             add rule netdev t in ip daddr 10.7.0.10 tcp dport 80 drop",
        );
        same(&lab, ("vlan7", VLAN), (HOST_VLAN, 80), Answer::Silent);
        same(&lab, ("vlan7", VLAN), (HOST_VLAN, 81), Answer::Open);
        same(&lab, ("wan0", INTERNET_V4), (HOST_WAN_V4, 80), Answer::Open);
    });
}

#[test]
fn what_stands_at_a_port_of_a_bond_may_decide() {
    guest::inside(|| {
        guest::load(&["bonding"]);
        let lab = Lab::new();
        let _open = lab.host.listen_tcp("[::]:80");
        lab.host.ip("link add bond0 type bond mode active-backup");
        lab.host.ip("link set wan0 down");
        lab.host.ip("link set wan0 master bond0");
        lab.host.ip(&format!("addr add {HOST_WAN_V4}/24 dev bond0"));
        lab.host.ip("link set bond0 up");
        lab.host.nft(
            "add table netdev t; \
             add chain netdev t in { type filter hook ingress device wan0 priority 0; }; \
             add rule netdev t in tcp dport 80 drop",
        );
        let to = (HOST_WAN_V4, 80);
        assert_eq!(Probe::tcp(&lab.internet, to).ask(), Answer::Silent);
        let said = explain(&lab.host, ("bond0", INTERNET_V4), to);
        assert_eq!(
            (said.verdict, said.depends_on),
            (Reach::Unknown, vec!["table netdev t on wan0".to_owned()])
        );
    });
}

#[test]
fn what_leaves_meets_egress_and_answers_that_do_are_told() {
    guest::inside(|| {
        let lab = Lab::new();
        vlan(&lab);
        lab.lan.ip("route add 10.7.0.0/24 via 192.0.2.10");
        let _served = [80, 81].map(|port| lab.lan.listen_tcp(&format!("0.0.0.0:{port}")));
        let _host = lab.host.listen_tcp("0.0.0.0:82");
        lab.host.nft(
            "add table netdev t; \
             add chain netdev t lan { type filter hook egress device lan0 priority 0; }; \
             add rule netdev t lan tcp dport 80 drop; \
             add chain netdev t wan { type filter hook egress device wan0 priority 0; }; \
             add rule netdev t wan tcp dport 83 drop; \
             add rule netdev t wan tcp sport 82 drop",
        );
        let near = ("wan0", INTERNET_V4);
        same(&lab, near, (LAN_V4, 80), Answer::Silent);
        same(&lab, near, (LAN_V4, 81), Answer::Open);
        let _far = [83, 84].map(|port| lab.internet.listen_tcp(&format!("0.0.0.0:{port}")));
        same(&lab, ("lan0", LAN_V4), (VLAN, 83), Answer::Silent);
        same(&lab, ("lan0", LAN_V4), (VLAN, 84), Answer::Open);
        // The way there is what is asked about; that answers may be lost is said.
        assert_eq!(Probe::tcp(&lab.internet, (HOST_WAN_V4, 82)).ask(), Answer::Silent);
        assert!(says(&lab.host, "the chain wan of table netdev t sees what leaves wan0"));
    });
}

/// Makes a datapath of Open vSwitch with this port, by its netlink: nobody has told it what to do with
/// packets.
const SWITCH: &str = r"
import socket, struct
own = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
def attribute(kind, data):
    return struct.pack('=HH', 4 + len(data), kind) + data + bytes(-len(data) % 4)
def ask(family, command, version, body):
    header = struct.pack('=IHHII', 20 + len(body), family, 5, 1, 0)
    own.send(header + struct.pack('=BBH', command, version, 0) + body)
    answer = own.recv(65536)
    if struct.unpack_from('=H', answer, 4)[0] == 2:
        error = struct.unpack_from('=i', answer, 16)[0]
        assert error == 0, error
    else:
        own.recv(65536)
    return answer[20:]
def family(name):
    rest = ask(16, 3, 1, attribute(2, name + b'\0'))
    while struct.unpack_from('=HH', rest)[1] != 1:
        rest = rest[(struct.unpack_from('=H', rest)[0] + 3) & ~3:]
    return struct.unpack_from('=H', rest, 4)[0]
nobody = struct.pack('=I', 0)
ask(family(b'ovs_datapath'), 1, 2, nobody + attribute(1, b'switch0\0') + attribute(2, nobody))
index = struct.pack('=I', socket.if_nametoindex('switch0'))
port = attribute(2, struct.pack('=I', 1)) + attribute(3, b'wan0\0') + attribute(5, nobody)
ask(family(b'ovs_vport'), 1, 1, index + port)
";

#[test]
fn open_vswitch_takes_what_comes_by_its_ports_before_any_rule() {
    guest::inside(|| {
        guest::load(&["openvswitch"]);
        let lab = Lab::new();
        let _open = lab.host.listen_tcp("[::]:80");
        same(&lab, ("wan0", INTERNET_V4), (HOST_WAN_V4, 80), Answer::Open);
        crate::net::run(lab.host.command("python3").args(["-c", SWITCH]));
        let to = (HOST_WAN_V4, 80);
        assert_eq!(Probe::tcp(&lab.internet, to).ask(), Answer::Silent);
        let name = "Open vSwitch, of which wan0 is a port".to_owned();
        let said = explain(&lab.host, ("wan0", INTERNET_V4), to);
        assert_eq!((said.verdict, said.depends_on), (Reach::Unknown, vec![name]));
        assert!(says(&lab.host, "Open vSwitch, of which wan0 is a port, takes what comes by it"));
        // What the switch made itself, for the host, is behind its flows, too.
        lab.host.ip("link set switch0 up");
        let said = explain(&lab.host, ("switch0", INTERNET_V4), to);
        assert_eq!(said.verdict, Reach::Unknown);
        same(&lab, ("lan0", LAN_V4), (HOST_LAN_V4, 80), Answer::Open);
    });
}

#[test]
fn connections_in_a_flowtable_pass_the_rules_and_new_ones_do_not() {
    guest::inside(|| {
        guest::load(&["nf_flow_table", "nft_flow_offload"]);
        let lab = Lab::new();
        let _echo = lab.lan.listen_udp("0.0.0.0:90");
        let dial = || {
            lab.internet.enter(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect(SocketAddr::new(LAN_V4, 90)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
                socket
            })
        };
        let answered = |socket: &UdpSocket| {
            socket.send(b"?").unwrap();
            socket.recv(&mut [0; 8]).is_ok()
        };
        lab.host.nft(
            "add table inet t; \
             add flowtable inet t fast { hook ingress priority 0; devices = { wan0, lan0 }; }; \
             add chain inet t f { type filter hook forward priority 0; }; \
             add rule inet t f ct state established flow add @fast",
        );
        let old = dial();
        assert!((0..4).all(|_| answered(&old)));
        let ask = || {
            let from = From::Interface("wan0".parse().unwrap());
            let packet = Packet::new(from, INTERNET_V4, LAN_V4, Protocol::UDP, 90);
            Analyzer::new(&look(&lab.host)).explain(&packet, None).verdict
        };
        assert_eq!(ask(), Reach::Open);
        lab.host.nft("flush chain inet t f; add rule inet t f drop");
        assert!(answered(&old), "the flowtable forwards what it has");
        assert!(!answered(&dial()));
        assert_eq!(ask(), Reach::Closed);
        assert!(says(&lab.host, "connections in the flowtable fast of table inet t"));
    });
}

/// A multicast router that knows both links of the host, until it is killed.
const ROUTER: &str = r"
import socket, struct, time
own = socket.socket(socket.AF_INET, socket.SOCK_RAW, 2)
own.setsockopt(0, 200, 1)
for number, name in enumerate(['wan0', 'lan0']):
    about = struct.pack('=HBBIII', number, 8, 1, 0, socket.if_nametoindex(name), 0)
    own.setsockopt(0, 202, about)
print('on', flush=True)
time.sleep(60)
";

#[test]
fn where_multicast_is_routed_is_not_known() {
    guest::inside(|| {
        let lab = Lab::new();
        let group: IpAddr = "239.1.2.3".parse().unwrap();
        let ask = || explain(&lab.host, ("wan0", FAR_V4), (group, 5000));
        assert_eq!(ask().verdict, Reach::Closed);
        let mut command = lab.host.command("python3");
        let mut router = command.args(["-c", ROUTER]).stdout(Stdio::piped()).spawn().unwrap();
        let mut on = [0; 2];
        std::io::Read::read_exact(router.stdout.as_mut().unwrap(), &mut on).unwrap();
        let said = ask();
        router.kill().unwrap();
        router.wait().unwrap();
        assert_eq!(said.verdict, Reach::Unknown);
        assert_eq!(said.depends_on, ["where multicast routing sends it"]);
    });
}

#[test]
fn a_vlan_in_another_namespace_passes_no_rule_and_is_told() {
    guest::inside(|| {
        let lab = Lab::new();
        vlan(&lab);
        let apart = Namespace::new("apart");
        lab.host.ip(&format!("link set vlan7 netns {}", apart.name()));
        apart.ip(&format!("addr add {HOST_VLAN}/24 dev vlan7"));
        apart.ip("link set vlan7 up");
        let _open = apart.listen_tcp("0.0.0.0:80");
        lab.host.nft(
            "add table inet t; \
             add chain inet t c { type filter hook prerouting priority -300; policy drop; }",
        );
        assert_eq!(Probe::tcp(&lab.internet, (HOST_VLAN, 80)).ask(), Answer::Open);
        // Processes of this test alone, the first of them in the host's namespace.
        let script = format!(
            "ip netns exec {} sleep 60 & sleep 0.5; {} snapshot; kill $!",
            apart.name(),
            env!("CARGO_BIN_EXE_fwctl")
        );
        let mut command: Command = lab.host.command("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script]);
        let snapshot = Snapshot::from_json(&crate::net::run(&mut command)).unwrap();
        let lines = past_the_rules(&snapshot);
        assert!(lines.iter().any(|own| own.contains("the interface vlan7 (vlan)")), "{lines:?}");
    });
}
