//! Statements: what a rule matches and does, with the registers of the bytecode resolved.
//!
//! The decoder runs a rule's expressions once symbolically: a load into a register becomes an
//! [`Operand`], and what reads the register takes that operand in. Names and numbers are those of
//! `linux/netfilter/nf_tables.h`.

use super::Bytes;
use crate::model::IpFamily;
use serde::{Deserialize, Serialize};

/// One statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statement {
    /// Goes on where the comparison holds (`cmp`).
    Compare {
        /// What is compared: one operand, or several registers that were compared at once.
        left: Vec<Operand>,
        /// How.
        op: CompareOp,
        /// With what; as long as the operands together. A comparison with fewer bytes than an
        /// interface name has is a prefix match (`iifname "wg*"`).
        right: Bytes,
    },
    /// Goes on where the operand is in the range, or with `invert` where it is not.
    Range {
        /// What is compared.
        left: Operand,
        /// Whether the range is excluded.
        invert: bool,
        /// The lowest value.
        from: Bytes,
        /// The highest value.
        to: Bytes,
    },
    /// Goes on where the set holds the key, or with `invert` where it does not.
    Lookup {
        /// The key, field by field.
        key: Vec<Operand>,
        /// The set's name.
        set: String,
        /// Whether membership is excluded.
        invert: bool,
    },
    /// Does what the verdict map says for the key; goes on where it says nothing.
    VerdictMap {
        /// The key, field by field.
        key: Vec<Operand>,
        /// The map's name.
        map: String,
    },
    /// Does this.
    Verdict(Verdict),
    /// Counts packets.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Goes on while the rate is not exceeded, or with `over` once it is.
    Limit(Limit),
    /// Writes the packet to the log.
    Log(LogOptions),
    /// Drops the packet and tells the sender.
    Reject(RejectWith),
    /// Adds the key to a dynamic set, and goes on where the element's statements match. Does not
    /// go on where the set is full.
    UpdateSet {
        /// Add, update (refresh the timeout) or delete.
        op: SetOp,
        /// The set's name.
        set: String,
        /// The key, field by field.
        key: Vec<Operand>,
        /// The value, for a map.
        data: Option<Vec<Operand>>,
        /// How long the element lives, in milliseconds.
        timeout: Option<u64>,
        /// What the element carries.
        statements: Vec<Statement>,
        /// Whether the result is inverted.
        invert: bool,
    },
    /// Translates the source or destination.
    Nat {
        /// Which.
        kind: NatKind,
        /// The IP version that the rule is for.
        family: Option<IpFamily>,
        /// The new addresses and ports.
        range: Box<NatRange>,
    },
    /// Sets `meta` data of the packet.
    SetMeta {
        /// Which.
        key: MetaKey,
        /// To what.
        value: Operand,
    },
    /// Sets data of the connection.
    SetCt {
        /// Which.
        key: CtKey,
        /// For which direction.
        direction: Option<CtDirection>,
        /// To what.
        value: Operand,
    },
    /// Writes into the packet.
    SetPayload {
        /// From where to count.
        base: PayloadBase,
        /// The first byte.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// What.
        value: Operand,
    },
    /// Keeps the packet out of connection tracking.
    Notrack,
    /// Hands the packet to a program; it decides.
    Queue {
        /// The first queue.
        from: u16,
        /// The last queue.
        to: u16,
        /// Whether the packet passes when no program listens.
        bypass: bool,
    },
    /// Uses the stateful object of this name.
    Object {
        /// nft's word for its kind, or `type N`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Goes on until so many bytes have passed, or with `over` from then on.
    Quota {
        /// The bound.
        bytes: u64,
        /// Bytes so far.
        used: u64,
        /// Whether it matches above the bound.
        over: bool,
    },
    /// Goes on while there are at most so many connections, or with `over` when there are more.
    ConnLimit {
        /// The bound.
        count: u32,
        /// Whether it matches above the bound.
        over: bool,
    },
    /// A match or target of iptables.
    Xt {
        /// Match or target.
        kind: XtKind,
        /// Its name in the kernel.
        name: String,
        /// Its revision.
        revision: u32,
        /// What it says, where fwctl can read it.
        decoded: Option<XtMatch>,
        /// The kernel's own structure.
        raw: Bytes,
    },
    /// Something that fwctl cannot interpret. It may or may not match, and may decide.
    Opaque {
        /// The expression's name in the kernel.
        name: String,
        /// What is known of it, for a reader.
        detail: String,
    },
}

impl Statement {
    /// Whether both do the same; what has been counted so far does not matter.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counter { .. }, Self::Counter { .. }) => true,
            (
                Self::Quota { bytes, over, .. },
                Self::Quota { bytes: their_bytes, over: their_over, .. },
            ) => bytes == their_bytes && over == their_over,
            _ => self == other,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Leaves this hook's chain; later chains still see it.
    Accept,
    /// Ends here.
    Drop,
    /// Goes on with the next rule.
    Continue,
    /// Goes back to the calling chain, or to the policy.
    Return,
    /// Goes through the chain and comes back.
    Jump(String),
    /// Goes through the chain and does not come back.
    Goto(String),
    /// Is handed to a program.
    Queue,
}

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

