//! `/proc/sys/net` and what links say of themselves → the kernel settings that decide what reaches
//! a socket.
//!
//! One pass over known files; what is not there (no IPv6, no bridge netfilter) is left out. Those of
//! interfaces come with the interfaces by netlink: as files they are more than a dozen for each.

use super::{Sysctls, short_file};
use netlink_packet_route::link::{AfSpecInet, AfSpecInet6, AfSpecUnspec, LinkAttribute};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::path::Path;

/// Settings of the whole namespace.
const GLOBAL: [&str; 18] = [
    "ipv4/ip_forward",
    "ipv4/ip_local_port_range",
    "ipv4/ip_nonlocal_bind",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/icmp_echo_ignore_all",
    "ipv4/icmp_echo_ignore_broadcasts",
    "ipv4/raw_l3mdev_accept",
    "ipv4/tcp_l3mdev_accept",
    "ipv4/tcp_syncookies",
    "ipv4/udp_l3mdev_accept",
    "ipv6/bindv6only",
    "ipv6/icmp/echo_ignore_all",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
    "bridge/bridge-nf-call-arptables",
    "netfilter/nf_conntrack_tcp_loose",
    "netfilter/nf_conntrack_max",
    "sctp/l3mdev_accept",
];

/// Settings of `all` and `default`, and of each interface.
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

/// Reads the settings below this folder (`/proc/sys/net`), those of interfaces left out.
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
        for whose in ["all", "default"] {
            for key in keys {
                take(&format!("{family}/conf/{whose}/{key}"), name(family, whose, key));
            }
        }
    }
    sysctls
}

/// The settings of an interface that its message holds (`IFLA_INET_CONF`, `IFLA_INET6_CONF`; rtnetlink(7)):
/// none of an IP version that the interface does not speak.
pub fn of_link(interface: &str, attributes: &[LinkAttribute]) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    let families = attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::AfSpecUnspec(families) => families.as_slice(),
        _ => &[],
    });
    for family in families {
        match family {
            AfSpecUnspec::Inet(about) => {
                for conf in about {
                    let AfSpecInet::DevConf(conf) = conf else { continue };
                    let values = [
                        conf.forwarding,
                        conf.route_localnet,
                        conf.rp_filter,
                        conf.accept_local,
                        conf.accept_source_route,
                        conf.mc_forwarding,
                        conf.proxy_arp,
                        conf.src_vmark,
                    ];
                    let names = IPV4.map(|key| name("ipv4", interface, key));
                    found.extend(names.into_iter().zip(values.map(i64::from)));
                }
            }
            AfSpecUnspec::Inet6(about) => {
                for conf in about {
                    let AfSpecInet6::DevConf(conf) = conf else { continue };
                    let values = [
                        conf.forwarding,
                        conf.disable_ipv6,
                        conf.accept_source_route,
                        conf.accept_ra,
                        conf.mc_forwarding,
                    ];
                    let names = IPV6.map(|key| name("ipv6", interface, key));
                    found.extend(names.into_iter().zip(values.map(i64::from)));
                }
            }
            _ => {}
        }
    }
    found
}

fn name(family: &str, whose: &str, key: &str) -> String {
    format!("{family}.conf.{whose}.{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        put("ipv4/conf/all/route_localnet", "1\n");
        put("ipv4/conf/eth0.100/route_localnet", "1\n");
        put("ipv6/conf/all/disable_ipv6", "0\n");
        put("ipv6/conf/all/secret", "1\n");
        let names: Vec<_> = read(folder.path()).0.into_iter().collect();
        let expected = [
            ("ipv4.conf.all.route_localnet", 1),
            ("ipv4.ip_forward", 1),
            ("ipv4.ip_local_port_range", 32768),
            ("ipv4.ip_local_port_range.max", 60999),
            ("ipv6.conf.all.disable_ipv6", 0),
        ];
        assert_eq!(names, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn interfaces_say_what_their_files_say() {
        let network = crate::observe::links::read().expect("read");
        let mut asked = 0;
        for (family, keys) in [("ipv4", &IPV4[..]), ("ipv6", &IPV6[..])] {
            for link in &network.links {
                for key in keys {
                    let path = format!("/proc/sys/net/{family}/conf/{}/{key}", link.name);
                    let file = fs::read_to_string(path).ok();
                    let file = file.map(|text| text.trim().parse::<i64>().expect("a number"));
                    let told = network.settings.0.get(&name(family, link.name.as_str(), key));
                    assert_eq!(told.copied(), file, "{family} {} {key}", link.name);
                    asked += usize::from(file.is_some());
                }
            }
        }
        assert!(asked >= IPV4.len(), "the loopback interface has settings");
    }
}
