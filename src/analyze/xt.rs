//! Matches and targets of iptables.

use super::load::Scene;
use super::modules;
use super::packet::{ConnectionState, number};
use super::state::Tracking;
use super::step::{Change, Step, decided};
use super::value::{Truth, Value};
use crate::model::nft::{CtKey, Hook, MetaKey, NatKind, Operand, Selector, XtMatch};
use std::net::IpAddr;

/// Targets that change or report a packet and let it go on.
const PASSING: [&str; 21] = [
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNSECMARK",
    "CT",
    "DSCP",
    "ECN",
    "HL",
    "IDLETIMER",
    "LED",
    "LOG",
    "NFLOG",
    "RATEEST",
    "SECMARK",
    "SET",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TRACE",
    "TTL",
];
/// Whether the target lets every packet go on.
pub fn is_passing(name: &str) -> bool {
    PASSING.contains(&name) || name == "NOTRACK"
}

impl Scene<'_, '_> {
    fn number_of(&self, selector: Selector) -> Option<u32> {
        match self.load(&Operand::plain(selector)) {
            Value::Bits(bits) => bits.truncated(4).as_number(),
            Value::Absent => None,
        }
    }

    pub(super) fn xt_match<'p>(&self, name: &str, decoded: Option<&XtMatch>) -> Step<'p> {
        let truth = match decoded {
            None => Truth::Unknown,
            Some(decoded) => self.holds(name, decoded),
        };
        decided(truth, modules::unclear(name, decoded))
    }

    fn holds(&self, name: &str, decoded: &XtMatch) -> Truth {
        let fields = self.fields();
        let within = |port: Option<u16>, (low, high): (u16, u16)| match port {
            Some(port) => Truth::from((low..=high).contains(&port)),
            None if (low, high) == (0, u16::MAX) => Truth::Yes,
            None => Truth::Unknown,
        };
        match decoded {
            XtMatch::Comment { .. } => Truth::Yes,
            XtMatch::Conntrack { states, others, invert } => {
                self.conntrack(*states, others, *invert)
            }
            XtMatch::Ports {
                protocol,
                source,
                destination,
                invert_source,
                invert_destination,
                flags,
                invert_flags,
                option,
            } => {
                if *protocol != self.packet.protocol {
                    return Truth::No;
                }
                let flags = flags.map_or(Truth::Yes, |(mask, value)| {
                    Truth::from((self.packet.tcp_flags & mask == value) != *invert_flags)
                });
                let option = if option.is_some() { Truth::Unknown } else { Truth::Yes };
                all([
                    within(fields.source_port, *source).inverted(*invert_source),
                    within(fields.port, *destination).inverted(*invert_destination),
                    flags,
                    option,
                ])
            }
            XtMatch::Multiport { side, ranges, invert } => {
                let one = |port: Option<u16>| any(ranges.iter().map(|range| within(port, *range)));
                let truth = match side.as_str() {
                    "source" => one(fields.source_port),
                    "destination" => one(fields.port),
                    _ => any([one(fields.source_port), one(fields.port)]),
                };
                truth.inverted(*invert)
            }
            XtMatch::AddrType {
                source,
                destination,
                invert_source,
                invert_destination,
                limit_iif,
                limit_oif,
            } => {
                let interface = match (limit_iif, limit_oif) {
                    (true, _) => self.place.input,
                    (_, true) => self.place.output,
                    _ => None,
                };
                let kind = |mask: u16, address: Option<IpAddr>, local: bool| match (mask, address) {
                    (0, _) => Truth::Yes,
                    (mask, None) if local && interface.is_none() => Truth::from(mask & 1 << 2 != 0),
                    (_, None) => Truth::Unknown,
                    (mask, Some(address)) => {
                        let kind = self.host.address_type(address, interface);
                        Truth::from(u32::from(mask) & 1 << kind != 0)
                    }
                };
                let local = self.is_local_for_sure();
                all([
                    kind(*source, fields.source, false).inverted(*invert_source && *source != 0),
                    kind(*destination, fields.destination, local)
                        .inverted(*invert_destination && *destination != 0),
                ])
            }
            XtMatch::Mark { connection, mark, mask, invert } => {
                let own = if *connection {
                    if self.env.tracking != Tracking::Connection {
                        return Truth::No;
                    }
                    self.env.ct_mark
                } else {
                    self.env.mark
                };
                own.map_or(Truth::Unknown, |own| Truth::from(own & mask == *mark)).inverted(*invert)
            }
            XtMatch::Icmp { kind, codes, invert } => {
                let (own, code) = self.packet.icmp;
                let any = *kind == 0xff;
                Truth::from(any || (own == *kind && (codes.0..=codes.1).contains(&code)))
                    .inverted(*invert)
            }
            XtMatch::IpRange { source, destination, invert_source, invert_destination } => {
                let inside = |range: Option<(IpAddr, IpAddr)>, address: Option<IpAddr>, invert| {
                    let Some((low, high)) = range else { return Truth::Yes };
                    let Some(address) = address else { return Truth::Unknown };
                    let inside = (number(low)..=number(high)).contains(&number(address));
                    Truth::from(inside).inverted(invert)
                };
                all([
                    inside(*source, fields.source, *invert_source),
                    inside(*destination, fields.destination, *invert_destination),
                ])
            }
            XtMatch::PktType { kind, invert } => {
                match self.load(&Operand::plain(Selector::Meta(MetaKey::Pkttype))) {
                    Value::Bits(bits) => bits.equals(&[*kind]).inverted(*invert),
                    Value::Absent => Truth::Unknown,
                }
            }
            XtMatch::Other { options } => self.module(name, options),
            // The last four are targets, and no matches.
            XtMatch::Mac { .. }
            | XtMatch::Limit { .. }
            | XtMatch::Nat { .. }
            | XtMatch::SetMark { .. }
            | XtMatch::Reject { .. }
            | XtMatch::Log { .. } => Truth::Unknown,
        }
    }

