//! Sockets and OpenSSH's processes → who logs in, by which connection, from now on.
//!
//! A connection alone proves nothing, nor does a process of sshd that holds it: somebody may only
//! be trying. OpenSSH says when a login has succeeded: it sets the title of the session's process
//! to `sshd: USER@TERMINAL` (`sshd-session: …` since 9.8; session.c, `do_exec`), which until then
//! is `sshd: USER [priv]` and the like. Nobody but root and that user can bring such a process
//! about. Of a session that is over before it was looked at, the journal tells that the process had
//! accepted the login.

use super::journal::Journal;
use super::netlink::NetlinkError;
use super::processes::{self, Processes};
use super::sockets::{self, RawSocket};
use crate::model::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A connection: its local and its remote end.
pub type Connection = (SocketAddr, SocketAddr);

/// A connection by which somebody is, or was, logged in, with a terminal or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The client's end of the connection.
    pub from: SocketAddr,
    /// Who.
    pub user: String,
}

/// Looks for logins by connections that were not open when the looking began.
#[derive(Debug)]
pub struct Logins {
    known: BTreeSet<Connection>,
    /// The process that serves a connection since.
    served: BTreeMap<Connection, u32>,
    /// What tells of those that were over before anybody looked, and when it was asked last.
    journal: Option<(Journal, Instant)>,
}

impl Logins {
    /// From now on. Connections that are only being opened are known as well.
    pub fn begin() -> Result<Self, NetlinkError> {
        let journal = Journal::open().map(|journal| (journal, Instant::now()));
        let known = sockets::connections()?.iter().filter_map(connection).collect();
        Ok(Self { known, served: BTreeMap::new(), journal })
    }

    /// Looks for connections that have come since.
    pub fn listen(&mut self) -> Result<(), NetlinkError> {
        let mut fresh: Vec<(Connection, u64)> = Vec::new();
        for raw in sockets::connections()? {
            let Some(own) = connection(&raw) else { continue };
            if raw.inode != 0 && !self.known.contains(&own) && !self.served.contains_key(&own) {
                fresh.push((own, raw.inode));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let daemons: Vec<u32> =
            processes::all().into_iter().filter(|id| is_daemon(*id)).rev().collect();
        for (own, inode) in fresh {
            let holds = |id: &&u32| sockets::holds(**id, inode);
            // Where it is nobody's yet, it may be a moment later.
            if let Some(process) = daemons.iter().find(holds) {
                self.served.insert(own, *process);
            }
        }
        Ok(())
    }

    /// Those who have logged in. What `ssh HOST true` runs may be over before anybody looks: then
    /// the journal tells, a second later.
    pub fn look(&mut self) -> Vec<Login> {
        self.served.retain(|_, process| processes::name(*process).is_some());
        let login = |((_, from), process): (&Connection, &u32)| {
            Some(Login { from: *from, user: logged_in(*process)? })
        };
        let mut logins: Vec<Login> = self.served.iter().filter_map(login).collect();
        if let Some((journal, asked)) = &mut self.journal
            && asked.elapsed() > JOURNAL
        {
            *asked = Instant::now();
            let known: BTreeSet<SocketAddr> = self.known.iter().map(|(_, from)| *from).collect();
            let fresh = journal.accepted().into_iter().filter(|(from, _)| !known.contains(from));
            logins.extend(fresh.map(|(from, user)| Login { from, user }));
        }
        logins
    }

    /// Whether somebody may be about to log in.
    pub fn is_anybody_there(&self) -> bool {
        !self.served.is_empty()
    }
}

/// How often the journal is asked.
const JOURNAL: Duration = Duration::from_secs(1);

fn connection(raw: &RawSocket) -> Option<Connection> {
    Some((raw.local, raw.remote.filter(|_| raw.protocol == Protocol::TCP)?))
}

fn is_daemon(process: u32) -> bool {
    processes::name(process).is_some_and(|name| matches!(name.as_str(), "sshd" | "sshd-session"))
}

/// The user whom this process of OpenSSH, or the child that it has for that, serves.
fn logged_in(process: u32) -> Option<String> {
    let children = processes::children(process);
    std::iter::once(process).chain(children).find_map(|id| {
        let user = user_of(&processes::title(id)?)?.to_owned();
        let account = nix::unistd::User::from_name(&user).ok().flatten()?;
        // The process that serves a user runs as that user.
        let runs_as = Processes::default().get(id)?.uid;
        (is_daemon(id) && account.uid.as_raw() == runs_as).then_some(user)
    })
}

/// The user in the title of a session that has begun.
fn user_of(title: &str) -> Option<&str> {
    let rest = title.strip_prefix("sshd: ").or_else(|| title.strip_prefix("sshd-session: "))?;
    let (user, terminal) = rest.trim_end().rsplit_once('@')?;
    let is_terminal = !terminal.is_empty() && !terminal.contains([' ', '[']);
    (is_terminal && !user.is_empty() && !user.contains([' ', '['])).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_that_has_begun_names_its_user() {
        assert_eq!(user_of("sshd: root@pts/0"), Some("root"));
        assert_eq!(user_of("sshd: root@notty"), Some("root"));
        assert_eq!(user_of("sshd-session: alice@pts/3,pts/4  "), Some("alice"));
        for before in [
            "sshd: root [priv]",
            "sshd: alice [net]",
            "sshd: unknown [priv]",
            "sshd: [accepted]",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
            "sshd: alice",
            "sshd: a@b [priv]",
            "sshd: @pts/0",
            "bash: root@pts/0",
        ] {
            assert_eq!(user_of(before), None, "{before}");
        }
    }
}
