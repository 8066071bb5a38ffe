//! What is loaded from a packet → the selector's name in `nft(8)`.
//!
//! In: an operand, and what the rule's earlier statements have said about the packet. Out: the
//! words, and the type and byte order in which its values are written.

use super::header::{link, network, transport};
use super::{Context, Network, other, set, value};
use crate::model::nft::{
    BitOp, CtDirection, CtKey, FibFlags, FibResult, KeyType, MetaKey, Operand, PayloadBase,
    Selector, Transform,
};

/// A named operand.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The words.
    pub text: String,
    /// The type of its values.
    pub kind: KeyType,
    /// Whether its values are in host order.
    pub host_order: bool,
    /// Its length in bytes, where it is known.
    pub len: Option<usize>,
    /// Whether nft reads the words.
    pub loadable: bool,
    /// Where the load is the beginning of a longer field (`ip6 saddr` of a /32): that length.
    pub whole: Option<usize>,
}

impl Named {
    pub fn new(text: impl Into<String>, kind: KeyType) -> Self {
        Self {
            text: text.into(),
            kind,
            host_order: kind.host_order(),
            len: kind.width(),
            loadable: true,
            whole: None,
        }
    }

    pub fn network_order(mut self, len: u32) -> Self {
        self.host_order = false;
        self.len = Some(len as usize);
        self
    }

    fn host(mut self, len: usize) -> Self {
        self.host_order = true;
        self.len = Some(len);
        self
    }

    fn human(text: impl Into<String>) -> Self {
        Self { loadable: false, ..Self::new(text, KeyType::BITMASK) }
    }
}

/// An operand without its transforms.
pub(super) fn selector(selector: &Selector, context: &Context) -> Named {
    match selector {
        Selector::Payload { base, offset, len } => payload(*base, *offset, *len, context),
        Selector::Meta(key) => meta(*key),
        Selector::Ct { key, direction } => ct(*key, *direction),
        Selector::Fib { result, flags } => fib(*result, *flags),
        Selector::Immediate(bytes) => Named {
            len: Some(bytes.len()),
            ..Named::new(format!("{:#x}", value::number(bytes.as_slice(), true)), KeyType::INTEGER)
        },
        Selector::Map { key, map } => {
            let mut loadable = true;
            let keys = key.iter().map(|key| operand(key, context)).collect::<Vec<_>>();
            loadable &= keys.iter().all(|key| key.loadable);
            let words = keys.into_iter().map(|key| key.text).collect::<Vec<_>>().join(" . ");
            let name = set::reference(map, context);
            let kind = context.table.and_then(|table| table.set(map)).and_then(set::data_kind);
            let named = Named::new(format!("{words} map {name}"), kind.unwrap_or(KeyType::INTEGER));
            Named { loadable, ..named }
        }
        Selector::Other { name, detail } => match other::load(name, detail) {
            Some((text, kind)) => {
                let named = Named { loadable: false, ..Named::new(text, kind) };
                match other::network_order(name, detail) {
                    Some(len) => named.network_order(len),
                    None => named,
                }
            }
            None if detail.is_empty() => Named::human(format!("<{name}>")),
            None => Named::human(format!("<{name} {detail}>")),
        },
    }
}

/// An operand with its transforms.
pub(super) fn operand(operand: &Operand, context: &Context) -> Named {
    if let Some(bits) = bit_field(operand, context) {
        return bits;
    }
    let mut named = selector(&operand.selector, context);
    for transform in &operand.transforms {
        named = transformed(named, transform);
    }
    named
}

/// Fields that are a part of a byte, which nft reads with a mask and a shift.
fn bit_field(operand: &Operand, context: &Context) -> Option<Named> {
    let [Transform::Mask { mask, xor }, Transform::Shift { op: BitOp::ShiftRight, bits }] =
        operand.transforms.as_slice()
    else {
        return None;
    };
    let plain = Operand::plain(operand.selector.clone());
    let (word, shift) = bits_in_byte(&plain, mask.as_slice(), context)?;
    let whole = value::number(xor.as_slice(), false) == 0 && shift == *bits;
    let len = u32::try_from(mask.len()).ok()?;
    whole.then(|| Named::new(word, KeyType::DSCP).network_order(len))
}

