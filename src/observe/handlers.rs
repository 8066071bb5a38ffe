//! What handles packets beside all rules: filters of traffic control, IPVS services, and tables of
//! legacy ebtables.
//!
//! In: the route netlink and `/proc/net/ip_vs`. Out: each with its place; what a filter does is not
//! read. A kernel without these has none.

use super::netlink::Channel;
use super::snapshot::{Handler, Link, LinkKind};
use crate::model::Protocol;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcHandle, TcHeader, TcMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// `struct nlmsghdr`, `struct tcmsg`.
const HEADER_LEN: usize = 16;
const TCMSG_LEN: usize = 20;

/// Finds all that there are.
pub fn read(links: &[Link], proc_net: &Path) -> Vec<Handler> {
    let mut found = filters(links);
    let services = std::fs::read_to_string(proc_net.join("ip_vs")).unwrap_or_default();
    found.extend(ipvs(&services));
    if links.iter().any(|link| link.kind == LinkKind::Bridge) {
        found.extend(bridge_tables(Path::new("/sys/module")));
    }
    found
}

/// Tables of legacy ebtables, by their modules.
fn bridge_tables(modules: &Path) -> Vec<Handler> {
    let loaded = |table: &&str| modules.join(format!("ebtable_{table}")).exists();
    let tables = ["broute", "filter", "nat"].into_iter().filter(loaded);
    tables.map(|table| Handler::BridgeTable { table: table.to_owned() }).collect()
}

/// The kind and the interface's index of what a message of traffic control speaks of.
fn subject(message: &[u8]) -> Option<(String, u32)> {
    const TCA_KIND: u16 = 1;
    let body = message.get(HEADER_LEN..)?;
    let index = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    let mut rest = body.get(TCMSG_LEN..)?;
    while let Some(header) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) == TCA_KIND {
            let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
            return Some((String::from_utf8_lossy(&value[..end]).into_owned(), index));
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Filters that see packets as they come in by an interface, or leave.
fn filters(links: &[Link]) -> Vec<Handler> {
    let Ok(mut channel) = Channel::open(NETLINK_ROUTE) else { return Vec::new() };
    let mut hooked = BTreeSet::new();
    let all = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let asked = channel.dump(all, |message| {
        if let Some((kind, index)) = subject(message)
            && matches!(kind.as_str(), "ingress" | "clsact")
        {
            hooked.insert(index);
        }
    });
    if asked.is_err() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for link in links.iter().filter(|link| hooked.contains(&link.index)) {
        // `TC_H_CLSACT` with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`.
        for (minor, leaving) in [(0xfff2, false), (0xfff3, true)] {
            let header = TcHeader {
                index: i32::try_from(link.index).unwrap_or(0),
                parent: TcHandle { major: 0xffff, minor },
                ..TcHeader::default()
            };
            let request = TcMessage::from_parts(header, Vec::new());
            let mut kinds = BTreeSet::new();
            let request = RouteNetlinkMessage::GetTrafficFilter(request);
            let asked = channel.dump(request, |message| {
                kinds.extend(subject(message).map(|(kind, _)| kind));
            });
            if asked.is_ok() {
                found.extend(kinds.into_iter().map(|kind| Handler::TrafficFilter {
                    interface: link.name.clone(),
                    leaving,
                    kind,
                }));
            }
        }
    }
    found
}

/// The services of `/proc/net/ip_vs`.
fn ipvs(text: &str) -> Vec<Handler> {
    let service = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let protocol = match words.next()? {
            "TCP" => Protocol::TCP,
            "UDP" => Protocol::UDP,
            "SCTP" => Protocol::SCTP,
            "FWM" => {
                let mark = u32::from_str_radix(words.next()?, 16).ok()?;
                return Some(Handler::MarkService { mark });
            }
            _ => return None,
        };
        let (address, port) = words.next()?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let address: IpAddr = match address.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into(),
            None => Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?).into(),
        };
        Some(Handler::Service { protocol, at: SocketAddr::new(address, port) })
    };
    text.lines().filter_map(service).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_ipvs_are_read() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  CB00710A:0050 rr
  -> 0A000001:1F90      Masq    1      0          0
UDP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0035 wlc persistent 300
FWM  0000000A rr
broken
TCP  XX:1 rr
";
        let service = |protocol, at: &str| Handler::Service {
            protocol,
            at: at.parse().expect("an address and a port"),
        };
        assert_eq!(
            ipvs(text),
            [
                service(Protocol::TCP, "203.0.113.10:80"),
                service(Protocol::UDP, "[2001:db8::1]:53"),
                Handler::MarkService { mark: 10 },
            ]
        );
    }

    #[test]
    fn tables_of_legacy_ebtables_are_known_by_their_modules() {
        let modules = tempfile::tempdir().expect("a folder");
        assert_eq!(bridge_tables(modules.path()), []);
        for module in ["ebtable_filter", "ebtables", "ebtable_nat"] {
            std::fs::create_dir(modules.path().join(module)).expect("made");
        }
        let table = |table: &str| Handler::BridgeTable { table: table.to_owned() };
        assert_eq!(bridge_tables(modules.path()), [table("filter"), table("nat")]);
    }

    #[test]
    fn no_message_panics() {
        let mut message = vec![0; HEADER_LEN + TCMSG_LEN];
        message[HEADER_LEN + 4] = 3;
        assert_eq!(subject(&message), None);
        message.extend([8, 0, 1, 0, b'u', b'3', b'2', 0]);
        assert_eq!(subject(&message), Some(("u32".to_owned(), 3)));
        for length in 0..message.len() {
            let _ = subject(&message[..length]);
        }
        message[HEADER_LEN + TCMSG_LEN] = 2;
        assert_eq!(subject(&message), None, "a length below its own header");
    }
}
