//! Idle connections to servers, kept by each worker for itself.

use std::{
    cell::RefCell,
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use super::{
    closes::{Cookie, Doing},
    held::{HeldBackend, HeldServer},
    live::{Backend, Proxies, Server},
    sock::Sock,
};

/// An idle connection.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) sock: Sock,
    pub(crate) backend: HeldBackend,
    pub(crate) server: HeldServer,
    /// The server's moves when it was opened.
    pub(crate) moves: u32,
    pub(crate) since: Instant,
    /// Whether a request other than the first was answered on it: it has proven to persist.
    pub(crate) proven: bool,
    /// The PROXY line that it began with, if there was one: it is good for who has the same.
    pub(crate) line: Box<[u8]>,
    /// What the connection was called when it was opened.
    pub(crate) cookie: Cookie,
    /// What its last request was doing.
    pub(crate) doing: Doing,
}

impl Idle {
    /// Whether it can be given a request, as far as is known without a system call.
    pub(crate) fn is_fit(&self) -> bool {
        !self.sock.stirred() && self.moves == self.server.moves()
    }
}

/// All idle connections of a worker, by backend and server.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    places: RefCell<Vec<Vec<Place>>>,
    /// Of the task that watches them.
    watcher: RefCell<Option<Waker>>,
}

/// Those to one server.
#[derive(Debug)]
struct Place {
    server: Arc<Server>,
    idle: Vec<Idle>,
}

impl Place {
    /// Where a server's are; none is there for one of a configuration of before.
    fn of<'a>(
        places: &'a mut [Vec<Self>],
        backend: &Backend,
        of: &HeldServer,
    ) -> Option<&'a mut Self> {
        let place = places.get_mut(backend.index)?.get_mut(of.index)?;
        Some(place).filter(|place| of.is_of(&place.server))
    }
}

impl Pool {
    /// Makes room for these proxies; what was there is returned, to be closed.
    pub(crate) fn reset(&self, proxies: &Proxies) -> Vec<Idle> {
        let empty = |server: &Arc<Server>| Place { server: Arc::clone(server), idle: Vec::new() };
        let rooms = proxies.backends.iter().map(|it| it.servers.iter().map(empty).collect());
        let old = self.places.replace(rooms.collect()).into_iter().flatten();
        old.flat_map(|place| place.idle).inspect(|idle| idle.server.idle.fall()).collect()
    }

    /// Takes the connection that was idle for the shortest time, of those that began with that PROXY
    /// line. Unfit ones are pushed to `dead`.
    pub(crate) fn take(
        &self,
        backend: &Backend,
        server: &HeldServer,
        proven: bool,
        line: &[u8],
        dead: &mut Vec<Idle>,
    ) -> Option<Idle> {
        let mut places = self.places.borrow_mut();
        let place = &mut Place::of(&mut places, backend, server)?.idle;
        loop {
            // Most have no line: a comparison of nothing is a call, too.
            let same = |idle: &Idle| {
                idle.line.len() == line.len() && (line.is_empty() || *idle.line == *line)
            };
            let fits = |idle: &Idle| (idle.proven || !proven) && same(idle);
            let last = place.iter().rposition(fits)?;
            let idle = place.remove(last);
            server.idle.fall();
            if idle.is_fit() {
                return Some(idle);
            }
            dead.push(idle);
        }
    }

    /// Keeps a connection; it comes back if the server stirred, or there is no room for it: no more
    /// are open to a server than it ever had requests at once, but one for each worker.
    pub(crate) fn put(&self, idle: Idle) -> Option<Idle> {
        let watcher = self.watcher.borrow();
        let stirred = watcher.as_ref().is_none_or(|waker| idle.sock.poll_stirred(waker));
        let mut places = self.places.borrow_mut();
        let place =
            Place::of(&mut places, &idle.backend, &idle.server).map(|place| &mut place.idle);
        let (server, open) = (&idle.server, idle.server.idle.now());
        let full = server.settings.pool_max_conn.is_some_and(|limit| open >= limit);
        // The request that used it is one of the sessions still.
        let enough = open + server.sessions.now() > server.sessions.max();
        let has_room = |place: &[Idle]| !full && (place.is_empty() || !enough);
        match place {
            Some(place) if !stirred && has_room(place) && idle.moves == server.moves() => {
                server.idle.rise();
                place.push(idle);
                None
            }
            _ => Some(idle),
        }
    }

    pub(crate) fn for_each(&self, each: impl FnMut(&Idle)) {
        self.places.borrow().iter().flatten().flat_map(|place| &place.idle).for_each(each);
    }

    /// Takes out what fails the test.
    pub(crate) fn purge(&self, keep: impl Fn(&Idle) -> bool) -> Vec<Idle> {
        let mut places = self.places.borrow_mut();
        let gone = places
            .iter_mut()
            .flatten()
            .flat_map(|place| place.idle.extract_if(.., |idle| !keep(idle)))
            .inspect(|idle| idle.server.idle.fall());
        gone.collect()
    }

    /// Waits for connections that the server closes, or sends something on, while they are idle.
    pub(crate) async fn stirred(&self) -> Vec<Idle> {
        poll_fn(|cx| {
            *self.watcher.borrow_mut() = Some(cx.waker().clone());
            let gone = self.purge(|idle| !idle.sock.poll_stirred(cx.waker()));
            if gone.is_empty() { Poll::Pending } else { Poll::Ready(gone) }
        })
        .await
    }
}
