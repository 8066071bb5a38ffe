//! BPF programs that see packets where no rule shows it: at hooks of netfilter, at interfaces (tcx,
//! netkit), before sockets are chosen, and at the control groups of those who listen.
//!
//! In: bpf(2). Out: each with its place; what a program does is not read. XDP programs come with
//! their interfaces, older filters of tc with [`super::handlers`].

mod syscall;

use super::processes::Processes;
use super::snapshot::{Handler, Link, LinkKind};
use crate::model::IpFamily;
use crate::model::nft::Hook;
use rustix::fs::statfs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// `enum bpf_attach_type`.
const CGROUP_INGRESS: u32 = 0;
const CGROUP_EGRESS: u32 = 1;
const SK_LOOKUP: u32 = 36;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
const NETKIT_PRIMARY: u32 = 54;
const NETKIT_PEER: u32 = 55;
/// `BPF_LINK_TYPE_NETFILTER`.
const NETFILTER: u32 = 10;
/// statfs(2): `CGROUP2_SUPER_MAGIC`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// More links than this are not looked through.
const MOST_LINKS: usize = 100_000;

/// What there is in this network namespace but for hooks of netfilter, and what kept some of it from
/// being looked for.
pub fn read(links: &[Link]) -> (Vec<Handler>, Option<io::Error>) {
    let mut found = Vec::new();
    let mut failed = None;
    for link in links {
        let kinds: &[(u32, bool, &str)] = match &link.kind {
            // The device's own program sees what is sent into it, the other end's what comes out.
            LinkKind::Other(word) if word == "netkit" => {
                &[(NETKIT_PEER, false, "netkit"), (NETKIT_PRIMARY, true, "netkit")]
            }
            _ => &[],
        };
        let tcx = [(TCX_INGRESS, false, "tcx"), (TCX_EGRESS, true, "tcx")];
        for (kind, leaving, word) in kinds.iter().chain(&tcx) {
            if is_attached(syscall::attached(link.index, *kind, false), &mut failed) {
                found.push(Handler::TrafficFilter {
                    interface: link.name.clone(),
                    leaving: *leaving,
                    kind: (*word).to_owned(),
                });
            }
        }
    }
    // The calling thread's, which need not be the process's.
    if let Ok(namespace) = File::open("/proc/thread-self/ns/net")
        && is_attached(syscall::attached_to(namespace.as_fd(), SK_LOOKUP, false), &mut failed)
    {
        found.push(Handler::SocketLookup);
    }
    (found, failed)
}

/// Whether programs are attached. A kernel that does not know the place has none there.
fn is_attached(answer: io::Result<u32>, failed: &mut Option<io::Error>) -> bool {
    match answer {
        Ok(count) => count > 0,
        Err(error) => {
            *failed = denied(error).or(failed.take());
            false
        }
    }
}

/// An error that says that there may be programs.
pub fn denied(error: io::Error) -> Option<io::Error> {
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(error)
}

/// The programs at hooks of netfilter, of all network namespaces: where the kernel has no list of
/// hooks, it does not tell in which one.
pub fn at_netfilter() -> io::Result<Vec<Handler>> {
    let mut found = Vec::new();
    let mut after = 0;
    for _ in 0..MOST_LINKS {
        let Some(id) = syscall::next_link(after)? else { break };
        after = id;
        // One that ended meanwhile is none.
        match syscall::link(id) {
            Ok(info) => found.extend(program(&info)),
            Err(error) => {
                if let Some(error) = denied(error) {
                    return Err(error);
                }
            }
        }
    }
    found.sort_by_key(|handler| match handler {
        Handler::Program { family, hook, priority } => (*family, *hook as u8, *priority),
        _ => (IpFamily::Ipv4, 0, 0),
    });
    Ok(found)
}

/// A program at a hook of netfilter, from `struct bpf_link_info`.
pub(super) fn program(info: &[u8]) -> Option<Handler> {
    let number = |at: usize| Some(u32::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    if number(0)? != NETFILTER {
        return None;
    }
    let family = match number(16)? {
        2 => IpFamily::Ipv4,
        10 => IpFamily::Ipv6,
        _ => return None,
    };
    let hook = match number(20)? {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        _ => return None,
    };
    Some(Handler::Program { family, hook, priority: number(24)?.cast_signed() })
}

/// A control group that processes of interest are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlGroup {
    /// Its path in the hierarchy, without the first slash.
    path: String,
    unit: Option<String>,
    container: Option<String>,
}

