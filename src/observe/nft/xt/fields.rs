//! Fields of a C structure, by offset.

use crate::observe::nft::attr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A structure, and the IP version of the table it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'b> {
    pub raw: &'b [u8],
    pub ipv6: bool,
}

impl Fields<'_> {
    pub fn u8(self, at: usize) -> Option<u8> {
        self.raw.get(at).copied()
    }

    /// Host order.
    pub fn u16(self, at: usize) -> Option<u16> {
        attr::native_u16(self.raw, at)
    }

    /// Network order.
    pub fn be16(self, at: usize) -> Option<u16> {
        self.u16(at).map(u16::from_be)
    }

    /// Host order.
    pub fn u32(self, at: usize) -> Option<u32> {
        attr::native_u32(self.raw, at)
    }

    /// Host order.
    pub fn u64(self, at: usize) -> Option<u64> {
        self.raw.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    /// `union nf_inet_addr`, 16 bytes.
    pub fn address(self, at: usize) -> Option<IpAddr> {
        if self.ipv6 {
            let bytes: &[u8; 16] = self.raw.get(at..)?.first_chunk()?;
            return Some(Ipv6Addr::from(*bytes).into());
        }
        let bytes: &[u8; 4] = self.raw.get(at..)?.first_chunk()?;
        Some(Ipv4Addr::from(*bytes).into())
    }

    /// A text of at most so many bytes.
    pub fn text(self, at: usize, len: usize) -> Option<String> {
        self.raw.get(at..at + len).map(attr::text)
    }
}

/// `! ` where something is excluded, as `iptables` writes it.
pub(super) fn not(invert: bool) -> &'static str {
    if invert { "! " } else { "" }
}
