//! Sockets and processes → where SSH listens, who is logged in by it, and which session is ours.
//!
//! `sudo` drops `SSH_CONNECTION`, and tmux, screen and `su -` lose the ancestry of the session:
//! so the sockets that sshd holds are what counts. Where more than one session may be ours, all
//! of them are.

use super::processes::{self, Processes, Seat};
use super::sockets::{Holders, RawSocket};
use super::{Flow, Link, Route, Socket, SocketState, Ssh, SshSession, Sysctls, routing};
use crate::model::{IfaceName, Protocol};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Names of the processes of OpenSSH and Dropbear that take connections.
const DAEMONS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];
/// Units that systemd starts when someone connects.
pub(super) const UNITS: [&str; 6] = [
    "ssh.service",
    "sshd.service",
    "dropbear.service",
    "ssh@.service",
    "sshd@.service",
    "dropbear@.service",
];
/// Programs that keep a terminal alive apart from the session that started them.
const MULTIPLEXERS: [&str; 7] = ["tmux", "screen", "SCREEN", "zellij", "dtach", "abduco", "byobu"];
/// The user that sshd's unprivileged child is before somebody has logged in.
const PRIVILEGE_SEPARATION: &str = "sshd";

/// What the search looks at.
#[derive(Debug)]
pub struct Ground<'a> {
    /// The host's sockets as the kernel tells them…
    pub raw: &'a [RawSocket],
    /// …and the same with their owners, in the same order.
    pub sockets: &'a [Socket],
    /// Who holds them.
    pub holders: &'a Holders,
    /// Interfaces.
    pub links: &'a [Link],
    /// Routes.
    pub routes: &'a [Route],
    /// Settings; the range of ports for outgoing connections is one.
    pub sysctls: &'a Sysctls,
    /// Names of users, by id.
    pub users: &'a BTreeMap<u32, String>,
    /// The process whose session is asked for.
    pub process: u32,
}

/// Finds listeners and sessions.
pub fn read(ground: &Ground<'_>, processes: &mut Processes) -> Ssh {
    let mut ssh = Ssh::default();
    let tcp =
        || ground.raw.iter().zip(ground.sockets).filter(|(raw, _)| raw.protocol == Protocol::TCP);
    for (raw, socket) in tcp().filter(|(raw, _)| raw.state == SocketState::Listening) {
        if listens(raw, socket, ground.holders, processes) {
            ssh.listeners.push(raw.local);
        }
    }
    ssh.listeners.sort_unstable();
    ssh.listeners.dedup();

    let mut held = Vec::new();
    for (raw, _) in tcp() {
        let Some(remote) = raw.remote else { continue };
        // sshd also connects out, for whoever forwards a port.
        let outgoing = is_outgoing_port(raw.local.port(), ground.sysctls)
            && !ssh.listeners.iter().any(|own| own.port() == raw.local.port());
        let holders: Vec<u32> = ground.holders.of(raw.inode).collect();
        let Some(user) = logged_in(&holders, ground.users, processes) else { continue };
        if outgoing {
            continue;
        }
        ssh.sessions.push(SshSession {
            remote,
            local: raw.local,
            dialled: None,
            interface: interface(raw, remote, ground),
            user: ground.users.get(&user).cloned(),
            own: false,
        });
        held.push((holders, user));
    }
    for index in own(ground.process, &held, processes) {
        ssh.sessions[index].own = true;
    }
    ssh.sessions.sort_by_key(|session| (session.remote, session.local));
    ssh
}

/// Fills in what the clients dialled, as far as connection tracking knows it.
pub fn fill_in_dialled(sessions: &mut [SshSession], flows: &[Flow]) {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    for session in sessions {
        let (remote, local) = (plain(session.remote), plain(session.local));
        let own = |flow: &&Flow| {
            flow.tracked
                && flow.protocol == Protocol::TCP
                && (plain(flow.seen), plain(flow.served)) == (remote, local)
        };
        session.dialled = flows.iter().find(own).map(|flow| flow.dialled);
    }
}

