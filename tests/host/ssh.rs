//! A long-lived SSH session from a client, as an administrator has it open.

use super::machine::{Host, image};
use crate::net::Namespace;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// An open session with a shell at its other end.
#[derive(Debug)]
pub struct Session {
    client: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// How long a session may take to answer: TCP sends a lost segment again within that time.
const PATIENCE: Duration = Duration::from_secs(10);

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
        let mut client = self
            .ssh_command(from, ("root", address), "", "sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let input = client.stdin.take().unwrap();
        let output = client.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut session = Session { client, input, lines };
        assert_eq!(session.ask("echo ready"), "ready", "no SSH session");
        session
    }
}

impl Session {
    /// Runs a command in the session's shell and gives all that it printed (both streams). Panics
    /// where the session is silent for ten seconds.
    pub fn ask(&mut self, command: &str) -> String {
        self.try_ask(command).unwrap_or_else(|| panic!("the SSH session is silent on `{command}`"))
    }

    /// The same; `None` where the session is dead or silent.
    pub fn try_ask(&mut self, command: &str) -> Option<String> {
        const END: &str = "--end of answer--";
        writeln!(self.input, "{{ {command}\n}} 2>&1 </dev/null; echo; echo '{END}'").ok()?;
        self.input.flush().ok()?;
        let end = Instant::now() + PATIENCE;
        let mut answer = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            if line == END {
                return Some(answer.join("\n").trim_end().to_owned());
            }
            answer.push(line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
