//! Connections that are open and that the rules would not let in: who, from where, since when.

use crate::plan::{Established, Plan};
use crate::report::phrase;

/// The heading.
pub const TITLE: &str = "Open now, and not let in anew";
/// What becomes of them.
pub const REMARK: &str =
    "They go on. `fwctl apply --cut` closes them, but for sessions of your own.";

/// One line for each, at most so many, and how many there are besides.
pub fn lines(plan: &Plan, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = plan.established.iter().take(most).map(line).collect();
    if plan.established.len() > most {
        lines.push(format!("and {} more (-v shows them)", plan.established.len() - most));
    }
    lines
}

fn line(one: &Established) -> String {
    let flow = &one.flow;
    let who = one.owner.as_ref().map_or("owner not known".to_owned(), phrase::who);
    let mut line = format!("{} from {} to {}, {who}", flow.protocol, flow.source, flow.dialled);
    if let Some(user) = &one.user {
        line.extend([", ", user]);
    }
    if let Some(since) = flow.since {
        line.push_str(&since.strftime(", since %Y-%m-%d %H:%M:%S UTC").to_string());
    }
    if one.own {
        line.push_str(": yours, never closed");
    }
    line
}
