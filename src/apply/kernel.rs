//! The narrow way to the kernel: one implementation for the live one, one for tests.

use super::nft::{Nft, NftError};
use crate::compile::TABLE;
use crate::model::nft::{Family, Table};
use crate::observe::nft as reader;
use std::io;

/// What apply needs of a kernel.
pub trait Kernel {
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
}

impl Live {
    /// Finds what is needed to change it.
    pub fn new() -> Result<Self, NftError> {
        Ok(Self { nft: Nft::find()? })
    }
}

impl Kernel for Live {
    fn run(&self, transaction: &str) -> Result<(), NftError> {
        self.nft.run(transaction)
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
