//! Objects of nftables → the language of `nft(8)`, for `nft -f` and for people.
//!
//! In: values of [`crate::model::nft`]. Out: text that nft 1.0.2 and later reads as the same
//! object. What nft itself cannot read (an iptables module, an expression that fwctl does not
//! know) is written in words for people; [`loadable`] tells the two apart.
//!
//! A field of a header has a name only where the protocol is known, so that a rule is printed
//! from left to right and each statement may add to the [`Context`] of the next. Comparisons that
//! nft adds by itself in front of a field (`meta l4proto tcp` of `tcp dport`) are left out.

mod action;
mod block;
mod header;
mod matching;
mod other;
mod selector;
mod set;
mod value;
mod xt;

pub use block::{chain_declaration, set_declaration, table};
pub use set::{element, key};

use super::{
    CompareOp, Family, MetaKey, Operand, PayloadBase, Rule, Selector, Statement, Table, Transform,
};
use crate::model::Protocol;

/// Loaded fields in nft's words, for people; what a field of the network header is called follows
/// from where it stands.
pub fn fields(operands: &[Operand], family: Family) -> String {
    let mut context = Context::of_family(family);
    let at = |operand: &Operand| match operand.selector {
        Selector::Payload { base: PayloadBase::Network, offset, len } => Some((offset, len)),
        _ => None,
    };
    if context.network.is_none() {
        context.network = match operands.iter().find_map(at) {
            Some((12 | 16, 4)) => Some(Network::Ipv4),
            Some((8 | 24, 16)) => Some(Network::Ipv6),
            _ => None,
        };
    }
    matching::concat(operands, &context).text
}

/// The network protocol that a rule has established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Ipv4,
    Ipv6,
    Arp,
}

/// What is known about the packet where a statement stands.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    table: Option<&'a Table>,
    family: Family,
    network: Option<Network>,
    transport: Option<Protocol>,
}

impl<'a> Context<'a> {
    /// What is known at the beginning of a rule of this table.
    pub fn new(table: &'a Table) -> Self {
        Self { table: Some(table), ..Self::of_family(table.family) }
    }

    /// What is known at the beginning of a rule of a table of this family; anonymous sets cannot
    /// be looked up.
    pub fn of_family(family: Family) -> Self {
        let network = match family {
            Family::Ip => Some(Network::Ipv4),
            Family::Ip6 => Some(Network::Ipv6),
            Family::Arp => Some(Network::Arp),
            Family::Inet | Family::Bridge | Family::Netdev => None,
        };
        Self { table: None, family, network, transport: None }
    }

    /// Takes in what the statement says of every packet that passes it.
    pub fn pass(&mut self, statement: &Statement) {
        match dependency(statement) {
            Some(Dependency::Network(network)) => self.network = network.or(self.network),
            Some(Dependency::Transport(protocol)) => self.transport = Some(protocol),
            None => {}
        }
        // `ip protocol tcp`, `ip6 nexthdr tcp`.
        if let Statement::Compare { left, op: CompareOp::Eq, right } = statement
            && let [Operand { selector: Selector::Payload { base, offset, len: 1 }, transforms }] =
                left.as_slice()
            && let ([], PayloadBase::Network, [protocol]) =
                (transforms.as_slice(), base, right.as_slice())
            && let (Some(Network::Ipv4), 9) | (Some(Network::Ipv6), 6) = (self.network, offset)
        {
            self.transport = Some(Protocol(*protocol));
        }
    }
}

/// A comparison that establishes a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dependency {
    /// `meta nfproto`, `meta protocol`, `ether type`; `None` for one that has no name here.
    Network(Option<Network>),
    /// `meta l4proto`.
    Transport(Protocol),
}

fn dependency(statement: &Statement) -> Option<Dependency> {
    let Statement::Compare { left, op: CompareOp::Eq, right } = statement else { return None };
    let [Operand { selector, transforms }] = left.as_slice() else { return None };
    if !transforms.is_empty() {
        return None;
    }
    match (selector, right.as_slice()) {
        (Selector::Meta(MetaKey::L4proto), [protocol]) => {
            Some(Dependency::Transport(Protocol(*protocol)))
        }
        (Selector::Meta(MetaKey::Nfproto), [number]) => Some(Dependency::Network(match number {
            2 => Some(Network::Ipv4),
            10 => Some(Network::Ipv6),
            _ => None,
        })),
        (
            Selector::Meta(MetaKey::Protocol)
            | Selector::Payload { base: PayloadBase::Link, offset: 12, len: 2 },
            bytes,
        ) => Some(Dependency::Network(match bytes {
            [0x08, 0x00] => Some(Network::Ipv4),
            [0x86, 0xdd] => Some(Network::Ipv6),
            [0x08, 0x06] => Some(Network::Arp),
            _ => None,
        })),
        _ => None,
    }
}

