//! The outer packets of tunnels and of IPsec: let in from their other end, and by which layer those
//! come in turn.
//!
//! A packet that was carried is seen by the rules twice: the outer one, and then what was in it. The
//! session's own packet is judged as it is; here it is those around it.

use super::proof::{Found, Proof, words};
use super::{Cause, Lost, What};
use crate::analyze::{End, From, Reach};
use crate::model::{Bind, IfaceName, IpFamily, PortRange, PortSpec, Prefix, Protocol};
use crate::observe::{
    IpsecCarried, IpsecPolicy, LinkKind, SocketState, SshSession, Tunnel, TunnelPeer,
};
use std::net::{IpAddr, SocketAddr};

/// So many layers below each other are followed.
const DEEPEST: u8 = 8;
const ESP: Protocol = Protocol(50);
/// Programs that speak IKE (RFC 7296), and where.
const IKE: [&str; 5] = ["charon", "charon-systemd", "pluto", "iked", "racoon"];
const IKE_PORTS: [u16; 2] = [500, 4500];

/// Packets of a session, or those that carry them, as they come by an interface.
#[derive(Debug, Clone)]
pub(super) struct Inner<'a> {
    pub session: &'a SshSession,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub protocol: Protocol,
    pub interface: Option<IfaceName>,
    /// How many layers are above them.
    pub depth: u8,
}

impl Inner<'_> {
    /// What carries them is lost.
    pub fn lost(&self, cause: Cause, (port, from): (PortSpec, String)) -> Lost {
        let remote = self.session.remote;
        let what = match &self.interface {
            Some(interface) => What::Tunnel { interface: interface.clone(), remote },
            None => What::Ipsec { remote },
        };
        Lost { what, from, port, witness: None, cause }
    }
}

/// The packets that carry others: from where, and to where.
struct Outer {
    source: SocketAddr,
    local: Option<IpAddr>,
    protocol: Protocol,
    port: u16,
    /// Whether IPsec itself sends them: they come by it no second time.
    by_ipsec: bool,
}

impl Outer {
    fn spec(&self) -> PortSpec {
        let range = PortRange::single(self.port).ok().filter(|_| self.protocol.has_ports());
        range.map_or(PortSpec::Protocol(self.protocol), |own| PortSpec::Ports(self.protocol, own))
    }
}

impl Proof<'_, '_> {
    /// The tunnels of an interface, by what is behind their other ends.
    pub(super) fn carried(&self, inner: &Inner<'_>, found: &mut Found) {
        let name = inner.interface.as_ref();
        let tunnels = self.snapshot.tunnels.iter().filter(|own| Some(&own.interface) == name);
        let source = inner.source.ip().to_canonical();
        let gateway = self.gateway(source);
        let behind = |peer: &TunnelPeer| {
            let holds =
                |own: &Prefix| own.contains(source) || gateway.is_some_and(|to| own.contains(to));
            peer.allowed.iter().any(holds)
        };
        let all: Vec<(&Tunnel, &TunnelPeer)> =
            tunnels.clone().flat_map(|own| own.peers.iter().map(move |peer| (own, peer))).collect();
        let mut ends: Vec<_> = all.iter().filter(|(_, peer)| behind(peer)).copied().collect();
        let link = self.snapshot.links.iter().find(|link| Some(&link.name) == name);
        let is = |kind: &LinkKind| link.is_some_and(|link| link.kind == *kind);
        // Who is behind which end is learned, and forgotten.
        if is(&LinkKind::Vxlan) && ends.is_empty() {
            ends = all;
        }
        // What is not known to come by a tunnel among a bridge's ports comes by another port.
        let nobody = ends.is_empty() && !is(&LinkKind::Bridge);
        for tunnel in tunnels.filter(|_| nobody) {
            self.anyone(inner, tunnel, found);
        }
        for (tunnel, peer) in ends {
            let Some(end) = peer.endpoint else {
                self.anyone(inner, tunnel, found);
                continue;
            };
            let source = SocketAddr::new(end.ip().to_canonical(), end.port());
            let Tunnel { protocol, port, local, .. } = *tunnel;
            if protocol == ESP {
                let local = local.unwrap_or(inner.destination.ip());
                let carried = IpsecCarried { protocol: ESP, uncompressed: None, outer: None };
                self.encrypted(inner, &carried, (source.ip(), local), found);
            } else if protocol.has_ports() && port == 0 {
                self.unknown(inner, found);
            } else {
                let outer = Outer { source, local, protocol, port, by_ipsec: false };
                self.outer(inner, &outer, found);
            }
        }
    }

    /// A tunnel whose other end may be anywhere.
    fn anyone(&self, inner: &Inner<'_>, tunnel: &Tunnel, found: &mut Found) {
        let spec = match PortRange::single(tunnel.port) {
            Ok(range) if tunnel.protocol.has_ports() => PortSpec::Ports(tunnel.protocol, range),
            Err(_) if tunnel.protocol.has_ports() => return self.unknown(inner, found),
            Ok(_) | Err(_) => PortSpec::Protocol(tunnel.protocol),
        };
        self.ports(inner, &[spec], tunnel.local.map_or(Bind::Any, Bind::Address), found);
    }

    /// By which gateway the host answers.
    fn gateway(&self, source: IpAddr) -> Option<IpAddr> {
        let routes = self.snapshot.routes.iter();
        let to = routes.filter(|own| own.kind == "unicast" && own.to.contains(source));
        to.max_by_key(|own| own.to.length()).and_then(|own| own.gateway)
    }

    /// Whether packets of an xfrm interface are known to come by IPsec.
    pub(super) fn is_by_ipsec(&self, inner: &Inner<'_>) -> bool {
        self.policy_of(inner).is_some_and(|own| own.carried.is_some())
    }

