//! `stats` lines of a proxy: the statistics page.

use super::args::Args;
use super::model::Stats;
use crate::near;

/// Reads a `stats` line, its first word taken.
pub(super) fn stats(args: &mut Args<'_>, to: &mut Stats) {
    const KNOWN: [&str; 10] = [
        "auth",
        "enable",
        "hide-version",
        "realm",
        "refresh",
        "scope",
        "show-desc",
        "show-legends",
        "show-node",
        "uri",
    ];
    const OTHERS: [&str; 3] = ["admin", "http-request", "show-modules"];
    let list = KNOWN.join(", ");
    let Some(word) = args.need("stats", &format!("one of {list}")) else { return };
    match word {
        "enable" => {}
        // A bare number counts seconds here.
        "refresh" => to.refresh_ms = args.time_in("stats refresh", 1_000_000),
        "uri" => to.uri = args.need("stats uri", "a path").map(str::to_owned),
        "auth" => {
            let account = args.need("stats auth", "an account such as user:password");
            // Without a colon the password is empty.
            let whole = |account: &str| match account.contains(':') {
                true => account.to_owned(),
                false => format!("{account}:"),
            };
            to.accounts.extend(account.map(whole));
        }
        "scope" => {
            to.scopes.extend(args.need("stats scope", "a proxy's name, or '.'").map(str::to_owned));
        }
        "realm" => to.realm = args.need("stats realm", "a text").map(str::to_owned),
        "show-legends" => to.legends = true,
        "hide-version" => args.moot("stats hide-version", "the page shows no version"),
        "show-node" => {
            args.moot("stats show-node", "the page shows no node's name");
            args.next();
        }
        "show-desc" => {
            args.moot("stats show-desc", "the page shows no description");
            args.rest();
        }
        _ => {
            let message = if OTHERS.contains(&word) {
                format!("'stats {word}' is HAProxy's; teardown has not got it")
            } else {
                let hint = near::hint(word, KNOWN);
                format!("unknown word '{word}' after 'stats', expected one of {list}{hint}")
            };
            args.wrong(message);
            args.skip(args.line.words.len());
            return;
        }
    }
    to.enabled = true;
    args.end("stats");
}
