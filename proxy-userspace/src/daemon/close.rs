//! The command `close`: which connections are meant, and what became of each, in words. They are
//! closed some at a time, as there may be a hundred thousand of them: tails, deadlines and other
//! sessions go on meanwhile.

use super::policies::scope;
use super::{Daemon, Source};
use crate::kernel::{Closed, Closing, Scope, Which};
use crate::policy::close::{CloseWords, How, Meant};
use crate::report::put;
use proxy_common::socket::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2};
use std::collections::VecDeque;
use std::fmt::Write as _;
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// A `close` that is being carried out.
#[derive(Debug)]
pub(super) struct Underway {
    closing: Closing,
    told: Told,
    answer: oneshot::Sender<String>,
}

/// One after the other.
pub(super) type AllUnderway = VecDeque<Underway>;

impl<S: Source> Daemon<S> {
    /// Finds what the words mean; where that cannot be done, says why.
    pub(super) fn begin_to_close(&mut self, words: &CloseWords, answer: oneshot::Sender<String>) {
        match self.find_to_close(words) {
            Ok(closing) => {
                let told = Told::new(words.is_dry_run(), closing.left());
                self.underway.push_back(Underway { closing, told, answer });
            }
            // A session that is gone wants no answer.
            Err(why) => drop(answer.send(why)),
        }
    }

    fn find_to_close(&mut self, words: &CloseWords) -> Result<Closing, String> {
        let which = match words.which() {
            Meant::One(key, first) => Which::One(key, first),
            Meant::Peers(covered) => {
                Which::Scope(Scope { peers: vec![covered], ..Scope::default() })
            }
            Meant::Server(backend, server) => {
                let scope = scope(&self.labels, backend.as_deref(), &server);
                if scope.is_empty() {
                    let name = backend.map_or_else(String::new, |backend| format!("{backend}/"));
                    return Err(format!(
                        "there is no server '{name}{server}' in the configuration\n"
                    ));
                }
                Which::Scope(scope)
            }
        };
        let (by_fin, dry_run) = (words.how() == How::Fin, words.is_dry_run());
        let found = self.source.find_to_close(&which, by_fin, dry_run);
        let found = found.map_err(|error| format!("{error}\n"))?;
        found.ok_or_else(|| "this source of closes cannot change them\n".to_owned())
    }

    /// Closes some of what the first command underway means, answers that once all is done, and lets
    /// sessions have their turn.
    pub(super) async fn close_some(&mut self) {
        let Some(mut first) = self.underway.pop_front() else { return };
        let failed = match self.source.close_some(&mut first.closing) {
            Ok(closed) => {
                first.told.add(&closed);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if failed.is_none() && first.closing.left() > 0 {
            self.underway.push_front(first);
        } else {
            let _ = first.answer.send(first.told.end(failed.as_deref()));
        }
        yield_now().await;
    }

    /// Says of what is underway that it is not gone on with.
    pub(super) fn close_no_more(&mut self) {
        for one in self.underway.drain(..) {
            let _ = one.answer.send(one.told.end(Some("teardown is stopping")));
        }
    }
}

/// What is told of a command: a line for each connection, and one that counts.
#[derive(Debug)]
struct Told {
    text: String,
    word: &'static str,
    meant: usize,
    done: usize,
}

impl Told {
    fn new(dry_run: bool, meant: usize) -> Self {
        let mut text = String::new();
        if meant == 0 {
            text.push_str(
                "no socket of this network namespace is meant that is in ESTABLISHED, FIN-WAIT-1, \
                 FIN-WAIT-2 or CLOSE-WAIT\n",
            );
        }
        Self { text, word: if dry_run { "would be closed" } else { "closed" }, meant, done: 0 }
    }

    fn add(&mut self, closed: &[Closed]) {
        for one in closed {
            let mut ends = Vec::new();
            put::endpoint(&mut ends, &one.local);
            ends.extend_from_slice(b" > ");
            put::endpoint(&mut ends, &one.peer);
            let outcome = match one.refused {
                Some(why) => format!("not closed: {why}"),
                None => {
                    self.done += 1;
                    let lost = match one.unacked {
                        0 => String::new(),
                        bytes => format!(", {bytes} bytes not acknowledged"),
                    };
                    format!("{}{lost}", self.word)
                }
            };
            let speaks = if one.by_stand_in { " (a stand-in)" } else { "" };
            let (ends, state) = (String::from_utf8_lossy(&ends), state(one.state));
            // Writing to a String does not fail.
            let _ = writeln!(self.text, "{ends} {state}{speaks} {outcome}");
        }
    }

    /// All of it, with why it ended early, if it did.
    fn end(mut self, failed: Option<&str>) -> String {
        if let Some(why) = failed {
            let _ = writeln!(self.text, "{why}");
        }
        let Self { word, done, meant, .. } = self;
        let _ = writeln!(self.text, "{done} {word}, {} not", meant - done);
        self.text
    }
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
        let told = |closed: &[Closed], dry_run| {
            let mut told = Told::new(dry_run, closed.len());
            told.add(closed);
            told
        };
        let closed = "10.0.0.1:40000 > 10.0.0.5:80 CLOSE-WAIT closed, 7 bytes not acknowledged\n";
        let all = told(std::slice::from_ref(&one), false).end(None);
        assert_eq!(all, format!("{closed}1 closed, 0 not\n"));
        let early = Told { meant: 3, ..told(std::slice::from_ref(&one), false) }.end(Some("why"));
        assert_eq!(early, format!("{closed}why\n1 closed, 2 not\n"));
        let left = told(&[Closed { refused: Some("why"), ..one }], true).end(None);
        assert!(left.ends_with("not closed: why\n0 would be closed, 1 not\n"), "{left}");
        let none = told(&[], false).end(None);
        assert!(none.starts_with("no socket ") && none.ends_with("\n0 closed, 0 not\n"), "{none}");
    }
}
