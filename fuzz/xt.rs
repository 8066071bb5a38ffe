//! Dumps of one rule with one match or target of iptables, whose structure is anything.

use crate::change::Random;

/// Names that the kernel has, with the length of one revision's structure.
pub const NAMES: [(&str, usize); 40] = [
    ("conntrack", 168),
    ("state", 4),
    ("tcp", 12),
    ("udp", 10),
    ("udplite", 10),
    ("sctp", 80),
    ("icmp", 4),
    ("icmp6", 4),
    ("multiport", 48),
    ("addrtype", 12),
    ("mark", 12),
    ("connmark", 12),
    ("limit", 40),
    ("hashlimit", 128),
    ("connlimit", 48),
    ("recent", 232),
    ("comment", 256),
    ("mac", 12),
    ("iprange", 68),
    ("pkttype", 8),
    ("owner", 24),
    ("policy", 148),
    ("rpfilter", 1),
    ("physdev", 72),
    ("set", 16),
    ("statistic", 24),
    ("string", 168),
    ("time", 28),
    ("u32", 1980),
    ("DNAT", 40),
    ("SNAT", 40),
    ("MASQUERADE", 20),
    ("REDIRECT", 20),
    ("NETMAP", 40),
    ("MARK", 8),
    ("CONNMARK", 12),
    ("REJECT", 4),
    ("LOG", 32),
    ("NFLOG", 80),
    ("CT", 64),
];

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(value.len() + 8);
    all.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    all.extend(kind.to_ne_bytes());
    all.extend(value);
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

fn message(kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let body = attributes.concat();
    let mut all = Vec::with_capacity(body.len() + 20);
    all.extend(u32::try_from(body.len() + 20).unwrap().to_ne_bytes());
    // NFNL_SUBSYS_NFTABLES
    all.extend([kind, 10, 2, 0]);
    all.extend([0; 8]);
    all.extend([2, 0, 0, 0]);
    all.extend(body);
    all
}

/// One rule in `ip filter INPUT`: a match and a target.
pub fn dump(parts: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let name = |text: &str| [text.as_bytes(), b"\0"].concat();
    let (table, chain) = (attribute(1, &name("filter")), name("INPUT"));
    let hook = [attribute(1, &1_u32.to_be_bytes()), attribute(2, &0_u32.to_be_bytes())].concat();
    let expressions: Vec<Vec<u8>> = parts
        .iter()
        .map(|(own, revision, info)| {
            let target = own.starts_with(|first: char| first.is_ascii_uppercase());
            let data = [
                attribute(1, &name(own)),
                attribute(2, &revision.to_be_bytes()),
                attribute(3, info),
            ]
            .concat();
            let word: &str = if target { "target" } else { "match" };
            attribute(1, &[attribute(1, &name(word)), attribute(2, &data)].concat())
        })
        .collect();
    [
        message(0, std::slice::from_ref(&table)),
        message(
            3,
            &[table.clone(), attribute(3, &chain), attribute(4, &hook), attribute(7, b"filter\0")],
        ),
        message(6, &[table, attribute(2, &chain), attribute(4, &expressions.concat())]),
    ]
    .concat()
}

/// Every name once with zeros, once with ones.
pub fn corpus() -> Vec<Vec<u8>> {
    let each = NAMES.iter().flat_map(|(name, len)| {
        [(0_u8, 0_u32), (1, 1), (0xff, 2), (0, 3)]
            .map(|(fill, revision)| dump(&[(*name, revision, &vec![fill; *len])]))
    });
    each.collect()
}

/// Another rule, or one changed anyhow.
pub fn change(input: &mut Vec<u8>, random: &mut Random) {
    if random.chance(30) {
        return crate::change::netlink(input, random);
    }
    let mut blobs = Vec::new();
    for _ in 0..=random.below(2) {
        let (name, len) = *random.pick(&NAMES);
        let len = if random.chance(80) { len } else { random.below(300) };
        let sparse = random.chance(60);
        let blob: Vec<u8> =
            (0..len).map(|_| if sparse && random.chance(85) { 0 } else { random.byte() }).collect();
        blobs.push((name, u32::try_from(random.below(5)).unwrap(), blob));
    }
    let parts: Vec<(&str, u32, &[u8])> =
        blobs.iter().map(|(name, revision, blob)| (*name, *revision, &blob[..])).collect();
    *input = dump(&parts);
}
