//! Which closes are shown: the same words for `watch`, `tail` and `explain`.

use super::record::Record;
use crate::report::put;
use proxy_common::key::Endpoint;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::str::FromStr;

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
        let host = |prefix: &Prefix| ends.iter().any(|end| prefix.contains(put::address(end)));
        any(&self.ports, port) && any(&self.hosts, host)
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

/// An address prefix: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    fn contains(&self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u32::from(ours) ^ u32::from(theirs)).leading_zeros()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (u128::from(ours) ^ u128::from(theirs)).leading_zeros()
            }
            _ => return false,
        };
        differs >= self.length.into()
    }
}

/// Why a text is no address prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// What stands before the slash.
    #[error("'{0}' is not an IPv4 or IPv6 address")]
    Address(String),
    /// What stands after it.
    #[error("'{0}' is not a prefix length from 0 to {1}")]
    Length(String, u8),
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = bare
            .unwrap_or(address)
            .parse()
            .map_err(|_| PrefixError::Address(address.to_owned()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(longest), |text| {
            let number = text.parse().ok().filter(|&number| number <= longest);
            number.ok_or_else(|| PrefixError::Length(text.to_owned(), longest))
        })?;
        Ok(Self { address, length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        f.write_char('/')?;
        write!(f, "{}", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let inside = |prefix: &str, address: &str| {
            let prefix: Prefix = prefix.parse().expect("a prefix");
            prefix.contains(address.parse().expect("an address"))
        };
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "1.2.3.4") && !inside("0.0.0.0/0", "::1"));
        assert!(inside("::1", "::1") && !inside("::1", "::2"));
        assert!(inside("[2001:db8::]/32", "2001:db8:1::5"));
        for wrong in ["10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.1/", "web", ""] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        let error = "10.0.0.0/33".parse::<Prefix>().expect_err("too long").to_string();
        assert_eq!(error, "'33' is not a prefix length from 0 to 32");
    }
}