/// Whether SSH takes connections there. A port that a user forwards by `ssh -R` is held by the
/// child that serves that session, and is none.
fn listens(raw: &RawSocket, socket: &Socket, holders: &Holders, processes: &mut Processes) -> bool {
    let mut only_init = true;
    for id in holders.of(raw.inode) {
        only_init &= id == 1;
        let outside = |seat: &Seat| {
            DAEMONS.contains(&seat.name.as_str())
                && seat.placement.session().is_none()
                && seat.placement.container.is_none()
        };
        if !processes.seat(id).is_some_and(outside) {
            continue;
        }
        let Some(process) = processes.get(id).cloned() else { continue };
        if process.uid == 0
            && !processes.get(process.parent).is_some_and(|p| DAEMONS.contains(&p.name.as_str()))
        {
            return true;
        }
    }
    only_init
        && socket
            .owners
            .iter()
            .any(|owner| owner.unit.as_deref().is_some_and(|unit| UNITS.contains(&unit)))
}

/// The user of a session; `None` where sshd does not hold the socket, or nobody has logged in yet.
fn logged_in(
    holders: &[u32],
    users: &BTreeMap<u32, String>,
    processes: &mut Processes,
) -> Option<u32> {
    let mut is_ssh = false;
    let mut user = None;
    for id in holders {
        let Some(process) = processes.get(*id) else { continue };
        let separated = users.get(&process.uid).is_some_and(|name| name == PRIVILEGE_SEPARATION);
        // An sshd in a container that shares the host's network is not the host's.
        if process.placement.container.is_some() {
            return None;
        }
        if process.name == "sshd-auth" || (separated && process.uid != 0) {
            return None;
        }
        if DAEMONS.contains(&process.name.as_str()) {
            is_ssh = true;
            let child = (process.uid != 0).then_some(process.uid);
            user = user.or(child).or(process.login_uid);
        }
    }
    is_ssh.then_some(user.unwrap_or(0))
}

/// Whether the kernel gives this port to outgoing connections by itself.
fn is_outgoing_port(port: u16, sysctls: &Sysctls) -> bool {
    let setting = |name: &str, default| sysctls.0.get(name).copied().unwrap_or(default);
    // The defaults of ip-sysctl.
    let first = setting("ipv4.ip_local_port_range", 32768);
    let last = setting("ipv4.ip_local_port_range.max", 60999);
    (first..=last).contains(&i64::from(port))
}

fn interface(raw: &RawSocket, remote: SocketAddr, ground: &Ground<'_>) -> Option<IfaceName> {
    let scope = match remote {
        SocketAddr::V6(address) if address.scope_id() != 0 => address.scope_id(),
        _ => raw.device,
    };
    if scope != 0 {
        return ground.links.iter().find(|link| link.index == scope).map(|link| link.name.clone());
    }
    routing::interface_to(ground.routes, remote.ip()).cloned()
}

