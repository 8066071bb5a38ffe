//! A host with the interfaces that a ruleset names, the far end of each in a namespace of its own,
//! and addresses and routes of the ruleset's own networks.

use super::named::Named;
use crate::net::Namespace;
use crate::packets::{Receiver, Seen, Sender, Sent};
use crate::random::Random;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// So many interfaces have a far end.
const WIRED: usize = 4;
const OWN: usize = 12;
const ROUTES: usize = 40;
/// `ETH_P_ALL`, as the network writes it.
const EVERYTHING: u32 = 0x0300;

/// The far end of an interface.
struct Far {
    name: &'static str,
    _namespace: Namespace,
    sender: Sender,
    receiver: OwnedFd,
    /// The host's hardware address there: what the far end sends itself has another one.
    host: [u8; 6],
}

pub struct Ground {
    pub host: Namespace,
    far: Vec<Far>,
    receiver: Option<Receiver>,
    /// The host's own addresses.
    pub own: Vec<IpAddr>,
    next_id: u32,
}

fn batch(namespace: &Namespace, lines: &[String]) {
    let mut command = namespace.command("ip");
    command.args(["-force", "-batch", "-"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    child.wait().unwrap();
}

fn is_bridge(name: &str) -> bool {
    ["br-", "br0", "docker", "virbr", "cni", "podman"].iter().any(|own| name.starts_with(own))
}

impl Ground {
    pub fn new(named: &Named, random: &mut Random) -> Self {
        let host = Namespace::new("host");
        let mut wired: Vec<String> = vec!["wan0".to_owned()];
        wired.extend(named.interfaces.iter().filter(|own| *own != "wan0").cloned());
        let mut lines = Vec::new();
        for name in wired.iter().skip(WIRED) {
            lines.extend([
                format!("link add name {name} type bridge"),
                format!("link set dev {name} up"),
            ]);
        }
        batch(&host, &lines);
        wired.truncate(WIRED);
        for setting in ["all", "default"] {
            host.sysctl(&format!("ipv4/conf/{setting}/rp_filter"), "0");
        }
        host.sysctl("ipv4/ip_forward", "1");
        host.sysctl("ipv6/conf/all/forwarding", "1");
        let mut ground =
            Self { host, far: Vec::new(), receiver: None, own: Vec::new(), next_id: 1 };
        for (index, name) in wired.iter().enumerate() {
            ground.wire(u8::try_from(index).unwrap() + 1, name);
        }
        ground.settle(named, random);
        let v6 = ground.own.iter().filter_map(|own| match own {
            IpAddr::V6(own) => Some(*own),
            IpAddr::V4(_) => None,
        });
        let v6: Vec<Ipv6Addr> = v6.chain([Ipv6Addr::LOCALHOST]).collect();
        ground.receiver = Some(Receiver::new("host", &ground.host, &v6));
        ground
    }

    fn wire(&mut self, index: u8, name: &str) {
        let far = Namespace::new("far");
        let mac = |end: u8| format!("02:00:00:00:{index:02x}:{end:02x}");
        let (v4, v6) = (format!("10.77.{index}"), format!("fd77:0:0:{index:x}:"));
        let port = if is_bridge(name) { format!("port{index}") } else { name.to_owned() };
        self.host.link(&port, &far, "eth0");
        let mut lines = Vec::new();
        if port != name {
            lines.extend([
                format!("link add name {name} type bridge"),
                format!("link set dev {port} master {name}"),
            ]);
        }
        lines.extend([
            format!("link set dev {name} address {}", mac(1)),
            format!("link set dev {name} up"),
            format!("addr add {v4}.1/24 brd + dev {name}"),
            format!("addr add {v6}:1/64 dev {name} nodad"),
            format!("neigh replace {v4}.2 lladdr {} dev {name} nud permanent", mac(2)),
            format!("neigh replace {v6}:2 lladdr {} dev {name} nud permanent", mac(2)),
        ]);
        batch(&self.host, &lines);
        batch(
            &far,
            &[
                format!("link set eth0 address {}", mac(2)),
                format!("addr add {v4}.2/24 dev eth0"),
                format!("addr add {v6}:2/64 dev eth0 nodad"),
                format!("neigh replace {v4}.1 lladdr {} dev eth0 nud permanent", mac(1)),
                format!("neigh replace {v6}:1 lladdr {} dev eth0 nud permanent", mac(1)),
            ],
        );
        far.nft(crate::counters::QUIET);
        self.own.extend([ip(&format!("{v4}.1")), ip(&format!("{v6}:1"))]);
        let sender = Sender::new(&far, (ip(&format!("{v4}.1")), ip(&format!("{v6}:1"))));
        let receiver = far.enter(|| {
            let protocol = rustix::net::Protocol::from_raw(EVERYTHING.try_into().unwrap());
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(protocol)).unwrap()
        });
        let name = Box::leak(name.to_owned().into_boxed_str());
        let host = [2, 0, 0, 0, index, 1];
        self.far.push(Far { name, _namespace: far, sender, receiver, host });
    }

    /// Some of the ruleset's addresses are the host's own, some of its networks lie behind an
    /// interface; everything else is out by the first one.
    fn settle(&mut self, named: &Named, random: &mut Random) {
        let mut lines = vec![
            "route add default via 10.77.1.2".to_owned(),
            "-6 route add default via fd77:0:0:1::2".to_owned(),
        ];
        let wired: Vec<&str> = self.far.iter().map(|far| far.name).collect();
        let addresses: Vec<IpAddr> = named.addresses().collect();
        for address in addresses {
            if !random.chance(30) || self.own.len() > OWN + 2 * WIRED {
                continue;
            }
            let nodad = if address.is_ipv6() { " nodad" } else { "" };
            lines.push(format!("addr add {address} dev {}{nodad}", random.pick(&wired)));
            self.own.push(address);
        }
        for (address, length) in &named.prefixes {
            if !random.chance(60) || lines.len() > ROUTES {
                continue;
            }
            let index = random.below(self.far.len()) + 1;
            let (family, via) = if address.is_ipv4() {
                ("-4", format!("10.77.{index}.2"))
            } else {
                ("-6", format!("fd77:0:0:{index:x}::2"))
            };
            lines.push(format!("{family} route replace {address}/{length} via {via}"));
        }
        batch(&self.host, &lines);
        let there = self.host.ip("-o addr show");
        self.own.retain(|own| {
            there.contains(&format!(" {own}/")) || there.contains(&format!(" {own} "))
        });
    }

    /// The interfaces by which packets can be sent and seen.
    pub fn interfaces(&self) -> impl Iterator<Item = &'static str> {
        self.far.iter().map(|far| far.name)
    }

    /// A packet aimed at what the ruleset names, and the number of its interface.
    pub fn packet(&mut self, named: &Named, random: &mut Random) -> (usize, Sent) {
        let id = self.next_id;
        self.next_id += 1;
        let from = random.below(self.far.len());
        let v4 = random.chance(60);
        let own: Vec<IpAddr> =
            self.own.iter().copied().filter(|address| address.is_ipv4() == v4).collect();
        let (source, destination) = loop {
            let source = self.speaker(named, random, v4, from);
            let destination = if random.chance(55) {
                *random.pick(&own)
            } else {
                self.speaker(named, random, v4, from)
            };
            // Nobody else is there to be asked for.
            let unmade = |own: IpAddr| {
                let text = own.to_string();
                let ours = text.starts_with("10.77.") || text.starts_with("fd77:");
                ours && !self.own.contains(&own) && !text.ends_with(".2") && !text.ends_with(":2")
            };
            if source != destination && !unmade(destination) {
                break (source, destination);
            }
        };
        let protocol = *random.pick(&[6, 6, 6, 17, 17, if v4 { 1 } else { 58 }]);
        let port = |random: &mut Random| match random.below(10) {
            0..7 if !named.ports.is_empty() => *random.pick(&named.ports),
            7 if !named.ports.is_empty() => random.pick(&named.ports).saturating_add(1),
            _ => u16::try_from(random.below(65_535)).unwrap() + 1,
        };
        let high = u16::try_from(id % 28_000).unwrap() + 33_000;
        // One of the ports is this packet's alone, so that none is the answer to another one.
        let (source_port, port) = match protocol {
            1 | 58 => (high, 0),
            _ if random.chance(10) => (port(random), high),
            _ => (high, port(random)),
        };
        let sent = Sent {
            id,
            source,
            destination,
            protocol,
            source_port,
            port,
            tcp_flags: *random.pick(&[2, 2, 2, 2, 2, 2, 16, 4, 1, 0x29, 0, 18]),
        };
        (from, sent)
    }

    fn speaker(&self, named: &Named, random: &mut Random, v4: bool, from: usize) -> IpAddr {
        let of_family: Vec<&(IpAddr, u8)> =
            named.prefixes.iter().filter(|own| own.0.is_ipv4() == v4).collect();
        if !of_family.is_empty() && random.chance(60) {
            let (address, length) = **random.pick(&of_family);
            return inside(address, length, random.next());
        }
        let index = if random.chance(70) { from } else { random.below(self.far.len()) } + 1;
        match (random.below(3), v4) {
            (0, true) => {
                Ipv4Addr::new(198, 51, 100, u8::try_from(random.below(250)).unwrap()).into()
            }
            (0, false) => Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7).into(),
            (_, true) => ip(&format!("10.77.{index}.2")),
            (_, false) => ip(&format!("fd77:0:0:{index:x}::2")),
        }
    }

    pub fn send(&self, packets: &[(usize, Sent)]) -> BTreeMap<u32, Seen> {
        let mut seen = BTreeMap::new();
        for some in packets.chunks(40) {
            for (from, packet) in some {
                self.far[*from].sender.send(packet);
            }
            self.drain(&mut seen);
        }
        let end = Instant::now() + Duration::from_millis(5);
        while Instant::now() < end {
            self.drain(&mut seen);
        }
        seen
    }

    pub fn drain(&self, seen: &mut BTreeMap<u32, Seen>) {
        self.receiver.iter().for_each(|receiver| receiver.drain(seen));
        let mut buffer = [0_u8; 2048];
        for far in &self.far {
            while let Ok((length, _)) = recv(&far.receiver, &mut buffer, RecvFlags::DONTWAIT) {
                let frame = &buffer[..length];
                if frame.get(6..12) == Some(&far.host[..])
                    && let Some((id, address, port)) = arrived(frame)
                {
                    seen.insert(id, Seen { namespace: far.name, address, port });
                }
            }
        }
    }
}

