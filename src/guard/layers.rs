//! The layers below a way in: the VPN that a session comes by, and mosh's own port.

use super::ports::Door;
use super::proof::{Found, Proof, words};
use super::{Cause, Caution, Lost, What};
use crate::analyze::{End, Reach};
use crate::model::{Bind, IpFamily, PortRange, PortSpec, Protocol};
use crate::observe::{LinkKind, Socket, SocketState, SshSession};
use std::net::{IpAddr, SocketAddr};

/// Programs that hold tunnels, and wait for their other end on a port.
const LISTENING: [&str; 9] = [
    "openvpn",
    "ocserv-main",
    "ocserv",
    "tincd",
    "fastd",
    "nebula",
    "wireguard-go",
    "boringtun-cli",
    "vpnserver",
];
/// Programs that hold tunnels, and connect out.
const CONNECTING: [&str; 3] = ["tailscaled", "zerotier-one", "netbird"];

impl Proof<'_, '_> {
    /// A session that comes by a VPN needs the VPN's own port too.
    pub(super) fn tunnel(&self, session: &SshSession, found: &mut Found) {
        let Some(name) = &session.interface else { return };
        let link = self.snapshot.links.iter().find(|link| link.name == *name);
        match link.map(|link| &link.kind) {
            Some(LinkKind::Wireguard) => self.wireguard(session, found),
            Some(LinkKind::Tun) => self.process(session, found),
            _ => {}
        }
    }

    fn wireguard(&self, session: &SshSession, found: &mut Found) {
        let source = session.remote.ip().to_canonical();
        let tunnels = self.snapshot.tunnels.iter();
        let mut tunnels = tunnels.filter(|own| Some(&own.interface) == session.interface.as_ref());
        let Some(tunnel) = tunnels.next() else {
            self.unknown(session, found);
            return;
        };
        let Ok(range) = PortRange::single(tunnel.port) else {
            self.unknown(session, found);
            return;
        };
        let port = PortSpec::Ports(Protocol::UDP, range);
        let peer = tunnel.peers.iter().find(|own| own.allowed.iter().any(|to| to.contains(source)));
        let Some(end) = peer.and_then(|peer| peer.endpoint) else {
            self.ports(session, &[port], found);
            return;
        };
        let address = end.ip().to_canonical();
        let Some(from) = self.later.way_of(address) else {
            let by = format!("the interface by which {address} comes");
            found.lost(lost(session, Cause::Unclear(vec![by]), (port, address.to_string())));
            return;
        };
        let mut first = None;
        for own in self.later.own_addresses(IpFamily::of(address)) {
            let to = SocketAddr::new(own, tunnel.port);
            let mut packet = Self::packet(&from, address, to, Protocol::UDP);
            packet.source_port = end.port();
            let told = self.later.fare(&packet, &|end: &End| end.fate.passes());
            if matches!(told.summary.reach, Reach::Open | Reach::Limited) {
                return;
            }
            first.get_or_insert(told);
        }
        let cause = first.map_or(Cause::Host("it has no address there".to_owned()), |told| {
            self.cause(&told, &from, (Protocol::UDP, tunnel.port))
        });
        found.lost(lost(session, cause, (port, words(address, Some(&from)))));
    }

