//! `/proc` → which processes hold which socket.
//!
//! One pass over the descriptors of every process, without an allocation for each: a host may
//! have a hundred thousand of them. Processes come and go meanwhile; one that is gone is left out.

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who holds what.
#[derive(Debug, Default)]
pub struct Holders {
    /// Socket inode and process, sorted.
    sockets: Vec<(u64, u32)>,
    /// Processes by the network namespace that they are in, the first of each, sorted.
    pub namespaces: Vec<(u64, u32)>,
    /// The namespace of this process.
    pub own_namespace: Option<u64>,
    /// How many processes' descriptors may not be read.
    pub denied: usize,
}

impl Holders {
    /// The processes that hold the socket of this inode.
    pub fn of(&self, inode: u64) -> impl Iterator<Item = u32> + '_ {
        let first = self.sockets.partition_point(|(own, _)| *own < inode);
        self.sockets[first..]
            .iter()
            .take_while(move |(own, _)| *own == inode)
            .map(|(_, process)| *process)
    }

    /// Every process that holds a socket of any kind, sorted.
    pub fn processes(&self) -> Vec<u32> {
        let mut processes: Vec<u32> = self.sockets.iter().map(|(_, process)| *process).collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }
}

/// Looks through all processes; with `namespaces`, also at the network namespace of each.
///
/// Nearly all of the time is the kernel's, process by process: two threads share it, every other
/// process each, as a service with many descriptors often comes with neighbours like it.
pub fn read(namespaces: bool) -> Result<Holders, Errno> {
    let proc = openat(CWD, c"/proc", DIRECTORY, Mode::empty())?;
    let mut target = [MaybeUninit::uninit(); 64];
    let own_namespace = number_in(&proc, c"thread-self/ns/net", b"net:[", &mut target);
    let mut processes = Vec::new();
    let mut list = vec![MaybeUninit::uninit(); 16 * 1024];
    let mut entries = RawDir::new(&proc, &mut list);
    while let Some(entry) = entries.next() {
        let process = number(entry?.file_name().to_bytes());
        processes.extend(process.and_then(|process| u32::try_from(process).ok()));
    }
    let kernel = kernel_threads(&proc);
    processes.retain(|process| kernel.binary_search(process).is_err());
    let every_other = |first: usize| {
        let mut holders = Holders::default();
        look(&proc, processes.iter().skip(first).step_by(2), namespaces, &mut holders);
        holders
    };
    let (mut holders, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| every_other(1));
        (every_other(0), other.join())
    });
    let other = other.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    holders.own_namespace = own_namespace;
    holders.denied += other.denied;
    holders.sockets.extend(other.sockets);
    holders.sockets.sort_unstable();
    holders.sockets.dedup();
    holders.namespaces.extend(other.namespaces);
    holders.namespaces.sort_unstable();
    holders.namespaces.dedup_by_key(|(inode, _)| *inode);
    Ok(holders)
}

