//! Limits on new connections, per source and with bounded memory.
//!
//! Each limited allow has a chain that accepts what is within its limit and comes back otherwise,
//! so that another allow may still admit the source. A dynamic set keeps one bucket a source
//! (IPv6: a /64, which is what one customer has). When the set is full the kernel adds no bucket
//! and goes on with the next rule: there one limit for all such sources holds, so a flood of
//! sources neither lifts the limit nor locks everybody out.

use super::comment;
use super::draft::{Draft, set, short_hash};
use crate::model::IpFamily;
use crate::model::nft::{
    Chain, KeyType, Limit, LimitUnit, RateUnit, Rule as NftRule, Set, SetFlags, SetOp, Statement,
    build,
};
use crate::policy::{Rate, Rule};

/// How many sources a limit tells apart. An element takes about 300 bytes, so 20 MB at most.
const MAX_SOURCES: u32 = 65_535;

/// The name of the chain that admits within the rule's limit; made if need be.
pub(super) fn chain(draft: &mut Draft<'_>, rule: &Rule, rate: Rate) -> String {
    let identity = serde_json::to_vec(&(&rule.ports, &rule.from, &rule.to, rate))
        .expect("a rule has only string keys");
    let name = format!("limit_{}", short_hash(&identity));
    if draft.has_chain(&name) {
        return name;
    }
    let mut chain = Chain::new(&name);
    let text = comment::of_rules("limit", &[rule]);
    for family in IpFamily::BOTH {
        let set_name = match family {
            IpFamily::Ipv4 => format!("{name}_4"),
            IpFamily::Ipv6 => format!("{name}_6"),
        };
        draft.add_set(buckets(&set_name, family, rate));
        let mut statements = vec![build::nfproto(family)];
        statements.push(Statement::UpdateSet {
            op: SetOp::Update,
            set: set_name.clone(),
            key: vec![build::source(family)],
            data: None,
            timeout: None,
            statements: vec![Statement::Limit(limit(rate))],
            invert: false,
        });
        statements.extend([build::counter(), build::accept()]);
        chain.rules.push(NftRule::new(statements, Some(text.clone())));
        // A lookup of an element that is over its limit does not match, and one within it would
        // take a second token; "not in the set" touches no bucket and means that it is full.
        chain.rules.push(NftRule::new(
            vec![
                build::nfproto(family),
                Statement::Lookup { key: vec![build::source(family)], set: set_name, invert: true },
                Statement::Limit(limit(rate)),
                build::counter(),
                build::accept(),
            ],
            Some(comment::plain(&format!("{text}: table of sources is full"))),
        ));
    }
    draft.add_chain(chain);
    name
}

fn limit(rate: Rate) -> Limit {
    Limit {
        rate: u64::from(rate.count),
        unit: LimitUnit::Packets,
        per: rate.per,
        burst: rate.burst,
        over: false,
    }
}

fn buckets(name: &str, family: IpFamily, rate: Rate) -> Set {
    let key = match family {
        IpFamily::Ipv4 => KeyType::Ipv4Addr,
        IpFamily::Ipv6 => KeyType::Ipv6Addr,
    };
    let flags = SetFlags { dynamic: true, timeout: true, ..SetFlags::default() };
    Set {
        size: Some(MAX_SOURCES),
        timeout: Some(refill_milliseconds(rate)),
        ..set(name, &[key], flags, Vec::new())
    }
}

/// After this time a bucket is full again whatever was in it, so that forgetting it changes
/// nothing.
fn refill_milliseconds(rate: Rate) -> u64 {
    let unit: u64 = match rate.per {
        RateUnit::Second => 1,
        RateUnit::Minute => 60,
        RateUnit::Hour => 3_600,
        RateUnit::Day => 86_400,
        RateUnit::Week => 604_800,
        RateUnit::Seconds(seconds) => seconds,
    };
    let whole = (u64::from(rate.burst) + 1) * unit;
    let seconds = whole.div_ceil(u64::from(rate.count.max(1)));
    seconds.max(10) * 1000
}
