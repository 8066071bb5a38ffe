//! What legacy iptables has loaded (x_tables, `iptables-legacy`) → tables in nftables' vocabulary.
//!
//! Only tables that the kernel names as loaded are asked for: asking for another one would load it.
//! A rule's own fields become comparisons, its matches and targets are the same kernel modules that
//! iptables-nft uses. The tables' names end in [`SUFFIX`], which no nftables table's can.

mod entries;
mod sockopt;

use crate::model::nft::{Family, Table};
use nix::libc;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;

/// Behind the name of a table of legacy iptables.
pub const SUFFIX: &str = " (legacy iptables)";

/// `IPT_SO_GET_INFO`, `IP6T_SO_GET_INFO`.
const GET_INFO: i32 = 64;
/// `IPT_SO_GET_ENTRIES`, `IP6T_SO_GET_ENTRIES`.
const GET_ENTRIES: i32 = 65;
/// `XT_TABLE_MAXNAMELEN`.
const NAME_LEN: usize = 32;
/// `struct ipt_getinfo`, `struct ip6t_getinfo`.
const INFO_LEN: usize = 84;
/// What stands before the entries in `struct ipt_get_entries`.
const HEADER_LEN: usize = 40;
/// How often a table that changes while it is read is read again.
const ATTEMPTS: usize = 10;

/// Whether a table is one of legacy iptables.
pub fn is_legacy(table: &Table) -> bool {
    table.name.ends_with(SUFFIX)
}

/// Whether a table that the kernel names so (`ip filter`) was read.
pub fn was_read(tables: &[Table], named: &str) -> bool {
    tables.iter().any(|table| {
        let name = table.name.strip_suffix(SUFFIX);
        name.is_some_and(|name| format!("{} {name}", table.family.as_str()) == named)
    })
}

/// Reads a table that the kernel names so (`ip filter`, `ip6 nat`).
///
/// Only for one that is in `/proc/net/ip_tables_names`: asking loads the others.
pub fn read(named: &str) -> io::Result<Table> {
    decode(named, &dump(named)?).ok_or_else(invalid)
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// A table as the kernel has it in memory, for [`decode`]: what describes it, then its entries.
pub fn dump(named: &str) -> io::Result<Vec<u8>> {
    let (family, name) = named.split_once(' ').ok_or_else(invalid)?;
    let (domain, level) = match family {
        "ip" => (AddressFamily::INET, libc::IPPROTO_IP),
        "ip6" => (AddressFamily::INET6, libc::IPPROTO_IPV6),
        _ => return Err(invalid()),
    };
    if name.len() >= NAME_LEN {
        return Err(invalid());
    }
    let raw = rustix::net::Protocol::from_raw(255_u32.try_into().map_err(|_| invalid())?);
    let socket = socket_with(domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(raw))?;
    let mut last = invalid();
    for _ in 0..ATTEMPTS {
        let mut described = vec![0; INFO_LEN];
        described[..name.len()].copy_from_slice(name.as_bytes());
        sockopt::exchange(&socket, level, GET_INFO, &mut described)?;
        let info = entries::Info::read(&described).ok_or_else(invalid)?;
        let mut dump = vec![0; HEADER_LEN + info.size];
        dump[..name.len()].copy_from_slice(name.as_bytes());
        let size = u32::try_from(info.size).map_err(|_| invalid())?;
        dump[NAME_LEN..NAME_LEN + 4].copy_from_slice(&size.to_ne_bytes());
        match sockopt::exchange(&socket, level, GET_ENTRIES, &mut dump) {
            Ok(length) => {
                described.extend(dump.get(HEADER_LEN..length).ok_or_else(invalid)?);
                return Ok(described);
            }
            // Somebody replaced the table between the two questions.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Decodes what [`dump`] gave, or any other bytes.
pub fn decode(named: &str, bytes: &[u8]) -> Option<Table> {
    let (family, name) = named.split_once(' ')?;
    let family = if family == "ip" { Family::Ip } else { Family::Ip6 };
    let (described, dump) = bytes.split_at_checked(INFO_LEN)?;
    entries::table(family, name, &entries::Info::read(described)?, dump)
}
