//! A request's cookies: whom they name, and what the server is to see of them.

use super::fields::{Change, Fate, each};
use super::pairs::{Cuts, pairs};
use super::{Choice, Cookie, Mode, Presented, date, own_value};
use crate::http::capture::CookieCapture;
use crate::http::hooks::{Edit, Request};
use crate::http::live::{Backend, Server};
use std::sync::Arc;

/// Who asks for a request's cookies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The backend, and its `cookie`.
    pub(crate) backend: Option<(&'a Backend, &'a Cookie)>,
    /// The frontend's `capture cookie`.
    pub(crate) capture: Option<&'a CookieCapture>,
}

impl Asker<'_> {
    /// Looks at a request's cookies as the rules have left them.
    pub(crate) fn look(
        self,
        request: &Request<'_>,
        edits: &mut Vec<Edit>,
        choice: &mut Choice,
        captured: &mut Option<Vec<u8>>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.backend.is_some() || self.capture.is_some() {
            each(request.fields, edits, "cookie", &mut changes, &mut |value| {
                field(self, value, choice, captured)
            });
        }
        changes
    }
}

/// Looks at one field.
fn field(
    asker: Asker<'_>,
    value: &[u8],
    choice: &mut Choice,
    captured: &mut Option<Vec<u8>>,
) -> Fate {
    let mut cuts = Cuts::new(value);
    // Where the cookies begin that servers are not to see, and whether there is anything else.
    let (mut hidden, mut others) = (None, false);
    for pair in pairs(value, b",;", |pair| pair.end) {
        let name = &value[pair.name.clone()];
        // What belongs to the cookie before it (RFC 2109, 4.4).
        if name.starts_with(b"$") {
            continue;
        }
        let Some(range) = pair.value.clone() else {
            others = true;
            cuts.keep(&mut hidden, &pair);
            continue;
        };
        if let Some(capture) = asker.capture {
            capture.take(captured, name, &value[range.clone()]);
        }
        let Some((backend, cookie)) = asker.backend.filter(|of| of.1.name.as_bytes() == name)
        else {
            others = true;
            cuts.keep(&mut hidden, &pair);
            cuts.tighten(&pair);
            continue;
        };
        let own = &value[range.clone()];
        let id = choose(backend, cookie, own, choice);
        if cookie.mode == Mode::Prefix && id < own.len() {
            cuts.tighten(&pair);
            cuts.replace(range.start..range.start + id + 1, b"");
        } else if cookie.mode == Mode::Insert && cookie.indirect {
            hidden.get_or_insert(pair.from);
        } else {
            cuts.tighten(&pair);
        }
    }
    match hidden {
        Some(_) if !others => Fate::Goes,
        Some(from) => Fate::of(cuts.finish(from)),
        None => Fate::of(cuts.finish(value.len())),
    }
}

/// Chooses the server that the cookie names; says how long that one's part of the value is.
fn choose(backend: &Backend, cookie: &Cookie, value: &[u8], choice: &mut Choice) -> usize {
    let delimiter = if cookie.mode == Mode::Prefix { b'~' } else { b'|' };
    let length = value.iter().position(|byte| *byte == delimiter).unwrap_or(value.len());
    if let Some(dates) = value.get(length + 1..).filter(|_| cookie.mode != Mode::Prefix) {
        let bar = dates.iter().position(|byte| *byte == b'|');
        choice.last = date::read(dates).or(choice.last);
        choice.first = bar.and_then(|bar| date::read(&dates[bar + 1..])).or(choice.first);
    }
    let mut id = &value[..length];
    if let Some(late) = is_late(cookie, choice) {
        (choice.presented, choice.first, choice.last) = (late, None, None);
        id = b"";
    }
    let is_passed_over = choice.is_ignored() || choice.server.is_some();
    // An empty one would lead to servers that have none.
    if !id.is_empty() && !is_passed_over {
        let persists = backend.settings.persist || choice.is_forced();
        let named =
            |server: &&Arc<Server>| own_value(server).is_some_and(|own| own.as_bytes() == id);
        // Several servers may share one.
        for server in backend.servers.iter().filter(named) {
            let runs = server.is_running();
            choice.presented = if runs { Presented::Valid } else { Presented::Down };
            if runs || persists {
                choice.server = Some(server.index);
                break;
            }
        }
    }
    if choice.presented == Presented::None {
        choice.presented = if is_passed_over { Presented::Unused } else { Presented::Invalid };
    }
    length
}

