//! Register contents → words of `nft(8)`.
//!
//! In: bytes, their type and byte order. Out: text that nft reads as the same bytes. A value that
//! has no name is written as a number.

use crate::model::nft::KeyType;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The names of single values, by type number.
fn names(kind: KeyType) -> &'static [(u128, &'static str)] {
    match kind {
        KeyType::NF_PROTO => &[(2, "ipv4"), (10, "ipv6")],
        // Only words that are tokens of nft's grammar: all others need /etc/protocols.
        KeyType::InetProto => &[
            (1, "icmp"),
            (2, "igmp"),
            (6, "tcp"),
            (17, "udp"),
            (33, "dccp"),
            (50, "esp"),
            (51, "ah"),
            (58, "icmpv6"),
            (108, "comp"),
            (132, "sctp"),
            (136, "udplite"),
        ],
        KeyType::ETHER_TYPE => {
            &[(0x0800, "ip"), (0x0806, "arp"), (0x86dd, "ip6"), (0x8100, "vlan")]
        }
        KeyType::ARP_OP => &[(1, "request"), (2, "reply")],
        KeyType::ICMP_TYPE => &[
            (0, "echo-reply"),
            (3, "destination-unreachable"),
            (4, "source-quench"),
            (5, "redirect"),
            (8, "echo-request"),
            (9, "router-advertisement"),
            (10, "router-solicitation"),
            (11, "time-exceeded"),
            (12, "parameter-problem"),
            (13, "timestamp-request"),
            (14, "timestamp-reply"),
            (15, "info-request"),
            (16, "info-reply"),
            (17, "address-mask-request"),
            (18, "address-mask-reply"),
        ],
        KeyType::ICMPV6_TYPE => &[
            (1, "destination-unreachable"),
            (2, "packet-too-big"),
            (3, "time-exceeded"),
            (4, "parameter-problem"),
            (128, "echo-request"),
            (129, "echo-reply"),
            (130, "mld-listener-query"),
            (131, "mld-listener-report"),
            (132, "mld-listener-done"),
            (133, "nd-router-solicit"),
            (134, "nd-router-advert"),
            (135, "nd-neighbor-solicit"),
            (136, "nd-neighbor-advert"),
            (137, "nd-redirect"),
            (138, "router-renumbering"),
            (141, "ind-neighbor-solicit"),
            (142, "ind-neighbor-advert"),
            (143, "mld2-listener-report"),
        ],
        KeyType::CT_DIR => &[(0, "original"), (1, "reply")],
        KeyType::PKT_TYPE => &[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")],
        KeyType::FIB_ADDRTYPE => &[
            (0, "unspec"),
            (1, "unicast"),
            (2, "local"),
            (3, "broadcast"),
            (4, "anycast"),
            (5, "multicast"),
            (6, "blackhole"),
            (7, "unreachable"),
            (8, "prohibit"),
        ],
        KeyType::BOOLEAN => &[(0, "missing"), (1, "exists")],
        KeyType::DAY => &[
            (0, "\"Sunday\""),
            (1, "\"Monday\""),
            (2, "\"Tuesday\""),
            (3, "\"Wednesday\""),
            (4, "\"Thursday\""),
            (5, "\"Friday\""),
            (6, "\"Saturday\""),
        ],
        // Index 1 is the loopback in every network namespace.
        KeyType::IFACE_INDEX => &[(1, "\"lo\"")],
        _ => &[],
    }
}

/// The names of bits, by type; empty for a type that is no set of bits.
fn bit_names(kind: KeyType) -> &'static [(u128, &'static str)] {
    match kind {
        KeyType::CT_STATE => {
            &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")]
        }
        KeyType::CT_STATUS => &[
            (1, "expected"),
            (2, "seen-reply"),
            (4, "assured"),
            (8, "confirmed"),
            (16, "snat"),
            (32, "dnat"),
            (512, "dying"),
        ],
        KeyType::TCP_FLAG => &[
            (1, "fin"),
            (2, "syn"),
            (4, "rst"),
            (8, "psh"),
            (16, "ack"),
            (32, "urg"),
            (64, "ecn"),
            (128, "cwr"),
        ],
        _ => &[],
    }
}

