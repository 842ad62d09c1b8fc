//! Words of which pages consist that take the place of the proxy's own: a status, and a file.

use super::args::Args;
use crate::host;
use crate::http::reply;
use std::sync::Arc;

/// The statuses that have a page, for messages.
pub(super) fn statuses() -> String {
    reply::statuses().map(|status| status.to_string()).collect::<Vec<_>>().join(", ")
}

/// Takes a file that is a whole response.
pub(super) fn file(args: &mut Args<'_>, directive: &str) -> Option<Arc<[u8]>> {
    let path = args.need(directive, "a file")?;
    match host::file(path.as_ref()) {
        Ok(text) => match reply::check_file(&text) {
            Ok(()) => return Some(text.into()),
            Err(why) => args.wrong(format!("'{directive}': {path}: {why}")),
        },
        Err(why) => args.wrong(format!("'{directive}': cannot read {path}: {why}")),
    }
    None
}

/// Takes a status that has a page.
pub(super) fn status(args: &mut Args<'_>, directive: &str, what: &str) -> Option<u16> {
    let code = args.need(directive, what)?;
    let known = code.parse().ok().filter(|&code| reply::statuses().any(|status| status == code));
    if known.is_none() {
        let list = statuses();
        args.wrong(format!("'{directive}' expects one of the status codes {list}, not '{code}'"));
        args.skip(args.line.words.len());
    }
    known
}
