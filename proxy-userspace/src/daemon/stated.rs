//! What the proxy says of its connections: to the kernel side before they open, and to the daemon
//! before they close, so that the record of a close says what its request was doing.
//!
//! The workers and the daemon's loop meet in small locked lists, one worker rarely on another's.

use crate::http::closes::{Class, Closes, Cookie, Doing, Upstream};
use crate::http::event::Phase;
use crate::http::sock;
use crate::kernel::Statements;
use crate::report::record::{Letters, Said};
use proxy_common::abi::{CLASS_CHECK, CLASS_TRAFFIC, CLASS_TUNNEL};
use std::cell::Cell;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One of a socket's connections. A socket may be connected again: from another port, as its last one
/// is still known to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The socket's cookie (`SO_COOKIE`).
    pub cookie: u64,
    /// The port of the socket's end.
    pub port: u16,
}

/// What the proxy said of a connection that it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which one.
    pub connection: Connection,
    /// What kind of connection it was.
    pub class: Class,
    /// What its last request was doing.
    pub doing: Doing,
}

impl Note {
    /// The same for a reader.
    #[must_use]
    pub fn said(&self) -> Said<'_> {
        let Doing { termination, cookies, method, status, requests, http } = &self.doing;
        let [[cause, phase], [asked, answered]] = [termination.letters(), cookies.0];
        Said {
            class: match self.class {
                Class::Active | Class::Passive => "traffic",
                Class::Check => "check",
                Class::Tunnel => "tunnel",
            },
            termination: Letters::new([cause, phase, asked, answered], if *http { 4 } else { 2 }),
            phase: match termination.phase {
                Phase::None => None,
                Phase::Request => Some("request"),
                Phase::Queue => Some("queue"),
                Phase::Connect => Some("connect"),
                Phase::Headers => Some("headers"),
                Phase::Data => Some("data"),
                Phase::Last => Some("last"),
                Phase::Tarpit => Some("tarpit"),
            },
            method: Some(method.as_str()).filter(|method| !method.is_empty()),
            status: Some(*status).filter(|status| *status != 0),
            requests: *requests,
        }
    }
}

/// Lists of notes; a thread keeps to one.
const LISTS: usize = 16;

/// Notes that a list holds until the daemon's loop comes by; more are lost, and counted.
const NOTES: usize = 16_384;

/// Servers' numbers for the kernel side, by backend and name: the same over every reload, so that
/// a connection is its server's whatever the configuration has become.
#[derive(Debug, Default)]
pub struct ServerNumbers(Mutex<HashMap<(String, String), u16>>);

impl ServerNumbers {
    /// A server's number; 0 once there have been more servers than numbers.
    pub fn of(&self, backend: &str, server: &str) -> u16 {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u16::try_from(numbers.len() + 1).unwrap_or(0);
        if next == 0 {
            let named = (backend.to_owned(), server.to_owned());
            return numbers.get(&named).copied().unwrap_or(0);
        }
        *numbers.entry((backend.to_owned(), server.to_owned())).or_insert(next)
    }

    /// Every number whose server has that name, in that backend if one is given.
    pub fn named(&self, backend: Option<&str>, server: &str) -> Vec<u16> {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<u16> = numbers
            .iter()
            .filter(|((its_backend, its_server), _)| {
                its_server == server && backend.is_none_or(|backend| its_backend == backend)
            })
            .map(|(_, number)| *number)
            .collect();
        found.sort_unstable();
        found
    }
}

/// The daemon's ear to the proxy.
#[derive(Debug, Default)]
pub struct Stated {
    statements: Option<Statements>,
    lists: [Mutex<Vec<Note>>; LISTS],
    lost: AtomicU64,
}

impl Stated {
    /// States connections in `statements`, where the kernel side has such.
    #[must_use]
    pub fn new(statements: Option<Statements>) -> Self {
        Self { statements, ..Self::default() }
    }

    /// Keeps a note until the daemon's loop comes by.
    pub(super) fn note(&self, note: Note) {
        let mut notes = self.lists[list()].lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < NOTES {
            notes.push(note);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was said since.
    pub(super) fn take(&self, mut each: impl FnMut(Note)) {
        for list in &self.lists {
            let notes = {
                let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
                if list.is_empty() { continue } else { std::mem::take(&mut *list) }
            };
            notes.into_iter().for_each(&mut each);
        }
    }

    /// How many notes found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

thread_local! {
    /// The list of this thread.
    static LIST: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The list of the thread that asks.
fn list() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    LIST.with(|list| {
        list.get().unwrap_or_else(|| {
            let mine = NEXT.fetch_add(1, Ordering::Relaxed) % LISTS;
            list.set(Some(mine));
            mine
        })
    })
}

/// A socket's cookie; 0 where the kernel tells none.
fn cookie_of(socket: BorrowedFd<'_>) -> u64 {
    rustix::net::sockopt::socket_cookie(socket).unwrap_or(0)
}

impl Closes for Stated {
    fn opened(&self, socket: BorrowedFd<'_>, upstream: Upstream<'_>, class: Class) -> Cookie {
        let cookie = cookie_of(socket);
        if let Some(statements) = &self.statements {
            let class = match class {
                Class::Active | Class::Passive => CLASS_TRAFFIC,
                Class::Check => CLASS_CHECK,
                Class::Tunnel => CLASS_TUNNEL,
            };
            statements.state(cookie, upstream.server.settings.number, class);
        }
        Cookie(cookie)
    }

    fn stated(
        &self,
        (socket, cookie): (BorrowedFd<'_>, Cookie),
        _: Option<Upstream<'_>>,
        class: Class,
        _: bool,
        doing: &Doing,
    ) {
        let cookie = match cookie {
            Cookie(0) => cookie_of(socket),
            Cookie(known) => known,
        };
        let port = sock::local(socket).map_or(0, |local| local.port());
        let connection = Connection { cookie, port };
        self.note(Note { connection, class, doing: doing.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay() {
        let numbers = ServerNumbers::default();
        let (one, two) = (numbers.of("web", "w1"), numbers.of("api", "w1"));
        assert_ne!(one, two);
        assert_eq!(numbers.of("web", "w1"), one);
        assert_eq!(numbers.named(None, "w1"), [one, two]);
        assert_eq!(numbers.named(Some("api"), "w1"), [two]);
        assert!(numbers.named(Some("api"), "w2").is_empty());
    }

    #[test]
    fn no_more_notes_are_kept_than_there_is_room_for() {
        let stated = Stated::default();
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        for _ in 0..NOTES + 3 {
            use std::os::fd::AsFd as _;
            let known = (socket.as_fd(), Cookie(5));
            stated.stated(known, None, Class::Active, false, &Doing::default());
        }
        let mut count = 0;
        stated.take(|note| {
            assert_eq!(note.connection, Connection { cookie: 5, port: 0 });
            count += 1;
        });
        assert_eq!((count, stated.lost()), (NOTES, 3));
        stated.take(|_| panic!("taken once"));
    }
}
