//! bpf(2): which programs are attached, and where. Asks only.
//!
//! One of the two places with `unsafe`: no crate of ours wraps this system call.

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `BPF_OBJ_GET_INFO_BY_FD`, `BPF_PROG_QUERY`, `BPF_LINK_GET_FD_BY_ID`, `BPF_LINK_GET_NEXT_ID`.
const INFO: libc::c_int = 15;
const QUERY: libc::c_int = 16;
const LINK: libc::c_int = 30;
const NEXT_LINK: libc::c_int = 31;

/// The part of `struct bpf_link_info` that is asked for.
pub const INFO_LEN: usize = 64;
/// What `BPF_PROG_QUERY` writes back into: all of `struct query` in `union bpf_attr`.
const QUERY_LEN: usize = 64;

#[allow(unsafe_code, reason = "no crate of ours wraps bpf(2)")]
fn call(command: libc::c_int, attribute: &mut [u8]) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes at most `attribute.len()` bytes of a buffer of that length
    // that nobody else uses meanwhile; any bytes are valid `u8`s. The commands below hold no pointer
    // in it, but for that of `info`, which lives until the call returns.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_mut_ptr(), attribute.len()) };
    libc::c_int::try_from(result)
        .ok()
        .filter(|result| *result >= 0)
        .ok_or_else(io::Error::last_os_error)
}

fn put(attribute: &mut [u8], at: usize, number: u32) {
    attribute[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.first_chunk())
        .map_or(0, |own| u32::from_ne_bytes(*own))
}

/// How many programs of this kind (`enum bpf_attach_type`) are attached to an interface, by its
/// index, or to what a descriptor stands for; with `effective`, to all that it is part of too.
pub fn attached(target: u32, kind: u32, effective: bool) -> io::Result<u32> {
    // Without room for their ids the kernel tells their number alone.
    let mut attribute = [0; QUERY_LEN];
    put(&mut attribute, 0, target);
    put(&mut attribute, 4, kind);
    put(&mut attribute, 8, u32::from(effective));
    call(QUERY, &mut attribute)?;
    Ok(number(&attribute, 24))
}

/// The same of what a descriptor stands for.
pub fn attached_to(target: BorrowedFd<'_>, kind: u32, effective: bool) -> io::Result<u32> {
    attached(target.as_raw_fd().cast_unsigned(), kind, effective)
}

/// The next link behind this number; `None` behind the last.
pub fn next_link(after: u32) -> io::Result<Option<u32>> {
    let mut attribute = [0; 12];
    put(&mut attribute, 0, after);
    match call(NEXT_LINK, &mut attribute) {
        Ok(_) => Ok(Some(number(&attribute, 4))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the kernel tells of a link (`struct bpf_link_info`).
#[allow(unsafe_code, reason = "a descriptor that was just made has one owner: here")]
pub fn link(id: u32) -> io::Result<[u8; INFO_LEN]> {
    let mut attribute = [0; 12];
    put(&mut attribute, 0, id);
    let raw = call(LINK, &mut attribute)?;
    // SAFETY: the kernel has just opened it for this call.
    let link = unsafe { OwnedFd::from_raw_fd(raw) };
    let mut info = [0; INFO_LEN];
    let mut attribute = [0; 16];
    put(&mut attribute, 0, link.as_raw_fd().cast_unsigned());
    put(&mut attribute, 4, u32::try_from(INFO_LEN).unwrap_or(0));
    attribute[8..].copy_from_slice(&(info.as_mut_ptr() as u64).to_ne_bytes());
    call(INFO, &mut attribute)?;
    Ok(info)
}
