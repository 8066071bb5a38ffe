//! Sockets and OpenSSH's processes → who logs in, by which connection, from now on.
//!
//! A connection alone proves nothing, nor does a process of sshd that holds it: somebody may only
//! be trying. OpenSSH says when a login has succeeded: it sets the title of the session's process
//! to `sshd: USER@TERMINAL` (`sshd-session: …` since 9.8; session.c, `do_exec`), which until then
//! is `sshd: USER [priv]` and the like. Nobody but root and that user can bring such a process
//! about.

use super::netlink::NetlinkError;
use super::processes::{self, Processes};
use super::sockets::{self, RawSocket};
use crate::model::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A connection: its local and its remote end.
pub type Connection = (SocketAddr, SocketAddr);

/// A connection by which somebody is, or was, logged in, with a terminal or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The connection.
    pub connection: Connection,
    /// Who.
    pub user: String,
}

/// Looks for logins by connections that were not open when the looking began.
#[derive(Debug)]
pub struct Logins {
    known: BTreeSet<Connection>,
    /// The process that serves a connection since; a login may be over soon, so it is not lost from
    /// sight until it ends.
    served: BTreeMap<Connection, u32>,
}

impl Logins {
    /// From now on. Connections that are only being opened are known as well.
    pub fn begin() -> Result<Self, NetlinkError> {
        let known = sockets::connections()?.iter().filter_map(connection).collect();
        Ok(Self { known, served: BTreeMap::new() })
    }

    /// Those that can be seen now.
    pub fn look(&mut self) -> Result<Vec<Login>, NetlinkError> {
        let mut fresh: Vec<(Connection, u64)> = Vec::new();
        for raw in sockets::connections()? {
            let Some(own) = connection(&raw) else { continue };
            if raw.inode != 0 && !self.known.contains(&own) && !self.served.contains_key(&own) {
                fresh.push((own, raw.inode));
            }
        }
        if !fresh.is_empty() {
            let daemons: Vec<u32> =
                processes::all().into_iter().filter(|id| is_daemon(*id)).rev().collect();
            for (own, inode) in fresh {
                let holds = |id: &&u32| sockets::holds(**id, inode);
                // Where it is nobody's yet, it may be a moment later.
                if let Some(process) = daemons.iter().find(holds) {
                    self.served.insert(own, *process);
                }
            }
        }
        self.served.retain(|_, process| processes::name(*process).is_some());
        let login = |(own, process): (&Connection, &u32)| {
            Some(Login { connection: *own, user: logged_in(*process)? })
        };
        Ok(self.served.iter().filter_map(login).collect())
    }

    /// Whether somebody may be about to log in.
    pub fn is_anybody_there(&self) -> bool {
        !self.served.is_empty()
    }
}

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
