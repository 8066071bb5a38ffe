//! What NAT statements make of a connection's addresses.

use super::load::Scene;
use super::packet::{address, number};
use super::state::Exactness;
use super::step::Step;
use super::value::Value;
use crate::model::IpFamily;
use crate::model::nft::{Hook, NatKind, NatRange, Operand, Selector};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NF_NAT_RANGE_NETMAP`.
const NETMAP: u32 = 1 << 6;

/// What a NAT statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// A new destination.
    Destination {
        /// The address.
        address: IpAddr,
        /// How well it is known.
        exactness: Exactness,
        /// The port; `None` for one of several.
        port: Option<u16>,
    },
    /// A new source; `None` for one of several.
    Source(Option<IpAddr>),
    /// There is no address to redirect to: the packet is dropped.
    Nothing,
}

/// Lowest and highest.
type Bounds<T> = Option<(T, T)>;

impl Scene<'_, '_> {
    pub(super) fn nat<'p>(&self, kind: NatKind, range: &NatRange) -> Step<'p> {
        let number = |operand: &Operand, len: usize| match self.load(operand) {
            Value::Bits(bits) if bits.is_known() && bits.value.len() >= len => {
                Some(Some(bits.truncated(len).value))
            }
            Value::Bits(_) => Some(None),
            Value::Absent => None,
        };
        let bounds = |pair: &Option<(Operand, Option<Operand>)>, len: usize| {
            let Some((low, high)) = pair else { return Ok(None) };
            let Some(low) = number(low, len) else { return Err(Step::Fail) };
            let high = match high {
                Some(high) => match number(high, len) {
                    Some(high) => high,
                    None => return Err(Step::Fail),
                },
                None => low.clone(),
            };
            low.zip(high).map(Some).ok_or(Step::Anything)
        };
        let len = match self.packet.family() {
            IpFamily::Ipv4 => 4,
            IpFamily::Ipv6 => 16,
        };
        // One map may yield both: the port stands behind the address.
        let both = matches!((&range.address, &range.port), (Some((one, _)), Some((two, _)))
            if one == two && matches!(one.selector, Selector::Map { .. }));
        let ports = if both {
            range.port.as_ref().map_or(Ok(None), |(value, high)| match self.load(value) {
                Value::Absent => Err(Step::Fail),
                Value::Bits(bits) => {
                    let low = bits.value.get(len..len + 2).filter(|_| bits.is_known());
                    // Where values are ranges, the highest port stands behind the highest address.
                    let high = match high {
                        None => low.map(<[u8]>::to_vec),
                        Some(high) => number(high, 2).flatten(),
                    };
                    low.map(<[u8]>::to_vec).zip(high).map(Some).ok_or(Step::Anything)
                }
            })
        } else {
            bounds(&range.port, 2)
        };
        let (addresses, ports) = match (bounds(&range.address, len), ports) {
            (Ok(addresses), Ok(ports)) => (addresses, ports),
            (Err(step), _) | (_, Err(step)) => return step,
        };
        let parsed = |bytes: Vec<u8>| -> Option<IpAddr> {
            match len {
                4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
                _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
            }
        };
        let addresses = addresses.and_then(|(low, high)| parsed(low).zip(parsed(high)));
        let port = |bytes: Vec<u8>| bytes.first_chunk().map(|two| u16::from_be_bytes(*two));
        let ports = ports.and_then(|(low, high)| port(low).zip(port(high)));
        if range.flags & NETMAP != 0 {
            return self.netmap(kind, addresses);
        }
        self.translated(kind, addresses, ports)
    }

    /// `nft_nat_setup_netmap()`, `netmap_tg4()`: the network is replaced, the rest of the address
    /// stays.
    pub(super) fn netmap<'p>(&self, kind: NatKind, addresses: Bounds<IpAddr>) -> Step<'p> {
        let Some((low, high)) = addresses else { return Step::Anything };
        match kind {
            NatKind::Dnat if self.env.exactness == Exactness::Exact && !self.env.overwritten => {
                let (first, last) = (number(low), number(high));
                let kept = first ^ last;
                let mapped = number(self.env.destination) & kept | first & !kept;
                Step::Translate(Translation::Destination {
                    address: address(self.packet.family(), mapped),
                    exactness: Exactness::Exact,
                    port: self.env.port,
                })
            }
            NatKind::Snat => Step::Translate(Translation::Source(None)),
            NatKind::Dnat | NatKind::Masquerade | NatKind::Redirect | NatKind::Tproxy => {
                Step::Anything
            }
        }
    }

    pub(super) fn translated<'p>(
        &self,
        kind: NatKind,
        addresses: Bounds<IpAddr>,
        ports: Bounds<u16>,
    ) -> Step<'p> {
        let port = match ports {
            None => self.env.port,
            Some((low, high)) => (low == high).then_some(low),
        };
        Step::Translate(match kind {
            NatKind::Dnat => {
                let (low, high) = addresses.unwrap_or((self.env.destination, self.env.destination));
                let exactness = match addresses {
                    None => self.env.exactness,
                    Some(_) if low == high => Exactness::Exact,
                    Some(_) => Exactness::OneOf,
                };
                Translation::Destination { address: low, exactness, port }
            }
            NatKind::Redirect => self.redirected(port),
            NatKind::Snat => {
                Translation::Source(addresses.and_then(|(low, high)| (low == high).then_some(low)))
            }
            NatKind::Masquerade => Translation::Source(None),
            NatKind::Tproxy => return Step::Anything,
        })
    }

    /// `nf_nat_redirect_ipv4()`, `nf_nat_redirect_ipv6()`: to the first address of the input
    /// interface. Which of several is the first is not in a snapshot.
    fn redirected(&self, port: Option<u16>) -> Translation {
        let family = self.packet.family();
        if self.place.hook == Hook::Output {
            let address = match family {
                IpFamily::Ipv4 => Ipv4Addr::LOCALHOST.into(),
                IpFamily::Ipv6 => Ipv6Addr::LOCALHOST.into(),
            };
            return Translation::Destination { address, exactness: Exactness::Exact, port };
        }
        let link_local = |address: IpAddr| match address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let link = self.place.input.and_then(|name| self.host.link(name));
        let own: Vec<IpAddr> = link
            .iter()
            .flat_map(|link| &link.addresses)
            .map(|own| own.address)
            .filter(|own| IpFamily::of(*own) == family)
            .collect();
        let alike: Vec<IpAddr> = own
            .iter()
            .copied()
            .filter(|own| link_local(*own) == link_local(self.env.destination))
            .collect();
        let candidates = if alike.is_empty() { &own } else { &alike };
        match candidates[..] {
            [] => Translation::Nothing,
            [address] => Translation::Destination { address, exactness: Exactness::Exact, port },
            [address, ..] => {
                Translation::Destination { address, exactness: Exactness::OneOfLocal, port }
            }
        }
    }
}
