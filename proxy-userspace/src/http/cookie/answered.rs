//! A response's cookies: what the server set, and what the proxy sets.

use super::fields::{Change, Fate, each};
use super::pairs::{Cuts, Pair, pairs, stop};
use super::{Choice, Cookie, Done, Mode, cacheable, date};
use crate::http::capture::CookieCapture;
use crate::http::hooks::{Edit, Response};

/// Where a response comes from, and who asks for its cookies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answerer<'a> {
    /// The backend's `cookie`.
    pub(crate) cookie: Option<&'a Cookie>,
    /// The server's own value of it.
    pub(crate) id: Option<&'a str>,
    /// The frontend's `capture cookie`.
    pub(crate) capture: Option<&'a CookieCapture>,
    /// The request's method.
    pub(crate) method: &'a str,
}

impl Answerer<'_> {
    /// Looks at a response's cookies as the rules have left them, and adds the proxy's own.
    pub(crate) fn look(
        self,
        response: &Response<'_>,
        edits: &mut Vec<Edit>,
        choice: &mut Choice,
        captured: &mut Option<Vec<u8>>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.cookie.is_none() && self.capture.is_none() {
            return changes;
        }
        // Of the older kind (RFC 2965) a field may hold several.
        for (name, several) in [("set-cookie", false), ("set-cookie2", true)] {
            each(response.fields, edits, name, &mut changes, &mut |value| {
                field(self, value, several, choice, captured)
            });
        }
        if let Some(cookie) = self.cookie.filter(|cookie| is_due(cookie, self.method, choice)) {
            let private = cookie.no_cache && cacheable::is_cacheable(self.method, response, edits);
            edits.push(Edit::Add("set-cookie".into(), made(cookie, self.id, choice)));
            if private {
                edits.push(Edit::Add("cache-control".into(), b"private".to_vec()));
            }
            // Where the server is the client's own, only the date is new.
            let is_same = self.id.is_some() && choice.server.is_some();
            choice.done = if is_same { Done::Updated } else { Done::Inserted };
        }
        changes
    }
}

/// Looks at one field.
fn field(
    answerer: Answerer<'_>,
    value: &[u8],
    several: bool,
    choice: &mut Choice,
    captured: &mut Option<Vec<u8>>,
) -> Fate {
    let stops: &[u8] = if several { b",;" } else { b";" };
    let end = move |pair: &Pair| if several { stop(value, pair.end, b",") } else { value.len() };
    let mut cuts = Cuts::new(value);
    // Where the cookies begin that the client is not to see.
    let mut hidden = None;
    for pair in pairs(value, stops, end) {
        let Some(range) = pair.value.clone() else {
            cuts.keep(&mut hidden, &pair);
            continue;
        };
        let name = &value[pair.name.clone()];
        if let Some(capture) = answerer.capture {
            capture.take(captured, name, &value[range.clone()]);
        }
        let is_own = |cookie: &&Cookie| cookie.name.as_bytes() == name && !choice.is_ignored();
        let Some(cookie) = answerer.cookie.filter(is_own) else {
            cuts.keep(&mut hidden, &pair);
            cuts.tighten(&pair);
            continue;
        };
        choice.done = Done::Provided;
        let is_hidden = cookie.indirect && choice.server.is_some();
        if !cookie.preserve && (cookie.mode == Mode::Insert || is_hidden) {
            choice.done = Done::Deleted;
            hidden.get_or_insert(pair.from);
            continue;
        }
        cuts.tighten(&pair);
        match (cookie.mode, answerer.id) {
            _ if cookie.preserve => {}
            (Mode::Rewrite, Some(id)) => {
                cuts.replace(range, id.as_bytes());
                choice.done = Done::Rewritten;
            }
            (Mode::Prefix, Some(id)) => {
                cuts.replace(range.start..range.start, format!("{id}~").as_bytes());
                choice.done = Done::Rewritten;
            }
            _ => {}
        }
    }
    Fate::of(cuts.finish(hidden.unwrap_or(value.len())))
}

/// Whether the proxy sets the cookie: the client has not that of this server, or its dates are old.
fn is_due(cookie: &Cookie, method: &str, choice: &Choice) -> bool {
    let leaves = (cookie.preserve && choice.done == Done::Provided)
        || (cookie.post_only && method != "POST")
        || choice.is_ignored();
    let is_stale = || {
        let dated = cookie.max_idle > 0 || choice.last.is_some();
        (dated && choice.last.is_none_or(|last| last < date::now()))
            || (cookie.max_life > 0) != choice.first.is_some()
    };
    cookie.mode == Mode::Insert && !leaves && (choice.server.is_none() || is_stale())
}

/// The Set-Cookie of the server whose cookie is `id`; where it has none, the client forgets its own.
fn made(cookie: &Cookie, id: Option<&str>, choice: &Choice) -> Vec<u8> {
    let mut out = format!("{}={}", cookie.name, id.unwrap_or_default()).into_bytes();
    if id.is_none() {
        out.extend_from_slice(b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT");
    } else if cookie.max_idle > 0 || cookie.max_life > 0 {
        let now = date::now();
        out.push(b'|');
        date::write(&mut out, now);
        if cookie.max_life > 0 {
            out.push(b'|');
            date::write(&mut out, choice.first.unwrap_or(now));
        }
    }
    out.extend_from_slice(b"; path=/");
    out.extend_from_slice(cookie.attributes.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of these HAProxy 2.6.12 leaves parts behind.
    #[test]
    fn of_several_cookies_in_a_field_one_is_taken_out_whole() {
        let cookie = Cookie { name: "S".into(), mode: Mode::Insert, ..Cookie::default() };
        let (id, capture, method) = (Some("B"), None, "GET");
        let answerer = Answerer { cookie: Some(&cookie), id, capture, method };
        for (text, left) in [
            ("A=1; x=y, S=own; z=\"a,b\", B=2", "A=1; x=y, B=2"),
            ("S=own, B=2", "B=2"),
            ("A=1,S=own", "A=1"),
            ("S = own , S=x, B = 2", "B=2"),
        ] {
            let (mut choice, mut captured) = (Choice::default(), None);
            let fate = field(answerer, text.as_bytes(), true, &mut choice, &mut captured);
            assert_eq!(fate, Fate::Becomes(left.into()), "{text}");
            assert_eq!(choice.letters().0, *b"ND");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_field_panics(text in "[SAB=;,|~ \"$\\\\]{0,24}") {
            for mode in [Mode::Passive, Mode::Rewrite, Mode::Insert, Mode::Prefix] {
                let cookie = Cookie { name: "S".into(), mode, ..Cookie::default() };
                let capture = CookieCapture { begins: b"A=".into(), length: 9 };
                let answerer = Answerer {
                    cookie: Some(&cookie),
                    id: Some("B"),
                    capture: Some(&capture),
                    method: "GET",
                };
                for several in [false, true] {
                    let (mut choice, mut captured) = (Choice::default(), None);
                    let fate = field(answerer, text.as_bytes(), several, &mut choice, &mut captured);
                    if choice.done == Done::Deleted {
                        proptest::prop_assert_ne!(fate, Fate::Stays);
                    }
                }
            }
        }
    }
}
