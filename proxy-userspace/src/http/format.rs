//! Format strings of rules and of log lines: text with `%ci`-like variables and `%[EXPRESSION]`.
//!
//! Both know the same variables. Rules see a session as it stands at that moment.

mod captured;
mod date;
#[cfg(test)]
mod tests;
mod variables;
mod write;

pub use date::date;
pub use variables::{VARIABLES, Variable};

use super::event::Session;
use super::sample::{Expression, View};
use jiff::tz::TimeZone;
use std::sync::OnceLock;

/// A format string, ready to be filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(Vec<u8>),
    /// `%ci` and its kin.
    Variable(Variable, Flags),
    /// `%[...]`.
    Sample(Expression, Flags),
    /// A space that counts only between two things that are there.
    Space,
}

/// How a part is written: `%{+Q}ci`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `Q`: in double quotes.
    pub quote: bool,
    /// `X`: addresses and counters in hexadecimal.
    pub hexadecimal: bool,
    /// `E`: a backslash before `"`, `\` and `]`.
    pub escape: bool,
    /// `M`, which log lines begin with: `-` for what is not there.
    pub mandatory: bool,
}

impl Format {
    /// A format that is only text.
    #[must_use]
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// Whether it says where a server was connected from.
    #[must_use]
    pub fn needs_source(&self) -> bool {
        use Variable::{BackendSourceIp, BackendSourcePort};
        let is_source =
            |part: &Part| matches!(part, Part::Variable(BackendSourceIp | BackendSourcePort, _));
        self.parts.iter().any(is_source)
    }

    /// Whether it says something of a request or a response.
    #[must_use]
    pub fn needs_http(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(known, _) if known.needs_http()))
    }

    /// Fills it in. No control characters come from samples: they are written as `%0A`.
    #[must_use]
    pub fn fill(&self, view: &View<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(view, Surroundings::here(), &mut out);
        out
    }

    /// Fills it in behind what is in `out` already.
    pub fn write(&self, view: &View<'_>, surroundings: &Surroundings, out: &mut Vec<u8>) {
        // Whether there is nothing yet that a space could part from what follows.
        let mut is_parted = true;
        let mut session: Option<Session<'_>> = None;
        for part in &self.parts {
            let before = out.len();
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Sample(expression, flags) => {
                    let mut text = Vec::new();
                    expression.write(view, &mut text);
                    if text.iter().any(write::is_control) {
                        text = write::without_controls(&text);
                    }
                    write::text(out, *flags, &text);
                }
                Part::Variable(variable, flags) => {
                    if session.is_none() {
                        session = view.moment.map(|moment| moment.session());
                    }
                    if let Some(session) = &session {
                        variable.write(*flags, session, surroundings, out);
                    }
                }
                // What prints nothing takes no space either.
                Part::Space if is_parted => {}
                Part::Space => out.push(b' '),
            }
            if out.len() > before {
                is_parted = matches!(part, Part::Space);
            }
        }
    }
}

/// What a line shows besides the session.
#[derive(Debug)]
pub struct Surroundings {
    /// The zone of dates.
    pub zone: TimeZone,
    /// This host's name.
    pub host: String,
}

impl Surroundings {
    /// This host's. They are looked up once, before a chroot hides the zone.
    #[must_use]
    pub fn here() -> &'static Self {
        static HERE: OnceLock<Surroundings> = OnceLock::new();
        HERE.get_or_init(|| Self {
            zone: TimeZone::system(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        })
    }
}
