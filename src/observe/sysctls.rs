//! `/proc/sys/net` → the kernel settings that decide what reaches a socket.
//!
//! One pass over known files; what is not there (no IPv6, no bridge netfilter) is left out.

use super::{Sysctls, short_file};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs;
use std::path::Path;

/// Settings of the whole namespace.
const GLOBAL: [&str; 14] = [
    "ipv4/ip_forward",
    "ipv4/ip_local_port_range",
    "ipv4/ip_nonlocal_bind",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/icmp_echo_ignore_all",
    "ipv4/icmp_echo_ignore_broadcasts",
    "ipv4/tcp_syncookies",
    "ipv6/bindv6only",
    "ipv6/icmp/echo_ignore_all",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
    "bridge/bridge-nf-call-arptables",
    "netfilter/nf_conntrack_tcp_loose",
    "netfilter/nf_conntrack_max",
];

/// Settings of each interface, and of `all` and `default`.
const IPV4: [&str; 8] = [
    "forwarding",
    "route_localnet",
    "rp_filter",
    "accept_local",
    "accept_source_route",
    "mc_forwarding",
    "proxy_arp",
    "src_valid_mark",
];
const IPV6: [&str; 5] =
    ["forwarding", "disable_ipv6", "accept_source_route", "accept_ra", "mc_forwarding"];

/// Reads the settings below this folder (`/proc/sys/net`).
///
/// A file of two numbers becomes two settings, the second with `.max` behind its name.
pub fn read(folder: &Path) -> Sysctls {
    let mut sysctls = Sysctls::default();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(open) = openat(CWD, folder, flags, Mode::empty()) else { return sysctls };
    let mut take = |path: &str, name: String| {
        let Ok(text) = short_file::read_at(&open, path) else { return };
        let text = String::from_utf8_lossy(&text);
        let mut numbers = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
        if let Some(second) = numbers.next().and_then(|first| {
            sysctls.0.insert(name.clone(), first);
            numbers.next()
        }) {
            sysctls.0.insert(format!("{name}.max"), second);
        }
    };
    for path in GLOBAL {
        take(path, path.replace('/', "."));
    }
    for (family, keys) in [("ipv4", &IPV4[..]), ("ipv6", &IPV6[..])] {
        let Ok(interfaces) = fs::read_dir(folder.join(family).join("conf")) else { continue };
        for interface in interfaces.flatten() {
            let interface = interface.file_name();
            let Some(interface) = interface.to_str() else { continue };
            for key in keys {
                take(
                    &format!("{family}/conf/{interface}/{key}"),
                    format!("{family}.conf.{interface}.{key}"),
                );
            }
        }
    }
    sysctls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_the_rest_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            fs::write(path, text).expect("written");
        };
        put("ipv4/ip_forward", "1\n");
        put("ipv4/ip_local_port_range", "32768\t60999\n");
        put("ipv4/conf/eth0.100/route_localnet", "1\n");
        put("ipv6/conf/all/disable_ipv6", "0\n");
        put("ipv6/conf/all/secret", "1\n");
        let names: Vec<_> = read(folder.path()).0.into_iter().collect();
        let expected = [
            ("ipv4.conf.eth0.100.route_localnet", 1),
            ("ipv4.ip_forward", 1),
            ("ipv4.ip_local_port_range", 32768),
            ("ipv4.ip_local_port_range.max", 60999),
            ("ipv6.conf.all.disable_ipv6", 0),
        ];
        assert_eq!(names, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
