//! Matches and targets of iptables.

use super::action::{NatKind, RejectWith};
use serde::{Deserialize, Serialize};

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
    Comment {
        /// What it says.
        text: String,
    },
    /// `-m limit`.
    Limit {
        /// Time between two packets in units of 1/10,000 s, as the kernel has it (`XT_LIMIT_SCALE`).
        average: u32,
        /// How many may come at once.
        burst: u32,
    },
    /// `-j REJECT`.
    Reject {
        /// What the sender is told.
        with: RejectWith,
    },
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
