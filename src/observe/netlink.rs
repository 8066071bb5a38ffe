//! A netlink request → the kernel's answer, message by message, blocking.
//!
//! Carries bytes only; what a message means is its caller's matter. A dump that the kernel marks
//! as interrupted (`NLM_F_DUMP_INTR`: something changed meanwhile) is an error that says so, so
//! that its caller can take it again.

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::net::IpAddr;

/// The length of `struct nlmsghdr` (RFC 3549, section 2.2).
pub const HEADER: usize = 16;
/// `NLMSG_ERROR`, `NLMSG_DONE` of linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const DUMP_INTERRUPTED: u16 = 0x10;
/// The kernel fills up to 32 KiB at once where the reader has shown that it takes as much.
const BUFFER: usize = 64 * 1024;

/// Why a netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself.
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    /// The kernel answered with an error number.
    #[error("the kernel refused the request: {}", io::Error::from_raw_os_error(*.0))]
    Kernel(i32),
    /// The tables changed while they were read.
    #[error("the tables changed while they were read")]
    Interrupted,
    /// What came is no netlink message.
    #[error("the kernel's answer was cut off")]
    Truncated,
}

/// A netlink socket of the network namespace that its thread is in when it opens it.
pub struct Channel {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    /// Opens a socket of this protocol (`NETLINK_*`).
    pub fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Most answers are short: what is not written to costs nothing.
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Asks for a dump; `each` sees every message of the answer, with its header.
    pub fn dump<M>(&mut self, request: M, each: impl FnMut(&[u8])) -> Result<(), NetlinkError>
    where
        M: NetlinkSerializable + std::fmt::Debug,
    {
        self.sequence += 1;
        let mut packet =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(request));
        packet.header.flags = NLM_F_DUMP | NLM_F_REQUEST;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.exchange(&bytes, each)
    }

    /// Asks with a message of this type whose bytes behind the header are these. Without
    /// `NLM_F_DUMP`, `flags` hold `NLM_F_ACK`, so that the answer has an end.
    pub fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        payload: &[u8],
        each: impl FnMut(&[u8]),
    ) -> Result<(), NetlinkError> {
        self.sequence += 1;
        let length = u32::try_from(HEADER + payload.len()).expect("requests are short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        self.exchange(&bytes, each)
    }

    /// Forgets what the kernel has answered, where secrets were among it.
    pub fn wipe(&mut self) {
        self.buffer.fill(0);
        // Else the compiler may leave it out in front of the end of its life.
        std::hint::black_box(&mut self.buffer);
    }

    /// Sends a request, and gives every message of the answer but its end to `each`.
    fn exchange(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), NetlinkError> {
        self.socket.send(request, 0)?;
        let mut interrupted = false;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let mut rest = &self.buffer[..];
            while !rest.is_empty() {
                let (message, next) = split(rest).ok_or(NetlinkError::Truncated)?;
                rest = next;
                if u32_at(message, 8) != Some(self.sequence) {
                    continue; // A late answer to a request that was given up.
                }
                interrupted |= u16_at(message, 6).unwrap_or(0) & DUMP_INTERRUPTED != 0;
                match u16_at(message, 4).unwrap_or(0) {
                    kind @ (DONE | ERROR) => {
                        let code = u32_at(message, HEADER).map_or(0, u32::cast_signed);
                        return match code {
                            0 if interrupted => Err(NetlinkError::Interrupted),
                            0 => Ok(()),
                            code if code < 0 => Err(NetlinkError::Kernel(-code)),
                            // Positive only where a dump counts what it sent (`DONE`).
                            _ if kind == DONE => Ok(()),
                            _ => Err(NetlinkError::Truncated),
                        };
                    }
                    _ => each(message),
                }
            }
        }
    }
}

/// The first message, and what follows it on the next multiple of four bytes.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    if length < HEADER {
        return None;
    }
    let message = bytes.get(..length)?;
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

/// The attributes (`struct nlattr`) in these bytes: type without its flags, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of this type.
pub fn value(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// An IPv4 address of four bytes, or an IPv6 address of sixteen.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match <[u8; 4]>::try_from(bytes) {
        Ok(four) => Some(four.into()),
        Err(_) => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
    }
}

/// A text up to its NUL.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Takes a dump again where the tables changed under it, so often at most.
pub fn whole<T>(
    attempts: usize,
    mut take: impl FnMut() -> Result<T, NetlinkError>,
) -> Result<T, NetlinkError> {
    for _ in 1..attempts {
        match take() {
            Err(NetlinkError::Interrupted) => {}
            other => return other,
        }
    }
    take()
}

/// An attribute with its header and padding; `kind` holds `NLA_F_NESTED` where there are others
/// inside.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("attributes are short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A number of 16 bits in the host's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number of 32 bits in the host's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_their_bytes_do() {
        let bytes = [5, 0, 11, 0, 1, 0, 0, 0, 8, 0, 2, 0, 7, 0, 0, 0, 200, 0, 1, 0];
        let seen: Vec<_> = attributes(&bytes).collect();
        assert_eq!(seen, [(11, &[1][..]), (2, &[7, 0, 0, 0][..])]);
    }

    #[test]
    fn a_message_shorter_than_its_header_is_none() {
        assert!(split(&[8, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(split(&[0; 3]).is_none());
    }
}
