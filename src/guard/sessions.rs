//! Every live SSH session goes on, and could be opened anew from its own source.

use super::proof::{Found, Proof, comes_to, words};
use super::{Cause, Caution, Lost, What};
use crate::analyze::{ConnectionState, Fate, From, Packet, Reach};
use crate::model::prefix::joined;
use crate::model::{IpFamily, PortRange, PortSpec, Prefix, Protocol};
use crate::observe::{ConntrackPresence, SshSession};
use std::net::IpAddr;

/// ACK and PSH (RFC 9293).
const DATA: u8 = 0x18;

impl Proof<'_, '_> {
    pub(super) fn session(&self, session: &SshSession, found: &mut Found) {
        let source = session.remote.ip().to_canonical();
        // Where something redirects to sshd, the port that the client dialled counts.
        let dialled = session.dialled.unwrap_or(session.local);
        let Ok(range) = PortRange::single(dialled.port()) else { return };
        let port = PortSpec::Ports(Protocol::TCP, range);
        let lost = |cause: Cause, from: Option<&From>| Lost {
            what: What::Session {
                remote: session.remote,
                dialled,
                own: session.own,
                user: session.user.clone(),
            },
            from: words(source, from),
            port,
            witness: Some(source.to_string()),
            cause,
        };
        if self.is_from_host(session) {
            found.lost(lost(Cause::FromTheHost, None));
            return;
        }
        let Some(from) = self.way(session) else {
            let by = format!("the interface by which {source} comes");
            found.lost(lost(Cause::Unclear(vec![by]), None));
            return;
        };
        let packet = Self::packet(&from, source, dialled, Protocol::TCP);
        let told = self.later.fare(&packet, &comes_to(session.local.port()));
        match told.summary.reach {
            Reach::Open => {}
            Reach::Limited => found.caution(Caution::Limited {
                from: source.to_string(),
                port,
                rates: told.summary.depends_on.clone(),
            }),
            Reach::Partial | Reach::Closed | Reach::Unknown => {
                let cause = self.cause(&told, &from, (Protocol::TCP, dialled.port()));
                found.lost(lost(cause, Some(&from)));
                return;
            }
        }
        self.one_address(&packet, source, port, found);
        self.goes_on(session, &packet, found);
    }

    /// Whether only this one address is let in, or the network of one IPv6 host.
    fn one_address(&self, packet: &Packet, source: IpAddr, port: PortSpec, found: &mut Found) {
        let (own, whole) = match source {
            IpAddr::V4(own) => (u128::from(own.to_bits()), 32),
            IpAddr::V6(own) if own.is_unicast_link_local() => return,
            IpAddr::V6(own) => (own.to_bits(), 128),
        };
        let highest = if source.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
        let all = Packet { sources: vec![(0, highest)], ..packet.clone() };
        let answer = self.later.ask(&all);
        let mut spans: Vec<(u128, u128)> = Vec::new();
        for end in answer.ends.iter().filter(|end| end.fate.passes()) {
            spans.extend(end.state.sources.spans().iter().map(|span| (span.first, span.last)));
        }
        spans.sort_unstable();
        let mut around = joined(spans.into_iter()).into_iter();
        let (first, last) =
            around.find(|(first, last)| (*first..=*last).contains(&own)).unwrap_or((own, own));
        // Privacy addresses of IPv6 change by the day (RFC 8981).
        let small = match IpFamily::of(source) {
            IpFamily::Ipv4 => last == first,
            IpFamily::Ipv6 => last - first < u128::from(u64::MAX),
        };
        let bits = 128 - (last - first).leading_zeros();
        let length = whole - u8::try_from(bits).unwrap_or(whole);
        if small && let Some(within) = Prefix::around(source, length) {
            found.caution(Caution::OneAddress { source, within, port });
        }
    }

    /// Whether what the client sends next still comes to sshd.
    fn goes_on(&self, session: &SshSession, opening: &Packet, found: &mut Found) {
        let tracked = session.dialled.is_some()
            || self.snapshot.host.conntrack == ConntrackPresence::Tracking;
        let packet = Packet {
            source_port: session.remote.port(),
            tcp_flags: DATA,
            // To the first rule that asks, what nothing has tracked yet looks new.
            state: if tracked { ConnectionState::Established } else { ConnectionState::New },
            ..opening.clone()
        };
        let told = self.carrying.fare(&packet, &|end| end.fate == Fate::Delivered);
        if told.summary.reach != Reach::Open {
            let cause = self.cause(&told, &packet.from, (Protocol::TCP, packet.port));
            found.lost(Lost {
                what: What::Running { remote: session.remote, own: session.own },
                from: words(session.remote.ip().to_canonical(), Some(&packet.from)),
                port: PortSpec::Ports(
                    Protocol::TCP,
                    PortRange::single(packet.port).unwrap_or(PortRange::ALL),
                ),
                witness: None,
                cause,
            });
        }
    }
}