/// The field that the mask leaves of the operand, and how far it stands from the right.
pub(super) fn bits_in_byte(
    operand: &Operand,
    mask: &[u8],
    context: &Context,
) -> Option<(&'static str, u32)> {
    let Selector::Payload { base, offset, len } = operand.selector else { return None };
    match (base, offset, len, mask) {
        (PayloadBase::Link, 14, 2, [0x0f, 0xff]) => return Some(("vlan id", 0)),
        (PayloadBase::Link, 14, 1, [0xe0]) => return Some(("vlan pcp", 5)),
        (PayloadBase::Link, 14, 1, [0x10]) => return Some(("vlan dei", 4)),
        (PayloadBase::Network, ..) => {}
        _ => return None,
    }
    match (context.network?, offset, len, mask) {
        (Network::Ipv4, 0, 1, [0xf0]) => Some(("ip version", 4)),
        (Network::Ipv4, 0, 1, [0x0f]) => Some(("ip hdrlength", 0)),
        (Network::Ipv4, 1, 1, [0xfc]) => Some(("ip dscp", 2)),
        (Network::Ipv4, 1, 1, [0x03]) => Some(("ip ecn", 0)),
        (Network::Ipv6, 0, 1, [0xf0]) => Some(("ip6 version", 4)),
        (Network::Ipv6, 0, 2, [0x0f, 0xc0]) => Some(("ip6 dscp", 6)),
        (Network::Ipv6, 1, 1, [0x30]) => Some(("ip6 ecn", 4)),
        _ => None,
    }
}

fn transformed(mut named: Named, transform: &Transform) -> Named {
    match transform {
        Transform::Mask { mask, xor } => {
            let write = |bytes: &[u8]| mask_value(&named, bytes);
            let mut text = named.text.clone();
            if mask.as_slice().iter().any(|byte| *byte != 0xff) || xor.as_slice().is_empty() {
                text = format!("{text} & {}", write(mask.as_slice()));
            }
            if xor.as_slice().iter().any(|byte| *byte != 0) {
                // `(x & ~bits) ^ bits` is how nft translates `x | bits`.
                let or = mask.as_slice().iter().zip(xor.as_slice()).all(|(m, x)| m & x == 0);
                let keeps_all_else =
                    mask.as_slice().iter().zip(xor.as_slice()).all(|(m, x)| m | x == 0xff);
                text = match (or, keeps_all_else) {
                    (true, true) => format!("{} | {}", named.text, write(xor.as_slice())),
                    (true, false) => format!("{text} | {}", write(xor.as_slice())),
                    (false, _) => format!("{text} ^ {}", write(xor.as_slice())),
                };
            }
            named.text = text;
            named
        }
        Transform::Shift { op, bits } => {
            let sign = match op {
                BitOp::ShiftLeft => "<<",
                BitOp::ShiftRight => ">>",
            };
            named.text = format!("{} {sign} {bits}", named.text);
            named
        }
        // nft puts it in and takes it out again by itself, to compare numbers as numbers.
        Transform::ByteOrder { .. } => {
            named.host_order = !named.host_order;
            named
        }
        Transform::Other(name) => {
            Named { text: format!("<{name} of {}>", named.text), loadable: false, ..named }
        }
    }
}

/// A mask in the words of the type: an address, a set of flags in parentheses, a number.
pub(super) fn mask_value(named: &Named, bytes: &[u8]) -> String {
    let number = value::number(bytes, named.host_order);
    match named.kind {
        KeyType::Ipv4Addr | KeyType::Ipv6Addr if named.len == Some(bytes.len()) => {
            value::value(named.kind, named.host_order, bytes)
        }
        kind if value::is_bits(kind) => match value::bits(kind, number) {
            Some(bits) if bits.len() == 1 => bits[0].to_owned(),
            Some(bits) => format!("({})", bits.join(" | ")),
            None => format!("{number:#x}"),
        },
        _ => format!("{number:#x}"),
    }
}

