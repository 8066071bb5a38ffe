//! `/proc/net/igmp` and `igmp6` → the multicast groups that somebody on the host has joined.
//!
//! To any other group nothing is delivered, whatever the rules say (`ip_check_mc_rcu`,
//! `ipv6_chk_mcast_addr` of the kernel).

use super::{Link, short_file};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Adds the groups to the links. Where they cannot be read, they stay unknown.
pub fn add(links: &mut [Link]) {
    let read = |name: &str| short_file::read(format!("/proc/thread-self/net/{name}"));
    // Without IPv6 there is no file of its groups.
    let (Ok(four), six) = (read("igmp"), read("igmp6").unwrap_or_default()) else { return };
    let mut groups = from_text(&String::from_utf8_lossy(&four));
    for (link, mut own) in from_text(&String::from_utf8_lossy(&six)) {
        groups.entry(link).or_default().append(&mut own);
    }
    for link in links {
        let mut own = groups.remove(&link.index).unwrap_or_default();
        own.sort_unstable();
        own.dedup();
        link.groups = Some(own);
    }
}

/// The groups in either text, by the index of the interface.
pub(super) fn from_text(text: &str) -> BTreeMap<u32, Vec<IpAddr>> {
    let mut groups: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if line.starts_with('\t') {
            // `igmp`: the groups of an interface stand below it, in the byte order of the host.
            let number = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
            if let (Some(link), Some(number)) = (current, number) {
                let address = Ipv4Addr::from(number.to_ne_bytes());
                groups.entry(link).or_default().push(address.into());
            }
            continue;
        }
        current = words.next().and_then(|word| word.parse().ok());
        // `igmp6`: each line has its interface, index and name, and a group of 32 digits.
        let group = words.nth(1).filter(|word| word.len() == 32);
        let group = group.and_then(|word| u128::from_str_radix(word, 16).ok());
        if let (Some(link), Some(group)) = (current, group) {
            groups.entry(link).or_default().push(Ipv6Addr::from(group).into());
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_are_read() {
        let all_hosts = u32::from_ne_bytes([224, 0, 0, 1]);
        let mdns = u32::from_ne_bytes([224, 0, 0, 251]);
        let four = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{all_hosts:08X}     1 0:00000000\t\t0\n\
             4\teth0      :     2      V3\n\t\t\t\t{mdns:08X}     1 0:00000000\t\t1\n\
             \t\t\t\t{all_hosts:08X}     1 0:00000000\t\t0\n"
        );
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let expected = [
            (1, vec![address("224.0.0.1")]),
            (4, vec![address("224.0.0.251"), address("224.0.0.1")]),
        ];
        assert_eq!(from_text(&four), expected.into());
        let six = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                   4    eth0            ff0200000000000000000001ff000002     1 00000004 0\n";
        let expected = [(1, vec![address("ff02::1")]), (4, vec![address("ff02::1:ff00:2")])];
        assert_eq!(from_text(six), expected.into());
        assert_eq!(from_text("broken\n\t\t12\n7\n7 a zz\n"), BTreeMap::new());
    }
}
