//! What stands at a hook, in the order in which the kernel runs it.
//!
//! Lower priorities run first. Of equal ones the kernel runs the last registered first
//! (`nf_hook_entries_grow()`). Where it lists its hooks, its own order counts: a chain that is in the
//! list stands where it is, one that is not will be registered last, and so runs first.
//!
//! Where it lists none, no listing shows the order; handles grow with time, so tables are taken to
//! have been registered in the order of their handles. [`Order::Reversed`] is the other order, for
//! those who want to know whether it matters.

use super::program::Program;
use super::registered::{self, Role, is_chain};
use super::state::RuleId;
use crate::model::nft::{BaseChain, Family, Hook};
use crate::model::{IfaceName, IpFamily};
use crate::observe::{HookEntry, HookPoint};
use foldhash::HashMap;
use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A base chain that is not of type `nat`.
    Chain(RuleId),
    /// Connection tracking.
    Conntrack,
    /// All `nat` chains of the hook: they run at one fixed priority (`nf_nat_register_fn()`).
    Nat,
    /// Something of which the kernel's list alone tells, by name and place.
    Foreign(Rc<str>),
}

/// What stands at hooks, found once.
#[derive(Debug, Default)]
pub struct Stages<'s> {
    listed: Option<&'s [HookPoint]>,
    /// A table whose chains are made anew, whatever the list says of them.
    renewed: Option<usize>,
    items: RefCell<HashMap<Asking, Rc<[Item]>>>,
    /// What stands before and behind the IP stack, by device.
    at_devices: RefCell<HashMap<AtDevice, Rc<[Item]>>>,
    nat_chains: RefCell<HashMap<Asking, Rc<[RuleId]>>>,
    /// Of IPv4 and of IPv6.
    ambiguous: [OnceCell<Vec<(Hook, i32, String)>>; 2],
}

/// A hook, an IP version, and the order of equal priorities.
type Asking = (Hook, IpFamily, Order);

/// A hook of a device, and the order of equal priorities.
type AtDevice = (Hook, IfaceName, Order);

impl<'s> Stages<'s> {
    /// By the kernel's list of hooks, where there is one; the chains of the table `renewed` will be
    /// registered anew.
    pub fn new(listed: Option<&'s [HookPoint]>, renewed: Option<usize>) -> Self {
        Self { listed, renewed, ..Self::default() }
    }

    /// The table whose chains are made anew.
    pub fn renewed(&self) -> Option<usize> {
        self.renewed
    }

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
        let mut items = self.placed(program, hook, families(family), None, order);
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
        } else {
            items.retain(|(_, item)| *item != Item::Nat);
        }
        for (priority, item) in own {
            if items.iter().any(|(_, known)| *known == item) {
                continue;
            }
            let at = items.partition_point(|(theirs, _)| match order {
                Order::ByHandle => *theirs < priority,
                Order::Reversed => *theirs <= priority,
            });
            items.insert(at, (priority, item));
        }
        let items: Rc<[Item]> = items.into_iter().map(|(_, item)| item).collect();
        self.items.borrow_mut().insert(key, Rc::clone(&items));
        items
    }

    /// What sees what comes in by a device before the IP stack does (`ingress`), or what leaves by it
    /// behind that (`egress`).
    pub fn at_device(
        &self,
        program: &Program<'_>,
        hook: Hook,
        device: &IfaceName,
        order: Order,
    ) -> Rc<[Item]> {
        let key = (hook, device.clone(), order);
        if let Some(known) = self.at_devices.borrow().get(&key) {
            return Rc::clone(known);
        }
        let families = [Family::Netdev, Family::Inet];
        let items = self.placed(program, hook, families, Some(device.as_str()), order);
        let items: Rc<[Item]> = items.into_iter().map(|(_, item)| item).collect();
        self.at_devices.borrow_mut().insert(key, Rc::clone(&items));
        items
    }

    /// The `nat` chains of a hook in order.
    pub fn nat_chains(
        &self,
        program: &Program<'_>,
        hook: Hook,
        family: IpFamily,
        order: Order,
    ) -> Rc<[RuleId]> {
        let key = (hook, family, order);
        if let Some(known) = self.nat_chains.borrow().get(&key) {
            return Rc::clone(known);
        }
        let mut chains = nat_chains(program, hook, family);
        let listed = |id: &RuleId| self.place(program, *id, self.entries(hook, family)?);
        if let Some(at) = chains.iter().map(listed).collect::<Option<Vec<usize>>>() {
            let mut in_order: Vec<(usize, RuleId)> = at.into_iter().zip(chains).collect();
            in_order.sort_unstable();
            chains = in_order.into_iter().map(|(_, id)| id).collect();
        } else {
            sort(program, &mut chains, order);
        }
        let chains: Rc<[RuleId]> = chains.into();
        self.nat_chains.borrow_mut().insert(key, Rc::clone(&chains));
        chains
    }

    /// Tables of which chains stand at one hook with one priority, so that their order may matter,
    /// where the kernel does not tell it.
    pub fn ambiguous(&self, program: &Program<'_>, family: IpFamily) -> &[(Hook, i32, String)] {
        let known = &self.ambiguous[usize::from(family == IpFamily::Ipv6)];
        known.get_or_init(|| {
            ambiguous(program, family, |hook, nat| match self.entries(hook, family) {
                None => false,
                Some(entries) if nat => nat_chains(program, hook, family)
                    .iter()
                    .all(|id| self.place(program, *id, entries).is_some()),
                Some(_) => true,
            })
        })
    }

    /// The kernel's list of a hook of the IP stack; `None` where it does not tell.
    fn entries(&self, hook: Hook, family: IpFamily) -> Option<&'s [HookEntry]> {
        let own = families(family)[1];
        let point = registered::point(self.listed?, own, hook, None);
        Some(point.map_or(&[], |point| &point.entries))
    }

    /// Where a chain stands in the kernel's list.
    fn place(&self, program: &Program<'_>, id: RuleId, entries: &[HookEntry]) -> Option<usize> {
        if self.renewed == Some(id.table) {
            return None;
        }
        let (table, chain) = (id.table_of(&program.tables), id.chain_of(&program.tables));
        let own = base(program, id);
        entries.iter().position(|entry| is_chain(entry, table, chain, own))
    }

    /// Chains of these families and what else is listed, with their priorities, in order.
    fn placed(
        &self,
        program: &Program<'_>,
        hook: Hook,
        families: [Family; 2],
        device: Option<&str>,
        order: Order,
    ) -> Vec<(i32, Item)> {
        let mut chains = program.base_chains(hook, &families);
        let sees = |own: &BaseChain| match device {
            None => own.kind != "nat",
            Some(device) => own.devices.iter().any(|own| covers(own, device)),
        };
        let nats = |id: &RuleId| base(program, *id).kind == "nat";
        let nat: Vec<RuleId> = chains.iter().copied().filter(nats).collect();
        chains.retain(|id| sees(base(program, *id)));
        sort(program, &mut chains, order);
        let mut items: Vec<(i32, Item)> = Vec::new();
        let point = self.listed.and_then(|hooks| {
            let own = if device.is_some() { Family::Netdev } else { families[1] };
            registered::point(hooks, own, hook, device)
        });
        let entries = point.map_or(&[][..], |point| &point.entries);
        let listed: Vec<Option<usize>> =
            chains.iter().map(|id| self.place(program, *id, entries)).collect();
        let nat: Vec<usize> =
            nat.iter().filter_map(|id| self.place(program, *id, entries)).collect();
        for (at, entry) in entries.iter().enumerate() {
            let chain = listed.iter().position(|place| *place == Some(at));
            let item = match registered::role(entry) {
                _ if nat.contains(&at) => Some(Item::Nat),
                Role::Chain(..) | Role::Legacy => chain.map(|own| Item::Chain(chains[own])),
                Role::Conntrack => Some(Item::Conntrack),
                Role::Nat => Some(Item::Nat),
                Role::Known => None,
                Role::Foreign => point
                    .and_then(|point| registered::foreign(entry, point))
                    .map(|name| Item::Foreign(name.into())),
            };
            if let Some(item) = item
                && !items.iter().any(|(_, known)| *known == item)
            {
                items.push((entry.priority, item));
            }
        }
        // The others will be registered later, and the last registered runs first.
        for (id, _) in chains.iter().zip(&listed).rev().filter(|(_, place)| place.is_none()) {
            let priority = base(program, *id).priority;
            let at = items.partition_point(|(theirs, _)| *theirs < priority);
            items.insert(at, (priority, Item::Chain(*id)));
        }
        items
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
    HOOKS.into_iter().any(|hook| !nat_chains(program, hook, family).is_empty())
}