fn payload(base: PayloadBase, offset: u32, len: u32, context: &Context) -> Named {
    let raw = |word: &str| {
        let text = format!("@{word},{},{}", offset.saturating_mul(8), len.saturating_mul(8));
        Named::new(text, KeyType::INTEGER).network_order(len)
    };
    let known = match base {
        PayloadBase::Link => link(offset, len),
        PayloadBase::Network => network(offset, len, context),
        PayloadBase::Transport => transport(offset, len, context.transport),
        PayloadBase::Inner => None,
    };
    known.unwrap_or_else(|| {
        raw(match base {
            PayloadBase::Link => "ll",
            PayloadBase::Network => "nh",
            PayloadBase::Transport => "th",
            PayloadBase::Inner => "ih",
        })
    })
}

fn meta(key: MetaKey) -> Named {
    let int = |word: &str, len| Named::new(word, KeyType::INTEGER).host(len);
    match key {
        MetaKey::Length => int("meta length", 4),
        MetaKey::Protocol => Named::new("meta protocol", KeyType::ETHER_TYPE),
        MetaKey::Priority => Named::new("meta priority", KeyType::CLASSID),
        MetaKey::Mark => Named::new("meta mark", KeyType::Mark),
        MetaKey::Iif => Named::new("iif", KeyType::IFACE_INDEX),
        MetaKey::Oif => Named::new("oif", KeyType::IFACE_INDEX),
        MetaKey::Iifname => Named::new("iifname", KeyType::Ifname),
        MetaKey::Oifname => Named::new("oifname", KeyType::Ifname),
        MetaKey::Iiftype => Named::new("iiftype", KeyType::IFACE_TYPE),
        MetaKey::Oiftype => Named::new("oiftype", KeyType::IFACE_TYPE),
        MetaKey::Skuid => Named::new("meta skuid", KeyType::UID),
        MetaKey::Skgid => Named::new("meta skgid", KeyType::GID),
        MetaKey::Nftrace => int("meta nftrace", 1),
        MetaKey::Rtclassid => Named::new("meta rtclassid", KeyType::REALM),
        MetaKey::Secmark => int("meta secmark", 4),
        MetaKey::Nfproto => Named::new("meta nfproto", KeyType::NF_PROTO),
        MetaKey::L4proto => Named::new("meta l4proto", KeyType::InetProto),
        MetaKey::Ibrname => Named::new("meta ibrname", KeyType::Ifname),
        MetaKey::Obrname => Named::new("meta obrname", KeyType::Ifname),
        MetaKey::Pkttype => Named::new("meta pkttype", KeyType::PKT_TYPE),
        MetaKey::Cpu => int("meta cpu", 4),
        MetaKey::Iifgroup => Named::new("iifgroup", KeyType::DEVGROUP),
        MetaKey::Oifgroup => Named::new("oifgroup", KeyType::DEVGROUP),
        MetaKey::Cgroup => int("meta cgroup", 4),
        // nft compares it as if it came from the network.
        MetaKey::Random => Named::new("meta random", KeyType::INTEGER).network_order(4),
        MetaKey::Ipsec => Named::new("meta ipsec", KeyType::BOOLEAN),
        MetaKey::Iifkind => Named::new("meta iifkind", KeyType::Ifname),
        MetaKey::Oifkind => Named::new("meta oifkind", KeyType::Ifname),
        MetaKey::Ibrpvid => int("meta ibrpvid", 2),
        MetaKey::Ibrvproto => Named::new("meta ibrvproto", KeyType::ETHER_TYPE),
        // Read and written by nft in the zone of its own clock: a number is for people only.
        MetaKey::Time => Named { kind: KeyType::DATE, loadable: false, ..int("meta time", 8) },
        MetaKey::Hour => Named { kind: KeyType::HOUR, loadable: false, ..int("meta hour", 4) },
        MetaKey::Day => Named { kind: KeyType::DAY, ..int("meta day", 1) },
        MetaKey::Sdif => Named::new("meta sdif", KeyType::IFACE_INDEX),
        MetaKey::Sdifname => Named::new("meta sdifname", KeyType::Ifname),
        MetaKey::Broute => int("meta broute", 1),
        MetaKey::Other(number) => Named::human(format!("<meta {number}>")),
    }
}

