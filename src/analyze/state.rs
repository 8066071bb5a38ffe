//! What rules and the kernel have done to a packet on its way.

use super::packet::Packet;
use super::passage::Passage;
use super::sources::Sources;
use super::step::Change;
use super::translate::Translation;
use crate::model::IfaceName;
use crate::model::nft::{BaseChain, Chain, Hook, Rule, Table};
use std::net::IpAddr;
use std::rc::Rc;

/// A rule of a ruleset, or the policy of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// The table, in the order of the ruleset.
    pub table: usize,
    /// The chain, in the order of the table.
    pub chain: usize,
    /// The rule, in the order of the chain; `None` for the chain's policy.
    pub rule: Option<usize>,
}

impl RuleId {
    /// The table.
    pub fn table_of<'t>(self, tables: &[&'t Table]) -> &'t Table {
        tables[self.table]
    }

    /// The chain.
    pub fn chain_of<'t>(self, tables: &[&'t Table]) -> &'t Chain {
        &tables[self.table].chains[self.chain]
    }

    /// The rule; `None` for the chain's policy.
    pub fn rule_of<'t>(self, tables: &[&'t Table]) -> Option<&'t Rule> {
        self.rule.and_then(|rule| self.chain_of(tables).rules.get(rule))
    }
}

/// A chain's place among the hooks.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// The hook.
    pub hook: Hook,
    /// By which interface the packet came in, where the hook knows it.
    pub input: Option<&'p IfaceName>,
    /// The port of a VRF by which it came, where `input` is the VRF.
    pub port: Option<&'p IfaceName>,
    /// By which it leaves, where the hook knows it.
    pub output: Option<&'p IfaceName>,
    /// What rules that ask for either are found by.
    pub passage: &'p Passage,
    /// The base chain's type and priority.
    pub base: &'p BaseChain,
}

/// Whether connection tracking has seen the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tracking {
    /// Not yet.
    NotYet,
    /// It never will (`notrack`).
    Never,
    /// It has, and there is a connection.
    Connection,
    /// It has, and could not assign the packet.
    Invalid,
}

/// How well a rewritten address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exactness {
    /// It is this one.
    Exact,
    /// It is one of the input interface's own, this or another.
    OneOfLocal,
    /// It is this or another of a range.
    OneOf,
}

/// All that is not the source address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent marks of what was done")]
pub struct Env {
    /// Connection tracking.
    pub tracking: Tracking,
    /// The packet's mark; `None` for an unknown one.
    pub mark: Option<u32>,
    /// The connection's mark; `None` for an unknown one.
    pub ct_mark: Option<u32>,
    /// Whether rules set labels or a zone of the connection.
    pub ct_changed: bool,
    /// The destination, as it stands in the packet.
    pub destination: IpAddr,
    /// How well it is known.
    pub exactness: Exactness,
    /// The destination port; `None` for one of a range.
    pub port: Option<u16>,
    /// The source, where it was rewritten: the new one, or `None` for one of several.
    pub source: Option<Option<IpAddr>>,
    /// The source port, where it was rewritten to one that is not known.
    pub source_port_changed: bool,
    /// Bits of `ct status`.
    pub status: u32,
    /// Whether the destination's translation is settled.
    pub destination_settled: bool,
    /// Whether the source's translation is settled.
    pub source_settled: bool,
    /// Whether rules wrote into addresses or ports of the packet itself.
    pub overwritten: bool,
    /// By which interface it leaves.
    pub output: Option<IfaceName>,
}

impl Env {
    /// How a packet comes in.
    pub fn start(packet: &Packet) -> Self {
        Self {
            tracking: Tracking::NotYet,
            mark: Some(0),
            ct_mark: None,
            ct_changed: false,
            destination: packet.destination,
            exactness: Exactness::Exact,
            port: Some(packet.port),
            source: None,
            source_port_changed: false,
            status: 0,
            destination_settled: false,
            source_settled: false,
            overwritten: false,
            output: None,
        }
    }

    /// What a rule changes.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Mark(mark) => self.mark = *mark,
            Change::CtMark(mark) => self.ct_mark = *mark,
            Change::CtOther => self.ct_changed = true,
            Change::Notrack => self.tracking = Tracking::Never,
            Change::Overwrite => self.overwritten = true,
        }
    }

    /// `nf_nat_setup_info()`.
    pub fn translate(&mut self, translation: &Translation) {
        const SOURCE: u32 = 1 << 4;
        const DESTINATION: u32 = 1 << 5;
        match translation {
            Translation::Destination { address, exactness, port } => {
                let same = *exactness == Exactness::Exact
                    && self.exactness == Exactness::Exact
                    && (self.destination, self.port) == (*address, *port);
                if !same {
                    self.status |= DESTINATION;
                }
                self.destination = *address;
                self.exactness = *exactness;
                self.port = *port;
                self.destination_settled = true;
            }
            Translation::Source(source) => {
                self.status |= SOURCE;
                self.source = Some(*source);
                self.source_port_changed = true;
                self.source_settled = true;
            }
            Translation::Nothing => {}
        }
    }
}

/// Sources that fare the same.
#[derive(Debug, Clone)]
pub struct State {
    /// Which.
    pub sources: Sources,
    /// What holds for all of them.
    pub env: Rc<Env>,
    /// The rule that accepted them last; it makes no state another one.
    pub accepted_by: Option<RuleId>,
    /// The rule that rewrote the destination.
    pub translated_by: Option<RuleId>,
    /// Whether the rules that are named are those of some of the sources only.
    pub several: bool,
}
