//! The kernel's socket tables and `/proc` → [`Socket`]s with their owners, of the host's network
//! namespace and of those of containers.
//!
//! A socket that many processes share has all of them as owners, each said once.

mod diag;
mod holders;
mod in_use;
mod proc_net;

pub use diag::RawSocket;
pub use holders::Holders;
use holders::Search;

use super::activation::SocketUnits;
use super::netlink::NetlinkError;
use super::processes::Processes;
use super::{Link, Socket, SocketState, Warning};
use crate::model::{IfaceName, Owner, Protocol};
use foldhash::HashMap;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

/// For so many sockets a second thread helps to look for owners.
const MANY: usize = 10_000;

/// How many sockets stand in a text of `/proc`.
pub(super) fn from_text(text: &str) -> usize {
    proc_net::count(text)
}

/// Whether a message of the kernel's diagnosis tells a socket.
pub(super) fn from_message(body: &[u8]) -> usize {
    usize::from(diag::is_socket(body))
}

/// A container's network namespace: its name, and a process that is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    /// The container's name.
    pub container: String,
    /// A process in it.
    pub process: u32,
}

/// What was read before owners are told apart.
#[derive(Debug, Default)]
pub struct Found {
    /// Sockets of this namespace.
    pub sockets: Vec<RawSocket>,
    /// Who holds them.
    pub holders: Holders,
}

/// Reads the sockets of this thread's namespace and who holds them, both at once.
pub fn read(namespaces: bool, warnings: &mut Vec<Warning>) -> Found {
    let mut warn = |message: String| warnings.push(Warning { subject: "sockets".into(), message });
    let (holders, sockets) = match Search::begin(namespaces) {
        Ok(search) => {
            // Two threads look; this one begins later, and both end together.
            let (own, other, sockets) = std::thread::scope(|scope| {
                let other = scope.spawn(|| search.look());
                let sockets = diag::read();
                (search.look(), other.join(), sockets)
            });
            if other.is_err() {
                warn("the search of /proc ended early: sockets lack owners here".to_owned());
            }
            (search.end([own].into_iter().chain(other)), sockets)
        }
        Err(error) => {
            warn(format!("/proc cannot be read ({error}): no socket has an owner"));
            (Holders::default(), diag::read())
        }
    };
    if holders.denied > 0 {
        warn(format!(
            "the descriptors of {} of the processes may not be read: their sockets have no owner \
             here; root with all capabilities may read them",
            holders.denied
        ));
    }
    let sockets = take(sockets, "of this host", &mut warn);
    Found { sockets, holders }
}

pub use diag::read as everything;
pub use diag::read_connections as connections;

/// Whether a process holds the socket of this inode.
pub fn holds(process: u32, inode: u64) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let wanted = format!("socket:[{inode}]");
    let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
    descriptors.flatten().filter_map(target).any(|target| target.as_os_str() == wanted.as_str())
}

fn take(
    answer: Result<(Vec<RawSocket>, Vec<Protocol>), NetlinkError>,
    whose: &str,
    warn: &mut impl FnMut(String),
) -> Vec<RawSocket> {
    match answer {
        Ok((sockets, untold)) => {
            for protocol in untold {
                warn(format!(
                    "this kernel does not tell the {protocol} sockets {whose}: services on \
                     {protocol} are missing here"
                ));
            }
            sockets
        }
        Err(error) => {
            warn(format!("the sockets {whose} could not be read: {error}"));
            Vec::new()
        }
    }
}

/// What the sockets inside containers are told by: the container's name.
pub type Inside = Vec<(String, Vec<RawSocket>)>;

/// Reads the sockets inside these namespaces, TCP and SCTP connections left out, on a thread that
/// enters them and never comes back; `None` where there is none to enter.
pub fn read_inside<'scope>(
    scope: &'scope Scope<'scope, '_>,
    namespaces: Vec<Namespace>,
) -> Option<ScopedJoinHandle<'scope, (Inside, Vec<Warning>)>> {
    if namespaces.is_empty() {
        return None;
    }
    Some(scope.spawn(move || {
        let mut found = Vec::new();
        let mut warned = Vec::new();
        for Namespace { container, process } in namespaces {
            let whose = format!("inside container {container}");
            let mut warn =
                |message: String| warned.push(Warning { subject: "sockets".into(), message });
            let entered = File::open(format!("/proc/{process}/ns/net")).and_then(|file| {
                Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
            });
            match entered {
                Ok(()) => {
                    let sockets = take(diag::read_listening(), &whose, &mut warn);
                    found.push((container, sockets));
                }
                // The container ended meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => warn(format!("the sockets {whose} could not be read: {error}")),
            }
        }
        (found, warned)
    }))
}

/// Gives sockets their owners.
#[derive(Debug)]
pub struct Owners<'a> {
    /// Who holds what.
    pub holders: &'a Holders,
    /// What is known of processes.
    pub processes: &'a mut Processes,
    /// Names of containers, by id.
    pub containers: &'a BTreeMap<String, String>,
    units: Option<SocketUnits>,
    /// The owners of what a process holds alone.
    known: HashMap<u32, Arc<[Owner]>>,
}

impl<'a> Owners<'a> {
    /// Owners by these tables.
    pub fn new(
        holders: &'a Holders,
        processes: &'a mut Processes,
        containers: &'a BTreeMap<String, String>,
    ) -> Self {
        Self { holders, processes, containers, units: None, known: HashMap::default() }
    }

