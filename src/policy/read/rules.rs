//! `[[allow]]`, `[[deny]]`, `[[egress.*]]` and `[[expect]]`.

use super::document::{Document, RawDestination, RawExpectation, RawRule, RuleKind};
use super::table::Table;
use super::values::{self, Word};
use crate::policy::diagnostic::{At, Place, Problem};
use toml::de::DeTable;

const RULE_KEYS: [&str; 7] = ["service", "ports", "from", "to", "limit", "log", "note"];

pub(super) fn rules(root: &mut Table<'_, '_>, document: &mut Document) {
    for (kind, key) in [(RuleKind::Allow, "allow"), (RuleKind::Deny, "deny")] {
        for (at, table) in root.tables(key) {
            let mut table = Table::new(root.problems, format!("[[{key}]]"), at, table);
            document.rules.push(rule(&mut table, kind));
        }
    }
}

fn rule(table: &mut Table<'_, '_>, kind: RuleKind) -> RawRule {
    table.only(&RULE_KEYS);
    if !table.has("service") && !table.has("ports") {
        let at = table.at.clone();
        let message = format!("this {} says neither service nor ports", table.name);
        table.problems.push(
            Problem::error("missing-key", &at, message)
                .label("of what?")
                .fix("write `service = [\"ssh\"]`, or `ports = [\"all\"]` for every port"),
        );
    }
    let services = table.texts("service", "name a service such as `\"ssh\"`");
    let services = services.map(|list| list.value).unwrap_or_default();
    let mut ports = Vec::new();
    let texts = table.texts("ports", "name a port, or write `ports = [\"all\"]` for every one");
    for text in texts.map(|list| list.value).unwrap_or_default() {
        let spec = values::port(table.problems, &text);
        ports.extend(spec.map(|value| At { value, at: text.at }));
    }
    let from = from(table);
    let mut to = Vec::new();
    let texts = table.texts("to", "name an address, or take the line out: any is meant");
    for text in texts.map(|list| list.value).unwrap_or_default() {
        let Some(destination) = destination(table, text) else { continue };
        if let (RawDestination::Container(name), RuleKind::Deny) = (&destination.value, kind) {
            let message = format!("a deny names no container network such as `{name}`");
            table.problems.push(
                Problem::error("deny-network", &destination.at, message)
                    .label("closed from outside unless an allow opens it")
                    .fix("take it out, or narrow the allow; a deny without `to` holds there too"),
            );
            continue;
        }
        to.push(destination);
    }
    let limit = table.text("limit");
    if let (Some(limit), RuleKind::Deny) = (&limit, kind) {
        table.problems.push(
            Problem::error("limit-on-deny", &limit.at, "a deny has no limit")
                .label("what is denied is denied from the first packet on")
                .fix("take it out; to let a few through, write the limit in an [[allow]] instead"),
        );
    }
    let limit = limit.and_then(|text| values::rate(table.problems, &text));
    RawRule {
        kind,
        at: table.at.clone(),
        services,
        ports,
        from,
        to,
        limit: limit.filter(|_| kind == RuleKind::Allow),
        log: table.truth("log").is_some_and(|truth| truth.value),
        note: table.text("note").map(|text| text.value),
    }
}

fn from(table: &mut Table<'_, '_>) -> Vec<At<Word>> {
    let texts = table.texts("from", "take the line out for anywhere, or name a zone");
    let texts = texts.map(|list| list.value).unwrap_or_default();
    texts.into_iter().filter_map(|text| values::word(table.problems, text)).collect()
}

fn destination(table: &mut Table<'_, '_>, text: At<String>) -> Option<At<RawDestination>> {
    if let Some(network) = text.value.strip_prefix("container:") {
        let sound = !network.is_empty()
            && network.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !sound {
            table.problems.push(
                Problem::error(
                    "bad-network",
                    &text.at,
                    format!("`{}` names no container network", text.value),
                )
                .label("letters, digits, `_`, `.` and `-` behind the colon")
                .fix("write `\"container:NETWORK\"`, as `docker network ls` shows it"),
            );
            return None;
        }
        let value = RawDestination::Container(network.to_owned());
        return Some(At { value, at: text.at });
    }
    let like_an_address = text.value.contains(['/', ':', '@'])
        || text.value.starts_with(|c: char| c.is_ascii_digit());
    if !like_an_address {
        table.problems.push(
            Problem::error("bad-address", &text.at, format!("`to` cannot be `{}`", text.value))
                .label("not a dialled address, `@set` or `container:NETWORK`")
                .fix(format!(
                    "write an address; a container network is `\"container:{}\"`",
                    text.value
                )),
        );
        return None;
    }
    let word = values::address(table.problems, text)?;
    Some(At { value: RawDestination::Address(word.value), at: word.at })
}

/// What the host sends is not judged yet: said, never passed over.
pub(super) fn egress(root: &mut Table<'_, '_>) {
    let Some((at, table)) = root.table("egress") else { return };
    let mut table = Table::new(root.problems, "[egress]", at, table);
    table.only(&["allow", "deny"]);
    for key in ["allow", "deny"] {
        for (at, _) in table.tables(key) {
            table.problems.push(
                Problem::error(
                    "unsupported",
                    &at,
                    format!("`[[egress.{key}]]` is not supported yet"),
                )
                .label("what the host sends would not be filtered")
                .fix("take it out"),
            );
        }
    }
}

pub(super) fn expect(root: &mut Table<'_, '_>, document: &mut Document) {
    for (at, table) in root.tables("expect") {
        let expectation = expectation(root, at, table);
        document.expect.push(expectation);
    }
}

fn expectation<'a>(root: &mut Table<'_, '_>, at: Place, table: &'a DeTable<'a>) -> RawExpectation {
    let mut table = Table::new(root.problems, "[[expect]]", at, table);
    table.only(&["from", "open", "closed"]);
    let at = table.at.clone();
    if !table.has("from") {
        table.problems.push(
            Problem::error("missing-key", &at, "this [[expect]] does not say from where")
                .label("from where?")
                .fix("write `from = [\"internet\"]`"),
        );
    }
    if !table.has("open") && !table.has("closed") {
        table.problems.push(
            Problem::error("missing-key", &at, "this [[expect]] expects nothing")
                .label("neither open nor closed")
                .fix("write `open = [\"https\"]` or `closed = [\"databases\"]`"),
        );
    }
    let from = from(&mut table);
    let mut words = |key: &str| {
        let list = table.texts(key, "name a service or a port, or take the line out");
        list.map(|list| list.value).unwrap_or_default()
    };
    let open = words("open");
    let closed = words("closed");
    RawExpectation { at, from, open, closed }
}
