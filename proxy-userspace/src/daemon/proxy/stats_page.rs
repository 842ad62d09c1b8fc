//! The statistics page that a proxy serves itself.

use crate::admin::proxy::Control;
use crate::http::hooks::{Answer, Request};
use crate::http::rules::Page;
use std::sync::{Arc, OnceLock};

/// `stats uri`: the page, and with `;csv` behind it the numbers.
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
        let csv = rest.contains(";csv");
        let control = self.of.get()?;
        let mut fields = vec![("Cache-Control".to_owned(), b"no-cache".to_vec())];
        if let Some(ms) = self.refresh_ms.filter(|_| !csv) {
            fields.push(("Refresh".to_owned(), (ms / 1_000).to_string().into_bytes()));
        }
        Some(Answer {
            status: 200,
            content_type: Some(if csv { "text/plain" } else { "text/html" }.to_owned()),
            fields,
            body: control.table(csv).into_bytes(),
            stats: true,
        })
    }
}
