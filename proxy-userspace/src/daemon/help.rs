//! The list of the runtime socket's commands, and what is said to who knows it not.

use crate::near;
use clap::error::ErrorKind;

/// What `help` answers, and of what an unknown command is answered a part.
pub(super) const HELP: &str = "\
The following commands are valid:
  close END END | --server NAME | --peer ADDR[/LEN][:PORT] [--how rst|fin] [--dry-run]
                                  closes connections now, or lists those that would be closed
  del policy TARGET               closes to these peers go out as they are made again
  help                            this list
  operator                        give up what admin may do beyond operator, for this session
  prompt                          toggle interactive mode with a prompt
  quit                            end the session
  show backends                   closes by backend since the start
  show closes [--last N] [--json] [FILTERS]
                                  the last closes
  show half-open [--json] [FILTERS]
                                  connections that one end has closed and the other not yet
  show info                       what runs, since when, what is attached, every counter
  show metrics                    every counter as Prometheus reads it
  show policy                     every rule, and what it did
  set policy TARGET WORDS         changes how connections to TARGET close: SERVER,
                                  BACKEND/SERVER or ADDR[/LEN][:PORT], then 'passive rst' ...
  set timeout cli TIME            how long this session may be silent
  tail [--json] [--half-open] [--half-open-after T] [--count N] [FILTERS]
                                  every close from now on; a line from you asks for the summary
  user                            give up all but looking, for this session
FILTERS are those of 'teardown tail --help'. Several commands stand in a line with ; between them.
";

/// Whether words were refused for what they name, and not for what is said of it.
pub(super) fn names_none(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidSubcommand
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// What is answered to what is no command: those of `all` that begin as it does, or all of them.
pub(super) fn unknown(words: &[String], all: &str) -> String {
    let near = words.first().and_then(|word| beginning(all, word));
    // The first word that nobody knows.
    let place = usize::from(near.is_some());
    let commands = near.as_deref().unwrap_or(all).lines().filter(|line| is_first(line));
    let known = commands.filter_map(|line| line.split_whitespace().nth(place));
    let hint = words.get(place).map_or_else(String::new, |word| near::hint(word, known));
    let near = near.as_ref().map(|near| format!("Of those that begin so there are:\n{near}"));
    let near = near.as_deref().unwrap_or(all);
    format!("There is no command '{}'{hint}\n{near}", words.join(" "))
}

/// Whether a line of the list begins a command: a further line of one is farther in.
fn is_first(line: &str) -> bool {
    line.starts_with("  ") && !line.starts_with("   ")
}

/// The commands of a list that begin with that word, if any do.
pub(super) fn beginning(list: &str, word: &str) -> Option<String> {
    let mut near = String::new();
    let mut fits = false;
    for line in list.lines() {
        if !line.starts_with("   ") {
            fits = is_first(line) && line.split_whitespace().next() == Some(word);
        }
        if fits {
            near.push_str(line);
            near.push('\n');
        }
    }
    (!near.is_empty()).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::{HELP, is_first};

    #[test]
    fn the_docs_name_every_command() {
        let page = include_str!("../../../docs/tail.md");
        for line in HELP.lines().filter(|line| is_first(line)) {
            let words = line.trim_start().split([' ', '[']).take(2);
            let lower = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_lowercase());
            let name = words.take_while(lower).collect::<Vec<_>>().join(" ");
            let row = |row: &&str| row.starts_with("| `") && row.contains(&format!("`{name}"));
            assert!(page.lines().any(|line| row(&line)), "{name}");
        }
    }
}
