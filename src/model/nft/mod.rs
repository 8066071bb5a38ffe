//! The objects of nftables, as the kernel runs them.
//!
//! One vocabulary for both directions: [`crate::observe`] decodes the kernel's bytecode into it,
//! [`crate::compile`] builds the desired table in it, and [`text`] prints it in the language of
//! `nft(8)`. So a rule that is read back can be compared with the rule that was meant, statement
//! by statement, whatever version of nft translated it.
//!
//! Nothing is lost quietly: what fwctl cannot interpret is kept as an `Opaque` with its name.

mod action;
pub mod build;
mod bytes;
mod canonical;
mod declared;
mod kind;
mod operand;
mod refer;
mod set;
mod statement;
pub mod text;
mod xt;

pub use action::{Limit, LimitUnit, LogOptions, NatKind, NatRange, RateUnit, RejectWith};
pub use bytes::Bytes;
pub use kind::object_kind;
pub use operand::{
    BitOp, CompareOp, CtDirection, CtKey, FibFlags, FibResult, MetaKey, Operand, PayloadBase,
    Selector, Transform,
};
pub use set::{Element, ElementData, ElementKey, Elements, KeyType, Set, SetData, SetFlags};
pub use statement::{SetOp, Statement, Verdict};
pub use xt::{XtKind, XtMatch};

use serde::{Deserialize, Serialize};

/// An nftables address family (`enum nf_inet_hooks`' protocol family, `NFPROTO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Both IP versions.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
    /// Bridges.
    Bridge,
    /// One device, before everything else.
    Netdev,
}

impl Family {
    /// The word that `nft(8)` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

/// Everything that nftables holds in one network namespace, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// The kernel's generation id when it was read; it moves with every committed transaction.
    pub generation: u32,
    /// The tables, sorted by family and name.
    pub tables: Vec<Table>,
}

impl Ruleset {
    /// The table of this family and name.
    pub fn table(&self, family: Family, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.family == family && table.name == name)
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The address family.
    pub family: Family,
    /// The name, unique in its family.
    pub name: String,
    /// The kernel's handle; 0 for a table that is not in a kernel.
    #[serde(default)]
    pub handle: u64,
    /// Whether its chains are switched off (`flags dormant`).
    #[serde(default)]
    pub dormant: bool,
    /// The netlink port id of the process that owns it (`flags owner`).
    #[serde(default)]
    pub owner: Option<u32>,
    /// The comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// The chains, in the order in which the kernel lists them.
    #[serde(default)]
    pub chains: Vec<Chain>,
    /// Sets and maps, anonymous ones (`__set0`) included.
    #[serde(default)]
    pub sets: Vec<Set>,
    /// Stateful objects and flowtables, by kind and name (`counter`, `ct helper`, `flowtable`).
    #[serde(default)]
    pub objects: Vec<Object>,
}

impl Table {
    /// An empty table.
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            family,
            name: name.to_owned(),
            handle: 0,
            dormant: false,
            owner: None,
            comment: None,
            chains: Vec::new(),
            sets: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// The chain of this name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// The set or map of this name.
    pub fn set(&self, name: &str) -> Option<&Set> {
        self.sets.iter().find(|set| set.name == name)
    }
}

/// A named stateful object or flowtable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its kind in the words of `nft(8)`, or `type N` for one that is not known.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The devices of a flowtable; empty for all else.
    #[serde(default)]
    pub devices: Vec<String>,
}

/// A chain; with a hook it is a base chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The name, unique in its table.
    pub name: String,
    /// The kernel's handle; 0 for a chain that is not in a kernel.
    #[serde(default)]
    pub handle: u64,
    /// Where packets enter it, for a base chain.
    #[serde(default)]
    pub hook: Option<BaseChain>,
    /// The comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// The rules in order.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl Chain {
    /// An empty chain without a hook.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), handle: 0, hook: None, comment: None, rules: Vec::new() }
    }
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseChain {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook.
    pub hook: Hook,
    /// The priority; lower runs earlier.
    pub priority: i32,
    /// What happens to a packet that no rule decides: [`Verdict::Accept`] or [`Verdict::Drop`].
    pub policy: Verdict,
    /// The devices, for netdev chains and inet ingress ones.
    #[serde(default)]
    pub devices: Vec<String>,
}

/// A netfilter hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// From a device, before prerouting.
    Ingress,
    /// Before the routing decision.
    Prerouting,
    /// To a local socket.
    Input,
    /// Through the host.
    Forward,
    /// From a local socket.
    Output,
    /// Before it leaves.
    Postrouting,
    /// To a device, after postrouting.
    Egress,
}

impl Hook {
    /// The word that `nft(8)` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Egress => "egress",
        }
    }
}

/// A rule: statements, evaluated from left to right until one does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The kernel's handle; 0 for a rule that is not in a kernel.
    #[serde(default)]
    pub handle: u64,
    /// The statements.
    pub statements: Vec<Statement>,
    /// The comment (at most 128 bytes, `NFTNL_UDATA_COMMENT_MAXLEN`).
    #[serde(default)]
    pub comment: Option<String>,
}

impl Rule {
    /// A rule that is not in a kernel.
    pub fn new(statements: Vec<Statement>, comment: Option<String>) -> Self {
        Self { handle: 0, statements, comment }
    }

    /// Whether both do the same and say the same; handles, counters and the version of nft that
    /// loaded them do not count.
    pub fn same_as(&self, other: &Self) -> bool {
        let (one, two) = (self.canonical(), other.canonical());
        one.comment == two.comment
            && one.statements.len() == two.statements.len()
            && one.statements.iter().zip(&two.statements).all(|(a, b)| a.same_as(b))
    }
}
