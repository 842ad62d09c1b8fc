//! What of messages is kept for the log: `capture request header`, `capture response header`,
//! `capture cookie`.

use httparse::Header;

/// The `capture` lines of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// `capture request header`, in order.
    pub request: Vec<FieldCapture>,
    /// `capture response header`, in order.
    pub response: Vec<FieldCapture>,
    /// `capture cookie`.
    pub cookie: Option<CookieCapture>,
}

/// A field whose last value is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldCapture {
    /// Its name.
    pub name: String,
    /// So much of it, at most.
    pub length: usize,
}

/// A cookie that is kept, of the client's and of the server's the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieCapture {
    /// What it begins with: its name, or only a part of that; with the `=` the whole name.
    pub begins: Vec<u8>,
    /// So much of it, name and all, at most.
    pub length: usize,
}

/// What was kept of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Of each field that is wanted; none where it has none.
    pub fields: Vec<Option<Vec<u8>>>,
    /// The cookie, as `name=value`.
    pub cookie: Option<Vec<u8>>,
}

/// Nothing.
pub(crate) static NOTHING: Captured = Captured { fields: Vec::new(), cookie: None };

impl Captured {
    /// Keeps what is wanted of a message's fields as they came.
    pub(crate) fn of(wanted: &[FieldCapture], fields: &[Header<'_>]) -> Self {
        let kept = |wanted: &FieldCapture| {
            let field =
                fields.iter().rfind(|field| field.name.eq_ignore_ascii_case(&wanted.name))?;
            Some(field.value[..field.value.len().min(wanted.length)].to_vec())
        };
        Self { fields: wanted.iter().map(kept).collect(), cookie: None }
    }
}

impl CookieCapture {
    /// Keeps a cookie if it is wanted and the first.
    pub(crate) fn take(&self, captured: &mut Option<Vec<u8>>, name: &[u8], value: &[u8]) {
        let whole = || name.iter().chain(b"=").chain(value);
        if captured.is_none() && whole().take(self.begins.len()).eq(&self.begins) {
            *captured = Some(whole().take(self.length).copied().collect());
        }
    }
}
