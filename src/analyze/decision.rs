//! The routing decision: to the host itself, on, or nowhere.
//!
//! In: a packet's addresses, its input interface and mark. Out: what `ip_route_input_slow()` and
//! `fib_validate_source()` say, or the rule of policy routing that cannot be evaluated.

use super::host::{HostView, Nowhere, Way};
use super::lookup::{Flow, Looked, Undecided};
use crate::model::{IfaceName, IpFamily};
use crate::observe::{LinkKind, Route};
use std::net::IpAddr;

/// What routing asks of a source.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent kinds of addresses")]
pub(super) struct KindOfSource {
    to_many: bool,
    zero: bool,
    loopback: bool,
    link_local: bool,
    fits: Result<Option<Nowhere>, Undecided>,
}

impl HostView<'_> {
    /// The routing decision for what came in by an interface.
    pub fn way(
        &self,
        interface: &IfaceName,
        source: IpAddr,
        destination: IpAddr,
        mark: Option<u32>,
    ) -> Result<Way, Undecided> {
        if let Some(way) = self.way_by_address(interface, source, destination) {
            let passed_on = way == Way::Nowhere(Nowhere::NotJoined)
                && self.routes_groups(interface, IpFamily::of(destination));
            return if passed_on {
                Err(Undecided { why: "where multicast routing sends it".to_owned() })
            } else {
                Ok(way)
            };
        }
        let vrf = self.vrf_over(interface);
        let flow = Flow { to: destination, from: source, input: Some(interface), vrf, mark };
        let route = match self.looked_up(&flow)? {
            Looked::Route(route) => route,
            Looked::Nothing => return Ok(Way::Nowhere(Nowhere::NoRoute)),
            Looked::Forbidden => return Ok(Way::Nowhere(Nowhere::RouteForbids)),
        };
        let fits = || self.source_fits(interface, source, destination, mark);
        Ok(match route.kind.as_str() {
            "local" | "anycast" | "broadcast" | "multicast" => {
                fits()?.map_or(Way::Local, Way::Nowhere)
            }
            "unicast" => match self.forwards(interface, source, destination) {
                Some(why) => Way::Nowhere(why),
                None => fits()?.map_or_else(|| self.onward(route), Way::Nowhere),
            },
            _ => Way::Nowhere(Nowhere::RouteForbids),
        })
    }

    /// All that the decision, and what is dropped before it, ask of a source where lookups depend
    /// on nothing but what is looked up.
    pub(super) fn kind_of_source(
        &self,
        interface: &IfaceName,
        source: IpAddr,
        destination: IpAddr,
        mark: Option<u32>,
    ) -> KindOfSource {
        let to_many = match source {
            IpAddr::V4(own) => own.is_multicast() || own.is_broadcast(),
            IpAddr::V6(own) => own.is_multicast(),
        };
        let zero = match source {
            IpAddr::V4(own) => own.octets()[0] == 0,
            IpAddr::V6(own) => own.is_unspecified(),
        };
        KindOfSource {
            to_many,
            zero,
            loopback: source.is_loopback(),
            link_local: is_link_local(source),
            fits: self.source_fits(interface, source, destination, mark),
        }
    }

    /// What no lookup is needed for.
    fn way_by_address(
        &self,
        interface: &IfaceName,
        source: IpAddr,
        destination: IpAddr,
    ) -> Option<Way> {
        let nowhere = |why| Some(Way::Nowhere(why));
        if self.link(interface).is_some_and(|link| link.kind == LinkKind::Loopback) {
            return Some(Way::Local);
        }
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) {
            if source.is_multicast() || source.is_broadcast() {
                return nowhere(Nowhere::MartianSource);
            }
            if destination.is_broadcast() {
                return Some(Way::Local);
            }
            if destination.is_multicast() {
                return Some(self.to_group(interface, destination.into()));
            }
            let zero = |address: std::net::Ipv4Addr| address.octets()[0] == 0;
            let localnet = self.localnet(interface);
            if zero(source) || (source.is_loopback() && !localnet) {
                return nowhere(Nowhere::MartianSource);
            }
            if zero(destination) || (destination.is_loopback() && !localnet) {
                return nowhere(Nowhere::Loopback);
            }
        }
        destination.is_multicast().then(|| self.to_group(interface, destination))
    }

    /// Where what is sent to a multicast group goes that comes by an interface, where no multicast
    /// router passes it on.
    fn to_group(&self, interface: &IfaceName, group: IpAddr) -> Way {
        let joined = self.link(interface).and_then(|link| link.groups.as_ref());
        match joined {
            Some(joined) if !joined.contains(&group) => Way::Nowhere(Nowhere::NotJoined),
            Some(_) | None => Way::Local,
        }
    }

    fn localnet(&self, interface: &IfaceName) -> bool {
        self.ipv4(interface, "route_localnet") != 0 || self.ipv4_all("route_localnet") != 0
    }

    /// Why a packet is not forwarded whatever its route.
    fn forwards(
        &self,
        interface: &IfaceName,
        source: IpAddr,
        destination: IpAddr,
    ) -> Option<Nowhere> {
        let forwarding = match source {
            IpAddr::V4(_) => self.ipv4(interface, "forwarding") != 0,
            // ip6_forward() asks for `all` alone.
            IpAddr::V6(_) => self.setting("ipv6.conf.all.forwarding") != 0,
        };
        if !forwarding {
            return Some(Nowhere::NotForwarding);
        }
        let is_local = is_link_local(source) || is_link_local(destination);
        is_local.then_some(Nowhere::LinkLocal)
    }

    /// By the interface of a route.
    fn onward(&self, route: &Route) -> Way {
        let mut out: Vec<&IfaceName> = self.interfaces(route).collect();
        out.dedup();
        match out[..] {
            [only] => Way::Forward(Some(only.clone())),
            _ => Way::Forward(None),
        }
    }

    /// `fib_validate_source()`; IPv6 has none.
    fn source_fits(
        &self,
        interface: &IfaceName,
        source: IpAddr,
        destination: IpAddr,
        mark: Option<u32>,
    ) -> Result<Option<Nowhere>, Undecided> {
        if source.is_ipv6() {
            return Ok(None);
        }
        let filter = self.ipv4(interface, "rp_filter").max(self.ipv4_all("rp_filter"));
        let accepts_local =
            self.ipv4(interface, "accept_local") != 0 || self.ipv4_all("accept_local") != 0;
        let vrf = self.vrf_over(interface);
        if filter == 0 && vrf.is_none() {
            let own = self.is_own(source);
            return Ok((own && !accepts_local).then_some(Nowhere::MartianSource));
        }
        let marked =
            self.ipv4(interface, "src_valid_mark") != 0 || self.ipv4_all("src_valid_mark") != 0;
        let flow = Flow {
            to: source,
            from: destination,
            input: self.loopback().map(|link| &link.name),
            vrf,
            mark: if marked { mark } else { Some(0) },
        };
        let Looked::Route(route) = self.looked_up(&flow)? else {
            return Ok((filter != 0).then_some(Nowhere::ReversePath));
        };
        match route.kind.as_str() {
            "unicast" => {}
            "local" if accepts_local => {}
            _ => return Ok(Some(Nowhere::MartianSource)),
        }
        let fits = self.interfaces(route).any(|own| own == interface);
        Ok((!fits && filter == 1).then_some(Nowhere::ReversePath))
    }
}

/// Whether an address is never forwarded; of IPv4 none is.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V6(own) => own.is_unicast_link_local() || own.is_unspecified(),
        IpAddr::V4(_) => false,
    }
}
