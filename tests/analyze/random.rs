//! Random rulesets over every construct that the analysis knows, in nft's own language.

#![allow(clippy::format_push_string, reason = "nft text is read best where it is written")]

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

pub const SOURCES4: [&str; 8] = [
    "203.0.113.1",
    "198.51.100.7",
    "198.51.100.200",
    "192.0.2.20",
    "192.0.2.77",
    "172.18.0.2",
    "203.0.113.10",
    "198.51.100.9",
];
pub const SOURCES6: [&str; 6] = [
    "2001:db8:1::1",
    "2001:db8:7::7",
    "2001:db8:7::8",
    "2001:db8:2::20",
    "2001:db8:18::2",
    "2001:db8:7:1::1",
];
pub const DESTINATIONS4: [&str; 8] = [
    "203.0.113.10",
    "203.0.113.10",
    "192.0.2.10",
    "172.18.0.1",
    "172.18.0.2",
    "192.0.2.20",
    "192.0.2.20",
    "127.0.0.1",
];
pub const DESTINATIONS6: [&str; 6] = [
    "2001:db8:1::10",
    "2001:db8:1::10",
    "2001:db8:2::10",
    "2001:db8:18::1",
    "2001:db8:18::2",
    "2001:db8:2::20",
];
pub const PORTS: [u16; 6] = [22, 53, 80, 443, 3306, 8080];
const PREFIXES4: [&str; 6] = [
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.0.2.0/24",
    "198.51.100.0/29",
    "192.0.0.0/10",
    "172.16.0.0/12",
];
const PREFIXES6: [&str; 5] =
    ["2001:db8:7::/48", "2001:db8:1::/64", "2001:db8:7::/64", "2001:db8::/32", "2001:db8:2::/47"];
const MARKS: [u32; 5] = [0, 1, 2, 0x10, 0x100];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Inet,
    Ip,
    Ip6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Filter,
    Nat,
}

/// One table being written.
struct Writer<'r> {
    random: &'r mut Random,
    family: Family,
    hook: &'static str,
    kind: Kind,
    chains: Vec<String>,
    /// What the rule at hand is about: nft refuses one about two.
    protocol: &'static str,
    about: u8,
}

