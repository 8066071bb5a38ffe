//! Statements that do something → text.

use super::{Context, Network, Written, matching, other, selector, set, value, xt};
use crate::model::IpFamily;
use crate::model::nft::{
    Family, KeyType, Limit, LimitUnit, LogOptions, NatKind, NatRange, Operand, RateUnit,
    RejectWith, Selector, SetData, SetOp, Statement, object_kind,
};

/// The text of a statement that is no comparison and no lookup.
pub(super) fn action(statement: &Statement, context: &Context) -> Written {
    match statement {
        Statement::Verdict(verdict) => Written::plain(set::verdict_text(verdict)),
        Statement::Counter { packets: 0, bytes: 0 } => Written::plain("counter"),
        Statement::Counter { packets, bytes } => {
            Written::plain(format!("counter packets {packets} bytes {bytes}"))
        }
        Statement::Limit(limit) => limit_text(*limit),
        Statement::Log(options) => Written::plain(log(options)),
        Statement::Reject(with) => reject(*with, context),
        Statement::UpdateSet { .. } => update(statement, context),
        Statement::Nat { kind, family, range } => nat(*kind, *family, range, context),
        Statement::SetMeta { key, value } => {
            let target = selector::selector(&Selector::Meta(*key), context);
            // Some keys go without the word where they are compared, none where they are set.
            let word = if target.text.starts_with("meta ") { "" } else { "meta " };
            assign(&target.text.clone(), word, &target, value, context)
        }
        Statement::SetCt { key, direction, value } => {
            let selector = Selector::Ct { key: *key, direction: *direction };
            let target = selector::selector(&selector, context);
            assign(&target.text.clone(), "", &target, value, context)
        }
        Statement::SetPayload { base, offset, len, value } => {
            let selector = Selector::Payload { base: *base, offset: *offset, len: *len };
            let target = selector::selector(&selector, context);
            assign(&target.text.clone(), "", &target, value, context)
        }
        Statement::Notrack => Written::plain("notrack"),
        Statement::Queue { from, to, bypass } => {
            let range = if from == to { from.to_string() } else { format!("{from}-{to}") };
            let bypass = if *bypass { " bypass" } else { "" };
            Written::plain(format!("queue num {range}{bypass}"))
        }
        Statement::Object { kind, name } => object(kind, name),
        Statement::ObjectMap { key, map } => object_map(key, map, context),
        Statement::Quota { bytes, used, over } => {
            let over = if *over { "over " } else { "" };
            let used = if *used == 0 { String::new() } else { format!(" used {used} bytes") };
            Written::plain(format!("quota {over}{bytes} bytes{used}"))
        }
        Statement::ConnLimit { count, over } => {
            Written::plain(format!("ct count {}{count}", if *over { "over " } else { "" }))
        }
        Statement::Xt { kind, name, revision: _, decoded, raw } => {
            Written::human(xt::text(*kind, name, decoded.as_ref(), raw, context))
        }
        Statement::Opaque { name, detail } => {
            Written::human(other::statement(name, detail).unwrap_or_else(|| match &detail[..] {
                "" => format!("<{name}>"),
                detail => format!("<{name} {detail}>"),
            }))
        }
        Statement::Compare { .. }
        | Statement::Range { .. }
        | Statement::Lookup { .. }
        | Statement::VerdictMap { .. } => {
            matching::matching(statement, context).unwrap_or_else(|| Written::human("<match>"))
        }
    }
}

/// What is assigned: a constant in the words of the target's type, or an operand.
fn operand_value(operand: &Operand, kind: KeyType, host_order: bool, context: &Context) -> Written {
    if let (Selector::Immediate(bytes), []) = (&operand.selector, operand.transforms.as_slice()) {
        return Written::plain(value::value(kind, host_order, bytes.as_slice()));
    }
    let named = selector::operand(operand, context);
    Written { text: named.text, loadable: named.loadable }
}

fn assign(
    text: &str,
    word: &str,
    target: &selector::Named,
    value: &Operand,
    context: &Context,
) -> Written {
    let value = operand_value(value, target.kind, target.host_order, context);
    Written {
        text: format!("{word}{text} set {}", value.text),
        loadable: value.loadable && target.loadable,
    }
}

fn limit_text(limit: Limit) -> Written {
    let Limit { rate, unit, per, burst, over } = limit;
    let over = if over { "over " } else { "" };
    let (per, loadable) = match per {
        RateUnit::Second => ("second".to_owned(), true),
        RateUnit::Minute => ("minute".to_owned(), true),
        RateUnit::Hour => ("hour".to_owned(), true),
        RateUnit::Day => ("day".to_owned(), true),
        RateUnit::Week => ("week".to_owned(), true),
        RateUnit::Seconds(seconds) => (format!("{seconds} seconds"), false),
    };
    let text = match unit {
        LimitUnit::Packets => format!("limit rate {over}{rate}/{per} burst {burst} packets"),
        LimitUnit::Bytes if burst == 0 => format!("limit rate {over}{rate} bytes/{per}"),
        LimitUnit::Bytes => format!("limit rate {over}{rate} bytes/{per} burst {burst} bytes"),
    };
    Written { text, loadable }
}

