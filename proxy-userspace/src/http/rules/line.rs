//! Request lines by rule: `set-method`, `set-path`, `replace-path` and their kin.

use super::replace::{Replace, own_values};
use crate::http::authority;
use crate::http::edit;
use crate::http::encode;
use crate::http::format::Format;
use crate::http::framing::{Asked, is_token};
use crate::http::hooks::{Edit, Request};
use crate::http::sample::{Message, View, each_value, path_and_query};
use std::sync::Arc;

/// A part of a request's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The path, without its query.
    Path,
    /// Path and query.
    PathAndQuery,
    /// The query, without its question mark.
    Query,
    /// All of it.
    Uri,
}

/// A change to a request's line.
#[derive(Clone, Debug)]
pub enum LineEdit {
    /// `set-method`.
    Method(Format),
    /// `set-path`, `set-pathq`, `set-query`, `set-uri`.
    Set(Part, Format),
    /// `replace-path`, `replace-pathq`, `replace-uri`.
    Replace(Part, Replace),
}

/// What a rule wants to write cannot stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit;

impl LineEdit {
    /// What it changes; nothing where a regular expression does not match.
    ///
    /// # Errors
    /// What would come of it is no request line, or would change where the messages end.
    pub fn changes(&self, view: &View<'_>) -> Result<Vec<Edit>, Misfit> {
        let Some(request) = view.rewritten() else { return Ok(Vec::new()) };
        let (part, target) = match self {
            Self::Method(to) => {
                let method = method(request.method, to.fill(view))?;
                // `OPTIONS *` cannot become `GET *`.
                authority::named(&method, request.target).map_err(|_| Misfit)?;
                return Ok(vec![Edit::Method(method)]);
            }
            Self::Set(part, to) => (*part, put(request.target, *part, &to.fill(view))),
            Self::Replace(part, replace) => {
                let subject = taken(&request, *part);
                let Some(to) = subject.and_then(|text| replace.apply(text.as_bytes(), view)) else {
                    return Ok(Vec::new());
                };
                (*part, put(request.target, *part, &to))
            }
        };
        let method = edit::method(request.method, view.edits);
        let named = authority::named(method, &target).map_err(|_| Misfit)?;
        // The server may go by either of the two, where both are there.
        let has_host = || each_value(view, Message::Request, "host", true, &mut |_| true);
        let named = named.filter(|_| part == Part::Uri && has_host());
        let host = named.map(|(host, _)| Edit::Values {
            name: Arc::from("Host"),
            kept: own_values(view, "host"),
            values: vec![host.as_bytes().to_vec()],
        });
        Ok([Edit::Target(target)].into_iter().chain(host).collect())
    }
}

/// What a change to a field changes of the target: one to Host the authority, where it names one, as a
/// server goes by that (RFC 9112, 3.2.2).
///
/// # Errors
/// The target cannot name it.
pub(super) fn target_for(edit: &Edit, view: &View<'_>) -> Result<Option<Edit>, Misfit> {
    let host = match edit {
        Edit::Set(name, value) | Edit::Add(name, value) => is_host(name).then_some(value),
        Edit::Values { name, values, .. } if is_host(name) => values.last(),
        _ => None,
    };
    let Some((host, request)) = host.zip(view.rewritten()) else { return Ok(None) };
    let method = edit::method(request.method, view.edits);
    let all = (method == "CONNECT").then_some(0..request.target.len());
    let place = all.or_else(|| authority::place(request.target));
    let Some(place) = place else { return Ok(None) };
    let host = str::from_utf8(host).map_err(|_| Misfit)?;
    let target = [&request.target[..place.start], host, &request.target[place.end..]].concat();
    // All of it is the authority, and nothing of it a path.
    let named = authority::named(method, &target).map_err(|_| Misfit)?;
    let fits = named.is_some_and(|(named, _)| named == host);
    if fits { Ok(Some(Edit::Target(target))) } else { Err(Misfit) }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host")
}

/// A method that can take the place of `received`. HEAD and CONNECT say where responses end, and so
/// they neither come nor go.
fn method(received: &str, to: Vec<u8>) -> Result<String, Misfit> {
    let to = String::from_utf8(to).map_err(|_| Misfit)?;
    let fits = is_method(&to) && Asked::of(&to) == Asked::of(received);
    if fits { Ok(to) } else { Err(Misfit) }
}

