//! What statements that do something are told: rates, log lines, refusals, translations.

use super::operand::Operand;
use serde::{Deserialize, Serialize};

/// A rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// So many…
    pub rate: u64,
    /// …packets or bytes…
    pub unit: LimitUnit,
    /// …in this time.
    pub per: RateUnit,
    /// How many may come at once.
    pub burst: u32,
    /// Whether it matches what exceeds the rate.
    pub over: bool,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitUnit {
    /// Packets.
    Packets,
    /// Bytes.
    Bytes,
}

/// The time of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum RateUnit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    /// Any other number of seconds.
    Seconds(u64),
}

/// How a packet is logged.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// Stands before each line.
    pub prefix: Option<String>,
    /// The nflog group; `None` for the kernel's own log.
    pub group: Option<u16>,
    /// The syslog level, 0 to 7 (8 is audit); `None` for the default, 4 (warn).
    pub level: Option<u32>,
    /// Log flags (`NF_LOG_*`).
    pub flags: u32,
    /// How many bytes are copied to the group.
    pub snaplen: Option<u32>,
    /// How many packets are queued to the group.
    pub queue_threshold: Option<u16>,
}

/// What the sender of a rejected packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectWith {
    /// A TCP reset.
    TcpReset,
    /// An ICMP "unreachable" of the packet's own IP version, with this code.
    Icmp(u8),
    /// An abstracted ICMP code for both versions (`icmpx`): 0 no route, 1 port, 2 host, 3 admin.
    Icmpx(u8),
}

/// A kind of address translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum NatKind {
    Snat,
    Dnat,
    Masquerade,
    Redirect,
    /// Transparent proxy.
    Tproxy,
}

/// The new addresses and ports of a translation; each `(lowest, highest)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct NatRange {
    /// The address, and the end of the range of addresses.
    pub address: Option<(Operand, Option<Operand>)>,
    /// The port, and the end of the range of ports.
    pub port: Option<(Operand, Option<Operand>)>,
    /// `NF_NAT_RANGE_*`.
    pub flags: u32,
}