    /// The policy that the kernel asks about these packets: the first that is about them.
    fn policy_of(&self, inner: &Inner<'_>) -> Option<&IpsecPolicy> {
        let (source, destination) =
            (inner.source.ip().to_canonical(), inner.destination.ip().to_canonical());
        let links = &self.snapshot.links;
        let link = links.iter().find(|link| Some(&link.name) == inner.interface.as_ref());
        let kind = link.map(|link| link.kind.word());
        let by_xfrm = kind == Some("xfrm");
        let by_vti = matches!(kind, Some("vti" | "vti6"));
        self.snapshot.ipsec.policies.iter().find(|own| {
            own.source.contains(source)
                && own.destination.contains(destination)
                && own.protocol.is_none_or(|protocol| protocol == inner.protocol)
                && own.source_port.is_none_or(|port| port == inner.source.port())
                && own.port.is_none_or(|port| port == inner.destination.port())
                && own.interface.as_ref() == inner.interface.as_ref().filter(|_| by_xfrm)
                // A mark is that of a vti interface, for which its own ends are asked about; where
                // it may not be, what is for everything tells nothing.
                && !(own.marked && (by_vti || own.source.length() == 0))
        })
    }

    /// Packets that must have come by IPsec need it, and the port by which its keys are agreed on.
    pub(super) fn ipsec(&self, inner: &Inner<'_>, found: &mut Found) {
        let Some(carried) = self.policy_of(inner).and_then(|own| own.carried.as_ref()) else {
            return;
        };
        let own = || (inner.source.ip().to_canonical(), inner.destination.ip().to_canonical());
        let inner = &Inner { interface: None, ..inner.clone() };
        self.encrypted(inner, carried, carried.outer.unwrap_or_else(own), found);
    }

    /// What comes by IPsec between these ends.
    fn encrypted(
        &self,
        inner: &Inner<'_>,
        carried: &IpsecCarried,
        (source, local): (IpAddr, IpAddr),
        found: &mut Found,
    ) {
        let outer = |protocol, from, port| Outer {
            source: SocketAddr::new(source, from),
            local: Some(local),
            protocol,
            port,
            by_ipsec: true,
        };
        let associations = self.snapshot.ipsec.associations.iter().filter(|own| {
            (own.source, own.destination, own.protocol) == (source, local, carried.protocol)
        });
        let mut needed: Vec<(Protocol, u16, u16)> =
            associations.map(|own| own.encapsulated.unwrap_or((carried.protocol, 0, 0))).collect();
        needed.dedup();
        if needed.is_empty() {
            needed.push((carried.protocol, 0, 0));
        }
        needed.extend(carried.uncompressed.map(|protocol| (protocol, 0, 0)));
        needed.extend(self.ike_ports().into_iter().map(|port| (Protocol::UDP, port, port)));
        for (protocol, from, port) in needed {
            self.outer(inner, &outer(protocol, from, port), found);
        }
    }

    /// The ports on which a program waits for those who agree on keys.
    fn ike_ports(&self) -> Vec<u16> {
        let sockets = self.snapshot.sockets.iter().filter(|own| {
            let mut owners = own.owners.iter().filter_map(|own| own.process.as_deref());
            own.namespace.is_none()
                && own.protocol == Protocol::UDP
                && own.state == SocketState::Listening
                && !own.local.ip().to_canonical().is_loopback()
                && owners.any(|program| IKE.contains(&program))
        });
        let mut ports: Vec<u16> = sockets.map(|own| own.local.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        // Others may be for something else, unless there are no more.
        if ports.iter().any(|port| IKE_PORTS.contains(port)) {
            ports.retain(|port| IKE_PORTS.contains(port));
        }
        ports
    }

    /// Whether these packets come in, and by which layer in turn.
    fn outer(&self, inner: &Inner<'_>, outer: &Outer, found: &mut Found) {
        let source = outer.source.ip();
        let port = outer.spec();
        let Some(from) = self.later.way_of(source) else {
            let by = format!("the interface by which {source} comes");
            found.lost(inner.lost(Cause::Unclear(vec![by]), (port, source.to_string())));
            return;
        };
        let own = outer.local.map(|own| own.to_canonical());
        let own =
            own.map_or_else(|| self.later.own_addresses(IpFamily::of(source)), |own| vec![own]);
        let Some(mut destination) = own.first().map(|own| SocketAddr::new(*own, outer.port)) else {
            let cause = Cause::Host("it has no address there".to_owned());
            found.lost(inner.lost(cause, (port, words(source, Some(&from)))));
            return;
        };
        let mut first = None;
        let reached = own.into_iter().any(|own| {
            let to = SocketAddr::new(own, outer.port);
            let mut packet = Self::packet(&from, source, to, outer.protocol);
            if outer.source.port() != 0 {
                packet.source_port = outer.source.port();
            }
            let told = self.later.fare(&packet, &|end: &End| end.fate.passes());
            let reached = matches!(told.summary.reach, Reach::Open | Reach::Limited);
            if reached {
                destination = to;
            }
            first.get_or_insert(told);
            reached
        });
        if let (false, Some(told)) = (reached, first) {
            let cause = self.cause(&told, &from, (outer.protocol, outer.port));
            found.lost(inner.lost(cause, (port, words(source, Some(&from)))));
        }
        if let From::Interface(name) = from
            && inner.depth < DEEPEST
        {
            let below = Inner {
                session: inner.session,
                source: outer.source,
                destination,
                protocol: outer.protocol,
                interface: Some(name),
                depth: inner.depth + 1,
            };
            if !outer.by_ipsec {
                self.ipsec(&below, found);
            }
            self.interface(&below, found);
        }
    }
}
