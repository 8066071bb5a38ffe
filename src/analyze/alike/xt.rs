//! Matches and targets of iptables → what they ask of destination addresses and ports.

use super::super::ipset;
use super::gather::{Gather, NETMAP, Side};
use crate::model::Prefix;
use crate::model::nft::{NatKind, XtKind, XtMatch};

impl Gather<'_, '_> {
    pub(super) fn xt(&mut self, kind: XtKind, name: &str, decoded: &XtMatch) {
        match decoded {
            XtMatch::Conntrack { others, .. } => {
                for word in others.iter().flat_map(|own| own.split([' ', ':'])) {
                    if let Ok(port) = word.parse() {
                        self.port(port, port);
                    } else if let Ok(prefix) = word.parse::<Prefix>() {
                        self.address(prefix.first(), prefix.last());
                    }
                }
            }
            XtMatch::Ports { destination: (low, high), .. } => self.port(*low, *high),
            XtMatch::Multiport { ranges, .. } => {
                for (low, high) in ranges {
                    self.port(*low, *high);
                }
            }
            XtMatch::AddrType { destination, limit_iif, limit_oif, .. } => {
                if *destination != 0 && (*limit_iif || *limit_oif) {
                    self.addresses.by_interface.push(self.gate);
                }
            }
            XtMatch::Nat { kind, addresses, ports, flags } => {
                self.addresses.redirects |= *kind == NatKind::Redirect;
                self.addresses.moves_ports |= addresses.is_none();
                if flags & NETMAP != 0 || name == "NETMAP" {
                    self.anyhow(Side::Address);
                }
                for own in addresses.iter().flat_map(|(low, high)| [*low, *high]) {
                    self.address(own, own);
                }
                for own in ports.iter().flat_map(|(low, high)| [*low, *high]) {
                    self.port(own, own);
                }
            }
            XtMatch::IpRange { destination, .. } => {
                if let Some((low, high)) = destination {
                    self.address(*low, *high);
                }
            }
            XtMatch::Other { options } => match (kind, name) {
                (XtKind::Match, "set") => self.ipset(options),
                (XtKind::Match, "socket") | (XtKind::Target, "TPROXY") => self.both_anyhow(),
                // `modules` asks nothing else of a destination but its kind and the routes to it.
                _ => {}
            },
            XtMatch::Mark { .. }
            | XtMatch::SetMark { .. }
            | XtMatch::Comment { .. }
            | XtMatch::Limit { .. }
            | XtMatch::Reject { .. }
            | XtMatch::Log { .. }
            | XtMatch::Icmp { .. }
            | XtMatch::Mac { .. }
            | XtMatch::PktType { .. } => {}
        }
    }

    fn ipset(&mut self, options: &[String]) {
        let Some((_, name, _)) = ipset::parsed(options) else { return };
        let found = ipset::find(self.snapshot, name);
        for element in found.and_then(|set| set.elements.as_deref()).unwrap_or_default() {
            if let Some((low, high)) = element.addresses {
                self.address(low, high);
            }
            if let Some((low, high)) = element.ports {
                self.port(low, high);
            }
        }
    }
}
