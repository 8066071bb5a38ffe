//! Dialled addresses and ports that nothing tells apart, so that one answer holds for all of them.
//!
//! In: every rule, route, socket and handler of a host. Out: a class for an address, and one for a
//! port: whoever dials another one of the same classes fares the same, by the same rules, and only
//! the address and port that nothing rewrote are others. What is not surely alike is in a class of
//! its own: too many classes cost time, a missing one would make an answer wrong.

mod gather;
mod xt;

use super::Analyzer;
use super::gate::{Field, Gate};
use super::packet::number;
use super::program::Program;
use super::sets::{Found, find};
use super::value::Bits;
use super::ways::To;
use crate::model::{IfaceName, Protocol};
use crate::observe::{Handler, Snapshot, Socket, SocketState};
use foldhash::{HashMap, HashSet};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A class of addresses, or of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(usize);

/// What may tell dialled addresses and ports apart, and the classes that were asked for.
#[derive(Debug)]
pub struct Alike {
    /// Of IPv4 and of IPv6.
    addresses: [Addresses; 2],
    ports: Tests,
    /// Addresses for which sockets, services or programs beside all rules are.
    named: HashSet<IpAddr>,
    classes: RefCell<Classes>,
}

/// What is asked of destinations of one IP version.
#[derive(Debug, Default)]
struct Addresses {
    tests: Tests,
    /// The packets of which rules ask for the addresses of one interface.
    by_interface: Vec<Gate>,
    /// Whether rules give a packet another port, and leave it its destination.
    moves_ports: bool,
    /// Whether rules redirect to the host's own addresses.
    redirects: bool,
}

/// A table, and a set of it.
type SetId = (usize, usize);

/// What is asked of one field of packets.
#[derive(Debug, Default)]
struct Tests {
    /// Whether each value may fare otherwise.
    anyhow: bool,
    /// Whether it is in these; sorted.
    ranges: Vec<(u128, u128)>,
    /// What these sets hold for it.
    lookups: Vec<Lookup>,
    /// In which piece it is, where sets hold it beside other fields: where each begins, by the set
    /// and the place of the field.
    pieces: BTreeMap<(SetId, usize), Vec<u128>>,
}

/// A set or map whose only field it is.
#[derive(Debug, PartialEq, Eq)]
struct Lookup {
    set: SetId,
    /// So many bytes of it are looked up, and so many leading bits are left of them.
    bytes: usize,
    bits: usize,
}

#[derive(Debug, Default)]
struct Classes {
    /// By whether rules ask on which interface it is.
    addresses: HashMap<(IpAddr, bool), Class>,
    ports: HashMap<u16, Class>,
    of_addresses: HashMap<OfAddress, Class>,
    of_ports: HashMap<OfPort, Class>,
}

/// All that may make an address fare otherwise than another.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfAddress {
    to: To,
    /// `RTN_*`.
    kind: u32,
    /// On which interfaces it is, where that is asked.
    on: Vec<IfaceName>,
    /// Itself, where nothing else is surely the same.
    alone: Option<IpAddr>,
    said: Vec<usize>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfPort {
    alone: Option<u16>,
    said: Vec<usize>,
}

impl Addresses {
    /// Whether a rule that may concern what is dialled asks for the addresses of one interface. It
    /// sees the port that was dialled, or a destination that was not.
    fn asks_for_interfaces(&self, (protocol, port): (Protocol, u16)) -> bool {
        let mut about = Gate::ANY;
        about.narrow(Field::Protocol, protocol.0.into(), protocol.0.into());
        about.narrow(Field::Port, port.into(), port.into());
        self.by_interface.iter().any(|gate| self.moves_ports || gate.meets(&about))
    }
}

impl Tests {
    fn settle(&mut self) {
        self.ranges.sort_unstable();
        self.ranges.dedup();
        for firsts in self.pieces.values_mut() {
            firsts.sort_unstable();
            firsts.dedup();
        }
    }

    /// What all tests say of a value of so many bytes.
    fn say(&self, program: &Program<'_>, value: u128, width: usize) -> Vec<usize> {
        let ranges = self.ranges.iter().take_while(|(first, _)| *first <= value).enumerate();
        let held = ranges.filter_map(|(at, (_, last))| (value <= *last).then_some(at));
        let mut said: Vec<usize> = held.collect();
        said.push(usize::MAX);
        said.extend(self.lookups.iter().map(|own| own.says(program, value, width)));
        said.extend(self.pieces.values().map(|own| own.partition_point(|first| *first <= value)));
        said
    }
}

impl Lookup {
    fn says(&self, program: &Program<'_>, value: u128, width: usize) -> usize {
        let free = width * 8 - self.bits;
        let kept = if free >= 128 { 0 } else { value >> free << free };
        let bytes = &kept.to_be_bytes()[16 - width..][..self.bytes];
        match find(&program.tables[self.set.0].sets[self.set.1], &[Bits::known(bytes)]) {
            Found::Nothing => 0,
            Found::Unknown => 1,
            Found::Element(own) if own.data.is_none() && own.statements.is_empty() => 2,
            Found::Element(own) => std::ptr::from_ref(own).addr(),
        }
    }
}

