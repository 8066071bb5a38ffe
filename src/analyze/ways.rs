//! Where packets go that come by an interface, for all sources at once.
//!
//! In: an interface, a destination and a mark. Out: what the IP stack drops before its first hook,
//! and what the routing decision says, each with its sources; found once.

use super::host::{Nowhere, Way};
use super::lookup::Undecided;
use super::packet::address;
use super::sources::{Sources, add};
use super::{Analyzer, Intervals};
use crate::model::{IfaceName, IpFamily};
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
/// Input interface, destination, mark.
pub(super) type Asking = (IfaceName, IpAddr, Option<u32>);
/// So many answers of routing are kept at most.
const MOST_WAYS: usize = 4_096;

impl Analyzer<'_> {
    /// Where packets go, found once for all sources.
    pub(super) fn ways(
        &self,
        input: &IfaceName,
        destination: IpAddr,
        mark: Option<u32>,
    ) -> Rc<Ways> {
        let key = (input.clone(), destination, mark);
        if let Some(known) = self.routed.borrow().get(&key) {
            return Rc::clone(known);
        }
        let (family, host) = (IpFamily::of(destination), &self.host);
        let highest = match family {
            IpFamily::Ipv4 => u128::from(u32::MAX),
            IpFamily::Ipv6 => u128::MAX,
        };
        let (mut refused, mut routed) = (Vec::new(), Vec::new());
        for piece in Sources::of(&[(0, highest)]).pieces(host.cuts(family)) {
            let source = address(family, piece.first);
            if let Some(why) = host.refuses(input, source, destination) {
                add(&mut refused, why, piece);
            }
            add(&mut routed, host.way(input, source, destination, mark), piece);
        }
        let of = |sources: Sources| -> Intervals {
            sources.spans().iter().map(|span| (span.first, span.last)).collect()
        };
        let ways = Rc::new(Ways {
            refused: refused.into_iter().map(|(why, own)| (why, of(own))).collect(),
            routed: routed.into_iter().map(|(way, own)| (way, of(own))).collect(),
        });
        let mut known = self.routed.borrow_mut();
        if known.len() > MOST_WAYS {
            known.clear();
        }
        known.insert(key, Rc::clone(&ways));
        ways
    }
}