    /// `xt_conntrack_mt()`. States are nft's bits, with 128 for SNAT and 256 for DNAT.
    fn conntrack(&self, states: Option<u16>, others: &[String], invert: bool) -> Truth {
        const SNAT: u32 = 128;
        const DNAT: u32 = 256;
        const STATUS_SNAT: u32 = 1 << 4;
        const STATUS_DNAT: u32 = 1 << 5;
        let tracked = self.env.tracking == Tracking::Connection;
        let new = self.packet.state == ConnectionState::New;
        let state = match states {
            None if !tracked => return Truth::No,
            None => Truth::Yes,
            Some(states) => {
                let states = u32::from(states);
                let selector = Selector::Ct { key: CtKey::State, direction: None };
                let Some(mut own) = self.number_of(selector) else { return Truth::Unknown };
                if tracked && new {
                    own |= if self.env.status & STATUS_SNAT != 0 { SNAT } else { 0 };
                    own |= if self.env.status & STATUS_DNAT != 0 { DNAT } else { 0 };
                }
                let asks_nat = tracked && !new && states & (SNAT | DNAT) != 0;
                let truth = Truth::from(own & states != 0);
                if asks_nat && truth == Truth::No { Truth::Unknown } else { truth }.inverted(invert)
            }
        };
        // Without a connection only the state is asked.
        if !tracked {
            return state;
        }
        let other = |option: &String| match option.split_once(' ') {
            Some(("ctdir", direction)) => Truth::from(direction == "ORIGINAL"),
            Some(("ctorigdstport", port)) if !port.contains(':') => {
                Truth::from(port.parse() == Ok(self.packet.port))
            }
            Some(("ctorigdst", prefix)) => prefix
                .parse::<crate::model::Prefix>()
                .map_or(Truth::Unknown, |own| Truth::from(own.contains(self.packet.destination))),
            _ => Truth::Unknown,
        };
        all(others.iter().map(other).chain([state]))
    }

    pub(super) fn xt_target<'p>(&self, name: &str, decoded: Option<&XtMatch>) -> Step<'p> {
        match decoded {
            Some(XtMatch::Nat { kind, addresses, ports, flags }) => {
                const NETMAP: u32 = 1 << 6;
                if flags & NETMAP != 0 || name == "NETMAP" {
                    let source = matches!(self.place.hook, Hook::Postrouting | Hook::Input);
                    let kind = if source { NatKind::Snat } else { NatKind::Dnat };
                    return self.netmap(kind, *addresses);
                }
                self.translated(*kind, *addresses, *ports)
            }
            Some(XtMatch::SetMark { connection, clear, xor, mode }) => {
                self.set_mark(*connection, *clear, *xor, mode)
            }
            Some(XtMatch::Reject { with }) => Step::Reject(*with),
            Some(XtMatch::Log { .. }) => Step::Pass,
            Some(XtMatch::Other { options })
                if options.iter().any(|option| option == "notrack") =>
            {
                self.notrack()
            }
            _ if name == "NOTRACK" => self.notrack(),
            Some(XtMatch::Other { options }) if name == "TPROXY" => self.xt_tproxy(options),
            _ if PASSING.contains(&name) => Step::Pass,
            _ => Step::Anything,
        }
    }

    /// `xt_mark_tg()`, `connmark_tg()`.
    fn set_mark<'p>(&self, connection: bool, clear: u32, xor: u32, mode: &str) -> Step<'p> {
        let (packet, own) = (self.env.mark, self.env.ct_mark);
        if connection && self.env.tracking != Tracking::Connection {
            return Step::Pass;
        }
        let write = |old: Option<u32>, turn: Option<u32>| match (old, turn) {
            (_, None) => None,
            (None, Some(_)) if clear != u32::MAX => None,
            (old, Some(turn)) => Some(old.unwrap_or(0) & !clear ^ turn),
        };
        Step::Change(match (connection, mode) {
            (false, _) => Change::Mark(write(packet, Some(xor))),
            (true, "set") => Change::CtMark(write(own, Some(xor))),
            (true, "save") => Change::CtMark(write(own, packet.map(|packet| packet & xor))),
            (true, _) => Change::Mark(write(packet, own.map(|own| own & xor))),
        })
    }
}

fn all(truths: impl IntoIterator<Item = Truth>) -> Truth {
    let mut result = Truth::Yes;
    for truth in truths {
        match truth {
            Truth::No => return Truth::No,
            Truth::Unknown => result = Truth::Unknown,
            Truth::Yes => {}
        }
    }
    result
}

fn any(truths: impl IntoIterator<Item = Truth>) -> Truth {
    all(truths.into_iter().map(|truth| truth.inverted(true))).inverted(true)
}
