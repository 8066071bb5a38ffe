//! The last resort: the table for a host whose kept generations are all damaged.
//!
//! In: where sshd is meant to listen, and the little of the host that rules must name. Out: SSH at
//! those ports from anywhere, what is established, and nothing else: never wide open, never locked
//! out. It is the shipped policy `ssh-only`, and the marker says generation 0.

use crate::compile::{self, Environment, compile};
use crate::model::nft::Table;
use crate::model::{PortRange, PortSpec, Protocol};
use crate::plan::{Marker, marker};
use crate::policy::{Policy, load_shipped};
use std::collections::BTreeSet;

/// The number of the generation that no policy of the host made.
pub const SSH_ONLY: u32 = 0;

/// The table, with its marker.
pub fn table(ports: &BTreeSet<u16>, environment: &Environment) -> Table {
    let policy = policy(ports);
    let mut table = compile(&policy, environment)
        .or_else(|_| compile(&policy, &Environment::default()))
        .expect("a policy without zones fits every host");
    let marker = Marker { generation: SSH_ONLY, digest: compile::digest(&table) };
    table.chains.push(marker::chain(&marker));
    table
}

fn policy(ports: &BTreeSet<u16>) -> Policy {
    let mut policy = load_shipped("ssh-only").expect("it is tested").policy;
    // The default drops what these deny, and a port of sshd may be one of them.
    policy.deny.clear();
    policy.expect.clear();
    for rule in &mut policy.allow {
        // Port 0 is none.
        let ports = ports.iter().filter_map(|port| PortRange::single(*port).ok());
        rule.ports.extend(ports.map(|port| PortSpec::Ports(Protocol::TCP, port)));
        rule.ports.sort();
        rule.ports.dedup();
    }
    policy
}
