//! What every proof starts from: the rulesets of now and later, and why a packet fares as it does.

use super::{Cause, Caution, Lost, mend};
use crate::analyze::{Analyzer, End, From, Packet, Reach, Told};
use crate::compile::Environment;
use crate::model::{IfaceName, Protocol};
use crate::observe::{Snapshot, SshSession};
use crate::policy::{Arrival, Connection, Decision, Judge, Policy, Target, decide};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// A host, and the rulesets that are compared.
pub(super) struct Proof<'a, 's> {
    pub policy: &'a Policy,
    pub snapshot: &'a Snapshot,
    /// As it is.
    pub live: &'a Analyzer<'s>,
    /// As it will be, to new connections.
    pub later: &'a Analyzer<'s>,
    /// As it will be, to connections that are open now.
    pub carrying: &'a Analyzer<'s>,
    pub judge: Judge<'a>,
    containers: BTreeSet<IfaceName>,
}

impl<'a, 's> Proof<'a, 's> {
    pub fn new(
        policy: &'a Policy,
        snapshot: &'a Snapshot,
        (live, later, carrying): (&'a Analyzer<'s>, &'a Analyzer<'s>, &'a Analyzer<'s>),
    ) -> Self {
        let environment = Environment::of_links(&snapshot.links, &snapshot.routes);
        let containers = environment.container_interfaces(snapshot);
        let judge = Judge::with_containers(policy, &containers);
        Self { policy, snapshot, live, later, carrying, judge, containers }
    }

    /// Everything that would be lost, and what else to know.
    pub fn all(&self) -> (Vec<Lost>, Vec<Caution>) {
        let mut found = Found::default();
        for session in &self.snapshot.ssh.sessions {
            self.session(session, &mut found);
        }
        let outside: Vec<&SshSession> =
            self.snapshot.ssh.sessions.iter().filter(|own| !self.is_from_host(own)).collect();
        for listener in &self.snapshot.ssh.listeners {
            self.listener(*listener, &outside, &mut found);
        }
        for port in &self.policy.guard.keep {
            self.keep(*port, &outside, &mut found);
        }
        for session in &outside {
            self.tunnel(session, &mut found);
        }
        self.mosh(&outside, &mut found);
        if self.snapshot.ssh.sessions.is_empty() && self.snapshot.ssh.listeners.is_empty() {
            found.caution(Caution::NoSsh);
        }
        (found.lost, found.cautions)
    }

    /// Whether the session comes from this host itself.
    pub fn is_from_host(&self, session: &SshSession) -> bool {
        let remote = session.remote.ip().to_canonical();
        remote.is_loopback() || self.later.way_of(remote) == Some(From::Host)
    }

    /// By which way packets of the session come.
    pub fn way(&self, session: &SshSession) -> Option<From> {
        let remote = session.remote.ip().to_canonical();
        let known = session.interface.as_ref().map(|own| self.later.port_of(own, remote));
        known.or_else(|| self.later.way_of(remote))
    }

    /// The first packet of a connection from one source.
    pub fn packet(from: &From, source: IpAddr, to: SocketAddr, protocol: Protocol) -> Packet {
        Packet::new(from.clone(), source, to.ip().to_canonical(), protocol, to.port())
    }

    /// Why the sources of an answer do not all get through.
    pub fn cause(&self, told: &Told, from: &From, dialled: (Protocol, u16)) -> Cause {
        if told.summary.reach == Reach::Unknown {
            return Cause::Unclear(told.summary.depends_on.clone());
        }
        match &told.refused_by {
            Some(rule) if !rule.is_ours() => Cause::Neighbour {
                manager: mend::manager(rule, &self.snapshot.host.managers),
                rule: rule.clone(),
            },
            Some(_) => {
                let source = told.summary.refused.or(told.witness.as_ref().map(|own| own.source));
                source.map_or(Cause::NoRule, |source| {
                    self.policy_cause(from, source, told.address, dialled)
                })
            }
            None => Cause::Host(told.path.clone()),
        }
    }

    /// What in the policy keeps a source out.
    fn policy_cause(
        &self,
        from: &From,
        source: IpAddr,
        dialled: IpAddr,
        (protocol, port): (Protocol, u16),
    ) -> Cause {
        let arrivals = match from {
            From::Host => vec![Arrival::Host],
            From::Interface(name) if self.containers.contains(name) => {
                vec![Arrival::Container(name.clone())]
            }
            From::Interface(name) => {
                let names = std::iter::once(name).chain(self.later.vrf_of(name));
                names.cloned().map(Arrival::Interface).collect()
            }
        };
        let target = Target { dialled: Some(dialled), ..Target::port(protocol, port) };
        let denied = arrivals.into_iter().find_map(|arrival| {
            match decide(self.policy, &Connection { arrival, source, target: target.clone() }) {
                Decision::Deny(origins) => Some(Cause::Denied(origins)),
                Decision::AlwaysPasses
                | Decision::LeftToEngine
                | Decision::Allow(_)
                | Decision::Limited(_)
                | Decision::Default(_)
                | Decision::NoRoute => None,
            }
        });
        denied.unwrap_or(Cause::NoRule)
    }
}

/// What was found, each once.
#[derive(Default)]
pub(super) struct Found {
    lost: Vec<Lost>,
    cautions: Vec<Caution>,
}

impl Found {
    pub fn lost(&mut self, lost: Lost) {
        if !self.lost.contains(&lost) {
            self.lost.push(lost);
        }
    }

    pub fn caution(&mut self, caution: Caution) {
        if !self.cautions.contains(&caution) {
            self.cautions.push(caution);
        }
    }
}

/// Whether packets that end so come to a socket of the host on this port.
pub(super) fn comes_to(port: u16) -> impl Fn(&End) -> bool {
    move |end| end.fate == crate::analyze::Fate::Delivered && end.state.env.port == Some(port)
}

/// An address in the policy's words; one of a link with its link.
pub(super) fn words(source: IpAddr, from: Option<&From>) -> String {
    match (source, from) {
        (IpAddr::V6(own), Some(From::Interface(name))) if own.is_unicast_link_local() => {
            format!("{own}%{name}")
        }
        _ => source.to_string(),
    }
}
