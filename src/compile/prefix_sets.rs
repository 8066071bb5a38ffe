//! Sets of prefixes: one for each IP version, merged, and of the cheapest kind that holds them.

use super::draft::{Draft, set};
use crate::model::nft::{Element, ElementKey, KeyType, SetFlags, build};
use crate::model::{IpFamily, Prefix};
use ipnet::IpNet;

/// The names of the sets that hold a list of prefixes; `None` where it has none of the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PrefixSets {
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
}

impl PrefixSets {
    pub fn of(&self, family: IpFamily) -> Option<&str> {
        match family {
            IpFamily::Ipv4 => self.ipv4.as_deref(),
            IpFamily::Ipv6 => self.ipv6.as_deref(),
        }
    }
}

/// Makes the sets `NAME_4`, `NAME_6` of single addresses (hashed), or `NAME_net4`, `NAME_net6` of
/// prefixes (intervals). The kind is part of the name because it cannot be changed in place.
///
/// A list that many rules name is read once.
pub(super) fn prefix_sets(
    draft: &mut Draft<'_>,
    name: &str,
    prefixes: impl FnOnce() -> Vec<Prefix>,
) -> PrefixSets {
    if let Some(known) = draft.prefix_sets.get(name) {
        return known.clone();
    }
    let prefixes = prefixes();
    let made = PrefixSets {
        ipv4: one_family(draft, name, &prefixes, IpFamily::Ipv4),
        ipv6: one_family(draft, name, &prefixes, IpFamily::Ipv6),
    };
    draft.prefix_sets.insert(name.to_owned(), made.clone());
    made
}

fn one_family(
    draft: &mut Draft<'_>,
    name: &str,
    prefixes: &[Prefix],
    family: IpFamily,
) -> Option<String> {
    let own: Vec<IpNet> =
        prefixes.iter().filter(|prefix| prefix.family() == family).map(|p| p.net()).collect();
    if own.is_empty() {
        return None;
    }
    let hosts_only = own.iter().all(|net| net.prefix_len() == net.max_prefix_len());
    let (digit, key_type) = match family {
        IpFamily::Ipv4 => ("4", KeyType::Ipv4Addr),
        IpFamily::Ipv6 => ("6", KeyType::Ipv6Addr),
    };
    let name = if hosts_only { format!("{name}_{digit}") } else { format!("{name}_net{digit}") };
    if draft.has_set(&name) {
        return Some(name);
    }
    let mut keys: Vec<ElementKey> = if hosts_only {
        own.iter().map(|net| build::key_address(net.addr())).collect()
    } else {
        // Overlapping intervals are an error to the kernel, and an entry inside another says
        // nothing: aggregate makes the list disjoint.
        let merged = IpNet::aggregate(&own);
        merged
            .iter()
            .filter_map(|net| Prefix::around(net.addr(), net.prefix_len()))
            .map(build::key_prefix)
            .collect()
    };
    if hosts_only {
        keys.sort();
        keys.dedup();
    }
    let flags = SetFlags { interval: !hosts_only, ..SetFlags::default() };
    draft.add_set(set(&name, &[key_type], flags, keys.into_iter().map(Element::new).collect()));
    Some(name)
}
