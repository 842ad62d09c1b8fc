//! `redirect`, as a rule and as a line of its own.

use crate::http::format::Format;
use crate::http::hooks::Answer;
use crate::http::reply_template::in_field;
use crate::http::sample::{View, first_host, path_and_query};

/// `redirect`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where to.
    pub to: RedirectTo,
    /// `drop-query`.
    pub drop_query: bool,
    /// `append-slash`.
    pub append_slash: bool,
    /// `ignore-empty`: no redirect to nowhere.
    pub ignore_empty: bool,
    /// `set-cookie` and `clear-cookie`: the field's value.
    pub cookie: Option<String>,
}

/// How the new location is made.
#[derive(Clone, Debug)]
pub enum RedirectTo {
    /// `location`: this.
    Location(Format),
    /// `prefix`: this, then path and query.
    Prefix(Format),
    /// `scheme`: this, `://`, the Host, path and query.
    Scheme(Format),
}

impl Redirect {
    /// None where the location is empty and `ignore-empty` is set.
    pub(super) fn answer(&self, view: &View<'_>) -> Option<Box<Answer>> {
        let mut location = Vec::new();
        match &self.to {
            RedirectTo::Location(to) => location = to.fill(view),
            RedirectTo::Prefix(to) => {
                let prefix = to.fill(view);
                if prefix != b"/" {
                    location = prefix;
                }
                self.append_uri(view, &mut location);
            }
            RedirectTo::Scheme(to) => {
                location = to.fill(view);
                location.extend_from_slice(b"://");
                first_host(view, &mut location);
                self.append_uri(view, &mut location);
            }
        }
        if self.ignore_empty && location.is_empty() {
            return None;
        }
        let mut fields = vec![("location".to_owned(), in_field(location))];
        if matches!(self.status, 302 | 303 | 307) {
            fields.push(("cache-control".to_owned(), b"no-cache".to_vec()));
        }
        if let Some(cookie) = &self.cookie {
            fields.push(("set-cookie".to_owned(), cookie.clone().into_bytes()));
        }
        let status = self.status;
        Some(Box::new(Answer { status, fields, ends_bodies: true, ..Answer::default() }))
    }

    fn append_uri(&self, view: &View<'_>, location: &mut Vec<u8>) {
        let Some(request) = view.rewritten() else { return };
        let Some(all) = path_and_query(&request) else { return location.push(b'/') };
        let uri = if self.drop_query { request.path() } else { all };
        location.extend_from_slice(uri.as_bytes());
        if self.append_slash && !uri.ends_with('/') {
            location.push(b'/');
        }
    }
}
