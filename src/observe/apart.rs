//! Network namespaces with an uplink of their own: what comes in there passes no rule of the host's.
//!
//! In: a process of each namespace. Out: the interfaces of each that reach the outside without the
//! host: hardware that was moved there, macvlan, ipvlan and VLANs. Pairs of veth lead through the
//! host, and are none of these.

use super::links;
use super::snapshot::{Handler, Link, LinkKind};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::thread::{Scope, ScopedJoinHandle};

/// More namespaces than this are not looked into.
const MOST: usize = 256;

/// Interfaces to the outside, each with a process of the namespace that has it.
type Found = Vec<(u32, Link)>;

/// Looks into these namespaces (inode, process), on a thread of its own, as it does not come back;
/// `None` where there is nothing to look into.
///
/// Only for the namespace of the first process, the host's: inside of another one, the host's own
/// interfaces would be found.
pub fn look<'scope>(
    scope: &'scope Scope<'scope, '_>,
    namespaces: &[(u64, u32)],
    own: Option<u64>,
) -> Option<ScopedJoinHandle<'scope, Found>> {
    let first = fs::metadata("/proc/1/ns/net").ok().map(|own| own.ino());
    if own.is_none() || own != first {
        return None;
    }
    let others: Vec<u32> = namespaces
        .iter()
        .filter(|(inode, _)| Some(*inode) != own)
        .map(|(_, process)| *process)
        .take(MOST)
        .collect();
    if others.is_empty() {
        return None;
    }
    let visit = move || {
        let mut found = Vec::new();
        for process in others {
            let entered = File::open(format!("/proc/{process}/ns/net")).and_then(|file| {
                Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
            });
            if entered.is_ok() {
                let links = links::all().unwrap_or_default();
                let out = links
                    .into_iter()
                    .filter(|(link, apart)| link.up && is_uplink(&link.kind, *apart));
                found.extend(out.map(|(link, _)| (process, link)));
            }
        }
        found
    };
    Some(scope.spawn(visit))
}

/// What was found, by whose process it is.
pub fn handlers(
    found: Option<ScopedJoinHandle<'_, Found>>,
    mut whose: impl FnMut(u32) -> String,
) -> Vec<Handler> {
    let found = found.map(ScopedJoinHandle::join).transpose().unwrap_or_default();
    let uplink = |(process, link): (u32, Link)| Handler::Uplink {
        of: whose(process),
        interface: link.name,
        link: link.kind,
    };
    found.unwrap_or_default().into_iter().map(uplink).collect()
}

/// Whether an interface of this kind reaches the outside past the namespace that it came from;
/// `apart` is whether it stands on one of that.
fn is_uplink(kind: &LinkKind, apart: bool) -> bool {
    match kind {
        LinkKind::Physical | LinkKind::Macvlan | LinkKind::Ipvlan => true,
        LinkKind::Vlan => apart,
        LinkKind::Other(word) => match word.as_str() {
            "macvtap" | "ipvtap" => true,
            "macsec" => apart,
            _ => false,
        },
        LinkKind::Loopback
        | LinkKind::Bridge
        | LinkKind::Veth
        | LinkKind::Tun
        | LinkKind::Bond
        | LinkKind::Vxlan
        | LinkKind::Wireguard
        | LinkKind::Vrf
        | LinkKind::Dummy => false,
    }
}
