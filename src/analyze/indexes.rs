//! Interfaces that rules name by number (`iif`, `oif`, `fwd to device`) → by their names on this host.
//!
//! The kernel keeps the number that the name had when the rule was loaded.

use crate::observe::Link;
use std::borrow::Cow;

/// The text of a rule or statement, with the names of these interfaces in place of their numbers.
pub fn with_names(text: String, links: &[Link]) -> String {
    const BEFORE: [&str; 3] = ["iif", "oif", "device"];
    if !text.split(' ').any(|word| BEFORE.contains(&word)) {
        return text;
    }
    let mut expected = false;
    // What people wrote is left alone.
    let mut quoted = false;
    let words = text.split(' ').map(|word| {
        let inside = quoted;
        quoted ^= word.matches('"').count() % 2 == 1;
        if inside || quoted {
            return Cow::Borrowed(word);
        }
        let number = word.trim_end_matches([',', ':']);
        match number.parse::<u32>() {
            Ok(index) if expected => {
                // Another one follows in a set.
                expected = word.ends_with(',');
                let link = links.iter().find(|link| link.index == index);
                link.map_or(Cow::Borrowed(word), |link| {
                    Cow::Owned(format!("\"{}\"{}", link.name, &word[number.len()..]))
                })
            }
            _ => {
                let still = ["!=", "==", "{", "vmap"].contains(&word) || word.ends_with("\",");
                expected = BEFORE.contains(&word) || expected && still;
                Cow::Borrowed(word)
            }
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LinkKind;

    #[test]
    fn numbers_of_interfaces_become_names_and_others_stay() {
        let link =
            |index, name: &str| Link::new(index, name.parse().expect("a name"), LinkKind::Physical);
        let links = [link(2, "eth0"), link(22, "eth1")];
        for (text, wanted) in [
            ("iif 2 tcp dport 22 accept", "iif \"eth0\" tcp dport 22 accept"),
            ("oif != 22 drop", "oif != \"eth1\" drop"),
            ("iif { \"lo\", 2, 22 } ct mark 2", "iif { \"lo\", \"eth0\", \"eth1\" } ct mark 2"),
            ("iif vmap { 2 : jump a }", "iif vmap { \"eth0\" : jump a }"),
            ("fwd to 10.0.0.2 device 22", "fwd to 10.0.0.2 device \"eth1\""),
            ("iif 7 accept", "iif 7 accept"),
            ("accept comment \"from iif 2 on\"", "accept comment \"from iif 2 on\""),
            ("meta l4proto 2 counter", "meta l4proto 2 counter"),
        ] {
            assert_eq!(with_names(text.to_owned(), &links), wanted);
        }
    }
}
