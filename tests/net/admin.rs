//! An administrator who works on the lab's host over SSH, from the internet.

use super::{Lab, Namespace, Session, run};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What fwctl or the start of sshd may take, under emulation and built for debugging.
const PATIENCE: Duration = Duration::from_secs(180);

/// A host with OpenSSH's server on port 22, and an administrator's keys.
#[derive(Debug)]
pub struct Admin {
    /// The network.
    pub lab: Lab,
    /// Stands in for the host's `/`, and holds the keys of SSH.
    root: tempfile::TempDir,
    sshd: Child,
}

impl Drop for Admin {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Admin {
    /// Starts the server.
    pub fn new(lab: Lab) -> Self {
        let root = tempfile::tempdir().unwrap();
        let sshd = sshd(&lab.host, root.path());
        fs::create_dir_all(root.path().join("etc/fwctl")).unwrap();
        Self { lab, root, sshd }
    }

    /// Logs in from the internet, at this address of the host.
    pub fn ssh(&self, to: &str) -> Session {
        let mut client = self.lab.internet.command("ssh");
        client.arg("-i").arg(self.root.path().join("key"));
        client.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        client.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-F", "none"]);
        // The usual exchange of keys takes seconds under emulation.
        client.args(["-o", "KexAlgorithms=curve25519-sha256"]);
        client.args([&format!("root@{to}"), "sh"]);
        Session::start(client)
    }

    /// Writes the host's policy.
    pub fn policy(&self, text: &str) {
        let path = self.root.path().join("etc/fwctl/policy.toml");
        fs::write(path, format!("version = 1\n{text}")).unwrap();
    }

    /// Runs fwctl in the session, and gives what it printed and its exit code.
    pub fn fwctl(&self, ssh: &mut Session, arguments: &str) -> (String, i32) {
        let root = self.root.path().display();
        let program = env!("CARGO_BIN_EXE_fwctl");
        let command = format!("FWCTL_ROOT={root} {program} {arguments}; echo exit $?");
        let answer = ssh.try_ask_within(&command, PATIENCE).expect("the SSH session goes on");
        let (said, code) = answer.rsplit_once("exit ").expect("an exit code");
        (said.to_owned(), code.parse().unwrap())
    }
}

/// The TOML that a refusal says to add.
pub fn fix(answer: &str) -> String {
    let keys = ["[[allow]]", "ports ", "from "];
    let lines = answer.lines().map(str::trim);
    let lines = lines.filter(|line| keys.iter().any(|key| line.starts_with(key)));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// OpenSSH's own server on port 22, with keys made here.
fn sshd(host: &Namespace, directory: &Path) -> Child {
    fs::create_dir_all("/run/sshd").unwrap();
    let file = |name: &str| directory.join(name).display().to_string();
    for name in ["host_key", "key"] {
        let new = ["-q", "-t", "ed25519", "-N", "", "-f"];
        run(Command::new("ssh-keygen").args(new).arg(file(name)));
    }
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PermitRootLogin yes\nUseDNS no\n",
        file("host_key"),
        file("key.pub"),
    );
    fs::write(file("sshd_config"), config).unwrap();
    let mut sshd = host.command("/usr/sbin/sshd");
    let sshd = sshd.args(["-D", "-f", &file("sshd_config")]).stdin(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while !host.enter(|| std::net::TcpStream::connect("127.0.0.1:22").is_ok()) {
        assert!(Instant::now() < end, "sshd does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    sshd
}
