//! What of messages is kept for the log: `capture request header`, `capture response header`,
//! `capture cookie`, and what rules keep (`http-request capture`).

use httparse::Header;

use super::{edit::Edit, sample::Message};

/// The `capture` lines of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// Of requests, in order.
    pub request: Vec<Slot>,
    /// Of responses, in order.
    pub response: Vec<Slot>,
    /// `capture cookie`.
    pub cookie: Option<CookieCapture>,
}

/// A place for one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The field whose last value is kept there; none where rules alone put something there (`declare
    /// capture`).
    pub name: Option<String>,
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
    /// What is in each slot, if anything.
    pub fields: Vec<Option<Vec<u8>>>,
    /// The cookie, as `name=value`.
    pub cookie: Option<Vec<u8>>,
}

/// Nothing.
pub(crate) static NOTHING: Captured = Captured { fields: Vec::new(), cookie: None };

impl Captured {
    /// Keeps what is wanted of a message's fields as they came.
    pub(crate) fn of(wanted: &[Slot], fields: &[Header<'_>]) -> Self {
        let kept = |wanted: &Slot| {
            let name = wanted.name.as_ref()?;
            let field = fields.iter().rfind(|field| field.name.eq_ignore_ascii_case(name))?;
            Some(field.value[..field.value.len().min(wanted.length)].to_vec())
        };
        Self { fields: wanted.iter().map(kept).collect(), cookie: None }
    }

    /// Keeps what rules have put into the slots of this message; one that nobody has is none.
    pub(crate) fn keep(&mut self, of: Message, slots: &[Slot], edits: &[Edit]) {
        for edit in edits {
            if let Edit::Capture(message, at, text) = edit
                && *message == of
                && let Some((slot, kept)) = slots.get(*at).zip(self.fields.get_mut(*at))
            {
                *kept = Some(text[..text.len().min(slot.length)].to_vec());
            }
        }
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
