//! What a rule writes into a packet → whether that is anything that is asked for later.
//!
//! Lifetimes, classes of service and checksums are written by many routers, and are no part of what
//! a packet is asked about here.

use super::Fate;
use super::load::Scene;
use super::state::State;
use super::step::Unclear;
use super::walk::Walk;
use crate::model::IpFamily;
use crate::model::nft::{Operand, PayloadBase, Selector, Transform};

impl Scene<'_, '_> {
    /// Whether a write changes nothing but such bytes.
    pub(super) fn writes_aside(
        &self,
        (base, offset, len): (PayloadBase, u32, u32),
        value: &Operand,
    ) -> bool {
        let v4 = self.packet.family() == IpFamily::Ipv4;
        (0..len).all(|index| {
            let (at, changed) = (offset + index, changed(base, offset, len, value, index));
            changed == 0
                || match base {
                    PayloadBase::Network if v4 => matches!(at, 1 | 8 | 10 | 11),
                    // The version stands before the class.
                    PayloadBase::Network => matches!(at, 1 | 7) || at == 0 && changed & 0xf0 == 0,
                    PayloadBase::Transport | PayloadBase::Link | PayloadBase::Inner => false,
                }
        })
    }
}

impl Walk<'_, '_> {
    /// A packet that gets through, where it is known to which port; else its way ends here: whoever
    /// listens there may be one of several.
    pub(super) fn settled(&mut self, state: State) -> Option<State> {
        let what = match (state.env.overwritten, state.env.port) {
            (false, Some(_)) => return Some(state),
            (true, _) => "what stands in the packet where rules wrote into it",
            (false, None) => "to which port of a range the packet was rewritten",
        };
        let unknown = self.unknown(what.to_owned(), Unclear::Chance, state.translated_by);
        self.end(state, Fate::Unknown(unknown), None);
        None
    }
}

/// Which bits of a byte a write may change: of what is read from the same place, and written back
/// under a mask, only those that the mask takes away or the new ones turn.
fn changed(base: PayloadBase, offset: u32, len: u32, value: &Operand, index: u32) -> u8 {
    let same = Selector::Payload { base, offset, len };
    match (&value.selector, &value.transforms[..]) {
        (own, [Transform::Mask { mask, xor }]) if *own == same => {
            let byte = |bytes: &[u8]| bytes.get(index as usize).copied();
            match (byte(mask.as_slice()), byte(xor.as_slice())) {
                (Some(mask), Some(xor)) => !mask | xor,
                _ => 0xff,
            }
        }
        _ => 0xff,
    }
}