/// Whether values of the type are sets of bits.
pub(super) fn is_bits(kind: KeyType) -> bool {
    !bit_names(kind).is_empty()
}

/// The bits that are set, by name, or `None` where one has no name or none is set.
pub(super) fn bits(kind: KeyType, value: u128) -> Option<Vec<&'static str>> {
    let names = bit_names(kind);
    let known = names.iter().fold(0, |all, (bit, _)| all | bit);
    let set: Vec<_> =
        names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name).collect();
    (value & !known == 0 && !set.is_empty()).then_some(set)
}

/// The bytes as a number; more than 16 bytes keep their last 16.
pub(super) fn number(bytes: &[u8], host_order: bool) -> u128 {
    let join = |all: u128, byte: &u8| all << 8 | u128::from(*byte);
    if host_order && cfg!(target_endian = "little") {
        bytes.iter().rev().fold(0, join)
    } else {
        bytes.iter().fold(0, join)
    }
}

/// A quoted string; nft knows no escape for quotes, so that they become apostrophes, and control
/// characters become spaces.
pub(super) fn quoted(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| match c {
            '"' => '\'',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    format!("\"{clean}\"")
}

/// A NUL-padded name, quoted; a `*` at its end is escaped, as it would match every ending.
fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    match text.strip_suffix('*') {
        Some(start) => quoted(&format!("{start}\\*")),
        None => quoted(&text),
    }
}

/// One value.
///
/// `host_order` tells how the bytes are to be read as a number, which is not always the type's
/// own order (see [`KeyType::host_order`]).
pub(super) fn value(kind: KeyType, host_order: bool, bytes: &[u8]) -> String {
    let number = number(bytes, host_order);
    if let Some((_, name)) = names(kind).iter().find(|(value, _)| *value == number) {
        return (*name).to_owned();
    }
    if let Some(bits) = bits(kind, number) {
        return bits.join(",");
    }
    match kind {
        KeyType::Ipv4Addr => match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => Ipv4Addr::from(bytes).to_string(),
            Err(_) => format!("{number:#x}"),
        },
        KeyType::Ipv6Addr => match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) => ipv6(Ipv6Addr::from(bytes)),
            Err(_) => format!("{number:#x}"),
        },
        KeyType::EtherAddr => {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
        }
        KeyType::Ifname | KeyType::STRING => name(bytes),
        KeyType::CLASSID => match number {
            0 => "none".to_owned(),
            0xffff_ffff => "root".to_owned(),
            _ => format!("{:x}:{:x}", number >> 16, number & 0xffff),
        },
        KeyType::DURATION => duration(u64::try_from(number).unwrap_or(u64::MAX)),
        // As the kernel compares them: nft turns the hours of its own time zone into these.
        KeyType::HOUR => {
            format!("{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60)
        }
        KeyType::DATE => i64::try_from(number / 1_000_000_000)
            .ok()
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
            .map_or_else(|| number.to_string(), |own| own.to_string()),
        KeyType::Mark
        | KeyType::BITMASK
        | KeyType::ETHER_TYPE
        | KeyType::CT_STATE
        | KeyType::CT_STATUS
        | KeyType::TCP_FLAG
        | KeyType::DSCP => format!("{number:#x}"),
        _ => number.to_string(),
    }
}

