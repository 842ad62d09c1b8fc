//! The names of proxies and servers.

use super::Fetch;
use crate::http::event::Session;

/// What one of `fe_name`, `be_name` and `srv_name` gives.
pub(super) fn name(fetch: &Fetch, session: &Session<'_>) -> Option<String> {
    let frontend = &session.frontend.settings.name;
    Some(match fetch {
        Fetch::ServerName => session.server?.settings.name.clone(),
        Fetch::BackendName => session.backend.map_or(frontend, |b| &b.settings.name).clone(),
        _ => frontend.clone(),
    })
}
