//! Responses of the configuration, to be filled in: `return`, `http-error`.

use super::{format::Format, hooks::Answer, sample::View};

/// A response of the configuration: `return`, `http-error`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `content-type`.
    pub content_type: Option<String>,
    /// `hdr` fields.
    pub fields: Vec<(String, Format)>,
    /// `string`, `lf-string`, `file`, `lf-file`.
    pub body: Format,
}

impl Reply {
    pub(crate) fn answer(&self, view: &View<'_>) -> Box<Answer> {
        let value = |value: &Format| in_field(value.fill(view));
        let fields = self.fields.iter().map(|(name, format)| (name.clone(), value(format)));
        // As with HAProxy, a field whose sample was not there is left out.
        let fields = fields.filter(|(_, value)| !value.is_empty());
        let body = self.body.fill(view);
        Box::new(Answer {
            status: self.status,
            content_type: self.content_type.clone().filter(|_| !body.is_empty()),
            fields: fields.collect(),
            body,
            stats: false,
            ends_bodies: false,
        })
    }
}

/// A field's value: line ends and NUL, which it cannot have, become spaces (RFC 9110, 5.5).
pub(super) fn in_field(mut value: Vec<u8>) -> Vec<u8> {
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, &value) {
        value[at] = b' ';
    }
    value
}
