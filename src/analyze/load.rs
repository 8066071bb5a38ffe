//! Operands → what stands in the register, for one packet from one source.

use super::host::HostView;
use super::lookup::Flow;
use super::packet::{ConnectionState, Fields, From, Packet, ether_type, octets, payload};
use super::program::Program;
use super::sets::{Found, find};
use super::state::{Env, Exactness, Place, Tracking};
use super::value::{Bits, Value};
use crate::model::nft::{
    CtDirection, CtKey, ElementData, FibFlags, FibResult, Hook, MetaKey, Operand, PayloadBase,
    Selector,
};
use crate::model::{IfaceName, IpFamily, Protocol};
use crate::observe::LinkKind;
use std::net::IpAddr;

/// A packet from one source at one place, and all that it can be held against.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a, 's> {
    pub program: &'a Program<'s>,
    pub host: &'a HostView<'s>,
    pub packet: &'a Packet,
    pub place: Place<'a>,
    pub env: &'a Env,
    /// The table whose rules look.
    pub table: usize,
    /// The source as it was sent.
    pub source: IpAddr,
}

impl Scene<'_, '_> {
    /// The addresses and ports that stand in the packet now.
    pub fn fields(&self) -> Fields {
        let env = self.env;
        if env.overwritten {
            return Fields { source: None, destination: None, source_port: None, port: None };
        }
        let exact = env.exactness == Exactness::Exact;
        Fields {
            source: env.source.unwrap_or(Some(self.source)),
            destination: exact.then_some(env.destination),
            source_port: (!env.source_port_changed).then_some(self.packet.source_port),
            port: env.port,
        }
    }

    /// What an operand yields.
    pub fn load(&self, operand: &Operand) -> Value {
        match self.select(&operand.selector) {
            Value::Bits(bits) => Value::Bits(bits.transformed(&operand.transforms)),
            Value::Absent => Value::Absent,
        }
    }

    /// What several operands yield, one behind the other; `None` where one yields nothing.
    pub fn key(&self, operands: &[Operand]) -> Option<Vec<Bits>> {
        let each = operands.iter().map(|operand| match self.load(operand) {
            Value::Bits(bits) => Some(bits),
            Value::Absent => None,
        });
        each.collect()
    }

    fn select(&self, selector: &Selector) -> Value {
        match selector {
            Selector::Payload { base, offset, len } => {
                if *base == PayloadBase::Link
                    && matches!(self.place.hook, Hook::Output | Hook::Postrouting)
                {
                    return Value::Absent;
                }
                payload(self.packet, self.fields(), *base, *offset, *len)
            }
            Selector::Meta(key) => self.meta(*key),
            Selector::Ct { key, direction } => self.ct(*key, *direction),
            Selector::Fib { result, flags } => self.fib(*result, *flags),
            Selector::Immediate(bytes) => Value::known(bytes.as_slice()),
            Selector::Map { key, map } => self.map(key, map),
            Selector::Other { name, detail } if name == "exthdr" => self.extension(detail),
            // `nft_socket_eval()`.
            Selector::Other { name, .. } if name == "socket" && !self.may_have_socket() => {
                Value::Absent
            }
            Selector::Other { .. } => Value::unknown(16),
        }
    }

    /// `exthdr`: packets have no extension headers and no IPv4 options here; which options a TCP
    /// segment has is not known.
    fn extension(&self, detail: &str) -> Value {
        let field = |wanted: &str| {
            let found = detail.split(' ').find_map(|word| word.strip_prefix(wanted));
            found.and_then(|number| number.parse::<u32>().ok())
        };
        let protocol = match field("op=") {
            None | Some(0 | 2) => None,
            Some(1) => Some(Protocol::TCP),
            Some(3) => Some(Protocol::SCTP),
            Some(_) => Some(Protocol(33)),
        };
        let asks_presence = field("flags=").unwrap_or(0) & 1 != 0;
        if protocol == Some(self.packet.protocol) {
            let len = if asks_presence { 1 } else { 16 };
            return Value::unknown(len);
        }
        if asks_presence { Value::known([0]) } else { Value::Absent }
    }