impl Writer<'_> {
    fn port(&mut self) -> u16 {
        *self.random.pick(&PORTS)
    }

    fn version(&mut self) -> u8 {
        self.about
    }

    fn begin(&mut self) {
        self.protocol = *self.random.pick(&["tcp", "tcp", "udp"]);
        self.about = match self.family {
            Family::Ip => 4,
            Family::Ip6 => 6,
            Family::Inet => *self.random.pick(&[4, 4, 6]),
        };
    }

    fn address(&mut self, version: u8, source: bool) -> String {
        let list: &[&str] = match (version, source) {
            (4, true) => &SOURCES4,
            (4, false) => &DESTINATIONS4,
            (_, true) => &SOURCES6,
            (_, false) => &DESTINATIONS6,
        };
        (*self.random.pick(list)).to_owned()
    }

    fn addresses(&mut self, version: u8, source: bool) -> String {
        let prefixes: &[&str] = if version == 4 { &PREFIXES4 } else { &PREFIXES6 };
        match self.random.below(8) {
            0 | 1 => self.address(version, source),
            2 => format!("!= {}", self.address(version, source)),
            3 => (*self.random.pick(prefixes)).to_owned(),
            4 => format!("!= {}", self.random.pick(prefixes)),
            5 if version == 4 => "198.51.100.5-198.51.100.201".to_owned(),
            5 => "2001:db8:7::1-2001:db8:7::7".to_owned(),
            6 => format!("{{ {}, {} }}", prefixes[0], prefixes[2 - usize::from(version == 6)]),
            _ => {
                let invert = if self.random.chance(30) { "!= " } else { "" };
                format!("{invert}@a{version}")
            }
        }
    }

    fn ports(&mut self) -> String {
        match self.random.below(8) {
            0..=2 => self.port().to_string(),
            3 => format!("!= {}", self.port()),
            4 => "50-100".to_owned(),
            5 => "!= 60-500".to_owned(),
            6 => format!("{{ {}, 1000-9000 }}", *self.random.pick(&[22_u16, 80, 443])),
            _ => "@ports".to_owned(),
        }
    }

    fn mark(&mut self) -> u32 {
        *self.random.pick(&MARKS)
    }

    /// Matches; empty for none.
    fn matching(&mut self) -> String {
        let version = self.version();
        let ip = if version == 4 { "ip" } else { "ip6" };
        let protocol = self.protocol;
        match self.random.below(34) {
            0 | 1 => format!("{ip} saddr {}", self.addresses(version, true)),
            2 => format!("{ip} daddr {}", self.addresses(version, false)),
            3..=5 => format!("{} dport {}", protocol, self.ports()),
            6 => format!("meta l4proto {{ tcp, udp }} th dport {}", self.ports()),
            7 => format!(
                "{} sport {}",
                self.protocol,
                self.random.pick(&["< 1024", "> 32767", "!= 53", "40000-65535"])
            ),
            8 => {
                let not = if self.random.chance(30) { "!= " } else { "" };
                format!(
                    "iifname {not}\"{}\"",
                    self.random.pick(&["wan0", "lan0", "br-web", "w*", "l*"])
                )
            }
            9 if matches!(self.hook, "forward" | "postrouting") => {
                format!("oifname \"{}\"", self.random.pick(&["wan0", "lan0", "br-web", "br-*"]))
            }
            9 => "iifname { \"wan0\", \"lan0\" }".to_owned(),
            10 => format!(
                "meta l4proto {}",
                self.random.pick(&["tcp", "udp", "icmp", "ipv6-icmp", "!= tcp", "{ tcp, icmp }"])
            ),
            11 => format!(
                "ct state {}",
                self.random.pick(&[
                    "new",
                    "new",
                    "established,related",
                    "invalid",
                    "!= new",
                    "untracked",
                    "invalid,untracked"
                ])
            ),
            12 => format!("ct status {}", self.random.pick(&["dnat", "snat", "! dnat", "! snat"])),
            13 => "ct direction original".to_owned(),
            14 => format!("meta l4proto {{ tcp, udp }} ct original proto-dst {}", self.port()),
            15 => format!("ct original {ip} {}", {
                let source = self.random.chance(50);
                let address = self.address(version, source);
                format!("{} {address}", if source { "saddr" } else { "daddr" })
            }),
            16 => format!("meta mark {}", {
                let m = self.mark();
                if self.random.chance(50) {
                    format!("{m}")
                } else {
                    format!("& 0x{m:x} == 0x{m:x}")
                }
            }),
            17 | 32 => format!(
                "ct mark {}{}",
                if self.random.chance(40) { "!= " } else { "" },
                self.mark()
            ),
            18 => "fib daddr type local".to_owned(),
            19 => (*self.random.pick(&[
                "fib daddr . iif type local",
                "fib saddr type local",
                "fib daddr type != local",
                "fib saddr type unicast",
            ]))
            .to_owned(),
            20 => {
                format!("fib saddr . iif oif {}", self.random.pick(&["missing", "exists", "!= 0"]))
            }
            21 => format!(
                "tcp flags {}",
                self.random.pick(&[
                    "syn",
                    "& (fin|syn|rst|ack) == syn",
                    "! syn",
                    "& (syn|ack) != syn",
                    "ack"
                ])
            ),
            22 if version == 4 => format!(
                "icmp type {}",
                self.random.pick(&[
                    "echo-request",
                    "!= echo-request",
                    "{ echo-request, echo-reply }"
                ])
            ),
            22 => format!("icmpv6 type {}", self.random.pick(&["echo-request", "!= echo-request"])),
            23 => format!("{ip} saddr . tcp dport @pairs{version}"),
            24 if version == 4 => format!(
                "ip saddr & 0.0.0.255 {} 0.0.0.{}",
                self.random.pick(&["==", "!="]),
                self.random.pick(&[1, 7, 20, 200])
            ),
            24 => "ip6 saddr & ::ff == ::7".to_owned(),
            25 => format!(
                "iifname . {} dport {{ \"wan0\" . {}, \"lan0\" . 22, \"br-web\" . 53 }}",
                protocol,
                self.port()
            ),
            26 => format!(
                "meta iifkind {}",
                self.random.pick(&["\"bridge\"", "\"veth\"", "!= \"bridge\""])
            ),
            27 => format!("meta pkttype {}", self.random.pick(&["host", "broadcast"])),
            28 => format!(
                "ct {}",
                self.random.pick(&["protocol tcp", "protocol udp", "l3proto ipv4"])
            ),
            29 if self.family == Family::Inet => {
                format!("meta nfproto {}", self.random.pick(&["ipv4", "ipv6"]))
            }
            30 => format!("limit rate {}1/minute", self.random.pick(&["", "over "])),
            31 => format!(
                "{ip} saddr {} meta l4proto {{ tcp, udp }} th dport {}",
                self.addresses(version, true),
                self.ports()
            ),
            _ => String::new(),
        }
    }

    /// What is done on the way.
    fn changing(&mut self) -> String {
        match self.random.below(12) {
            0 => "counter".to_owned(),
            1 => format!("meta mark set 0x{:x}", self.mark()),
            2 => format!("meta mark set meta mark | 0x{:x}", self.mark()),
            3 => format!("meta mark set meta mark & 0x{:x}", 0xff),
            4 | 9 => format!("ct mark set 0x{:x}", self.mark()),
            5 => "ct mark set meta mark".to_owned(),
            6 => "meta mark set ct mark".to_owned(),
            7 => format!(
                "meta mark set {} dport map {{ 22 : 1, 53 : 2, 80-443 : 0x10 }}",
                self.protocol
            ),
            8 | 10
                if self.hook == "prerouting"
                    && self.kind == Kind::Filter
                    && self.random.chance(90) =>
            {
                "notrack".to_owned()
            }
            _ => String::new(),
        }
    }

    fn deciding(&mut self, depth: usize) -> String {
        let deeper: Vec<String> = self.chains.iter().skip(depth).cloned().collect();
        let jump = |random: &mut Random, word: &str| {
            if deeper.is_empty() {
                "continue".to_owned()
            } else {
                format!("{word} {}", random.pick(&deeper))
            }
        };
        match self.random.below(24) {
            0..=4 => "accept".to_owned(),
            5..=8 => "drop".to_owned(),
            9 if matches!(self.hook, "input" | "forward")
                && self.kind == Kind::Filter
                && depth == 0 =>
            {
                "reject".to_owned()
            }
            10..=12 => jump(self.random, "jump"),
            13 => jump(self.random, "goto"),
            14 => "return".to_owned(),
            15 => {
                let (one, two) = (jump(self.random, "jump"), jump(self.random, "goto"));
                let protocol = self.protocol;
                format!(
                    "{protocol} dport vmap {{ 22 : accept, 53 : {one}, 80 : drop, 443-8000 : {two}, 8080 : return }}"
                )
            }
            16 => format!(
                "iifname vmap {{ \"wan0\" : {}, \"lan0\" : accept, \"br-web\" : {} }}",
                jump(self.random, "jump"),
                jump(self.random, "goto")
            ),
            // Its elements jump anywhere.
            17 if depth == 0 => {
                let version = self.version();
                let ip = if version == 4 { "ip" } else { "ip6" };
                format!("{ip} saddr vmap @v{version}")
            }
            _ => String::new(),
        }
    }

    fn translating(&mut self) -> String {
        let version = self.version();
        let (ip, word) = if version == 4 { ("ip", "ipv4") } else { ("ip6", "ipv6") };
        let protocol = self.protocol;
        // Without it, packets of the other version come to the translation and go on.
        let nfproto = if self.family == Family::Inet && self.random.chance(60) {
            format!("meta nfproto {word} ")
        } else {
            String::new()
        };
        let guard = format!("{nfproto}{protocol} dport {}", self.ports());
        let to = if self.family == Family::Inet {
            format!("dnat {ip} to")
        } else {
            "dnat to".to_owned()
        };
        let container = if version == 4 { "172.18.0.2" } else { "2001:db8:18::2" };
        let bracket = if version == 4 { container.to_owned() } else { format!("[{container}]") };
        if self.hook == "postrouting" {
            let from = if self.family == Family::Inet {
                format!("snat {ip} to")
            } else {
                "snat to".to_owned()
            };
            let own = if version == 4 { "192.0.2.10" } else { "2001:db8:2::10" };
            return match self.random.below(2) {
                0 => format!("{guard} masquerade"),
                _ => format!("{guard} {from} {own}"),
            };
        }
        match self.random.below(9) {
            0 | 1 => format!("{guard} {to} {bracket}:8080"),
            2 => format!(
                "{nfproto}{} {to} {container}",
                if version == 4 {
                    "icmp type echo-request".to_owned()
                } else {
                    format!("ip6 saddr {}", self.addresses(6, true))
                }
            ),
            3 => format!("{guard} redirect to :{}", self.port()),
            4 => format!(
                "{guard} {to} {}",
                if version == 4 { "127.0.0.1" } else { "2001:db8:2::10" }
            ),
            5 if version == 4 => format!(
                "{protocol} dport {} {to} {protocol} dport map {{ 22 : 172.18.0.2, 53 : 192.0.2.20, 80 : 192.0.2.10, 443 : 172.18.0.2, 3306 : 203.0.113.10 }}",
                self.port()
            ),
            6 if version == 4 => format!("fib daddr type local {guard} {to} 192.0.2.20"),
            7 if version == 4 && self.random.chance(50) => {
                format!(
                    "{nfproto}meta l4proto {protocol} {to} {protocol} dport map {{ 22 : 172.18.0.2 . 80, 53 : 192.0.2.20 . 8080, 443 : 192.0.2.10 . 22 }}"
                )
            }
            _ => format!("{guard} redirect"),
        }
    }

    fn rule(&mut self, depth: usize) -> String {
        self.begin();
        if self.kind == Kind::Nat && depth == 0 && self.random.chance(55) {
            return with_counter(&self.translating());
        }
        let mut parts = Vec::new();
        for _ in 0..*self.random.pick(&[0, 1, 1, 1, 2, 2, 3]) {
            parts.push(self.matching());
        }
        parts.push(self.changing());
        if self.random.chance(10) {
            parts.push(self.matching());
        }
        let decision = self.deciding(depth);
        if !decision.contains("map") {
            parts.push("counter".to_owned());
        }
        parts.push(decision);
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() { "counter".to_owned() } else { parts.join(" ") }
    }
}

