//! What the rules ask of the daemon: connections whose time is over are ended.
//!
//! FIN_WAIT: `td_strike` sends a RST to both ends, as the kernel would send none for an orphan that
//! has become a minisock. CLOSE_WAIT, and FIN_WAIT of a socket to which the peer goes on sending: the
//! kernel aborts the socket (`SOCK_DESTROY`), under the socket's own lock; `td_strike` only checks the
//! state again and notes it in the record.

use super::btf::Btf;
use super::clock::now_ns;
use super::deadlines::{Deadlines, Entry, Verdict, cause, judge};
use super::diag::{self, Diag, HALF_CLOSED, Local};
use super::error::Error;
use super::offsets;
use super::route::Ways;
use super::rules::Rules;
use super::strike::{self, Striker};
use aya::Ebpf;
use proxy_common::abi::{DeadlineRecord, LOOPBACK};
use proxy_common::decide::Refusal;
use proxy_common::key::FlowKey;
use proxy_common::socket::tcp_state::{FIN_WAIT1, FIN_WAIT2};
use proxy_common::strike::{CHANGED, DONE, Strike};
use std::collections::HashMap;

/// At most so many connections are ended before the ring is looked at again.
const AT_ONCE: usize = 256;
/// A connection that was struck so often, or changed just before, is left alone.
const STRIKES: u16 = 20;

/// What connections are looked at with, and ended.
pub(super) struct Tools {
    striker: Striker,
    diag: Diag,
}

/// Rules, and what waits because of them.
pub(super) struct Enforcer {
    /// The rules.
    pub rules: Rules,
    pub(super) tools: Option<Tools>,
    pub(super) deadlines: Deadlines,
    /// Deadlines that were not told.
    lost: u64,
}

impl Enforcer {
    /// Takes the rules out of the object, and loads the program that ends connections. What this
    /// kernel lacks for that is added to `missing`; rules with deadlines are refused then.
    ///
    /// # Errors
    /// Where the object lacks a part.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        btf: &Btf,
        missing: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let lacking = offsets::lacking(btf);
        if !lacking.is_empty() {
            missing.push(format!(
                "this kernel's BTF does not tell {}: active, passive and abort are off",
                lacking.join(", ")
            ));
        }
        let (tools, why) = match able(ebpf, btf) {
            Ok(tools) => (Some(tools), None),
            Err(why) => {
                missing.push(format!("{why}: half-close, close-wait and close are off"));
                (None, Some(why))
            }
        };
        let rules = Rules::take(ebpf, why)?;
        Ok(Self { rules, tools, deadlines: Deadlines::default(), lost: 0 })
    }

    /// The kernel told of a half-closed connection.
    pub(super) fn told(&mut self, record: &DeadlineRecord) {
        self.deadlines.told(record);
    }

    /// The kernel told that a connection is over.
    pub(super) fn over(&mut self, key: FlowKey) {
        self.deadlines.over(key, now_ns());
    }

    /// So many deadlines were not told since the start, as the ring was full: where there are more
    /// than before, every socket is looked at.
    pub(super) fn lost(&mut self, total: u64) {
        if total > std::mem::replace(&mut self.lost, total) {
            self.look_at_all();
        }
    }

    /// When the next connection is due, CLOCK_MONOTONIC.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// Ends what is due; says whether anything was.
    ///
    /// # Errors
    /// Where the program cannot be run; what is due is looked at again.
    pub(super) fn strike(&mut self, ebpf: &Ebpf) -> Result<bool, Error> {
        if self.rules.take_new_deadline() {
            self.look_at_all();
        }
        let Some(tools) = &mut self.tools else { return Ok(false) };
        let now = now_ns();
        let due: Vec<Entry> =
            std::iter::from_fn(|| self.deadlines.take(now)).take(AT_ONCE).collect();
        if due.is_empty() {
            return Ok(false);
        }
        let done = tools.strike(ebpf, &mut self.deadlines, due.clone());
        if done.is_err() {
            // Those among them that were ended are found to be over.
            for entry in due {
                if !self.deadlines.has(&entry) {
                    self.deadlines.again(now, entry);
                }
            }
        }
        done.map(|()| true)
    }

    /// Finds the connections that are half closed now: a new rule may cover them.
    pub(super) fn look_at_all(&mut self) {
        let now = now_ns();
        match Diag::open().and_then(|mut diag| diag.list(HALF_CLOSED)) {
            Ok(found) => {
                let found = found.into_iter();
                let entry = found.map(|one| Entry::new(one.key, one.local, one.bound, now));
                self.deadlines.look_at(now, entry);
            }
            Err(error) => {
                tracing::warn!(%error, "half-closed connections cannot be listed: a rule holds for later ones");
            }
        }
    }
}

