//! Connections that are closed now, by command: idle ones and those older than the programs too.
//!
//! The kernel aborts the socket under its own lock, so that numbers are exact in the middle of
//! traffic. Its RST becomes a FIN on its way out where that is asked for (a stand-in takes the
//! socket's place). An orphan's minisock the kernel would forget without a word: `td_strike` resets
//! both ends, and the peer of a stand-in.

use super::clock::now_ns;
use super::deadlines::Entry;
use super::diag::{Diag, Local};
use super::enforcer::Enforcer;
use super::error::Error;
use super::rules::Scope;
use super::stand_ins::StandIns;
use super::strike::{self, is_signed};
use super::table::Table;
use aya::Ebpf;
use proxy_common::acts::{CLOSE_BY_FIN, CLOSED_NOW};
use proxy_common::decide::Refusal;
use proxy_common::key::{Endpoint, FlowKey, Side};
use proxy_common::socket::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2};
use proxy_common::stand_in::StandIn;
use proxy_common::strike::{DONE, SIGNED_ORPHAN, Strike};
use std::collections::{BTreeSet, HashSet, VecDeque};

/// What is said where the tools are missing.
const CANNOT: &str = "this kernel cannot close connections from outside";

/// So many are closed before the daemon does something else: it takes some milliseconds.
const AT_ONCE: usize = 32;

/// So many ports are asked for one after the other; for more, all sockets are listed once.
const FEW: usize = 4;

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
    /// The local end's state before, as in `proxy_common::socket::tcp_state`.
    pub state: u8,
    /// Whether the local socket was gone, and a stand-in spoke for it.
    pub by_stand_in: bool,
    /// Bytes that the local socket had not sent, or the peer not acknowledged.
    pub unacked: u32,
    /// Why it was not closed, if so.
    pub refused: Option<&'static str>,
}

/// What was found that is meant, and is to be closed, some at a time.
#[derive(Debug)]
pub struct Closing {
    left: VecDeque<End>,
    by_fin: bool,
    dry_run: bool,
}

impl Closing {
    /// Finds what is meant.
    ///
    /// # Errors
    /// Where the sockets cannot be listed.
    pub(super) fn find(
        (table, stand_ins): (&Table, &StandIns),
        which: &Which,
        by_fin: bool,
        dry_run: bool,
    ) -> Result<Self, Error> {
        let left = meant(table, stand_ins, which)?.into();
        Ok(Self { left, by_fin, dry_run })
    }

    /// How many are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.len()
    }
}

impl Enforcer {
    /// Closes some of those that are left, or only says what they are.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub(super) fn close(
        &mut self,
        ebpf: &Ebpf,
        closing: &mut Closing,
    ) -> Result<Vec<Closed>, Error> {
        let some = closing.left.len().min(AT_ONCE);
        let mut closed = Vec::new();
        for one in closing.left.drain(..some) {
            let refused = match (one.refusal(closing.by_fin), &one) {
                (None, _) if closing.dry_run => None,
                (None, End::Socket(socket)) => self.close_socket(ebpf, socket, closing.by_fin)?,
                (None, End::StandIn(key, stand_in)) => self.relieve(ebpf, *key, stand_in)?,
                (refused, _) => refused,
            };
            closed.push(Closed {
                local: *one.key().end(one.local()),
                peer: *one.key().end(one.local().other()),
                state: one.state(),
                by_stand_in: matches!(one, End::StandIn(..)),
                unacked: one.unacked(),
                refused,
            });
        }
        Ok(closed)
    }

    /// Closes a socket's connection; says why it could not be.
    fn close_socket(
        &mut self,
        ebpf: &Ebpf,
        one: &Local,
        by_fin: bool,
    ) -> Result<Option<&'static str>, Error> {
        let Some(tools) = &mut self.tools else { return Ok(Some(CANNOT)) };
        let mut asked = [strike::look(one.key, one.local, one.bound)];
        tools.look(ebpf, &mut asked)?;
        let [mut seen] = asked;
        if seen.state != u32::from(one.state) {
            return Ok(Some("it changed meanwhile"));
        }
        if is_signed(&seen) && (by_fin || seen.signed == SIGNED_ORPHAN) {
            return Ok(Some("its segments are signed, and ours would not be"));
        }
        let finishing = one.state == FIN_WAIT1 || one.state == FIN_WAIT2;
        if finishing && !is_signed(&seen) {
            if seen.has_link == 0 {
                return Ok(Some(meaning(Refusal::NO_LINK)));
            }
            seen.cause = CLOSED_NOW;
            let mut asked = [strike::reset(&seen)];
            tools.reset(ebpf, &mut asked)?;
            [seen] = asked;
        } else {
            seen.cause = if by_fin { CLOSED_NOW | CLOSE_BY_FIN } else { CLOSED_NOW };
            // That very socket: its addresses may be another's by now.
            seen = tools.abort_this(ebpf, &seen, one)?;
        }
        Ok(self.struck(Entry::new(one.key, one.local, one.bound, now_ns()), seen))
    }

    /// Resets the peer of a stand-in; says why it could not be.
    fn relieve(
        &mut self,
        ebpf: &Ebpf,
        key: FlowKey,
        one: &StandIn,
    ) -> Result<Option<&'static str>, Error> {
        let Some(tools) = &mut self.tools else { return Ok(Some(CANNOT)) };
        let seen = Strike { cause: CLOSED_NOW, ..strike::of_stand_in(key, one) };
        let seen = tools.relieve(ebpf, &seen)?;
        Ok(self.struck(Entry::new(key, one.local, 0, now_ns()), seen))
    }

    /// Whether the strike was done: then its RST is sent again, as it may be lost.
    fn struck(&mut self, entry: Entry, strike: Strike) -> Option<&'static str> {
        if strike.answer != DONE {
            return Some("it changed meanwhile, or the kernel did not send the RST");
        }
        self.deadlines.struck(now_ns(), entry, strike);
        None
    }
}

