//! Whether the rules of a dump are all of them, each once.
//!
//! A long dump is continued by counting objects, those included that a transaction in preparation
//! has added and not yet committed (`__nf_tables_dump_rules`, net/netfilter/nf_tables_api.c). So a
//! dump can repeat or leave out rules although no generation id moves, `nft -c` of another process
//! being enough; and the kernel does not flag it. But each rule names the rule before it.

use super::attr::Messages;
use super::uapi::{SUBSYS_NFTABLES, message};
use foldhash::HashSet;

/// Attributes of a rule (`NFTA_RULE_*`, linux/netfilter/nf_tables.h).
const TABLE: u16 = 1;
const CHAIN: u16 = 2;
const HANDLE: u16 = 3;
const POSITION: u16 = 6;

/// Whether each rule follows the one that it names, and no chain comes twice. Rules left out at
/// the end of a chain are not seen here.
pub(super) fn unbroken(dump: &[u8]) -> bool {
    let mut chains = HashSet::default();
    let mut chain: Option<(u8, &[u8], &[u8])> = None;
    let mut before = None;
    let rule = u16::from_le_bytes([message::NEWRULE, SUBSYS_NFTABLES.to_le_bytes()[0]]);
    for message in Messages(dump).filter(|message| message.kind == rule) {
        let attributes = message.attributes();
        let (Some(table), Some(name)) = (attributes.get(TABLE), attributes.get(CHAIN)) else {
            continue;
        };
        let own = (message.family(), table, name);
        if chain != Some(own) {
            if !chains.insert(own) {
                return false;
            }
            (chain, before) = (Some(own), None);
        }
        if attributes.be64(POSITION) != before {
            return false;
        }
        before = attributes.be64(HANDLE);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::attr::push;
    use super::*;

    /// A dump of rules: chain, handle and the handle of the rule before.
    fn dump(rules: &[(&str, u64, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (chain, handle, before) in rules {
            let mut rule = vec![1, 0, 0, 0];
            push(&mut rule, TABLE, b"t\0");
            push(&mut rule, CHAIN, chain.as_bytes());
            push(&mut rule, HANDLE, &handle.to_be_bytes());
            if *before != 0 {
                push(&mut rule, POSITION, &before.to_be_bytes());
            }
            bytes.extend(u32::try_from(rule.len() + 16).unwrap().to_ne_bytes());
            bytes.extend([message::NEWRULE, SUBSYS_NFTABLES.to_le_bytes()[0], 2, 0]);
            bytes.extend([0; 8]);
            bytes.extend(rule);
        }
        bytes
    }

    #[test]
    fn a_rule_repeated_or_left_out_breaks_the_chain() {
        let whole = [("c", 4, 0), ("c", 6, 4), ("d", 5, 0), ("d", 7, 5), ("d", 8, 7)];
        assert!(unbroken(&dump(&whole)));
        assert!(unbroken(&[]));
        let broken: [&[(&str, u64, u64)]; 4] = [
            // As a kernel gave it while another process added rules.
            &[("c", 4, 0), ("d", 420, 0), ("d", 422, 420), ("d", 422, 420), ("d", 420, 418)],
            &[("c", 4, 0), ("d", 8, 7)],
            &[("c", 4, 0), ("c", 6, 5)],
            &[("c", 4, 0), ("d", 5, 0), ("c", 4, 0)],
        ];
        for rules in broken {
            assert!(!unbroken(&dump(rules)), "{rules:?}");
        }
    }
}
