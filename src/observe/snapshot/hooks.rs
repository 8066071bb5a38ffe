//! What stands at the hooks of netfilter, in the order in which the kernel runs it.

use crate::model::IfaceName;
use crate::model::nft::{Family, Hook};
use serde::{Deserialize, Serialize};

/// A hook at which something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPoint {
    /// `ip`, `ip6` or `bridge`, with the packets of whose hook they are called; `netdev` for those of
    /// a device. What is registered for `inet` stands at those of both IP versions.
    pub family: Family,
    /// The hook.
    pub hook: Hook,
    /// The device, for `netdev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<IfaceName>,
    /// What stands there, first what runs first.
    pub entries: Vec<HookEntry>,
}

/// Something that the kernel calls at a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEntry {
    /// Its priority. Of a chain of type `nat`, where a kernel lists those one by one, it is that of NAT
    /// as a whole.
    pub priority: i32,
    /// The kernel's function; `None` for a kernel that has no names (`CONFIG_KALLSYMS`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The kernel module that the function is in; `None` for one that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// For what it is called; `None` where the function alone tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Registrant>,
}

/// For what a function is called at a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Registrant {
    /// A base chain of nftables.
    Chain {
        /// The family of its table.
        family: Family,
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
    },
    /// A BPF program (Linux 6.4).
    Program {
        /// The kernel's number of it.
        id: u32,
    },
    /// A flowtable of nftables (seen with Linux 7.2, not with 6.12).
    Flowtable {
        /// The family of its table.
        family: Family,
        /// Its table.
        table: String,
        /// Its name.
        name: String,
    },
}