/// The local end of a connection that is meant.
#[derive(Debug)]
enum End {
    Socket(Local),
    /// The socket is gone, and this speaks for it.
    StandIn(FlowKey, StandIn),
}

impl End {
    const fn key(&self) -> &FlowKey {
        match self {
            Self::Socket(socket) => &socket.key,
            Self::StandIn(key, _) => key,
        }
    }

    const fn local(&self) -> Side {
        match self {
            Self::Socket(socket) => socket.local,
            Self::StandIn(_, stand_in) => stand_in.local,
        }
    }

    const fn state(&self) -> u8 {
        match self {
            Self::Socket(socket) => socket.state,
            Self::StandIn(_, stand_in) => stand_in.state(),
        }
    }

    /// A stand-in has nothing to send but a FIN.
    const fn unacked(&self) -> u32 {
        match self {
            Self::Socket(socket) => socket.unacked,
            Self::StandIn(..) => 0,
        }
    }

    /// Why its connection cannot be closed so.
    fn refusal(&self, by_fin: bool) -> Option<&'static str> {
        if !by_fin {
            return None;
        }
        let socket = match self {
            Self::Socket(socket) => socket,
            Self::StandIn(..) => {
                return Some("our FIN was sent already: a stand-in is left to finish");
            }
        };
        // The peer's FIN has a sequence number, and nobody has read it yet.
        let fin = u32::from(socket.state == CLOSE_WAIT);
        if !matches!(socket.state, ESTABLISHED | CLOSE_WAIT) {
            Some("our FIN was sent already: only a RST can end it")
        } else if socket.unacked > 0 {
            Some(meaning(Refusal::UNACKED))
        } else if socket.unread > fin {
            Some(meaning(Refusal::UNREAD))
        } else {
            None
        }
    }
}

fn meaning(refusal: Refusal) -> &'static str {
    Refusal::ALL.iter().find(|known| known.0 == refusal).map_or("", |known| known.2)
}

/// The local ends of the connections that are meant.
fn meant(table: &Table, stand_ins: &StandIns, which: &Which) -> Result<Vec<End>, Error> {
    let states = [ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT];
    let bits = states.iter().fold(0, |bits, state| bits | 1 << state);
    let stated = match which {
        Which::One(..) => HashSet::new(),
        Which::Scope(scope) => stated(table, scope)?,
    };
    let is_meant = |key: &FlowKey, local: Side| match which {
        Which::One(one, _) => key == one,
        Which::Scope(scope) => {
            let peer = key.end(local.other());
            scope.peers.iter().any(|covered| covered.covers(peer))
                || stated.contains(&(*key, local.0))
        }
    };
    let mut sockets = Vec::new();
    let mut list = || {
        let mut diag = Diag::open()?;
        ports(which).into_iter().try_for_each(|ports| {
            let some = diag.list_those(bits, ports, |one| is_meant(&one.key, one.local))?;
            sockets.extend(some);
            Ok(())
        })
    };
    list().map_err(Error::system("listing the sockets"))?;
    let standing = stand_ins.list()?.into_iter().map(|(key, one)| End::StandIn(key, one));
    let standing =
        standing.filter(|one| states.contains(&one.state()) && is_meant(one.key(), one.local()));
    let mut found: Vec<End> = sockets.into_iter().map(End::Socket).chain(standing).collect();
    if let Which::One(_, first) = which
        && found.iter().any(|one| one.key().end(one.local()) == first)
    {
        found.retain(|one| one.key().end(one.local()) == first);
    }
    Ok(found)
}

/// A socket's own port and its peer's, 0 for any: all pairs that those that are meant can have.
fn ports(which: &Which) -> BTreeSet<[u16; 2]> {
    match which {
        Which::One(key, _) => {
            let [low, high] = key.ends.map(|end| end.port);
            [[low, high], [high, low]].into()
        }
        Which::Scope(scope) => {
            let ports: BTreeSet<_> =
                scope.peers.iter().map(|covered| [0, covered.port.unwrap_or(0)]).collect();
            let is_any = ports.contains(&[0, 0]) || !scope.stated.is_empty();
            // Each pair is a look at all sockets in the kernel.
            if is_any || ports.len() > FEW { [[0, 0]].into() } else { ports }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Covered;

    #[test]
    fn a_port_that_is_known_is_asked_for() {
        let [first, second] = [40_000, 80].map(|port| Endpoint::v4([10, 0, 0, 1], port));
        let one = Which::One(FlowKey::new(first, second).0, first);
        assert_eq!(ports(&one), [[80, 40_000], [40_000, 80]].into());
        let peer = |port: u16| Covered::one(&Endpoint::v4([10, 0, 0, 5], port));
        let scope = |peers: Vec<Covered>| Which::Scope(Scope { peers, ..Scope::default() });
        assert_eq!(ports(&scope(vec![peer(80), peer(81), peer(80)])), [[0, 80], [0, 81]].into());
        let any = Covered { port: None, ..peer(80) };
        assert_eq!(ports(&scope(vec![peer(80), any])), [[0, 0]].into());
        let many = (1..=5).map(peer).collect();
        assert_eq!(ports(&scope(many)), [[0, 0]].into());
        let stated = Scope { peers: vec![peer(80)], stated: [(1, 0)].into_iter().collect() };
        assert_eq!(ports(&Which::Scope(stated)), [[0, 0]].into());
    }
}
