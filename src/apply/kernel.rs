//! The narrow way to the kernel: one implementation for the live one, one for tests.

use super::nft::{Nft, NftError, Waiting};
use crate::compile::TABLE;
use crate::model::nft::{Family, Table};
use crate::observe::nft as reader;
use std::cell::RefCell;
use std::io;

/// What apply needs of a kernel.
pub trait Kernel {
    /// Says that a transaction may follow soon, so that what it needs can be started meanwhile.
    /// Sends nothing.
    fn get_ready(&self) {}

    /// Hands over the transaction that [`run`](Self::run) makes next, so that it can be read
    /// meanwhile. Sends nothing.
    fn hand_over(&self, transaction: &str) {
        let _ = transaction;
    }

    /// Makes one transaction, given in the language of `nft(8)`.
    fn run(&self, transaction: &str) -> Result<(), NftError>;

    /// Our table as the kernel runs it; `None` where there is none.
    fn read_table(&self) -> io::Result<Option<Table>>;

    /// The generation id of the whole ruleset: it moves with every transaction of anybody.
    fn generation(&self) -> io::Result<u32>;

    /// The time, for records.
    fn now(&self) -> jiff::Timestamp;
}

/// The kernel that this process runs on, in its network namespace.
#[derive(Debug)]
pub struct Live {
    nft: Nft,
    /// One that waits for the next transaction.
    waiting: RefCell<Option<Waiting>>,
}

impl Live {
    /// Finds what is needed to change it.
    pub fn new() -> Result<Self, NftError> {
        Ok(Self { nft: Nft::find()?, waiting: RefCell::new(None) })
    }
}

impl Kernel for Live {
    fn get_ready(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_none() {
            // Where it cannot be started, the transaction says so.
            *waiting = self.nft.start().ok();
        }
    }

    fn hand_over(&self, transaction: &str) {
        let mut own = self.waiting.borrow_mut();
        if own.as_mut().is_some_and(|waiting| waiting.hand_over(transaction).is_err()) {
            // Another one is started for the transaction, and says what the matter is.
            *own = None;
        }
    }

    fn run(&self, transaction: &str) -> Result<(), NftError> {
        match self.waiting.take() {
            Some(waiting) if !waiting.expects_another(transaction) => waiting.run(transaction),
            _ => self.nft.run(transaction),
        }
    }

    fn read_table(&self) -> io::Result<Option<Table>> {
        reader::read_table(Family::Inet, TABLE).map_err(io::Error::other)
    }

    fn generation(&self) -> io::Result<u32> {
        reader::generation().map_err(io::Error::other)
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}