fn nat_chains(program: &Program<'_>, hook: Hook, family: IpFamily) -> Vec<RuleId> {
    let mut chains = program.base_chains(hook, &families(family));
    chains.retain(|id| base(program, *id).kind == "nat");
    chains
}

/// Since Linux 6.16 a device may end in `*`.
fn covers(pattern: &str, device: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => device.starts_with(start),
        None => pattern == device,
    }
}

fn ambiguous(
    program: &Program<'_>,
    family: IpFamily,
    is_told: impl Fn(Hook, bool) -> bool,
) -> Vec<(Hook, i32, String)> {
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
            if is_told(hook, nat) {
                continue;
            }
            if let Some((.., other)) = seen.iter().find(same)
                && *other != id.table
            {
                let tables = format!("{} and {}", name(program, *other), name(program, id.table));
                found.push((hook, own.priority, tables));
            } else if !nat && matches!(own.priority, CONNTRACK | NAT_DESTINATION | NAT_SOURCE) {
                let tables = format!("{} and the kernel", name(program, id.table));
                found.push((hook, own.priority, tables));
            }
            seen.push((nat, own.priority, id.table));
        }
    }
    for hook in [Hook::Ingress, Hook::Egress] {
        if !is_told(hook, false) {
            found.extend(ambiguous_at_devices(program, hook));
        }
    }
    found
}

/// The same for what comes in by a device, or leaves by it.
fn ambiguous_at_devices(program: &Program<'_>, hook: Hook) -> Vec<(Hook, i32, String)> {
    let chains = program.base_chains(hook, &[Family::Netdev, Family::Inet]);
    let share = |one: &BaseChain, other: &BaseChain| {
        let both = |device: &String| other.devices.iter().any(|own| covers(own, device));
        one.devices.iter().any(both)
    };
    let mut found = Vec::new();
    for (at, id) in chains.iter().enumerate() {
        let own = base(program, *id);
        let other = chains[..at].iter().find(|other| {
            let theirs = base(program, **other);
            other.table != id.table
                && theirs.priority == own.priority
                && (share(own, theirs) || share(theirs, own))
        });
        if let Some(other) = other {
            let tables = format!("{} and {}", name(program, other.table), name(program, id.table));
            found.push((hook, own.priority, tables));
        }
    }
    found
}

fn name(program: &Program<'_>, table: usize) -> String {
    let table = program.tables[table];
    format!("{} {}", table.family.as_str(), table.name)
}

#[cfg(test)]
mod tests;
