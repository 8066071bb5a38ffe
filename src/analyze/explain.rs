//! One connection, hook by hook: what matched, what rewrote it, who decided.
//!
//! In: a packet from one source. Out: a value that reports show as text or JSON; nothing in it is
//! a number of ours.

use super::guard::Guard;
use super::indexes::with_names;
use super::packet::{From, Packet, address};
use super::reach::Reach;
use super::state::RuleId;
use super::{Analyzer, Answer, End, Event, Fate, Happened, Nowhere, Way};
use crate::compile::TABLE;
use crate::model::nft::{Hook, RejectWith, Verdict, text};
use crate::model::{Bind, Endpoint, IfaceName, Owner, Protocol, ServedBy};
use crate::observe::endpoints;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The value of `format` in an explanation that this version writes.
pub const EXPLAIN_FORMAT: &str = "fwctl.explain/1";

/// What becomes of one connection, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// [`EXPLAIN_FORMAT`].
    pub format: &'static str,
    /// The source address.
    pub source: IpAddr,
    /// The zone that it stands for, if one was asked about.
    pub zone: Option<String>,
    /// By which interface it comes; `None` from the host itself.
    pub interface: Option<IfaceName>,
    /// The dialled address.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The dialled port; 0 for a protocol without ports.
    pub port: u16,
    /// Whether it gets through. Never partial: there is one source.
    pub verdict: Reach,
    /// What that depends on, by name.
    pub depends_on: Vec<String>,
    /// Who decides; `None` where no rule does.
    pub decided_by: Option<Decider>,
    /// Where it ends; several where that depends on something.
    pub ends: Vec<Arrived>,
    /// The way, in the kernel's order.
    pub steps: Vec<Step>,
}

/// A rule, or the policy of a chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decider {
    /// Family and name of the table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule in nft's words; `policy drop` or `policy accept` for the chain's policy.
    pub rule: String,
    /// The rule's handle; `None` for a policy, and for what is not in a kernel yet.
    pub handle: Option<u64>,
}

impl Decider {
    /// Whether the rule is in fwctl's own table.
    pub fn is_ours(&self) -> bool {
        self.table.strip_prefix("inet ") == Some(TABLE)
    }
}

impl std::fmt::Display for Decider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.table, self.chain, self.rule)
    }
}

/// An end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrived {
    /// Which.
    pub fate: Ending,
    /// To which address, after all rewriting.
    pub address: IpAddr,
    /// To which port; `None` for one of several.
    pub port: Option<u16>,
    /// Who answers there, as far as it is known.
    pub owner: Option<Owner>,
    /// On what it depends whether it ends so; empty for nothing.
    pub depends_on: Vec<String>,
}

/// How a way ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// At a socket of the host, if one listens.
    Delivered,
    /// Out by this interface; `null` for one of several.
    Forwarded(Option<IfaceName>),
    /// Dropped by a rule or policy.
    Dropped,
    /// Dropped by a rule that answers.
    Rejected(RejectWith),
    /// Dropped by the host itself.
    Host(Nowhere),
    /// Not known.
    Unknown,
}

/// A part of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// A base chain.
    Chain {
        /// The hook.
        hook: Hook,
        /// The priority.
        priority: i32,
        /// Family and name of the table.
        table: String,
        /// The chain's name.
        chain: String,
        /// Its policy.
        policy: &'static str,
        /// What matched in it and in the chains behind it.
        rules: Vec<Matched>,
    },
    /// The routing decision.
    Routing {
        /// In words: `local`, `by NAME`, or why not.
        decision: String,
        /// For the one who reads a program: where to.
        interface: Option<IfaceName>,
    },
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// Its chain.
    pub chain: String,
    /// In nft's words; the policy's for a policy.
    pub rule: String,
    /// The handle; `None` for a policy.
    pub handle: Option<u64>,
    /// What it did: `matches`, `accepts`, `drops`, …
    pub effect: &'static str,
    /// What that led to, in words: the new destination, the new mark.
    pub result: Option<String>,
    /// On what it depends whether it matched; empty for nothing.
    pub depends_on: Vec<String>,
}

