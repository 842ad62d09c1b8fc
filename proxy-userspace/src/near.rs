//! The nearest known word to a mistyped one.

/// The word of `known` nearest to `typed`, if it is near enough to be meant.
///
/// Near is a Damerau-Levenshtein distance (a swap of neighbours counts once) of at most a third of
/// the word's length; a word of which `typed` is the beginning is near as well.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = typed.len().div_ceil(3).min(4);
    known
        .into_iter()
        .filter_map(|word| {
            let distance = distance(typed, word);
            let begins = typed.len() >= 4 && word.starts_with(typed);
            (distance <= limit || begins).then_some((distance, word))
        })
        .min_by_key(|&(distance, word)| (distance, word.len(), word))
        .map(|(_, word)| word)
}

/// The end of an error message: `; did you mean 'word'?`, or nothing.
#[must_use]
pub fn hint<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or_else(String::new, |word| format!("; did you mean '{word}'?"))
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // Words are short; what is longer than any keyword is near none.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(!x.eq_ignore_ascii_case(y)))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 5] = ["maxconn", "mode", "timeout", "balance", "default_backend"];

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("maxcon", WORDS), Some("maxconn"));
        assert_eq!(nearest("tiemout", WORDS), Some("timeout"));
        assert_eq!(nearest("default-backend", WORDS), Some("default_backend"));
        assert_eq!(nearest("MODE", WORDS), Some("mode"));
    }

    #[test]
    fn says_nothing_where_nothing_is_near() {
        assert_eq!(nearest("zzzzz", WORDS), None);
        assert_eq!(nearest(&"m".repeat(1000), WORDS), None);
        assert_eq!(hint("xy", WORDS), "");
    }
}