    /// A tunnel that a process holds.
    fn process(&self, session: &SshSession, found: &mut Found) {
        let held = |names: &'static [&str]| {
            let sockets = self.snapshot.sockets.iter().filter(|own| own.namespace.is_none());
            sockets.filter_map(move |socket| {
                let mut owners = socket.owners.iter().filter_map(|own| own.process.as_deref());
                owners.find(|own| names.contains(own)).map(|program| (socket, program))
            })
        };
        let listening = |own: &(&Socket, &str)| own.0.state == SocketState::Listening;
        let ports: Vec<PortSpec> = held(&LISTENING)
            .filter(listening)
            .filter(|(socket, _)| !socket.local.ip().to_canonical().is_loopback())
            .filter_map(|(socket, _)| {
                let range = PortRange::single(socket.local.port()).ok()?;
                Some(PortSpec::Ports(socket.protocol, range))
            })
            .collect();
        if !ports.is_empty() {
            self.ports(session, &ports, found);
        } else if let Some((_, program)) = held(&CONNECTING).next() {
            found.caution(Caution::ConnectsOut {
                source: session.remote.ip().to_canonical(),
                program: program.to_owned(),
            });
        } else {
            self.unknown(session, found);
        }
    }

    /// Ports that the other end must reach, wherever it is.
    fn ports(&self, session: &SshSession, ports: &[PortSpec], found: &mut Found) {
        for port in ports {
            let PortSpec::Ports(protocol, range) = port else { continue };
            let arrives = |end: &End| end.fate.passes();
            let dialled = (*protocol, range.first());
            let door = Door { dialled, bind: Bind::Any, arrives: &arrives };
            if let Some(shut) = self.shut(&door, &[], found) {
                found.lost(lost(session, shut.cause, (*port, shut.from)));
            }
        }
    }

    /// Nobody knows the VPN's port, unless `guard.keep` names it, which is proved there.
    fn unknown(&self, session: &SshSession, found: &mut Found) {
        let ssh: Vec<u16> = self.snapshot.ssh.listeners.iter().map(SocketAddr::port).collect();
        let listens = |protocol: Protocol, range: PortRange| {
            self.snapshot.sockets.iter().any(|own| {
                own.state == SocketState::Listening
                    && own.protocol == protocol
                    && range.contains(own.local.port())
            })
        };
        let named = self.policy.guard.keep.iter().any(|port| match port {
            PortSpec::Ports(protocol, range) => {
                !ssh.iter().any(|own| range.contains(*own)) && listens(*protocol, *range)
            }
            PortSpec::Protocol(_) | PortSpec::All => false,
        });
        if !named && let Some(name) = &session.interface {
            let what = format!("the port on which the VPN of {name} is reached");
            let from = "internet".to_owned();
            let lost = lost(session, Cause::Unclear(vec![what]), (PortSpec::All, from));
            found.lost(lost);
        }
    }

    /// A mosh session speaks UDP with a port of its own, from wherever its client is now.
    pub(super) fn mosh(&self, sessions: &[&SshSession], found: &mut Found) {
        for socket in &self.snapshot.sockets {
            let mosh =
                socket.owners.iter().any(|own| own.process.as_deref() == Some("mosh-server"));
            let address = socket.local.ip().to_canonical();
            if !mosh
                || socket.protocol != Protocol::UDP
                || socket.namespace.is_some()
                || address.is_loopback()
            {
                continue;
            }
            let Ok(range) = PortRange::single(socket.local.port()) else { continue };
            let bind = match address {
                IpAddr::V4(own) if own.is_unspecified() => Bind::AnyIpv4,
                IpAddr::V6(own) if own.is_unspecified() => Bind::AnyIpv6,
                own => Bind::Address(own),
            };
            let arrives = |end: &End| end.fate.passes();
            let dialled = (Protocol::UDP, range.first());
            let door = Door { dialled, bind, arrives: &arrives };
            if let Some(shut) = self.shut(&door, sessions, found) {
                found.lost(Lost {
                    what: What::Mosh,
                    from: shut.from,
                    port: PortSpec::Ports(Protocol::UDP, range),
                    witness: shut.witness,
                    cause: shut.cause,
                });
            }
        }
    }
}

/// The tunnel of a session that comes by an interface.
fn lost(session: &SshSession, cause: Cause, (port, from): (PortSpec, String)) -> Lost {
    let interface = session.interface.clone();
    Lost {
        what: What::Tunnel {
            interface: interface.expect("a session without one is not asked about"),
            remote: session.remote,
        },
        from,
        port,
        witness: None,
        cause,
    }
}