/// A text, and whether nft reads it.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    loadable: bool,
}

impl Written {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), loadable: true }
    }

    fn human(text: impl Into<String>) -> Self {
        Self { text: text.into(), loadable: false }
    }
}

fn write_statement(statement: &Statement, context: &Context) -> Written {
    matching::matching(statement, context).unwrap_or_else(|| action::action(statement, context))
}

/// One statement.
pub fn statement(statement: &Statement, context: &Context) -> String {
    write_statement(statement, context).text
}

fn write_rule(rule: &Rule, table: &Table) -> Written {
    // Merged fields have names only apart; nft merges them again.
    let rule = rule.canonical();
    let mut context = Context::new(table);
    let mut words = Vec::with_capacity(rule.statements.len() + 1);
    let mut loadable = true;
    let implied = implied(&rule.statements, table);
    for (statement, implied) in rule.statements.iter().zip(implied) {
        if !implied {
            let written = write_statement(statement, &context);
            loadable &= written.loadable;
            words.push(written.text);
        }
        context.pass(statement);
    }
    if let Some(comment) = &rule.comment {
        words.push(format!("comment {}", value::quoted(comment)));
    }
    Written { text: words.join(" "), loadable }
}

/// A whole rule as nft takes it after `add rule FAMILY TABLE CHAIN`, its comment included.
pub fn rule(rule: &Rule, table: &Table) -> String {
    write_rule(rule, table).text
}

/// Whether nft can read the text of the rule; else it is for people only.
pub fn loadable(rule: &Rule, table: &Table) -> bool {
    write_rule(rule, table).loadable
}

/// Which statements nft adds by itself when it reads the one behind them.
fn implied(statements: &[Statement], table: &Table) -> Vec<bool> {
    let mut implied = vec![false; statements.len()];
    let mut context = Context::new(table);
    let mut at = 0;
    while at < statements.len() {
        let run = statements[at..].iter().take_while(|s| is_meta_dependency(s)).count();
        let before = context.clone();
        statements[at..at + run].iter().for_each(|statement| context.pass(statement));
        if let Some(statement) = statements.get(at + run) {
            let needed = needed(statement, &before, &context);
            let tail = run.checked_sub(needed.len()).map(|skip| at + skip);
            if let Some(start) = tail
                && statements[start..at + run]
                    .iter()
                    .zip(&needed)
                    .all(|(statement, needed)| dependency(statement) == Some(*needed))
            {
                implied[start..at + run].fill(true);
            }
            context.pass(statement);
        }
        at += run + 1;
    }
    implied
}

/// `ether type` is left as it is written: nft has more than one way to ask for it.
fn is_meta_dependency(statement: &Statement) -> bool {
    let Statement::Compare { left, .. } = statement else { return false };
    let meta = matches!(
        left.first().map(|operand| &operand.selector),
        Some(Selector::Meta(MetaKey::Nfproto | MetaKey::L4proto))
    );
    meta && dependency(statement).is_some_and(|found| found != Dependency::Network(None))
}

/// What nft puts in front of a statement where only `before` is known, if it is to mean `after`.
fn needed(statement: &Statement, before: &Context, after: &Context) -> Vec<Dependency> {
    let mut needed = Vec::new();
    for operand in operands(statement) {
        let Selector::Payload { base, .. } = &operand.selector else { continue };
        let part_of_byte = match operand.transforms.first() {
            Some(Transform::Mask { mask, .. }) => {
                selector::bits_in_byte(operand, mask.as_slice(), after).is_some()
            }
            _ => false,
        };
        let text = selector::operand(operand, after).text;
        // `th` says nothing of the protocol.
        if !part_of_byte && (text.starts_with('@') || text.starts_with("th ")) {
            continue;
        }
        let network = Dependency::Network(after.network);
        let mut need = |dependency| {
            if !needed.contains(&dependency) {
                needed.push(dependency);
            }
        };
        let network_is_new = before.network.is_none() && after.family == Family::Inet;
        match (base, after.transport) {
            (PayloadBase::Network, _) if network_is_new => need(network),
            (PayloadBase::Transport, Some(protocol)) if before.transport.is_none() => {
                if matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) && network_is_new {
                    need(network);
                }
                need(Dependency::Transport(protocol));
            }
            _ => {}
        }
    }
    needed
}

