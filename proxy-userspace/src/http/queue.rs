//! Requests that wait for a server's free slot (`maxconn`, `maxqueue`, `timeout queue`).
//!
//! A slot is a share of a server's `maxconn`. Who releases one, who has just queued and who changes a
//! server all hand out what is free, so that no wake-up is lost between them.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use tokio::sync::oneshot;

use super::{
    counters::Gauge,
    held::{HeldBackend, HeldServer},
    live::Backend,
};

/// Requests in their order; empty costs one load.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Gauge,
    list: Mutex<VecDeque<oneshot::Sender<usize>>>,
}

impl Queue {
    /// Requests that wait (`qcur`).
    pub fn len(&self) -> u32 {
        self.waiting.now()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most that ever waited (`qmax`).
    pub fn max(&self) -> u32 {
        self.waiting.max()
    }

    /// Forgets the most.
    pub fn clear_max(&self) {
        self.waiting.clear();
    }

    fn push(&self, ticket: oneshot::Sender<usize>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push_back(ticket);
        // Under the lock: nobody takes out what is not counted yet.
        self.waiting.rise();
    }

    fn pop(&self) -> Option<oneshot::Sender<usize>> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = list.pop_front()?;
        self.waiting.fall();
        Some(ticket)
    }

    /// Drops the tickets whose requests have given up.
    fn sweep(&self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let before = list.len();
        list.retain(|ticket| !ticket.is_closed());
        (list.len()..before).for_each(|_| self.waiting.fall());
    }
}

/// The right to use a server; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    /// The backend.
    pub backend: HeldBackend,
    /// The server's index in it.
    pub index: usize,
}

impl Slot {
    /// The server.
    pub fn server(&self) -> &HeldServer {
        self.backend.server(self.index)
    }

    /// A slot on that server, if one is free and nobody waits for it.
    pub fn take(backend: &HeldBackend, index: usize) -> Option<Self> {
        let server = &backend.servers[index];
        let limit = server.maxconn.load(Relaxed);
        if limit > 0 && !server.queue.is_empty() {
            return None;
        }
        server.sessions.rise_below(limit).then(|| Self { backend: backend.clone(), index })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.server().sessions.fall();
        hand_out(&self.backend, self.index);
    }
}

/// A place in a queue.
#[derive(Debug)]
pub struct Ticket {
    backend: HeldBackend,
    server: Option<usize>,
    granted: oneshot::Receiver<usize>,
    /// How many are served from the queue until this one is, itself among them, as HAProxy logs it.
    pub place: u32,
}

impl Ticket {
    /// Waits for that server, or for any if none is named.
    pub fn draw(backend: &HeldBackend, server: Option<usize>) -> Self {
        let (ticket, granted) = oneshot::channel();
        let queue = server.map_or(&backend.queue, |index| &backend.servers[index].queue);
        let place = queue.len() + 1;
        queue.push(ticket);
        match server {
            Some(index) => hand_out(backend, index),
            None => hand_out_all(backend),
        }
        Self { backend: backend.clone(), server, granted, place }
    }

    /// The slot, when it comes. Dropping the ticket gives up the place.
    pub async fn granted(&mut self) -> Option<Slot> {
        let index = (&mut self.granted).await.ok()?;
        Some(Slot { backend: self.backend.clone(), index })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(index) = self.granted.try_recv() {
            // Granted meanwhile: the slot's own drop hands it on.
            drop(Slot { backend: self.backend.clone(), index });
        }
        self.server.map_or(&self.backend.queue, |i| &self.backend.servers[i].queue).sweep();
    }
}

/// Gives all free slots to those who wait. Who makes room, by a state, a weight or a limit, calls it.
pub(super) fn hand_out_all(backend: &Backend) {
    (0..backend.servers.len()).for_each(|index| hand_out(backend, index));
}

