//! The rules in force: what the operator said, and its number in the kernel.

use super::target::Target;
use super::words::{self, Wishes};
use crate::kernel::{self, Policies, Rules, Scope};
use proxy_common::abi::RuleCounts;
use proxy_common::decide::Refusal;
use proxy_common::policy::Policy;
use std::fmt::Write as _;

/// Finds what a rule for a server covers: backend, if one was named, and server.
pub type Resolve<'a> = &'a dyn Fn(Option<&str>, &str) -> Scope;

/// One rule.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the kernel.
    pub id: u32,
    /// Whom it is for.
    pub target: Target,
    /// The same as text.
    pub name: String,
    /// What it wants, as it was said.
    pub words: String,
}

/// Every rule.
#[derive(Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
}

/// Why a rule was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Target or words are wrong.
    #[error("{0}")]
    Wrong(String),
    /// Nothing to take away.
    #[error("there is no rule for '{0}'")]
    NoRule(String),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Too many.
    #[error(transparent)]
    Full(#[from] kernel::RulesFull),
}

/// Reads `TARGET WORDS`.
///
/// # Errors
/// What is wrong, with its column.
pub fn read(text: &str) -> Result<(Target, String, Wishes), String> {
    let text = text.trim();
    let (target, rest) = text.split_once(char::is_whitespace).ok_or_else(|| {
        format!("'{text}' should be SERVER or ADDR[/LEN][:PORT], then words such as 'passive rst'")
    })?;
    let parsed = target.parse()?;
    let column = text.len() - rest.len();
    let wishes = words::parse(rest)
        .map_err(|error| format!("column {}: {}", error.column + column, error.message))?;
    Ok((parsed, rest.trim().to_owned(), wishes))
}

impl Book {
    /// Takes a rule, or changes the one for the same target. A server, or an address of exactly
    /// this length and port, has one rule at most.
    ///
    /// # Errors
    /// Where the text is wrong, the server is unknown, or the kernel refuses.
    pub fn set(
        &mut self,
        rules: &mut Rules,
        text: &str,
        resolve: Resolve<'_>,
    ) -> Result<&Entry, BookError> {
        let (target, words, wishes) = read(text).map_err(BookError::Wrong)?;
        let policies = Policies {
            traffic: wishes.traffic,
            tunnels: wishes.for_tunnels(),
            checks: wishes.for_checks(),
        };
        let waits = policies.all().iter().any(Policy::has_deadline);
        if let Some(why) = rules.no_deadlines().filter(|_| waits) {
            return Err(BookError::Wrong(format!("'half-close' and 'close-wait' are off: {why}")));
        }
        let scope = match &target {
            Target::Peers(covered) => Scope { peers: vec![*covered], ..Scope::default() },
            Target::Server { backend, server } => resolve(backend.as_deref(), server),
        };
        if scope.is_empty() {
            return Err(BookError::Wrong(format!(
                "there is no server '{target}' in the configuration; it should be one of its \
                 servers, or an address"
            )));
        }
        let own = |word: &&str| ["tunnels", "checks"].contains(word);
        if !scope.peers.is_empty()
            && let Some(word) = words.split_ascii_whitespace().find(own)
        {
            return Err(BookError::Wrong(format!(
                "'{word}' is for servers of teardown's own proxy ('run -f'): of another program's \
                 connections nothing tells which are {word}. If they go to a port or address of \
                 their own, that should have a rule of its own, as 'ADDR:PORT abort fin'; else \
                 '{target}' should have one rule without '{word}'"
            )));
        }
        let at = self.entries.iter().position(|entry| entry.target == target);
        let id = match at {
            Some(at) => self.entries[at].id,
            None => rules.free_number()?,
        };
        if let Some(other) = rules.other(id, &scope) {
            let other = self.name(other);
            return Err(BookError::Wrong(format!(
                "'{target}' has a rule already, that for '{other}': it should be changed, or taken \
                 away first ('del policy {other}')"
            )));
        }
        rules.set(id, &scope, policies)?;
        let entry = Entry { id, name: target.to_string(), target, words };
        let at = at.unwrap_or_else(|| {
            self.entries.push(entry.clone());
            self.entries.len() - 1
        });
        self.entries[at] = entry;
        Ok(&self.entries[at])
    }

    /// Takes a rule away.
    ///
    /// # Errors
    /// Where there is none for that target, or the kernel refuses.
    pub fn remove(&mut self, rules: &mut Rules, target: &str) -> Result<(), BookError> {
        let parsed: Target = target.parse().map_err(BookError::Wrong)?;
        let at = self.entries.iter().position(|entry| entry.target == parsed);
        let Some(at) = at else {
            return Err(BookError::NoRule(target.to_owned()));
        };
        rules.remove(self.entries[at].id)?;
        self.entries.remove(at);
        Ok(())
    }

    /// Whom rule `id` is for, as it was said; `gone` where it was taken away since.
    #[must_use]
    pub fn name(&self, id: u32) -> &str {
        self.entries.iter().find(|entry| entry.id == id).map_or("gone", |entry| &entry.name)
    }

    /// Every rule with its counters, for people.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    pub fn show(&self, rules: &Rules) -> Result<String, kernel::Error> {
        let mut out = String::new();
        for entry in &self.entries {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{} {}", entry.target, entry.words);
            let _ = writeln!(out, "  {}", counts(&rules.counts(entry.id)?));
        }
        Ok(out)
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What a rule did, in one line.
fn counts(counts: &RuleCounts) -> String {
    let mut out = format!(
        "matched {}, fin to rst {} (stripped {}, waited {}), rst to fin {}",
        counts.matched, counts.fin_to_rst, counts.stripped, counts.waited, counts.rst_to_fin
    );
    let others = [
        (counts.half_close, "half close over"),
        (counts.close_wait, "close wait over"),
        (counts.closed_now, "closed now"),
        (counts.dry_run, "dry run"),
        (counts.failed, "failed"),
    ];
    for (value, name) in others {
        if value > 0 {
            let _ = write!(out, ", {name} {value}");
        }
    }
    for (refusal, name, _) in Refusal::ALL {
        let value = counts.refused[refusal.0 as usize];
        if value > 0 {
            let name = name.to_ascii_lowercase().replace('_', " ");
            let _ = write!(out, ", refused ({name}) {value}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_common::policy::Wish;

    #[test]
    fn a_rule_is_a_target_and_words() {
        let (target, words, wishes) = read("10.0.0.5:80 passive rst any-fin").unwrap();
        assert_eq!(target.to_string(), "10.0.0.5:80");
        assert_eq!(words, "passive rst any-fin");
        assert_eq!(wishes.traffic.passive, Wish::RST);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (text, what) in
            [("w1", "WORDS"), ("w1 passive reset", "column 12"), ("10.0.0.0/40 passive rst", "40")]
        {
            let error = read(text).unwrap_err();
            assert!(error.contains(what) || what == "WORDS" && error.contains("words"), "{error}");
        }
    }
}
