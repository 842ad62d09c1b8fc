//! What a worker knows of each connection that it serves, and its deadlines.
//!
//! A deadline is a number in the session; one watch per worker looks at all of them. Setting one
//! costs a store, where a timer for each would cost a lock and a walk through a wheel.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use slab::Slab;
use tokio::sync::Notify;

use super::{
    event::Cause,
    held::{HeldBackend, HeldServer},
    live::Frontend,
    runtime::Runtime,
};

/// Why a session must stop waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its deadline has passed.
    Timeout,
    /// Somebody shut it down: an operator, or what became of its server.
    Shut(Cause),
    /// The soft stop took too long.
    Forced,
}

/// A backend, a server, and how often that one's sessions had been shut down before.
type Placed = (HeldBackend, HeldServer, u32);

/// A connection that is being served.
#[derive(Debug)]
pub(crate) struct Session {
    /// Unique per process.
    pub(crate) serial: u64,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) accepted: Instant,
    /// Where its request is.
    pub(crate) server: RefCell<Option<Placed>>,
    deadline: Cell<Option<Instant>>,
    stop: Cell<Option<Stop>>,
    waker: RefCell<Option<Waker>>,
}

impl Session {
    pub(crate) fn new(
        serial: u64,
        client: Option<SocketAddr>,
        frontend: Arc<Frontend>,
        accepted: Instant,
    ) -> Self {
        Self {
            serial,
            client,
            frontend,
            accepted,
            server: RefCell::new(None),
            deadline: Cell::new(None),
            stop: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// To be called by every wait of the session's task: whether it must stop, and whom to wake.
    pub(crate) fn check(&self, cx: &Context<'_>) -> Result<(), Stop> {
        if let Some(stop) = self.stop.get() {
            return Err(stop);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }

    /// The session must stop; its task is woken. What ends all sessions is not said twice, and goes
    /// before any other reason.
    pub(crate) fn stop(&self, why: Stop) {
        if self.stop.get().is_none() || why == Stop::Forced {
            self.stop.set(Some(why));
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    /// Its request goes to that server.
    pub(crate) fn place(&self, backend: &HeldBackend, server: &HeldServer) {
        let place = (backend.clone(), server.clone(), server.shutdowns());
        self.server.replace(Some(place));
    }

    /// Its request is no server's any more.
    pub(crate) fn leave(&self) {
        self.server.replace(None);
    }

    /// A stop was dealt with; the session goes on, at least until it has said so to the client.
    pub(crate) fn resume(&self) {
        if matches!(self.stop.get(), Some(Stop::Timeout | Stop::Shut(_))) {
            self.stop.set(None);
            self.deadline.set(None);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }
}

/// All sessions of a worker.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    all: RefCell<Slab<Rc<Session>>>,
    /// When the watch looks next.
    next: Cell<Option<Instant>>,
    nudge: Notify,
}

/// The watch looks at the sessions at most this often...
const SHORTEST: Duration = Duration::from_millis(5);
/// ...and at least this often.
const LONGEST: Duration = Duration::from_secs(1);

impl Sessions {
    pub(crate) fn insert(&self, session: Rc<Session>) -> usize {
        let mut all = self.all.borrow_mut();
        if self.next.get().is_none() {
            self.nudge.notify_one();
        }
        all.insert(session)
    }

    pub(crate) fn remove(&self, key: usize) {
        self.all.borrow_mut().remove(key);
    }

    /// Makes room for those who are here, and for no more.
    pub(crate) fn shrink(&self) {
        self.all.borrow_mut().shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    pub(crate) fn for_each(&self, mut each: impl FnMut(&Rc<Session>)) {
        self.all.borrow().iter().for_each(|(_, session)| each(session));
    }

    /// Sets a session's deadline; none is for ever.
    pub(crate) fn set_deadline(&self, session: &Session, deadline: Option<Instant>) {
        session.deadline.set(deadline);
        if let (Some(deadline), Some(next)) = (deadline, self.next.get())
            && deadline < next
        {
            self.next.set(Some(deadline));
            self.nudge.notify_one();
        }
    }

    /// Looks at all sessions, for ever.
    pub(crate) async fn watch(&self, runtime: &Runtime) {
        loop {
            let now = Instant::now();
            let next = self.look(now);
            if self.len() == 0 {
                self.next.set(None);
                self.nudge.notified().await;
                continue;
            }
            let next = next.map_or(now + LONGEST, |next| next.clamp(now + SHORTEST, now + LONGEST));
            self.next.set(Some(next));
            tokio::select! {
                () = runtime.sleep_until(next) => {}
                () = self.nudge.notified() => runtime.sleep(SHORTEST).await,
            }
        }
    }

    /// Stops what is overdue or whose server's sessions are shut down; says what is due next.
    pub(crate) fn look(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (_, session) in self.all.borrow().iter() {
            if let Some((_, server, before)) = &mut *session.server.borrow_mut()
                && server.shutdowns() != *before
            {
                *before = server.shutdowns();
                session.stop(Stop::Shut(server.shut_by()));
            }
            match session.deadline.get() {
                Some(deadline) if deadline <= now => session.stop(Stop::Timeout),
                Some(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                None => {}
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{live::Proxies, settings};

    fn session() -> Session {
        let frontends = vec![settings::Frontend::default()];
        let settings = settings::Settings { frontends, ..Default::default() };
        let proxies = Proxies::new(settings, 1, Arc::default());
        Session::new(1, None, Arc::clone(&proxies.frontends[0]), Instant::now())
    }

    #[test]
    fn a_crowd_needs_no_room_once_it_has_gone() {
        let (sessions, session) = (Sessions::default(), Rc::new(session()));
        let keys: Vec<usize> = (0..4096).map(|_| sessions.insert(Rc::clone(&session))).collect();
        for key in &keys[1..] {
            sessions.remove(*key);
        }
        sessions.shrink();
        assert_eq!(sessions.len(), 1);
        assert!(sessions.all.borrow().capacity() < 64);
    }

    #[test]
    fn what_ends_all_sessions_goes_before_any_other_reason() {
        let session = session();
        session.stop(Stop::Timeout);
        session.stop(Stop::Shut(Cause::Down));
        assert_eq!(session.stop.get(), Some(Stop::Timeout));
        session.stop(Stop::Forced);
        session.resume();
        assert_eq!(session.stop.get(), Some(Stop::Forced));
    }
}
