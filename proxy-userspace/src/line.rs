//! The runtime socket's lines, as HAProxy's: several commands stand in one with `;` between them, and
//! `\` takes the meaning from the character after it.

/// The commands of a line, each as its words.
#[must_use]
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ';' | ' ' | '\t' | '\r' | '\n' => {
                if let Some(words) = commands.last_mut() {
                    words.extend(word.take());
                }
                if letter == ';' {
                    commands.push(Vec::new());
                }
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(words) = commands.last_mut() {
        words.extend(word);
    }
    commands
}

/// `word` as [`commands`] reads it back.
#[must_use]
pub fn quoted(word: &str) -> String {
    let special = |letter: char| letter.is_whitespace() || matches!(letter, ';' | '\\');
    word.chars()
        .flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_haproxy_splits_it() {
        let split = |line| commands(line);
        assert_eq!(
            split("show info;show  closes\n"),
            [vec!["show", "info"], vec!["show", "closes"]]
        );
        assert_eq!(
            split(r"tail --process Web\ Content"),
            [vec!["tail", "--process", "Web Content"]]
        );
        assert_eq!(split(r"a\;b\\"), [vec![r"a;b\"]]);
        assert_eq!(split(" ;; \r\n"), [vec![], vec![], Vec::<String>::new()]);
    }

    #[test]
    fn quoting_survives_the_split() {
        for word in ["plain", "two words", r"back\slash;semicolon", "tab\tdone"] {
            assert_eq!(commands(&quoted(word)), [vec![word]]);
        }
    }
}
