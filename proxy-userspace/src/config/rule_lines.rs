//! `acl`, `use_backend`, `http-request` and `http-response` lines.

use super::args::Args;
use super::model::{Proxy, UseBackend};

pub(super) fn acl(args: &mut Args<'_>, _to: &mut Proxy) {
    args.wrong("rules are not read yet");
}

/// Reads a `use_backend` line, its first word taken.
pub(super) fn use_backend(args: &mut Args<'_>, to: &mut Proxy) {
    let Some(name) = args.need("use_backend", "a backend's name") else { return };
    to.use_backends.push(UseBackend { name: name.to_owned(), at: args.last() });
}

pub(super) fn http_request(args: &mut Args<'_>, _to: &mut Proxy) {
    args.wrong("rules are not read yet");
}

pub(super) fn http_response(args: &mut Args<'_>, _to: &mut Proxy) {
    args.wrong("rules are not read yet");
}
