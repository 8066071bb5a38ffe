//! BPF programs of one instruction that drop or pass, attached where a test wants them.
//!
//! They end with the value: a link lives as long as its descriptor.

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Where a program is attached: its type and the kernel's number of the place
/// (`enum bpf_prog_type`, `enum bpf_attach_type`).
#[derive(Debug, Clone, Copy)]
pub enum Place<'f> {
    /// A hook of netfilter: `NFPROTO_*`, `NF_INET_*`, priority.
    Netfilter(u32, u32, i32),
    /// What comes in by the interface of this index.
    Tcx(u32),
    /// What the processes of a control group receive.
    Group(BorrowedFd<'f>),
    /// Before a socket is chosen, in this network namespace.
    Sockets(BorrowedFd<'f>),
}

/// An attached program.
#[derive(Debug)]
pub struct Attached(#[allow(dead_code, reason = "held for its end")] OwnedFd);

#[allow(unsafe_code, reason = "no crate of ours wraps bpf(2)")]
fn call(command: libc::c_int, attribute: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `attribute.len()` bytes; what pointers in them point to outlives the
    // call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_ptr(), attribute.len()) };
    let raw = RawFd::try_from(result).ok().filter(|own| *own >= 0);
    // SAFETY: it was just made for this call.
    raw.map(|own| unsafe { OwnedFd::from_raw_fd(own) }).ok_or_else(io::Error::last_os_error)
}

/// Attaches a program that answers with this number, whatever comes.
pub fn attach(place: Place<'_>, answer: i32) -> io::Result<Attached> {
    const LOAD: libc::c_int = 5;
    const LINK: libc::c_int = 28;
    let descriptor = |own: BorrowedFd<'_>| own.as_raw_fd().cast_unsigned();
    let (program, kind, target) = match place {
        Place::Netfilter(..) => (32_u32, 45_u32, 0),
        Place::Tcx(index) => (3, 46, index),
        Place::Group(group) => (8, 0, descriptor(group)),
        Place::Sockets(namespace) => (30, 36, descriptor(namespace)),
    };
    // `r0 = answer; exit`.
    let mut code = vec![0xb7, 0, 0, 0];
    code.extend(answer.to_ne_bytes());
    code.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
    let license = c"GPL";
    let mut load = vec![0; 128];
    let mut put = |at: usize, bytes: &[u8]| load[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &program.to_ne_bytes());
    put(4, &2_u32.to_ne_bytes());
    put(8, &(code.as_ptr() as u64).to_ne_bytes());
    put(16, &(license.as_ptr() as u64).to_ne_bytes());
    put(68, &kind.to_ne_bytes());
    let program = call(LOAD, &load)?;
    let mut link = vec![0; 64];
    let mut put = |at: usize, bytes: &[u8]| link[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &program.as_raw_fd().to_ne_bytes());
    put(4, &target.to_ne_bytes());
    put(8, &kind.to_ne_bytes());
    if let Place::Netfilter(family, hook, priority) = place {
        put(16, &family.to_ne_bytes());
        put(20, &hook.to_ne_bytes());
        put(24, &priority.to_ne_bytes());
    }
    call(LINK, &link).map(Attached)
}