    fn map(&self, key: &[Operand], map: &str) -> Value {
        let Some(key) = self.key(key) else { return Value::Absent };
        let Some(set) = self.program.set(self.table, map) else { return Value::unknown(16) };
        if self.program.is_filled_by_rules(self.table, set) {
            return Value::unknown(16);
        }
        match find(set, &key) {
            Found::Element(element) => match &element.data {
                Some(ElementData::Value(value)) => Value::known(value.as_slice()),
                _ => Value::unknown(16),
            },
            Found::Nothing => Value::Absent,
            Found::Unknown => Value::unknown(16),
        }
    }

    fn meta(&self, key: MetaKey) -> Value {
        let index = |name: Option<&IfaceName>| match name {
            None => Value::number(0),
            Some(name) => {
                self.host.link(name).map_or(Value::unknown(4), |link| Value::number(link.index))
            }
        };
        let name = |name: Option<&IfaceName>| Value::name(name.map_or("", IfaceName::as_str));
        let kind = |name: Option<&IfaceName>| {
            let Some(name) = name else { return Value::Absent };
            match self.host.link(name).map(|link| &link.kind) {
                None => Value::unknown(16),
                Some(LinkKind::Physical | LinkKind::Loopback) => Value::Absent,
                Some(kind) => Value::name(kind.word()),
            }
        };
        let (input, output) = (self.place.input, self.place.output);
        let forwarded_to_nobody = output.is_none()
            && matches!(self.place.hook, Hook::Forward | Hook::Postrouting | Hook::Output);
        let out = |value: Value, len: usize| {
            if forwarded_to_nobody { Value::unknown(len) } else { value }
        };
        let family = self.packet.family();
        match key {
            MetaKey::Protocol => Value::known(ether_type(family).to_be_bytes()),
            MetaKey::Mark => self.env.mark.map_or(Value::unknown(4), Value::number),
            MetaKey::Iif => index(input),
            MetaKey::Oif => out(index(output), 4),
            MetaKey::Iifname => name(input),
            MetaKey::Oifname => out(name(output), 16),
            MetaKey::Iifkind => kind(input),
            MetaKey::Oifkind => out(kind(output), 16),
            MetaKey::Iiftype if input.is_none() => Value::Absent,
            MetaKey::Oiftype if output.is_none() && !forwarded_to_nobody => Value::Absent,
            MetaKey::Nfproto => Value::known([match family {
                IpFamily::Ipv4 => 2,
                IpFamily::Ipv6 => 10,
            }]),
            MetaKey::L4proto => Value::known([self.packet.protocol.0]),
            MetaKey::Skuid | MetaKey::Skgid | MetaKey::Cgroup => {
                // No socket is found for what opens a connection.
                let own = self.packet.from == From::Host
                    || self.packet.state == ConnectionState::Established;
                if own { Value::unknown(4) } else { Value::Absent }
            }
            MetaKey::Pkttype => match self.packet.destination {
                _ if self.packet.from == From::Host => Value::unknown(1),
                address if address.is_multicast() => Value::known([2]),
                IpAddr::V4(address) if self.host.address_type(address.into(), None) == 3 => {
                    Value::known([1])
                }
                _ => Value::known([0]),
            },
            MetaKey::Iiftype => self.link_layer(input),
            MetaKey::Oiftype => self.link_layer(output),
            MetaKey::Ibrpvid | MetaKey::Ibrvproto => Value::unknown(2),
            MetaKey::Ibrname | MetaKey::Obrname => Value::unknown(16),
            MetaKey::Sdif => self.of_port(4, index),
            MetaKey::Sdifname => self.of_port(16, name),
            MetaKey::Nftrace | MetaKey::Ipsec | MetaKey::Day | MetaKey::Broute => Value::unknown(1),
            MetaKey::Time => Value::unknown(8),
            MetaKey::Length
            | MetaKey::Priority
            | MetaKey::Rtclassid
            | MetaKey::Secmark
            | MetaKey::Cpu
            | MetaKey::Iifgroup
            | MetaKey::Oifgroup
            | MetaKey::Random
            | MetaKey::Hour
            | MetaKey::Other(_) => Value::unknown(4),
        }
    }

