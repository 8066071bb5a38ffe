//! A transaction → what it came to, also where nft did not say that it was made.
//!
//! nft may be killed, or fail behind the kernel's commit; then only the kernel knows. So our table
//! is read again, and the error says what it is now: as before, or not known. What was made after
//! all is no error.

use super::{ApplyError, Kernel, NftError};
use crate::model::nft::Table;
use crate::plan::diff;

/// Makes the transaction; `made` recognises the table that it leads to.
///
/// The kernel has decided when this is called back: nft is reaped, and the kernel commits a batch
/// within the system call that brings it, or not at all.
pub(super) fn run(
    kernel: &dyn Kernel,
    transaction: &str,
    before: Option<&Table>,
    made: impl FnOnce(Option<&Table>) -> bool,
) -> Result<(), ApplyError> {
    match kernel.run(transaction) {
        Ok(()) => Ok(()),
        Err(source) => judge(kernel, source, before, made),
    }
}

/// What came of a transaction that nft did not say was made.
pub(super) fn judge(
    kernel: &dyn Kernel,
    source: NftError,
    before: Option<&Table>,
    made: impl FnOnce(Option<&Table>) -> bool,
) -> Result<(), ApplyError> {
    match kernel.read_table() {
        Ok(now) if made(now.as_ref()) => Ok(()),
        Ok(now) if same(now.as_ref(), before) => Err(ApplyError::Refused(source)),
        Ok(_) | Err(_) => Err(ApplyError::Unknown(source)),
    }
}

/// Whether two readings show the same table, but for what was counted.
pub(super) fn same(now: Option<&Table>, before: Option<&Table>) -> bool {
    match (now, before) {
        (None, None) => true,
        (Some(now), Some(before)) => {
            now.dormant == before.dormant && diff::diff(Some(now), before).is_empty()
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}
