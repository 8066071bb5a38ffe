//! A whole live ruleset and the host around it → who can reach what, by which way, and why.
//!
//! In: a [`Snapshot`]. Out: for a packet from one source or from many, where it arrives: at a
//! socket of the host, at another host, or nowhere; and which rule decides that. Pure.
//!
//! What always holds: all tables count, in the kernel's order. What the packet alone does not tell
//! (a rate, the time, a module of iptables that fwctl cannot read) is an unknown with a name; an
//! answer depends on exactly those unknowns that change it. One engine answers for one packet and
//! for all sources of a zone: sources that no statement tells apart are asked about once.

mod alike;
mod arrivals;
mod asked;
mod beside;
mod buckets;
mod chain;
pub mod compare;
mod cuts;
mod decision;
mod explain;
mod exposed;
mod exposure;
mod facts;
mod gate;
pub mod guard;
mod hooks;
mod host;
mod hull;
mod indexes;
mod ipset;
mod kept;
mod lasting;
mod load;
mod lookup;
mod modules;
mod outline;
mod packet;
mod passage;
mod ports;
mod program;
mod programs;
mod prospect;
mod proxied;
mod reach;
mod registered;
mod routes;
mod run;
mod served;
mod sets;
mod shadow;
mod shared;
pub mod sources;
mod state;
mod step;
mod together;
mod translate;
mod understood;
mod unseen;
mod value;
mod walk;
mod way;
mod ways;
mod written;
mod xt;

pub use arrivals::Arrival;
pub use asked::Told;
pub use explain::{Arrived, Decider, EXPLAIN_FORMAT, Ending, Explanation, Matched, Step};
pub use exposed::{EXPOSURE_FORMAT, Exposed, Exposure, Violation, Witness, ZoneReach};
pub use exposure::exposure;
pub use host::{Nowhere, Way};
pub use packet::{CLIENT_PORT, ConnectionState, From, Packet};
pub use ports::{Classes, Signature};
pub use prospect::{Prospect, ZoneProspect, prospects};
pub use reach::{Reach, Summary};
pub use shadow::{Shadowed, shadowed};
pub use state::{Env, Exactness, RuleId, State};
pub use step::Unclear;
pub use understood::{Named, Understanding, Understood, understood};
pub use unseen::past_the_rules;

use crate::compile::TABLE;
use crate::model::nft::{Family, Hook, RejectWith, Table};
use crate::model::{IfaceName, IpFamily};
use crate::observe::{Snapshot, tracks_connections};
use alike::Alike;
use facts::Facts;
use foldhash::HashMap;
use guard::{Guard, Guards};
use hooks::{Order, Stages};
use host::HostView;
use kept::Latest;
use program::Program;
use run::Segments;
use shared::Shared;
use sources::{Sources, Span};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use walk::Walk;
use ways::Routing;

/// Intervals of sources.
type Intervals = Rc<[(u128, u128)]>;

/// A snapshot made ready for many questions.
#[derive(Debug)]
pub struct Analyzer<'s> {
    snapshot: &'s Snapshot,
    program: Program<'s>,
    host: Rc<HostView<'s>>,
    facts: Facts,
    stages: Stages<'s>,
    /// By the texts of the policy, and whether every port was asked about.
    exposures: RefCell<HashMap<(Vec<String>, bool), Exposure>>,
    segments: RefCell<Segments>,
    /// Rules by their names: to write one takes longer than to find out that it decides.
    named: RefCell<HashMap<RuleId, Decider>>,
    routing: Rc<Routing>,
    shared: Rc<Shared>,
    alike: OnceCell<Alike>,
    latest: RefCell<Latest>,
    /// Whether connections are tracked, of IPv4 and of IPv6.
    tracked: OnceCell<[bool; 2]>,
}

/// What an [`Analyzer`] is made of. It can go to another thread, which the analyzer cannot.
struct Recipe<'s> {
    snapshot: &'s Snapshot,
    tables: Vec<&'s Table>,
    renewed: Option<usize>,
}

