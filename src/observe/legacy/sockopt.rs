//! `getsockopt(2)` with options that take their argument in the same buffer that they answer in.
//!
//! The one place with `unsafe`: no crate wraps the options of x_tables.

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Asks with a filled buffer; gives how many bytes of it the kernel wrote.
#[allow(unsafe_code, reason = "no crate wraps the options of x_tables")]
pub(super) fn exchange(
    socket: &OwnedFd,
    level: i32,
    option: i32,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the kernel reads and writes at most `length` bytes of a buffer of `length` bytes that
    // nobody else uses meanwhile; any bytes are valid `u8`s; the socket outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((length as usize).min(buffer.len()))
}