/// An IPv6 address in hexadecimal only: nft's scanner takes no dotted tail.
fn ipv6(address: Ipv6Addr) -> String {
    match address.to_ipv4_mapped() {
        Some(_) => {
            let [.., high, low] = address.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        None => address.to_string(),
    }
}

/// The length of the prefix that a mask stands for, or `None` where it is none.
pub(super) fn mask_length(mask: &[u8]) -> Option<usize> {
    let length = mask.iter().map(|byte| byte.leading_ones() as usize).sum();
    let ones: usize = mask.iter().map(|byte| byte.count_ones() as usize).sum();
    let full = mask.iter().position(|byte| *byte != 0xff).unwrap_or(mask.len());
    let rest_is_empty = mask.iter().skip(full + 1).all(|byte| *byte == 0);
    (length == ones && rest_is_empty).then_some(length)
}

/// The length of the prefix that an interval is, or `None` where it is none.
fn prefix_length(from: &[u8], to: &[u8]) -> Option<usize> {
    let mask: Vec<u8> = from.iter().zip(to).map(|(from, to)| !(from ^ to)).collect();
    let length = mask_length(&mask)?;
    let aligned = from
        .iter()
        .zip(to)
        .zip(&mask)
        .all(|((from, to), mask)| from & !mask == 0 && to | mask == 0xff);
    aligned.then_some(length)
}

/// Everything between two values, both included.
pub(super) fn interval(kind: KeyType, host_order: bool, from: &[u8], to: &[u8]) -> String {
    if from == to {
        return value(kind, host_order, from);
    }
    match kind {
        KeyType::Ipv4Addr | KeyType::Ipv6Addr => {
            if let Some(length) = prefix_length(from, to) {
                return format!("{}/{length}", value(kind, host_order, from));
            }
        }
        KeyType::Ifname => {
            if let Some(start) = prefix_length(from, to).filter(|length| length % 8 == 0) {
                let start = String::from_utf8_lossy(&from[..start / 8]);
                return quoted(&format!("{start}*"));
            }
        }
        _ => {}
    }
    format!("{}-{}", value(kind, host_order, from), value(kind, host_order, to))
}

/// A time in nft's notation: `1m30s`, `500ms`.
pub(super) fn duration(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut left = milliseconds;
    let mut text = String::new();
    for (unit, name) in UNITS {
        if left >= unit {
            text = format!("{text}{}{name}", left / unit);
            left %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_are_prefixes_are_written_so() {
        let prefix = interval(KeyType::Ipv4Addr, false, &[10, 0, 0, 0], &[10, 0, 15, 255]);
        assert_eq!(prefix, "10.0.0.0/20");
        let range = interval(KeyType::Ipv4Addr, false, &[10, 0, 0, 1], &[10, 0, 0, 255]);
        assert_eq!(range, "10.0.0.1-10.0.0.255");
        assert_eq!(interval(KeyType::InetService, false, &[0, 80], &[0, 95]), "80-95");
        let mut wg = [0; 16];
        wg[..2].copy_from_slice(b"wg");
        let mut end = [0xff; 16];
        end[..2].copy_from_slice(b"wg");
        assert_eq!(interval(KeyType::Ifname, false, &wg, &end), "\"wg*\"");
        assert_eq!(interval(KeyType::Ipv4Addr, false, &[0; 4], &[255; 4]), "0.0.0.0/0");
    }

    #[test]
    fn masks_with_holes_are_no_prefixes() {
        assert_eq!(mask_length(&[255, 240, 0]), Some(12));
        assert_eq!(mask_length(&[255, 0, 255]), None);
        assert_eq!(mask_length(&[0b1011_0000]), None);
        assert_eq!(mask_length(&[0, 0]), Some(0));
        assert_eq!(mask_length(&[0, 255]), None);
    }

    #[test]
    fn values_have_their_names() {
        assert_eq!(value(KeyType::NF_PROTO, false, &[10]), "ipv6");
        assert_eq!(value(KeyType::CT_STATE, true, &6u32.to_ne_bytes()), "established,related");
        assert_eq!(value(KeyType::CT_STATE, true, &0x86u32.to_ne_bytes()), "0x86");
        assert_eq!(value(KeyType::InetService, false, &[0, 22]), "22");
        assert_eq!(value(KeyType::Ifname, false, b"a*\0\0"), "\"a\\*\"");
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().expect("valid");
        assert_eq!(value(KeyType::Ipv6Addr, false, &mapped.octets()), "::ffff:c000:201");
        assert_eq!(duration(90_500), "1m30s500ms");
    }

    #[test]
    fn times_are_written_as_the_kernel_compares_them() {
        assert_eq!(value(KeyType::DURATION, true, &30_000_u32.to_ne_bytes()), "30s");
        assert_eq!(value(KeyType::HOUR, true, &36_060_u32.to_ne_bytes()), "10:01:00Z");
        assert_eq!(value(KeyType::DAY, true, &[1]), "\"Monday\"");
        let date = 1_767_261_600_000_000_000_u64.to_ne_bytes();
        assert_eq!(value(KeyType::DATE, true, &date), "2026-01-01T10:00:00Z");
    }
}
