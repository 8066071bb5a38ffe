//! `/proc` → which processes hold which socket.
//!
//! One pass over the descriptors of every process, without an allocation for each: a host may
//! have a hundred thousand of them. Processes come and go meanwhile; one that is gone is left out.
//! Nearly all of the time is the kernel's, so what counts is how few calls it takes.

use foldhash::HashMap;
use rustix::fs::{CWD, Mode, OFlags, RawDir, fstat, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::path::{Arg, DecInt};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who holds what.
#[derive(Debug, Default)]
pub struct Holders {
    /// A process that holds the socket of an inode.
    sockets: HashMap<u64, u32>,
    /// All of them where there are several, sorted.
    shared: BTreeMap<u64, Vec<u32>>,
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
        let several = self.shared.get(&inode).map(Vec::as_slice);
        let one = self.sockets.get(&inode).map(std::slice::from_ref);
        several.or(one).unwrap_or_default().iter().copied()
    }

    /// Every process that holds a socket of any kind, sorted.
    pub fn processes(&self) -> Vec<u32> {
        let shared = self.shared.values().flatten();
        let mut processes: Vec<u32> = self.sockets.values().chain(shared).copied().collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }
}

/// What one thread has found.
#[derive(Debug, Default)]
pub struct Part {
    /// Socket inode and process.
    sockets: Vec<(u64, u32)>,
    namespaces: Vec<(u64, u32)>,
    denied: usize,
}

/// A search through all processes, in which several threads may take part.
#[derive(Debug)]
pub struct Search {
    proc: OwnedFd,
    processes: Vec<u32>,
    /// The index of the first process that nobody has looked at.
    next: AtomicUsize,
    namespaces: bool,
}

impl Search {
    /// Finds the processes; with `namespaces`, the network namespace of each is looked at as well.
    pub fn begin(namespaces: bool) -> Result<Self, Errno> {
        let proc = openat(CWD, c"/proc", DIRECTORY, Mode::empty())?;
        let mut processes = Vec::new();
        let mut list = vec![MaybeUninit::uninit(); 16 * 1024];
        let mut entries = RawDir::new(&proc, &mut list);
        while let Some(entry) = entries.next() {
            let process = number(entry?.file_name().to_bytes());
            processes.extend(process.and_then(|process| u32::try_from(process).ok()));
        }
        let kernel = kernel_threads(&proc);
        processes.retain(|process| kernel.binary_search(process).is_err());
        Ok(Self { proc, processes, next: AtomicUsize::new(0), namespaces })
    }

    /// Looks at one process after the other, until no thread has left one.
    pub fn look(&self) -> Part {
        let mut part = Part::default();
        let mut target = [MaybeUninit::uninit(); 64];
        let mut list = Vec::new();
        while let Some(&process) = self.processes.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let namespace = self
                .namespaces
                .then(|| number_in(&self.proc, format!("{process}/ns/net"), b"net:[", &mut target));
            if let Some(inode) = namespace.flatten()
                && !part.namespaces.iter().any(|(own, _)| *own == inode)
            {
                part.namespaces.push((inode, process));
            }
            match openat(&self.proc, format!("{process}/fd"), DIRECTORY, Mode::empty()) {
                Ok(folder) => {
                    if sockets_in(&folder, process, &mut list, &mut part.sockets).is_err() {
                        part.denied += 1;
                    }
                }
                Err(Errno::ACCESS | Errno::PERM) => part.denied += 1,
                Err(_) => {}
            }
        }
        part
    }

    /// What the threads found together.
    pub fn end(self, found: impl IntoIterator<Item = Part>) -> Holders {
        let mut target = [MaybeUninit::uninit(); 64];
        let own_namespace = number_in(&self.proc, c"thread-self/ns/net", b"net:[", &mut target);
        let mut holders = Holders { own_namespace, ..Holders::default() };
        let found: Vec<Part> = found.into_iter().collect();
        holders.sockets.reserve(found.iter().map(|part| part.sockets.len()).sum());
        for part in found {
            for (inode, process) in part.sockets {
                let first = *holders.sockets.entry(inode).or_insert(process);
                if first != process {
                    holders.shared.entry(inode).or_insert_with(|| vec![first]).push(process);
                }
            }
            holders.namespaces.extend(part.namespaces);
            holders.denied += part.denied;
        }
        for several in holders.shared.values_mut() {
            several.sort_unstable();
            several.dedup();
        }
        holders.namespaces.sort_unstable();
        holders.namespaces.dedup_by_key(|(inode, _)| *inode);
        holders
    }
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

