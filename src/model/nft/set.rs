//! Sets and maps.

use super::{Bytes, Statement, Verdict};
use serde::{Deserialize, Serialize};

/// The type of a key or value field. The kernel only keeps the number; the names are nft's
/// (`enum datatypes` of its sources).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// `ipv4_addr`, 4 bytes.
    Ipv4Addr,
    /// `ipv6_addr`, 16 bytes.
    Ipv6Addr,
    /// `ether_addr`, 6 bytes.
    EtherAddr,
    /// `inet_proto`, 1 byte.
    InetProto,
    /// `inet_service`, 2 bytes.
    InetService,
    /// `mark`, 4 bytes, host order.
    Mark,
    /// `ifname`, 16 bytes, NUL-padded.
    Ifname,
    /// Any other, by nft's number.
    Other(u32),
}

/// A set, or with `data` a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The name; `__set0`, `__map0` for anonymous ones.
    pub name: String,
    /// The kernel's handle; 0 for a set that is not in a kernel.
    #[serde(default)]
    pub handle: u64,
    /// The fields of the key: one, or several for a concatenation.
    pub key: Vec<KeyType>,
    /// The length of the whole key in bytes; the fields of a concatenation are padded to 4.
    pub key_len: u32,
    /// What a map yields; `None` for a set.
    #[serde(default)]
    pub data: Option<SetData>,
    /// The flags.
    #[serde(default)]
    pub flags: SetFlags,
    /// The greatest number of elements, where one is set.
    #[serde(default)]
    pub size: Option<u32>,
    /// How long an element lives unless it says otherwise, in milliseconds.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// The comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Statements that every element carries (a `limit` in a dynamic set).
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// The elements.
    pub elements: Elements,
}

/// What a map yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetData {
    /// A verdict.
    Verdict,
    /// A value.
    Value {
        /// Its fields.
        fields: Vec<KeyType>,
        /// Its length in bytes.
        len: u32,
    },
    /// A stateful object, by nft's number of the kind.
    Object(u32),
}

/// The flags of a set (`enum nft_set_flags`), less those that other fields tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's independent bits")]
pub struct SetFlags {
    /// Belongs to one rule and has no name of its own.
    pub anonymous: bool,
    /// Cannot change while bound.
    pub constant: bool,
    /// Elements are intervals.
    pub interval: bool,
    /// Elements expire.
    pub timeout: bool,
    /// Rules add elements (`flags dynamic`).
    pub dynamic: bool,
    /// nft joins elements that overlap or touch (`auto-merge`).
    pub auto_merge: bool,
}

/// The elements of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Elements {
    /// All of them; in ascending order of keys, whatever order the kernel gave.
    Listed(Vec<Element>),
    /// Not read.
    NotListed {
        /// Why.
        reason: String,
    },
}

impl Elements {
    /// The elements; none where they were not read.
    pub fn listed(&self) -> &[Element] {
        match self {
            Self::Listed(elements) => elements,
            Self::NotListed { .. } => &[],
        }
    }
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// What it matches.
    pub key: ElementKey,
    /// What it yields, in a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ElementData>,
    /// How long it lives in all, in milliseconds, if it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How long it still lives, in milliseconds, if it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Statements that it carries (counter, limit).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Statement>,
}

impl Element {
    /// What elements are sorted by: the key, as its bytes stand.
    pub fn key_order(&self) -> (&[u8], &[u8]) {
        match &self.key {
            ElementKey::Value(value) => (value.as_slice(), value.as_slice()),
            ElementKey::Interval(from, to) => (from.as_slice(), to.as_slice()),
            ElementKey::CatchAll => (&[], &[]),
        }
    }

    /// An element of a set.
    pub fn new(key: ElementKey) -> Self {
        Self {
            key,
            data: None,
            timeout: None,
            expires: None,
            comment: None,
            statements: Vec::new(),
        }
    }

    /// An element of a verdict map.
    pub fn verdict(key: ElementKey, verdict: Verdict) -> Self {
        Self { data: Some(ElementData::Verdict(verdict)), ..Self::new(key) }
    }
}

/// What an element matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElementKey {
    /// One value.
    Value(Bytes),
    /// Every value between two, both included; in a concatenation, field by field.
    Interval(Bytes, Bytes),
    /// Whatever nothing else matches (`*`).
    CatchAll,
}

/// What an element of a map yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElementData {
    /// A verdict.
    Verdict(Verdict),
    /// A value.
    Value(Bytes),
    /// The name of a stateful object.
    Object(String),
}
