//! `[zone.NAME]`, `[set.NAME]` and `[service.NAME]`.

use super::document::{Document, RawService, RawSet, RawZone};
use super::table::Table;
use super::values::{self, Word};
use crate::model::{IfacePattern, ZoneName, ZoneRef};
use crate::policy::diagnostic::{At, Problem};

/// The tables of `[KIND.NAME]` that have a name one can use.
macro_rules! each_named {
    ($root:ident, $kind:literal, |$table:ident, $name:ident| $body:block) => {
        for (word, header, inner) in $root.named($kind) {
            let text = At { value: word.value.to_owned(), at: word.at };
            let title = format!("[{}.{}]", $kind, text.value);
            let name = values::name($root.problems, $kind, &text);
            let mut $table = Table::new($root.problems, title, header, inner);
            // A table with a bad name is read for its other errors, then left out.
            let $name: Option<At<ZoneName>> = name.map(|value| At { value, at: text.at });
            $body
        }
    };
}

pub(super) fn zones(root: &mut Table<'_, '_>, document: &mut Document) {
    each_named!(root, "zone", |table, name| {
        let zone = zone(&mut table);
        let Some(name) = name else { continue };
        if ZoneRef::BUILT_IN.contains(&name.value.as_str()) {
            table.problems.push(
                Problem::error(
                    "reserved-name",
                    &name.at,
                    format!("the zone `{}` is built in", name.value),
                )
                .label("no declared zone can be called so")
                .fix(format!("call it `my-{}`, or use the built-in one as it is", name.value)),
            );
            continue;
        }
        document.zones.push((name, zone));
    });
}

fn zone(table: &mut Table<'_, '_>) -> RawZone {
    table.only(&["interfaces", "addresses", "world"]);
    if !table.has("interfaces") && !table.has("addresses") {
        let at = table.at.clone();
        let message = format!("{} says neither interfaces nor addresses", table.name);
        table.problems.push(
            Problem::error("missing-key", &at, message)
                .label("holds nothing")
                .fix("write `addresses = [\"192.168.0.0/16\"]` or `interfaces = [\"eth1\"]`"),
        );
    }
    let mut interfaces = Vec::new();
    let texts = table.texts("interfaces", "name an interface, or take the line out: any is meant");
    for text in texts.map(|list| list.value).unwrap_or_default() {
        match text.value.parse::<IfacePattern>() {
            Ok(pattern) => interfaces.push(pattern),
            Err(error) => table.problems.push(
                Problem::error(
                    "bad-interface",
                    &text.at,
                    format!("`{}` is no interface name", text.value),
                )
                .label(error.reason)
                .fix("write a name such as `\"eth1\"`, or a beginning such as `\"wg*\"`"),
            ),
        }
    }
    interfaces.sort();
    interfaces.dedup();
    let world = table.truth("world").is_some_and(|truth| truth.value);
    let texts = table.texts("addresses", "name an address, or take the line out: any is meant");
    let addresses = texts.map(|list| {
        let mut words = Vec::with_capacity(list.value.len());
        for text in list.value {
            words.extend(values::address(table.problems, text));
        }
        for word in &words {
            if let Word::Address(prefix) = word.value
                && prefix.length() == 0
                && interfaces.is_empty()
                && !world
            {
                let message = format!("`{prefix}` in {} is the whole world", table.name);
                table.problems.push(
                    Problem::error("whole-world", &word.at, message)
                        .label("would leave the zone `internet` empty")
                        .fix(format!("add `world = true` to {} if that is meant", table.name)),
                );
            }
        }
        words
    });
    RawZone { interfaces, addresses, world }
}

pub(super) fn sets(root: &mut Table<'_, '_>, document: &mut Document) {
    each_named!(root, "set", |table, name| {
        table.only(&["addresses", "file", "limit"]);
        if let Some(at) = table.key_at("limit") {
            table.problems.push(
                Problem::error("unsupported", &at, "`limit` on a set is not supported yet")
                    .label("would not be held")
                    .fix("write the `limit` in the `[[allow]]` that names the set"),
            );
        }
        if !table.has("addresses") && !table.has("file") {
            let at = table.at.clone();
            let message = format!("{} says neither addresses nor a file", table.name);
            table.problems.push(
                Problem::error("missing-key", &at, message)
                    .label("holds nothing")
                    .fix("write `addresses = [\"198.51.100.0/24\"]` or `file = \"list.txt\"`"),
            );
        }
        let texts = table.texts("addresses", "name an address, or take the line out");
        let mut prefixes = Vec::new();
        for text in texts.map(|list| list.value).unwrap_or_default() {
            if text.value.starts_with('@') {
                table.problems.push(
                    Problem::error("bad-address", &text.at, "a set holds no other set")
                        .label("not an address")
                        .fix("name both sets where they are used"),
                );
            } else {
                prefixes.extend(values::prefix(table.problems, &text));
            }
        }
        let file = table.text("file");
        if let Some(name) = name {
            document.sets.push((name, RawSet { prefixes, file }));
        }
    });
}

pub(super) fn services(root: &mut Table<'_, '_>, document: &mut Document) {
    each_named!(root, "service", |table, name| {
        table.only(&["ports", "members", "about"]);
        if table.has("ports") == table.has("members") {
            let at = table.at.clone();
            let (message, label, fix) = if table.has("ports") {
                (
                    "has both ports and members",
                    "a service has ports, a group has members",
                    "make a second service of the ports, and name it in `members`",
                )
            } else {
                (
                    "says neither ports nor members",
                    "names nothing",
                    "write `ports = [\"8080/tcp\"]`, or `members = [\"http\", \"https\"]` for a group",
                )
            };
            table.problems.push(
                Problem::error("missing-key", &at, format!("{} {message}", table.name))
                    .label(label)
                    .fix(fix),
            );
        }
        let mut ports = Vec::new();
        let texts = table.texts("ports", "name a port such as `\"8080/tcp\"`");
        for text in texts.map(|list| list.value).unwrap_or_default() {
            ports.extend(values::port(table.problems, &text));
        }
        let members = table.texts("members", "name a service, or take the group out");
        let members = members.map(|list| list.value).unwrap_or_default();
        let about = table.text("about").map(|text| text.value);
        let Some(name) = name else { continue };
        if name.value.as_str() == "all" {
            table.problems.push(
                Problem::error("reserved-name", &name.at, "`all` is every port and protocol")
                    .label("no service can be called so")
                    .fix("choose another name"),
            );
            continue;
        }
        document.services.push((name, RawService { ports, members, about }));
    });
}
