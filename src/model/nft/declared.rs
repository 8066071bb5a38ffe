//! Two declarations of a table → what of them cannot be changed in place.

use super::{BaseChain, Set, SetData, Table};

impl Table {
    /// What is in this table under the name that it has in another one, and is something else there:
    /// the kernel changes neither a chain's hook nor a set's type, so the table has to be made anew,
    /// and with it the place of its chains among others of equal priority.
    pub fn redeclared(&self, desired: &Self) -> Vec<String> {
        let mut names = Vec::new();
        if self.dormant {
            names.push("the table, which is dormant".to_owned());
        }
        let place = |hook: &Option<BaseChain>| {
            hook.as_ref()
                .map(|base| (base.kind.clone(), base.hook, base.priority, base.devices.clone()))
        };
        for chain in &desired.chains {
            if let Some(old) = self.chain(&chain.name)
                && place(&old.hook) != place(&chain.hook)
            {
                names.push(format!("chain {}", chain.name));
            }
        }
        for set in &desired.sets {
            if let Some(old) = self.set(&set.name)
                && !same_declaration(old, set)
            {
                names.push(format!("set {}", set.name));
            }
        }
        names
    }
}

fn same_declaration(live: &Set, desired: &Set) -> bool {
    let kind = |set: &Set| match &set.data {
        None => (0, Vec::new()),
        Some(SetData::Verdict) => (1, Vec::new()),
        Some(SetData::Value { fields, .. }) => (2, fields.clone()),
        Some(SetData::Object(kind)) => (3 + *kind, Vec::new()),
    };
    live.key == desired.key
        && kind(live) == kind(desired)
        && live.flags == desired.flags
        && live.timeout == desired.timeout
        && (desired.size.is_none() || live.size == desired.size)
}
