//! The layers below a way in: what an interface stands on, the VPN that a session comes by, and
//! mosh's own port.

use super::outer::Inner;
use super::ports::Door;
use super::proof::{Found, Proof};
use super::{Cause, Caution, Lost, What};
use crate::analyze::End;
use crate::model::{Bind, IfaceName, PortRange, PortSpec, Protocol};
use crate::observe::{Link, LinkKind, Socket, SocketState, SshSession};
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
/// The same, for interfaces of the point-to-point protocol.
const PPP_LISTENING: [&str; 3] = ["xl2tpd", "pptpd", "accel-pppd"];
const PPP_CONNECTING: [&str; 4] = ["pptpgw", "pptpcm", "openfortivpn", "sstpc"];
/// Kinds of interfaces that nothing else on the host carries, or that lead to another part of it, by
/// the kernel's names.
const BARE: [&str; 19] = [
    "team",
    "hsr",
    "prp",
    "ipoib",
    "ifb",
    "nlmon",
    "netkit",
    "netdevsim",
    "can",
    "vcan",
    "vxcan",
    "dsa",
    "rmnet",
    "wwan",
    "virt_wifi",
    "batadv",
    "macvtap",
    "ipvtap",
    "macsec",
];

impl Proof<'_, '_> {
    /// A session that comes by a VPN needs the VPN's own port too.
    pub(super) fn tunnel(&self, session: &SshSession, found: &mut Found) {
        let inner = Inner {
            session,
            source: session.remote,
            destination: session.local,
            protocol: Protocol::TCP,
            interface: session.interface.clone(),
            depth: 0,
        };
        self.ipsec(&inner, found);
        self.interface(&inner, found);
    }

    /// What carries the packets of the interface by which these come.
    pub(super) fn interface(&self, inner: &Inner<'_>, found: &mut Found) {
        let Some(name) = self.lowest(inner.interface.as_ref()) else { return };
        let inner = &Inner { interface: Some(name.clone()), ..inner.clone() };
        let link = self.snapshot.links.iter().find(|link| link.name == *name);
        // L2TP's interfaces look like hardware, and bridges have ports.
        if self.snapshot.tunnels.iter().any(|own| own.interface == *name) {
            self.carried(inner, found);
            return;
        }
        match link.map(|link| &link.kind) {
            Some(LinkKind::Wireguard | LinkKind::Vxlan) => self.unknown(inner, found),
            Some(LinkKind::Tun) => self.process(inner, (&LISTENING, &CONNECTING), found),
            Some(LinkKind::Other(word)) => match word.as_str() {
                // The kernel's own part of OpenVPN.
                "ovpn" | "ovpn-dco" | "ovpn-dco-v2" => {
                    self.process(inner, (&LISTENING, &CONNECTING), found);
                }
                "ppp" => self.ppp(inner, found),
                // By policies of IPsec alone.
                "xfrm" if self.is_by_ipsec(inner) => {}
                "openvswitch" if !self.has_switched_tunnels() => {}
                word if BARE.contains(&word) => {}
                _ => self.unknown(inner, found),
            },
            Some(
                LinkKind::Loopback
                | LinkKind::Physical
                | LinkKind::Bridge
                | LinkKind::Veth
                | LinkKind::Bond
                | LinkKind::Vlan
                | LinkKind::Macvlan
                | LinkKind::Ipvlan
                | LinkKind::Vrf
                | LinkKind::Dummy,
            )
            | None => {}
        }
    }

    /// The interface whose frames these are in the end: below a VLAN, macvlan or the like.
    fn lowest<'a>(&'a self, name: Option<&'a IfaceName>) -> Option<&'a IfaceName> {
        let mut name = name?;
        for _ in 0..self.snapshot.links.len() {
            let link = self.snapshot.links.iter().find(|link| link.name == *name);
            match link.and_then(|link| link.below.as_ref()) {
                Some(below) => name = below,
                None => break,
            }
        }
        Some(name)
    }

    /// Whether Open vSwitch, which tells neither ports nor ends of them, has tunnels.
    fn has_switched_tunnels(&self) -> bool {
        let is_tunnel =
            |link: &Link| self.snapshot.tunnels.iter().any(|t| t.interface == link.name);
        let switched =
            |link: &Link| link.master.as_ref().is_some_and(|own| own.as_str() == "ovs-system");
        self.snapshot.links.iter().any(|link| switched(link) && is_tunnel(link))
    }