/// Whether it is a method's name (RFC 9110, 9.1).
pub(crate) fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// What a regular expression looks at; a target that has no path is not looked at for one.
fn taken<'a>(request: &Request<'a>, part: Part) -> Option<&'a str> {
    if part == Part::Uri {
        return Some(request.target);
    }
    let all = path_and_query(request)?;
    match (all.split_once('?'), part) {
        (Some((path, _)), Part::Path) => Some(path),
        (Some((_, query)), Part::Query) => Some(query),
        (None, Part::Query) => None,
        _ => Some(all),
    }
}

/// The target with this for one of its parts.
fn put(target: &str, part: Part, to: &[u8]) -> String {
    let start = authority::place(target).map_or(0, |authority| authority.end);
    let (origin, rest) = target.split_at(start);
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    // What cannot stand in a request line, such as a space, goes encoded.
    let to = encode::percent(to, |byte| byte.is_ascii_graphic() && *byte != b'#');
    let to = String::from_utf8(to).unwrap_or_default();
    match part {
        Part::Path => format!("{origin}{to}{query}"),
        Part::PathAndQuery => format!("{origin}{to}"),
        Part::Query if to.is_empty() && query.is_empty() => target.to_owned(),
        Part::Query => format!("{origin}{path}?{to}"),
        Part::Uri => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_target_take_each_others_places() {
        let cases = [
            ("/a?b", Part::Path, "/x", "/x?b"),
            ("/a", Part::Path, "/x?y", "/x?y"),
            ("/a?b", Part::PathAndQuery, "/x", "/x"),
            ("/a?b", Part::Query, "", "/a?"),
            ("/a", Part::Query, "", "/a"),
            ("/a", Part::Query, "c=d", "/a?c=d"),
            ("/a?b", Part::Uri, "*", "*"),
            ("http://h:1/a?b", Part::Path, "/x", "http://h:1/x?b"),
            ("http://h?b", Part::Path, "/x", "http://h/x?b"),
            ("http://h", Part::Query, "b", "http://h?b"),
            ("/a://b/c", Part::Path, "/x", "/x"),
            ("/a", Part::Path, "/b c\r\n#\u{e9}", "/b%20c%0D%0A%23%C3%A9"),
        ];
        for (target, part, to, whole) in cases {
            assert_eq!(put(target, part, to.as_bytes()), whole, "{target} {part:?} {to}");
        }
    }

    #[test]
    fn a_target_follows_host() {
        let of = |method, target, host: &str| {
            let request =
                Request { method, target, minor: 1, fields: &[], client: None, local: None };
            let view = View { request: Some(&request), ..View::default() };
            target_for(&Edit::Set("hOST".into(), host.into()), &view)
        };
        for (method, target, host, becomes) in [
            ("GET", "/a://b/", "c", None),
            ("OPTIONS", "*", "c", None),
            ("GET", "http://a", "c", Some("http://c")),
            ("GET", "http://a:1?b/c", "c:2", Some("http://c:2?b/c")),
            ("GET", "https://a/b://c", "d", Some("https://d/b://c")),
            ("CONNECT", "a:1", "c:2", Some("c:2")),
        ] {
            let becomes = becomes.map(|target: &str| Edit::Target(target.to_owned()));
            assert_eq!(of(method, target, host), Ok(becomes), "{target} {host}");
        }
        for (method, target, host) in [
            ("GET", "http://a/", "b c"),
            ("GET", "http://a/", "b/c"),
            ("GET", "http://a/", ""),
            ("CONNECT", "a:1", "c"),
        ] {
            assert_eq!(of(method, target, host), Err(Misfit), "{target} {host}");
        }
    }

    #[test]
    fn a_method_fits_the_target() {
        let of = |target| {
            let method = "OPTIONS";
            let request =
                Request { method, target, minor: 1, fields: &[], client: None, local: None };
            let edit = LineEdit::Method(Format::text("GET"));
            edit.changes(&View { request: Some(&request), ..View::default() })
        };
        assert_eq!(of("/"), Ok(vec![Edit::Method("GET".to_owned())]));
        assert_eq!(of("*"), Err(Misfit));
    }

    #[test]
    fn methods_leave_the_framing_alone() {
        let to = |from: &str, to: &str| method(from, to.into()).is_ok();
        assert!(to("GET", "POST") && to("HEAD", "HEAD") && to("x", "PURGE"));
        for (from, wrong) in [
            ("GET", "HEAD"),
            ("HEAD", "GET"),
            ("GET", "CONNECT"),
            ("CONNECT", "GET"),
            ("GET", ""),
            ("GET", "A B"),
            ("GET", "A\r\nB"),
        ] {
            assert!(!to(from, wrong), "{from} {wrong}");
        }
    }
}
