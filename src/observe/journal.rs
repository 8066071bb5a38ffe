//! The journal → the logins that OpenSSH has accepted since it was opened.
//!
//! In: what journald keeps of processes named as sshd's that run as root; both are fields that it
//! sets itself (systemd.journal-fields(7)). Out: user, address and port of each login. Places in
//! the journal are cursors, so that nobody's clock counts.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

/// Where it is. `PATH` is not asked: it may be anybody's.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// The processes that say it, before and since OpenSSH 9.8.
const OF_SSHD: [&str; 5] = ["_UID=0", "_COMM=sshd", "+", "_UID=0", "_COMM=sshd-session"];
const CURSOR: &str = "-- cursor: ";

/// The journal from some moment on.
#[derive(Debug)]
pub struct Journal {
    cursor: String,
}

impl Journal {
    /// From now on; `None` where this host keeps none.
    pub fn open() -> Option<Self> {
        let text = run(&["--lines=1"])?;
        Some(Self { cursor: cursor(&text)? })
    }

    /// The logins that were accepted since it was asked last: from where, and as whom.
    pub fn accepted(&mut self) -> Vec<(SocketAddr, String)> {
        let after = format!("--after-cursor={}", self.cursor);
        let mut arguments = vec![after.as_str()];
        arguments.extend(OF_SSHD);
        let Some(text) = run(&arguments) else { return Vec::new() };
        if let Some(cursor) = cursor(&text) {
            self.cursor = cursor;
        }
        text.lines().filter_map(accepted).collect()
    }
}

fn run(arguments: &[&str]) -> Option<String> {
    let asked = Command::new(JOURNALCTL)
        .args(["--quiet", "--no-pager", "--output=cat", "--show-cursor"])
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
}

fn cursor(text: &str) -> Option<String> {
    text.lines().rev().find_map(|line| line.strip_prefix(CURSOR)).map(str::to_owned)
}

/// Reads `Accepted METHOD for USER from ADDRESS port PORT ssh2…` (OpenSSH's auth.c, `auth_log`).
fn accepted(line: &str) -> Option<(SocketAddr, String)> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["Accepted", _, "for", user, "from", address, "port", port, ..] = words.as_slice() else {
        return None;
    };
    let address: IpAddr = address.split('%').next()?.parse().ok()?;
    let from = SocketAddr::new(address.to_canonical(), port.parse().ok()?);
    Some((from, (*user).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_logins_are_read() {
        let line =
            "Accepted publickey for alice from 203.0.113.1 port 50000 ssh2: ED25519 SHA256:x";
        let from = "203.0.113.1:50000".parse().expect("valid");
        assert_eq!(accepted(line), Some((from, "alice".to_owned())));
        for other in [
            "Failed publickey for alice from 203.0.113.1 port 50000 ssh2",
            "Failed password for invalid user Accepted x for alice from 203.0.113.1 port 1 ssh2",
            "Partial publickey for alice from 203.0.113.1 port 50000 ssh2",
            "Accepted publickey for alice from nowhere port 50000 ssh2",
            "Accepted",
        ] {
            assert_eq!(accepted(other), None, "{other}");
        }
    }

    #[test]
    fn the_last_cursor_is_where_to_go_on() {
        assert_eq!(cursor("a line\n-- cursor: s=1;i=2\n").as_deref(), Some("s=1;i=2"));
        assert_eq!(cursor("a line\n"), None);
    }
}
