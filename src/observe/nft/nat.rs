//! `nat`, `masq`, `redir` and `tproxy`: registers → new addresses and ports.

use super::attr::Attributes;
use super::expression::Decoder;
use crate::model::IpFamily;
use crate::model::nft::{NatKind, NatRange, Operand, Statement, Transform};

impl Decoder<'_> {
    /// From a pair of registers: the lowest, and the highest where it is another one.
    fn bounds(&self, data: Attributes, low: u16, high: u16) -> Option<(Operand, Option<Operand>)> {
        let low = data.be32(low)?;
        let high = data.be32(high).filter(|high| *high != low);
        let lowest = |register| {
            let operand = self.registers.operand(register);
            // A map's value of `address . port` is read from its second word on.
            match operand.transforms.as_slice() {
                [Transform::Other(part)] if part.starts_with("bytes from") => {
                    Operand::plain(operand.selector)
                }
                _ => operand,
            }
        };
        // Behind the lowest in a map's value, so that it says from which byte on.
        let highest = |register| self.registers.operand(register);
        Some((lowest(low), high.map(highest)))
    }

    pub fn nat(&self, data: Attributes) -> Option<Statement> {
        let kind = match data.be32(1)? {
            0 => NatKind::Snat,
            1 => NatKind::Dnat,
            _ => return None,
        };
        let range = NatRange {
            address: self.bounds(data, 3, 4),
            port: self.bounds(data, 5, 6),
            flags: range_flags(data.be32(7)),
        };
        let family = data.be32(2).and_then(ip_family);
        Some(Statement::Nat { kind, family, range: Box::new(range) })
    }

    /// `masq` and `redir`; the numbers are those of the lowest port, the highest and the flags.
    pub fn own_nat(
        &self,
        kind: NatKind,
        data: Attributes,
        [low, high, flags]: [u16; 3],
    ) -> Statement {
        let range = NatRange {
            address: None,
            port: self.bounds(data, low, high),
            flags: range_flags(data.be32(flags)),
        };
        Statement::Nat { kind, family: None, range: Box::new(range) }
    }

    pub fn tproxy(&self, data: Attributes) -> Statement {
        let range =
            NatRange { address: self.bounds(data, 2, 2), port: self.bounds(data, 3, 3), flags: 0 };
        let family = data.be32(1).and_then(ip_family);
        Statement::Nat { kind: NatKind::Tproxy, family, range: Box::new(range) }
    }
}

fn ip_family(number: u32) -> Option<IpFamily> {
    match number {
        2 => Some(IpFamily::Ipv4),
        10 => Some(IpFamily::Ipv6),
        _ => None,
    }
}

/// `NF_NAT_RANGE_*` less the two that say no more than that there is an address or a port.
fn range_flags(flags: Option<u32>) -> u32 {
    const NF_NAT_RANGE_MAP_IPS: u32 = 1;
    const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
    flags.unwrap_or(0) & !(NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED)
}
