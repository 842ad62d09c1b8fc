//! The command `close`: which connections are meant, and what became of each, in words.

use super::policies::scope;
use super::{Daemon, Source};
use crate::kernel::{Closed, Scope, Which};
use crate::policy::close::{CloseWords, How, Meant};
use crate::report::put;
use proxy_common::socket::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2};
use std::fmt::Write as _;

impl<S: Source> Daemon<S> {
    /// Closes what the words mean, or lists it; the last line counts.
    pub(super) fn close_now(&mut self, words: &CloseWords) -> String {
        let which = match words.which() {
            Meant::One(key, first) => Which::One(key, first),
            Meant::Peers(covered) => {
                Which::Scope(Scope { peers: vec![covered], ..Scope::default() })
            }
            Meant::Server(backend, server) => {
                let scope = scope(&self.labels, backend.as_deref(), &server);
                if scope.is_empty() {
                    let name = backend.map_or_else(String::new, |backend| format!("{backend}/"));
                    return format!("there is no server '{name}{server}' in the configuration\n");
                }
                Which::Scope(scope)
            }
        };
        let (by_fin, dry_run) = (words.how() == How::Fin, words.is_dry_run());
        match self.source.close_now(&which, by_fin, dry_run) {
            Ok(Some(closed)) => list(&closed, dry_run),
            Ok(None) => "this source of closes cannot change them\n".to_owned(),
            Err(error) => format!("{error}\n"),
        }
    }
}

/// A line for each connection, and one that counts.
fn list(closed: &[Closed], dry_run: bool) -> String {
    let mut text = String::new();
    let mut done = 0usize;
    if closed.is_empty() {
        text.push_str(
            "no socket of this network namespace is meant that is in ESTABLISHED, FIN-WAIT-1, \
             FIN-WAIT-2 or CLOSE-WAIT\n",
        );
    }
    for one in closed {
        let mut ends = Vec::new();
        put::endpoint(&mut ends, &one.local);
        ends.extend_from_slice(b" > ");
        put::endpoint(&mut ends, &one.peer);
        let outcome = match one.refused {
            Some(why) => format!("not closed: {why}"),
            None => {
                done += 1;
                let lost = match one.unacked {
                    0 => String::new(),
                    bytes => format!(", {bytes} bytes not acknowledged"),
                };
                format!("{}{lost}", if dry_run { "would be closed" } else { "closed" })
            }
        };
        let speaks = if one.by_stand_in { " (a stand-in)" } else { "" };
        let (ends, state) = (String::from_utf8_lossy(&ends), state(one.state));
        // Writing to a String does not fail.
        let _ = writeln!(text, "{ends} {state}{speaks} {outcome}");
    }
    let word = if dry_run { "would be closed" } else { "closed" };
    let _ = writeln!(text, "{done} {word}, {} not", closed.len() - done);
    text
}

/// RFC 9293's name of a state.
const fn state(state: u8) -> &'static str {
    match state {
        ESTABLISHED => "ESTABLISHED",
        FIN_WAIT1 => "FIN-WAIT-1",
        FIN_WAIT2 => "FIN-WAIT-2",
        CLOSE_WAIT => "CLOSE-WAIT",
        _ => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_common::key::Endpoint;

    #[test]
    fn what_became_of_each_and_of_none() {
        let one = Closed {
            local: Endpoint::v4([10, 0, 0, 1], 40_000),
            peer: Endpoint::v4([10, 0, 0, 5], 80),
            state: CLOSE_WAIT,
            by_stand_in: false,
            unacked: 7,
            refused: None,
        };
        let closed = "10.0.0.1:40000 > 10.0.0.5:80 CLOSE-WAIT closed, 7 bytes not acknowledged\n";
        assert_eq!(list(std::slice::from_ref(&one), false), format!("{closed}1 closed, 0 not\n"));
        let left = Closed { refused: Some("why"), ..one };
        assert!(list(&[left], true).ends_with("not closed: why\n0 would be closed, 1 not\n"));
        let none = list(&[], false);
        assert!(none.starts_with("no socket ") && none.ends_with("\n0 closed, 0 not\n"), "{none}");
    }
}
