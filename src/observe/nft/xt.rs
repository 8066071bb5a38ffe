//! Matches and targets of iptables: the kernel's own structures → [`XtMatch`].

use crate::model::nft::{Family, XtKind, XtMatch};

/// What the structure says; `None` for a module that is not known.
pub(super) fn decode(
    kind: XtKind,
    name: &str,
    _revision: u32,
    raw: &[u8],
    _family: Family,
) -> Option<XtMatch> {
    match (kind, name) {
        (XtKind::Match, "comment") => Some(XtMatch::Comment(super::attr::text(raw))),
        _ => None,
    }
}
