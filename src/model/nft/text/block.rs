//! Tables, chains and sets → text.

use super::{Context, action, set, value, write_rule};
use crate::model::nft::{BaseChain, Chain, Family, Hook, KeyType, Set, SetData, Table};
use std::fmt::Write as _;

/// How far a printed line of elements may go before it is broken.
const WIDTH: usize = 96;

/// A whole table as a block that `nft -f` loads and people read. What nft cannot load is there as
/// a comment line.
pub fn table(table: &Table) -> String {
    let mut text = format!("table {} {} {{\n", table.family.as_str(), table.name);
    let mut flags = Vec::new();
    if table.dormant {
        flags.push("dormant");
    }
    if !flags.is_empty() {
        let _ = writeln!(text, "\tflags {}", flags.join(","));
    }
    if let Some(owner) = table.owner {
        let _ = writeln!(text, "\t# owned by the process with netlink port {owner}");
    }
    if let Some(comment) = &table.comment {
        let _ = writeln!(text, "\tcomment {}", value::quoted(comment));
    }
    let mut first = true;
    let mut gap = |text: &mut String| {
        if !std::mem::take(&mut first) {
            text.push('\n');
        }
    };
    for object in &table.objects {
        gap(&mut text);
        if object.kind == "counter" {
            let _ = writeln!(text, "\tcounter {} {{\n\t}}", object.name);
            continue;
        }
        let devices = if object.devices.is_empty() {
            String::new()
        } else {
            format!(" on {}", object.devices.join(", "))
        };
        let _ = writeln!(text, "\t# {} {}{devices}", object.kind, object.name);
    }
    for set in table.sets.iter().filter(|set| !set.flags.anonymous) {
        gap(&mut text);
        let _ = writeln!(text, "\t{} {} {{", word(set), set.name);
        for line in set_lines(set) {
            let _ = writeln!(text, "\t\t{line}");
        }
        text.push_str(&elements(set, table));
        text.push_str("\t}\n");
    }
    for chain in &table.chains {
        gap(&mut text);
        text.push_str(&chain_block(chain, table));
    }
    text.push_str("}\n");
    text
}

fn chain_block(chain: &Chain, table: &Table) -> String {
    let mut text = format!("\tchain {} {{\n", chain.name);
    if let Some(comment) = &chain.comment {
        let _ = writeln!(text, "\t\tcomment {}", value::quoted(comment));
    }
    if let Some(base) = &chain.hook {
        let _ = writeln!(text, "\t\t{}", hook(base, table.family));
    }
    for rule in &chain.rules {
        let written = write_rule(rule, table);
        let mark = if written.loadable { "" } else { "# " };
        let _ = writeln!(text, "\t\t{mark}{}", written.text);
    }
    text.push_str("\t}\n");
    text
}

/// `type filter hook input priority filter - 10; policy accept;`
fn hook(base: &BaseChain, family: Family) -> String {
    let devices = match base.devices.as_slice() {
        [] => String::new(),
        [one] => format!(" device {}", value::quoted(one)),
        several => {
            let names: Vec<_> = several.iter().map(|name| value::quoted(name)).collect();
            format!(" devices = {{ {} }}", names.join(", "))
        }
    };
    format!(
        "type {} hook {}{devices} priority {}; policy {};",
        base.kind,
        base.hook.as_str(),
        priority(base, family),
        set::verdict_text(&base.policy)
    )
}

/// The priority by the nearest name that nft has for it (`std_prio_lookup()` of nft).
fn priority(base: &BaseChain, family: Family) -> String {
    const IP: [(i32, &str); 5] =
        [(-300, "raw"), (-150, "mangle"), (0, "filter"), (50, "security"), (i32::MAX, "")];
    const NEAR: u32 = 10;
    let ip = matches!(family, Family::Inet | Family::Ip | Family::Ip6);
    let mut names: Vec<(i32, &str)> = match family {
        Family::Inet | Family::Ip | Family::Ip6 => IP[..4].to_vec(),
        Family::Arp | Family::Netdev => vec![(0, "filter")],
        Family::Bridge => vec![(-200, "filter")],
    };
    if base.hook == Hook::Ingress || base.hook == Hook::Egress {
        names = vec![(0, "filter")];
    } else if ip && base.hook == Hook::Prerouting {
        names.push((-100, "dstnat"));
    } else if ip && base.hook == Hook::Postrouting {
        names.push((100, "srcnat"));
    }
    let distance = |own: i32| base.priority.checked_sub(own).filter(|d| d.unsigned_abs() <= NEAR);
    match names.iter().find_map(|(own, name)| distance(*own).map(|d| (d, *name))) {
        Some((0, name)) => name.to_owned(),
        Some((d, name)) if d > 0 => format!("{name} + {d}"),
        Some((d, name)) => format!("{name} - {}", -d),
        None => base.priority.to_string(),
    }
}

