//! Matches of IP sets: whether a set holds what a packet has on the sides that the rule names.

use super::load::Scene;
use super::packet::number;
use super::value::Truth;
use crate::model::{IpFamily, Protocol};
use crate::observe::{IpSet, IpSetElement, Snapshot};

/// A rule's words about a set: whether it is excluded, its name, its sides (`src`, `dst`).
pub fn parsed(options: &[String]) -> Option<(bool, &str, Vec<bool>)> {
    let [option] = options else { return None };
    let (invert, rest) =
        option.strip_prefix("! ").map_or((false, &option[..]), |rest| (true, rest));
    let mut words = rest.strip_prefix("match-set ")?.split(' ');
    let (name, sides) = (words.next()?, words.next()?);
    Some((invert, name, sides.split(',').map(|side| side == "src").collect()))
}

/// The set of this name, where what it holds was read.
pub fn find<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s IpSet> {
    snapshot.ipsets.iter().find(|set| set.name == name && set.elements.is_some())
}

impl Scene<'_, '_> {
    pub(super) fn ipset(&self, options: &[String]) -> Truth {
        let Some((invert, name, sides)) = parsed(options) else { return Truth::Unknown };
        let Some(set) = find(self.host.snapshot(), name) else { return Truth::Unknown };
        self.is_in(set, &sides).inverted(invert)
    }

    fn is_in(&self, set: &IpSet, sides: &[bool]) -> Truth {
        let family = self.packet.family();
        if set.family.is_some_and(|own| own != family) {
            return Truth::No;
        }
        let fields = self.fields();
        let by_port = set.kind.ends_with("port");
        let address_side = if set.kind == "bitmap:port" { None } else { sides.first() };
        let port_side = match set.kind.as_str() {
            "bitmap:port" => sides.first(),
            _ if by_port => sides.get(1),
            _ => None,
        };
        let address = match address_side {
            None if set.kind == "bitmap:port" => None,
            None => return Truth::Unknown,
            Some(side) => match if *side { fields.source } else { fields.destination } {
                None => return Truth::Unknown,
                known => known,
            },
        };
        let port = match port_side {
            None if by_port => return Truth::Unknown,
            None => None,
            Some(_) if matches!(self.packet.protocol, Protocol::ICMP | Protocol::ICMPV6) => {
                return Truth::Unknown;
            }
            Some(_) if !self.packet.protocol.has_ports() => return Truth::No,
            Some(side) => match if *side { fields.source_port } else { fields.port } {
                None => return Truth::Unknown,
                known => known,
            },
        };
        let holds = |element: &&IpSetElement| {
            let inside = element.addresses.is_none_or(|(low, high)| {
                address.is_some_and(|own| {
                    IpFamily::of(low) == IpFamily::of(own)
                        && (number(low)..=number(high)).contains(&number(own))
                })
            });
            let ports = element
                .ports
                .is_none_or(|(low, high)| port.is_some_and(|port| (low..=high).contains(&port)));
            let protocol = element.protocol.is_none_or(|own| own == self.packet.protocol);
            inside && ports && protocol
        };
        let elements = set.elements.as_deref().unwrap_or_default();
        // Of several networks the smallest decides.
        let size = |element: &&IpSetElement| {
            element.addresses.map_or(0, |(low, high)| number(high).saturating_sub(number(low)))
        };
        let best = elements.iter().filter(holds).min_by_key(size);
        best.is_some_and(|element| !element.excepts).into()
    }
}