/// Gives the server's free slots to those who wait: first for it, then for any server.
fn hand_out(backend: &Backend, index: usize) {
    let server = &backend.servers[index];
    loop {
        let queue = if !server.queue.is_empty() {
            &server.queue
        } else if !backend.queue.is_empty() && server.usable() {
            if server.settings.backup && !backend.on_backups() {
                return;
            }
            &backend.queue
        } else {
            return;
        };
        if !server.sessions.rise_below(server.maxconn.load(Relaxed)) {
            return;
        }
        let Some(ticket) = queue.pop() else {
            server.sessions.fall();
            continue;
        };
        if ticket.send(index).is_err() {
            // Its request has given up; the next one may have it.
            server.sessions.fall();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        hooks::{Balance, Edit, Request},
        live::Admin,
        settings,
    };
    use std::{net::SocketAddr, sync::Arc};

    #[derive(Debug)]
    struct First;

    impl Balance for First {
        fn key(&self, _: Option<&Request<'_>>, _: &[Edit], _: Option<SocketAddr>) -> u64 {
            0
        }
        fn pick(&self, _: &Backend, _: u64, _: Option<usize>) -> Option<usize> {
            Some(0)
        }
    }

    fn backend(maxconn: u32) -> HeldBackend {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let server = settings::Server { maxconn, ..settings::Server::new("s", address.into()) };
        let mut backend = settings::Backend::new("b", Arc::new(First));
        backend.servers.push(server);
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let proxies = crate::http::live::Proxies::new(settings, 1, Arc::default());
        HeldBackend::new(&proxies.backends[0])
    }

    #[tokio::test]
    async fn slots_go_to_those_who_wait_in_order() {
        let backend = backend(1);
        let slot = Slot::take(&backend, 0).expect("free");
        assert!(Slot::take(&backend, 0).is_none());
        let mut first = Ticket::draw(&backend, Some(0));
        let gone = Ticket::draw(&backend, Some(0));
        let mut any = Ticket::draw(&backend, None);
        assert_eq!((first.place, gone.place, any.place), (1, 2, 1));
        drop(gone);
        assert_eq!(backend.servers[0].queue.len(), 1);
        drop(slot);
        let slot = first.granted().await.expect("granted");
        assert_eq!(backend.servers[0].sessions.now(), 1);
        drop(slot);
        drop(any.granted().await.expect("granted"));
        assert_eq!((backend.servers[0].sessions.now(), backend.queue.len()), (0, 0));
    }

    #[tokio::test]
    async fn who_makes_room_serves_those_who_wait() {
        let backend = backend(1);
        let server = &backend.servers[0];
        let busy = Slot::take(&backend, 0).expect("free");
        let mut waiting = Ticket::draw(&backend, None);
        server.maxconn.store(2, Relaxed);
        backend.changed(server, true);
        let second = waiting.granted().await.expect("granted");
        // A server that comes back, too.
        server.set_admin(Admin::Maintenance);
        drop((busy, second));
        let mut waiting = Ticket::draw(&backend, None);
        assert_eq!((server.sessions.now(), backend.queue.len()), (0, 1));
        server.set_admin(Admin::Ready);
        backend.changed(server, false);
        drop(waiting.granted().await.expect("granted"));
    }

    #[test]
    fn only_a_server_that_is_no_backup_ends_the_backups_sessions_when_it_comes_up() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let server =
            settings::Server { up_shuts_backups: true, ..settings::Server::new("", address) };
        let backup = settings::Server { backup: true, ..server.clone() };
        let mut backend = settings::Backend::new("b", Arc::new(First));
        backend.servers = vec![server, backup.clone(), backup];
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let backend = &crate::http::live::Proxies::new(settings, 1, Arc::default()).backends[0];
        let ended = |which: usize, was_running| {
            let before = backend.servers[1].shutdowns();
            backend.changed(&backend.servers[which], was_running);
            backend.servers[1].shutdowns() > before
        };
        assert!(ended(0, false) && !ended(0, true) && !ended(2, false));
        backend.servers[0].set_weight(0);
        assert!(!ended(0, false));
    }

    /// Threads that queue and take out at the same time never see fewer than none waiting.
    #[test]
    fn those_who_wait_are_counted_before_they_can_be_taken_out() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        queue.push(oneshot::channel().0);
                    }
                });
                scope.spawn(|| (0..50_000).for_each(|_| drop(queue.pop())));
            }
        });
        while queue.pop().is_some() {}
        assert_eq!(queue.len(), 0);
        assert!(queue.max() <= 100_000, "{}", queue.max());
    }

    #[tokio::test]
    async fn a_grant_nobody_takes_is_given_back() {
        let backend = backend(1);
        let slot = Slot::take(&backend, 0).expect("free");
        let ticket = Ticket::draw(&backend, Some(0));
        drop(slot);
        assert_eq!(backend.servers[0].sessions.now(), 1);
        drop(ticket);
        assert_eq!(backend.servers[0].sessions.now(), 0);
        assert!(Slot::take(&backend, 0).is_some());
    }
}
