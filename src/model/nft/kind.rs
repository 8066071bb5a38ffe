//! nft's data types: numbers, names and lengths.
//!
//! The kernel stores the number and never looks at it; names, numbers and lengths are those of
//! nft (`enum datatypes`). Every number has a `KeyType`; only known ones have a name and a length.

use super::KeyType;

/// Number, name and length in bytes; 0 where values of the type have no fixed length.
const TYPES: &[(u32, &str, u32)] = &[
    (1, "verdict", 4),
    (2, "nf_proto", 1),
    (3, "bitmask", 0),
    (4, "integer", 0),
    (5, "string", 0),
    (6, "ll_addr", 0),
    (7, "ipv4_addr", 4),
    (8, "ipv6_addr", 16),
    (9, "ether_addr", 6),
    (10, "ether_type", 2),
    (11, "arp_op", 2),
    (12, "inet_proto", 1),
    (13, "inet_service", 2),
    (14, "icmp_type", 1),
    (15, "tcp_flag", 1),
    (16, "dccp_pkttype", 1),
    (17, "mh_type", 1),
    (18, "time", 8),
    (19, "mark", 4),
    (20, "iface_index", 4),
    (21, "iface_type", 2),
    (22, "realm", 4),
    (23, "classid", 4),
    (24, "uid", 4),
    (25, "gid", 4),
    (26, "ct_state", 4),
    (27, "ct_dir", 1),
    (28, "ct_status", 4),
    (29, "icmpv6_type", 1),
    (30, "ct_label", 16),
    (31, "pkt_type", 1),
    (32, "icmp_code", 1),
    (33, "icmpv6_code", 1),
    (34, "icmpx_code", 1),
    (35, "devgroup", 4),
    (36, "dscp", 1),
    (37, "ecn", 1),
    (38, "fib_addrtype", 4),
    (39, "boolean", 1),
    (40, "ct_event", 4),
    (41, "ifname", 16),
    (42, "igmp_type", 1),
    (43, "time", 8),
    (44, "hour", 4),
    (45, "day", 1),
    (46, "cgroupsv2", 8),
];

/// nft's word for a kind of stateful object (`NFT_OBJECT_*`); `None` for one that is not known.
pub fn object_kind(number: u32) -> Option<&'static str> {
    Some(match number {
        1 => "counter",
        2 => "quota",
        3 => "ct helper",
        4 => "limit",
        5 => "connlimit",
        6 => "tunnel",
        7 => "ct timeout",
        8 => "secmark",
        9 => "ct expectation",
        10 => "synproxy",
        _ => return None,
    })
}

impl KeyType {
    /// `nf_proto`, 1 byte: 2 is IPv4, 10 is IPv6.
    pub const NF_PROTO: Self = Self::Other(2);
    /// `bitmask`, of any length.
    pub const BITMASK: Self = Self::Other(3);
    /// `integer`, of any length.
    pub const INTEGER: Self = Self::Other(4);
    /// `string`, of any length, NUL-padded.
    pub const STRING: Self = Self::Other(5);
    /// `ether_type`, 2 bytes, network order.
    pub const ETHER_TYPE: Self = Self::Other(10);
    /// `arp_op`, 2 bytes, network order.
    pub const ARP_OP: Self = Self::Other(11);
    /// `icmp_type`, 1 byte.
    pub const ICMP_TYPE: Self = Self::Other(14);
    /// `tcp_flag`, 1 byte of bits.
    pub const TCP_FLAG: Self = Self::Other(15);
    /// `iface_index`, 4 bytes, host order.
    pub const IFACE_INDEX: Self = Self::Other(20);
    /// `iface_type`, 2 bytes, host order.
    pub const IFACE_TYPE: Self = Self::Other(21);
    /// `realm`, 4 bytes, host order.
    pub const REALM: Self = Self::Other(22);
    /// `classid`, 4 bytes, host order.
    pub const CLASSID: Self = Self::Other(23);
    /// `uid`, 4 bytes, host order.
    pub const UID: Self = Self::Other(24);
    /// `gid`, 4 bytes, host order.
    pub const GID: Self = Self::Other(25);
    /// `ct_state`, 4 bytes of bits, host order.
    pub const CT_STATE: Self = Self::Other(26);
    /// `ct_dir`, 1 byte: 0 is original, 1 is reply.
    pub const CT_DIR: Self = Self::Other(27);
    /// `ct_status`, 4 bytes of bits, host order.
    pub const CT_STATUS: Self = Self::Other(28);
    /// `icmpv6_type`, 1 byte.
    pub const ICMPV6_TYPE: Self = Self::Other(29);
    /// `ct_label`, 16 bytes of bits, host order.
    pub const CT_LABEL: Self = Self::Other(30);
    /// `pkt_type`, 1 byte.
    pub const PKT_TYPE: Self = Self::Other(31);
    /// `devgroup`, 4 bytes, host order.
    pub const DEVGROUP: Self = Self::Other(35);
    /// `dscp`, 6 bits.
    pub const DSCP: Self = Self::Other(36);
    /// `fib_addrtype`, 4 bytes, host order.
    pub const FIB_ADDRTYPE: Self = Self::Other(38);
    /// `boolean`, 1 byte: 1 is "exists".
    pub const BOOLEAN: Self = Self::Other(39);
    /// `igmp_type`, 1 byte.
    pub const IGMP_TYPE: Self = Self::Other(42);
    /// `time`, 8 bytes of milliseconds, host order.
    pub const DURATION: Self = Self::Other(18);
    /// `time` of a date, 8 bytes of nanoseconds since 1970, host order.
    pub const DATE: Self = Self::Other(43);
    /// `hour`, 4 bytes of seconds since midnight, host order.
    pub const HOUR: Self = Self::Other(44);
    /// `day`, 1 byte: 0 is Sunday.
    pub const DAY: Self = Self::Other(45);

