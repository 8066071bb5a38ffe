//! What a ruleset names: interfaces, addresses, prefixes and ports, found in its text.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands in a ruleset, and where packets should therefore go.
#[derive(Debug, Default)]
pub struct Named {
    pub interfaces: Vec<String>,
    pub prefixes: Vec<(IpAddr, u8)>,
    pub ports: Vec<u16>,
}

/// Words after which names of interfaces stand.
const BEFORE_INTERFACES: [&str; 12] = [
    "-i",
    "-o",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "device",
    "devices",
    "interfaces",
    "interface",
    "--physdev-in",
    "--physdev-out",
];

fn is_interface(word: &str) -> bool {
    let first = word.chars().next().is_some_and(char::is_alphabetic);
    let rest = word.chars().all(|own| own.is_ascii_alphanumeric() || "._-".contains(own));
    first
        && rest
        && (2..16).contains(&word.len())
        && !["lo", "all", "default", "name", "addr", "dev", "type", "peer", "index"].contains(&word)
}

impl Named {
    pub fn in_text(text: &str) -> Self {
        let mut named = Self::default();
        let mut prefixes = BTreeSet::new();
        let mut ports = BTreeSet::new();
        let told = |line: &&str| !line.trim().starts_with('#') || line.starts_with("# interfaces ");
        for line in text.lines().filter(told) {
            named.interfaces_of(line);
            let apart = |own: char| !(own.is_ascii_alphanumeric() || ":./".contains(own));
            for word in line.split(apart) {
                prefixes.extend(prefix(word.trim_end_matches([':', '.'])));
                ports.extend(word.split(':').filter_map(port));
            }
        }
        named.prefixes = prefixes.into_iter().filter(|(own, _)| is_speaker(*own)).collect();
        named.ports = ports.into_iter().filter(|port| *port > 0).collect();
        named
    }

    fn interfaces_of(&mut self, line: &str) {
        let apart = |own: char| own.is_whitespace() || ",{}=;\"".contains(own);
        let words: Vec<&str> = line.split(apart).filter(|word| !word.is_empty()).collect();
        for (at, _) in words.iter().enumerate().filter(|(_, own)| BEFORE_INTERFACES.contains(own)) {
            let after = words[at + 1..].iter().filter(|own| !["!=", "!", "=="].contains(own));
            // A set of them, or `interfaces NAME…` of the first lines.
            let several = line.contains('{') || line.starts_with('#');
            for word in after.take(if several { 8 } else { 1 }) {
                let name = word.replace(['+', '*'], "0");
                let known =
                    ["accept", "drop", "jump", "return", "goto", "ip", "tcp", "udp", "vmap"];
                if known.contains(word) || !is_interface(&name) {
                    break;
                }
                if !self.interfaces.contains(&name) {
                    self.interfaces.push(name);
                }
            }
        }
    }

    /// Single addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let whole = |own: &&(IpAddr, u8)| own.1 == if own.0.is_ipv4() { 32 } else { 128 };
        self.prefixes.iter().filter(whole).map(|own| own.0)
    }
}

fn port(word: &str) -> Option<u16> {
    /// Names that rulesets use for ports.
    const SERVICES: [(&str, u16); 16] = [
        ("ssh", 22),
        ("http", 80),
        ("https", 443),
        ("domain", 53),
        ("ntp", 123),
        ("bootps", 67),
        ("bootpc", 68),
        ("smtp", 25),
        ("imap", 143),
        ("imaps", 993),
        ("mdns", 5353),
        ("snmp", 161),
        ("ftp", 21),
        ("telnet", 23),
        ("submission", 587),
        ("mysql", 3306),
    ];
    let named = SERVICES.iter().find(|(name, _)| *name == word).map(|(_, port)| *port);
    named.or_else(|| word.parse().ok())
}

fn prefix(word: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |own| own.parse().ok()).filter(|own| *own <= most)?;
    Some((address, length))
}

/// Whether a packet may come from it, and go to it.
fn is_speaker(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(own) => {
            own > Ipv4Addr::new(1, 0, 0, 0)
                && own < Ipv4Addr::new(224, 0, 0, 0)
                && !own.is_loopback()
        }
        IpAddr::V6(own) => {
            own > Ipv6Addr::new(1, 0, 0, 0, 0, 0, 0, 0)
                && !own.is_multicast()
                && !own.is_unicast_link_local()
        }
    }
}
