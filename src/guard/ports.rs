//! The ports of sshd, and what `guard.keep` names, stay reachable from where they must.

use super::proof::{Found, Proof, comes_to, words};
use super::{Cause, Caution, Lost, What};
use crate::analyze::{Analyzer, Arrival, End, From, Reach, Told};
use crate::model::{Bind, IpFamily, PortRange, PortSpec, Protocol, ServedBy, ZoneRef};
use crate::observe::{SshSession, endpoints};
use crate::policy::{self, ReachVerdict, Source, Target};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// What must be reachable.
pub(super) struct Door<'a> {
    pub dialled: (Protocol, u16),
    /// The addresses that can be dialled; `Any` of the host's.
    pub bind: Bind,
    pub arrives: &'a dyn Fn(&End) -> bool,
}

/// Why it is not.
pub(super) struct Shut {
    pub from: String,
    pub witness: Option<String>,
    pub cause: Cause,
}

impl Proof<'_, '_> {
    pub(super) fn listener(
        &self,
        listener: SocketAddr,
        sessions: &[&SshSession],
        found: &mut Found,
    ) {
        let address = listener.ip().to_canonical();
        let Ok(range) = PortRange::single(listener.port()) else { return };
        // Somebody came in by it, and that was proved already.
        let used = |own: &&SshSession| {
            let local = own.local.ip().to_canonical();
            own.local.port() == listener.port() && (address == local || address.is_unspecified())
        };
        let others: Vec<&SshSession> = sessions.iter().filter(|own| !used(own)).copied().collect();
        if address.is_loopback()
            || (self.policy.guard.from.is_none() && others.is_empty() && !sessions.is_empty())
        {
            return;
        }
        let bind = match address {
            IpAddr::V4(own) if own.is_unspecified() => Bind::AnyIpv4,
            IpAddr::V6(own) if own.is_unspecified() => Bind::Any,
            own => Bind::Address(own),
        };
        let arrives = comes_to(listener.port());
        let door = Door { dialled: (Protocol::TCP, listener.port()), bind, arrives: &arrives };
        let Some(shut) = self.shut(&door, &others, found) else { return };
        let port = PortSpec::Ports(Protocol::TCP, range);
        let Shut { from, witness, cause } = shut;
        // It is a way in that stays as closed as it was, unless somebody says that it must be one.
        let neighbour = matches!(cause, Cause::Neighbour { .. });
        if neighbour && self.policy.guard.from.is_none() && self.is_shut_now(&door, &others) {
            found.caution(Caution::ClosedBefore { from, port, cause });
            return;
        }
        found.lost(Lost { what: What::Listener(listener), from, port, witness, cause });
    }

    /// Where `guard.keep` names a port that sshd listens on, that is one question.
    pub(super) fn keep(&self, port: PortSpec, sessions: &[&SshSession], found: &mut Found) {
        let PortSpec::Ports(protocol, range) = port else { return };
        let ssh: BTreeSet<u16> = self.snapshot.ssh.listeners.iter().map(SocketAddr::port).collect();
        let mut asked = BTreeSet::new();
        // The default names port 22. Where sshd listens elsewhere, or nothing listens, that is no
        // way in that could be lost.
        for endpoint in endpoints(self.snapshot) {
            let first = endpoint.ports.first().max(range.first());
            let loopback = matches!(endpoint.bind, Bind::Address(own) if own.is_loopback());
            let routed = matches!(endpoint.served_by, ServedBy::Routed { .. });
            let here = endpoint.protocol == protocol
                && first <= endpoint.ports.last().min(range.last())
                && !(protocol == Protocol::TCP && ssh.contains(&first));
            if !here || loopback || routed || !asked.insert((first, endpoint.bind)) {
                continue;
            }
            let arrives = |end: &End| end.fate.passes();
            let door = Door { dialled: (protocol, first), bind: endpoint.bind, arrives: &arrives };
            if let Some(Shut { from, witness, cause }) = self.shut(&door, sessions, found) {
                found.lost(Lost { what: What::Keep, from, port, witness, cause });
            }
        }
    }

    /// Whether a door is closed to those from whom it must stay open: `guard.from`, else the
    /// clients of the sessions in use, else the internet, of which some is enough.
    pub(super) fn shut(
        &self,
        door: &Door<'_>,
        sessions: &[&SshSession],
        found: &mut Found,
    ) -> Option<Shut> {
        if let Some(sources) = &self.policy.guard.from {
            // Whoever is named there must get in, all of them.
            return sources.iter().find_map(|source| {
                IpFamily::BOTH.into_iter().find_map(|own| self.to_all(door, source, own, found))
            });
        }
        if sessions.is_empty() {
            return IpFamily::BOTH.into_iter().find_map(|own| self.to_internet(door, own));
        }
        sessions.iter().find_map(|session| self.to_client(self.later, door, session))
    }

    fn is_shut_now(&self, door: &Door<'_>, sessions: &[&SshSession]) -> bool {
        if sessions.is_empty() {
            let internet = Source::Zone(ZoneRef::Internet);
            let closed = |family: IpFamily| {
                let ways = self.live.arrivals_of(self.policy, &internet, family);
                self.dialled(door, family).iter().all(|address| {
                    ways.iter().all(|way| {
                        let told = Self::fare(self.live, door, way, *address);
                        told.is_none_or(|told| told.summary.reach == Reach::Closed)
                    })
                })
            };
            return IpFamily::BOTH.into_iter().all(closed);
        }
        sessions.iter().all(|session| self.to_client(self.live, door, session).is_some())
    }