/// The program and what it needs beside it, or why this kernel cannot have it.
fn able(ebpf: &mut Ebpf, btf: &Btf) -> Result<Tools, String> {
    let lacking = offsets::missing_for_strikes(&offsets::of(btf));
    if !lacking.is_empty() {
        return Err(format!("this kernel's BTF does not tell {}", lacking.join(", ")));
    }
    if !diag::can_destroy() {
        return Err("this kernel cannot abort sockets (CONFIG_INET_DIAG_DESTROY)".to_owned());
    }
    let striker = Striker::take(ebpf).map_err(|error| error.to_string())?;
    Ok(Tools { striker, diag: Diag::open().map_err(|error| error.to_string())? })
}

impl Tools {
    /// Does with connections whose time may be over what is to be done.
    fn strike(
        &mut self,
        ebpf: &Ebpf,
        deadlines: &mut Deadlines,
        due: Vec<Entry>,
    ) -> Result<(), Error> {
        let mut due = due;
        let seen = self.look_at_due(ebpf, &mut due)?;
        let now = now_ns();
        let (mut struck, mut resets, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let (mut again, mut repeats) = (Vec::new(), Vec::new());
        for (mut entry, seen) in due.into_iter().zip(seen) {
            if let Some(sent) = entry.to_repeat(&seen) {
                again.push(entry);
                repeats.push(sent);
                continue;
            }
            let seen = Strike { cause: cause(&seen), ..seen };
            match judge(&seen, &entry, now) {
                Verdict::Over => {}
                Verdict::Later(due) => deadlines.add(due, entry),
                Verdict::Dry => told.push(strike::dry(&seen)),
                Verdict::Missed => told.push(strike::refuse(&seen, Refusal::NO_SOCKET)),
                Verdict::Refuse(refusal) => {
                    if !entry.refused {
                        told.push(strike::refuse(&seen, refusal));
                        entry.refused = true;
                    }
                    deadlines.again(now, entry);
                }
                Verdict::Reset => {
                    resets.push(strike::reset(&seen));
                    struck.push(entry);
                }
                Verdict::Abort => {
                    let done = self.abort(ebpf, &seen)?;
                    follow_up(deadlines, entry, done);
                }
            }
        }
        self.reset(ebpf, &mut resets)?;
        for (entry, asked) in struck.into_iter().zip(resets) {
            follow_up(deadlines, entry, asked);
        }
        self.repeat(ebpf, &mut repeats)?;
        for (entry, asked) in again.into_iter().zip(repeats) {
            if asked.answer == DONE {
                deadlines.repeated(now, entry);
            }
        }
        self.striker.ask(ebpf, &mut told)
    }

    /// What is known of those that are due. The kernel told of most without saying what their sockets
    /// are bound to: where none was found of a connection that is not over, it is looked for by that.
    fn look_at_due(&mut self, ebpf: &Ebpf, due: &mut [Entry]) -> Result<Vec<Strike>, Error> {
        let look = |entry: &Entry| strike::look(entry.key, entry.local, entry.bound);
        let mut seen: Vec<Strike> = due.iter().map(look).collect();
        self.look(ebpf, &mut seen)?;
        let missed: Vec<usize> =
            (0..due.len()).filter(|&at| due[at].is_missed(&seen[at])).collect();
        if missed.is_empty() {
            return Ok(seen);
        }
        let bound = match self.diag.list(HALF_CLOSED) {
            Ok(found) => found.into_iter().map(|one| ((one.key, one.local), one.bound)),
            Err(error) => {
                tracing::warn!(%error, "sockets that are bound to an interface are not found");
                return Ok(seen);
            }
        };
        let bound: HashMap<_, _> = bound.filter(|(_, bound)| *bound != 0).collect();
        let found = |at: &usize| bound.contains_key(&(due[*at].key, due[*at].local));
        let missed: Vec<usize> = missed.into_iter().filter(found).collect();
        for &at in &missed {
            due[at].bound = bound[&(due[at].key, due[at].local)];
        }
        let mut again: Vec<Strike> = missed.iter().map(|&at| look(&due[at])).collect();
        self.look(ebpf, &mut again)?;
        for (at, strike) in missed.into_iter().zip(again) {
            seen[at] = strike;
        }
        Ok(seen)
    }

    /// What is known of connections' local ends, the ways to their peers included.
    pub(super) fn look(&mut self, ebpf: &Ebpf, asked: &mut [Strike]) -> Result<(), Error> {
        self.striker.ask(ebpf, asked)?;
        let mut ways = Ways::default();
        let sends = [FIN_WAIT1, FIN_WAIT2].map(u32::from);
        asked
            .iter_mut()
            .filter(|seen| sends.contains(&seen.state) && seen.unseen == 0)
            .for_each(|seen| find_way(&mut ways, seen));
        Ok(())
    }

    /// Sends RSTs to the peers again. The program's answers stand in their places.
    fn repeat(&mut self, ebpf: &Ebpf, sent: &mut [Strike]) -> Result<(), Error> {
        let mut ways = Ways::default();
        for sent in &mut *sent {
            // The kernel's own RST found its way by itself.
            find_way(&mut ways, sent);
            *sent = strike::repeat(sent);
        }
        self.striker.ask(ebpf, sent)
    }

    /// Sends RSTs to both ends of each. The program's answers stand in their places.
    pub(super) fn reset(&mut self, ebpf: &Ebpf, asked: &mut [Strike]) -> Result<(), Error> {
        self.striker.ask(ebpf, asked)?;
        for busy in asked.iter_mut().filter(|asked| asked.answer == CHANGED) {
            *busy = self.abort_busy(ebpf, busy)?;
        }
        // IPv4 takes a packet that comes in over loopback without a route for a martian: a minisock
        // did not get it, nor an orphan that was in use as it would have become one. The peer, here
        // too, did.
        let stay = |done: &&Strike| {
            let at_loopback = done.interface == LOOPBACK && !done.key.is_ipv6();
            done.answer == DONE && done.state == u32::from(FIN_WAIT2) && at_loopback
        };
        let those = asked.iter().filter(stay).map(|done| (done.key, done.local));
        let those: Vec<_> = those.collect();
        if let Err(error) = self.diag.forget_orphans(&those) {
            tracing::debug!(%error, "orphans on loopback stay for their minute");
        }
        Ok(())
    }

    /// Resets the peer of a stand-in that was `seen` so, for the `cause` in there. The program's
    /// answer stands in the strike.
    pub(super) fn relieve(&mut self, ebpf: &Ebpf, seen: &Strike) -> Result<Strike, Error> {
        let mut asked = [strike::relieve(seen)];
        self.striker.ask(ebpf, &mut asked)?;
        let [answered] = asked;
        Ok(answered)
    }

    /// Has the kernel abort the socket, for the `cause` in `seen`. Gives it as the program saw it
    /// then, with its answer.
    pub(super) fn abort(&mut self, ebpf: &Ebpf, seen: &Strike) -> Result<Strike, Error> {
        match self.diag.find(&seen.key, seen.local, seen.device) {
            Ok(socket) => self.abort_this(ebpf, seen, &socket),
            Err(_) => Ok(Strike { answer: CHANGED, ..*seen }),
        }
    }

    /// The same of a socket that was found.
    pub(super) fn abort_this(
        &mut self,
        ebpf: &Ebpf,
        seen: &Strike,
        socket: &Local,
    ) -> Result<Strike, Error> {
        if u32::from(socket.state) != seen.state {
            return Ok(Strike { answer: CHANGED, ..*seen });
        }
        let mut asked = [strike::mark(seen)];
        self.striker.ask(ebpf, &mut asked)?;
        let [mut marked] = asked;
        if marked.answer == DONE && self.diag.destroy(socket).is_err() {
            self.striker.ask_one(ebpf, strike::unmark(seen))?;
            marked.answer = CHANGED;
        }
        Ok(marked)
    }

    /// The numbers of a socket did not hold still, as its peer goes on sending: under its lock they
    /// do. Not an orphan's: the kernel resets who sends to that, and would forget a minisock without
    /// a word.
    fn abort_busy(&mut self, ebpf: &Ebpf, seen: &Strike) -> Result<Strike, Error> {
        match self.diag.find(&seen.key, seen.local, seen.device) {
            Ok(socket) if socket.owned && matches!(socket.state, FIN_WAIT1 | FIN_WAIT2) => {
                let seen = Strike { state: socket.state.into(), ..*seen };
                self.abort_this(ebpf, &seen, &socket)
            }
            _ => Ok(*seen),
        }
    }
}

/// Fills in the way to the peer where it is not known.
fn find_way(ways: &mut Ways, seen: &mut Strike) {
    if seen.has_link != 0 {
        return;
    }
    let (ours, theirs) = (seen.key.end(seen.local), seen.key.end(seen.local.other()));
    match ways.towards(ours, theirs, seen.device) {
        Ok(Some(way)) => {
            (seen.has_link, seen.interface, seen.link) = (1, way.interface, way.link);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the way to a peer cannot be asked for"),
    }
}

/// A connection was struck, with this answer.
fn follow_up(deadlines: &mut Deadlines, mut entry: Entry, strike: Strike) {
    let done = strike.answer;
    tracing::debug!(done, "a half-closed connection was struck");
    entry.strikes += 1;
    if entry.strikes > STRIKES {
        tracing::warn!(key = ?entry.key, done, "a connection does not end: it is left alone");
    } else if done == DONE {
        deadlines.struck(now_ns(), entry, strike);
    } else {
        deadlines.again(now_ns(), entry);
    }
}

#[cfg(test)]
mod tests;
