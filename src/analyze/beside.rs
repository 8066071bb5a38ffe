//! What handles packets beside all rules, at its place on a packet's way: it makes unknown what comes
//! by it, and nothing else.

use super::Fate;
use super::hooks::{Item, Order};
use super::programs;
use super::registered::all_foreign;
use super::state::State;
use super::step::Unclear;
use super::walk::Walk;
use crate::model::nft::{Family, Hook};
use crate::model::{IfaceName, IpFamily};
use crate::observe::legacy::was_read;
use crate::observe::{Handler, LinkKind};

impl Walk<'_, '_> {
    /// What filters where no rule of a ruleset shows it.
    pub fn unread(&mut self, input: &IfaceName, mut states: Vec<State>) -> Vec<State> {
        let analyzer = self.analyzer;
        let snapshot = analyzer.snapshot;
        let mut names = Vec::new();
        if let Some(warning) = snapshot.warnings.iter().find(|own| own.subject == "nftables") {
            names.push(warning.message.clone());
        }
        let link = analyzer.host.link(input);
        if link.is_some_and(|link| link.xdp) {
            names.push(format!("an XDP program on {input}"));
        }
        names.extend(programs::at_interface(snapshot, input, false));
        names.extend(programs::switched(snapshot, input));
        let family = if self.packet.family() == IpFamily::Ipv4 { "ip " } else { "ip6 " };
        let tables = &snapshot.ruleset.tables;
        let unread = |table: &&String| table.starts_with(family) && !was_read(tables, table);
        for table in snapshot.legacy_tables.iter().filter(unread) {
            names.push(format!("legacy iptables table {table}"));
        }
        if link.is_some_and(|link| link.kind == LinkKind::Bridge) {
            let tables = analyzer.program.tables.iter().filter(|table| !table.dormant);
            for table in tables.filter(|table| table.family == Family::Bridge) {
                names.push(format!("table bridge {}", table.name));
            }
            names.extend(programs::bridge_tables(snapshot));
            names.extend(all_foreign(snapshot, |point| point.family == Family::Bridge));
        }
        for port in analyzer.host.ports_of(input) {
            if analyzer.host.link(port).is_some_and(|link| link.xdp) {
                names.push(format!("an XDP program on {port}"));
            }
            names.extend(programs::at_interface(snapshot, port, false));
            names.extend(self.at_port(Hook::Ingress, port));
        }
        for name in names {
            states = self.all_doubted(&name, states);
        }
        states
    }

    /// What stands at a port by which the packet may come or leave.
    fn at_port(&self, hook: Hook, port: &IfaceName) -> Vec<String> {
        let analyzer = self.analyzer;
        let items = analyzer.stages.at_device(&analyzer.program, hook, port, Order::ByHandle);
        let names = items.iter().filter_map(|item| match item {
            Item::Chain(id) => {
                let table = id.table_of(&analyzer.program.tables);
                Some(format!("table {} {} on {port}", table.family.as_str(), table.name))
            }
            Item::Foreign(name) => Some(name.to_string()),
            Item::Conntrack | Item::Nat => None,
        });
        names.collect()
    }

    /// What sees a packet as it leaves by an interface, and by those on which that stands.
    pub fn leaving(
        &mut self,
        output: &IfaceName,
        mut states: Vec<State>,
        order: Order,
    ) -> Vec<State> {
        let analyzer = self.analyzer;
        let below = analyzer.host.below(output);
        for device in std::iter::once(output).chain(below.into_iter().rev()) {
            states = self.device(Hook::Egress, device, states, order);
            let mut names = programs::at_interface(analyzer.snapshot, device, true);
            for port in analyzer.host.ports_of(device) {
                names.extend(programs::at_interface(analyzer.snapshot, port, true));
                names.extend(self.at_port(Hook::Egress, port));
            }
            for name in names {
                states = self.all_doubted(&name, states);
            }
        }
        states
    }

    /// A state as far as something that was not read leaves it alone; the rest ends here.
    pub fn doubted(&mut self, name: &str, state: State) -> State {
        let unknown = self.unknown(name.to_owned(), Unclear::Fact, None);
        let acts = self.guards.holds(unknown);
        let passes = self.guards.not(acts);
        let doubtful = state.sources.and(acts, &mut self.guards);
        let rest = state.sources.and(passes, &mut self.guards);
        self.end(State { sources: doubtful, ..state.clone() }, Fate::Unknown(unknown), None);
        State { sources: rest, ..state }
    }

    pub fn all_doubted(&mut self, name: &str, states: Vec<State>) -> Vec<State> {
        states.into_iter().map(|state| self.doubted(name, state)).collect()
    }

    /// IPVS takes packets for its services behind the input hook (`ip_vs_in_hook()`).
    pub fn balanced(&mut self, state: State) -> Vec<State> {
        let env = &state.env;
        let (to, port, mark) = (env.destination, env.port, env.mark);
        let protocol = self.packet.protocol;
        let takes = |handler: &&Handler| match handler {
            Handler::Service { protocol: own, at } => {
                let fits = at.port() == 0 || port.is_none_or(|port| port == at.port());
                *own == protocol && at.ip() == to && fits
            }
            Handler::MarkService { mark: own } => mark.is_none_or(|mark| mark == *own),
            Handler::TrafficFilter { .. }
            | Handler::Program { .. }
            | Handler::SocketLookup
            | Handler::ControlGroup { .. }
            | Handler::Uplink { .. }
            | Handler::BridgeTable { .. } => false,
        };
        let Some(handler) = self.analyzer.snapshot.handlers.iter().find(takes) else {
            return vec![state];
        };
        let service = match handler {
            Handler::Service { at, .. } => format!("{at}/{protocol}"),
            Handler::MarkService { mark } => format!("mark {mark:#x}"),
            Handler::TrafficFilter { .. }
            | Handler::Program { .. }
            | Handler::SocketLookup
            | Handler::ControlGroup { .. }
            | Handler::Uplink { .. }
            | Handler::BridgeTable { .. } => String::new(),
        };
        let name = format!("to which server IPVS sends what comes to its service {service}");
        let unknown = self.unknown(name, Unclear::Chance, None);
        self.end(state, Fate::Unknown(unknown), None);
        Vec::new()
    }
}
