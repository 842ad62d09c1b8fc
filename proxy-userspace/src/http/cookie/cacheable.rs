//! Whether a cache might keep a response (`nocache`), as HAProxy judges it.

use crate::http::hooks::{Edit, Response};
use crate::http::sample::{Message, View, each_value};

/// Whether a cache might keep the response to a request of that method, as the rules have left it.
pub(super) fn is_cacheable(method: &str, response: &Response<'_>, edits: &[Edit]) -> bool {
    let view = View { response: Some(response), edits, ..View::default() };
    let each = |name, full, found: &mut dyn FnMut(&[u8]) -> bool| {
        each_value(&view, Message::Response, name, full, found)
    };
    let has = |name| each(name, false, &mut |_| true);
    let is_safe = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
    let by_default =
        matches!(response.status, 200 | 203 | 204 | 206 | 300 | 301 | 404 | 405 | 410 | 414 | 501);
    let mut may = is_safe && by_default && response.status >= 200;
    let mut no_pragma = true;
    each("pragma", true, &mut |value| {
        no_pragma = !value.eq_ignore_ascii_case(b"no-cache");
        true
    });
    let mut is_fresh = false;
    each("cache-control", false, &mut |value| {
        let value = value.to_ascii_lowercase();
        match value.as_slice() {
            b"public" => may = true,
            b"private" | b"no-cache" | b"no-store" | b"max-age=0" | b"s-maxage=0" => may = false,
            other => is_fresh |= other.starts_with(b"s-maxage") || other.starts_with(b"max-age"),
        }
        false
    });
    let is_known = is_fresh || has("expires") || has("etag") || has("last-modified");
    may && no_pragma && is_known && response.status >= 200
}
