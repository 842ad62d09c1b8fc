//! The rules by which closes are changed: set, taken away and shown while the daemon runs.

use super::proxy::ServerPolicy;
use super::{Daemon, Source};
use crate::kernel::{Covered, Scope};
use crate::labels::{Called, Labels};
use crate::policy::book::BookError;
use anyhow::Context;
use proxy_common::abi::{CLASS_CHECK, CLASS_TRAFFIC, CLASS_TUNNEL};

impl<S: Source> Daemon<S> {
    /// Takes the rule `TARGET WORDS`, or changes the one for the same target. Returns its target.
    pub(super) fn set_policy(&mut self, text: &str) -> Result<String, BookError> {
        let rules = self.source.rules().ok_or_else(unable)?;
        let labels = &self.labels;
        let resolve = |backend: Option<&str>, server: &str| scope(labels, backend, server);
        self.policies.set(rules, text, &resolve).map(|entry| entry.target.to_string())
    }

    /// Puts the `close` words of a configuration in the place of those of the one before. Rules
    /// that were set by hand for other targets stay.
    ///
    /// # Errors
    /// The first rule that could not be taken away or set; those after it are set all the same.
    pub(super) fn put_policies(&mut self, policies: Vec<ServerPolicy>) -> anyhow::Result<()> {
        let mut first_wrong = Ok(());
        for old in std::mem::take(&mut self.configured) {
            let stays = policies.iter().any(|new| new.target == old.target);
            // An operator may have taken it away already.
            if !stays
                && let Err(error) = self.del_policy(&old.target)
                && !matches!(error, BookError::NoRule(_))
            {
                let gone = Err(error).with_context(|| format!("taking '{}' away", old.target));
                first_wrong = first_wrong.and(gone);
            }
        }
        for ServerPolicy { target, words } in &policies {
            let set = self.set_policy(&format!("{target} {words}"));
            let set = set.with_context(|| format!("'close' of server {target}"));
            first_wrong = first_wrong.and(set.map(drop));
        }
        // One that could not be set has an older one under its name, or none: it is still for the
        // next reload to take away.
        self.configured = policies;
        first_wrong
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

/// What a rule for a server covers.
pub(super) fn scope(labels: &Labels, backend: Option<&str>, server: &str) -> Scope {
    match labels.called(backend, server) {
        Called::Numbers(numbers) => {
            let classes = [CLASS_TRAFFIC, CLASS_CHECK, CLASS_TUNNEL];
            let stated = |number| classes.map(|class| (number, class));
            Scope { stated: numbers.into_iter().flat_map(stated).collect(), ..Scope::default() }
        }
        Called::Ends(ends) => {
            Scope { peers: ends.iter().map(Covered::one).collect(), ..Scope::default() }
        }
    }
}

fn unable() -> BookError {
    BookError::Wrong("this source of closes cannot change them".to_owned())
}