fn log(options: &LogOptions) -> String {
    const LEVELS: [&str; 9] =
        ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    /// `NF_LOG_*` of `linux/netfilter/nf_log.h`.
    const FLAGS: [(u32, &str); 4] = [(4, "ip options"), (8, "skuid"), (32, "ether"), (0, "")];
    const TCP_SEQUENCE: u32 = 1;
    const TCP_OPTIONS: u32 = 2;
    const ALL: u32 = 0x2f;
    let LogOptions { prefix, group, level, flags, snaplen, queue_threshold } = options;
    let mut text = "log".to_owned();
    let mut add = |words: String| {
        text.push(' ');
        text.push_str(&words);
    };
    if let Some(prefix) = prefix {
        add(format!("prefix {}", value::quoted(prefix)));
    }
    if let Some(group) = group {
        add(format!("group {group}"));
    }
    if let Some(snaplen) = snaplen {
        add(format!("snaplen {snaplen}"));
    }
    if let Some(threshold) = queue_threshold {
        add(format!("queue-threshold {threshold}"));
    }
    if let Some(level) = level.and_then(|level| LEVELS.get(level as usize)) {
        add(format!("level {level}"));
    }
    if flags & ALL == ALL {
        add("flags all".to_owned());
    } else {
        match (flags & TCP_SEQUENCE != 0, flags & TCP_OPTIONS != 0) {
            (true, true) => add("flags tcp sequence,options".to_owned()),
            (true, false) => add("flags tcp sequence".to_owned()),
            (false, true) => add("flags tcp options".to_owned()),
            (false, false) => {}
        }
        for (_, name) in FLAGS.iter().filter(|(flag, _)| flags & flag != 0) {
            add(format!("flags {name}"));
        }
    }
    text
}

/// Codes of "destination unreachable" that nft has a word for, by kind of message.
fn reject(with: RejectWith, context: &Context) -> Written {
    const ICMP: [(u8, &str); 7] = [
        (0, "net-unreachable"),
        (1, "host-unreachable"),
        (2, "prot-unreachable"),
        (3, "port-unreachable"),
        (9, "net-prohibited"),
        (10, "host-prohibited"),
        (13, "admin-prohibited"),
    ];
    const ICMPV6: [(u8, &str); 6] = [
        (0, "no-route"),
        (1, "admin-prohibited"),
        (3, "addr-unreachable"),
        (4, "port-unreachable"),
        (5, "policy-fail"),
        (6, "reject-route"),
    ];
    const ICMPX: [(u8, &str); 4] = [
        (0, "no-route"),
        (1, "port-unreachable"),
        (2, "host-unreachable"),
        (3, "admin-prohibited"),
    ];
    let named = |word: &str, names: &[(u8, &str)], code: u8| {
        let name = names.iter().find(|(own, _)| *own == code);
        let name = name.map_or_else(|| code.to_string(), |(_, name)| (*name).to_owned());
        Written::plain(format!("reject with {word} {name}"))
    };
    match (with, context.network) {
        (RejectWith::TcpReset, _) => Written::plain("reject with tcp reset"),
        (RejectWith::Icmpx(code), _) => named("icmpx", &ICMPX, code),
        (RejectWith::Icmp(code), Some(Network::Ipv4)) => named("icmp", &ICMP, code),
        (RejectWith::Icmp(code), Some(Network::Ipv6)) => named("icmpv6", &ICMPV6, code),
        (RejectWith::Icmp(code), _) => {
            Written::human(format!("reject with icmp or icmpv6 code {code}"))
        }
    }
}

fn update(statement: &Statement, context: &Context) -> Written {
    let Statement::UpdateSet { op, set, key, data, timeout, statements, invert } = statement else {
        return Written::human("<dynset>");
    };
    let word = match op {
        SetOp::Add => "add",
        SetOp::Update => "update",
        SetOp::Delete => "delete",
    };
    let Written { mut text, mut loadable } = matching::concat(key, context);
    loadable &= !invert;
    if let Some(timeout) = timeout {
        text = format!("{text} timeout {}", value::duration(*timeout));
    }
    for statement in statements {
        let written = action(statement, context);
        loadable &= written.loadable;
        text = format!("{text} {}", written.text);
    }
    if let Some(data) = data {
        let kind = context
            .table
            .and_then(|table| table.set(set))
            .and_then(set::data_kind)
            .unwrap_or(KeyType::INTEGER);
        let data: Vec<_> =
            data.iter().map(|data| operand_value(data, kind, kind.host_order(), context)).collect();
        loadable &= data.iter().all(|data| data.loadable);
        let data = data.into_iter().map(|data| data.text).collect::<Vec<_>>().join(" . ");
        text = format!("{text} : {data}");
    }
    let not = if *invert { "not " } else { "" };
    Written { text: format!("{not}{word} @{set} {{ {text} }}"), loadable }
}