    /// `ARPHRD_*`, where the kind of the interface tells it.
    fn link_layer(&self, name: Option<&IfaceName>) -> Value {
        const ETHER: u16 = 1;
        const LOOPBACK: u16 = 772;
        const NONE: u16 = 0xfffe;
        let kind = name.and_then(|name| self.host.link(name)).map(|link| &link.kind);
        let number = match kind {
            Some(
                LinkKind::Bridge
                | LinkKind::Veth
                | LinkKind::Macvlan
                | LinkKind::Dummy
                | LinkKind::Vlan,
            ) => ETHER,
            Some(LinkKind::Loopback) => LOOPBACK,
            Some(LinkKind::Wireguard) => NONE,
            Some(_) | None => return Value::unknown(2),
        };
        Value::known(number.to_ne_bytes())
    }

    fn ct(&self, key: CtKey, direction: Option<CtDirection>) -> Value {
        const INVALID: u32 = 1;
        const ESTABLISHED: u32 = 2;
        const NEW: u32 = 8;
        const UNTRACKED: u32 = 64;
        let (packet, env) = (self.packet, self.env);
        if key == CtKey::State {
            return Value::number(match (env.tracking, packet.state) {
                (Tracking::NotYet | Tracking::Invalid, _) => INVALID,
                (Tracking::Never, _) => UNTRACKED,
                (Tracking::Connection, ConnectionState::Established) => ESTABLISHED,
                (Tracking::Connection, _) => NEW,
            });
        }
        if env.tracking != Tracking::Connection {
            return Value::Absent;
        }
        let new = packet.state == ConnectionState::New;
        let family = packet.family();
        let reply = direction == Some(CtDirection::Reply);
        let address = |address: Option<IpAddr>, family: IpFamily| {
            let len = if family == IpFamily::Ipv4 { 4 } else { 16 };
            address.map_or(Value::unknown(len), |address| Value::known(octets(address)))
        };
        let fields = self.fields();
        // The reply comes from where the packet goes after NAT.
        let (from, to) = match (reply, new) {
            (false, _) => (Some(self.source), Some(packet.destination)),
            (true, true) => (fields.destination, fields.source),
            (true, false) => (None, None),
        };
        let ports = match (reply, new) {
            (false, _) => (Some(packet.source_port), Some(packet.port)),
            (true, true) => (fields.port, fields.source_port),
            (true, false) => (None, None),
        };
        let port = |port: Option<u16>| {
            let has = packet.protocol.has_ports() || packet.protocol == Protocol::UDPLITE;
            let known = port.filter(|_| has);
            known.map_or(Value::unknown(2), |port| Value::known(port.to_be_bytes()))
        };
        match key {
            CtKey::Direction => Value::known([0]),
            CtKey::Status => {
                /// `IPS_*` that a new connection does not have.
                const NEVER_NEW: u32 = 0b1_1111_1111 & !(16 | 32 | 128 | 256);
                const NAT: u32 = 16 | 32 | 128 | 256;
                let known = if new { NEVER_NEW | NAT } else { 0 };
                Value::Bits(Bits {
                    value: (env.status & known).to_ne_bytes().into(),
                    known: (known | !0x3ff).to_ne_bytes().into(),
                })
            }
            CtKey::Mark => env.ct_mark.map_or(Value::unknown(4), Value::number),
            CtKey::L3proto => self.meta(MetaKey::Nfproto),
            CtKey::Protocol => Value::known([packet.protocol.0]),
            CtKey::Src => address(from, family),
            CtKey::Dst => address(to, family),
            CtKey::SrcIp if family == IpFamily::Ipv4 => address(from, family),
            CtKey::DstIp if family == IpFamily::Ipv4 => address(to, family),
            CtKey::SrcIp6 if family == IpFamily::Ipv6 => address(from, family),
            CtKey::DstIp6 if family == IpFamily::Ipv6 => address(to, family),
            CtKey::SrcIp | CtKey::DstIp | CtKey::SrcIp6 | CtKey::DstIp6 => Value::Absent,
            CtKey::ProtoSrc => port(ports.0),
            CtKey::ProtoDst => port(ports.1),
            CtKey::Labels if new && !env.ct_changed => Value::known([0; 16]),
            CtKey::Zone if !env.ct_changed => Value::known([0; 2]),
            CtKey::Labels | CtKey::Helper => Value::unknown(16),
            CtKey::Zone => Value::unknown(2),
            CtKey::Packets | CtKey::Bytes | CtKey::Avgpkt => Value::unknown(8),
            CtKey::State
            | CtKey::Secmark
            | CtKey::Expiration
            | CtKey::EventMask
            | CtKey::Id
            | CtKey::Other(_) => Value::unknown(4),
        }
    }