impl Analyzer<'_> {
    /// Explains what becomes of a packet from one source.
    pub fn explain(&self, packet: &Packet, zone: Option<String>) -> Explanation {
        let mut answer = self.trace(packet);
        let family = packet.family();
        let summary = answer.summary(family, |end| end.fate.passes());
        let source = packet.sources.first().map_or(0, |(first, _)| *first);
        let endpoints = endpoints(self.snapshot());
        let mut ends = Vec::new();
        for end in &answer.ends {
            let arrived = Arrived {
                fate: ending(&end.fate),
                address: end.state.env.destination,
                port: end.state.env.port,
                owner: owner(&endpoints, packet.protocol, end),
                depends_on: names(&answer, answer.guard(end)),
            };
            if !ends.contains(&arrived) {
                ends.push(arrived);
            }
        }
        Explanation {
            format: EXPLAIN_FORMAT,
            source: address(family, source),
            zone,
            interface: match &packet.from {
                From::Interface(name) => Some(name.clone()),
                From::Host => None,
            },
            destination: packet.destination,
            protocol: packet.protocol,
            port: packet.port,
            verdict: summary.reach,
            depends_on: summary.depends_on,
            decided_by: self.decider(&answer.ends, |end| end.fate.passes()),
            steps: self.steps(&answer),
            ends,
        }
    }

    /// Who decides: the rule or policy behind the certain end; where that depends on something,
    /// the rule that decides in a way that is not known, or else the one that lets it through.
    pub fn decider(&self, ends: &[End], arrives: impl Fn(&End) -> bool) -> Option<Decider> {
        let certain = ends.iter().find(|end| end.guard() == Guard::ALWAYS);
        let unknown = || ends.iter().find(|end| matches!(end.fate, Fate::Unknown(_)));
        let arriving = || ends.iter().find(|end| arrives(end));
        let end = certain.or_else(unknown).or_else(arriving).or(ends.first())?;
        end.by.map(|id| self.named(id))
    }

    /// Which rule or policy drops or rejects the packets of one source; `None` where none does.
    pub fn refuser(&self, ends: &[End]) -> Option<Decider> {
        let drops = |end: &&End| matches!(end.fate, Fate::Dropped | Fate::Rejected(_));
        let mut found = ends.iter().filter(drops);
        let certain = found.clone().find(|end| end.guard() == Guard::ALWAYS);
        let end = certain.or_else(|| found.next())?;
        end.by.map(|id| self.named(id))
    }

    /// A rule by its names.
    pub fn named(&self, id: RuleId) -> Decider {
        self.named.borrow_mut().entry(id).or_insert_with(|| self.name_of(id)).clone()
    }

    fn name_of(&self, id: RuleId) -> Decider {
        let tables = &self.program.tables;
        let (table, chain) = (id.table_of(tables), id.chain_of(tables));
        let rule = id.rule_of(tables);
        Decider {
            table: format!("{} {}", table.family.as_str(), table.name),
            chain: chain.name.clone(),
            rule: rule.map_or_else(
                || self.policy(id).to_owned(),
                |rule| with_names(text::rule(rule, table), &self.snapshot().links),
            ),
            handle: rule.map(|rule| rule.handle).filter(|handle| *handle != 0),
        }
    }

    fn policy(&self, id: RuleId) -> &'static str {
        let base = id.chain_of(&self.program.tables).hook.as_ref();
        match base.map(|base| &base.policy) {
            Some(Verdict::Drop) => "policy drop",
            _ => "policy accept",
        }
    }

    fn steps(&self, answer: &Answer) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for event in &answer.events {
            match &event.what {
                Happened::Entered => {
                    let named = self.named(event.rule);
                    steps.push(Step::Chain {
                        hook: event.hook,
                        priority: event.priority,
                        table: named.table,
                        chain: named.chain,
                        policy: self.policy(event.rule),
                        rules: Vec::new(),
                    });
                }
                Happened::Routed(way) => steps.push(routing(way)),
                what => {
                    let Some(Step::Chain { rules, .. }) = steps.last_mut() else { continue };
                    let named = self.named(event.rule);
                    rules.push(Matched {
                        chain: named.chain,
                        rule: named.rule,
                        handle: named.handle,
                        effect: effect(what),
                        result: result(event),
                        depends_on: names(answer, event.guard),
                    });
                }
            }
        }
        steps
    }
}

