//! The whole way of a packet: hooks, connection tracking, NAT and routing in the kernel's order.

use super::hooks::{self, Item, Order};
use super::host::Way;
use super::packet::{ConnectionState, From};
use super::passage::Passage;
use super::programs;
use super::sources::Sources;
use super::state::{Env, Exactness, Place, RuleId, State, Tracking};
use super::step::Unclear;
use super::walk::Walk;
use super::{Event, Fate, Happened};
use crate::model::IfaceName;
use crate::model::nft::Hook;
use std::net::IpAddr;
use std::rc::Rc;

/// `IPS_SRC_NAT_DONE`, `IPS_DST_NAT_DONE`.
const SOURCE_DONE: u32 = 1 << 7;
const DESTINATION_DONE: u32 = 1 << 8;

/// By which interfaces a packet comes and goes, as a hook knows them.
#[derive(Clone, Copy)]
struct Between<'p> {
    input: Option<&'p IfaceName>,
    /// The port of a VRF by which it came, where `input` is the VRF.
    port: Option<&'p IfaceName>,
    output: Option<&'p IfaceName>,
}

impl<'s> Walk<'_, 's> {
    /// Sends the packet on its way; the ends say where it arrives.
    pub fn run(&mut self, order: Order) {
        let packet = self.packet;
        let start = State {
            sources: self.analyzer.shared.asked(&packet.sources),
            env: Rc::new(Env::start(packet)),
            accepted_by: None,
            translated_by: None,
            several: false,
        };
        let states = vec![start];
        match &packet.from {
            From::Interface(name) => self.arrive(name, states, order),
            From::Host => self.loop_back(states, order),
        }
    }

    fn arrive(&mut self, input: &IfaceName, states: Vec<State>, order: Order) {
        let between = Between { input: Some(input), port: None, output: None };
        let mut states = states;
        let below = self.analyzer.host.below(input);
        for device in below.into_iter().chain([input]) {
            states = self.unread(device, states);
            states = self.device(Hook::Ingress, device, states, order);
        }
        let states = self.refused(input, states);
        let states = self.hook(Hook::Prerouting, between, states, order);
        let (between, states) = self.through_vrf(input, between, states, order);
        for state in states {
            for (way, state) in self.ways(input, state) {
                match way {
                    Way::Local => self.deliver(between, state, order),
                    Way::Nowhere(why) => self.end(state, Fate::Nowhere(why), None),
                    Way::Forward(output) => self.forward(between, output.as_ref(), state, order),
                }
            }
        }
    }

    /// What comes by a port of a VRF is received by the VRF once more (`vrf_l3_rcv()`), and all
    /// that follows sees that as the input interface.
    fn through_vrf<'p>(
        &mut self,
        input: &'p IfaceName,
        between: Between<'p>,
        states: Vec<State>,
        order: Order,
    ) -> (Between<'p>, Vec<State>)
    where
        's: 'p,
    {
        let Some(vrf) = self.analyzer.host.vrf_over(input) else { return (between, states) };
        let between = Between { input: Some(&vrf.name), port: Some(input), output: None };
        let past_the_hook = match self.packet.destination {
            IpAddr::V4(to) => to.is_multicast(),
            IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
        };
        if past_the_hook {
            return (between, states);
        }
        let before = Between { port: None, ..between };
        (between, self.hook(Hook::Prerouting, before, states, order))
    }

    fn deliver(&mut self, between: Between<'_>, state: State, order: Order) {
        let states = self.hook(Hook::Input, between, vec![state], order);
        let states: Vec<State> =
            states.into_iter().flat_map(|state| self.balanced(state)).collect();
        for mut state in states {
            let env = &state.env;
            for name in programs::before_sockets(self.analyzer.snapshot, self.packet.protocol, env)
            {
                state = self.doubted(&name, state);
            }
            if let Some(state) = self.settled(state) {
                let by = state.accepted_by;
                self.end(state, Fate::Delivered, by);
            }
        }
    }

    fn forward(
        &mut self,
        between: Between<'_>,
        output: Option<&IfaceName>,
        mut state: State,
        order: Order,
    ) {
        let between = Between { output, ..between };
        Rc::make_mut(&mut state.env).output = output.cloned();
        let states = self.hook(Hook::Forward, between, vec![state], order);
        let mut states = self.hook(Hook::Postrouting, between, states, order);
        if let Some(output) = output {
            states = self.leaving(output, states, order);
        }
        let inside = |state: &State| programs::in_containers(self.analyzer.snapshot, &state.env);
        let inside: std::collections::BTreeSet<String> = states.iter().flat_map(inside).collect();
        for name in inside {
            states = self.all_doubted(&name, states);
        }
        for state in states {
            if let Some(state) = self.settled(state) {
                let by = state.accepted_by;
                self.end(state, Fate::Forwarded(output.cloned()), by);
            }
        }
    }

    fn loop_back(&mut self, states: Vec<State>, order: Order) {
        let loopback = self.analyzer.host.loopback().map(|link| &link.name);
        let out = Between { input: None, port: None, output: loopback };
        let into = Between { input: loopback, port: None, output: None };
        let states = self.hook(Hook::Output, out, states, order);
        let mut states = self.hook(Hook::Postrouting, out, states, order);
        if let Some(loopback) = loopback {
            states = self.leaving(loopback, states, order);
            states = self.device(Hook::Ingress, loopback, states, order);
        }
        let states = self.hook(Hook::Prerouting, into, states, order);
        for state in states {
            self.deliver(into, state, order);
        }
    }

    /// What stands at a device itself, as what comes in by it or leaves meets it.
    pub fn device(
        &mut self,
        hook: Hook,
        device: &IfaceName,
        mut states: Vec<State>,
        order: Order,
    ) -> Vec<State> {
        let analyzer = self.analyzer;
        let (input, output) =
            if hook == Hook::Egress { (None, Some(device)) } else { (Some(device), None) };
        let between = Between { input, port: None, output };
        for item in analyzer.stages.at_device(&analyzer.program, hook, device, order).iter() {
            match item {
                Item::Chain(id) => states = self.at(*id, hook, between, states),
                Item::Foreign(name) => states = self.all_doubted(name, states),
                Item::Conntrack | Item::Nat => {}
            }
        }
        states
    }

    /// Takes out what the IP stack drops before its first hook.
    fn refused(&mut self, input: &IfaceName, states: Vec<State>) -> Vec<State> {
        let analyzer = self.analyzer;
        let ways = analyzer.ways(input, self.packet.destination, Some(0));
        let mut passed = Vec::new();
        for mut state in states {
            for (why, intervals) in &ways.refused {
                let sources = analyzer.shared.take(&mut state.sources, intervals);
                let dropped = State { sources, ..state.clone() };
                self.end(dropped, Fate::Nowhere(*why), None);
            }
            if !state.sources.is_empty() {
                passed.push(state);
            }
        }
        passed
    }

    fn hook(
        &mut self,
        hook: Hook,
        between: Between<'_>,
        mut states: Vec<State>,
        order: Order,
    ) -> Vec<State> {
        for name in programs::at_hook(self.analyzer.snapshot, hook, self.packet.family()) {
            states = self.all_doubted(&name, states);
        }
        let analyzer = self.analyzer;
        let family = self.packet.family();
        for item in analyzer.stages.items(&analyzer.program, hook, family, order).iter() {
            if states.is_empty() {
                break;
            }
            match item {
                Item::Chain(id) => states = self.at(*id, hook, between, states),
                Item::Conntrack => {
                    for state in &mut states {
                        self.track(state);
                    }
                }
                Item::Nat => states = self.nat(hook, between, states, order),
                Item::Foreign(name) => states = self.all_doubted(name, states),
            }
        }
        self.merged(states)
    }

    fn at(
        &mut self,
        id: RuleId,
        hook: Hook,
        between: Between<'_>,
        states: Vec<State>,
    ) -> Vec<State> {
        let base = hooks::base(&self.analyzer.program, id);
        let Between { input, port, output } = between;
        let passage = &Passage::at(hook, input, output, &self.analyzer.host);
        let place = Place { hook, input, port, output, passage, base };
        self.base_chain(id, place, states)
    }

    fn track(&mut self, state: &mut State) {
        if state.env.tracking != Tracking::NotYet || !self.analyzer.tracks(self.packet.family()) {
            return;
        }
        let env = Rc::make_mut(&mut state.env);
        env.tracking = match self.packet.state {
            ConnectionState::New | ConnectionState::Established => Tracking::Connection,
            ConnectionState::Invalid => Tracking::Invalid,
        };
        env.ct_mark = (self.packet.state == ConnectionState::New).then_some(0);
    }

    /// `nf_nat_inet_fn()`: the chains one behind the other, until one translates.
    fn nat(
        &mut self,
        hook: Hook,
        between: Between<'_>,
        states: Vec<State>,
        order: Order,
    ) -> Vec<State> {
        let destination = matches!(hook, Hook::Prerouting | Hook::Output);
        let settled = |state: &State| {
            let env = &state.env;
            if destination { env.destination_settled } else { env.source_settled }
        };
        let new = self.packet.state == ConnectionState::New;
        let (mut open, mut done): (Vec<State>, Vec<State>) =
            states.into_iter().partition(|state| {
                new && state.env.tracking == Tracking::Connection && !settled(state)
            });
        let analyzer = self.analyzer;
        let family = self.packet.family();
        let chains = analyzer.stages.nat_chains(&analyzer.program, hook, family, order);
        let mut fresh = Vec::new();
        for id in chains.iter() {
            let states = self.at(*id, hook, between, open);
            let (translated, rest): (Vec<State>, Vec<State>) =
                states.into_iter().partition(settled);
            fresh.extend(translated);
            open = rest;
        }
        fresh.extend(open);
        for state in &mut fresh {
            let env = Rc::make_mut(&mut state.env);
            if destination {
                env.destination_settled = true;
                env.status |= DESTINATION_DONE;
            } else {
                env.source_settled = true;
                env.status |= SOURCE_DONE;
            }
        }
        done.extend(fresh);
        self.merged(done)
    }

    /// The routing decision, for each part of the sources.
    fn ways(&mut self, input: &IfaceName, mut state: State) -> Vec<(Way, State)> {
        let analyzer = self.analyzer;
        let host = &analyzer.host;
        let family = self.packet.family();
        let env = Rc::clone(&state.env);
        if env.overwritten || env.exactness == Exactness::OneOf {
            let name = "to which address the packet was rewritten".to_owned();
            let unknown = self.unknown(name, Unclear::Chance, state.translated_by);
            self.end(state, Fate::Unknown(unknown), None);
            return Vec::new();
        }
        let mut ways = Vec::new();
        for (way, intervals) in &analyzer.ways(input, env.destination, env.mark).routed {
            let sources = analyzer.shared.take(&mut state.sources, intervals);
            if sources.is_empty() {
                continue;
            }
            let state = State { sources, ..state.clone() };
            let way = match way {
                Ok(way) => way.clone(),
                Err(undecided) => {
                    let unknown = self.unknown(undecided.why.clone(), Unclear::Chance, None);
                    self.end(state, Fate::Unknown(unknown), None);
                    continue;
                }
            };
            let back = matches!(&way, Way::Forward(Some(output)) if output == input);
            let hairpin =
                back && state.translated_by.is_some() && host.bridges_translated(input, family);
            let name = hairpin.then(|| format!("whether the ports of {input} are in hairpin mode"));
            if let Some(name) = name {
                let unknown = self.unknown(name, Unclear::Fact, None);
                let elsewhere = self.guards.holds(unknown);
                let here = self.guards.not(elsewhere);
                let part = |sources: Sources| State { sources, ..state.clone() };
                let doubtful = part(state.sources.and(elsewhere, &mut self.guards));
                ways.push((way, part(state.sources.and(here, &mut self.guards))));
                self.end(doubtful, Fate::Unknown(unknown), None);
            } else {
                ways.push((way, state));
            }
        }
        if let Some(events) = &mut self.events {
            for (way, state) in &ways {
                let guard = state.sources.spans().first().map(|span| span.guard);
                events.push(Event {
                    hook: Hook::Prerouting,
                    priority: i32::MAX,
                    rule: RuleId { table: 0, chain: 0, rule: None },
                    what: Happened::Routed(way.clone()),
                    guard: guard.unwrap_or(super::guard::Guard::NEVER),
                    env: Rc::clone(&state.env),
                });
            }
        }
        ways
    }
}
