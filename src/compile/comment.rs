//! Comments that lead from a rule in the kernel back to the line of the policy.

use crate::policy::Rule;

/// nftables keeps 128 bytes (`NFTNL_UDATA_COMMENT_MAXLEN`); a little less leaves room for its NUL.
const MAX_BYTES: usize = 120;

/// `policy.toml:12,15 deny databases`.
pub(super) fn of_rules(verb: &str, rules: &[&Rule]) -> String {
    let mut origins: Vec<String> = Vec::new();
    let mut file = None;
    for rule in rules {
        // The file's name once for the lines that follow each other in it.
        let text = if file == Some(&rule.origin.file) {
            rule.origin.line.to_string()
        } else {
            rule.origin.to_string()
        };
        file = Some(&rule.origin.file);
        origins.push(text);
    }
    origins.dedup();
    let mut words: Vec<String> = Vec::new();
    for rule in rules {
        let own: Vec<String> = if rule.services.is_empty() {
            rule.ports.iter().map(ToString::to_string).collect()
        } else {
            rule.services.clone()
        };
        for word in own {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    let places = fit(&origins, MAX_BYTES / 2);
    let room = MAX_BYTES - places.len() - verb.len() - 2;
    plain(&format!("{places} {verb} {}", fit(&words, room)))
}

/// As many of the items as fit, and how many are left out.
fn fit(items: &[String], room: usize) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        let separator = if text.is_empty() { "" } else { "," };
        // Room for a later "+NNNN".
        if text.len() + separator.len() + item.len() + 6 > room {
            let left = items.len() - index;
            return format!("{text}+{left}");
        }
        text.push_str(separator);
        text.push_str(item);
    }
    text
}

/// Without what nft's quoting cannot carry.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .map(|c| if c == '"' || c == '\\' || c.is_control() { '_' } else { c })
        .collect();
    while plain.len() > MAX_BYTES {
        plain.pop();
    }
    plain
}

/// A text as part of an nftables name: what nft's scanner does not take becomes `_`.
pub(super) fn identifier(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
