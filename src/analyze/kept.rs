//! Answers that hold for all dialled addresses and ports of one class, each found once.
//!
//! In: an endpoint and the ways in. Out: what is told of each of its addresses. Nothing here changes
//! an answer but the address that it names.

use super::alike::Class;
use super::asked::{Asked, Told};
use super::packet::Packet;
use super::{Analyzer, Answer, Arrival};
use crate::model::{Bind, Endpoint, IfaceName, IpFamily, Protocol, ServedBy};
use foldhash::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

/// So many answers about one port are kept at most.
const MOST: usize = 1_024;

/// What was answered about the port that was asked about last: a socket of the host, and what an
/// engine publishes there, are two endpoints of the same packets.
#[derive(Debug, Default)]
pub(super) struct Latest {
    dialled: Option<(Protocol, u16)>,
    answers: HashMap<Packet, Rc<Answer>>,
}

/// Answers by what decides about them.
pub(super) type Known = HashMap<Question, Answered>;

/// What of a question decides about its answer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// Where the ways in are in memory, and how many; they outlive the answers.
    ways: (usize, usize),
    who: Who,
    protocol: Protocol,
    address: Class,
    port: Class,
}

/// Who is to be reached.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Who {
    /// Whoever listens there.
    Anyone,
    /// A socket of the host, at one port.
    Socket(Bind, Option<IfaceName>),
    /// The endpoint at hand.
    This,
}

/// An answer, and for which dialled address and port it was found.
#[derive(Debug)]
pub(super) struct Answered {
    told: Option<Rc<Told>>,
    address: IpAddr,
    port: u16,
    /// Whether it may name the address or the port that was dialled.
    names: Names,
}

/// Whether something dialled may stand in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub address: bool,
    pub port: bool,
}

impl Analyzer<'_> {
    /// Where a packet arrives, as [`Analyzer::ask`] says, found once while one port is asked about.
    pub(super) fn ask_again(&self, packet: &Packet) -> Rc<Answer> {
        let dialled = Some((packet.protocol, packet.port));
        let mut latest = self.latest.borrow_mut();
        if latest.dialled != dialled || latest.answers.len() >= MOST {
            *latest = Latest { dialled, answers: HashMap::default() };
        }
        if let Some(known) = latest.answers.get(packet) {
            return Rc::clone(known);
        }
        let answer = Rc::new(self.ask(packet));
        latest.answers.insert(packet.clone(), Rc::clone(&answer));
        answer
    }

    /// Of addresses that nothing tells apart where this is dialled the first: at another one it
    /// fares as there.
    pub fn apart(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
        dialled: (Protocol, u16),
    ) -> Vec<IpAddr> {
        let mut seen = HashSet::default();
        let addresses = addresses.into_iter();
        addresses.filter(|own| seen.insert(self.class_of_address(*own, dialled))).collect()
    }
}

impl Asked<'_, '_> {
    /// What is told of each address that can be dialled for an endpoint.
    pub fn told_of_each(
        &self,
        endpoint: &Endpoint,
        listener: Option<&Endpoint>,
        ways: &[Arrival],
        family: IpFamily,
    ) -> Vec<(IpAddr, Rc<Told>)> {
        let (mut own, mut shared) = (Known::default(), self.known.borrow_mut());
        let dialled = self.dialled(endpoint, family).into_iter();
        let port = endpoint.ports.first();
        let each = dialled.filter_map(|address| {
            let who = who(endpoint, listener);
            let known = if who == Who::This { &mut own } else { &mut *shared };
            let question = Question {
                ways: (ways.as_ptr().addr(), ways.len()),
                who,
                protocol: endpoint.protocol,
                address: self.analyzer.class_of_address(address, (endpoint.protocol, port)),
                port: self.analyzer.class_of_port(port),
            };
            let holds = |own: &&Answered| {
                (own.address == address || !own.names.address)
                    && (own.port == port || !own.names.port)
            };
            if let Some(known) = known.get(&question).filter(holds) {
                return Some((address, Rc::clone(known.told.as_ref()?)));
            }
            let (told, names) = self.told(endpoint, listener, ways, address);
            let told = told.map(Rc::new);
            known.insert(question, Answered { told: told.clone(), address, port, names });
            Some((address, told?))
        });
        each.collect()
    }
}

fn who(endpoint: &Endpoint, listener: Option<&Endpoint>) -> Who {
    match listener.map(|own| &own.served_by) {
        None if endpoint.device.is_none() => Who::Anyone,
        Some(ServedBy::HostSocket) if endpoint.ports.first() == endpoint.ports.last() => {
            Who::Socket(endpoint.bind, endpoint.device.clone())
        }
        None
        | Some(
            ServedBy::HostSocket
            | ServedBy::Proxy
            | ServedBy::Published { .. }
            | ServedBy::Routed { .. },
        ) => Who::This,
    }
}
