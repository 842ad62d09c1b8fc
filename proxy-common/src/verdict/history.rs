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
        // What comes from a map, a ring buffer or a recording is checked once, here: letters alone are
        // fit for a terminal, and for JSON.
        let len = flow.history_len.min(HISTORY_LEN as u8);
        let mut letters = flow.history;
        for letter in letters.iter_mut().take(usize::from(len)) {
            if !letter.is_ascii_alphabetic() && *letter != b'^' {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_letter_is_shown_as_none() {
        let mut flow = Flow::new();
        flow.history[..9].copy_from_slice(b"^Sh\n\x1b\"\\\xffF");
        flow.history_len = 9;
        assert_eq!(History::of(&flow).as_str(), "^Sh?????F");
    }
}
