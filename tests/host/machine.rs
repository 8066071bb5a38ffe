//! Boots a host, runs commands in it, reboots it, cuts its power.

use super::cgroup;
use crate::net::{Lab, Namespace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

/// How a host differs from the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// With Docker.
    Docker,
    /// Docker is installed, but never starts; nothing tracks connections.
    WithoutDocker,
    /// With Docker, and with the programs of `tests/host/neighbours`, none of them started.
    Neighbours,
}

/// A booted host.
#[derive(Debug)]
pub struct Host {
    /// Its network and its clients.
    pub lab: Lab,
    setup: Setup,
    directory: PathBuf,
    groups: Vec<PathBuf>,
    /// The supervising `systemd-nspawn`; `None` while the power is off.
    supervisor: Option<Child>,
    init: u32,
}

/// How long a boot or a shutdown may take on a slow machine.
const BOOT: Duration = Duration::from_secs(120);

impl Host {
    /// A host with everything, Docker included.
    pub fn boot() -> Self {
        Self::boot_as(Setup::Docker)
    }

    /// A host on which Docker never ran.
    pub fn without_docker() -> Self {
        Self::boot_as(Setup::WithoutDocker)
    }

    /// Boots, and waits until every unit has started.
    pub fn boot_as(setup: Setup) -> Self {
        static LEFTOVERS: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let lab = Lab::without_host_addresses();
        LEFTOVERS.call_once(end_leftovers);
        let owner = crate::net::owner_id(std::process::id()).unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = runs().join(format!("{owner}-{count}"));
        for part in ["upper", "work", "root", "docker"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        let groups = cgroup::make(&format!("fwctl-test-{owner}-{count}"));
        let listed: Vec<String> = groups.iter().map(|group| group.display().to_string()).collect();
        fs::write(directory.join("cgroups"), listed.join("\n")).unwrap();
        let mut host = Self { lab, setup, directory, groups, supervisor: None, init: 0 };
        if setup == Setup::WithoutDocker {
            let units = host.directory.join("upper/etc/systemd/system");
            fs::create_dir_all(&units).unwrap();
            for unit in ["docker.service", "docker.socket", "containerd.service"] {
                std::os::unix::fs::symlink("/dev/null", units.join(unit)).unwrap();
            }
        }
        host.power_on();
        host
    }

    /// Shuts the host down cleanly and boots it again, with a new network stack as a machine's
    /// reboot brings it: no rules, no connections tracked, no sysctls set.
    pub fn reboot(&mut self) {
        let _ = self.inside("systemctl poweroff").output();
        self.wait_off();
        self.renew_network();
        self.power_on();
    }

    /// Ends everything at once, as a power cut does, and boots again. Unlike there, what had been
    /// written but not yet synced is kept: the machine's kernel goes on.
    pub fn power_cut(&mut self) {
        kill(self.init);
        self.wait_off();
        self.renew_network();
        self.power_on();
    }

    /// Runs a shell script as root and gives what it printed, trimmed. Panics where it fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "on the host, `{script}` gave {}\n{stdout}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        stdout.trim_end().to_owned()
    }

    /// Runs a shell script as root, whatever comes of it. After two minutes it is ended, with exit
    /// status 124.
    pub fn try_sh(&self, script: &str) -> Output {
        self.inside(script).output().unwrap()
    }

