//! The rules by which closes are changed: set, taken away and shown while the daemon runs.

use super::labels::Labels;
use super::proxy::{Reloaded, ServerPolicy};
use super::{Daemon, Source};
use crate::admin::reload::IN_PLACE;
use crate::policy::book::BookError;
use anyhow::Context;

impl<S: Source> Daemon<S> {
    /// Takes the rule `TARGET WORDS`, or changes the one for the same target. Returns its target.
    pub(super) fn set_policy(&mut self, text: &str) -> Result<String, BookError> {
        let rules = self.source.rules().ok_or_else(unable)?;
        let labels = &self.labels;
        let resolve = |backend: Option<&str>, server: &str| labels.scope(backend, server);
        self.policies.set(rules, text, &resolve).map(|entry| entry.target.to_string())
    }

    /// Puts the `close` words of a configuration in the place of those of the one before. Rules
    /// that were set by hand for other targets stay.
    pub(super) fn put_policies(&mut self, policies: Vec<ServerPolicy>) -> anyhow::Result<()> {
        for old in std::mem::take(&mut self.configured) {
            let stays = policies.iter().any(|new| new.target == old.target);
            if !stays {
                // An operator may have taken it away already.
                let _ = self.del_policy(&old.target);
            }
        }
        for ServerPolicy { target, words } in &policies {
            self.set_policy(&format!("{target} {words}"))
                .with_context(|| format!("'close' of server {target}"))?;
        }
        self.configured = policies;
        Ok(())
    }

    /// Reads the proxy's configuration anew; the answer says what came of it.
    pub(super) fn reload(&mut self) -> String {
        let Some(proxy) = self.proxy.clone() else { return "There is no proxy.\n".to_owned() };
        let reloaded = proxy.reload().and_then(|Reloaded { labels, policies }| {
            self.labels = Labels::of_own(labels, proxy.numbers());
            self.joins.add_doors(proxy.doors());
            self.put_policies(policies)
        });
        match reloaded {
            Ok(()) => format!("{IN_PLACE}\n"),
            Err(error) => format!("{error:#}\nThe old configuration runs on.\n"),
        }
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
