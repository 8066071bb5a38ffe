//! nfnetlink's list of hooks → what stands at each hook of netfilter, in the order in which the
//! kernel runs it.
//!
//! In: the answers of `NFNL_SUBSYS_HOOK` (Linux 5.14, `CONFIG_NETFILTER_NETLINK_HOOK`) for the
//! calling thread's network namespace. Out: every hook at which something stands; or that this
//! kernel does not tell. Numbers and names are those of linux/netfilter/nfnetlink_hook.h.

use super::netlink::{Channel, HEADER, NetlinkError, attribute, split, text, value};
use super::nft;
use super::snapshot::{Handler, HookEntry, HookPoint, Link, Registrant};
use crate::model::nft::{Family, Hook};
use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;

/// `NFNL_SUBSYS_HOOK` and `NFNL_MSG_HOOK_GET`.
const GET: u16 = 12 << 8;
/// The length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// `NFNLA_HOOK_*`.
const HOOKNUM: u16 = 1;
const PRIORITY: u16 = 2;
const DEVICE: u16 = 3;
const FUNCTION: u16 = 4;
const MODULE: u16 = 5;
const CHAIN_INFO: u16 = 6;
/// `NFNLA_HOOK_INFO_*`.
const INFO_DESCRIPTION: u16 = 1;
const INFO_TYPE: u16 = 2;
/// `NFNLA_CHAIN_*`; a flowtable's name is in the place of a chain's.
const CHAIN_TABLE: u16 = 1;
const CHAIN_FAMILY: u16 = 2;
const CHAIN_NAME: u16 = 3;
/// `NFNLA_HOOK_BPF_ID`.
const BPF_ID: u16 = 1;
/// How often a list is read again that changed while it was read.
const ATTEMPTS: usize = 5;

/// `NF_INET_*` and `NF_BR_*`.
const OF_PACKETS: [Hook; 5] =
    [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];
/// `NF_NETDEV_*`.
const OF_DEVICES: [Hook; 2] = [Hook::Ingress, Hook::Egress];