/// Whether the cookie is too old, or was not used for too long; one from the future, by more than a
/// day, is both.
fn is_late(cookie: &Cookie, choice: &Choice) -> Option<Presented> {
    const DAY: i64 = 86_400;
    let late = |date: Option<u32>, most: u32| {
        date.filter(|_| most > 0).is_some_and(|date| {
            let age = i64::from(date::now()) - i64::from(date);
            age > i64::from(most) || -age > DAY
        })
    };
    if late(choice.first, cookie.max_life) {
        Some(Presented::Old)
    } else if late(choice.last, cookie.max_idle) {
        Some(Presented::Expired)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::balance::{Algorithm, Balance, Hashing};
    use crate::http::live::Proxies;
    use crate::http::settings::{self, Settings};
    use std::net::SocketAddr;

    fn proxies() -> Proxies {
        let balance = Balance::new(Algorithm::RoundRobin, Hashing::default(), 1);
        let mut backend = settings::Backend::new("b", Arc::new(balance));
        let address = SocketAddr::from(([127, 0, 0, 1], 80)).into();
        let server = settings::Server::new("s", address);
        backend.servers = vec![settings::Server { cookie: Some("B".into()), ..server }];
        let settings = Settings { backends: vec![backend], ..Settings::default() };
        Proxies::new(settings, 1, Arc::default())
    }

    /// A field as a server sees it; none where it is left out.
    fn seen(mode: Mode, text: &str) -> (Option<String>, Choice, Option<Vec<u8>>) {
        let proxies = proxies();
        let cookie = Cookie { name: "S".into(), mode, indirect: true, ..Cookie::default() };
        let capture = CookieCapture { begins: b"A=".into(), length: 9 };
        let asker =
            Asker { backend: Some((&proxies.backends[0], &cookie)), capture: Some(&capture) };
        let (mut choice, mut captured) = (Choice::default(), None);
        let fate = field(asker, text.as_bytes(), &mut choice, &mut captured);
        let value = match fate {
            Fate::Stays => Some(text.to_owned()),
            Fate::Becomes(value) => Some(String::from_utf8_lossy(&value).into_owned()),
            Fate::Goes => None,
        };
        (value, choice, captured)
    }

    /// As HAProxy 2.6.12 does; the test `persistence` asks it of many more.
    #[test]
    fn a_cookie_is_taken_out_with_what_belongs_to_it() {
        for (field, left) in [
            ("S=B", None),
            ("A=1; S=B ; C=2", Some("A=1; C=2")),
            ("S=B; $Path=/; A=1", Some("A=1")),
            ("A=1 ; S=B", Some("A=1 ")),
            ("A = 1", Some("A=1")),
            ("A; S=x", Some("A")),
        ] {
            assert_eq!(seen(Mode::Insert, field).0.as_deref(), left, "{field}");
        }
        let (value, choice, captured) = seen(Mode::Prefix, "S=B~x; A=\"1;2\"");
        assert_eq!(value.as_deref(), Some("S=x; A=\"1;2\""));
        assert_eq!((choice.server, choice.letters().0), (Some(0), *b"VN"));
        assert_eq!(captured.as_deref(), Some(&b"A=\"1;2\""[..]));
    }

    proptest::proptest! {
        /// Whatever a field is, nothing of it is left that is not to be seen, and all else is.
        #[test]
        fn only_what_is_not_to_be_seen_goes(text in "[SAB=;,|~ \"$\\\\]{0,24}") {
            for mode in [Mode::Passive, Mode::Rewrite, Mode::Insert, Mode::Prefix] {
                let (left, choice, _) = seen(mode, &text);
                let left = left.unwrap_or_default();
                let of = |text: &str, byte| text.bytes().filter(|other| *other == byte).count();
                if choice.presented == Presented::None {
                    let bare = |text: &str| text.replace(' ', "");
                    proptest::prop_assert_eq!(bare(&left), bare(&text));
                }
                proptest::prop_assert!(of(&left, b'A') <= of(&text, b'A'));
                if mode == Mode::Insert {
                    let again = seen(mode, &left).1;
                    proptest::prop_assert_eq!(again.presented, Presented::None);
                }
            }
        }
    }
}
