//! A whole `fwctl plan` on a host with Docker ÷ what one would type to see the same state.

use crate::host::Host;
use crate::measure::{Line, Pairs, peak, time};
use crate::table::{Goal, Table};
use crate::{Size, policies};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::path::Path;

const PLAN: Line = &["/usr/local/bin/fwctl", "plan"];
const PEER: [Line; 3] = [
    &["/usr/sbin/nft", "-j", "list", "ruleset"],
    &["/usr/bin/ss", "-lntup"],
    &["/usr/bin/docker", "ps"],
];

/// Boots a host and measures on it.
pub fn run(size: Size, table: &mut Table) {
    if size.smoke && !image_is_built() {
        eprintln!("plan: not tried: there is no image of a test host yet (tests/host/image)");
        return;
    }
    let host = Host::boot();
    host.docker_run("db", "-p 5432:5432", 5432);
    host.docker_run("admin", "-p 127.0.0.1:8080:80", 80);
    host.sh("docker network create app");
    host.docker_run("web", "--network app -p 8081:80", 80);
    host.docker_run("worker", "--network app", 80);
    host.docker_run("cache", "-p 6379:6379", 6379);
    host.write("/etc/fwctl/policy.toml", policies::SMALL);
    let root = Path::new("/");
    let (before, after) = on(&host, || {
        let before = Pairs::take(size.of(40, 2), || time(&[PLAN], root), || time(&PEER, root));
        let largest = PEER.iter().map(|line| peak(line, root)).max().unwrap();
        (before, (peak(PLAN, root), largest))
    });
    table.ratio(
        "plan",
        "`fwctl plan`, Docker host ÷ `nft -j list ruleset` + `ss -lntup` + `docker ps`",
        Goal::AtMost(0.35),
        &before,
        Some(after),
    );
}

fn image_is_built() -> bool {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/image");
    let path = crate::net::run(std::process::Command::new(script).arg("--path"));
    Path::new(path.trim()).exists()
}

/// Runs a closure on a thread that is on the host as a process started there is.
pub fn on<T: Send>(host: &Host, inside: impl FnOnce() -> T + Send) -> T {
    let root = host.path("/");
    let namespaces = root.parent().unwrap().join("ns");
    // The mount namespace last: the others' names are found in this one.
    let files: Vec<File> = ["pid", "net", "uts", "ipc", "cgroup", "mnt"]
        .iter()
        .map(|name| File::open(namespaces.join(name)).unwrap())
        .collect();
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS).unwrap();
            for file in files {
                setns(file, CloneFlags::empty()).unwrap();
            }
            inside()
        });
        thread.join()
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
