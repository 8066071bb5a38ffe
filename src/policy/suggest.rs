//! "Did you mean".

/// The candidate that was most likely meant by a word that is none of them.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = word.to_ascii_lowercase();
    let bound = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            let distance = strsim::damerau_levenshtein(&wanted, &lower);
            // Among equally near ones, the one that begins alike.
            (distance, 1.0 - strsim::jaro_winkler(&wanted, &lower), candidate)
        })
        .filter(|(distance, _, candidate)| *distance <= bound && *distance < candidate.len())
        .min_by(|one, other| {
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)).then(one.2.cmp(other.2))
        })
        .map(|(_, _, candidate)| candidate)
}

/// The question that a message asks about it.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_a_different_word_is_not() {
        assert_eq!(nearest("htpps", ["http", "https", "ssh"]), Some("https"));
        assert_eq!(nearest("SSH", ["http", "ssh"]), Some("ssh"));
        assert_eq!(nearest("banana", ["http", "ssh"]), None);
        assert_eq!(nearest("htp", ["ftp", "http"]), Some("http"));
        assert_eq!(nearest("x", ["y"]), None);
    }
}
