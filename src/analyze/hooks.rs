//! What stands at a hook, in the order in which the kernel runs it.
//!
//! Lower priorities run first. Of equal ones the kernel runs the last registered first, which no
//! listing shows; handles grow with time, so tables are taken to have been registered in the order
//! of their handles. [`Order::Reversed`] is the other order, for those who want to know whether it
//! matters.

use super::program::Program;
use super::state::RuleId;
use crate::model::IpFamily;
use crate::model::nft::{BaseChain, Family, Hook};
use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;

/// `NF_IP_PRI_CONNTRACK`.
const CONNTRACK: i32 = -200;
/// `NF_IP_PRI_NAT_DST`.
const NAT_DESTINATION: i32 = -100;
/// `NF_IP_PRI_NAT_SRC`.
const NAT_SOURCE: i32 = 100;

/// The order of equal priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// As handles tell.
    ByHandle,
    /// The opposite.
    Reversed,
}

/// Something at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A base chain that is not of type `nat`.
    Chain(RuleId),
    /// Connection tracking.
    Conntrack,
    /// All `nat` chains of the hook: they run at one fixed priority (`nf_nat_register_fn()`).
    Nat,
}

/// What stands at hooks, found once.
#[derive(Debug, Default)]
pub struct Stages {
    items: RefCell<HashMap<Asking, Rc<[Item]>>>,
    /// Of IPv4 and of IPv6.
    ambiguous: [OnceCell<Vec<(Hook, i32, String)>>; 2],
}

/// A hook, an IP version, and the order of equal priorities.
type Asking = (Hook, IpFamily, Order);

impl Stages {
    /// What stands at a hook of the IP stack.
    pub fn items(
        &self,
        program: &Program<'_>,
        hook: Hook,
        family: IpFamily,
        order: Order,
    ) -> Rc<[Item]> {
        let key = (hook, family, order);
        if let Some(known) = self.items.borrow().get(&key) {
            return Rc::clone(known);
        }
        let items: Rc<[Item]> = items(program, hook, family, order).into();
        self.items.borrow_mut().insert(key, Rc::clone(&items));
        items
    }

    /// Tables of which chains stand at one hook with one priority, so that their order may matter.
    pub fn ambiguous(&self, program: &Program<'_>, family: IpFamily) -> &[(Hook, i32, String)] {
        let known = &self.ambiguous[usize::from(family == IpFamily::Ipv6)];
        known.get_or_init(|| ambiguous(program, family))
    }
}

/// A base chain's declaration.
pub fn base<'p>(program: &Program<'p>, id: RuleId) -> &'p BaseChain {
    let base = id.chain_of(&program.tables).hook.as_ref();
    base.expect("only base chains stand at hooks")
}

fn families(family: IpFamily) -> [Family; 2] {
    [Family::Inet, if family == IpFamily::Ipv4 { Family::Ip } else { Family::Ip6 }]
}

/// Sorts base chains as the kernel runs them.
fn sort(program: &Program<'_>, chains: &mut [RuleId], order: Order) {
    chains.sort_by_key(|id| {
        // What is not in a kernel yet will be registered last.
        let table = match id.table_of(&program.tables).handle {
            0 => u64::MAX,
            handle => handle,
        };
        // Within a table the order is known either way.
        let table = if order == Order::ByHandle { u64::MAX - table } else { table };
        (base(program, *id).priority, table, Reverse(id.chain_of(&program.tables).handle))
    });
}

/// Whether some NAT chain sees packets of this IP version: then NAT is at all its hooks.
pub fn has_nat(program: &Program<'_>, family: IpFamily) -> bool {
    const HOOKS: [Hook; 4] = [Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting];
    HOOKS.into_iter().any(|hook| !nat_chains(program, hook, family, Order::ByHandle).is_empty())
}

/// The `nat` chains of a hook in order.
pub fn nat_chains(
    program: &Program<'_>,
    hook: Hook,
    family: IpFamily,
    order: Order,
) -> Vec<RuleId> {
    let mut chains = program.base_chains(hook, &families(family));
    chains.retain(|id| base(program, *id).kind == "nat");
    sort(program, &mut chains, order);
    chains
}

fn items(program: &Program<'_>, hook: Hook, family: IpFamily, order: Order) -> Vec<Item> {
    let mut chains = program.base_chains(hook, &families(family));
    chains.retain(|id| base(program, *id).kind != "nat");
    sort(program, &mut chains, order);
    let mut items: Vec<(i32, Item)> =
        chains.into_iter().map(|id| (base(program, id).priority, Item::Chain(id))).collect();
    let mut own = Vec::new();
    if matches!(hook, Hook::Prerouting | Hook::Output) {
        own.push((CONNTRACK, Item::Conntrack));
    }
    if has_nat(program, family) {
        own.extend(match hook {
            Hook::Prerouting | Hook::Output => Some((NAT_DESTINATION, Item::Nat)),
            Hook::Input | Hook::Postrouting => Some((NAT_SOURCE, Item::Nat)),
            Hook::Ingress | Hook::Forward | Hook::Egress => None,
        });
    }
    for (priority, item) in own {
        let at = items.partition_point(|(theirs, _)| match order {
            Order::ByHandle => *theirs < priority,
            Order::Reversed => *theirs <= priority,
        });
        items.insert(at, (priority, item));
    }
    items.into_iter().map(|(_, item)| item).collect()
}

/// The chains that see what comes in by a device before the IP stack does.
pub fn ingress(program: &Program<'_>, device: &str, order: Order) -> Vec<RuleId> {
    let mut chains = program.base_chains(Hook::Ingress, &[Family::Netdev, Family::Inet]);
    let of_device = |id: &RuleId| base(program, *id).devices.iter().any(|own| covers(own, device));
    chains.retain(of_device);
    sort(program, &mut chains, order);
    chains
}

/// Since Linux 6.16 a device may end in `*`.
fn covers(pattern: &str, device: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => device.starts_with(start),
        None => pattern == device,
    }
}

fn ambiguous(program: &Program<'_>, family: IpFamily) -> Vec<(Hook, i32, String)> {
    const HOOKS: [Hook; 5] =
        [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];
    let mut found = Vec::new();
    for hook in HOOKS {
        let chains = program.base_chains(hook, &families(family));
        let mut seen: Vec<(bool, i32, usize)> = Vec::new();
        for id in chains {
            let own = base(program, id);
            let nat = own.kind == "nat";
            let same = |theirs: &&(bool, i32, usize)| (theirs.0, theirs.1) == (nat, own.priority);
            if let Some((.., other)) = seen.iter().find(same)
                && *other != id.table
            {
                let name = |table: usize| {
                    let table = program.tables[table];
                    format!("{} {}", table.family.as_str(), table.name)
                };
                let tables = format!("{} and {}", name(*other), name(id.table));
                found.push((hook, own.priority, tables));
            } else if !nat && matches!(own.priority, CONNTRACK | NAT_DESTINATION | NAT_SOURCE) {
                let table = id.table_of(&program.tables);
                let tables = format!("{} {} and the kernel", table.family.as_str(), table.name);
                found.push((hook, own.priority, tables));
            }
            seen.push((nat, own.priority, id.table));
        }
    }
    found
}
