//! Operands: values that are computed from the packet, its connection or a routing lookup.

use super::Bytes;
use serde::{Deserialize, Serialize};

/// A value that is computed from the packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Operand {
    /// What is loaded.
    pub selector: Selector,
    /// What is done with it then, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<Transform>,
}

impl Operand {
    /// The value as it is loaded.
    pub fn plain(selector: Selector) -> Self {
        Self { selector, transforms: Vec::new() }
    }
}

/// What is loaded into a register.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selector {
    /// Bytes of the packet.
    Payload {
        /// From where to count.
        base: PayloadBase,
        /// The first byte.
        offset: u32,
        /// How many bytes.
        len: u32,
    },
    /// Data about the packet.
    Meta(MetaKey),
    /// Data about the connection.
    Ct {
        /// Which.
        key: CtKey,
        /// For which direction, where the key has one.
        direction: Option<CtDirection>,
    },
    /// A routing lookup.
    Fib {
        /// What it yields.
        result: FibResult,
        /// What is looked up, and how.
        flags: FibFlags,
    },
    /// A constant.
    Immediate(Bytes),
    /// What a map yields for a key.
    Map {
        /// The key, field by field.
        key: Vec<Operand>,
        /// The map's name.
        map: String,
    },
    /// Something else, by the kernel's name of the expression (`exthdr`, `numgen`, `socket`, …).
    Other {
        /// The name.
        name: String,
        /// What is known of it: `key=value` pairs, so that equal ones compare equal.
        detail: String,
    },
}

/// What is done with a loaded value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// `(value & mask) ^ xor`.
    Mask {
        /// Which bits stay.
        mask: Bytes,
        /// Which bits turn.
        xor: Bytes,
    },
    /// A shift.
    Shift {
        /// Which way.
        op: BitOp,
        /// By how many bits.
        bits: u32,
    },
    /// Network to host order or back, in units of `size` bytes.
    ByteOrder {
        /// 2, 4 or 8.
        size: u32,
        /// Whether to host order.
        to_host: bool,
    },
    /// Something else, by the kernel's name.
    Other(String),
}

/// A bit operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BitOp {
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

/// Where payload offsets count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadBase {
    /// The link-layer header.
    Link,
    /// The IP header.
    Network,
    /// The header behind IP.
    Transport,
    /// What the transport header carries.
    Inner,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A key of `meta` (`enum nft_meta_keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are nft(8)'s own")]
pub enum MetaKey {
    Length,
    Protocol,
    Priority,
    Mark,
    Iif,
    Oif,
    Iifname,
    Oifname,
    Iiftype,
    Oiftype,
    Skuid,
    Skgid,
    Nftrace,
    Rtclassid,
    Secmark,
    Nfproto,
    L4proto,
    Ibrname,
    Obrname,
    Pkttype,
    Cpu,
    Iifgroup,
    Oifgroup,
    Cgroup,
    Random,
    Ipsec,
    Iifkind,
    Oifkind,
    Ibrpvid,
    Ibrvproto,
    Time,
    Day,
    Hour,
    Sdif,
    Sdifname,
    Broute,
    /// Any other, by number.
    Other(u32),
}

/// A key of `ct` (`enum nft_ct_keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are nft(8)'s own")]
pub enum CtKey {
    State,
    Direction,
    Status,
    Mark,
    Secmark,
    Expiration,
    Helper,
    L3proto,
    Src,
    Dst,
    Protocol,
    ProtoSrc,
    ProtoDst,
    Labels,
    Packets,
    Bytes,
    Avgpkt,
    Zone,
    EventMask,
    SrcIp,
    DstIp,
    SrcIp6,
    DstIp6,
    Id,
    /// Any other, by number.
    Other(u32),
}

impl CtKey {
    /// Whether its values are addresses.
    pub fn is_address(self) -> bool {
        matches!(
            self,
            Self::Src | Self::Dst | Self::SrcIp | Self::DstIp | Self::SrcIp6 | Self::DstIp6
        )
    }
}

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CtDirection {
    /// As the client sent it.
    Original,
    /// As the server answers.
    Reply,
}

/// What a `fib` lookup yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FibResult {
    /// The output interface's index.
    Oif,
    /// The output interface's name.
    Oifname,
    /// The type of the address (local, broadcast, …).
    AddressType,
    /// Whether there is a route.
    Present,
}

/// What a `fib` lookup takes (`NFTA_FIB_F_*`).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's independent bits")]
pub struct FibFlags {
    /// The source address.
    pub saddr: bool,
    /// The destination address.
    pub daddr: bool,
    /// The mark.
    pub mark: bool,
    /// The input interface.
    pub iif: bool,
    /// The output interface.
    pub oif: bool,
}