/// Which packet a frame holds, and where to.
fn arrived(frame: &[u8]) -> Option<(u32, IpAddr, u16)> {
    let (protocol, address, body): (u8, IpAddr, &[u8]) = match frame.get(12..14)? {
        [8, 0] => {
            let packet = frame.get(14..)?;
            let header = usize::from(packet.first()? & 15) * 4;
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (*packet.get(9)?, Ipv4Addr::from(to).into(), packet.get(header..)?)
        }
        [0x86, 0xdd] => {
            let packet = frame.get(14..)?;
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (*packet.get(6)?, Ipv6Addr::from(to).into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let number = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let port = u16::from_be_bytes(body.get(2..4)?.try_into().ok()?);
    match protocol {
        6 => Some((number(4)?, address, port)),
        17 => Some((number(8)?, address, port)),
        1 | 58 if matches!(body[0], 8 | 128) => Some((number(8)?, address, 0)),
        _ => None,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An address of a network, the first and last ones more often than others.
fn inside(address: IpAddr, length: u8, random: u64) -> IpAddr {
    let (bits, number) = match address {
        IpAddr::V4(own) => (32, u128::from(own.to_bits())),
        IpAddr::V6(own) => (128, own.to_bits()),
    };
    let free = bits - u32::from(length);
    let room = if free == 0 { 0 } else { u128::MAX >> (128 - free) };
    let wide = u128::from(random) << 64 | u128::from(random);
    let rest = if random.is_multiple_of(3) { 1 & room } else { wide & room };
    let number = number & !room | rest;
    if bits == 32 {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()
    } else {
        Ipv6Addr::from_bits(number).into()
    }
}