/// The kernel's own threads, sorted: they hold no descriptors, and are most of the processes of a
/// quiet host. All are children of process 2. None where this is another namespace of processes.
fn kernel_threads(proc: &OwnedFd) -> Vec<u32> {
    let read = |name: &CStr| -> std::io::Result<String> {
        let file = openat(proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        std::io::read_to_string(File::from(file))
    };
    // proc(5): the ninth field is `flags`, behind the name, which may hold anything but ends the
    // last parenthesis.
    let flags = read(c"2/stat").ok().and_then(|text| {
        let (_, fields) = text.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(6)?.parse::<u64>().ok()
    });
    if flags.is_none_or(|flags| flags & PF_KTHREAD == 0) {
        return Vec::new();
    }
    let children = read(c"2/task/2/children").unwrap_or_default();
    let mut threads: Vec<u32> =
        children.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
    threads.sort_unstable();
    threads
}

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Adds what these processes hold.
fn look<'p>(
    proc: &OwnedFd,
    processes: impl Iterator<Item = &'p u32>,
    namespaces: bool,
    holders: &mut Holders,
) {
    let mut target = [MaybeUninit::uninit(); 64];
    let mut descriptors = vec![MaybeUninit::uninit(); 32 * 1024];
    for &process in processes {
        let Ok(folder) = openat(proc, process.to_string(), DIRECTORY, Mode::empty()) else {
            continue;
        };
        if namespaces
            && let Some(inode) = number_in(&folder, c"ns/net", b"net:[", &mut target)
            && !holders.namespaces.iter().any(|(own, _)| *own == inode)
        {
            holders.namespaces.push((inode, process));
        }
        match openat(&folder, c"fd", DIRECTORY, Mode::empty()) {
            Ok(folder) => {
                if sockets_in(&folder, process, &mut descriptors, &mut holders.sockets).is_err() {
                    holders.denied += 1;
                }
            }
            Err(Errno::ACCESS | Errno::PERM) => holders.denied += 1,
            Err(_) => {}
        }
    }
}

/// Adds the sockets among the descriptors in this folder; an error where they may be listed but
/// not looked at, as those of a process with more capabilities than this one.
fn sockets_in(
    folder: &OwnedFd,
    process: u32,
    buffer: &mut [MaybeUninit<u8>],
    sockets: &mut Vec<(u64, u32)>,
) -> Result<(), Errno> {
    let mut target = [MaybeUninit::uninit(); 64];
    let mut entries = RawDir::new(folder, buffer);
    while let Some(Ok(entry)) = entries.next() {
        match readlinkat_raw(folder, entry.file_name(), &mut target) {
            Ok((target, _)) => {
                sockets.extend(inode_of(target, b"socket:[").map(|inode| (inode, process)));
            }
            Err(error @ (Errno::ACCESS | Errno::PERM)) => return Err(error),
            Err(_) => {} // Closed meanwhile.
        }
    }
    Ok(())
}

/// The number in the target of a link of `/proc`, such as `socket:[12345]`.
fn number_in(
    folder: impl AsFd,
    name: &CStr,
    start: &[u8],
    buffer: &mut [MaybeUninit<u8>],
) -> Option<u64> {
    let folder: BorrowedFd<'_> = folder.as_fd();
    let (target, _) = readlinkat_raw(folder, name, buffer).ok()?;
    inode_of(target, start)
}

fn inode_of(target: &[u8], start: &[u8]) -> Option<u64> {
    number(target.strip_prefix(start)?.strip_suffix(b"]")?)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_this_process_is_found() {
        use std::os::unix::fs::MetadataExt;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let inode =
            std::fs::metadata(format!("/proc/self/fd/{descriptor}")).expect("is there").ino();
        let holders = read(true).expect("read");
        assert!(holders.of(inode).any(|process| process == std::process::id()));
        assert!(holders.processes().contains(&std::process::id()));
        let own = holders.own_namespace.expect("read");
        assert!(holders.namespaces.iter().any(|(inode, _)| *inode == own));
        assert_eq!(holders.of(u64::MAX).count(), 0);
    }

    #[test]
    fn the_kernels_threads_are_told_from_processes() {
        let proc = openat(CWD, c"/proc", DIRECTORY, Mode::empty()).expect("is there");
        let threads = kernel_threads(&proc);
        assert!(!threads.contains(&std::process::id()) && !threads.contains(&1));
        for thread in threads {
            // A kernel thread has no program; one that ended meanwhile has nothing at all.
            assert!(std::fs::read_link(format!("/proc/{thread}/exe")).is_err());
        }
    }

    #[test]
    fn only_digits_are_numbers() {
        assert_eq!(number(b"123"), Some(123));
        for bad in [&b""[..], b"self", b"12a", b"99999999999999999999"] {
            assert_eq!(number(bad), None);
        }
    }
}