/// Many rules that tell little but sources apart, as lists of people and of addresses do: what
/// stands beside the source is the same for most of them.
fn crowd(random: &mut Random, line: impl Fn(&str, u16, &str, bool) -> String) -> String {
    let mut text = String::new();
    let v4 = random.chance(60);
    let prefixes: &[&str] = if v4 { &PREFIXES4 } else { &PREFIXES6 };
    let sources: &[&str] = if v4 { &SOURCES4 } else { &SOURCES6 };
    let mut port = *random.pick(&PORTS);
    let others = *random.pick(&[5, 5, 30]);
    for _ in 0..*random.pick(&[12, 30, 90]) {
        if random.chance(others) {
            port = *random.pick(&PORTS);
        }
        let source = match random.below(6) {
            0 => (*random.pick(sources)).to_owned(),
            1 if random.chance(20) => (*random.pick(prefixes)).to_owned(),
            _ if v4 => format!("198.51.{}.{}", 100 + random.below(2), random.below(256)),
            _ => format!("2001:db8:7:{:x}::{:x}", random.below(3), random.below(16)),
        };
        let verdict = *random.pick(&["accept", "drop", "drop", "return"]);
        text += &line(&source, port, verdict, v4);
        text.push('\n');
    }
    text
}

/// A counter before a translation that does not look its target up.
fn with_counter(rule: &str) -> String {
    let words = [" dnat ", " snat ", " redirect", " masquerade"];
    match words.iter().find_map(|word| rule.find(word)) {
        Some(at) if !rule.contains(" map ") => format!("{} counter{}", &rule[..at], &rule[at..]),
        _ => rule.to_owned(),
    }
}

