//! The kind of a close: who began it with what, and what the other end answered.

use proxy_common::verdict::{Close, Role, Signal};
use std::fmt;

const FIRSTS: [Option<Role>; 3] = [Some(Role::Orig), Some(Role::Resp), None];
const SIGNALS: [Option<Signal>; 5] =
    [Some(Signal::Fin), Some(Signal::Rst), Some(Signal::RstAck), Some(Signal::Timeout), None];

/// How many kinds there can be; some never occur.
pub const KINDS: usize = FIRSTS.len() * SIGNALS.len() * SIGNALS.len();

/// The kind of a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Who closed first.
    pub first: Option<Role>,
    /// With what.
    pub signal: Option<Signal>,
    /// What the other end closed with.
    pub answer: Option<Signal>,
}

impl Kind {
    /// The kind of `close`.
    #[must_use]
    pub fn of(close: &Close) -> Self {
        Self { first: close.first_closer, signal: close.first_signal, answer: close.answer }
    }

    /// A number below [`KINDS`], another for each kind.
    #[must_use]
    pub fn index(self) -> usize {
        let first = match self.first {
            Some(Role::Orig) => 0,
            Some(Role::Resp) => 1,
            None => 2,
        };
        (first * SIGNALS.len() + place(self.signal)) * SIGNALS.len() + place(self.answer)
    }

    /// All kinds, by index.
    pub fn all() -> impl Iterator<Item = Self> {
        FIRSTS.into_iter().flat_map(|first| {
            SIGNALS.into_iter().flat_map(move |signal| {
                SIGNALS.into_iter().map(move |answer| Self { first, signal, answer })
            })
        })
    }

    /// Whether a RST was part of it.
    #[must_use]
    pub fn has_reset(self) -> bool {
        [self.signal, self.answer]
            .into_iter()
            .any(|signal| matches!(signal, Some(Signal::Rst | Signal::RstAck)))
    }
}

fn place(signal: Option<Signal>) -> usize {
    match signal {
        Some(Signal::Fin) => 0,
        Some(Signal::Rst) => 1,
        Some(Signal::RstAck) => 2,
        Some(Signal::Timeout) => 3,
        None => 4,
    }
}

/// `resp fin, orig rst_ack`; `orig rst`; `never closed`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(signal)) = (self.first, self.signal) else {
            return f.write_str(self.signal.map_or("never closed", Signal::as_str));
        };
        write!(f, "{} {}", first.as_str(), signal.as_str())?;
        match self.answer {
            Some(answer) => write!(f, ", {} {}", first.other().as_str(), answer.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_place() {
        let indexes: Vec<usize> = Kind::all().map(Kind::index).collect();
        assert_eq!(indexes, (0..KINDS).collect::<Vec<_>>());
    }

    #[test]
    fn kinds_are_said_in_words() {
        let kind = |first, signal, answer| Kind { first, signal, answer }.to_string();
        let (fin, rst_ack) = (Some(Signal::Fin), Some(Signal::RstAck));
        assert_eq!(kind(Some(Role::Resp), fin, rst_ack), "resp fin, orig rst_ack");
        assert_eq!(kind(Some(Role::Orig), rst_ack, None), "orig rst_ack");
        assert_eq!(kind(None, None, None), "never closed");
    }
}
