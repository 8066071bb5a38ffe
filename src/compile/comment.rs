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

/// The prefix of a log line. The kernel keeps 127 bytes (`NF_LOG_PREFIXLEN` less its NUL).
pub(super) fn log_prefix(comment: &str) -> String {
    format!("fwctl {}: ", shortened(comment, 100))
}

/// Without what nft's quoting cannot carry.
pub(super) fn plain(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c == '"' || c == '\\' || c.is_control() { '_' } else { c })
        .collect();
    shortened(&plain, MAX_BYTES)
}

fn shortened(text: &str, bytes: usize) -> String {
    let mut text = text.to_owned();
    while text.len() > bytes {
        text.pop();
    }
    text
}

/// A text as part of an nftables name: what nft's scanner does not take becomes `_`, and a hash
/// tells apart what would become the same.
pub(super) fn identifier(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.chars().all(plain) {
        return text.to_owned();
    }
    let name: String = text.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    format!("{name}_{}", super::draft::short_hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Origin;

    #[test]
    fn comments_and_log_prefixes_fit_into_the_kernel() {
        let origin = Origin { file: "a-rather-long-name-of-a-file.toml".into(), line: 12_345 };
        let rule = Rule {
            ports: vec!["1-65535/tcp".parse().expect("valid")],
            services: (0..40).map(|n| format!("service-number-{n}")).collect(),
            from: Vec::new(),
            to: Vec::new(),
            limit: None,
            log: true,
            note: None,
            origin,
        };
        let rules: Vec<&Rule> = std::iter::repeat_n(&rule, 50).collect();
        let comment = of_rules("limited allow", &rules);
        assert!(comment.len() <= MAX_BYTES, "{comment}");
        assert!(comment.contains("limited allow") && comment.contains('+'), "{comment}");
        assert!(log_prefix(&comment).len() <= 127);
        assert_eq!(plain("a\"b\\c\nd"), "a_b_c_d");
    }

    #[test]
    fn names_that_would_become_the_same_stay_apart() {
        assert_eq!(identifier("web-1"), "web-1");
        assert_ne!(identifier("a.b"), identifier("a_b"));
    }
}