/// What is done with a dynamic set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum SetOp {
    Add,
    Update,
    Delete,
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

/// Which side of an iptables rule an xt module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XtKind {
    /// A match (`-m`).
    Match,
    /// A target (`-j`).
    Target,
}

/// What an xt module says, in words of its `iptables-extensions(8)` options, sorted; enough to
/// print it and, for the analysis, to interpret it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "module")]
pub enum XtMatch {
    /// `-m conntrack`, `-m state`.
    Conntrack {
        /// Bits of nft's `ct state` (1 invalid, 2 established, 4 related, 8 new, 64 untracked),
        /// and 128 for a translated source, 256 for a translated destination.
        states: Option<u16>,
        /// Other options, as text.
        others: Vec<String>,
        /// Whether the states are excluded.
        invert: bool,
    },
    /// `-m tcp`, `-m udp`, `-m sctp`: ports.
    Ports {
        /// The protocol.
        protocol: crate::model::Protocol,
        /// Source ports, lowest and highest.
        source: (u16, u16),
        /// Destination ports, lowest and highest.
        destination: (u16, u16),
        /// Whether the source ports are excluded.
        invert_source: bool,
        /// Whether the destination ports are excluded.
        invert_destination: bool,
        /// TCP flags: mask and value, if they are tested.
        flags: Option<(u8, u8)>,
        /// Whether the flags are excluded.
        invert_flags: bool,
        /// A tested TCP or SCTP option, as text.
        option: Option<String>,
    },
    /// `-m multiport`.
    Multiport {
        /// `source`, `destination` or `either`.
        side: String,
        /// Ranges, lowest and highest.
        ranges: Vec<(u16, u16)>,
        /// Whether they are excluded.
        invert: bool,
    },
    /// `-m addrtype`.
    AddrType {
        /// Bits of `1 << RTN_*` for the source; 0 where it is not tested.
        source: u16,
        /// The same for the destination.
        destination: u16,
        /// Whether the source types are excluded.
        invert_source: bool,
        /// Whether the destination types are excluded.
        invert_destination: bool,
        /// Whether only the input interface's addresses are looked up.
        limit_iif: bool,
        /// Whether only the output interface's addresses are looked up.
        limit_oif: bool,
    },
    /// `-j DNAT`, `-j SNAT`, `-j REDIRECT`, `-j MASQUERADE`.
    Nat {
        /// Which.
        kind: NatKind,
        /// Lowest and highest address.
        addresses: Option<(std::net::IpAddr, std::net::IpAddr)>,
        /// Lowest and highest port.
        ports: Option<(u16, u16)>,
        /// `NF_NAT_RANGE_*`.
        flags: u32,
    },
    /// `-m mark`, `-m connmark`.
    Mark {
        /// Whether it is the connection's mark.
        connection: bool,
        /// The value.
        mark: u32,
        /// Its mask.
        mask: u32,
        /// Whether it is excluded.
        invert: bool,
    },
    /// `-j MARK`, `-j CONNMARK`: `mark = (mark & ~clear) ^ xor`.
    SetMark {
        /// Whether it is the connection's mark.
        connection: bool,
        /// Which bits are cleared.
        clear: u32,
        /// Which bits turn then.
        xor: u32,
        /// `set`, `save` or `restore`.
        mode: String,
    },
    /// `-m comment`.
    Comment(String),
    /// `-m limit`.
    Limit {
        /// Time between two packets in units of 1/10,000 s, as the kernel has it (`XT_LIMIT_SCALE`).
        average: u32,
        /// How many may come at once.
        burst: u32,
    },
    /// `-j REJECT`.
    Reject(RejectWith),
    /// `-j LOG`, `-j NFLOG`.
    Log {
        /// Stands before each line.
        prefix: String,
    },
    /// `-m icmp`, `-m icmp6`.
    Icmp {
        /// The type; 255 is any.
        kind: u8,
        /// Lowest and highest code.
        codes: (u8, u8),
        /// Whether it is excluded.
        invert: bool,
    },
    /// `-m mac`.
    Mac {
        /// The source address.
        address: [u8; 6],
        /// Whether it is excluded.
        invert: bool,
    },
    /// `-m iprange`.
    IpRange {
        /// Lowest and highest source.
        source: Option<(std::net::IpAddr, std::net::IpAddr)>,
        /// Lowest and highest destination.
        destination: Option<(std::net::IpAddr, std::net::IpAddr)>,
        /// Whether the source range is excluded.
        invert_source: bool,
        /// Whether the destination range is excluded.
        invert_destination: bool,
    },
    /// `-m pkttype`.
    PktType {
        /// `PACKET_*`.
        kind: u8,
        /// Whether it is excluded.
        invert: bool,
    },
    /// A module whose options are read as text and which the analysis treats as an unknown
    /// (`owner`, `policy`, `rpfilter`, `physdev`, `recent`, `hashlimit`, `connlimit`, `set`, …).
    Other {
        /// Options, as text.
        options: Vec<String>,
    },
}
