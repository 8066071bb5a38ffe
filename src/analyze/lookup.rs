//! A routing lookup as the kernel does it: rules of policy routing, then their tables.
//!
//! In: what is looked up. Out: a route, none, or which rule cannot be evaluated. Where a snapshot has
//! no rules (an older one), routes of other tables leave the answer open.

use super::host::{HostView, TABLES};
use super::value::Truth;
use crate::model::{IfaceName, IpFamily};
use crate::observe::{Link, Route, RoutingAction, RoutingRule};
use std::net::IpAddr;

/// What is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Flow<'f> {
    /// The destination of the lookup.
    pub to: IpAddr,
    /// Its source.
    pub from: IpAddr,
    /// The input interface; the loopback for what the host asks for itself.
    pub input: Option<&'f IfaceName>,
    /// The VRF in which it is looked up.
    pub vrf: Option<&'f Link>,
    /// The mark; `None` for an unknown one.
    pub mark: Option<u32>,
}

/// What ip-rule(8) calls the rule that leads to a VRF's own table.
const L3MDEV: &str = "l3mdev";

/// Why a lookup has no answer: this rule of policy routing cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// In words.
    pub why: String,
}

/// What a lookup finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked<'s> {
    /// A route.
    Route(&'s Route),
    /// None.
    Nothing,
    /// A rule says that there is no way.
    Forbidden,
}

impl<'s> HostView<'s> {
    /// Whether lookups depend on nothing but the destination: no rule of policy routing asks for
    /// anything else.
    pub(super) fn asks_for_destinations_alone(&self, family: IpFamily) -> bool {
        match &self.snapshot().routing_rules {
            None => self.other_tables(family).is_empty(),
            Some(rules) => rules.iter().filter(|rule| rule.family == family).all(|rule| {
                rule.from.is_none()
                    && rule.input.is_none()
                    && rule.output.is_none()
                    && rule.mark.is_none()
                    && rule.others.is_empty()
            }),
        }
    }

    /// The route that a lookup finds.
    pub fn looked_up(&self, flow: &Flow<'_>) -> Result<Looked<'s>, Undecided> {
        let family = IpFamily::of(flow.to);
        let Some(rules) = &self.snapshot().routing_rules else {
            let found = self.route(flow.to);
            let local = found.is_some_and(|route| route.kind != "unicast");
            return if local || self.other_tables(family).is_empty() {
                Ok(found.map_or(Looked::Nothing, Looked::Route))
            } else {
                Err(Undecided { why: "policy routing: there are routes in other tables".into() })
            };
        };
        let mut from = 0;
        for rule in rules.iter().filter(|rule| rule.family == family) {
            if rule.priority < from {
                continue;
            }
            let holds = Self::holds(rule, flow);
            if holds == Truth::No {
                continue;
            }
            let found = match rule.action {
                RoutingAction::Nothing => continue,
                RoutingAction::Table(table) => {
                    let table = match flow.vrf {
                        Some(vrf) if rule.others.iter().any(|own| own == L3MDEV) => vrf.table,
                        _ => Some(table),
                    };
                    let Some(table) = table else {
                        return Err(Undecided { why: "the routing table of a VRF".into() });
                    };
                    match self.route_in(table, flow.to) {
                        Some(route) if !is_suppressed(rule, route) => Looked::Route(route),
                        _ => continue,
                    }
                }
                RoutingAction::Forbid => Looked::Forbidden,
                RoutingAction::Goto(priority) if holds == Truth::Yes => {
                    from = priority;
                    continue;
                }
                RoutingAction::Goto(_) => Looked::Nothing,
            };
            if holds == Truth::Yes {
                return Ok(found);
            }
            let what = match (rule.others.is_empty(), rule.mark) {
                (false, _) => rule.others.join(", "),
                (true, Some(_)) => "its mark".to_owned(),
                (true, None) => "its interface".to_owned(),
            };
            return Err(Undecided {
                why: format!("policy routing: whether rule {} holds ({what})", rule.priority),
            });
        }
        Ok(Looked::Nothing)
    }

    /// `fib_rule_match()`.
    fn holds(rule: &RoutingRule, flow: &Flow<'_>) -> Truth {
        let certain = rule.to.is_none_or(|own| own.contains(flow.to))
            && rule.from.is_none_or(|own| own.contains(flow.from))
            // What is forwarded, or asked about, is bound to no interface.
            && rule.output.is_none();
        // In a VRF kernels differ in whether rules see its port or itself.
        let input = match (&rule.input, flow.vrf) {
            (None, _) => Truth::Yes,
            (Some(own), Some(vrf)) if Some(own) == flow.input || *own == vrf.name => Truth::Unknown,
            (Some(own), _) => Truth::from(Some(own) == flow.input),
        };
        let mark = match (rule.mark, flow.mark) {
            (None, _) => Truth::Yes,
            (Some(_), None) => Truth::Unknown,
            (Some((value, mask)), Some(own)) => Truth::from((own ^ value) & mask == 0),
        };
        let mut others = Truth::Yes;
        for other in &rule.others {
            match other.as_str() {
                L3MDEV if flow.vrf.is_none() => others = Truth::No,
                L3MDEV => {}
                _ if others == Truth::Yes => others = Truth::Unknown,
                _ => {}
            }
        }
        let all = match (certain, [input, mark, others]) {
            (false, _) => Truth::No,
            (true, asked) if asked.contains(&Truth::No) => Truth::No,
            (true, [Truth::Yes, Truth::Yes, Truth::Yes]) => Truth::Yes,
            _ => Truth::Unknown,
        };
        all.inverted(rule.invert)
    }

    /// The route of one table; none where it says `throw`.
    pub(super) fn route_in(&self, table: u32, address: IpAddr) -> Option<&'s Route> {
        let longest = self.routes().longest(table, address).iter();
        // Of equal ones the first that was read; which one the kernel takes does not matter in its
        // own tables, where they are next hops of one route.
        let found = if TABLES.contains(&table) {
            longest.min_by_key(|route| route.metric)
        } else {
            longest.max_by_key(|route| std::cmp::Reverse(route.metric))
        };
        found.copied().filter(|route| route.kind != "throw")
    }

    /// The interface by which what is looked up leaves: as [`HostView::leaves_by`], by the rules.
    pub fn flow_leaves_by(
        &self,
        flow: &Flow<'_>,
        through: Option<&IfaceName>,
    ) -> Result<Option<&'s IfaceName>, Undecided> {
        let Looked::Route(route) = self.looked_up(flow)? else { return Ok(None) };
        if route.kind != "unicast" {
            return Ok(None);
        }
        Ok(match through {
            Some(name) => self.interfaces(route).find(|own| *own == name),
            None => route.interface.as_ref(),
        })
    }
}

/// `fib4_rule_suppress()`: a route that is too general does not count.
fn is_suppressed(rule: &RoutingRule, route: &Route) -> bool {
    rule.suppress_length.is_some_and(|length| u32::from(route.to.length()) <= length)
}