fn word(set: &Set) -> &'static str {
    if set.data.is_some() { "map" } else { "set" }
}

fn types(fields: &[KeyType]) -> Option<String> {
    let names: Option<Vec<_>> =
        fields.iter().map(|field| field.name().filter(|_| field.declarable())).collect();
    names.map(|names| names.join(" . "))
}

/// What stands in a set's block, elements apart, one a line.
fn set_lines(set: &Set) -> Vec<String> {
    let unknown = |fields: &[KeyType]| {
        let names = fields.iter().map(|field| {
            field.name().map_or_else(|| format!("type {}", field.number()), str::to_owned)
        });
        names.collect::<Vec<_>>().join(" . ")
    };
    let key = types(&set.key).unwrap_or_else(|| unknown(&set.key));
    let data = match &set.data {
        None => String::new(),
        Some(SetData::Verdict) => " : verdict".to_owned(),
        Some(SetData::Value { fields, .. }) => {
            format!(" : {}", types(fields).unwrap_or_else(|| unknown(fields)))
        }
        Some(SetData::Object(number)) => format!(" : {}", object_kind(*number)),
    };
    let mut lines = vec![format!("type {key}{data}")];
    if let Some(size) = set.size {
        lines.push(format!("size {size}"));
    }
    let flags = [
        (set.flags.constant && !set.flags.anonymous, "constant"),
        (set.flags.dynamic, "dynamic"),
        (set.flags.interval, "interval"),
        (set.flags.timeout, "timeout"),
    ];
    let flags: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if !flags.is_empty() {
        lines.push(format!("flags {}", flags.join(",")));
    }
    if set.flags.auto_merge {
        lines.push("auto-merge".to_owned());
    }
    if let Some(timeout) = set.timeout {
        lines.push(format!("timeout {}", value::duration(timeout)));
    }
    let context = Context::of_family(Family::Inet);
    for statement in &set.statements {
        lines.push(action::action(statement, &context).text);
    }
    if let Some(comment) = &set.comment {
        lines.push(format!("comment {}", value::quoted(comment)));
    }
    lines
}

/// nft's word for a kind of stateful object (`NFT_OBJECT_*` of `linux/netfilter/nf_tables.h`).
fn object_kind(number: u32) -> String {
    const KINDS: [(u32, &str); 9] = [
        (1, "counter"),
        (2, "quota"),
        (3, "ct helper"),
        (4, "limit"),
        (6, "tunnel"),
        (7, "ct timeout"),
        (8, "secmark"),
        (9, "ct expectation"),
        (10, "synproxy"),
    ];
    let kind = KINDS.iter().find(|(own, _)| *own == number);
    kind.map_or_else(|| format!("type {number}"), |(_, name)| (*name).to_owned())
}

fn elements(set: &Set, table: &Table) -> String {
    if let crate::model::nft::Elements::NotListed { reason } = &set.elements {
        return format!("\t\t# elements not read: {reason}\n");
    }
    let context = Context::new(table);
    let elements = set.elements.listed().iter();
    let mut elements = elements.map(|element| set::element(element, set, &context));
    let Some(first) = elements.next() else { return String::new() };
    let mut text = format!("\t\telements = {{ {first}");
    let mut column = text.len() + first.len();
    for element in elements {
        if column + element.len() > WIDTH {
            let _ = write!(text, ",\n\t\t\t     {element}");
            column = 29 + element.len();
        } else {
            let _ = write!(text, ", {element}");
            column += element.len() + 2;
        }
    }
    text.push_str(" }\n");
    text
}

/// A chain as nft takes it after `add`: `chain inet t c { type filter hook …; policy accept; }`.
pub fn chain_declaration(chain: &Chain, table: &Table) -> String {
    let mut text = format!("chain {} {} {}", table.family.as_str(), table.name, chain.name);
    let mut parts = Vec::new();
    if let Some(base) = &chain.hook {
        parts.push(hook(base, table.family));
    }
    if let Some(comment) = &chain.comment {
        parts.push(format!("comment {};", value::quoted(comment)));
    }
    if !parts.is_empty() {
        let _ = write!(text, " {{ {} }}", parts.join(" "));
    }
    text
}

/// A set or map without its elements as nft takes it after `add`:
/// `set inet t s { type ipv4_addr; flags interval; }`.
pub fn set_declaration(set: &Set, table: &Table) -> String {
    let lines = set_lines(set).join("; ");
    let (family, name) = (table.family.as_str(), &table.name);
    format!("{} {family} {name} {} {{ {lines}; }}", word(set), set.name)
}
