//! Large rulesets of the shapes that people have, always the same.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// A ruleset in nft's language, with one table to be looked at.
#[derive(Debug, Clone)]
pub struct Written {
    /// What is declared before the rules: sets.
    pub head: String,
    /// The rules of the chain at the input hook.
    pub rules: Vec<String>,
}

impl Written {
    /// As nft reads it.
    pub fn text(&self) -> String {
        let mut text = format!(
            "table inet many {{\n{}chain input {{\n\
             type filter hook input priority 0; policy drop;\n\
             ct state established,related accept\niif lo accept\n",
            self.head
        );
        for rule in &self.rules {
            text.push_str(rule);
            text.push('\n');
        }
        text.push_str("}\n}\n");
        text
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from((u64::from(bound) * (mixed >> 32)) >> 32).expect("below a bound of 32 bits")
    }
}

/// Who may dial which port where: sources, destinations and 200 ports in both protocols and IP
/// versions, with exceptions between them.
pub fn mixed(count: usize) -> Written {
    let mut random = Random(1);
    let rules = (0..count).map(|_| {
        let mut rule = String::new();
        let six = random.below(10) == 0;
        if six {
            let (site, host) = (random.below(0x4000), random.below(0x4000));
            let _ = write!(rule, "ip6 saddr 2001:db8:{site:x}:{host:x}::/64 ");
        } else {
            let address = Ipv4Addr::from(0x0b00_0000 + random.below(0xb000_0000));
            match random.below(3) {
                0 => {
                    let _ = write!(rule, "ip saddr {address} ");
                }
                1 => {
                    let network = Ipv4Addr::from(u32::from(address) & 0xffff_ff00);
                    let _ = write!(rule, "ip saddr {network}/24 ");
                }
                _ => {
                    let to = Ipv4Addr::from(0xcb00_7100 + random.below(40));
                    let _ = write!(rule, "ip saddr {address} ip daddr {to} ");
                }
            }
        }
        let protocol = if random.below(4) == 0 { "udp" } else { "tcp" };
        let port = 1_000 + random.below(200);
        if random.below(8) == 0 {
            let _ = write!(rule, "{protocol} dport {port}-{} ", port + random.below(20));
        } else {
            let _ = write!(rule, "{protocol} dport {port} ");
        }
        rule.push_str(if random.below(3) == 0 { "drop" } else { "accept" });
        rule
    });
    Written { head: String::new(), rules: rules.collect() }
}

/// A block-list as rules, one address each, whatever they dial, and then open ports.
pub fn blocked(count: usize) -> Written {
    let mut random = Random(2);
    let mut rules: Vec<String> = (0..count)
        .map(|_| {
            format!("ip saddr {} drop", Ipv4Addr::from(0x0b00_0000 + random.below(0xb000_0000)))
        })
        .collect();
    rules.push("tcp dport 1000-1099 accept".to_owned());
    Written { head: String::new(), rules }
}

/// A block-list as a set of so many prefixes, and then open ports.
pub fn prefixes(count: u32) -> Written {
    let mut head = "set blocked {\ntype ipv4_addr; flags interval;\nelements = {\n".to_owned();
    for number in 0..count {
        let _ = writeln!(head, "{}/28,", Ipv4Addr::from(0x0b00_0000 + number * 0x1000));
    }
    head.push_str("}\n}\n");
    let rules = ["ip saddr @blocked drop", "tcp dport 1000-1099 accept"];
    Written { head, rules: rules.map(str::to_owned).to_vec() }
}

/// The same to every packet, in another order: neighbours that cannot both match, or that decide
/// alike, have changed places.
pub fn permuted(written: &Written) -> Written {
    let mut rules = written.rules.clone();
    let mut random = Random(3);
    let port = |rule: &str| {
        let (before, behind) = rule.split_once(" dport ").expect("a rule about ports");
        let udp = before.ends_with("udp");
        let ports = behind.split(' ').next().expect("ports");
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |text: &str| text.parse::<u16>().expect("a port");
        (udp, number(first), number(last))
    };
    for _ in 0..rules.len() * 20 {
        let at = random.below(u32::try_from(rules.len()).expect("not so many")) as usize;
        let Some([one, two]) = rules.get(at..at + 2) else { continue };
        let (a, b) = (port(one), port(two));
        let apart = a.0 != b.0 || a.2 < b.1 || b.2 < a.1;
        let alike = one.ends_with("drop") == two.ends_with("drop");
        if apart || alike {
            rules.swap(at, at + 1);
        }
    }
    Written { head: written.head.clone(), rules }
}
