//! The kernel's news of the ruleset → that something of one table was taken out or switched off,
//! and by whom.
//!
//! The kernel tells a group of listeners what each committed transaction took out and put in, and
//! who sent it. It needs `CAP_NET_ADMIN`, and costs nothing while nothing changes. News that the
//! socket had no room for count as a loss: better a look too many than one too few.

use super::attr::Messages;
use super::uapi::{GROUP_NFTABLES, SUBSYS_NFTABLES, message};
use super::{NftError, objects};
use crate::model::nft::Family;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::time::{Duration, Instant};

/// The kernel batches the news of a transaction into messages of at most a few pages.
const RECEIVE: usize = 64 * 1024;
/// Room for the news of a large ruleset that goes all at once.
const KERNEL_BUFFER: libc::c_int = 4 << 20;

/// Something of the table was taken out, or the table itself was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The name of the process that sent the transaction, and its id, where the kernel told.
    pub by: Option<(String, u32)>,
}

/// Listens for what happens to one table, in the network namespace of the thread that opened it.
pub struct TableEvents {
    socket: Socket,
    buffer: Vec<u8>,
    family: u8,
    table: String,
    /// Within a transaction that took something out, before the kernel said whose it is.
    touched: bool,
}

impl TableEvents {
    /// Listens from now on.
    pub fn open(family: Family, table: &str) -> Result<Self, NftError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            // More is lost in a smaller buffer, which only means to look once more.
            let _ = socket.set_rx_buf_sz(KERNEL_BUFFER);
            socket.add_membership(GROUP_NFTABLES)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => NftError::Denied,
            _ => NftError::Socket(error),
        })?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(RECEIVE),
            family: objects::family_number(family),
            table: table.to_owned(),
            touched: false,
        })
    }

    /// Waits until something of the table was taken out; `None` where that did not happen in time.
    /// Without a limit it waits for ever.
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<Option<Lost>, NftError> {
        let fail = |source| NftError::from_io("news", source);
        let end = limit.map(|limit| Instant::now() + limit);
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {
                    if let Some(lost) = self.read() {
                        return Ok(Some(lost));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.touched = false;
                    return Ok(Some(Lost { by: None }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                    if left.is_some_and(|left| left.is_zero()) {
                        return Ok(None);
                    }
                    let left = left.map(Timespec::try_from).transpose();
                    let left = left.map_err(|error| fail(io::Error::other(error)))?;
                    match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], left.as_ref()) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(fail(error.into())),
                    }
                }
                Err(error) => return Err(fail(error)),
            }
        }
    }

    /// Reads one message of the socket, which may hold several of the kernel's.
    fn read(&mut self) -> Option<Lost> {
        let mut lost = None;
        for news in Messages(&self.buffer) {
            let [kind, subsystem] = news.kind.to_le_bytes();
            if u16::from(subsystem) != SUBSYS_NFTABLES {
                continue;
            }
            match kind {
                // A table that is switched off (`flags dormant`) is told as a new one.
                message::NEWTABLE | message::DELTABLE | message::DELCHAIN | message::DELRULE => {
                    // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE are all 1.
                    let name = news.attributes().text(1);
                    self.touched |= news.family() == self.family
                        && name.as_deref() == Some(self.table.as_str());
                }
                // The last message of a transaction.
                message::NEWGEN if self.touched => {
                    const NFTA_GEN_PROC_PID: u16 = 2;
                    const NFTA_GEN_PROC_NAME: u16 = 3;
                    let attributes = news.attributes();
                    let name = attributes.text(NFTA_GEN_PROC_NAME);
                    self.touched = false;
                    lost = Some(Lost { by: name.zip(attributes.be32(NFTA_GEN_PROC_PID)) });
                }
                _ => {}
            }
        }
        lost
    }
}
