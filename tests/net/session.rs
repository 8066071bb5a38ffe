//! A long-lived session, as an administrator has it open over SSH.

use std::io::{BufRead, BufReader, Write};
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

impl Session {
    /// Starts a client, `ssh ... sh`, and waits for the shell.
    pub fn start(mut client: Command) -> Self {
        let mut client = client
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
        let mut session = Self { client, input, lines };
        // Logging in takes long where the machine is emulated.
        let ready = session.try_ask_within("echo ready", Duration::from_secs(60));
        assert_eq!(ready.as_deref(), Some("ready"), "no SSH session");
        session
    }

    /// Runs a command in the session's shell and gives all that it printed (both streams). Panics
    /// where the session is silent for ten seconds.
    pub fn ask(&mut self, command: &str) -> String {
        self.try_ask(command).unwrap_or_else(|| panic!("the SSH session is silent on `{command}`"))
    }

    /// The same; `None` where the session is dead or silent.
    pub fn try_ask(&mut self, command: &str) -> Option<String> {
        self.try_ask_within(command, PATIENCE)
    }

    /// The same, for a command that may take longer.
    pub fn try_ask_within(&mut self, command: &str, patience: Duration) -> Option<String> {
        const END: &str = "--end of answer--";
        writeln!(self.input, "{{ {command}\n}} 2>&1 </dev/null; echo; echo '{END}'").ok()?;
        self.input.flush().ok()?;
        let end = Instant::now() + patience;
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
