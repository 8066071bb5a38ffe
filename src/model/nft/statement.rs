//! Statements: what a rule matches and does, with the registers of the bytecode resolved.
//!
//! The decoder runs a rule's expressions once symbolically: a load into a register becomes an
//! [`Operand`], and what reads the register takes that operand in. Names and numbers are those of
//! `linux/netfilter/nf_tables.h`.

use super::Bytes;
use super::action::{Limit, LogOptions, NatKind, NatRange, RejectWith};
use super::operand::{CompareOp, CtDirection, CtKey, MetaKey, Operand, PayloadBase};
use super::xt::{XtKind, XtMatch};
use crate::model::IpFamily;
use serde::{Deserialize, Serialize};

/// One statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statement {
    /// Goes on where the comparison holds (`cmp`).
    Compare {
        /// What is compared: one operand, or several registers that were compared at once.
        left: Vec<Operand>,
        /// How.
        op: CompareOp,
        /// With what; as long as the operands together. A comparison with fewer bytes than an
        /// interface name has is a prefix match (`iifname "wg*"`).
        right: Bytes,
    },
    /// Goes on where the operand is in the range, or with `invert` where it is not.
    Range {
        /// What is compared.
        left: Operand,
        /// Whether the range is excluded.
        invert: bool,
        /// The lowest value.
        from: Bytes,
        /// The highest value.
        to: Bytes,
    },
    /// Goes on where the set holds the key, or with `invert` where it does not.
    Lookup {
        /// The key, field by field.
        key: Vec<Operand>,
        /// The set's name.
        set: String,
        /// Whether membership is excluded.
        invert: bool,
    },
    /// Does what the verdict map says for the key; goes on where it says nothing.
    VerdictMap {
        /// The key, field by field.
        key: Vec<Operand>,
        /// The map's name.
        map: String,
    },
    /// Does this.
    Verdict(Verdict),
    /// Counts packets.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Goes on while the rate is not exceeded, or with `over` once it is.
    Limit(Limit),
    /// Writes the packet to the log.
    Log(LogOptions),
    /// Drops the packet and tells the sender.
    Reject(RejectWith),
    /// Adds the key to a dynamic set, and goes on where the element's statements match. Does not
    /// go on where the set is full.
    UpdateSet {
        /// Add, update (refresh the timeout) or delete.
        op: SetOp,
        /// The set's name.
        set: String,
        /// The key, field by field.
        key: Vec<Operand>,
        /// The value, for a map.
        data: Option<Vec<Operand>>,
        /// How long the element lives, in milliseconds.
        timeout: Option<u64>,
        /// What the element carries.
        statements: Vec<Statement>,
        /// Whether the result is inverted.
        invert: bool,
    },
    /// Translates the source or destination.
    Nat {
        /// Which.
        kind: NatKind,
        /// The IP version that the rule is for.
        family: Option<IpFamily>,
        /// The new addresses and ports.
        range: Box<NatRange>,
    },
    /// Sets `meta` data of the packet.
    SetMeta {
        /// Which.
        key: MetaKey,
        /// To what.
        value: Operand,
    },
    /// Sets data of the connection.
    SetCt {
        /// Which.
        key: CtKey,
        /// For which direction.
        direction: Option<CtDirection>,
        /// To what.
        value: Operand,
    },
    /// Writes into the packet.
    SetPayload {
        /// From where to count.
        base: PayloadBase,
        /// The first byte.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// What.
        value: Operand,
    },
    /// Keeps the packet out of connection tracking.
    Notrack,
    /// Hands the packet to a program; it decides.
    Queue {
        /// The first queue.
        from: u16,
        /// The last queue.
        to: u16,
        /// Whether the packet passes when no program listens.
        bypass: bool,
    },
    /// Uses the stateful object of this name.
    Object {
        /// nft's word for its kind, or `type N`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Uses the stateful object that the map holds for the key; goes on with the next rule where
    /// it holds none.
    ObjectMap {
        /// The key, field by field.
        key: Vec<Operand>,
        /// The map's name.
        map: String,
    },
    /// Goes on until so many bytes have passed, or with `over` from then on.
    Quota {
        /// The bound.
        bytes: u64,
        /// Bytes so far.
        used: u64,
        /// Whether it matches above the bound.
        over: bool,
    },
    /// Goes on while there are at most so many connections, or with `over` when there are more.
    ConnLimit {
        /// The bound.
        count: u32,
        /// Whether it matches above the bound.
        over: bool,
    },
    /// A match or target of iptables.
    Xt {
        /// Match or target.
        kind: XtKind,
        /// Its name in the kernel.
        name: String,
        /// Its revision.
        revision: u32,
        /// What it says, where fwctl can read it.
        decoded: Option<XtMatch>,
        /// The kernel's own structure.
        raw: Bytes,
    },
    /// Something that fwctl cannot interpret. It may or may not match, and may decide.
    Opaque {
        /// The expression's name in the kernel.
        name: String,
        /// What is known of it, for a reader.
        detail: String,
    },
}

impl Statement {
    /// Whether it does no more to the packet than to test or to count it.
    pub fn only_tests(&self) -> bool {
        matches!(
            self,
            Self::Compare { .. }
                | Self::Range { .. }
                | Self::Lookup { .. }
                | Self::Counter { .. }
                | Self::Xt { kind: XtKind::Match, .. }
        )
    }

    /// Whether both do the same; what has been counted so far does not matter.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counter { .. }, Self::Counter { .. }) => true,
            (
                Self::Quota { bytes, over, .. },
                Self::Quota { bytes: their_bytes, over: their_over, .. },
            ) => bytes == their_bytes && over == their_over,
            _ => self == other,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Leaves this hook's chain; later chains still see it.
    Accept,
    /// Ends here.
    Drop,
    /// Goes on with the next rule.
    Continue,
    /// Goes back to the calling chain, or to the policy.
    Return,
    /// Goes through the chain and comes back.
    Jump(String),
    /// Goes through the chain and does not come back.
    Goto(String),
    /// Is handed to a program.
    Queue,
}

/// What is done with a dynamic set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum SetOp {
    Add,
    Update,
    Delete,
}
