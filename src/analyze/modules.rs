//! Matches of iptables whose options are read as text: what a packet alone tells of them.
//!
//! In: a module's name and its options. Out: whether it matches, or that it cannot be told; and
//! whether what is not told is one fact, wherever it is asked, or may be otherwise each time.

use super::load::Scene;
use super::lookup::{Flow, Looked};
use super::packet::ConnectionState;
use super::step::Unclear;
use super::value::Truth;
use crate::model::Protocol;
use crate::model::nft::{Hook, XtMatch};
use crate::observe::LinkKind;
use std::net::IpAddr;

/// Modules that count: the first packets are within the bound.
const COUNTING: [&str; 3] = ["limit", "hashlimit", "connlimit"];

/// Modules about what no rule changes on the packet's way, so that two tests of the same words have
/// the same answer.
const FACTS: [&str; 11] = [
    "cgroup", "devgroup", "eui64", "length", "mac", "osf", "owner", "policy", "realm", "time",
    "tcpmss",
];

/// What an undecided test of a module is.
pub fn unclear(name: &str, decoded: Option<&XtMatch>) -> Unclear {
    let options: &[String] = match decoded {
        Some(XtMatch::Other { options }) => options,
        _ => &[],
    };
    if COUNTING.contains(&name) || (name == "recent" && counts_hits(options)) {
        Unclear::Rate
    } else if decoded.is_some() && FACTS.contains(&name) {
        Unclear::Fact
    } else {
        Unclear::Chance
    }
}

/// Whether `recent` matches from the second hit of a source on: a rate like any other.
fn counts_hits(options: &[String]) -> bool {
    let hits = options.iter().find_map(|option| option.strip_prefix("hitcount "));
    hits.and_then(|hits| hits.parse::<u32>().ok()).is_some_and(|hits| hits > 1)
}

/// Whether the module's answer follows from the packet, the rules and the host, for every packet
/// that opens a connection from outside.
pub fn is_exact(name: &str, options: &[String]) -> bool {
    const EXACT: [&str; 16] = [
        "owner", "cgroup", "helper", "frag", "rt", "hbh", "dst", "rpfilter", "physdev",
        // What a client chooses freely, and so no unknown of the host's.
        "length", "tcpmss", "ttl", "hl", "dscp", "tos", "ecn",
    ];
    let sets = |word: &str| options.first().is_some_and(|first| first == word);
    let named_set = name == "set" && super::ipset::parsed(options).is_some();
    named_set || EXACT.contains(&name) || (name == "recent" && (sets("set") || sets("! set")))
}

/// Whether a test in words is about everything but what it names.
fn inverted(option: &str) -> bool {
    option.starts_with("! ")
}

impl Scene<'_, '_> {
    /// Whether a module matches whose options are text.
    pub(super) fn module(&self, name: &str, options: &[String]) -> Truth {
        let new = self.packet.state == ConnectionState::New;
        let first = options.first().map_or("", String::as_str);
        let protocol = self.packet.protocol;
        match name {
            // Puts the source on the list, and matches.
            "recent" if first == "set" => Truth::Yes,
            "recent" if first == "! set" => Truth::No,
            // What comes from outside has no socket yet: only what is excluded holds
            // (`owner_mt()`, `cgroup_mt_v2()`).
            "owner" if !self.is_own() && new => options.iter().all(|own| inverted(own)).into(),
            "cgroup" if !self.is_own() && new => Truth::No,
            // No connection has just been opened with a helper, or labels, unless rules set them.
            "helper" if new => inverted(first).into(),
            "connlabel" if new && !self.env.ct_changed && options.len() == 1 => {
                inverted(first).into()
            }
            // Packets have no extension headers here.
            "frag" | "rt" | "hbh" | "dst" => Truth::No,
            "mh" if protocol != Protocol(135) => Truth::No,
            "esp" if protocol != Protocol(50) => Truth::No,
            "ah" if protocol != Protocol(51) => Truth::No,
            "tcpmss" | "osf" if protocol != Protocol::TCP => Truth::No,
            "socket" if !self.may_have_socket() => Truth::No,
            "set" => self.ipset(options),
            "rpfilter" => self.reverse_path(options),
            "physdev" => self.bridge_port(options),
            _ => Truth::Unknown,
        }
    }

    /// `rpfilter_mt()`: whether the answer would leave by the interface by which the packet came.
    fn reverse_path(&self, options: &[String]) -> Truth {
        let has = |word: &str| options.iter().any(|own| own == word);
        let invert = has("invert");
        let Some(input) = self.place.input else { return Truth::Unknown };
        if self.host.link(input).is_some_and(|link| link.kind == LinkKind::Loopback) {
            return Truth::from(!invert);
        }
        let fields = self.fields();
        let (Some(source), Some(destination)) = (fields.source, fields.destination) else {
            return Truth::Unknown;
        };
        if self.is_in_vrf() {
            return Truth::Unknown;
        }
        let unroutable = match source {
            IpAddr::V4(source) => source.octets()[0] == 0 && !is_unicast(destination),
            IpAddr::V6(source) => source.is_unspecified(),
        };
        if unroutable {
            return Truth::from(!invert);
        }
        let flow = Flow {
            to: source,
            from: destination,
            input: self.host.loopback().map(|link| &link.name),
            vrf: None,
            mark: if has("validmark") { self.env.mark } else { Some(0) },
        };
        let route = match self.host.looked_up(&flow) {
            Err(_) => return Truth::Unknown,
            Ok(Looked::Route(route)) => route,
            Ok(Looked::Nothing | Looked::Forbidden) => return Truth::from(invert),
        };
        let fits = match route.kind.as_str() {
            "unicast" => has("loose") || self.host.interfaces(route).any(|own| own == input),
            "local" => {
                has("accept-local") && (has("loose") || route.interface.as_ref() == Some(input))
            }
            _ => false,
        };
        Truth::from(fits != invert)
    }

    /// `physdev_mt()`: only what came through a bridge that calls iptables has bridge ports.
    fn bridge_port(&self, options: &[String]) -> Truth {
        let bridged = |name| self.host.bridges_translated(name, self.packet.family());
        let from_bridge = self.place.input.is_some_and(bridged);
        if from_bridge || !matches!(self.place.hook, Hook::Prerouting | Hook::Input | Hook::Forward)
        {
            return Truth::Unknown;
        }
        options.iter().all(|own| inverted(own)).into()
    }
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_broadcast() && !address.is_multicast(),
        IpAddr::V6(address) => !address.is_multicast(),
    }
}