impl<'s> Recipe<'s> {
    fn analyzer(&self) -> Analyzer<'s> {
        let host = Rc::new(HostView::new(self.snapshot));
        Analyzer::on(self.snapshot, self.tables.clone(), self.renewed, host, Rc::default())
    }
}

/// What becomes of a packet.
#[derive(Debug)]
pub struct Answer {
    /// Where it arrives, for which sources under which condition.
    pub ends: Vec<End>,
    /// What the conditions speak of.
    pub unknowns: Vec<Unknown>,
    /// The conditions.
    pub guards: Guards,
    /// What happened on the way, if that was asked for.
    pub events: Vec<Event>,
    /// Tables whose order decides, and is not known.
    pub order_matters: Vec<String>,
    shared: Rc<Shared>,
}

/// Something that the packet alone does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What, in nft's words or plain ones.
    pub name: String,
    /// Why it is not known.
    pub unclear: Unclear,
    /// The rule that asks.
    pub rule: Option<RuleId>,
}

/// An end of the way.
#[derive(Debug, Clone)]
pub struct End {
    /// For which sources, and in which state.
    pub state: State,
    /// What becomes of them.
    pub fate: Fate,
    /// The rule or policy that decides; `None` where the host itself does, or nothing filters.
    pub by: Option<RuleId>,
}

impl End {
    /// The condition under which the lowest of the sources ends so.
    fn guard(&self) -> Guard {
        self.state.sources.spans().first().map_or(Guard::NEVER, |span| span.guard)
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It comes to a socket of the host, if one listens.
    Delivered,
    /// It leaves by this interface; `None` for one of several.
    Forwarded(Option<IfaceName>),
    /// A rule or policy drops it.
    Dropped,
    /// A rule drops it and tells the sender.
    Rejected(RejectWith),
    /// The host drops it.
    Nowhere(Nowhere),
    /// It depends on this unknown, which may decide anything.
    Unknown(u32),
}

impl Fate {
    /// Whether it gets through.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Delivered | Self::Forwarded(_))
    }
}

/// Something that happened on the way of one packet.
#[derive(Debug, Clone)]
pub struct Event {
    /// At which hook.
    pub hook: Hook,
    /// At which priority.
    pub priority: i32,
    /// The rule, or the base chain with no rule.
    pub rule: RuleId,
    /// What.
    pub what: Happened,
    /// Under which condition.
    pub guard: Guard,
    /// How the packet stands then.
    pub env: Rc<Env>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// It came into a base chain.
    Entered,
    /// The rule matched, and the packet goes on behind it.
    Matched,
    /// It goes to another chain.
    Jumped,
    /// It goes back.
    Returned,
    /// Its mark, connection or tracking changed.
    Changed,
    /// NAT.
    Translated,
    /// It may go on to the next base chain.
    Accepted,
    /// It ends here.
    Dropped,
    /// It ends here, and the sender is told.
    Rejected,
    /// Whatever the rule does is not known.
    Unclear,
    /// Routing decided.
    Routed(Way),
}