/// Such rules in nft's language, so often of a hundred times.
fn people(random: &mut Random, family: Family, percent: u64) -> String {
    if !random.chance(percent) {
        return String::new();
    }
    let about_ports = random.chance(60);
    crowd(random, |source, port, verdict, v4| {
        if (v4 && family == Family::Ip6) || (!v4 && family == Family::Ip) {
            return String::new();
        }
        let version = if v4 { "ip" } else { "ip6" };
        let ports = if about_ports { format!("tcp dport {port} ") } else { String::new() };
        format!("    {version} saddr {source} {ports}counter {verdict}")
    })
}

/// A whole ruleset.
pub fn ruleset(random: &mut Random) -> String {
    let mut text = String::new();
    let tables = 1 + random.below(3);
    for index in 0..tables {
        let family = *random.pick(&[Family::Inet, Family::Inet, Family::Ip, Family::Ip6]);
        let word = match family {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        };
        text += &format!("table {word} t{index} {{\n");
        text += "  set ports { type inet_service; flags interval; elements = { 20-25, 80, 8000-8100 } }\n";
        for (version, kind) in [(4, "ipv4_addr"), (6, "ipv6_addr")] {
            let (one, two, three) = if version == 4 {
                ("198.51.100.0/28", "192.0.2.20", "203.0.113.0-203.0.113.9")
            } else {
                ("2001:db8:7::/64", "2001:db8:2::20", "2001:db8:1::1-2001:db8:1::9")
            };
            text += &format!(
                "  set a{version} {{ type {kind}; flags interval; elements = {{ {one}, {two} }} }}\n"
            );
            text += &format!(
                "  set pairs{version} {{ type {kind} . inet_service; flags interval; elements = {{ {one} . 22, {three} . 80-8080, {two} . 53 }} }}\n"
            );
        }
        let count = 1 + random.below(3);
        let chains: Vec<String> = (0..count).map(|chain| format!("c{chain}")).collect();
        for (version, kind, address, prefix) in [
            (4, "ipv4_addr", "203.0.113.1", "198.51.100.0/24"),
            (6, "ipv6_addr", "2001:db8:1::1", "2001:db8:7::/48"),
        ] {
            text += &format!(
                "  map v{version} {{ type {kind} : verdict; flags interval; elements = {{ {address} : accept, {prefix} : {} {} }} }}\n",
                random.pick(&["jump", "goto"]),
                random.pick(&chains)
            );
        }
        // Chains that others jump to know no hook: nothing in them may need one.
        for (depth, name) in chains.iter().enumerate().rev() {
            text += &format!("  chain {name} {{\n");
            let mut writer = Writer {
                random,
                family,
                hook: "",
                kind: Kind::Filter,
                chains: chains.clone(),
                protocol: "tcp",
                about: 4,
            };
            for _ in 0..=writer.random.below(4) {
                text += &format!("    {}\n", writer.rule(depth + 1));
            }
            text += &people(random, family, 12);
            text += "  }\n";
        }
        for chain in 0..=random.below(4) {
            let hook = *random.pick(&[
                "prerouting",
                "prerouting",
                "input",
                "input",
                "input",
                "forward",
                "forward",
                "postrouting",
            ]);
            let nat = matches!(hook, "prerouting" | "postrouting") && random.chance(55);
            let priority = match (hook, nat) {
                ("prerouting", true) => *random.pick(&[-100, -100, -90, -110]),
                (_, true) => *random.pick(&[100, 90, 110]),
                ("prerouting", _) => *random.pick(&[-300, -300, -150, -150, -99, 0]),
                (_, _) => *random.pick(&[-150, -10, 0, 0, 10, 50]),
            };
            // Of equal priorities the last registered comes first.
            let apart = if random.chance(80) { index } else { 0 };
            let priority = priority + i32::try_from(apart).unwrap();
            let policy = if !nat && random.chance(25) { "drop" } else { "accept" };
            let kind = if nat { "nat" } else { "filter" };
            text += &format!(
                "  chain b{chain} {{ type {kind} hook {hook} priority {priority}; policy {policy};\n"
            );
            let kind = if nat { Kind::Nat } else { Kind::Filter };
            let mut writer = Writer {
                random,
                family,
                hook,
                kind,
                chains: chains.clone(),
                protocol: "tcp",
                about: 4,
            };
            for _ in 0..=writer.random.below(5) {
                text += &format!("    {}\n", writer.rule(0));
            }
            if kind == Kind::Filter {
                text += &people(random, family, 12);
            }
            text += "  }\n";
        }
        text += "}\n";
    }
    if random.chance(20) {
        text += "table netdev n {\n  chain i { type filter hook ingress device \"wan0\" priority 0; policy accept;\n";
        for rule in [
            "tcp dport 22 drop",
            "ip saddr 198.51.100.0/28 udp dport 53 drop",
            "meta mark set 1",
            "ip6 saddr 2001:db8:7::7 drop",
            "meta protocol ip icmp type echo-request drop",
        ] {
            if random.chance(40) {
                text += &format!("    {rule}\n");
            }
        }
        text += "  }\n}\n";
    }
    text
}

