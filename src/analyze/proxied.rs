//! What the kernel's sockets say to a rule that asks for one: TPROXY and the `socket` match.
//!
//! A socket that nobody has opened is found by neither. Whether one that is open is transparent
//! (`IP_TRANSPARENT`) is not in a snapshot.

use super::load::Scene;
use super::packet::ConnectionState;
use super::step::Step;
use super::value::Value;
use crate::model::nft::{NatRange, Operand, Verdict};
use crate::model::{IpFamily, Protocol};
use crate::observe::SocketState;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The verdict of iptables' target where there is no socket.
static DROP: Verdict = Verdict::Drop;

impl Scene<'_, '_> {
    /// `nft_tproxy_eval()`: where there is no socket, the rule ends without a match.
    pub(super) fn tproxy<'p>(&self, range: &NatRange) -> Step<'p> {
        let bytes = |bound: &Option<(Operand, Option<Operand>)>| match bound {
            None => Some(None),
            Some((operand, _)) => match self.load(operand) {
                Value::Bits(bits) if bits.is_known() => Some(Some(bits.value)),
                Value::Bits(_) | Value::Absent => None,
            },
        };
        let (Some(address), Some(port)) = (bytes(&range.address), bytes(&range.port)) else {
            return Step::Anything;
        };
        let address = address.and_then(|own| match self.packet.family() {
            IpFamily::Ipv4 => own.first_chunk::<4>().map(|own| Ipv4Addr::from(*own).into()),
            IpFamily::Ipv6 => own.first_chunk::<16>().map(|own| Ipv6Addr::from(*own).into()),
        });
        let port = port.and_then(|own| own.first_chunk().map(|own| u16::from_be_bytes(*own)));
        if self.may_be_proxied(address, port) { Step::Anything } else { Step::Fail }
    }

    /// `tproxy_tg4()`, `tproxy_tg6_v1()`: where there is no socket, the packet is dropped.
    pub(super) fn xt_tproxy<'p>(&self, options: &[String]) -> Step<'p> {
        let words: Vec<&str> = options.iter().flat_map(|own| own.split(' ')).collect();
        let after = |word: &str| {
            let at = words.iter().position(|own| *own == word)?;
            words.get(at + 1).copied()
        };
        let address: Option<IpAddr> = after("on-ip").and_then(|own| own.parse().ok());
        let Some(port) = after("on-port").and_then(|own| own.parse::<u16>().ok()) else {
            return Step::Anything;
        };
        let address = address.filter(|own| !own.is_unspecified());
        if self.may_be_proxied(address, Some(port).filter(|port| *port != 0)) {
            Step::Anything
        } else {
            Step::Verdict(&DROP)
        }
    }

    /// Whether a socket waits where packets are to be taken to; without an address, at one of the
    /// input interface's, and without a port, at the packet's own.
    fn may_be_proxied(&self, address: Option<IpAddr>, port: Option<u16>) -> bool {
        let known = matches!(self.packet.protocol, Protocol::TCP | Protocol::UDP);
        known && self.may_find_socket(address, port.or(self.fields().port))
    }

    /// Whether the kernel may find a socket for the packet itself (`nf_sk_lookup_slow_v4()`).
    pub(super) fn may_have_socket(&self) -> bool {
        let fields = self.fields();
        self.may_find_socket(fields.destination, fields.port)
    }

    fn may_find_socket(&self, address: Option<IpAddr>, port: Option<u16>) -> bool {
        if self.packet.state != ConnectionState::New {
            return true;
        }
        let v4 = self.packet.family() == IpFamily::Ipv4;
        self.host.snapshot().sockets.iter().any(|socket| {
            let own = socket.local.ip();
            let version = own.is_ipv4() == v4 || v4 && own.is_unspecified() && !socket.v6only;
            socket.namespace.is_none()
                && socket.state == SocketState::Listening
                && socket.protocol == self.packet.protocol
                && port.is_none_or(|port| port == socket.local.port())
                && version
                && (own.is_unspecified() || address.is_none_or(|address| address == own))
        })
    }
}
