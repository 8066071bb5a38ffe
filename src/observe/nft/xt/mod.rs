//! Matches and targets of iptables: the kernel's own structures → [`XtMatch`].
//!
//! In: a module's name, revision and structure as it lies in this kernel's memory: host order,
//! C alignment, as in `linux/netfilter/xt_*.h`. Out: what it says, or `None` for a module or a
//! revision that is not known, and for a structure that is too short. Never panics.

mod connection;
mod fields;
mod matches;
mod targets;
mod worded;

use crate::model::nft::{Family, XtKind, XtMatch};
use fields::Fields;

/// What the structure says.
pub(in crate::observe) fn decode(
    kind: XtKind,
    name: &str,
    revision: u32,
    raw: &[u8],
    family: Family,
) -> Option<XtMatch> {
    let fields = Fields { raw, ipv6: family == Family::Ip6 };
    match kind {
        XtKind::Match => matches::decode(name, revision, fields),
        XtKind::Target => targets::decode(name, revision, fields),
    }
}