/// A ruleset as iptables writes it, for `iptables-restore` or `ip6tables-restore`.
pub fn iptables(random: &mut Random, version: u8) -> String {
    let v4 = version == 4;
    let sources: &[&str] = if v4 { &SOURCES4 } else { &SOURCES6 };
    let destinations: &[&str] = if v4 { &DESTINATIONS4 } else { &DESTINATIONS6 };
    let prefixes: &[&str] = if v4 { &PREFIXES4 } else { &PREFIXES6 };
    let (container, own) =
        if v4 { ("172.18.0.2", "192.0.2.20") } else { ("[2001:db8:18::2]", "2001:db8:2::20") };
    let not = |random: &mut Random| if random.chance(25) { "! " } else { "" };
    let matching = |random: &mut Random, chain: &str| {
        let protocol = *random.pick(&["tcp", "udp"]);
        let port = *random.pick(&PORTS);
        let no = not(random);
        match random.below(20) {
            0 => format!("{no}-s {}", random.pick(sources)),
            1 => format!("{no}-s {}", random.pick(prefixes)),
            2 => format!("{no}-d {}", random.pick(destinations)),
            3 => format!("-p {protocol} {no}--dport {port}"),
            4 => format!("-p {protocol} -m {protocol} --dport 50:500 --sport 1024:"),
            5 => format!("-p {protocol} -m multiport {no}--dports 22,80:90,8080"),
            6 => format!(
                "-m conntrack {no}--ctstate {}",
                random.pick(&["NEW", "INVALID", "RELATED,ESTABLISHED", "DNAT", "UNTRACKED"])
            ),
            7 => format!("-m addrtype {no}--dst-type LOCAL"),
            8 => format!("-m addrtype {no}--src-type LOCAL"),
            9 => format!("-m mark {no}--mark 0x{:x}/0xff", random.pick(&MARKS)),
            10 => format!("-m connmark {no}--mark 0x{:x}", random.pick(&MARKS)),
            11 if v4 => format!("-m iprange {no}--src-range 198.51.100.0-198.51.100.99"),
            11 => format!("-m iprange {no}--src-range 2001:db8:7::1-2001:db8:7::7"),
            12 if v4 => format!("-p icmp -m icmp {no}--icmp-type echo-request"),
            12 => format!("-p ipv6-icmp -m icmp6 {no}--icmpv6-type echo-request"),
            13 if chain != "OUTPUT" && chain != "POSTROUTING" => {
                format!("{no}-i {}", random.pick(&["wan0", "lan0", "br-web", "w+"]))
            }
            14 if chain == "FORWARD" => {
                format!("{no}-o {}", random.pick(&["wan0", "lan0", "br-web", "br+"]))
            }
            15 => format!("-p tcp {no}--tcp-flags SYN,ACK,FIN,RST SYN"),
            16 => "-m limit --limit 1/min --limit-burst 1".to_owned(),
            17 => format!("-m conntrack --ctorigdstport {port} --ctdir ORIGINAL"),
            18 => "-m pkttype --pkt-type unicast -m comment --comment \"a comment\"".to_owned(),
            _ => String::new(),
        }
    };
    let mut text = String::new();
    for (table, chains) in [
        ("raw", &["PREROUTING"][..]),
        ("mangle", &["PREROUTING", "INPUT", "FORWARD"]),
        ("nat", &["PREROUTING", "POSTROUTING"]),
        ("filter", &["INPUT", "FORWARD"]),
    ] {
        if random.chance(30) {
            continue;
        }
        text += &format!("*{table}\n");
        for chain in chains {
            let policy = if table == "filter" && random.chance(30) { "DROP" } else { "ACCEPT" };
            text += &format!(":{chain} {policy} [0:0]\n");
        }
        text += ":ONE - [0:0]\n:TWO - [0:0]\n";
        for chain in ["TWO", "ONE"].iter().chain(chains) {
            for _ in 0..=random.below(4) {
                let mut parts = vec![matching(random, chain), matching(random, chain)];
                let twice = parts.iter().filter(|part| part.contains("-p ")).count() > 1;
                if twice
                    || parts[0].split(' ').find(|word| word.len() == 2)
                        == parts[1].split(' ').find(|word| word.len() == 2)
                {
                    parts.truncate(1);
                }
                let own_chain = matches!(*chain, "ONE" | "TWO");
                let target = match (table, random.below(10)) {
                    ("raw", 0) => "CT --notrack".to_owned(),
                    ("nat", 0..=5) if *chain == "PREROUTING" => {
                        parts =
                            vec![format!("-p tcp {}--dport {}", not(random), random.pick(&PORTS))];
                        match random.below(3) {
                            0 => format!("DNAT --to-destination {container}:8080"),
                            1 => format!("REDIRECT --to-ports {}", random.pick(&PORTS)),
                            _ => format!("DNAT --to-destination {own}"),
                        }
                    }
                    ("nat", 0..=5) if *chain == "POSTROUTING" => "MASQUERADE".to_owned(),
                    ("mangle", 0..=3) => match random.below(4) {
                        0 => format!("MARK --set-xmark 0x{:x}/0xffffffff", random.pick(&MARKS)),
                        1 => format!("MARK --or-mark 0x{:x}", random.pick(&MARKS)),
                        2 => "CONNMARK --save-mark --nfmask 0xff --ctmask 0xff".to_owned(),
                        _ => "CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"
                            .to_owned(),
                    },
                    ("filter", 0) if !own_chain => "REJECT".to_owned(),
                    (_, 1..=3) => "ACCEPT".to_owned(),
                    ("filter" | "mangle" | "raw", 4 | 5) => "DROP".to_owned(),
                    (_, 6 | 7) if *chain != "TWO" => {
                        (*random.pick(if *chain == "ONE" { &["TWO"][..] } else { &["ONE", "TWO"] }))
                            .to_owned()
                    }
                    (_, 8) => "RETURN".to_owned(),
                    _ => String::new(),
                };
                parts.retain(|part| !part.is_empty());
                let jump = if target.is_empty() { "" } else { " -j " };
                text += &format!("-A {chain} {}{jump}{target}\n", parts.join(" "));
            }
            if matches!(table, "filter" | "raw") && random.chance(8) {
                let about_ports = random.chance(60);
                text += &crowd(random, |source, port, verdict, own| {
                    if own != v4 {
                        return "# of the other IP version".to_owned();
                    }
                    let ports =
                        if about_ports { format!("-p tcp --dport {port} ") } else { String::new() };
                    // As tools write who it was, one word each.
                    let said = format!("-m comment --comment {source}");
                    format!("-A {chain} -s {source} {ports}{said} -j {}", verdict.to_uppercase())
                });
            }
        }
        text += "COMMIT\n";
    }
    text
}
