//! A [`Status`] → text and JSON.

use super::layout::{self, Cell, Table};
use super::plan::View;
use super::{phrase, style};
use crate::apply::SSH_ONLY;
use crate::plan::{State, Status};
use std::fmt::Write as _;

/// How many counters are shown unless all are wanted.
const MOST_COUNTERS: usize = 8;

/// For programs.
pub fn json(status: &Status) -> String {
    let mut text = serde_json::to_string_pretty(status).expect("it has only string keys");
    text.push('\n');
    text
}

/// What waits to be confirmed, or was not confirmed.
fn changes(status: &Status, out: &mut String) {
    if let Some(waiting) = &status.pending {
        let what = if waiting.off { " (fwctl off)" } else { "" };
        let title = format!(
            "{}: generation {}{what} rules and waits to be confirmed, for {} s more",
            status.host,
            waiting.generation,
            waiting.left.div_ceil(1000)
        );
        let _ = writeln!(out, "{}\n", layout::styled(style::WARNING, &title));
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(out, "  {label:<9}{}", layout::clean(value));
        };
        line("until", &waiting.deadline.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        if let Some(by) = &waiting.by {
            line("made", &super::history::who(by));
        }
        if let Some(message) = &waiting.message {
            line("why", message);
        }
        out.push_str("  `fwctl confirm` keeps it, `fwctl rollback` takes it back at once.\n\n");
    }
    if let Some(ended) = &status.ended {
        let text = format!("{}: {}", status.host, ended.end.says(ended.generation));
        let _ = writeln!(out, "{}\n", layout::styled(style::WARNING, &text));
    }
}

