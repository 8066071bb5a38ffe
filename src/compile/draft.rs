//! The table while it grows: sets and chains by name, so that what is the same is made once.

use super::Environment;
use super::prefix_sets::PrefixSets;
use crate::model::IfaceName;
use crate::model::nft::{
    Bytes, Chain, Element, Elements, Family, KeyType, Set, SetData, SetFlags, Table,
};
use crate::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};

/// An unfinished table.
pub(super) struct Draft<'p> {
    pub policy: &'p Policy,
    pub environment: &'p Environment,
    /// The sets of each list of prefixes, by its name.
    pub prefix_sets: BTreeMap<String, PrefixSets>,
    sets: BTreeMap<String, Set>,
    /// In the order in which they were added: base chains first.
    chains: Vec<Chain>,
}

impl<'p> Draft<'p> {
    pub fn new(policy: &'p Policy, environment: &'p Environment) -> Self {
        Self {
            policy,
            environment,
            prefix_sets: BTreeMap::new(),
            sets: BTreeMap::new(),
            chains: Vec::new(),
        }
    }

    /// Adds a chain, unless one of the name is there.
    pub fn add_chain(&mut self, chain: Chain) {
        if !self.has_chain(&chain.name) {
            self.chains.push(chain);
        }
    }

    pub fn chain_mut(&mut self, name: &str) -> Option<&mut Chain> {
        self.chains.iter_mut().find(|chain| chain.name == name)
    }

    pub fn has_chain(&self, name: &str) -> bool {
        self.chains.iter().any(|chain| chain.name == name)
    }

    /// Adds a set, unless one of the name is there.
    pub fn add_set(&mut self, set: Set) {
        self.sets.entry(set.name.clone()).or_insert(set);
    }

    pub fn has_set(&self, name: &str) -> bool {
        self.sets.contains_key(name)
    }

    /// A set of interface names, named by its content.
    pub fn interface_set(&mut self, names: &[IfaceName]) -> String {
        let mut names: Vec<&IfaceName> = names.iter().collect();
        names.sort();
        names.dedup();
        let text: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let name = format!("interfaces_{}", short_hash(text.join(" ").as_bytes()));
        let elements = names.iter().map(|name| Element::new(super::base::ifname_key(name)));
        let mut elements: Vec<Element> = elements.collect();
        elements.sort_by(|a, b| a.key.cmp(&b.key));
        self.add_set(set(&name, &[KeyType::Ifname], SetFlags::default(), elements));
        name
    }

    /// The table, sets sorted by name; chains in the order in which a packet meets them, so that
    /// a reader begins where packets do.
    pub fn finish(mut self) -> Table {
        self.chains.sort_by_key(|chain| match chain.name.as_str() {
            _ if chain.hook.is_some() => 0,
            name if name.starts_with("input_") => 1,
            name if name.starts_with("containers_input_") => 2,
            "dialled" | "containers_dialled" | "to_containers" | "ping" => 3,
            "default" | "container_networks" | "forwarding" | "refuse" => 5,
            _ => 4,
        });
        let mut table = Table::new(Family::Inet, super::TABLE);
        table.sets = self.sets.into_values().collect();
        table.chains = self.chains;
        // Sources of the one IP version are of no use to a destination of the other, nor a default
        // to what a rule decides for everybody.
        let (chains, sets) = table.used(&[]);
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        let (chains, sets): (BTreeSet<String>, BTreeSet<String>) = (owned(chains), owned(sets));
        table.sets.retain(|set| sets.contains(&set.name));
        table.chains.retain(|chain| chains.contains(&chain.name));
        table
    }
}

/// A set with these elements, which must ascend by key.
pub(super) fn set(name: &str, key: &[KeyType], flags: SetFlags, elements: Vec<Element>) -> Set {
    Set {
        name: name.to_owned(),
        handle: 0,
        key: key.to_vec(),
        key_len: key.iter().map(|field| field_len(*field, key.len())).sum(),
        data: None,
        flags,
        size: None,
        timeout: None,
        comment: None,
        statements: Vec::new(),
        elements: Elements::Listed(elements),
    }
}

/// A verdict map.
pub(super) fn verdict_map(
    name: &str,
    key: KeyType,
    flags: SetFlags,
    elements: Vec<Element>,
) -> Set {
    Set { data: Some(SetData::Verdict), ..set(name, &[key], flags, elements) }
}

/// The bytes of a key field; in a concatenation they fill whole 32-bit registers.
fn field_len(field: KeyType, fields: usize) -> u32 {
    let len: u32 = match field {
        KeyType::InetProto => 1,
        KeyType::InetService => 2,
        KeyType::Ipv4Addr | KeyType::Mark | KeyType::Other(_) => 4,
        KeyType::EtherAddr => 6,
        KeyType::Ipv6Addr | KeyType::Ifname => 16,
    };
    if fields > 1 { len.next_multiple_of(4) } else { len }
}

/// The first hexadecimal digits of a SHA-256: enough to tell the few objects of one table apart.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Bytes::from(&Sha256::digest(bytes)[..4]).to_string()
}