fn ct(key: CtKey, direction: Option<CtDirection>) -> Named {
    let (word, kind, len) = match key {
        CtKey::State => ("state", KeyType::CT_STATE, 4),
        CtKey::Direction => ("direction", KeyType::CT_DIR, 1),
        CtKey::Status => ("status", KeyType::CT_STATUS, 4),
        CtKey::Mark => ("mark", KeyType::Mark, 4),
        CtKey::Secmark => ("secmark", KeyType::INTEGER, 4),
        CtKey::Expiration => ("expiration", KeyType::DURATION, 4),
        CtKey::Helper => ("helper", KeyType::STRING, 16),
        CtKey::L3proto => ("l3proto", KeyType::NF_PROTO, 1),
        CtKey::Src => ("saddr", KeyType::INTEGER, 16),
        CtKey::Dst => ("daddr", KeyType::INTEGER, 16),
        CtKey::Protocol => ("protocol", KeyType::InetProto, 1),
        CtKey::ProtoSrc => ("proto-src", KeyType::InetService, 2),
        CtKey::ProtoDst => ("proto-dst", KeyType::InetService, 2),
        CtKey::Labels => ("label", KeyType::CT_LABEL, 16),
        CtKey::Packets => ("packets", KeyType::INTEGER, 8),
        CtKey::Bytes => ("bytes", KeyType::INTEGER, 8),
        CtKey::Avgpkt => ("avgpkt", KeyType::INTEGER, 8),
        CtKey::Zone => ("zone", KeyType::INTEGER, 2),
        CtKey::EventMask => ("event", KeyType::Other(40), 4),
        CtKey::SrcIp => ("ip saddr", KeyType::Ipv4Addr, 4),
        CtKey::DstIp => ("ip daddr", KeyType::Ipv4Addr, 4),
        CtKey::SrcIp6 => ("ip6 saddr", KeyType::Ipv6Addr, 16),
        CtKey::DstIp6 => ("ip6 daddr", KeyType::Ipv6Addr, 16),
        CtKey::Id => ("id", KeyType::INTEGER, 4),
        CtKey::Other(number) => return Named::human(format!("<ct {number}>")),
    };
    let text = match direction {
        None => format!("ct {word}"),
        Some(CtDirection::Original) => format!("ct original {word}"),
        Some(CtDirection::Reply) => format!("ct reply {word}"),
    };
    let loadable = !matches!(key, CtKey::Src | CtKey::Dst | CtKey::Expiration | CtKey::Labels);
    Named { len: Some(len), loadable, ..Named::new(text, kind) }
}

fn fib(result: FibResult, flags: FibFlags) -> Named {
    let words = [
        (flags.saddr, "saddr"),
        (flags.daddr, "daddr"),
        (flags.mark, "mark"),
        (flags.iif, "iif"),
        (flags.oif, "oif"),
    ];
    let key =
        words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect::<Vec<_>>().join(" . ");
    match result {
        FibResult::Oif => Named::new(format!("fib {key} oif"), KeyType::IFACE_INDEX),
        FibResult::Oifname => Named::new(format!("fib {key} oifname"), KeyType::Ifname),
        FibResult::AddressType => Named::new(format!("fib {key} type"), KeyType::FIB_ADDRTYPE),
        FibResult::Present => Named::new(format!("fib {key} oif"), KeyType::BOOLEAN).host(4),
    }
}