    /// The point-to-point protocol: a VPN (L2TP, PPTP), or what the host itself is connected by
    /// (PPPoE, a modem), which carries no packets over IP.
    fn ppp(&self, inner: &Inner<'_>, found: &mut Found) {
        let mut defaults = self.snapshot.routes.iter().filter(|route| route.is_default());
        let uplink = defaults.any(|route| route.interface == inner.interface);
        let connects = self.held(&PPP_CONNECTING).next().is_some();
        if uplink && !connects {
            return;
        }
        self.process(inner, (&PPP_LISTENING, &PPP_CONNECTING), found);
        let pptp = |(socket, _): (&Socket, &str)| {
            (socket.protocol, socket.local.port()) == (Protocol::TCP, 1723)
        };
        if self.held(&PPP_LISTENING).filter(|own| own.0.state == SocketState::Listening).any(pptp) {
            // RFC 2637, section 4.
            self.ports(inner, &[PortSpec::Protocol(Protocol(47))], Bind::AnyIpv4, found);
        }
    }

    /// Sockets that these programs hold.
    fn held<'a>(
        &'a self,
        programs: &'a [&'static str],
    ) -> impl Iterator<Item = (&'a Socket, &'a str)> {
        let sockets = self.snapshot.sockets.iter().filter(|own| own.namespace.is_none());
        sockets.filter_map(move |socket| {
            let mut owners = socket.owners.iter().filter_map(|own| own.process.as_deref());
            owners.find(|own| programs.contains(own)).map(|program| (socket, program))
        })
    }

    /// A tunnel that a process holds.
    fn process(
        &self,
        inner: &Inner<'_>,
        (listening, connecting): (&[&'static str], &[&'static str]),
        found: &mut Found,
    ) {
        let ports: Vec<PortSpec> = self
            .held(listening)
            .filter(|(socket, _)| socket.state == SocketState::Listening)
            .filter(|(socket, _)| !socket.local.ip().to_canonical().is_loopback())
            .filter_map(|(socket, _)| {
                let range = PortRange::single(socket.local.port()).ok()?;
                Some(PortSpec::Ports(socket.protocol, range))
            })
            .collect();
        if !ports.is_empty() {
            self.ports(inner, &ports, Bind::Any, found);
        } else if let Some((_, program)) = self.held(connecting).next() {
            found.caution(Caution::ConnectsOut {
                source: inner.session.remote.ip().to_canonical(),
                program: program.to_owned(),
            });
        } else {
            self.unknown(inner, found);
        }
    }

    /// Ports or protocols that the other end must reach, wherever it is.
    pub(super) fn ports(
        &self,
        inner: &Inner<'_>,
        ports: &[PortSpec],
        bind: Bind,
        found: &mut Found,
    ) {
        for port in ports {
            let dialled = match *port {
                PortSpec::Ports(protocol, range) => (protocol, range.first()),
                PortSpec::Protocol(protocol) => (protocol, 0),
                PortSpec::All => continue,
            };
            let arrives = |end: &End| end.fate.passes();
            let door = Door { dialled, bind, arrives: &arrives };
            if let Some(shut) = self.shut(&door, &[], found) {
                found.lost(inner.lost(shut.cause, (*port, shut.from)));
            }
        }
    }

    /// Nobody knows the VPN's port, unless `guard.keep` names it.
    pub(super) fn unknown(&self, inner: &Inner<'_>, found: &mut Found) {
        let ssh: Vec<u16> = self.snapshot.ssh.listeners.iter().map(SocketAddr::port).collect();
        let listens = |protocol: Protocol, range: PortRange| {
            self.snapshot.sockets.iter().any(|own| {
                own.state == SocketState::Listening
                    && own.protocol == protocol
                    && range.contains(own.local.port())
            })
        };
        let named = self.policy.guard.keep.iter().filter(|port| match port {
            PortSpec::Ports(protocol, range) => {
                !ssh.iter().any(|own| range.contains(*own)) && listens(*protocol, *range)
            }
            PortSpec::Protocol(_) => true,
            PortSpec::All => false,
        });
        let named: Vec<PortSpec> = named.copied().collect();
        if !named.is_empty() {
            self.ports(inner, &named, Bind::Any, found);
        } else if let Some(name) = &inner.interface {
            let what = format!("the port on which the VPN of {name} is reached");
            let from = "internet".to_owned();
            found.lost(inner.lost(Cause::Unclear(vec![what]), (PortSpec::All, from)));
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