/// The operands that a matching statement loads itself.
fn operands(statement: &Statement) -> &[Operand] {
    match statement {
        Statement::Compare { left: key, .. }
        | Statement::Lookup { key, .. }
        | Statement::VerdictMap { key, .. }
        | Statement::UpdateSet { key, .. } => key,
        Statement::Range { left, .. } => std::slice::from_ref(left),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::{Limit, LimitUnit, RateUnit, build};
    use crate::model::{IpFamily, PortRange};

    fn inet(statements: Vec<Statement>) -> String {
        let table = Table::new(Family::Inet, "t");
        let written = write_rule(&Rule::new(statements, None), &table);
        assert!(written.loadable, "{}", written.text);
        written.text
    }

    #[test]
    fn what_nft_adds_by_itself_is_left_out() {
        let tcp = || build::l4proto(Protocol::TCP);
        let port = || build::port_in(build::dport(), PortRange::single(22).expect("a port"));
        let v6 = || build::nfproto(IpFamily::Ipv6);
        assert_eq!(inet(vec![tcp(), port(), build::accept()]), "tcp dport 22 accept");
        assert_eq!(inet(vec![port()]), "th dport 22");
        assert_eq!(
            inet(vec![tcp(), build::counter(), port()]),
            "meta l4proto tcp counter tcp dport 22"
        );
        assert_eq!(inet(vec![v6(), tcp(), port()]), "meta nfproto ipv6 tcp dport 22");
        let icmpv6 = build::l4proto(Protocol::ICMPV6);
        assert_eq!(
            inet(vec![v6(), icmpv6, build::icmp_type_is(135), build::hoplimit_is(255)]),
            "icmpv6 type nd-neighbor-solicit ip6 hoplimit 255"
        );
        let key = vec![build::saddr(IpFamily::Ipv4), build::dport()];
        assert_eq!(
            inet(vec![build::nfproto(IpFamily::Ipv4), tcp(), build::lookup(key, "s")]),
            "ip saddr . tcp dport @s"
        );
    }

    #[test]
    fn prefixes_and_masks_have_their_notation() {
        let v6 = build::nfproto(IpFamily::Ipv6);
        let prefix = |text: &str| text.parse().expect("a prefix");
        let saddr = || build::saddr(IpFamily::Ipv6);
        assert_eq!(
            inet(vec![v6.clone(), build::in_prefix(saddr(), prefix("2001:db8::/32"))]),
            "ip6 saddr 2001:db8::/32"
        );
        assert_eq!(
            inet(vec![v6.clone(), build::not_in_prefix(saddr(), prefix("2001:db8::/33"))]),
            "ip6 saddr != 2001:db8::/33"
        );
        let limit = Limit {
            rate: 6,
            unit: LimitUnit::Packets,
            per: RateUnit::Minute,
            burst: 10,
            over: true,
        };
        let source = vec![build::source(IpFamily::Ipv6)];
        assert_eq!(
            inet(vec![v6, build::update_limit("s", source, limit)]),
            "update @s { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over 6/minute burst 10 \
             packets }"
        );
        assert_eq!(inet(vec![build::tcp_syn()]), "@th,104,8 & 0x17 == 0x2");
        assert_eq!(
            inet(vec![build::l4proto(Protocol::TCP), build::tcp_syn()]),
            "tcp flags & (fin | syn | rst | ack) == syn"
        );
    }

    #[test]
    fn what_nft_cannot_read_is_for_people_only() {
        let table = Table::new(Family::Ip, "t");
        let opaque = Statement::Opaque { name: "osf".to_owned(), detail: String::new() };
        let rule = Rule::new(vec![build::counter(), opaque], Some("a \"b\"".to_owned()));
        assert!(!loadable(&rule, &table));
        assert_eq!(super::rule(&rule, &table), "counter <osf> comment \"a 'b'\"");
    }
}
