//! Boots a guest, runs commands in it, and ends it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// A booted guest.
#[derive(Debug)]
pub struct Guest {
    /// Holds the port, what commands are read from, and what they wrote.
    directory: tempfile::TempDir,
    emulator: Mutex<Child>,
    port: Mutex<UnixStream>,
    answers: Arc<Answers>,
    count: AtomicU32,
}

/// What the guest has answered so far.
#[derive(Debug, Default)]
struct Answers {
    told: Mutex<Told>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// The exit status of each command that has ended, as a shell tells it.
    ended: HashMap<u32, i32>,
    ready: bool,
    /// The guest has gone.
    gone: bool,
}

/// How long a boot may take on a slow machine.
const BOOT: Duration = Duration::from_secs(180);

/// How long a command may take where nothing else is said.
const COMMAND: Duration = Duration::from_secs(120);

/// Which kernel a guest boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// That of Debian's release.
    Release,
    /// That of the release's backports.
    Newer,
}

/// The one guest of this test process, booted when it is first asked for.
pub fn shared() -> &'static Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    GUEST.get_or_init(|| Guest::boot(Kernel::Release))
}

/// The same with a newer kernel.
pub fn shared_newer() -> &'static Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    GUEST.get_or_init(|| Guest::boot(Kernel::Newer))
}

impl Guest {
    /// Boots, and waits until it takes commands.
    pub fn boot(kernel: Kernel) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("port")).unwrap();
        let share = directory.path().join("share");
        fs::create_dir(&share).unwrap();
        let mut emulator = emulator(directory.path(), &share, kernel);
        let port = accept(&listener, &mut emulator, directory.path());
        let answers = Arc::new(Answers::default());
        let reader = BufReader::new(port.try_clone().unwrap());
        let heard = Arc::clone(&answers);
        std::thread::spawn(move || heard.listen(reader));
        let guest = Self {
            directory,
            emulator: Mutex::new(emulator),
            port: Mutex::new(port),
            answers,
            count: AtomicU32::new(0),
        };
        guest.wait(BOOT, |told| told.ready.then_some(()));
        guest
    }

    /// Runs a shell script as root and gives what it printed, trimmed. Panics where it fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "in the guest, `{script}` gave {}\n{stdout}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        stdout.trim_end().to_owned()
    }

    /// Runs a shell script as root, whatever comes of it. After two minutes it is ended, with exit
    /// status 124.
    pub fn try_sh(&self, script: &str) -> Output {
        self.try_sh_within(script, COMMAND)
    }

    /// Runs a shell script as root, whatever comes of it, and ends it after `limit`, with exit
    /// status 124. What the script leaves in the background goes on.
    pub fn try_sh_within(&self, script: &str, limit: Duration) -> Output {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let file = |part: &str| self.directory.path().join(format!("share/{number}.{part}"));
        fs::write(file("sh"), script).unwrap();
        writeln!(self.port.lock().unwrap(), "{number} {}", limit.as_secs()).unwrap();
        // Longer than the guest itself takes to end it.
        let limit = limit + Duration::from_secs(30);
        let status = self.wait(limit, |told| told.ended.remove(&number));
        let output = Output {
            status: ExitStatus::from_raw(status << 8),
            stdout: fs::read(file("out")).unwrap(),
            stderr: fs::read(file("err")).unwrap(),
        };
        for part in ["sh", "out", "err"] {
            fs::remove_file(file(part)).unwrap();
        }
        output
    }

    /// Waits for something to have been answered.
    fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&mut Told) -> Option<T>) -> T {
        let end = Instant::now() + limit;
        let mut told = self.answers.told.lock().unwrap();
        loop {
            if let Some(found) = found(&mut told) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if told.gone || left.is_zero() {
                // Not poisoned for the tests that go on.
                drop(told);
                panic!("the guest does not answer:\n{}", console(self.directory.path()));
            }
            told = self.answers.news.wait_timeout(told, left).unwrap().0;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let emulator = self.emulator.get_mut().unwrap();
        let _ = emulator.kill();
        let _ = emulator.wait();
    }
}

impl Answers {
    fn listen(&self, reader: BufReader<UnixStream>) {
        for line in reader.lines().map_while(Result::ok) {
            let mut told = self.told.lock().unwrap();
            match line.split_once(' ') {
                None => told.ready |= line == "ready",
                Some((number, status)) => {
                    told.ended.insert(number.parse().unwrap(), status.parse().unwrap());
                }
            }
            self.news.notify_all();
        }
        self.told.lock().unwrap().gone = true;
        self.news.notify_all();
    }
}

/// Starts the machine. It cannot outlive this process: the kernel kills it when the thread that
/// started it has ended, which therefore waits for ever.
fn emulator(directory: &Path, share: &Path, kernel: Kernel) -> Child {
    let image = image(kernel);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi"]);
    // Not the newest processor: page tables of five levels and wide registers take the emulator twice
    // the time.
    command.args(["-machine", "q35", "-cpu", "Nehalem", "-smp", "2", "-m", "1536"]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.args(["-nic", "none", "-device", "virtio-rng-pci"]);
    command.arg("-kernel").arg(image.join("vmlinuz")).arg("-initrd").arg(image.join("initrd"));
    // On a busy machine the timer's interrupt may come too late for the kernel's check of it, which
    // would then wait for ever.
    command
        .arg("-append")
        .arg("console=ttyS0 loglevel=4 panic=-1 no_timer_check mitigations=off nokaslr audit=0");
    command.args(["-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"]);
    command.args(["-chardev", "socket,id=port,path=port", "-device", "virtio-serial"]);
    command.args(["-device", "virtserialport,chardev=port"]);
    let mut add = |tag: &str, path: &Path, how: &str| {
        // A comma would end the value.
        let path = path.display().to_string().replace(',', ",,");
        command.args(["-virtfs", &format!("local,mount_tag={tag},path={path},{how}")]);
    };
    add("tree", &image.join("tree").canonicalize().unwrap(), READ);
    add("layer", &image.join("layer"), READ);
    add("share", share, "security_model=none");
    let programs = std::env::current_exe().unwrap();
    let programs = programs.ancestors().nth(2).unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mounts = [("repository", repository), ("programs", programs)].map(|(tag, path)| {
        add(tag, path, READ);
        format!("{tag} {}\n", path.display())
    });
    fs::write(share.join("mounts"), mounts.concat()).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let said = fs::File::create(directory.join("emulator.log")).unwrap();
    command.stderr(said).current_dir(directory);
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        give.send(command.spawn()).unwrap();
        loop {
            std::thread::park();
        }
    });
    take.recv().unwrap().unwrap()
}

/// A directory that the guest only reads. Files of any owner are shown as they are.
const READ: &str = "security_model=none,readonly=on,multidevs=remap";

/// Waits for the emulator to take the other end.
fn accept(listener: &UnixListener, emulator: &mut Child, directory: &Path) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + BOOT;
    loop {
        if let Ok((port, _)) = listener.accept() {
            port.set_nonblocking(false).unwrap();
            return port;
        }
        let ended = emulator.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < end, "no boot:\n{}", console(directory));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the emulator and the guest's kernel said last.
fn console(directory: &Path) -> String {
    let read = |name: &str| fs::read(directory.join(name)).unwrap_or_default();
    let text = [read("emulator.log"), read("console.log")].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The directory of what a guest boots; builds it where it is missing.
fn image(kernel: Kernel) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/image");
    let newer = (kernel == Kernel::Newer).then_some("--newer");
    let built =
        Command::new(script).args(newer).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.unwrap_or_else(|e| panic!("{script}: {e}"));
    assert!(built.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}
