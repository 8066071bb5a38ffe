//! The rule by which a fresh process recognises a table as its own, and which generation it is.

use super::Marker;
use crate::compile::MARKER_CHAIN;
use crate::model::nft::{Chain, Rule, Table, build};

/// The chain that carries the marker. It has no hook: no packet sees it.
pub fn chain(marker: &Marker) -> Chain {
    let rule = Rule::new(vec![build::return_()], Some(comment(marker)));
    Chain { rules: vec![rule], ..Chain::new(MARKER_CHAIN) }
}

/// The comment that carries it.
pub fn comment(marker: &Marker) -> String {
    format!("fwctl generation {} sha256 {}", marker.generation, marker.digest)
}

/// The marker of a live table; `None` where it has none, or a broken one.
pub fn read(table: &Table) -> Option<Marker> {
    of(table.chain(MARKER_CHAIN)?)
}

/// The marker that a chain carries.
pub(super) fn of(chain: &Chain) -> Option<Marker> {
    let comment = chain.rules.first()?.comment.as_ref()?;
    let mut words = comment.split(' ');
    if (words.next(), words.next()) != (Some("fwctl"), Some("generation")) {
        return None;
    }
    let generation = words.next()?.parse().ok()?;
    if words.next() != Some("sha256") {
        return None;
    }
    let digest = words.next()?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_digest && words.next().is_none()).then(|| Marker { generation, digest: digest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nft::Family;

    #[test]
    fn a_marker_is_read_back_and_a_broken_one_is_not() {
        let marker = Marker { generation: 41, digest: "ab".repeat(32) };
        let mut table = Table::new(Family::Inet, "fwctl");
        assert_eq!(read(&table), None);
        table.chains.push(chain(&marker));
        assert_eq!(read(&table), Some(marker));
        table.chains[0].rules[0].comment = Some("fwctl generation x sha256 12".to_owned());
        assert_eq!(read(&table), None);
    }
}