    /// The owners of a socket, sorted, each once.
    fn of(&mut self, socket: &RawSocket) -> Arc<[Owner]> {
        let holders = self.holders;
        let mut of = holders.of(socket.inode);
        if let (Some(process), None) = (of.next().filter(|process| *process != 1), of.next()) {
            return self.owner(process);
        }
        let mut owners = BTreeSet::new();
        let mut held_by_init = false;
        for process in self.holders.of(socket.inode) {
            held_by_init |= process == 1;
            if process != 1 {
                owners.extend(self.owner(process).iter().cloned());
            }
        }
        // Process 1 keeps the sockets that it opened for a unit; who serves them says more.
        if held_by_init
            && owners.is_empty()
            && let Some(mut owner) = self.owner(1).first().cloned()
        {
            if socket.state == SocketState::Listening {
                let units = self.units.get_or_insert_with(|| SocketUnits::read(Path::new("/")));
                owner.unit = units.service(socket.protocol, socket.local).map(str::to_owned);
            }
            owners.insert(owner);
        }
        owners.into_iter().collect()
    }

    /// The process as an owner; none where it is gone.
    fn owner(&mut self, process: u32) -> Arc<[Owner]> {
        if let Some(known) = self.known.get(&process) {
            return known.clone();
        }
        let owner = self.processes.seat(process).map(|found| Owner {
            process: Some(found.name.clone()),
            unit: found.placement.unit.clone(),
            container: found.placement.container.as_ref().map(|id| name_of(id, self.containers)),
        });
        let owner: Arc<[Owner]> = owner.into_iter().collect();
        self.known.insert(process, owner.clone());
        owner
    }

    /// The sockets with their owners, in the same order; `links` names the interfaces of the host's namespace.
    pub fn sockets(
        &mut self,
        raw: &[RawSocket],
        namespace: Option<&str>,
        links: &[Link],
    ) -> Vec<Socket> {
        if raw.len() < MANY {
            return self.each(raw, namespace, links);
        }
        let (first, second) = raw.split_at(raw.len() / 2);
        std::thread::scope(|scope| {
            let (holders, containers) = (self.holders, self.containers);
            let second = scope.spawn(move || {
                Owners::new(holders, &mut Processes::default(), containers)
                    .each(second, namespace, links)
            });
            let mut all = self.each(first, namespace, links);
            all.extend(second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            all
        })
    }

    fn each(&mut self, raw: &[RawSocket], namespace: Option<&str>, links: &[Link]) -> Vec<Socket> {
        let devices: BTreeMap<u32, &IfaceName> =
            links.iter().map(|link| (link.index, &link.name)).collect();
        raw.iter()
            .map(|socket| Socket {
                owners: self.of(socket),
                device: devices.get(&socket.device).map(|name| (*name).clone()),
                protocol: socket.protocol,
                local: socket.local,
                remote: socket.remote,
                state: socket.state,
                v6only: socket.v6only,
                uid: socket.uid,
                namespace: namespace.map(str::to_owned),
            })
            .collect()
    }
}

/// The name of a container; the id as engines shorten it where no engine has told the name.
pub fn name_of(id: &str, containers: &BTreeMap<String, String>) -> String {
    containers.get(id).cloned().unwrap_or_else(|| id.chars().take(12).collect())
}

/// The network namespaces of containers, the host's left out: each once, by the container that
/// sorts first among those that share it.
pub fn namespaces(
    holders: &Holders,
    processes: &mut Processes,
    containers: &BTreeMap<String, String>,
) -> Vec<Namespace> {
    let mut found: Vec<Namespace> = holders
        .namespaces
        .iter()
        .filter(|(inode, _)| Some(*inode) != holders.own_namespace)
        .filter_map(|(_, process)| {
            let id = processes.seat(*process)?.placement.container.clone()?;
            Some(Namespace { container: name_of(&id, containers), process: *process })
        })
        .collect();
    found.sort();
    found
}

/// Sorts sockets: the host's first, then by protocol, local and remote address.
pub fn sort(sockets: &mut Vec<Socket>) {
    // By reference: there may be a hundred thousand.
    sockets.sort_by(|a, b| {
        let kind = |socket: &Socket| (socket.protocol, socket.state);
        let place = a.namespace.cmp(&b.namespace).then_with(|| kind(a).cmp(&kind(b)));
        let place = place.then_with(|| a.local.cmp(&b.local)).then_with(|| a.remote.cmp(&b.remote));
        place.then_with(|| a.owners.cmp(&b.owners)).then_with(|| a.uid.cmp(&b.uid))
    });
    // Workers that listen on one port by SO_REUSEPORT look the same.
    sockets.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_have_the_same_owners_in_the_same_order_as_few() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let found = read(false, &mut Vec::new());
        let local = listener.local_addr().expect("bound");
        let own = found.sockets.iter().find(|own| own.local == local).expect("is read").clone();
        let nobodys = RawSocket { inode: 0, ..own.clone() };
        let raw: Vec<RawSocket> =
            [own, nobodys].iter().cycle().take(MANY + 1).cloned().zip(0..).map(numbered).collect();
        let (mut processes, names) = (Processes::default(), BTreeMap::new());
        let mut owners = Owners::new(&found.holders, &mut processes, &names);
        let all = owners.sockets(&raw, None, &[]);
        assert_eq!(all, owners.each(&raw, None, &[]));
        assert!(all[0].owners.iter().any(|owner| owner.process.is_some()), "{:?}", all[0]);
        assert!(all[1].owners.is_empty(), "{:?}", all[1]);
    }

    /// The socket, told from others by its user.
    fn numbered((socket, uid): (RawSocket, u32)) -> RawSocket {
        RawSocket { uid, ..socket }
    }
}