/// What stands at the hooks, where the kernel tells it and the ruleset is still the one that was
/// read at this generation; `None` where not. Asking for it loads the kernel's module for it.
pub fn read(links: &[Link], generation: u32) -> Result<Option<Vec<HookPoint>>, NetlinkError> {
    for attempt in 1.. {
        if !nft::generation().is_ok_and(|now| now == generation) {
            return Ok(None);
        }
        match once(links) {
            Err(NetlinkError::Interrupted) if attempt < ATTEMPTS => {}
            // Of a transaction between two of its answers the list shows a half.
            Ok(found) if nft::generation().is_ok_and(|now| now == generation) => return Ok(found),
            Ok(_) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn once(links: &[Link]) -> Result<Option<Vec<HookPoint>>, NetlinkError> {
    let mut channel = Channel::open(NETLINK_NETFILTER)?;
    let mut points = Vec::new();
    let of_packets = [Family::Ip, Family::Ip6, Family::Bridge]
        .into_iter()
        .flat_map(|family| (0..).zip(OF_PACKETS).map(move |at| (family, at, None)));
    let of_devices = links
        .iter()
        .flat_map(|link| (0..).zip(OF_DEVICES).map(move |at| (Family::Netdev, at, Some(link))));
    for (at, (family, (number, hook), link)) in of_packets.chain(of_devices).enumerate() {
        let device = link.map(|link| link.name.clone());
        let mut payload = vec![nft::family_number(family), 0, 0, 0];
        payload.extend(attribute(HOOKNUM, &u32::to_be_bytes(number)));
        if let Some(name) = &device {
            payload.extend(attribute(DEVICE, &[name.as_str().as_bytes(), b"\0"].concat()));
        }
        let mut entries = Vec::new();
        let asked =
            channel.ask(GET, NLM_F_DUMP, &payload, |message| entries.extend(decode(message)));
        match asked {
            Ok(()) if entries.is_empty() => {}
            Ok(()) => points.push(HookPoint { family, hook, device, entries }),
            // A kernel without the list knows no such subsystem.
            Err(NetlinkError::Kernel(
                libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::ENOENT,
            )) if at == 0 => return Ok(None),
            // No such hook in this kernel, or the device is gone.
            Err(NetlinkError::Kernel(
                libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::ENODEV,
            )) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(points))
}

/// Leaves out what would stand at a hook and does not: tables of legacy ebtables, which are known by
/// their modules, where none is called in this network namespace.
pub fn confirm(handlers: &mut Vec<Handler>, points: &[HookPoint]) {
    let functions = points
        .iter()
        .filter(|point| point.family == Family::Bridge)
        .flat_map(|point| &point.entries)
        .map(|entry| entry.function.as_deref());
    // `ebt_do_table()`, `ebt_broute()`; older ones have a function for each table.
    let called = functions.into_iter().any(|own| own.is_none_or(|own| own.starts_with("ebt_")));
    handlers.retain(|handler| called || !matches!(handler, Handler::BridgeTable { .. }));
}

/// The entries in messages that stand one behind the other.
pub(super) fn decode(mut messages: &[u8]) -> Vec<HookEntry> {
    let mut entries = Vec::new();
    while let Some((message, rest)) = split(messages) {
        entries.extend(message.get(HEADER + NFGENMSG..).and_then(entry));
        messages = rest;
    }
    entries
}

fn entry(bytes: &[u8]) -> Option<HookEntry> {
    let text = |number: u16| value(bytes, number).map(text);
    Some(HookEntry {
        priority: be32(value(bytes, PRIORITY)?)?.cast_signed(),
        function: text(FUNCTION),
        module: text(MODULE),
        runs: value(bytes, CHAIN_INFO).and_then(registrant),
    })
}

fn registrant(info: &[u8]) -> Option<Registrant> {
    const NFTABLES: u32 = 1;
    const BPF: u32 = 2;
    const FLOWTABLE: u32 = 3;
    let described = value(info, INFO_DESCRIPTION)?;
    let family = || nft::family(*value(described, CHAIN_FAMILY)?.first()?);
    let name = |number: u16| value(described, number).map(text);
    match be32(value(info, INFO_TYPE)?)? {
        NFTABLES => Some(Registrant::Chain {
            family: family()?,
            table: name(CHAIN_TABLE)?,
            chain: name(CHAIN_NAME)?,
        }),
        BPF => Some(Registrant::Program { id: be32(value(described, BPF_ID)?)? }),
        FLOWTABLE => Some(Registrant::Flowtable {
            family: family()?,
            table: name(CHAIN_TABLE)?,
            name: name(CHAIN_NAME)?,
        }),
        _ => None,
    }
}

/// A number in network order.
fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.12 answered: behind one another a table `ip first` and `inet second` of nftables,
    /// NAT, connection tracking, `br_netfilter`, and a flowtable on a device.
    const INPUT: &[u8] = include_bytes!("../../tests/hook_lists/ip_input.bin");
    const INPUT_OF_V6: &[u8] = include_bytes!("../../tests/hook_lists/ip6_input.bin");
    const PREROUTING: &[u8] = include_bytes!("../../tests/hook_lists/ip_prerouting.bin");
    const INGRESS: &[u8] = include_bytes!("../../tests/hook_lists/ingress.bin");
    /// As Linux 7.2 answered.
    const FLOWTABLE: &[u8] = include_bytes!("../../tests/hook_lists/flowtable.bin");
    const BRIDGES: &[u8] = include_bytes!("../../tests/hook_lists/bridge_input.bin");

    fn function(priority: i32, function: &str, module: &str) -> HookEntry {
        HookEntry {
            priority,
            function: Some(function.into()),
            module: Some(module.into()),
            runs: None,
        }
    }

    fn chain(function: &str, family: Family, table: &str, chain: &str) -> HookEntry {
        let (table, chain) = (table.to_owned(), chain.to_owned());
        let runs = Some(Registrant::Chain { family, table, chain });
        HookEntry { runs, ..self::function(0, function, "nf_tables") }
    }

    #[test]
    fn chains_are_named_in_the_order_in_which_they_run() {
        let second = chain("nft_do_chain_inet", Family::Inet, "second", "input");
        assert_eq!(
            decode(INPUT),
            [
                second.clone(),
                chain("nft_do_chain_ipv4", Family::Ip, "first", "input"),
                function(100, "nf_nat_ipv4_local_in", "nf_nat"),
                function(i32::MAX, "nf_confirm", "nf_conntrack"),
            ]
        );
        let confirm = function(i32::MAX - 1, "nf_confirm", "nf_conntrack");
        assert_eq!(decode(INPUT_OF_V6), [second, confirm]);
        assert_eq!(
            decode(INGRESS),
            [
                chain("nft_do_chain_netdev", Family::Netdev, "third", "in"),
                chain("nft_do_chain_inet_ingress", Family::Inet, "second", "in"),
                function(1, "nf_flow_offload_inet_hook", "nf_flow_table_inet"),
            ]
        );
    }

    #[test]
    fn what_else_stands_there_is_told_by_its_function() {
        assert_eq!(
            decode(PREROUTING),
            [
                function(i32::MIN, "ip_sabotage_in", "br_netfilter"),
                function(-400, "ipv4_conntrack_defrag", "nf_defrag_ipv4"),
                function(-200, "ipv4_conntrack_in", "nf_conntrack"),
                function(-100, "nf_nat_ipv4_pre_routing", "nf_nat"),
            ]
        );
        assert_eq!(decode(BRIDGES), [function(i32::MAX, "br_nf_local_in", "br_netfilter")]);
    }

    #[test]
    fn programs_and_flowtables_are_named_as_newer_kernels_tell_them() {
        let nested = |number: u16, parts: &[Vec<u8>]| attribute(number | 0x8000, &parts.concat());
        let message = |kind: u32, described: &[Vec<u8>]| {
            let info =
                [attribute(INFO_TYPE, &kind.to_be_bytes()), nested(INFO_DESCRIPTION, described)];
            let body = [
                vec![2, 0, 0, 0],
                attribute(FUNCTION, b"f\0"),
                attribute(PRIORITY, &(-5_i32).to_be_bytes()),
                nested(CHAIN_INFO, &info),
            ]
            .concat();
            let length = u32::try_from(HEADER + body.len()).expect("short").to_ne_bytes();
            [&length[..], &[0; 12], &body].concat()
        };
        let program = message(2, &[attribute(BPF_ID, &7_u32.to_be_bytes())]);
        let runs = |runs| {
            [HookEntry { priority: -5, function: Some("f".into()), module: None, runs: Some(runs) }]
        };
        assert_eq!(decode(&program), runs(Registrant::Program { id: 7 }));
        let (family, table, name) = (Family::Inet, "second".to_owned(), "f".to_owned());
        let runs = Some(Registrant::Flowtable { family, table, name });
        let flowtable = function(1, "nf_flow_offload_inet_hook", "nf_flow_table_inet");
        assert_eq!(decode(FLOWTABLE), [HookEntry { runs, ..flowtable }]);
        for length in 0..FLOWTABLE.len() {
            assert_eq!(decode(&FLOWTABLE[..length]), [], "cut short");
        }
    }
}
