//! Tables, chains, rules, sets, objects and flowtables: messages → values.
//!
//! In: messages as the kernel dumped them, in any order. Out: the ruleset. What belongs to a table
//! or chain that is not there is left out; what cannot be interpreted is kept as opaque.

use super::attr::{Attributes, Message, Messages, text, user_data};
use super::elements::{self, Raw};
use super::expression::{Decoder, Shape};
use super::simple::object_kind;
use super::uapi::{SUBSYS_NFTABLES, message};
use crate::model::nft::{
    BaseChain, Chain, Elements, Family, Hook, KeyType, Object, Rule, Ruleset, Set, SetData,
    SetFlags, Table, Verdict,
};
use foldhash::HashMap;

/// Reads every message of a dump.
pub(super) fn ruleset(generation: u32, dump: &[u8]) -> Ruleset {
    let mut building = Building::default();
    let messages = || Messages(dump).filter(|message| message.kind >> 8 == SUBSYS_NFTABLES);
    // Rules need the lengths of the sets' keys, elements need their sets: in three rounds.
    for message in messages() {
        if kind(&message) == message::NEWTABLE {
            building.table(&message);
        }
    }
    for message in messages() {
        match kind(&message) {
            message::NEWCHAIN => building.chain(&message),
            message::NEWSET => building.set(&message),
            message::NEWOBJ => building.object(&message),
            message::NEWFLOWTABLE => building.flowtable(&message),
            _ => {}
        }
    }
    for message in messages() {
        match kind(&message) {
            message::NEWSETELEM => building.elements(&message),
            message::NEWRULE => building.rule(&message),
            _ => {}
        }
    }
    building.finish(generation)
}

fn kind(message: &Message) -> u8 {
    message.kind.to_le_bytes()[0]
}

/// The family of a message (`NFPROTO_*`).
pub(in crate::observe) fn family(number: u8) -> Option<Family> {
    match number {
        1 => Some(Family::Inet),
        2 => Some(Family::Ip),
        3 => Some(Family::Arp),
        5 => Some(Family::Netdev),
        7 => Some(Family::Bridge),
        10 => Some(Family::Ip6),
        _ => None,
    }
}

/// The kernel's number of a family.
pub(in crate::observe) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Arp => 3,
        Family::Netdev => 5,
        Family::Bridge => 7,
        Family::Ip6 => 10,
    }
}

/// A table being put together.
struct Part {
    table: Table,
    chains: HashMap<String, usize>,
    sets: HashMap<String, usize>,
    shapes: HashMap<String, Shape>,
    /// By set.
    elements: HashMap<usize, Vec<Raw>>,
}

#[derive(Default)]
struct Building {
    parts: Vec<Part>,
    index: HashMap<(Family, String), usize>,
}

impl Building {
    fn part(&mut self, message: &Message, name: Option<String>) -> Option<&mut Part> {
        let index = *self.index.get(&(family(message.family())?, name?))?;
        self.parts.get_mut(index)
    }

    fn table(&mut self, message: &Message) {
        const NFT_TABLE_F_DORMANT: u32 = 1;
        let data = message.attributes();
        let (Some(family), Some(name)) = (family(message.family()), data.text(1)) else { return };
        let mut table = Table::new(family, &name);
        table.handle = data.be64(4).unwrap_or(0);
        table.dormant = data.be32(2).unwrap_or(0) & NFT_TABLE_F_DORMANT != 0;
        table.owner = data.be32(7);
        table.comment = comment(data.get(6));
        self.index.insert((family, name), self.parts.len());
        self.parts.push(Part {
            table,
            chains: HashMap::default(),
            sets: HashMap::default(),
            shapes: HashMap::default(),
            elements: HashMap::default(),
        });
    }

    fn chain(&mut self, message: &Message) {
        let data = message.attributes();
        let Some(part) = self.part(message, data.text(1)) else { return };
        let Some(name) = data.text(3) else { return };
        let mut chain = Chain::new(&name);
        chain.handle = data.be64(2).unwrap_or(0);
        chain.hook = base_chain(data, part.table.family);
        chain.comment = comment(data.get(12));
        part.chains.insert(name, part.table.chains.len());
        part.table.chains.push(chain);
    }

