//! Which closes are shown: the same words for `watch`, `tail` and `explain`.

use super::label::Label;
use super::record::Record;
use crate::ends::address;
use crate::prefix::Prefix;
use proxy_common::key::Endpoint;
use std::fmt;

/// Filters. Of one kind any may hold, of different kinds all must.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Filter {
    /// Only connections with this port at either end
    #[arg(long = "port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Only connections with this address at either end
    #[arg(long = "host", value_name = "ADDR[/LEN]")]
    pub hosts: Vec<Prefix>,
    /// Only connections of this proxy, backend or server of the configuration
    #[arg(long = "backend", value_name = "NAME[/SERVER]")]
    pub backends: Vec<String>,
    /// Only closes in this state (Zeek's conn_state), or in these: SF,S2
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', ignore_case = true,
        value_parser = ["S0", "S1", "S2", "S3", "SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"])]
    pub states: Vec<String>,
    /// Only closes that this end began
    #[arg(long = "first", value_name = "END", value_parser = ["orig", "resp"])]
    pub firsts: Vec<String>,
    /// Only closes that began with this, or with one of these: rst,rst_ack
    #[arg(long = "signal", value_name = "SIGNAL", value_delimiter = ',',
        value_parser = ["fin", "rst", "rst_ack", "timeout"])]
    pub signals: Vec<String>,
    /// Only closes that were answered with this, or with one of these: fin,none
    #[arg(long = "answer", value_name = "ANSWER", value_delimiter = ',',
        value_parser = ["fin", "rst", "rst_ack", "none"])]
    pub answers: Vec<String>,
    /// Only connections of a process with this name, at either end
    #[arg(long = "process", value_name = "NAME")]
    pub processes: Vec<String>,
    /// Only closes that threw away data: unread, or not acknowledged
    #[arg(long)]
    pub lost: bool,
}

impl Filter {
    /// Whether a connection between these endpoints can pass, whatever else is known of it.
    #[must_use]
    pub fn passes_ends(&self, ends: [&Endpoint; 2]) -> bool {
        let port = |port: &u16| ends.iter().any(|end| end.port == *port);
        let host = |prefix: &Prefix| ends.iter().any(|end| prefix.contains(address(end)));
        any(&self.ports, port) && any(&self.hosts, host)
    }

    /// Whether a segment between these endpoints is to be shown: of how its connection will close
    /// nothing is known yet, and which end is the responder neither.
    #[must_use]
    pub fn passes_segment<'a>(
        &self,
        ends: [&Endpoint; 2],
        names: &dyn Fn(&Endpoint) -> Label<'a>,
    ) -> bool {
        self.passes_ends(ends)
            && any(&self.backends, |name| ends.iter().any(|end| names(end).is_called(name)))
    }

    /// Whether the close is to be shown.
    #[must_use]
    pub fn passes(&self, record: &Record<'_>) -> bool {
        let close = record.close;
        let signal = close.first_signal.map_or("none", |signal| signal.as_str());
        let answer = close.answer.map_or("none", |answer| answer.as_str());
        let first = close.first_closer.map_or("none", |role| role.as_str());
        self.passes_ends([&close.orig.endpoint, &close.resp.endpoint])
            && any(&self.backends, |name| record.label.is_called(name))
            && any(&self.states, |state| state.eq_ignore_ascii_case(close.conn_state.as_str()))
            && any(&self.firsts, |wanted| wanted == first)
            && any(&self.signals, |wanted| wanted == signal)
            && any(&self.answers, |wanted| wanted == answer)
            && any(&self.processes, |name| record.is_of_process(name.as_bytes()))
            && (!self.lost || record.lost_anything())
    }
}

/// Whether nothing is asked for, or anything of it holds.
fn any<T>(wanted: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

/// The words of the command line that make this filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn each<T: fmt::Display>(
            f: &mut fmt::Formatter<'_>,
            option: &str,
            all: &[T],
        ) -> fmt::Result {
            all.iter().try_for_each(|value| {
                write!(f, " {option}={}", crate::line::quoted(&value.to_string()))
            })
        }
        each(f, "--port", &self.ports)?;
        each(f, "--host", &self.hosts)?;
        each(f, "--backend", &self.backends)?;
        each(f, "--state", &self.states)?;
        each(f, "--first", &self.firsts)?;
        each(f, "--signal", &self.signals)?;
        each(f, "--answer", &self.answers)?;
        each(f, "--process", &self.processes)?;
        f.write_str(if self.lost { " --lost" } else { "" })
    }
}