    /// The command that runs a shell script as root on the host, not yet started.
    pub fn inside(&self, script: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "120", "nsenter", "--target", &self.init.to_string()])
            .args(["--all", "env", "-i", "HOME=/root", "LC_ALL=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-c", &format!("cd\n{script}")])
            .stdin(Stdio::null());
        command
    }

    /// Writes a file on the host, and the directories above it.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Reads a file of the host.
    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Where an absolute path of the host lies as this process sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init)).join(path.trim_start_matches('/'))
    }

    /// Whether the host came up with Docker.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    fn power_on(&mut self) {
        let console = fs::File::create(self.directory.join("console.log")).unwrap();
        let tree = match self.setup {
            Setup::Docker | Setup::WithoutDocker => image(),
            Setup::Neighbours => neighbours(),
        };
        let tree = tree.join("tree");
        // The overlay is mounted in a mount namespace of the supervisor's own: it goes with it.
        // Where the file system cannot carry an overlay, the tree is copied.
        let script = format!(
            "cd '{}' && mount -t overlay overlay -o 'lowerdir={},upperdir=upper,workdir=work' root \
             || {{ [ -e root/etc ] || cp -a --reflink=auto '{}/.' root && cp -a upper/. root; }} \
             && while read -r group || [ \"$group\" ]; do echo $$ >\"$group/cgroup.procs\"; done <cgroups \
             && exec systemd-nspawn \"$@\"",
            self.directory.display(),
            tree.display(),
            tree.display(),
        );
        let docker = format!("--bind={}:/var/lib/docker", self.directory.join("docker").display());
        let program = format!("--bind-ro={}:/usr/local/bin/fwctl", env!("CARGO_BIN_EXE_fwctl"));
        let supervisor = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .args(["--boot", "--directory=root", "--machine=testhost", "--console=pipe"])
            .args(["--register=no", "--keep-unit", "--quiet", "--capability=all"])
            .arg("--system-call-filter=add_key keyctl bpf @privileged")
            .arg(format!("--network-namespace-path={}", self.lab.host.path().display()))
            .args([&docker, &program])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let pid = supervisor.id();
        fs::write(self.directory.join("supervisor"), crate::net::owner_id(pid).unwrap()).unwrap();
        self.supervisor = Some(supervisor);
        let end = Instant::now() + BOOT;
        self.init = loop {
            if let Some(init) = init_of(pid) {
                break init;
            }
            let ended = self.supervisor.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "no boot:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(20));
        };
        loop {
            let state = self.try_sh("systemctl is-system-running");
            match String::from_utf8_lossy(&state.stdout).trim() {
                "running" => break,
                "degraded" => {
                    panic!("the host booted degraded:\n{}", self.sh("systemctl --failed; systemctl status --no-pager --full --state=failed || true"))
                }
                _ => assert!(Instant::now() < end, "the host does not boot:\n{}", self.console()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait_off(&mut self) {
        let Some(mut supervisor) = self.supervisor.take() else { return };
        let end = Instant::now() + BOOT;
        while supervisor.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                let _ = supervisor.kill();
                let _ = supervisor.wait();
                assert!(std::thread::panicking(), "the host did not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives the host a namespace in which nothing has ever happened.
    fn renew_network(&mut self) {
        for client in [&self.lab.internet, &self.lab.lan] {
            // One end of each pair: the other goes with it, now and not when the namespace does.
            client.ip("link del eth0");
        }
        self.lab.host = Namespace::new("host");
        self.lab.wire();
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.join("console.log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a failed test needs most.
            let log =
                self.try_sh("journalctl --no-pager --lines=60 --priority=notice; fwctl status");
            eprintln!("--- the host's journal ---\n{}", String::from_utf8_lossy(&log.stdout));
        }
        if self.supervisor.is_some() {
            kill(self.init);
            self.wait_off();
        }
        cgroup::remove(&self.groups);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The directory of the built image; builds it where it is missing.
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| built(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/image")))
}

/// The same with the programs of `tests/host/neighbours`.
fn neighbours() -> &'static Path {
    static NEIGHBOURS: OnceLock<PathBuf> = OnceLock::new();
    NEIGHBOURS.get_or_init(|| built(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/neighbours")))
}

fn built(script: &str) -> PathBuf {
    let built = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.unwrap_or_else(|e| panic!("{script}: {e}"));
    assert!(built.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

/// Where hosts keep what they write.
fn runs() -> PathBuf {
    image().parent().unwrap().join("runs")
}

/// Ends the hosts of test runs that were killed, and removes what they wrote.
fn end_leftovers() {
    let Ok(entries) = fs::read_dir(runs()) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((owner, _)) = name.rsplit_once('-') else { continue };
        if crate::net::owner_lives(owner) {
            continue;
        }
        let supervisor = fs::read_to_string(entry.path().join("supervisor")).unwrap_or_default();
        if crate::net::owner_lives(&supervisor) {
            let pid = supervisor.split('-').next().and_then(|pid| pid.parse().ok());
            if let Some(init) = pid.and_then(init_of) {
                kill(init);
            }
            let end = Instant::now() + Duration::from_secs(10);
            while crate::net::owner_lives(&supervisor) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let groups = fs::read_to_string(entry.path().join("cgroups")).unwrap_or_default();
        cgroup::remove(&groups.lines().map(PathBuf::from).collect::<Vec<_>>());
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// The first process of the host that a `systemd-nspawn` supervises: its child that is process 1
/// of a namespace of its own and already runs systemd.
fn init_of(supervisor: u32) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        let is_init = field("PPid:")? == supervisor.to_string()
            && field("NSpid:")?.ends_with("\t1")
            && field("Name:")? == "systemd";
        is_init.then_some(pid)
    })
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}
