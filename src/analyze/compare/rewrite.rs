//! The rules that rewrite addresses or ports → what stands in a packet behind them.
//!
//! In: a program. Out: for each such rule the packets that it can rewrite, and a box of what they
//! may be then. Boxes may be too large.

use super::super::gate::Gate;
use super::super::packet::number;
use super::super::program::Program;
use crate::model::IpFamily;
use crate::model::nft::{NatKind, NatRange, Operand, Selector, Statement, XtKind, XtMatch};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A rule that rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// What it can rewrite.
    pub from: Gate,
    /// What that may be behind it.
    pub to: Gate,
}

/// All rules that rewrite; `None` where one may rewrite anything to anything.
pub fn rewrites(program: &Program<'_>) -> Option<Vec<Rewrite>> {
    let mut found = Vec::new();
    for (table, own) in program.tables.iter().enumerate() {
        for (chain, own) in own.chains.iter().enumerate() {
            for rule in program.rewriting(table, chain) {
                for statement in &own.rules[rule].statements {
                    let from = || program.gates(table, chain)[rule];
                    match statement {
                        Statement::Nat { kind, range, .. } => {
                            found.push(rewrite(from(), *kind, bounds(range, &from())));
                        }
                        Statement::Xt { kind: XtKind::Target, name, decoded, .. } => {
                            match (decoded, name.as_str()) {
                                (Some(XtMatch::Nat { kind, addresses, ports, .. }), own)
                                    if own != "NETMAP" =>
                                {
                                    let addresses = addresses.map(|(a, b)| (number(a), number(b)));
                                    found.push(rewrite(from(), *kind, (addresses, *ports)));
                                }
                                (
                                    _,
                                    "DNAT" | "SNAT" | "REDIRECT" | "MASQUERADE" | "NETMAP"
                                    | "TPROXY",
                                ) => return None,
                                _ => {}
                            }
                        }
                        Statement::SetPayload { .. } => return None,
                        _ => {}
                    }
                }
            }
        }
    }
    if found.iter().any(|own| own.to.source == Gate::ANY.source) {
        // The source may be another one behind any of them.
        for own in &mut found {
            own.to.source = Gate::ANY.source;
            own.to.source_port = Gate::ANY.source_port;
        }
    }
    Some(found)
}

type Bounds = (Option<(u128, u128)>, Option<(u16, u16)>);

fn rewrite(from: Gate, kind: NatKind, (addresses, ports): Bounds) -> Rewrite {
    let mut to = from;
    match kind {
        NatKind::Dnat | NatKind::Tproxy => {
            // Without an address only the port changes.
            to.destination = addresses.unwrap_or(Gate::ANY.destination);
            to.port =
                ports.unwrap_or(if kind == NatKind::Dnat { from.port } else { Gate::ANY.port });
        }
        NatKind::Redirect => {
            to.destination = Gate::ANY.destination;
            to.port = ports.unwrap_or(from.port);
        }
        NatKind::Snat | NatKind::Masquerade => {
            to.source = Gate::ANY.source;
            to.source_port = Gate::ANY.source_port;
        }
    }
    Rewrite { from, to }
}

/// The constants of a NAT statement; every value where they are none.
fn bounds(range: &NatRange, gate: &Gate) -> Bounds {
    let constant = |operand: &Operand| match (&operand.selector, &operand.transforms[..]) {
        (Selector::Immediate(bytes), []) => Some(bytes.as_slice().to_vec()),
        _ => None,
    };
    let pair = |pair: &Option<(Operand, Option<Operand>)>| -> Option<Option<(Vec<u8>, Vec<u8>)>> {
        let (low, high) = pair.as_ref()?;
        let first = constant(low);
        let last = match high {
            Some(high) => constant(high),
            None => first.clone(),
        };
        Some(first.zip(last))
    };
    let address = |bytes: Vec<u8>| -> Option<u128> {
        let own: IpAddr = match gate.family() {
            Some(IpFamily::Ipv4) => Ipv4Addr::from(*bytes.first_chunk::<4>()?).into(),
            Some(IpFamily::Ipv6) => Ipv6Addr::from(*bytes.first_chunk::<16>()?).into(),
            None => return None,
        };
        Some(number(own))
    };
    let addresses = pair(&range.address).and_then(|both| {
        let (low, high) = both?;
        address(low).zip(address(high))
    });
    let port = |bytes: Vec<u8>| bytes.first_chunk().map(|two| u16::from_be_bytes(*two));
    let ports = pair(&range.port).map(|both| {
        let known = both.and_then(|(low, high)| port(low).zip(port(high)));
        known.unwrap_or(Gate::ANY.port)
    });
    (addresses, ports)
}