/// The indexes of the sessions that the process may run in; each is given by the processes that
/// hold its socket, and its user.
fn own(process: u32, sessions: &[(Vec<u32>, u32)], processes: &mut Processes) -> Vec<usize> {
    let ancestry = processes.ancestry(process);
    let holding = |chain: &[u32]| -> Vec<usize> {
        sessions
            .iter()
            .enumerate()
            .filter(|(_, (holders, _))| holders.iter().any(|holder| chain.contains(holder)))
            .map(|(index, _)| index)
            .collect()
    };
    // The plain case: sshd is an ancestor.
    let found = holding(&ancestry);
    if !found.is_empty() {
        return found;
    }
    let Some(myself) = processes.get(process).cloned() else { return Vec::new() };
    let mut found = Vec::new();
    // The audit session and the login scope outlive the ancestry.
    for (index, (holders, _)) in sessions.iter().enumerate() {
        let same = holders.iter().any(|holder| {
            processes.get(*holder).is_some_and(|holder| {
                (myself.session.is_some() && holder.session == myself.session)
                    || (myself.placement.session().is_some()
                        && holder.placement.session() == myself.placement.session())
            })
        });
        if same {
            found.push(index);
        }
    }
    // In a multiplexer the terminal is in whatever session its client runs.
    if ancestry.iter().any(|id| is_multiplexer(*id)) {
        for id in processes::all().into_iter().filter(|id| is_multiplexer(*id)) {
            let chain = processes.ancestry(id);
            found.extend(holding(&chain));
        }
    }
    // Nothing ties it to one: every session of the same user may be it.
    if found.is_empty() && has_terminal(process) {
        let user = myself.login_uid.unwrap_or(myself.uid);
        found.extend((0..sessions.len()).filter(|index| sessions[*index].1 == user));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn is_multiplexer(process: u32) -> bool {
    processes::name(process)
        .is_some_and(|name| MULTIPLEXERS.iter().any(|known| name.starts_with(known)))
}

/// Whether the process has a controlling terminal (`tty_nr`, the seventh field of proc_pid_stat(5)).
fn has_terminal(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|text| {
        text.rsplit_once(')')
            .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(4))
            .is_some_and(|number| number != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::cgroup::Placement;
    use crate::observe::processes::Process;

    fn process(name: &str, parent: u32, uid: u32) -> Process {
        Process { name: name.to_owned(), parent, uid, ..Process::default() }
    }

    #[test]
    fn who_has_not_logged_in_has_no_session() {
        let users = BTreeMap::from([(0, "root".to_owned()), (105, "sshd".to_owned())]);
        let inside = Placement { container: Some("c0ffee".to_owned()), ..Placement::default() };
        let mut processes = Processes::of([
            (10, process("sshd", 1, 0)),
            (11, process("sshd", 10, 105)),
            (12, process("sshd-auth", 10, 0)),
            (13, process("sshd", 10, 1000)),
            (14, Process { login_uid: Some(1001), ..process("sshd-session", 10, 0) }),
            (15, process("nginx", 1, 33)),
            (16, Process { placement: inside, ..process("sshd", 1, 1000) }),
        ]);
        let mut who = |holders: &[u32]| logged_in(holders, &users, &mut processes);
        assert_eq!(who(&[10, 11]), None, "OpenSSH before 9.8, before the login");
        assert_eq!(who(&[10, 12]), None, "OpenSSH since 9.8, before the login");
        assert_eq!(who(&[10, 13]), Some(1000), "the child that serves a user");
        assert_eq!(who(&[14]), Some(1001), "the user that logged in");
        assert_eq!(who(&[16]), None, "not the host's own sshd");
        assert_eq!(who(&[10]), Some(0));
        assert_eq!(who(&[15]), None, "no sshd at all");
    }

    #[test]
    fn the_login_scope_and_the_audit_session_outlive_the_ancestry() {
        let scope = |name: &str| Placement { unit: Some(name.to_owned()), ..Placement::default() };
        let mut processes = Processes::of([
            (1, process("systemd", 0, 0)),
            (20, Process { placement: scope("session-3.scope"), ..process("sshd", 1, 0) }),
            (21, Process { session: Some(7), ..process("sshd", 1, 0) }),
            (22, Process { placement: scope("session-4.scope"), ..process("sshd", 1, 0) }),
            // Reparented, as what a terminal multiplexer has started. No process has such an id.
            (5_000_030, Process { placement: scope("session-3.scope"), ..process("bash", 1, 0) }),
            (5_000_031, Process { session: Some(7), ..process("bash", 1, 0) }),
            (5_000_032, Process { placement: scope("cron.service"), ..process("sh", 1, 0) }),
        ]);
        let sessions = [(vec![20], 0), (vec![21], 0), (vec![22], 0)];
        assert_eq!(own(5_000_030, &sessions, &mut processes), [0]);
        assert_eq!(own(5_000_031, &sessions, &mut processes), [1]);
        assert_eq!(own(5_000_032, &sessions, &mut processes), [0; 0]);
    }
}