/// Whether both come from one value of a map.
fn is_one_map(low: &Operand, high: &Operand) -> bool {
    matches!(low.selector, Selector::Map { .. }) && low.selector == high.selector
}

fn nat(kind: NatKind, family: Option<IpFamily>, range: &NatRange, context: &Context) -> Written {
    /// `NF_NAT_RANGE_*` of `linux/netfilter/nf_nat.h`.
    const FLAGS: [(u32, &str); 3] = [(4, "random"), (8, "persistent"), (16, "fully-random")];
    const NETMAP: u32 = 64;
    let mut text = match kind {
        NatKind::Snat => "snat",
        NatKind::Dnat => "dnat",
        NatKind::Masquerade => "masquerade",
        NatKind::Redirect => "redirect",
        NatKind::Tproxy => "tproxy",
    }
    .to_owned();
    let own_address = matches!(kind, NatKind::Masquerade | NatKind::Redirect);
    if context.family == Family::Inet && !own_address {
        match family {
            Some(IpFamily::Ipv4) => text.push_str(" ip"),
            Some(IpFamily::Ipv6) => text.push_str(" ip6"),
            None => {}
        }
    }
    if range.flags & NETMAP != 0 {
        text.push_str(" prefix");
    }
    let address_kind = match (family, context.network) {
        (Some(IpFamily::Ipv6), _) | (None, Some(Network::Ipv6)) => KeyType::Ipv6Addr,
        _ => KeyType::Ipv4Addr,
    };
    let mut loadable = true;
    let mut bound = |operand: &Operand, kind: KeyType| {
        let written = operand_value(operand, kind, false, context);
        loadable &= written.loadable;
        written.text
    };
    let mut to = String::new();
    if let Some((low, high)) = &range.address {
        let brackets = address_kind == KeyType::Ipv6Addr
            && range.port.is_some()
            && matches!(low.selector, Selector::Immediate(_));
        to = bound(low, address_kind);
        // A map whose values are ranges gives both.
        if let Some(high) = high.as_ref().filter(|high| !is_one_map(low, high)) {
            to = format!("{to}-{}", bound(high, address_kind));
        }
        if brackets {
            to = format!("[{to}]");
        }
    }
    if let Some((low, high)) = &range.port {
        // A map whose values are an address and a port is named once.
        let mapped = range.address.as_ref().is_some_and(|(address, _)| {
            matches!(&address.selector, Selector::Map { .. }) && address.selector == low.selector
        });
        if !mapped {
            to = format!("{to}:{}", bound(low, KeyType::InetService));
            if let Some(high) = high {
                to = format!("{to}-{}", bound(high, KeyType::InetService));
            }
        }
    }
    if !to.is_empty() {
        text = format!("{text} to {to}");
    }
    let flags: Vec<_> =
        FLAGS.iter().filter(|(flag, _)| range.flags & flag != 0).map(|(_, name)| *name).collect();
    if !flags.is_empty() {
        text = format!("{text} {}", flags.join(","));
    }
    Written { text, loadable }
}

/// The map tells the kind of its objects.
fn object_map(key: &[Operand], map: &str, context: &Context) -> Written {
    let key = matching::concat(key, context);
    let kind =
        match context.table.and_then(|table| table.set(map)).and_then(|set| set.data.as_ref()) {
            Some(SetData::Object(kind)) => object_kind(*kind).unwrap_or("object"),
            _ => "object",
        };
    let word = if kind.starts_with("ct ") { "set" } else { "name" };
    let text = format!("{kind} {word} {} map {}", key.text, set::reference(map, context));
    Written { text, loadable: key.loadable && kind != "object" }
}

fn object(kind: &str, name: &str) -> Written {
    let name = value::quoted(name);
    match kind {
        "counter" | "quota" | "limit" | "synproxy" => Written::plain(format!("{kind} name {name}")),
        "ct helper" | "ct timeout" | "ct expectation" => {
            Written::plain(format!("{kind} set {name}"))
        }
        "secmark" => Written::plain(format!("meta secmark set {name}")),
        other => Written::human(format!("<{other} {name}>")),
    }
}