impl Analyzer<'_> {
    /// The class of an address at which this is dialled.
    pub(super) fn class_of_address(&self, address: IpAddr, dialled: (Protocol, u16)) -> Class {
        let alike = self.alike();
        let own = &alike.addresses[usize::from(address.is_ipv6())];
        let by_interface = own.asks_for_interfaces(dialled);
        if let Some(known) = alike.classes.borrow().addresses.get(&(address, by_interface)) {
            return *known;
        }
        let host = &self.host;
        let mut on: Vec<IfaceName> = Vec::new();
        if by_interface {
            on.extend(host.route(address).and_then(|route| route.interface.clone()));
            let links = self.snapshot.links.iter();
            let holds = links.filter(|link| link.addresses.iter().any(|at| at.address == address));
            on.extend(holds.map(|link| link.name.clone()));
        }
        let alone = own.tests.anyhow
            || own.redirects && host.is_own(address)
            || alike.named.contains(&address);
        let signature = OfAddress {
            to: self.to(address, Some(0)),
            kind: host.address_type(address, None),
            on,
            alone: alone.then_some(address),
            said: own.tests.say(&self.program, number(address), width(address)),
        };
        let mut classes = alike.classes.borrow_mut();
        let next = Class(classes.of_addresses.len());
        let class = *classes.of_addresses.entry(signature).or_insert(next);
        classes.addresses.insert((address, by_interface), class);
        class
    }

    /// The class of a port that is dialled, whichever the protocol.
    pub(super) fn class_of_port(&self, port: u16) -> Class {
        let alike = self.alike();
        if let Some(known) = alike.classes.borrow().ports.get(&port) {
            return *known;
        }
        let signature = OfPort {
            alone: alike.ports.anyhow.then_some(port),
            said: alike.ports.say(&self.program, port.into(), 2),
        };
        let mut classes = alike.classes.borrow_mut();
        let next = Class(classes.of_ports.len());
        let class = *classes.of_ports.entry(signature).or_insert(next);
        classes.ports.insert(port, class);
        class
    }

    fn alike(&self) -> &Alike {
        self.alike.get_or_init(|| {
            let (addresses, ports) = gather::asked(&self.program, self.snapshot);
            let named = named(self.snapshot);
            Alike { addresses, ports, named, classes: RefCell::default() }
        })
    }
}

fn width(address: IpAddr) -> usize {
    if address.is_ipv4() { 4 } else { 16 }
}

/// Addresses for which sockets, services or programs beside all rules are.
fn named(snapshot: &Snapshot) -> HashSet<IpAddr> {
    let listens = |socket: &&Socket| {
        socket.state == SocketState::Listening
            && socket.namespace.is_none()
            && !socket.local.ip().is_unspecified()
    };
    let sockets = snapshot.sockets.iter().filter(listens);
    let mut named: HashSet<IpAddr> = sockets.map(|own| own.local.ip()).collect();
    for handler in &snapshot.handlers {
        match handler {
            Handler::Service { at, .. } => {
                named.insert(at.ip());
            }
            Handler::ControlGroup { container: Some(_), .. } => {
                let containers = snapshot.engines.iter().flat_map(|engine| &engine.containers);
                named.extend(containers.flat_map(|own| own.addresses.values().flatten()));
            }
            Handler::ControlGroup { container: None, .. }
            | Handler::MarkService { .. }
            | Handler::TrafficFilter { .. }
            | Handler::Program { .. }
            | Handler::SocketLookup
            | Handler::Uplink { .. }
            | Handler::BridgeTable { .. } => {}
        }
    }
    named
}

/// Ports at which something beside all rules waits, each as a range.
fn waiting(snapshot: &Snapshot) -> Vec<(u128, u128)> {
    let mut ports: Vec<u16> = Vec::new();
    let mut groups = false;
    for handler in &snapshot.handlers {
        match handler {
            Handler::Service { at, .. } => ports.push(at.port()),
            Handler::ControlGroup { .. } => groups = true,
            Handler::MarkService { .. }
            | Handler::TrafficFilter { .. }
            | Handler::Program { .. }
            | Handler::SocketLookup
            | Handler::Uplink { .. }
            | Handler::BridgeTable { .. } => {}
        }
    }
    if groups {
        // Programs of its group see what a socket receives.
        let owned = |socket: &&Socket| {
            socket.state == SocketState::Listening
                && socket.owners.iter().any(|own| own.unit.is_some() || own.container.is_some())
        };
        ports.extend(snapshot.sockets.iter().filter(owned).map(|own| own.local.port()));
    }
    ports.into_iter().map(|port| (port.into(), port.into())).collect()
}

#[cfg(test)]
mod tests;
