//! The statistics page that a proxy serves itself.

use crate::admin::proxy::Control;
use crate::http::hooks::{Answer, Request};
use crate::http::rules::Page;
use std::sync::{Arc, OnceLock};

/// `stats uri`: the page; with `;csv`, `;json` or `;typed` behind it the numbers. With `;up` and
/// `;no-maint` some servers are left out, and with `;norefresh` the page stays as it is.
pub(super) struct StatsPage {
    /// `stats uri`.
    pub(super) uri: String,
    /// `stats refresh`.
    pub(super) refresh_ms: Option<u32>,
    /// What it shows, once there is something.
    pub(super) of: Arc<OnceLock<Arc<Control>>>,
}

impl std::fmt::Debug for StatsPage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("StatsPage").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Page for StatsPage {
    fn answer(&self, request: &Request<'_>) -> Option<Answer> {
        let rest = request.target.strip_prefix(self.uri.as_str())?;
        if !matches!(request.method, "GET" | "HEAD") {
            return None;
        }
        let said = |word: &str| rest.split(';').skip(1).any(|part| part.starts_with(word));
        let words = ["json", "typed", "csv", "up", "no-maint"];
        let words: Vec<&str> = words.into_iter().filter(|word| said(word)).collect();
        let content_type = match words.first() {
            Some(&"json") => "application/json",
            Some(&("typed" | "csv")) => "text/plain",
            _ => "text/html",
        };
        let control = self.of.get()?;
        let mut fields = vec![("Cache-Control".to_owned(), b"no-cache".to_vec())];
        if let Some(ms) = self.refresh_ms.filter(|_| !said("norefresh")) {
            fields.push(("Refresh".to_owned(), (ms / 1_000).to_string().into_bytes()));
        }
        Some(Answer {
            status: 200,
            content_type: Some(content_type.to_owned()),
            fields,
            body: control.table(&words).into_bytes(),
            stats: true,
            ends_bodies: false,
        })
    }
}
