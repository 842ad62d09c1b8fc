//! Zeek's history as a string.

use crate::flow::{Flow, HISTORY_LEN};

/// The letters of a history, upper case for the originator. Empty where nothing was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct History {
    letters: [u8; HISTORY_LEN],
    len: u8,
}

impl History {
    pub(super) fn of(flow: &Flow) -> Self {
        // What comes from a map or a ring buffer is checked once, here.
        let len = flow.history_len.min(HISTORY_LEN as u8);
        let mut letters = flow.history;
        for letter in &mut letters {
            if !letter.is_ascii() {
                *letter = b'?';
            }
        }
        Self { letters, len }
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let letters = self.letters.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(letters).unwrap_or_default()
    }
}

impl core::fmt::Debug for History {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl core::fmt::Display for History {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}
