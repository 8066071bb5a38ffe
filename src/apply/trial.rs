//! Tries the switch before it is trusted: does this kernel forget a change by itself?
//!
//! In a network namespace of its own, which ends with its thread: a change is armed that drops
//! what goes to the loopback; it must hold, the kernel must take it back at its time, and
//! confirming it after that must fail. The host's own rules are not touched.

use super::nft::{Nft, NftError};
use super::state::State;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const FILE: &str = "switch.json";

/// How long the trial's change is armed at first; longer where the machine is too slow for that.
const TIMEOUTS: [u64; 3] = [150, 600, 2400];

/// Why the switch cannot be trusted here.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// There was no namespace to try it in, or no packets in it.
    #[error("it could not be tried in a network namespace of its own")]
    NotTried(#[source] io::Error),
    /// nft or the kernel refuses it.
    #[error("this kernel, or this nft, does not load it")]
    Refused(#[source] NftError),
    /// It does not do what it must.
    #[error("{0}")]
    DoesNotHold(&'static str),
}

/// On which kernel it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    boot_id: String,
    release: String,
}

impl Tried {
    fn now() -> io::Result<Self> {
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"))?;
            Ok::<_, io::Error>(text.trim().to_owned())
        };
        Ok(Self { boot_id: read("random/boot_id")?, release: read("osrelease")? })
    }
}

/// Tries the switch, once for each boot.
pub fn trial(state: &State) -> Result<(), TrialError> {
    let now = Tried::now().map_err(TrialError::NotTried)?;
    let known = std::fs::read(state.run_file(FILE)).ok();
    let known: Option<Tried> = known.and_then(|text| serde_json::from_slice(&text).ok());
    if known.as_ref() == Some(&now) {
        return Ok(());
    }
    let nft = Nft::find().map_err(TrialError::Refused)?;
    let thread = std::thread::spawn(move || in_a_namespace(&nft));
    thread.join().unwrap_or(Err(TrialError::DoesNotHold("the trial ended early")))?;
    // Without the record the next change is tried again, nothing else.
    let text = serde_json::to_vec(&now).expect("it has only string keys");
    let _ = state.write_run_file(FILE, &text);
    Ok(())
}

/// Runs on a thread of its own: the namespace is that of the thread, and of what it starts.
fn in_a_namespace(nft: &Nft) -> Result<(), TrialError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| TrialError::NotTried(error.into()))?;
    loopback_up().map_err(TrialError::NotTried)?;
    let mut sockets = vec![UdpSocket::bind("127.0.0.1:0").map_err(TrialError::NotTried)?];
    // A kernel without IPv6 has nothing to try there.
    sockets.extend(UdpSocket::bind("[::1]:0").ok());
    for timeout in TIMEOUTS {
        if once(nft, timeout, &sockets)? {
            return Ok(());
        }
        nft.run("delete table inet fwctl_trial\n").map_err(TrialError::Refused)?;
    }
    Err(TrialError::DoesNotHold("the machine was too busy to tell; try again"))
}

/// One trial; false where the machine was too slow for it to tell anything.
fn once(nft: &Nft, timeout: u64, sockets: &[UdpSocket]) -> Result<bool, TrialError> {
    let elements = "{ ipv4 : goto new, ipv6 : goto new }";
    let timed =
        format!("{{ ipv4 timeout {timeout}ms : goto new, ipv6 timeout {timeout}ms : goto new }}");
    let table = format!(
        "create table inet fwctl_trial\n\
         table inet fwctl_trial {{\n\
         map armed {{ type nf_proto : verdict; flags timeout; elements = {timed} }}\n\
         chain new {{ drop; }}\n\
         chain input {{ type filter hook input priority 0; meta nfproto vmap @armed; }}\n\
         }}\n"
    );
    let armed_before = Instant::now();
    nft.run(&table).map_err(TrialError::Refused)?;
    let loaded = Instant::now();
    let held = !arrives_anywhere(sockets).map_err(TrialError::NotTried)?;
    let asked_in_time = armed_before.elapsed() < Duration::from_millis(timeout);
    if !held && !asked_in_time {
        return Ok(false);
    }
    if !held {
        return Err(TrialError::DoesNotHold("the change did not rule while it was armed"));
    }
    let over = loaded + Duration::from_millis(timeout + 20);
    std::thread::sleep(over.saturating_duration_since(Instant::now()));
    if !arrives_everywhere(sockets).map_err(TrialError::NotTried)? {
        return Err(TrialError::DoesNotHold("the kernel did not take the change back in time"));
    }
    let late = format!(
        "delete element inet fwctl_trial armed {elements}\n\
         add element inet fwctl_trial armed {elements}\n"
    );
    match nft.run(&late) {
        Err(NftError::Refused { .. }) => Ok(true),
        Err(error) => Err(TrialError::Refused(error)),
        Ok(()) => Err(TrialError::DoesNotHold("a change could be confirmed after its time")),
    }
}

/// Whether a datagram to itself arrives at any of the sockets.
fn arrives_anywhere(sockets: &[UdpSocket]) -> io::Result<bool> {
    let arrived = ask(sockets)?;
    Ok(arrived.contains(&true))
}

/// Whether a datagram to itself arrives at each of the sockets.
fn arrives_everywhere(sockets: &[UdpSocket]) -> io::Result<bool> {
    let arrived = ask(sockets)?;
    Ok(!arrived.contains(&false))
}

fn ask(sockets: &[UdpSocket]) -> io::Result<Vec<bool>> {
    for socket in sockets {
        // What input drops is sent all the same: over the loopback both happen in one call.
        socket.send_to(b"?", socket.local_addr()?)?;
    }
    let mut arrived = Vec::new();
    for socket in sockets {
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        match socket.recv(&mut [0; 8]) {
            Ok(_) => arrived.push(true),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                arrived.push(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(arrived)
}

/// Sets the loopback up: `RTM_NEWLINK` with `IFF_UP` for index 1, which it has in every namespace.
fn loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut request = Vec::with_capacity(32);
    // struct nlmsghdr: length, type, flags, sequence, port.
    request.extend(32_u32.to_ne_bytes());
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(REQUEST_AND_ACK.to_ne_bytes());
    request.extend([0; 8]);
    // struct ifinfomsg: family, padding, device type, index, flags, mask of flags.
    request.extend([0; 4]);
    request.extend(1_u32.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes());
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    // struct nlmsgerr behind the header: the error number, negative, or 0.
    let number = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match number.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel's answer was cut off")),
    }
}
