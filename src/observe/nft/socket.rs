//! The nfnetlink socket: requests, dumps and their failures.

use super::NftError;
use super::attr::{Messages, native_u32};
use super::uapi::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, SUBSYS_NFTABLES,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use std::io;

/// The kernel fills at most 32 KiB of a dump at once (`netlink_dump()`), if we offer as much.
const RECEIVE: usize = 64 * 1024;
/// Room for what the kernel has ready before we come to read it.
const KERNEL_BUFFER: libc::c_int = 1 << 20;

/// A socket in the network namespace of the thread that opened it.
pub(super) struct Nfnetlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// How a dump ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is whole.
    Whole,
    /// The ruleset changed meanwhile.
    Interrupted,
    /// The caller had enough.
    Stopped,
}

impl Nfnetlink {
    /// Opens a socket.
    pub fn open() -> Result<Self, NftError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // A smaller buffer still works: the kernel waits for us within a dump.
            let _ = socket.set_rx_buf_sz(KERNEL_BUFFER);
            Ok(socket)
        };
        let socket = open().map_err(NftError::Socket)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(RECEIVE) })
    }

    fn send(&mut self, kind: u8, family: u8, flags: u16, attributes: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(20 + attributes.len()).expect("requests are short");
        let mut request = Vec::with_capacity(20 + attributes.len());
        request.extend_from_slice(&length.to_ne_bytes());
        request.extend_from_slice(&(SUBSYS_NFTABLES << 8 | u16::from(kind)).to_ne_bytes());
        request.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&0_u32.to_ne_bytes());
        request.extend_from_slice(&[family, 0, 0, 0]);
        request.extend_from_slice(attributes);
        self.socket.send(&request, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }

    /// Sends a dump request and gives every message of the answer, header included, to `take`,
    /// until it says that it has enough. After [`Ended::Stopped`] or an error the socket must not
    /// be used again: what is left of the dump is still in it.
    pub fn dump(
        &mut self,
        what: &'static str,
        kind: u8,
        family: u8,
        attributes: &[u8],
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<Ended, NftError> {
        let fail = |source| NftError::from_io(what, source);
        self.send(kind, family, NLM_F_DUMP, attributes).map_err(fail)?;
        let mut ended = Ended::Whole;
        loop {
            match self.receive() {
                Ok(()) => {}
                // Messages were lost: the same as a change in the middle.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Ended::Interrupted);
                }
                Err(error) => return Err(fail(error)),
            }
            let mut seen = 0;
            for message in Messages(&self.buffer) {
                seen += message.whole.len().next_multiple_of(4);
                if message.sequence != self.sequence {
                    continue;
                }
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    ended = Ended::Interrupted;
                }
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match error_of(message.payload) {
                            None => Ok(ended),
                            Some(libc::EINTR) => Ok(Ended::Interrupted),
                            Some(code) => Err(fail(io::Error::from_raw_os_error(code))),
                        };
                    }
                    _ if !take(message.whole) => return Ok(Ended::Stopped),
                    _ => {}
                }
            }
            if seen < self.buffer.len() {
                return Err(NftError::Truncated { what });
            }
        }
    }

    /// Sends a request that has one message as its answer, and gives that message.
    pub fn ask(&mut self, what: &'static str, kind: u8) -> Result<Vec<u8>, NftError> {
        let fail = |source| NftError::from_io(what, source);
        self.send(kind, 0, 0, &[]).map_err(fail)?;
        loop {
            self.receive().map_err(fail)?;
            for message in Messages(&self.buffer) {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.kind != NLMSG_ERROR {
                    return Ok(message.whole.to_vec());
                }
                let code = error_of(message.payload).unwrap_or(libc::EPROTO);
                return Err(fail(io::Error::from_raw_os_error(code)));
            }
        }
    }
}

/// The error number at the beginning of `NLMSG_ERROR` and `NLMSG_DONE`; none where it is 0.
fn error_of(payload: &[u8]) -> Option<i32> {
    let code = native_u32(payload, 0)?.cast_signed();
    (code != 0).then(|| code.saturating_neg())
}
