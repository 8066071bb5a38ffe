//! Every SSH session of the host could be opened anew, and every port of sshd dialled.

use super::Refusal;
use crate::compile::Environment;
use crate::model::{IfaceName, IpFamily, PortRange, PortSpec, ZoneRef};
use crate::observe::{Snapshot, SshSession};
use crate::policy::{
    Arrival, Connection, Decision, Judge, Origin, Policy, Reach, ReachVerdict, Source, Target,
    decide,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// What would be lost.
pub(super) fn refusals(policy: &Policy, snapshot: &Snapshot) -> Vec<Refusal> {
    let containers = Environment::of(snapshot).container_interfaces(snapshot);
    let guard = Guard { policy, judge: Judge::with_containers(policy, &containers), containers };
    let mut refusals: Vec<Refusal> = Vec::new();
    let mut add = |refusal: Refusal| {
        if !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    };
    let outside: Vec<&SshSession> = snapshot
        .ssh
        .sessions
        .iter()
        .filter(|session| !session.remote.ip().to_canonical().is_loopback())
        .collect();
    for session in &outside {
        guard.session(session).into_iter().for_each(&mut add);
    }
    for listener in &snapshot.ssh.listeners {
        guard.listener(*listener, &outside).into_iter().for_each(&mut add);
    }
    for port in &policy.guard.keep {
        guard.keep(*port, snapshot, &outside).into_iter().for_each(&mut add);
    }
    refusals
}

struct Guard<'p> {
    policy: &'p Policy,
    judge: Judge<'p>,
    containers: BTreeSet<IfaceName>,
}

/// A way in that is closed.
struct Closed {
    from: String,
    witness: Option<IpAddr>,
    denied_by: Vec<Origin>,
}

impl Guard<'_> {
    fn session(&self, session: &SshSession) -> Option<Refusal> {
        let closed = self.closed_to_client(session, session.local)?;
        Some(Refusal::Session {
            remote: session.remote,
            local: session.local,
            own: session.own,
            user: session.user.clone(),
            denied_by: closed.denied_by,
        })
    }

    /// Whether the client of a session could dial this address and port.
    fn closed_to_client(&self, session: &SshSession, to: SocketAddr) -> Option<Closed> {
        let source = session.remote.ip().to_canonical();
        let arrival = match &session.interface {
            Some(name) if self.containers.contains(name) => Arrival::Container(name.clone()),
            Some(name) => Arrival::Interface(name.clone()),
            // By an interface that no zone names: a zone by interface then does not let it in,
            // which errs on the side of asking.
            None => Arrival::Interface("unknown".parse().expect("is an interface name")),
        };
        let target = Target {
            dialled: (!to.ip().is_unspecified()).then(|| to.ip().to_canonical()),
            ..Target::port(crate::model::Protocol::TCP, to.port())
        };
        let decision = decide(self.policy, &Connection { arrival, source, target });
        if decision.passes() {
            return None;
        }
        let denied_by = match decision {
            Decision::Deny(origins) => origins,
            _ => Vec::new(),
        };
        Some(Closed { from: source.to_string(), witness: None, denied_by })
    }

    fn listener(&self, listener: SocketAddr, sessions: &[&SshSession]) -> Option<Refusal> {
        if listener.ip().to_canonical().is_loopback() {
            return None;
        }
        let port = PortRange::single(listener.port()).ok()?;
        let spec = PortSpec::Ports(crate::model::Protocol::TCP, port);
        let closed = self.port(spec, Some(listener), sessions)?;
        let Closed { from, witness, denied_by } = closed;
        Some(Refusal::Listener { listener, from, witness, denied_by })
    }

    /// `guard.keep` names ports; where it names one that sshd listens on, that is one question.
    fn keep(
        &self,
        port: PortSpec,
        snapshot: &Snapshot,
        sessions: &[&SshSession],
    ) -> Option<Refusal> {
        let PortSpec::Ports(_, range) = port else { return None };
        let mut listeners = snapshot.ssh.listeners.iter();
        if listeners.any(|listener| range.contains(listener.port())) {
            return None;
        }
        // The default names port 22. Where sshd listens elsewhere, or nothing listens, that is no
        // way in that could be lost.
        let listening = snapshot.sockets.iter().any(|socket| {
            socket.namespace.is_none()
                && socket.state == crate::observe::SocketState::Listening
                && range.contains(socket.local.port())
        });
        if !listening {
            return None;
        }
        let Closed { from, witness, denied_by } = self.port(port, None, sessions)?;
        Some(Refusal::Keep { port, from, witness, denied_by })
    }

    /// Whether a port is closed to those from whom it must stay reachable: `guard.from`, else the
    /// clients of the sessions in use, else the internet.
    fn port(
        &self,
        port: PortSpec,
        listener: Option<SocketAddr>,
        sessions: &[&SshSession],
    ) -> Option<Closed> {
        let PortSpec::Ports(protocol, range) = port else { return None };
        let address = listener.map(|listener| listener.ip().to_canonical());
        let dialled = address.filter(|address| !address.is_unspecified());
        let target = Target { dialled, ..Target::port(protocol, range.first()) };
        let families: Vec<IpFamily> = match address {
            Some(address) if !(address.is_unspecified() && address.is_ipv6()) => {
                vec![IpFamily::of(address)]
            }
            _ => IpFamily::BOTH.to_vec(),
        };
        if let Some(sources) = &self.policy.guard.from {
            // Whoever is named there must get in, all of them.
            let whole = [ReachVerdict::Partial, ReachVerdict::Closed];
            return sources
                .iter()
                .find_map(|source| self.closed_to(source, &families, &target, &whole));
        }
        let matching: Vec<&&SshSession> = sessions
            .iter()
            .filter(|session| families.contains(&IpFamily::of(session.remote.ip().to_canonical())))
            .collect();
        if sessions.is_empty() {
            let internet = Source::Zone(ZoneRef::Internet);
            return self.closed_to(&internet, &families, &target, &[ReachVerdict::Closed]);
        }
        let to = |session: &SshSession| {
            SocketAddr::new(dialled.unwrap_or(session.local.ip()), range.first())
        };
        matching.iter().find_map(|session| self.closed_to_client(session, to(session)))
    }

    /// An IP version of the source for which the answer is one of these.
    fn closed_to(
        &self,
        source: &Source,
        families: &[IpFamily],
        target: &Target,
        refused: &[ReachVerdict],
    ) -> Option<Closed> {
        let answers: Vec<Reach> = families
            .iter()
            .filter_map(|family| self.judge.reach_source(source, *family, target))
            .collect();
        let closed = answers.iter().find(|reach| refused.contains(&reach.verdict))?;
        let witness = closed.refused.as_ref().unwrap_or(&closed.witness);
        let denied_by = match closed.by {
            crate::policy::DecidedBy::Deny => closed.origins.clone(),
            _ => Vec::new(),
        };
        Some(Closed { from: words(source), witness: Some(witness.address), denied_by })
    }
}

/// A source as a policy writes it.
fn words(source: &Source) -> String {
    use crate::policy::AddressRef;
    match source {
        Source::Zone(zone) => zone.to_string(),
        Source::Addresses(AddressRef::Prefix(prefix)) => prefix.to_string(),
        Source::Addresses(AddressRef::Set(name)) => format!("@{name}"),
    }
}
