//! The statistics page that a proxy serves itself.

use crate::admin::proxy::Control;
use crate::config::model::Stats;
use crate::http::encode;
use crate::http::hooks::{Answer, Request};
use crate::http::reply;
use crate::http::rules::Page;
use std::sync::{Arc, OnceLock};

/// `stats uri`: the page; with `;csv`, `;json` or `;typed` behind it the numbers. With `;up` and
/// `;no-maint` some servers are left out, and with `;norefresh` the page stays as it is.
pub(super) struct StatsPage {
    /// `stats uri`.
    uri: String,
    /// `stats refresh`.
    refresh_ms: Option<u32>,
    /// `stats auth`: what a browser says of itself for each account, encoded.
    accounts: Vec<String>,
    /// `stats realm`.
    realm: String,
    /// `stats show-legends`.
    legends: bool,
    /// `stats scope`: names of proxies.
    scopes: Vec<String>,
    /// What it shows, soon after the workers begin.
    of: Arc<OnceLock<Arc<Control>>>,
}

impl std::fmt::Debug for StatsPage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("StatsPage").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl StatsPage {
    /// The page that the proxy of that name serves.
    pub(super) fn new(name: &str, stats: &Stats, of: Arc<OnceLock<Arc<Control>>>) -> Self {
        let scope = |scope: &String| if scope == "." { name.to_owned() } else { scope.clone() };
        Self {
            uri: stats.uri.clone().unwrap_or_else(|| "/haproxy?stats".to_owned()),
            refresh_ms: stats.refresh_ms,
            accounts: stats
                .accounts
                .iter()
                .map(|account| encode::base64(account.as_bytes(), false))
                .collect(),
            realm: stats.realm.clone().unwrap_or_else(|| "HAProxy Statistics".to_owned()),
            legends: stats.legends,
            scopes: stats.scopes.iter().map(scope).collect(),
            of,
        }
    }

    /// Whether who asks may see it (RFC 7617).
    fn admits(&self, request: &Request<'_>) -> bool {
        let known = |value: &[u8]| {
            let (scheme, said) = value.split_at_checked("Basic ".len())?;
            let is_basic = scheme.eq_ignore_ascii_case(b"Basic ");
            let said = said.trim_ascii();
            (is_basic && self.accounts.iter().any(|account| account.as_bytes() == said))
                .then_some(())
        };
        self.accounts.is_empty() || request.values("authorization").any(|it| known(it).is_some())
    }
}

impl Page for StatsPage {
    fn answer(&self, request: &Request<'_>) -> Option<Answer> {
        let rest = request.target.strip_prefix(self.uri.as_str())?;
        if !matches!(request.method, "GET" | "HEAD") {
            return None;
        }
        let no_cache = ("Cache-Control".to_owned(), b"no-cache".to_vec());
        if !self.admits(request) {
            let realm = self.realm.replace('\\', "\\\\").replace('"', "\\\"");
            let challenge = format!("Basic realm=\"{realm}\"").into_bytes();
            return Some(Answer {
                status: 401,
                content_type: Some("text/html".to_owned()),
                fields: vec![no_cache, ("WWW-Authenticate".to_owned(), challenge)],
                body: reply::page(401).into_bytes(),
                stats: true,
                ends_bodies: false,
            });
        }
        let said = |word: &str| rest.split(';').skip(1).any(|part| part.starts_with(word));
        let words = ["json", "typed", "csv", "up", "no-maint"];
        let words: Vec<&str> = words.into_iter().filter(|word| said(word)).collect();
        let content_type = match words.first() {
            Some(&"json") => "application/json",
            Some(&("typed" | "csv")) => "text/plain",
            _ => "text/html",
        };
        // Who asked before the workers began may be served before there is something to show: that is
        // there in a moment.
        let control = self.of.wait();
        let mut fields = vec![no_cache];
        if let Some(ms) = self.refresh_ms.filter(|_| !said("norefresh")) {
            fields.push(("Refresh".to_owned(), (ms / 1_000).to_string().into_bytes()));
        }
        Some(Answer {
            status: 200,
            content_type: Some(content_type.to_owned()),
            fields,
            body: control.table(&words, self.legends, &self.scopes).into_bytes(),
            stats: true,
            ends_bodies: false,
        })
    }
}
