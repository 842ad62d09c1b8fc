//! The words of `close`: one parser for the command line and the runtime socket.

use super::target::Target;
use crate::ends::endpoint;
use crate::kernel::Covered;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use proxy_common::key::{Endpoint, FlowKey};
use std::fmt;
use std::net::SocketAddr;

/// With what connections are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// A RST to the peer; the local application gets an error.
    #[default]
    Rst,
    /// A FIN to the peer, and a stand-in for the local socket; the local application gets an error.
    Fin,
}

impl ValueEnum for How {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Rst, Self::Fin]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Rst => PossibleValue::new("rst").help("reset both ends at once"),
            Self::Fin => PossibleValue::new("fin").help("end with a FIN, where no data is lost"),
        })
    }
}

/// Which connections are to be closed: one way to say so.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// Both ends of one connection, as the tail shows them: 10.0.0.1:40000 10.0.0.5:80. Where both
    /// are on this host, the first is closed
    #[arg(num_args = 2, value_names = ["END", "END"], value_parser = crate::console::endpoint)]
    ends: Vec<SocketAddr>,
    /// Every connection to this server of the configuration: SERVER or BACKEND/SERVER
    #[arg(long, value_name = "NAME", value_parser = server)]
    server: Option<Target>,
    /// Every connection to these peers: ADDR[/LEN][:PORT]
    #[arg(long, value_name = "ADDR[/LEN][:PORT]", value_parser = peer)]
    peer: Option<Target>,
}

/// Which connections are to be closed, and how.
#[derive(Clone, Debug, Args)]
pub struct CloseWords {
    #[command(flatten)]
    chosen: Chosen,
    /// With what they are closed
    #[arg(long, value_name = "rst|fin", default_value = "rst")]
    how: How,
    /// Only list the connections that would be closed
    #[arg(long)]
    dry_run: bool,
}

/// Whom [`CloseWords`] mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// One connection; the end at the first endpoint, if it is here.
    One(FlowKey, Endpoint),
    /// Every connection to these peers.
    Peers(Covered),
    /// Every connection to a server: backend, if one was named, and server.
    Server(Option<String>, String),
}

fn server(text: &str) -> Result<Target, String> {
    match text.parse()? {
        target @ Target::Server { .. } => Ok(target),
        Target::Peers(_) => Err("is an address: use --peer".to_owned()),
    }
}

fn peer(text: &str) -> Result<Target, String> {
    match text.parse()? {
        target @ Target::Peers(_) => Ok(target),
        Target::Server { .. } => Err("should be ADDR[/LEN][:PORT]".to_owned()),
    }
}

impl CloseWords {
    /// Whom they mean.
    #[must_use]
    pub fn which(&self) -> Meant {
        match (self.chosen.ends.as_slice(), &self.chosen.server, &self.chosen.peer) {
            (&[first, second], _, _) => {
                let [first, second] = [first, second].map(endpoint);
                Meant::One(FlowKey::new(first, second).0, first)
            }
            (_, Some(Target::Server { backend, server }), _) => {
                Meant::Server(backend.clone(), server.clone())
            }
            (_, _, Some(Target::Peers(covered))) => Meant::Peers(*covered),
            // The parser lets nothing else pass; this matches nobody.
            _ => Meant::Server(None, String::new()),
        }
    }

    /// With what they are closed.
    #[must_use]
    pub const fn how(&self) -> How {
        self.how
    }

    /// Whether they are listed only.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// As the parser reads them back.
impl fmt::Display for CloseWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for end in &self.chosen.ends {
            write!(out, " {end}")?;
        }
        if let Some(server) = &self.chosen.server {
            write!(out, " --server={}", crate::line::quoted(&server.to_string()))?;
        }
        if let Some(peer) = &self.chosen.peer {
            write!(out, " --peer={peer}")?;
        }
        if self.how == How::Fin {
            out.write_str(" --how fin")?;
        }
        if self.dry_run {
            out.write_str(" --dry-run")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Line {
        #[command(flatten)]
        words: CloseWords,
    }

    fn parse(line: &str) -> Result<CloseWords, String> {
        Line::try_parse_from(line.split_whitespace())
            .map(|line| line.words)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_said_reads_back() {
        for line in [
            "10.0.0.1:40000 10.0.0.5:80",
            "[fd00::1]:40000 [fd00::5]:80 --how fin",
            "--server=web/w1 --dry-run",
            "--peer=10.0.0.0/24:80",
            "--peer=10.0.0.5 --how fin --dry-run",
        ] {
            let words = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(words.to_string().trim(), line);
        }
    }

    #[test]
    fn exactly_one_way_to_say_which() {
        for (line, part) in [
            ("", "required"),
            ("10.0.0.1:1", "2 values"),
            ("--peer 10.0.0.1 --server w1", "cannot be used with"),
            ("--peer w1", "ADDR"),
            ("--server 10.0.0.1", "--peer"),
            ("--peer 10.0.0.1 --how reset", "rst"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