fn routing(way: &Way) -> Step {
    let (decision, interface) = match way {
        Way::Local => ("to the host itself".to_owned(), None),
        Way::Forward(Some(name)) => (format!("on, by {name}"), Some(name.clone())),
        Way::Forward(None) => ("on, by one of several interfaces".to_owned(), None),
        Way::Nowhere(why) => (format!("nowhere: {why}"), None),
    };
    Step::Routing { decision, interface }
}

fn ending(fate: &Fate) -> Ending {
    match fate {
        Fate::Delivered => Ending::Delivered,
        Fate::Forwarded(name) => Ending::Forwarded(name.clone()),
        Fate::Dropped => Ending::Dropped,
        Fate::Rejected(with) => Ending::Rejected(*with),
        Fate::Nowhere(why) => Ending::Host(*why),
        Fate::Unknown(_) => Ending::Unknown,
    }
}

fn names(answer: &Answer, guard: Guard) -> Vec<String> {
    let mut names = Vec::new();
    for unknown in answer.guards.depends_on(guard) {
        let name = &answer.unknowns[unknown as usize].name;
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn effect(what: &Happened) -> &'static str {
    match what {
        Happened::Entered | Happened::Routed(_) | Happened::Matched => "matches",
        Happened::Jumped => "jumps",
        Happened::Returned => "returns",
        Happened::Changed => "changes",
        Happened::Translated => "rewrites",
        Happened::Accepted => "accepts",
        Happened::Dropped => "drops",
        Happened::Rejected => "rejects",
        Happened::Unclear => "unclear",
    }
}

fn result(event: &Event) -> Option<String> {
    let env = &event.env;
    match event.what {
        Happened::Translated => Some(match (env.source, env.port) {
            (Some(Some(source)), _) => format!("from {source}"),
            (Some(None), _) => "from an address of the host".to_owned(),
            (None, Some(port)) if port > 0 => {
                format!("to {}", std::net::SocketAddr::new(env.destination, port))
            }
            (None, _) => format!("to {}", env.destination),
        }),
        Happened::Changed => {
            let mut parts = Vec::new();
            let mark =
                |mark: Option<u32>| mark.map_or("unknown".to_owned(), |own| format!("{own:#x}"));
            if env.mark != Some(0) {
                parts.push(format!("mark {}", mark(env.mark)));
            }
            if env.ct_mark.is_some_and(|own| own != 0) {
                parts.push(format!("ct mark {}", mark(env.ct_mark)));
            }
            (!parts.is_empty()).then(|| parts.join(", "))
        }
        _ => None,
    }
}

/// Who answers where a packet arrives.
fn owner(endpoints: &[Endpoint], protocol: Protocol, end: &End) -> Option<Owner> {
    let (to, port) = (end.state.env.destination, end.state.env.port?);
    let local = matches!(end.fate, Fate::Delivered);
    let answers = |endpoint: &&Endpoint| {
        let here = endpoint.protocol == protocol && endpoint.ports.contains(port);
        match &endpoint.served_by {
            ServedBy::HostSocket | ServedBy::Proxy => local && here && endpoint.bind.covers(to),
            ServedBy::Published { to: own, to_port } => {
                let inside = u32::from(port).checked_sub(u32::from(*to_port));
                let count = u32::from(endpoint.ports.last() - endpoint.ports.first());
                !local
                    && endpoint.protocol == protocol
                    && *own == Some(to)
                    && inside.is_some_and(|inside| inside <= count)
            }
            ServedBy::Routed { .. } => !local && here && endpoint.bind == Bind::Address(to),
        }
    };
    if !end.fate.passes() {
        return None;
    }
    endpoints.iter().find(answers).map(|endpoint| endpoint.owner.clone())
}
