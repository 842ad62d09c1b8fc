//! The last closes, kept as they came: naming and printing them costs only who asks.

use super::joined::Joined;
use super::stated::Note;
use proxy_common::abi::CloseRecord;
use std::collections::VecDeque;

/// How many are kept: two thirds of a megabyte.
pub(super) const KEPT: usize = 1_000;

/// A ring of closes.
#[derive(Debug)]
pub(super) struct Recent(VecDeque<Joined>);

impl Default for Recent {
    fn default() -> Self {
        Self(VecDeque::with_capacity(KEPT))
    }
}

impl Recent {
    pub(super) fn push(&mut self, record: &CloseRecord, note: Option<Note>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Joined { record: *record, note });
    }

    /// The newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Joined> {
        self.0.iter().rev()
    }
}
