//! `/proc/PID` → what fwctl may tell of a process: its name, its parent, its unit, its session.
//!
//! Never its arguments or its environment: those may hold secrets. A daemon's title is only asked
//! for where the daemon sets one.

use super::cgroup::{self, Placement};
use super::short_file;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// `(uid_t) -1`, `AUDIT_SID_UNSET`: no login.
const UNSET: u32 = u32::MAX;

/// A process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its name (`comm`).
    pub name: String,
    /// Its parent; 0 for none.
    pub parent: u32,
    /// Its effective user id.
    pub uid: u32,
    /// Where systemd or a container engine has put it.
    pub placement: Placement,
    /// The user id that logged in (`/proc/PID/loginuid`).
    pub login_uid: Option<u32>,
    /// The number of the audit session (`/proc/PID/sessionid`).
    pub session: Option<u32>,
}

/// The little of a process that its sockets are told by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seat {
    /// Its name (`comm`).
    pub name: String,
    /// Where systemd or a container engine has put it.
    pub placement: Placement,
}

/// Processes that were looked at, each read once, and no more of it than was asked for.
#[derive(Debug, Default)]
pub struct Processes {
    whole: BTreeMap<u32, Option<Process>>,
    seats: BTreeMap<u32, Option<Seat>>,
}

impl Processes {
    /// Processes that are as the test says.
    #[cfg(test)]
    pub fn of(processes: impl IntoIterator<Item = (u32, Process)>) -> Self {
        let whole: BTreeMap<u32, Option<Process>> =
            processes.into_iter().map(|(id, process)| (id, Some(process))).collect();
        let seat = |process: &Process| Seat {
            name: process.name.clone(),
            placement: process.placement.clone(),
        };
        let seats = whole.iter().map(|(id, process)| (*id, process.as_ref().map(seat))).collect();
        Self { whole, seats }
    }

    /// The process of this id; `None` where it is gone.
    pub fn get(&mut self, id: u32) -> Option<&Process> {
        let Self { whole, seats } = self;
        let found = whole.entry(id).or_insert_with(|| {
            read(id, seats.entry(id).or_insert_with(|| seat(id)).as_ref()?.clone())
        });
        found.as_ref()
    }

    /// The name and the place of the process of this id; `None` where it is gone.
    pub fn seat(&mut self, id: u32) -> Option<&Seat> {
        self.seats.entry(id).or_insert_with(|| seat(id)).as_ref()
    }

    /// The names of those that were looked at, and which of `others` were not.
    pub fn names(&self, mut others: Vec<u32>) -> (BTreeSet<String>, Vec<u32>) {
        others.retain(|id| !self.seats.contains_key(id));
        (self.seats.values().flatten().map(|seat| seat.name.clone()).collect(), others)
    }

    /// The process, its parent, and so on to the first; at most 256 (a pid may be reused meanwhile).
    pub fn ancestry(&mut self, id: u32) -> Vec<u32> {
        let mut chain = Vec::new();
        let mut next = id;
        while next != 0 && chain.len() < 256 && !chain.contains(&next) {
            chain.push(next);
            next = self.get(next).map_or(0, |process| process.parent);
        }
        chain
    }
}

/// The name of a process, as the kernel has it: at most 15 bytes.
pub fn name(id: u32) -> Option<String> {
    let bytes = short_file::read(format!("/proc/{id}/comm")).ok()?;
    Some(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

/// What a process shows instead of its arguments; for daemons that set it (setproctitle(3)).
pub fn title(id: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let title = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(title).into_owned())
}

/// The processes that this one has started; none where the kernel does not tell them
/// (`CONFIG_PROC_CHILDREN`).
pub fn children(id: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Every process there is, sorted.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut ids: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

fn seat(id: u32) -> Option<Seat> {
    let name = name(id)?;
    let cgroup = short_file::read(format!("/proc/{id}/cgroup")).unwrap_or_default();
    Some(Seat { name, placement: cgroup::parse(&String::from_utf8_lossy(&cgroup)) })
}

fn read(id: u32, seat: Seat) -> Option<Process> {
    let status = short_file::read(format!("/proc/{id}/status")).ok()?;
    let mut process = from_status(&String::from_utf8_lossy(&status));
    (process.name, process.placement) = (seat.name, seat.placement);
    let number = |file: &str| -> Option<u32> {
        let text = short_file::read(format!("/proc/{id}/{file}")).ok()?;
        let number = std::str::from_utf8(&text).ok()?.trim().parse().ok();
        number.filter(|number| *number != UNSET)
    };
    process.login_uid = number("loginuid");
    process.session = number("sessionid");
    Some(process)
}

/// Reads `/proc/PID/status`.
pub(super) fn from_status(status: &str) -> Process {
    let mut process = Process::default();
    for line in status.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let mut words = value.split_ascii_whitespace();
        match key {
            "Name" => value.trim().clone_into(&mut process.name),
            "PPid" => process.parent = words.next().and_then(|w| w.parse().ok()).unwrap_or(0),
            // real, effective, saved, file system
            "Uid" => process.uid = words.nth(1).and_then(|w| w.parse().ok()).unwrap_or(0),
            _ => {}
        }
    }
    process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read() {
        let text = "Name:\tsshd-session\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t812\nPPid:\t790\n\
                    Uid:\t0\t1000\t0\t0\nGid:\t0\t0\t0\t0\n";
        let process = from_status(text);
        assert_eq!(
            (process.name.as_str(), process.parent, process.uid),
            ("sshd-session", 790, 1000)
        );
    }

    #[test]
    fn ancestry_ends_at_the_first_process() {
        let mut processes = Processes::default();
        let chain = processes.ancestry(std::process::id());
        assert_eq!(chain.first(), Some(&std::process::id()));
        assert!(chain.len() > 1);
        assert!(processes.get(u32::MAX).is_none());
    }
}