    /// The addresses of this IP version that can be dialled.
    fn dialled(&self, door: &Door<'_>, family: IpFamily) -> Vec<IpAddr> {
        match door.bind {
            Bind::Address(own) if IpFamily::of(own) == family => vec![own],
            Bind::AnyIpv4 if family == IpFamily::Ipv6 => Vec::new(),
            Bind::AnyIpv6 if family == IpFamily::Ipv4 => Vec::new(),
            Bind::Address(_) => Vec::new(),
            Bind::Any | Bind::AnyIpv4 | Bind::AnyIpv6 => self.later.own_addresses(family),
        }
    }

    fn fare(
        analyzer: &Analyzer<'_>,
        door: &Door<'_>,
        way: &Arrival,
        address: IpAddr,
    ) -> Option<Told> {
        let (protocol, port) = door.dialled;
        let source = way.first(IpFamily::of(address))?;
        let to = SocketAddr::new(address, port);
        let mut packet = Self::packet(&way.from, source, to, protocol);
        packet.sources.clone_from(&way.sources);
        Some(analyzer.fare(&packet, door.arrives))
    }

    fn to_all(
        &self,
        door: &Door<'_>,
        source: &Source,
        family: IpFamily,
        found: &mut Found,
    ) -> Option<Shut> {
        let dialled = self.dialled(door, family);
        let first = dialled.first()?;
        let ways = self.later.arrivals_of(self.policy, source, family);
        if ways.is_empty() {
            return self.by_policy(door, source, family, *first);
        }
        for way in &ways {
            let mut worst = None;
            let open = dialled.iter().any(|address| {
                let Some(told) = Self::fare(self.later, door, way, *address) else { return false };
                let reach = told.summary.reach;
                if reach == Reach::Limited {
                    let (protocol, port) = door.dialled;
                    let range = PortRange::single(port).unwrap_or(PortRange::ALL);
                    found.caution(Caution::Limited {
                        from: source.to_string(),
                        port: PortSpec::Ports(protocol, range),
                        rates: told.summary.depends_on.clone(),
                    });
                }
                worst.get_or_insert(told);
                matches!(reach, Reach::Open | Reach::Limited)
            });
            if let (false, Some(told)) = (open, worst) {
                return Some(self.shut_by(&told, &way.from, source.to_string(), door));
            }
        }
        None
    }

    /// Where nothing can come from a source to this host as it is, the policy's own word counts.
    fn by_policy(
        &self,
        door: &Door<'_>,
        source: &Source,
        family: IpFamily,
        dialled: IpAddr,
    ) -> Option<Shut> {
        let (protocol, port) = door.dialled;
        let target = Target { dialled: Some(dialled), ..Target::port(protocol, port) };
        let reach = self.judge.reach_source(source, family, &target)?;
        let shut = matches!(reach.verdict, ReachVerdict::Partial | ReachVerdict::Closed);
        let refused = reach.refused.as_ref().unwrap_or(&reach.witness);
        shut.then(|| Shut {
            from: source.to_string(),
            witness: Some(refused.address.to_string()),
            cause: match reach.by {
                policy::DecidedBy::Deny => Cause::Denied(reach.origins.clone()),
                policy::DecidedBy::Allow
                | policy::DecidedBy::Default
                | policy::DecidedBy::AlwaysPasses
                | policy::DecidedBy::LeftToEngine => Cause::NoRule,
            },
        })
    }

    fn to_internet(&self, door: &Door<'_>, family: IpFamily) -> Option<Shut> {
        let internet = Source::Zone(ZoneRef::Internet);
        let mut first = None;
        for way in self.later.arrivals_of(self.policy, &internet, family) {
            for address in self.dialled(door, family) {
                let Some(told) = Self::fare(self.later, door, &way, address) else { continue };
                if matches!(told.summary.reach, Reach::Open | Reach::Limited | Reach::Partial) {
                    return None;
                }
                first.get_or_insert((told, way.from.clone()));
            }
        }
        let (told, from) = first?;
        Some(self.shut_by(&told, &from, "internet".to_owned(), door))
    }

    fn to_client(
        &self,
        analyzer: &Analyzer<'_>,
        door: &Door<'_>,
        session: &SshSession,
    ) -> Option<Shut> {
        let source = session.remote.ip().to_canonical();
        let from = self.way(session)?;
        let came_to = session.dialled.unwrap_or(session.local).ip().to_canonical();
        let mut dialled = self.dialled(door, IpFamily::of(source));
        dialled.sort_by_key(|address| *address != came_to);
        let mut first = None;
        for address in dialled {
            let (protocol, port) = door.dialled;
            let packet = Self::packet(&from, source, SocketAddr::new(address, port), protocol);
            let told = analyzer.fare(&packet, door.arrives);
            if matches!(told.summary.reach, Reach::Open | Reach::Limited) {
                return None;
            }
            first.get_or_insert(told);
        }
        let told = first?;
        Some(self.shut_by(&told, &from, words(source, Some(&from)), door))
    }

    fn shut_by(&self, told: &Told, from: &From, source: String, door: &Door<'_>) -> Shut {
        let refused = told.summary.refused.or(told.summary.doubtful);
        let witness = refused.or(told.witness.as_ref().map(|own| own.source));
        let witness = witness.map(|address| address.to_string());
        let witness = witness.filter(|address| *address != source);
        Shut { from: source, witness, cause: self.cause(told, from, door.dialled) }
    }
}