/// The control groups that these processes are in, each once; `containers` has the names of
/// containers by id.
pub fn control_groups(
    processes: &BTreeSet<u32>,
    known: &mut Processes,
    containers: &BTreeMap<String, String>,
) -> Vec<ControlGroup> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for process in processes {
        let Some(placed) = known.seat(*process).map(|seat| &seat.placement) else { continue };
        let Some(path) = placed.group.as_deref() else { continue };
        if !seen.insert(path.to_owned()) || path.split('/').any(|part| part == "..") {
            continue;
        }
        let named = |id: &String| containers.get(id).unwrap_or(id).clone();
        found.push(ControlGroup {
            path: path.to_owned(),
            unit: placed.unit.clone(),
            container: placed.container.as_ref().map(named),
        });
    }
    found
}

/// Those of these control groups that have programs which see what their processes receive or send,
/// such as systemd makes for `IPAddressDeny=`. `mount` is where the [`hierarchy`] is.
pub fn filtered(mount: &Path, groups: Vec<ControlGroup>) -> Vec<Handler> {
    let filters = |own: &ControlGroup| {
        let Ok(group) = File::open(mount.join(&own.path)) else { return false };
        [CGROUP_INGRESS, CGROUP_EGRESS]
            .into_iter()
            .any(|kind| is_attached(syscall::attached_to(group.as_fd(), kind, true), &mut None))
    };
    let filtered = groups.into_iter().filter(filters);
    filtered
        .map(|own| Handler::ControlGroup {
            path: format!("/{}", own.path),
            unit: own.unit,
            container: own.container,
        })
        .collect()
}

/// Where the control groups of version 2 are mounted.
pub fn hierarchy() -> Option<PathBuf> {
    // The kernel writes one line for each mount of every container: where systemd mounts them is
    // looked first.
    let mounted = |path: &&str| {
        statfs(*path).is_ok_and(|found| found.f_type.cast_unsigned() == CGROUP2_SUPER_MAGIC)
    };
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().find(|path| mounted(path)).map_or_else(
        || hierarchy_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?),
        |path| Some(PathBuf::from(*path)),
    )
}

/// The same, from the text of `/proc/PID/mountinfo`.
fn hierarchy_in(mounts: &str) -> Option<PathBuf> {
    let line = mounts.lines().find(|line| {
        let kind = line.split_once(" - ").map(|(_, rest)| rest.split(' ').next());
        kind == Some(Some("cgroup2")) && line.split(' ').nth(3) == Some("/")
    })?;
    Some(Path::new(line.split(' ').nth(4)?).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_at_a_hook_of_netfilter_is_read() {
        // As Linux 6.18 answered for `NFPROTO_IPV4`, `NF_INET_LOCAL_IN`, priority -5.
        let mut info = [0; syscall::INFO_LEN];
        info[0] = 10;
        info[4] = 89;
        info[8] = 97;
        info[16] = 2;
        info[20] = 1;
        info[24..28].copy_from_slice(&(-5_i32).to_ne_bytes());
        let input = Handler::Program { family: IpFamily::Ipv4, hook: Hook::Input, priority: -5 };
        assert_eq!(program(&info), Some(input));
        for length in 0..28 {
            assert_eq!(program(&info[..length]), None);
        }
        info[0] = 11;
        assert_eq!(program(&info), None, "a link of another kind");
    }

    #[test]
    fn the_hierarchy_of_version_2_is_found_in_both_layouts() {
        let both = "31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:6 - cgroup2 cgroup2 rw
32 25 0:28 / /sys/fs/cgroup/systemd rw,nosuid shared:7 - cgroup cgroup rw,xattr,name=systemd
";
        assert_eq!(hierarchy_in(both), Some("/sys/fs/cgroup/unified".into()));
        let one = "24 23 0:22 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw\n";
        assert_eq!(hierarchy_in(one), Some("/sys/fs/cgroup".into()));
        assert_eq!(hierarchy_in("broken\n24 23 - cgroup2\n"), None);
    }
}