    /// Whether the packet comes by a VRF or one of its ports.
    pub(super) fn is_in_vrf(&self) -> bool {
        let is = |name| {
            self.host.vrf_over(name).is_some()
                || self.host.link(name).is_some_and(|link| link.kind == LinkKind::Vrf)
        };
        self.place.input.is_some_and(is)
    }

    /// What is known of the port of a VRF by which the packet came, `len` bytes of it.
    fn of_port(&self, len: usize, known: impl Fn(Option<&IfaceName>) -> Value) -> Value {
        let is_vrf = |name| self.host.link(name).is_some_and(|link| link.kind == LinkKind::Vrf);
        match self.place.port {
            // The host sends itself something there.
            None if self.place.input.is_some_and(is_vrf) => Value::unknown(len),
            port => known(port),
        }
    }

    fn fib(&self, result: FibResult, flags: FibFlags) -> Value {
        let len = if result == FibResult::Oifname { 16 } else { 4 };
        let fields = self.fields();
        let looked_up = if flags.daddr { fields.destination } else { fields.source };
        let through = match (flags.oif, flags.iif) {
            (true, _) => self.place.output,
            (_, true) => self.place.input,
            _ => None,
        };
        // In which tables it looks differs from kernel to kernel, where a VRF is about.
        let local_alone = result == FibResult::AddressType && through.is_none();
        if self.is_in_vrf() && !(local_alone && looked_up.is_some_and(|own| own.is_ipv4())) {
            return Value::unknown(len);
        }
        let Some(address) = looked_up else {
            let local = flags.daddr && through.is_none() && self.is_local_for_sure();
            return if local && result == FibResult::AddressType {
                Value::number(2)
            } else {
                Value::unknown(len)
            };
        };
        let known = |name: Option<&IfaceName>| match result {
            FibResult::Oifname => Value::name(name.map_or("", IfaceName::as_str)),
            FibResult::Present => Value::number(u32::from(name.is_some())),
            FibResult::Oif | FibResult::AddressType => Value::number(
                name.and_then(|name| self.host.link(name)).map_or(0, |link| link.index),
            ),
        };
        if result == FibResult::AddressType {
            return Value::number(self.host.address_type(address, through));
        }
        let looped = self.place.input.is_some()
            && self.place.input == self.host.loopback().map(|link| &link.name);
        if self.place.hook == Hook::Prerouting && looped {
            return known(self.place.input);
        }
        let other = if flags.daddr { fields.source } else { fields.destination };
        let unspecified: IpAddr = match address {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let flow = Flow {
            to: address,
            from: other.unwrap_or(unspecified),
            input: self.host.loopback().map(|link| &link.name),
            vrf: None,
            mark: if flags.mark { self.env.mark } else { Some(0) },
        };
        self.host.flow_leaves_by(&flow, through).map_or(Value::unknown(len), known)
    }
}
