//! Log lines in HAProxy's formats: `option httplog`, `tcplog`, and `log-format`.

mod date;
mod parse;
#[cfg(test)]
mod tests;
mod variables;
mod write;

pub use date::date;

use super::event::{Cause, Session};
use jiff::tz::TimeZone;
use variables::Variable;

/// `option httplog`.
pub const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                        %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";
/// `option httplog clf`.
pub const CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s \
                       %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";
/// `option tcplog`.
pub const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";
/// Without any of these.
pub const DEFAULT: &str = "Connect from %ci:%cp to %fi:%fp (%f/%mode)";

/// The names of the variables that a configuration may use.
pub fn names() -> impl Iterator<Item = &'static str> {
    let listed = variables::VARIABLES.iter().filter(|(_, known)| *known != Variable::ModeName);
    listed.map(|(name, _)| *name)
}

/// A log format, ready to be filled in.
#[derive(Clone, Debug)]
pub struct LogFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable, Flags),
    /// A space that counts only between two things that are there.
    Space,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    quote: bool,
    hexadecimal: bool,
    escape: bool,
}

impl LogFormat {
    /// Whether it says where a server was connected from.
    #[must_use]
    pub fn needs_source(&self) -> bool {
        use Variable::{BackendSourceIp, BackendSourcePort};
        let is_source =
            |part: &Part| matches!(part, Part::Variable(BackendSourceIp | BackendSourcePort, _));
        self.parts.iter().any(is_source)
    }

    /// Appends the line of `session`, without a line feed.
    pub fn write(&self, session: &Session<'_>, surroundings: &Surroundings, out: &mut Vec<u8>) {
        let start = out.len();
        for part in &self.parts {
            match part {
                // What prints nothing takes no space either.
                Part::Space if out.len() == start || out.last() == Some(&b' ') => {}
                part => part.write(session, surroundings, out),
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
    /// This process.
    pub pid: u32,
}

impl Surroundings {
    /// This host's.
    #[must_use]
    pub fn here() -> Self {
        let name = rustix::system::uname();
        Self {
            zone: TimeZone::system(),
            host: name.nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
        }
    }
}

impl Part {
    fn write(&self, session: &Session<'_>, surroundings: &Surroundings, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Space => out.push(b' '),
            Self::Variable(variable, flags) => variable.write(*flags, session, surroundings, out),
        }
    }
}

/// Whether nothing went wrong, for `option dontlog-normal`.
#[must_use]
pub fn is_normal(session: &Session<'_>) -> bool {
    session.termination.cause == Cause::Normal
        && session.status < 500
        && session.retries == 0
        && !session.redispatched
}

/// Whether something went wrong, for `option log-separate-errors`.
#[must_use]
pub fn is_error(session: &Session<'_>) -> bool {
    session.termination.cause != Cause::Normal || session.status >= 500
}
