//! One network namespace: made, entered, configured, deleted.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace of our own, with its loopback up and no address besides.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one. `label` is part of its name, for whoever looks with `ip netns`.
    pub fn new(label: &str) -> Self {
        static LEFTOVERS: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "namespace tests need root: use tests/run net");
        LEFTOVERS.call_once(delete_leftovers);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-{label}", owner_id(std::process::id()).unwrap());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        // Before any link exists: no wait for duplicate address detection, no router
        // solicitations, and ICMP sockets for everyone.
        for (key, value) in [
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv4/ping_group_range", "0 2147483647"),
        ] {
            namespace.sysctl(key, value);
        }
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, for `setns` and `--network-namespace-path`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs a closure on a thread inside. Sockets that it makes stay inside wherever they are
    /// used afterwards. `/proc/net` shows the process's own namespace; read
    /// `/proc/thread-self/net` instead.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).unwrap();
        let result = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                inside()
            });
            thread.join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that will run inside, with `/sys` showing this namespace too. Its process id is
    /// that of the program itself.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// `ip ARGUMENTS` inside; the arguments are split at white space.
    pub fn ip(&self, arguments: &str) -> String {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Writes `/proc/sys/net/KEY`.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }

    /// Loads nft text.
    pub fn nft(&self, text: &str) {
        if let Err(error) = self.try_nft(text) {
            panic!("nft refused:\n{error}\n{text}");
        }
    }

    /// Loads nft text, or gives what nft said.
    pub fn try_nft(&self, text: &str) -> Result<(), String> {
        let mut child = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end before it has read all.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The whole ruleset as `nft list ruleset` shows it.
    pub fn ruleset(&self) -> String {
        run(self.command("nft").args(["list", "ruleset"]))
    }

    /// A pair of virtual Ethernet devices between two namespaces, both ends up.
    pub fn link(&self, device: &str, peer: &Self, peer_device: &str) {
        self.ip(&format!(
            "link add name {device} type veth peer name {peer_device} netns {}",
            peer.name
        ));
        self.ip(&format!("link set dev {device} up"));
        peer.ip(&format!("link set dev {peer_device} up"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// What every namespace's name begins with.
const PREFIX: &str = "fwt-";

/// A process id with its start time, so that a reused id is not taken for its former owner.
pub fn owner_id(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The 22nd field; the second is the name in parentheses, which may hold spaces.
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{pid}-{started}"))
}

/// Whether the process that `owner_id` named is still there.
pub fn owner_lives(id: &str) -> bool {
    let pid = id.split('-').next().and_then(|pid| pid.parse().ok());
    pid.and_then(owner_id).is_some_and(|now| now == id)
}

/// Deletes the namespaces of test runs that were killed.
fn delete_leftovers() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let owner: Vec<&str> = rest.splitn(3, '-').collect();
        if owner.len() == 3 && !owner_lives(&owner[..2].join("-")) {
            delete(&name);
        }
    }
}

fn delete(name: &str) {
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}

/// Runs a command to its end and gives its output; a failure shows what it said.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output: Output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
