//! Policies that look random and are the same in every run.

#![allow(dead_code, reason = "not every test edits")]

use std::fmt::Write as _;

/// Numbers that look random and are the same in every run (xorshift, Marsaglia 2003).
pub struct Dice(u64);

impl Dice {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// One to three different items, as a TOML list.
    fn some_of(&mut self, items: &[&str]) -> String {
        let mut chosen: Vec<&str> = (0..=self.below(3)).map(|_| self.one_of(items)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let quoted: Vec<String> = chosen.iter().map(|item| format!("\"{item}\"")).collect();
        format!("[{}]", quoted.join(", "))
    }
}

const PORTS: &[&str] = &[
    "22/tcp",
    "80/tcp",
    "443/tcp",
    "5432/tcp",
    "8080/tcp",
    "80-443/tcp",
    "1-1023/tcp",
    "5000-9000/tcp",
    "tcp",
    "all",
    "65535/tcp",
    "1024-65535/tcp",
    "53/udp",
];
const FROM: &[&str] = &[
    "internet",
    "containers",
    "admin",
    "lan",
    "near",
    "wide",
    "inner",
    "@office",
    "203.0.113.0/24",
    "198.51.100.7",
    "2001:db8:7::/48",
    "2001:db8::/32",
    "192.0.2.20",
];
const TO: &[&str] =
    &["203.0.113.10", "192.0.2.10", "2001:db8:1::10", "2001:db8:2::/64", "203.0.113.0/25"];

/// Zones that overlap, by addresses, interfaces and both.
const ZONES: &str = "[zone.admin]\naddresses = [\"198.51.100.0/24\", \"2001:db8:7::/64\", \"@office\"]\n\
     [zone.lan]\ninterfaces = [\"lan0\"]\n\
     [zone.near]\ninterfaces = [\"lan*\"]\naddresses = [\"192.0.2.0/24\"]\n\
     [zone.wide]\naddresses = [\"203.0.0.0/16\", \"172.16.0.0/12\", \"2001:db8:1::/48\"]\n\
     [set.office]\naddresses = [\"192.0.2.20\", \"2001:db8:2::20\"]\n";

/// What differs from host to host.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The defaults for what comes in, each as likely as it stands here often.
    pub inbound: &'static [&'static str],
    /// The container network that rules open.
    pub network: &'static str,
    /// The interface of the zone of containers.
    pub bridge: &'static str,
    /// The limit of rules that have one.
    pub limit: &'static str,
}

/// A policy, rule by rule.
#[derive(Clone)]
pub struct Written {
    setting: Setting,
    inbound: &'static str,
    rules: Vec<String>,
}

impl Written {
    /// Any policy; some contradict themselves, which the reader says.
    pub fn random(dice: &mut Dice, setting: Setting) -> Self {
        let inbound = setting.inbound[dice.below(setting.inbound.len())];
        let (allows, denies) = (1 + dice.below(5), dice.below(4));
        let kinds = (0..allows).map(|_| "allow").chain((0..denies).map(|_| "deny"));
        let rules = kinds.map(|kind| rule(dice, kind, inbound, setting)).collect();
        Self { setting, inbound, rules }
    }

    /// The same policy after somebody edited a rule or two.
    pub fn edited(&self, dice: &mut Dice) -> Self {
        let mut edited = self.clone();
        for _ in 0..=dice.below(2) {
            let kind = if dice.below(3) == 0 { "deny" } else { "allow" };
            let rule = rule(dice, kind, self.inbound, self.setting);
            let place = dice.below(edited.rules.len());
            match dice.below(3) {
                0 => edited.rules.insert(place, rule),
                1 if edited.rules.len() > 1 => drop(edited.rules.remove(place)),
                _ => edited.rules[place] = rule,
            }
        }
        edited
    }

    /// As a file.
    pub fn text(&self) -> String {
        let (inbound, bridge) = (self.inbound, self.setting.bridge);
        let rules = self.rules.concat();
        format!(
            "version = 1\n[default]\ninbound = \"{inbound}\"\nlog = false\n{ZONES}\
             [zone.inner]\ninterfaces = [\"{bridge}\"]\n{rules}"
        )
    }
}

fn rule(dice: &mut Dice, kind: &str, inbound: &str, setting: Setting) -> String {
    let mut text = format!("[[{kind}]]\nports = {}\n", dice.some_of(PORTS));
    if dice.below(4) > 0 {
        writeln!(text, "from = {}", dice.some_of(FROM)).unwrap();
    }
    match dice.below(6) {
        0 => writeln!(text, "to = {}", dice.some_of(TO)).unwrap(),
        1 if kind == "allow" => writeln!(text, "to = [\"container:{}\"]", setting.network).unwrap(),
        _ => {}
    }
    if kind == "allow" && inbound != "accept" && dice.below(4) == 0 {
        writeln!(text, "limit = \"{}\"", setting.limit).unwrap();
    }
    text
}
