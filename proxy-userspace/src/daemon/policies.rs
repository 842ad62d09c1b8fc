//! The rules by which closes are changed: set, taken away and shown while the daemon runs.

use super::{Daemon, Source};
use crate::policy::book::BookError;

impl<S: Source> Daemon<S> {
    /// Takes the rule `TARGET WORDS`, or changes the one for the same target. Returns its target.
    pub(super) fn set_policy(&mut self, text: &str) -> Result<String, BookError> {
        let rules = self.source.rules().ok_or_else(unable)?;
        let labels = &self.labels;
        let resolve = |backend: Option<&str>, server: &str| labels.addresses(backend, server);
        self.policies.set(rules, text, &resolve).map(|entry| entry.target.to_string())
    }

    /// Takes the rule of a target away.
    pub(super) fn del_policy(&mut self, target: &str) -> Result<(), BookError> {
        let rules = self.source.rules().ok_or_else(unable)?;
        self.policies.remove(rules, target)
    }

    /// Every rule and what it did.
    pub(super) fn show_policies(&mut self) -> String {
        let Some(rules) = self.source.rules() else { return String::new() };
        if self.policies.is_empty() {
            return "There is no rule: closes go out as the applications make them.\n".to_owned();
        }
        self.policies
            .show(rules)
            .unwrap_or_else(|error| format!("The rules' counters cannot be read: {error}\n"))
    }
}

fn unable() -> BookError {
    BookError::Wrong("this source of closes cannot change them".to_owned())
}