    fn set(&mut self, message: &Message) {
        let data = message.attributes();
        let Some(part) = self.part(message, data.text(1)) else { return };
        let Some(set) = set(data, &part.shapes, part.table.family) else { return };
        let data_len = match &set.data {
            Some(SetData::Value { len, .. }) => *len as usize,
            _ => 0,
        };
        let shape = Shape { key: set.key_len as usize, data: data_len };
        part.shapes.insert(set.name.clone(), shape);
        part.sets.insert(set.name.clone(), part.table.sets.len());
        part.table.sets.push(set);
    }

    fn elements(&mut self, message: &Message) {
        const NFTA_LIST_ELEM: u16 = 1;
        let data = message.attributes();
        let Some(part) = self.part(message, data.text(1)) else { return };
        let Some(index) = data.text(2).and_then(|name| part.sets.get(&name).copied()) else {
            return;
        };
        let Some(set) = part.table.sets.get(index) else { return };
        let mut decoder = Decoder::new(part.table.family, &part.shapes);
        let list = part.elements.entry(index).or_default();
        for (kind, element) in data.nested(3).unwrap_or_default() {
            if kind == NFTA_LIST_ELEM {
                list.extend(elements::element(Attributes(element), set, &mut decoder));
            }
        }
    }

    fn rule(&mut self, message: &Message) {
        let data = message.attributes();
        let Some(part) = self.part(message, data.text(1)) else { return };
        let Some(index) = data.text(2).and_then(|name| part.chains.get(&name).copied()) else {
            return;
        };
        let mut decoder = Decoder::new(part.table.family, &part.shapes);
        let statements = decoder.rule(data.nested(4).unwrap_or_default());
        let mut rule = Rule::new(statements, comment(data.get(7)));
        rule.handle = data.be64(3).unwrap_or(0);
        if let Some(chain) = part.table.chains.get_mut(index) {
            chain.rules.push(rule);
        }
    }

    fn object(&mut self, message: &Message) {
        let data = message.attributes();
        let Some(part) = self.part(message, data.text(1)) else { return };
        let (Some(name), Some(kind)) = (data.text(2), data.be32(3)) else { return };
        let object = Object { kind: object_kind(kind), name, devices: Vec::new() };
        part.table.objects.push(object);
    }

    fn flowtable(&mut self, message: &Message) {
        let data = message.attributes();
        let Some(part) = self.part(message, data.text(1)) else { return };
        let Some(name) = data.text(2) else { return };
        let mut devices = devices(data.nested(3).and_then(|hook| hook.nested(3)));
        devices.sort();
        part.table.objects.push(Object { kind: "flowtable".to_owned(), name, devices });
    }

    fn finish(self, generation: u32) -> Ruleset {
        let mut tables: Vec<_> = self.parts.into_iter().map(Part::finish).collect();
        tables.sort_by(|a, b| (a.family, &a.name).cmp(&(b.family, &b.name)));
        Ruleset { generation, tables }
    }
}

impl Part {
    fn finish(self) -> Table {
        let mut table = self.table;
        for (index, raw) in self.elements {
            if let Some(set) = table.sets.get_mut(index) {
                set.elements = Elements::Listed(elements::paired(raw));
            }
        }
        table
    }
}

/// A set whose elements are to be read.
pub(super) struct ListedSet {
    pub family: Family,
    pub table: String,
    pub name: String,
    pub handle: u64,
    /// How many elements it has, where the kernel says it (`NFTA_SET_COUNT`, since 6.16).
    pub count: Option<u32>,
}

/// The sets in a dump.
pub(super) fn sets(dump: &[u8]) -> Vec<ListedSet> {
    const NFTA_SET_COUNT: u16 = 20;
    let of = |message: Message| {
        let data = message.attributes();
        Some(ListedSet {
            family: family(message.family())?,
            table: data.text(1)?,
            name: data.text(2)?,
            handle: data.be64(16).unwrap_or(0),
            count: data.be32(NFTA_SET_COUNT),
        })
    };
    let messages = Messages(dump)
        .filter(|message| message.kind >> 8 == SUBSYS_NFTABLES && kind(message) == message::NEWSET);
    messages.filter_map(of).collect()
}

/// How many elements a message of a dump of elements has.
pub(super) fn count_elements(message: &[u8]) -> usize {
    let lists = Messages(message).filter_map(|message| message.attributes().nested(3));
    lists.map(|list| list.into_iter().count()).sum()
}

/// The comment in user data; it is number 0 for tables, chains and rules alike.
fn comment(data: Option<&[u8]>) -> Option<String> {
    data.and_then(|data| user_data(data, 0)).map(text)
}