    /// nft's number of the type.
    pub fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::Ifname => 41,
            Self::Other(number) => number,
        }
    }

    /// The type of this number.
    pub fn from_number(number: u32) -> Self {
        match number {
            7 => Self::Ipv4Addr,
            8 => Self::Ipv6Addr,
            9 => Self::EtherAddr,
            12 => Self::InetProto,
            13 => Self::InetService,
            19 => Self::Mark,
            41 => Self::Ifname,
            other => Self::Other(other),
        }
    }

    /// The name by which `type` of a set declaration knows it; `None` for an unknown number.
    pub fn name(self) -> Option<&'static str> {
        let number = self.number();
        TYPES.iter().find(|(own, ..)| *own == number).map(|(_, name, _)| *name)
    }

    /// The length of a value in bytes; `None` where the type alone does not tell.
    pub fn width(self) -> Option<usize> {
        let number = self.number();
        let (.., len) = TYPES.iter().find(|(own, ..)| *own == number)?;
        (*len > 0).then_some(*len as usize)
    }

    /// Whether `type NAME` declares it; the others need `typeof`.
    pub fn declarable(self) -> bool {
        self.name().is_some() && self.width().is_some()
    }

    /// Whether the values are numbers in the host's byte order.
    ///
    /// In sets of intervals nft keeps even those in network order, so that they sort as numbers.
    pub fn host_order(self) -> bool {
        matches!(
            self.number(),
            3 | 4
                | 18
                | 19
                | 20
                | 21
                | 22
                | 23
                | 24
                | 25
                | 26
                | 28
                | 30
                | 35
                | 38
                | 40
                | 43
                | 44
                | 46
        )
    }

    /// Splits a number of a concatenated type into its fields (`concat_subtype_id()` of nft: six
    /// bits a field, the first one highest).
    pub fn split(number: u32) -> Vec<Self> {
        const BITS: u32 = 6;
        if number < 1 << BITS {
            return vec![Self::from_number(number)];
        }
        let fields = (0..=30 / BITS).rev().map(|i| number >> (i * BITS) & ((1 << BITS) - 1));
        fields.skip_while(|field| *field == 0).map(Self::from_number).collect()
    }

    /// The lengths in bytes of the fields of a key or value, unpadded; one field may have an unknown
    /// length, which the length of the whole then tells. `None` where that does not add up.
    pub fn field_lengths(fields: &[Self], whole: u32) -> Option<Vec<usize>> {
        let whole = whole as usize;
        if let [one] = fields {
            return Some(vec![one.width().unwrap_or(whole)]);
        }
        let padded = |len: usize| len.div_ceil(4) * 4;
        let known: usize = fields.iter().filter_map(|field| field.width()).map(padded).sum();
        let unknown = fields.iter().filter(|field| field.width().is_none()).count();
        match unknown {
            0 if known == whole => {}
            1 if known < whole => {}
            _ => return None,
        }
        Some(fields.iter().map(|field| field.width().unwrap_or_else(|| whole - known)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenations_split_into_their_fields() {
        let number = [7, 12, 13].into_iter().fold(0, |all, field| all << 6 | field);
        assert_eq!(
            KeyType::split(number),
            [KeyType::Ipv4Addr, KeyType::InetProto, KeyType::InetService]
        );
        assert_eq!(KeyType::split(41), [KeyType::Ifname]);
        assert_eq!(KeyType::split(1 << 31).len(), 6, "no number panics");
    }

    #[test]
    fn one_unknown_length_follows_from_the_rest() {
        let fields = [KeyType::InetService, KeyType::INTEGER];
        assert_eq!(KeyType::field_lengths(&fields, 12), Some(vec![2, 8]));
        assert_eq!(KeyType::field_lengths(&[KeyType::INTEGER, KeyType::STRING], 12), None);
        assert_eq!(KeyType::field_lengths(&[KeyType::Ipv4Addr, KeyType::InetService], 4), None);
    }
}