impl<'s> Analyzer<'s> {
    /// Prepares the ruleset that is in force.
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Self::over(snapshot, snapshot.ruleset.tables.iter().collect())
    }

    /// Prepares the ruleset that is predicted for the same host: fwctl's own table is this one, or is
    /// gone, and all others are as they are. Chains of ours that are there already keep their place
    /// among those of equal priority, new ones run first. What was found out about the host is known to both.
    #[must_use]
    pub fn with_own(&self, own: Option<&'s Table>) -> Self {
        let tables = self.snapshot.ruleset.tables.iter();
        let ours = |table: &&Table| table.family == Family::Inet && table.name == TABLE;
        let mut tables: Vec<&Table> = tables.filter(|table| !ours(table)).collect();
        let live = self.snapshot.ruleset.table(Family::Inet, TABLE);
        // Chains that are changed in place keep theirs among those of equal priority.
        let in_place = live.zip(own).is_some_and(|(live, own)| live.redeclared(own).is_empty());
        let renewed = (!in_place).then_some(tables.len());
        tables.extend(own);
        let (host, routing) = (Rc::clone(&self.host), Rc::clone(&self.routing));
        Self::on(self.snapshot, tables, renewed, host, routing)
    }

    /// Prepares fwctl's own table alone, as if nothing else filtered on the host.
    pub fn alone(snapshot: &'s Snapshot, own: &'s Table) -> Self {
        Self::over(snapshot, vec![own])
    }

    /// All that it takes to make this again, on another thread.
    fn recipe(&self) -> Recipe<'s> {
        let (snapshot, renewed) = (self.snapshot, self.stages.renewed());
        Recipe { snapshot, tables: self.program.tables.clone(), renewed }
    }

    fn over(snapshot: &'s Snapshot, tables: Vec<&'s Table>) -> Self {
        Recipe { snapshot, tables, renewed: None }.analyzer()
    }

    fn on(
        snapshot: &'s Snapshot,
        tables: Vec<&'s Table>,
        renewed: Option<usize>,
        host: Rc<HostView<'s>>,
        routing: Rc<Routing>,
    ) -> Self {
        Self {
            snapshot,
            program: Program::new(tables),
            host,
            facts: Facts::default(),
            stages: Stages::new(snapshot.hooks.as_deref(), renewed),
            exposures: RefCell::default(),
            segments: RefCell::default(),
            named: RefCell::default(),
            routing,
            shared: Rc::default(),
            alike: OnceCell::new(),
            latest: RefCell::default(),
            tracked: OnceCell::new(),
        }
    }

    /// Whether anything makes the kernel track connections of this IP version: without that, no
    /// packet comes to a chain of type `nat`.
    fn tracks(&self, family: IpFamily) -> bool {
        let tracked = self.tracked.get_or_init(|| {
            [Family::Ip, Family::Ip6].map(|own| {
                let sees = |table: &&&Table| table.family == own || table.family == Family::Inet;
                self.program.tables.iter().filter(sees).any(|table| tracks_connections(table))
            })
        });
        tracked[usize::from(family == IpFamily::Ipv6)]
    }

    /// The tables that count.
    pub fn tables(&self) -> &[&'s Table] {
        &self.program.tables
    }

    /// The snapshot; its ruleset need not be the one that counts.
    pub fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    /// Where a packet arrives, for each of its sources.
    pub fn ask(&self, packet: &Packet) -> Answer {
        self.walk(packet, false)
    }

    /// The same, with all that happens on the way; for a packet from one source.
    pub fn trace(&self, packet: &Packet) -> Answer {
        self.walk(packet, true)
    }

    fn walk(&self, packet: &Packet, traced: bool) -> Answer {
        let mut walk = Walk::new(self, packet, traced);
        walk.run(Order::ByHandle);
        let mut order_matters = Vec::new();
        let ambiguous = self.stages.ambiguous(&self.program, packet.family());
        if !ambiguous.is_empty() {
            let mut other = Walk::new(self, packet, false);
            other.run(Order::Reversed);
            if outline::differ(&walk.ends, &other.ends) {
                order_matters = ambiguous
                    .iter()
                    .map(|(hook, priority, tables)| {
                        format!("the order of {tables} at {} priority {priority}", hook.as_str())
                    })
                    .collect();
            }
        }
        Answer {
            ends: walk.ends,
            unknowns: walk.unknowns,
            guards: walk.guards,
            events: walk.events.unwrap_or_default(),
            order_matters,
            shared: Rc::clone(&self.shared),
        }
    }
}

impl Answer {
    /// The ends of one of the sources, as if it had been asked about alone; `None` where that may
    /// tell more.
    pub fn alone(&self, source: u128) -> Option<Vec<End>> {
        let mut ends = Vec::new();
        for end in &self.ends {
            let guard = end.state.sources.at(source);
            if guard == Guard::NEVER {
                continue;
            }
            if end.state.several || matches!(end.fate, Fate::Unknown(_)) {
                return None;
            }
            let mut sources = Sources::default();
            sources.push(Span { first: source, last: source, guard });
            let state = State { sources, ..end.state.clone() };
            ends.push(End { state, ..end.clone() });
        }
        Some(ends)
    }

    /// The condition under which each of these sources ends so, for a packet from one source.
    pub fn guard(&self, end: &End) -> Guard {
        end.guard()
    }
}
