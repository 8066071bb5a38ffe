//! A control group for each host, in every hierarchy of the machine. Two hosts in one group would
//! remove each other's units' groups.

use std::fs;
use std::path::{Path, PathBuf};

/// Makes a group `name` below this process's own, in each hierarchy, and gives their directories.
pub fn make(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut made = Vec::new();
    // "ID:CONTROLLERS:/PATH"; version 2 has no controllers.
    for membership in memberships.lines() {
        let mut fields = membership.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let mount = mounts.lines().find_map(|mount| {
            let fields: Vec<&str> = mount.split(' ').collect();
            let holds = match fields[2] {
                "cgroup" => controllers.split(',').all(|c| fields[3].split(',').any(|o| o == c)),
                "cgroup2" => controllers.is_empty(),
                _ => false,
            };
            (holds && !(fields[2] == "cgroup" && controllers.is_empty())).then_some(fields[1])
        });
        let Some(mount) = mount else { continue };
        let parent = Path::new(mount).join(path.trim_start_matches('/'));
        let group = parent.join(name);
        fs::create_dir_all(&group).unwrap_or_else(|e| panic!("{}: {e}", group.display()));
        // A new group of version 1 may use no processor and no memory until it is told.
        for limit in ["cpuset.cpus", "cpuset.mems"] {
            if controllers == "cpuset" {
                fs::write(group.join(limit), fs::read(parent.join(limit)).unwrap()).unwrap();
            }
        }
        made.push(group);
    }
    made
}

/// Removes groups and all below them; nothing may run in them any more.
pub fn remove(groups: &[PathBuf]) {
    for group in groups {
        if let Ok(entries) = fs::read_dir(group) {
            let below: Vec<PathBuf> =
                entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            remove(&below);
        }
        let _ = fs::remove_dir(group);
    }
}
