//! SSH to a host from a client.

use super::machine::{Host, image};
use crate::net::{Namespace, Session};
use std::net::IpAddr;
use std::process::{Command, Stdio};

impl Host {
    /// The command that logs in from a client's namespace, not yet started: `ssh OPTIONS
    /// USER@ADDRESS COMMAND`; the words of `options` are split at white space.
    #[expect(clippy::unused_self, reason = "a session exists only with a booted host")]
    pub fn ssh_command(
        &self,
        from: &Namespace,
        (user, address): (&str, IpAddr),
        options: &str,
        command: &str,
    ) -> Command {
        let mut client = from.command("ssh");
        client
            .args(options.split_whitespace())
            .arg("-i")
            .arg(image().join("ssh_key"))
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"])
            .args(["-F", "none", &format!("{user}@{address}"), command])
            .stdin(Stdio::null());
        client
    }

    /// Logs in as root from a client's namespace.
    pub fn ssh(&self, from: &Namespace, address: IpAddr) -> Session {
        Session::start(self.ssh_command(from, ("root", address), "", "sh"))
    }
}
