//! Connections that are closed now, by command: idle ones and those older than the programs too.
//!
//! The kernel aborts the socket under its own lock, so that numbers are exact in the middle of
//! traffic. Its RST becomes a FIN on its way out where that is asked for (a stand-in takes the
//! socket's place). An orphan's minisock the kernel would forget without a word: `td_strike` resets
//! both ends.

use super::deadlines::Entry;
use super::diag::{Diag, Local};
use super::enforcer::Enforcer;
use super::error::Error;
use super::observer::now_ns;
use super::rules::Scope;
use super::strike::{self, is_signed};
use super::table::Table;
use aya::Ebpf;
use proxy_common::acts::{CLOSE_BY_FIN, CLOSED_NOW};
use proxy_common::decide::Refusal;
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::socket::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2};
use proxy_common::strike::DONE;
use std::collections::HashSet;

/// Which connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// One connection; the end at this endpoint, where both are on this host.
    One(FlowKey, Endpoint),
    /// Those that a rule of this scope would cover.
    Scope(Scope),
}

/// One connection that was meant, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its local end.
    pub local: Endpoint,
    /// Its far end.
    pub peer: Endpoint,
    /// The local socket's state before, as in `proxy_common::socket::tcp_state`.
    pub state: u8,
    /// Bytes that the local socket had not sent, or the peer not acknowledged.
    pub unacked: u32,
    /// Why it was not closed, if so.
    pub refused: Option<&'static str>,
}

impl Enforcer {
    /// Closes what is meant, by FIN or by RST; with `dry_run` only says what that is.
    ///
    /// # Errors
    /// Where the sockets cannot be listed or the program not be run.
    pub(super) fn close(
        &mut self,
        ebpf: &Ebpf,
        table: &Table,
        which: &Which,
        by_fin: bool,
        dry_run: bool,
    ) -> Result<Vec<Closed>, Error> {
        let mut closed = Vec::new();
        for one in meant(table, which)? {
            let refused = match refusal(&one, by_fin) {
                None if dry_run => None,
                None => self.close_one(ebpf, &one, by_fin)?,
                refused => refused,
            };
            closed.push(Closed {
                local: *one.key.end(one.local),
                peer: *one.key.end(one.local.other()),
                state: one.state,
                unacked: one.unacked,
                refused,
            });
        }
        Ok(closed)
    }

    /// Closes one connection; says why it could not be.
    fn close_one(
        &mut self,
        ebpf: &Ebpf,
        one: &Local,
        by_fin: bool,
    ) -> Result<Option<&'static str>, Error> {
        let Some(tools) = &mut self.tools else {
            return Ok(Some("this kernel cannot close connections from outside"));
        };
        let mut asked = [strike::look(one.key, one.local, one.bound)];
        tools.look(ebpf, &mut asked)?;
        let [mut seen] = asked;
        if seen.state != u32::from(one.state) {
            return Ok(Some("it changed meanwhile"));
        }
        let finishing = one.state == FIN_WAIT1 || one.state == FIN_WAIT2;
        let done = if finishing && !is_signed(&seen) {
            if seen.has_link == 0 {
                return Ok(Some(meaning(Refusal::NO_LINK)));
            }
            seen.cause = CLOSED_NOW;
            let mut asked = [strike::reset(&seen)];
            tools.reset(ebpf, &mut asked)?;
            [seen] = asked;
            seen.answer
        } else {
            seen.cause = if by_fin { CLOSED_NOW | CLOSE_BY_FIN } else { CLOSED_NOW };
            tools.abort(ebpf, &seen)?
        };
        if done == DONE {
            let now = now_ns();
            self.deadlines.struck(now, Entry::new(one.key, one.local, one.bound, now), seen);
        }
        Ok((done != DONE).then_some("it changed meanwhile, or the kernel did not send the RST"))
    }
}

/// Why a connection cannot be closed so.
fn refusal(one: &Local, by_fin: bool) -> Option<&'static str> {
    if !by_fin {
        return None;
    }
    // The peer's FIN has a sequence number, and nobody has read it yet.
    let fin = u32::from(one.state == CLOSE_WAIT);
    if !matches!(one.state, ESTABLISHED | CLOSE_WAIT) {
        Some("our FIN was sent already: only a RST can end it")
    } else if one.unacked > 0 {
        Some(meaning(Refusal::UNACKED))
    } else if one.unread > fin {
        Some(meaning(Refusal::UNREAD))
    } else {
        None
    }
}

fn meaning(refusal: Refusal) -> &'static str {
    Refusal::ALL.iter().find(|known| known.0 == refusal).map_or("", |known| known.2)
}

/// The local sockets of the connections that are meant.
fn meant(table: &Table, which: &Which) -> Result<Vec<Local>, Error> {
    let states = [ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT];
    let states = states.iter().fold(0, |bits, state| bits | 1 << state);
    let mut found = Diag::open()
        .and_then(|mut diag| diag.list(states))
        .map_err(Error::system("listing the sockets"))?;
    match which {
        Which::One(key, first) => {
            found.retain(|one| one.key == *key);
            if found.iter().any(|one| one.key.end(one.local) == first) {
                found.retain(|one| one.key.end(one.local) == first);
            }
        }
        Which::Scope(scope) => {
            let stated = stated(table, scope)?;
            found.retain(|one| {
                let peer = one.key.end(one.local.other());
                scope.peers.iter().any(|covered| covered.covers(peer))
                    || stated.contains(&(one.key, one.local.0))
            });
        }
    }
    Ok(found)
}

/// The connections that this host's own proxy stated for a scope: key and local side.
fn stated(table: &Table, scope: &Scope) -> Result<HashSet<(FlowKey, u8)>, Error> {
    if scope.stated.is_empty() {
        return Ok(HashSet::new());
    }
    let is_meant = |server: u16, class: u8| scope.stated.contains(&(server, class));
    let slots = table.slots()?.into_iter();
    Ok(slots
        .filter(|(_, slot)| slot.reported == 0 && is_meant(slot.acts.server, slot.acts.class))
        .map(|(key, slot)| (key, slot.flow.orig.0))
        .collect())
}