/// For people.
pub fn text(status: &Status, view: View) -> String {
    let mut out = String::new();
    let host = &status.host;
    changes(status, &mut out);
    let waits = status.pending.is_some();
    match &status.state {
        State::Off if waits => {
            out.push_str(
                "  When it ends, fwctl is not in force: whatever else is on the host decides.\n",
            );
            return out;
        }
        State::Off => {
            let title = format!("{host}: fwctl is not in force");
            let _ = writeln!(out, "{}\n", layout::styled(style::WARNING, &title));
            out.push_str("  Whatever else is on the host decides what is reachable.\n");
            out.push_str("  `fwctl plan` shows what the policy would change.\n");
            return out;
        }
        State::Foreign => {
            let title = format!("{host}: there is a table inet fwctl that fwctl did not make");
            let _ = writeln!(out, "{}\n", layout::styled(style::ERROR, &title));
            out.push_str("  Its marker is missing or broken, so its generation is not known.\n");
            out.push_str("  `fwctl apply` makes the table what the policy says.\n");
            return out;
        }
        State::InForce { marker, since, policy } => {
            let title = if marker.generation == SSH_ONLY {
                format!("{host}: SSH alone is let in, as no kept generation could be loaded")
            } else {
                let rules = if waits { "rules again when it ends" } else { "is in force" };
                format!("{host}: generation {} {rules}", marker.generation)
            };
            let _ = writeln!(out, "{}\n", layout::styled(style::STRONG, &title));
            let mut line = |label: &str, value: &str| {
                let _ = writeln!(out, "  {label:<9}{}", layout::clean(value));
            };
            match since {
                Some(since) => line("since", &since.strftime("%Y-%m-%d %H:%M UTC").to_string()),
                None => line("since", "not recorded on this host"),
            }
            if !policy.is_empty() {
                line("policy", &policy.join(", "));
            }
            if let Some(back) = &status.put_back {
                let who = back.from.as_deref().unwrap_or("somebody");
                let at = back.at.strftime("%Y-%m-%d %H:%M:%S UTC");
                let times =
                    if back.times > 1 { format!(", {} times", back.times) } else { String::new() };
                line("restored", &format!("{at}{times}: {who} had taken the rules away"));
            }
            line("digest", marker.digest.get(..16).unwrap_or(&marker.digest));
            if !status.policy_changed.is_empty() {
                let files = status.policy_changed.join(", ");
                line("changed", &format!("{files}, since it was applied: `fwctl plan` shows it"));
            }
            if status.drift.is_empty() {
                line("drift", "none: the table is as it was applied");
            }
        }
    }
    if !status.drift.is_empty() {
        let count = phrase::count(status.drift.len(), "difference");
        let title = format!("  drift    {count}: someone changed the table by hand");
        let _ = writeln!(out, "{}", layout::styled(style::WARNING, &title));
        out.push_str("           `fwctl plan` shows them, `fwctl apply` mends them.\n");
    }
    let shown: Vec<_> =
        status.counters.iter().filter(|counted| view.verbose || counted.packets > 0).collect();
    if shown.is_empty() {
        return out;
    }
    let _ = writeln!(out, "\n{}", layout::styled(style::STRONG, "New connections counted"));
    let most = if view.verbose { usize::MAX } else { MOST_COUNTERS };
    let mut table = Table::default();
    for counted in shown.iter().take(most) {
        let packets = usize::try_from(counted.packets).unwrap_or(usize::MAX);
        let (word, colour) =
            if counted.denied { ("denied", style::REMOVED) } else { ("passed", style::ADDED) };
        table.row(vec![
            Cell::new(word, colour),
            Cell::new(format!("{:>12}", phrase::thousands(packets)), anstyle::Style::new()),
            Cell::new(counted.comment.clone(), anstyle::Style::new()),
        ]);
    }
    out.push_str(&table.render(2));
    if shown.len() > most {
        let more = phrase::count(shown.len() - most, "more counter");
        let _ = writeln!(out, "  … {more}: `fwctl status -v`");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{By, End, How};
    use crate::plan::{Counted, Ended, Marker, STATUS_FORMAT, Waiting};

    fn status(state: State) -> Status {
        let counted = |comment: &str, denied, packets| Counted {
            comment: comment.to_owned(),
            denied,
            packets,
            bytes: packets * 60,
        };
        Status {
            format: STATUS_FORMAT.to_owned(),
            host: "web1".to_owned(),
            state,
            pending: None,
            ended: None,
            put_back: None,
            policy_changed: Vec::new(),
            drift: crate::report::plan::fixture::drifted().drift,
            counters: vec![
                counted("default inbound = drop", true, 1_204_331),
                counted("web-server:8 allow http,https,http3", false, 88_120),
                counted("web-server:12 deny databases,docker", true, 0),
            ],
        }
    }

    #[test]
    fn what_waits_and_what_was_not_confirmed_stands_first() {
        let by = By { user: "alice".into(), from: "198.51.100.7".parse().ok() };
        let waiting = Waiting {
            generation: 5,
            off: false,
            left: 41_200,
            deadline: "2026-03-14T09:26:53Z".parse().expect("a time"),
            by: Some(by),
            message: Some("reports".to_owned()),
        };
        let plain = |status: &Status| {
            let again: Status = serde_json::from_str(&json(status)).expect("own JSON is read");
            assert_eq!(again, *status);
            let report = text(status, View { width: 80, verbose: false });
            anstream::adapter::strip_str(&report).to_string()
        };
        let off = status(State::Off);
        let waits = plain(&Status { pending: Some(waiting), drift: Vec::new(), ..off.clone() });
        assert_eq!(
            waits,
            "web1: generation 5 rules and waits to be confirmed, for 42 s more\n\n\
             \x20 until    2026-03-14 09:26:53 UTC\n\
             \x20 made     by alice from 198.51.100.7\n\
             \x20 why      reports\n\
             \x20 `fwctl confirm` keeps it, `fwctl rollback` takes it back at once.\n\n\
             \x20 When it ends, fwctl is not in force: whatever else is on the host decides.\n"
        );
        let end = End { how: How::Expired, at: "2026-03-14T09:26:53Z".parse().expect("a time") };
        let ended = plain(&Status { ended: Some(Ended { generation: 5, end }), ..off });
        let first = "web1: generation 5 was not confirmed by 2026-03-14 09:26:53 UTC: since then";
        assert!(ended.starts_with(first), "{ended}");
        assert!(ended.contains("fwctl is not in force"), "{ended}");
    }

    #[test]
    fn what_was_put_back_and_what_the_policy_says_today_are_told() {
        let marker = Marker { generation: 4, digest: "ab".repeat(32) };
        let in_force = State::InForce { marker, since: None, policy: Vec::new() };
        let put_back = crate::plan::PutBack {
            generation: 4,
            at: "2026-03-14T09:26:53Z".parse().expect("a time"),
            from: Some("nft".to_owned()),
            times: 2,
        };
        let policy_changed = vec!["policy.toml".to_owned(), "office.txt".to_owned()];
        let told = Status { put_back: Some(put_back), policy_changed, ..status(in_force) };
        let report = text(&told, View { width: 80, verbose: false });
        let plain = anstream::adapter::strip_str(&report).to_string();
        for line in [
            "  restored 2026-03-14 09:26:53 UTC, 2 times: nft had taken the rules away\n",
            "  changed  policy.toml, office.txt, since it was applied: `fwctl plan` shows it\n",
        ] {
            assert!(plain.contains(line), "{plain}");
        }
    }

    #[test]
    fn each_state_says_what_to_do_next() {
        let marker = Marker { generation: 4, digest: "ab".repeat(32) };
        let in_force = State::InForce {
            marker,
            since: "2026-03-14T09:26:53Z".parse().ok(),
            policy: vec!["policy.toml".to_owned(), "web-server".to_owned()],
        };
        let states = [("off", State::Off), ("foreign", State::Foreign), ("in-force", in_force)];
        for (name, state) in states {
            let found = status(state);
            let again: Status = serde_json::from_str(&json(&found)).expect("own JSON is read");
            assert_eq!(again, found);
            let report = text(&found, View { width: 80, verbose: false });
            let plain = anstream::adapter::strip_str(&report).to_string();
            assert!(plain.lines().all(|line| layout::width(line) <= 80), "{plain}");
            insta::with_settings!({
                snapshot_path => "../../tests/golden/report",
                prepend_module_to_snapshot => false,
                omit_expression => true,
            }, {
                insta::assert_snapshot!(format!("status-{name}"), plain);
            });
        }
    }
}