/// Adds the sockets among the descriptors in this folder; an error where they may be listed but
/// not looked at, as those of a process with more capabilities than this one.
fn sockets_in(
    folder: &OwnedFd,
    process: u32,
    list: &mut Vec<MaybeUninit<u8>>,
    sockets: &mut Vec<(u64, u32)>,
) -> Result<(), Errno> {
    // Since Linux 6.2 the size of the folder is how many are open, and nearly always those are the
    // first numbers: then they need not be listed, which takes half as long as looking at them.
    let open = fstat(folder).map_or(0, |stat| usize::try_from(stat.st_size).unwrap_or(0));
    let (mut seen, mut missed, mut next) = (0, 0, 0_u64);
    while seen < open && missed <= 1 + open / 8 {
        if is_there(folder, DecInt::new(next), process, sockets)? {
            seen += 1;
        } else {
            missed += 1;
        }
        next += 1;
    }
    if seen == open && open > 0 {
        return Ok(());
    }
    list.resize(32 * 1024, MaybeUninit::uninit());
    let mut entries = RawDir::new(folder, list);
    // Where it is known how many there are, the end need not be asked for.
    while open == 0 || seen < open {
        let Some(Ok(entry)) = entries.next() else { break };
        let name = entry.file_name();
        // The folder itself and the one above are no descriptors.
        if number(name.to_bytes()).is_some_and(|number| number >= next) {
            seen += 1;
            is_there(folder, name, process, sockets)?;
        }
    }
    Ok(())
}

/// Looks at a descriptor, and adds it where it is a socket; false where it is not open.
fn is_there(
    folder: &OwnedFd,
    name: impl Arg,
    process: u32,
    sockets: &mut Vec<(u64, u32)>,
) -> Result<bool, Errno> {
    let mut target = [MaybeUninit::uninit(); 64];
    match readlinkat_raw(folder, name, &mut target) {
        Ok((target, _)) => {
            sockets.extend(inode_of(target, b"socket:[").map(|inode| (inode, process)));
            Ok(true)
        }
        Err(error @ (Errno::ACCESS | Errno::PERM)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The number in the target of a link of `/proc`, such as `socket:[12345]`.
fn number_in(
    folder: &OwnedFd,
    name: impl Arg,
    start: &[u8],
    buffer: &mut [MaybeUninit<u8>],
) -> Option<u64> {
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
    use std::collections::BTreeSet;

    #[test]
    fn a_socket_of_this_process_is_found() {
        use std::os::unix::fs::MetadataExt;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let inode =
            std::fs::metadata(format!("/proc/self/fd/{descriptor}")).expect("is there").ino();
        let search = Search::begin(true).expect("read");
        let found = search.look();
        let holders = search.end([found]);
        assert!(holders.of(inode).any(|process| process == std::process::id()));
        assert!(holders.processes().contains(&std::process::id()));
        let own = holders.own_namespace.expect("read");
        assert!(holders.namespaces.iter().any(|(inode, _)| *inode == own));
        assert_eq!(holders.of(u64::MAX).count(), 0);
    }

    #[test]
    fn sockets_are_found_wherever_among_the_descriptors_they_are() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        // Far behind the others, which also leaves a gap: then they are listed.
        let far = rustix::io::fcntl_dupfd_cloexec(&socket, 700).expect("duplicated");
        let folder = openat(CWD, c"/proc/self/fd", DIRECTORY, Mode::empty()).expect("is there");
        let number = std::os::fd::AsRawFd::as_raw_fd(&far).to_string();
        let mut target = [MaybeUninit::uninit(); 64];
        let inode = number_in(&folder, number, b"socket:[", &mut target).expect("is a socket");
        drop(socket);
        let mut sockets = Vec::new();
        sockets_in(&folder, 1, &mut Vec::new(), &mut sockets).expect("is our own");
        assert!(sockets.contains(&(inode, 1)), "{sockets:?} lack {inode}");
    }

    #[test]
    fn threads_share_a_search_without_a_gap() {
        let search = Search::begin(false).expect("read");
        let found = std::thread::scope(|scope| {
            [(); 3]
                .map(|()| scope.spawn(|| search.look()))
                .map(|thread| thread.join().expect("ends"))
        });
        assert!(search.next.load(Ordering::Relaxed) >= search.processes.len());
        assert!(search.processes.contains(&std::process::id()));
        let looked_at = |held: &Part| held.sockets.iter().any(|(_, process)| *process == 1);
        assert!(found.iter().filter(|part| looked_at(part)).count() <= 1);
        let all: BTreeSet<u32> =
            found.iter().flat_map(|part| &part.sockets).map(|(_, process)| *process).collect();
        let together = search.end(found);
        assert_eq!(together.processes(), all.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn all_processes_that_share_a_socket_are_told_in_order() {
        let search = Search::begin(false).expect("read");
        let part = |sockets: &[(u64, u32)]| Part { sockets: sockets.to_vec(), ..Part::default() };
        let holders = search.end([part(&[(7, 30), (8, 30), (7, 30)]), part(&[(7, 20), (7, 10)])]);
        assert_eq!(holders.of(7).collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(holders.of(8).collect::<Vec<_>>(), [30]);
        assert_eq!(holders.of(9).count(), 0);
        assert_eq!(holders.processes(), [10, 20, 30]);
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