/// The names in a list of devices (`NFTA_DEVICE_NAME`).
fn devices(list: Option<Attributes>) -> Vec<String> {
    const NFTA_DEVICE_NAME: u16 = 1;
    let list = list.unwrap_or_default();
    list.into_iter()
        .filter(|(kind, _)| *kind == NFTA_DEVICE_NAME)
        .map(|(_, name)| text(name))
        .collect()
}

fn base_chain(data: Attributes, family: Family) -> Option<BaseChain> {
    const NFTA_CHAIN_HOOK: u16 = 4;
    let hook = data.nested(NFTA_CHAIN_HOOK)?;
    let number = hook.be32(1)?;
    let at = match (family, number) {
        (Family::Netdev, 0) | (Family::Inet, 5) => Hook::Ingress,
        (Family::Netdev, _) => Hook::Egress,
        (Family::Arp, 0) => Hook::Input,
        (Family::Arp, 1) => Hook::Output,
        (_, 0) => Hook::Prerouting,
        (_, 1) => Hook::Input,
        (_, 2) | (Family::Arp, _) => Hook::Forward,
        (_, 3) => Hook::Output,
        (_, 4) => Hook::Postrouting,
        _ => return None,
    };
    let mut devices = devices(hook.nested(4));
    if devices.is_empty() {
        devices.extend(hook.text(3));
    }
    devices.sort();
    let policy = match data.be32(5) {
        Some(0) => Verdict::Drop,
        _ => Verdict::Accept,
    };
    Some(BaseChain {
        kind: data.text(7).unwrap_or_default(),
        hook: at,
        priority: hook.be32(2)?.cast_signed(),
        policy,
        devices,
    })
}

fn set(data: Attributes, shapes: &HashMap<String, Shape>, family: Family) -> Option<Set> {
    const NFT_SET_ANONYMOUS: u32 = 0x1;
    const NFT_SET_CONSTANT: u32 = 0x2;
    const NFT_SET_INTERVAL: u32 = 0x4;
    const NFT_SET_MAP: u32 = 0x8;
    const NFT_SET_TIMEOUT: u32 = 0x10;
    const NFT_SET_EVAL: u32 = 0x20;
    const NFT_SET_OBJECT: u32 = 0x40;
    /// `NFT_DATA_VERDICT`.
    const DATA_VERDICT: u32 = 0xffff_ff00;
    const NFTNL_UDATA_SET_MERGE_ELEMENTS: u8 = 2;
    const NFTNL_UDATA_SET_COMMENT: u8 = 7;
    let name = data.text(2)?;
    let bits = data.be32(3).unwrap_or(0);
    let bit = |flag: u32| bits & flag != 0;
    let user = data.get(13);
    let entry = |kind| user.and_then(|data| user_data(data, kind));
    let auto_merge = entry(NFTNL_UDATA_SET_MERGE_ELEMENTS)
        .is_some_and(|value| value.iter().any(|byte| *byte != 0));
    let kinds = |number: u16| KeyType::split(data.be32(number).unwrap_or(0));
    let yields = if bit(NFT_SET_OBJECT) {
        Some(SetData::Object(data.be32(15).unwrap_or(0)))
    } else if !bit(NFT_SET_MAP) {
        None
    } else if data.be32(6) == Some(DATA_VERDICT) {
        Some(SetData::Verdict)
    } else {
        Some(SetData::Value { fields: kinds(6), len: data.be32(7).unwrap_or(0) })
    };
    let mut decoder = Decoder::new(family, shapes);
    let statements = match (data.nested(18), data.nested(17)) {
        (Some(list), _) => decoder.list(list),
        (None, Some(one)) => decoder.expression(one).into_iter().collect(),
        (None, None) => Vec::new(),
    };
    Some(Set {
        name,
        handle: data.be64(16).unwrap_or(0),
        key: kinds(4),
        key_len: data.be32(5).unwrap_or(0),
        data: yields,
        flags: SetFlags {
            anonymous: bit(NFT_SET_ANONYMOUS),
            constant: bit(NFT_SET_CONSTANT),
            interval: bit(NFT_SET_INTERVAL),
            timeout: bit(NFT_SET_TIMEOUT),
            dynamic: bit(NFT_SET_EVAL),
            auto_merge,
        },
        size: data.nested(9).and_then(|description| description.be32(1)),
        timeout: data.be64(11).filter(|timeout| *timeout > 0),
        comment: entry(NFTNL_UDATA_SET_COMMENT).map(text),
        statements,
        elements: Elements::Listed(Vec::new()),
    })
}
