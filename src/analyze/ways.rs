//! Where packets go that come by an interface, for all sources at once.
//!
//! In: an interface, a destination and a mark. Out: what the IP stack drops before its first hook,
//! and what the routing decision says, each with its sources; found once.

use super::arrivals::united;
use super::host::{Nowhere, Way};
use super::lookup::{Flow, Looked, Undecided};
use super::packet::{address, highest};
use super::sources::{Sources, add};
use super::{Analyzer, Intervals};
use crate::model::{IfaceName, IpFamily};
use foldhash::HashMap;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

/// Where packets to a destination go that come by an interface, by their sources.
#[derive(Debug)]
pub(super) struct Ways {
    /// What the IP stack drops before its first hook.
    pub refused: Vec<(Nowhere, Intervals)>,
    /// What the routing decision says.
    pub routed: Vec<(Result<Way, Undecided>, Intervals)>,
}
/// What decides where a packet goes, beside its source and its input interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum To {
    /// The very destination, and the mark: rules of policy routing may ask for both.
    Address(IpAddr, Option<u32>),
    /// What kind of address it is, and what a lookup finds.
    Kind(IpFamily, Special, Found),
}

/// What the host knows of an address without a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Special {
    None,
    ToMany,
    Loopback,
    Unspecified,
    LinkLocal,
}

/// What a lookup finds, as far as it decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Found {
    Nothing,
    Forbidden,
    /// A route of this kind that does not lead on.
    Here(Rc<str>),
    /// The route at this place in memory.
    On(usize),
}

/// Sources, those together of which one stands for all.
type Kinds = Rc<[Intervals]>;

/// What is known of a host, whatever rules filter on it.
#[derive(Debug, Default)]
pub(super) struct Routing {
    ways: RefCell<HashMap<(IfaceName, To), Rc<Ways>>>,
    to: RefCell<HashMap<IpAddr, To>>,
    /// The sources that the host treats alike, whatever the destination, by input interface.
    kinds: RefCell<HashMap<(IfaceName, IpFamily), Kinds>>,
    /// The sources to which the host would send, by interface; of IPv4 and of IPv6.
    pub by: [OnceCell<HashMap<IfaceName, Sources>>; 2],
    /// The host's addresses that others can dial; of IPv4 and of IPv6.
    pub dialled: [OnceCell<Vec<IpAddr>>; 2],
    /// The interfaces of container engines.
    pub containers: OnceCell<BTreeSet<IfaceName>>,
}

/// So many answers of routing are kept at most.
const MOST_WAYS: usize = 4_096;

impl Analyzer<'_> {
    /// What decides about this destination.
    pub(super) fn to(&self, destination: IpAddr, mark: Option<u32>) -> To {
        let family = IpFamily::of(destination);
        // Which groups were joined is another matter on each interface.
        if !self.host.asks_for_destinations_alone(family) || destination.is_multicast() {
            return To::Address(destination, mark);
        }
        if let Some(known) = self.routing.to.borrow().get(&destination) {
            return known.clone();
        }
        let special = match destination {
            _ if destination.is_multicast() => Special::ToMany,
            _ if destination.is_loopback() => Special::Loopback,
            IpAddr::V4(own) if own.is_broadcast() => Special::ToMany,
            IpAddr::V4(own) if own.octets()[0] == 0 => Special::Unspecified,
            IpAddr::V6(own) if own.is_unspecified() => Special::Unspecified,
            IpAddr::V6(own) if own.is_unicast_link_local() => Special::LinkLocal,
            _ => Special::None,
        };
        let flow =
            Flow { to: destination, from: destination, input: None, vrf: None, mark: Some(0) };
        let found = match self.host.looked_up(&flow) {
            Err(_) => return To::Address(destination, mark),
            Ok(Looked::Nothing) => Found::Nothing,
            Ok(Looked::Forbidden) => Found::Forbidden,
            Ok(Looked::Route(route)) if route.kind == "unicast" => {
                Found::On(std::ptr::from_ref(route).addr())
            }
            Ok(Looked::Route(route)) => Found::Here(route.kind.as_str().into()),
        };
        let to = To::Kind(family, special, found);
        let mut known = self.routing.to.borrow_mut();
        if known.len() > MOST_WAYS {
            known.clear();
        }
        known.insert(destination, to.clone());
        to
    }

    /// Where packets go, found once for all sources.
    pub(super) fn ways(
        &self,
        input: &IfaceName,
        destination: IpAddr,
        mark: Option<u32>,
    ) -> Rc<Ways> {
        let key = (input.clone(), self.to(destination, mark));
        if let Some(known) = self.routing.ways.borrow().get(&key) {
            return Rc::clone(known);
        }
        let host = &self.host;
        let (mut refused, mut routed) = (Vec::new(), Vec::new());
        let kinds = self.kinds(input, destination, mark);
        for sources in kinds.iter() {
            let source = address(IpFamily::of(destination), sources[0].0);
            if let Some(why) = host.refuses(input, source, destination) {
                join(&mut refused, why, sources);
            }
            join(&mut routed, host.way(input, source, destination, mark), sources);
        }
        let ways = Rc::new(Ways { refused: together(refused), routed: together(routed) });
        let mut known = self.routing.ways.borrow_mut();
        if known.len() > MOST_WAYS {
            known.clear();
        }
        known.insert(key, Rc::clone(&ways));
        ways
    }

    /// The sources that come by an interface, those together of which one stands for all.
    fn kinds(&self, input: &IfaceName, destination: IpAddr, mark: Option<u32>) -> Kinds {
        let (family, host) = (IpFamily::of(destination), &self.host);
        let all = Sources::of(&[(0, highest(family))]).pieces(host.cuts(family));
        if !host.asks_for_destinations_alone(family) {
            // Of another destination it may be otherwise, so it is not kept.
            return all.iter().map(|piece| Intervals::from([(piece.first, piece.last)])).collect();
        }
        let key = (input.clone(), family);
        if let Some(known) = self.routing.kinds.borrow().get(&key) {
            return Rc::clone(known);
        }
        let mut found: Vec<(_, Sources)> = Vec::new();
        for piece in all {
            let source = address(family, piece.first);
            add(&mut found, host.kind_of_source(input, source, destination, mark), piece);
        }
        let kinds: Kinds = found.iter().map(|(_, sources)| intervals(sources)).collect();
        self.routing.kinds.borrow_mut().insert(key, Rc::clone(&kinds));
        kinds
    }
}

fn intervals(sources: &Sources) -> Intervals {
    sources.spans().iter().map(|span| (span.first, span.last)).collect()
}

/// Adds sources to those of an equal value.
fn join<'k, T: PartialEq>(groups: &mut Vec<(T, Vec<&'k Intervals>)>, value: T, own: &'k Intervals) {
    match groups.iter_mut().find(|(known, _)| *known == value) {
        Some((_, all)) => all.push(own),
        None => groups.push((value, vec![own])),
    }
}

/// The sources of each value as one list.
fn together<T>(groups: Vec<(T, Vec<&Intervals>)>) -> Vec<(T, Intervals)> {
    let one = |all: Vec<&Intervals>| match all[..] {
        [only] => Rc::clone(only),
        _ => united(all.into_iter().flat_map(|own| own.iter().copied()).collect()).into(),
    };
    groups.into_iter().map(|(value, all)| (value, one(all))).collect()
}
