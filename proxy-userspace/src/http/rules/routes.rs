//! Where requests go by rule: `use_backend` and `use-server`.

use crate::http::acl::Condition;
use crate::http::hooks;
use crate::http::live;
use crate::http::sample::View;

/// `use_backend` rules of one frontend.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The backend's index, none where it is disabled, and when it is used, in order.
    pub rules: Vec<(Option<usize>, Option<Condition>)>,
}

impl hooks::Route for Routes {
    fn backend(&self, view: &View<'_>) -> Option<Option<usize>> {
        let applies = |condition: &Option<Condition>| {
            condition.as_ref().is_none_or(|condition| condition.holds(view))
        };
        self.rules.iter().find(|rule| applies(&rule.1)).map(|rule| rule.0)
    }
}

/// `use-server` rules of one backend.
#[derive(Clone, Debug, Default)]
pub struct UseServer {
    /// The server's index, and when it is used, in order.
    pub rules: Vec<(usize, Option<Condition>)>,
}

impl hooks::ServerRules for UseServer {
    fn server(&self, backend: &live::Backend, view: &View<'_>) -> Option<usize> {
        let applies = |(server, condition): &&(usize, Option<Condition>)| {
            backend
                .servers
                .get(*server)
                .is_some_and(|server| server.is_running() || backend.settings.persist)
                && condition.as_ref().is_none_or(|condition| condition.holds(view))
        };
        self.rules.iter().find(applies).map(|rule| rule.0)
    }
}
