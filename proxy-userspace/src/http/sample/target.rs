//! The parts of a request's target.

use crate::http::hooks::{self, Request};

/// The path, where there is one: `*` and an authority have none.
pub(super) fn path<'a>(request: &Request<'a>) -> Option<&'a str> {
    Some(request.path()).filter(|path| path.starts_with('/'))
}

/// Behind the question mark.
#[must_use]
pub fn query<'a>(request: &Request<'a>) -> Option<&'a str> {
    let query = request.target.split_once('?')?.1;
    query.split('#').next()
}

/// Path and query, without scheme and authority, where there is a path.
#[must_use]
pub fn path_and_query<'a>(request: &Request<'a>) -> Option<&'a str> {
    let all = hooks::path_and_query(request.target);
    all.split('#').next().filter(|all| all.starts_with('/'))
}

/// The values of the parameters of that name, which `&`, `;` and what they begin with part.
pub(super) fn url_parameters<'a>(
    request: &Request<'a>,
    name: &str,
    delimiter: char,
) -> impl Iterator<Item = &'a str> {
    let target = request.target.split('#').next().unwrap_or_default();
    let pairs = target.split_once(delimiter).map_or("", |(_, pairs)| pairs);
    let pairs = pairs.split(['&', ';', delimiter]);
    pairs.filter_map(move |pair| pair.strip_prefix(name)?.strip_prefix('='))
}
