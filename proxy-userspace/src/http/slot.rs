//! The right to use a server, and waiting for it (`maxconn`, `maxqueue`, `timeout queue`).

use tokio::sync::oneshot;

use super::held::{HeldBackend, HeldServer};

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
        let limit = server.limit(backend);
        if limit > 0 && !server.queue.is_empty() {
            return None;
        }
        server.sessions.rise_below(limit).then(|| Self { backend: backend.clone(), index })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.server().sessions.fall();
        self.backend.hand_out(self.index);
    }
}

/// A place in a queue.
#[derive(Debug)]
pub struct Ticket {
    backend: HeldBackend,
    server: Option<usize>,
    granted: oneshot::Receiver<usize>,
    /// Whether it is in the queue still, as far as is known here.
    waits: bool,
    /// How many are served from the queue until this one is, itself among them, as HAProxy logs it.
    pub place: u32,
}

impl Ticket {
    /// Waits for that server, or for any if none is named; `stays` whatever becomes of that one.
    pub fn draw(backend: &HeldBackend, server: Option<usize>, stays: bool) -> Self {
        let (ticket, granted) = oneshot::channel();
        let queue = server.map_or(&backend.queue, |index| &backend.servers[index].queue);
        let place = queue.len() + 1;
        queue.push(ticket, stays);
        match server {
            Some(index) => {
                backend.hand_out(index);
            }
            None => backend.hand_out_all(),
        }
        Self { backend: backend.clone(), server, granted, waits: true, place }
    }

    /// The slot, when it comes; none where its server is not to be waited for any more. Dropping the
    /// ticket gives up the place.
    pub async fn granted(&mut self) -> Option<Slot> {
        let granted = (&mut self.granted).await;
        self.waits = false;
        let index = granted.ok()?;
        Some(Slot { backend: self.backend.clone(), index })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        self.granted.close();
        if let Ok(index) = self.granted.try_recv() {
            // Granted meanwhile: the slot's own drop hands it on.
            drop(Slot { backend: self.backend.clone(), index });
            return;
        }
        self.server.map_or(&self.backend.queue, |i| &self.backend.servers[i].queue).sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        hooks::{Balance, Edit, Request},
        live::{Admin, Backend, Health, Server, State},
        settings::{self, Redispatch},
    };
    use std::{
        net::SocketAddr,
        sync::{Arc, atomic::Ordering::Relaxed},
    };

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

    fn server(maxconn: u32) -> settings::Server {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        settings::Server { maxconn, ..settings::Server::new("s", address.into()) }
    }

    fn backend(maxconn: u32) -> HeldBackend {
        with(settings::Backend { servers: vec![server(maxconn)], ..empty() })
    }

    /// Two backups for one request each.
    fn backups(all_backups: bool) -> HeldBackend {
        let backup = settings::Server { backup: true, ..server(1) };
        with(settings::Backend { servers: vec![backup.clone(), backup], all_backups, ..empty() })
    }

    fn empty() -> settings::Backend {
        settings::Backend::new("b", Arc::new(First))
    }

    fn with(backend: settings::Backend) -> HeldBackend {
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let proxies = crate::http::live::Proxies::new(settings, 1, Arc::default());
        HeldBackend::new(&proxies.backends[0])
    }

    #[tokio::test]
    async fn slots_go_to_those_who_wait_in_order() {
        let backend = backend(1);
        let slot = Slot::take(&backend, 0).expect("free");
        assert!(Slot::take(&backend, 0).is_none());
        let mut first = Ticket::draw(&backend, Some(0), false);
        let gone = Ticket::draw(&backend, Some(0), false);
        let mut any = Ticket::draw(&backend, None, false);
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
    async fn who_waits_for_any_server_waits_for_its_turn_only() {
        let backend = backend(1);
        let slot = Slot::take(&backend, 0).expect("free");
        let mut first = Ticket::draw(&backend, Some(0), false);
        let mut any = Ticket::draw(&backend, None, false);
        let _last = Ticket::draw(&backend, Some(0), false);
        drop(slot);
        drop(first.granted().await.expect("granted"));
        assert_eq!((backend.queue.len(), backend.servers[0].queue.len()), (0, 1));
        drop(any.granted().await.expect("granted"));
    }

    #[tokio::test]
    async fn who_makes_room_serves_those_who_wait() {
        let backend = backend(1);
        let server = &backend.servers[0];
        let busy = Slot::take(&backend, 0).expect("free");
        let mut waiting = Ticket::draw(&backend, None, false);
        server.maxconn.store(2, Relaxed);
        assert_eq!(backend.changed(server, server.state()), 1);
        let second = waiting.granted().await.expect("granted");
        // A server that comes back, too.
        server.set_admin(Admin::Maintenance);
        drop((busy, second));
        let mut waiting = Ticket::draw(&backend, None, false);
        assert_eq!((server.sessions.now(), backend.queue.len()), (0, 1));
        let before = server.state();
        server.set_admin(Admin::Ready);
        assert_eq!(backend.changed(server, before), 1);
        drop(waiting.granted().await.expect("granted"));
    }

    #[tokio::test]
    async fn who_waits_for_a_server_that_is_closed_waits_elsewhere_if_it_may() {
        for (redispatch, persist, moves) in [
            (Redispatch::Last, false, 1),
            (Redispatch::Last, true, 0),
            (Redispatch::Never, false, 0),
        ] {
            let servers = vec![server(1)];
            let backend = with(settings::Backend { servers, redispatch, persist, ..empty() });
            let closed: [fn(&Server); 4] = [
                |server| server.set_health(Health::Down),
                |server| server.set_health(Health::Stopping),
                |server| server.set_admin(Admin::Drain),
                |server| server.set_admin(Admin::Maintenance),
            ];
            for close in closed {
                let server = &backend.servers[0];
                let slot = Slot::take(&backend, 0).expect("free");
                let mut waiting = Ticket::draw(&backend, Some(0), false);
                let mut bound = Ticket::draw(&backend, Some(0), true);
                let before = server.state();
                close(server);
                assert_eq!(backend.changed(server, before), moves);
                assert_eq!(server.queue.len() as usize, 2 - moves);
                drop(slot);
                assert_eq!(waiting.granted().await.is_none(), moves == 1);
                drop(bound.granted().await.expect("granted"));
                server.set_health(Health::Up);
                server.set_admin(Admin::Ready);
            }
        }
    }

    #[tokio::test]
    async fn a_backup_that_is_not_to_be_chosen_takes_nobody_out_of_the_queue() {
        for (all_backups, waiting) in [(false, 1), (true, 0)] {
            let backend = backups(all_backups);
            let busy = Slot::take(&backend, 0).expect("free");
            let any = Ticket::draw(&backend, None, false);
            assert_eq!((backend.queue.len(), all_backups), (waiting, all_backups));
            drop((busy, any));
        }
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
            let server = &backend.servers[which];
            let health = if was_running { Health::Up } else { Health::Down };
            backend.changed(server, State { health, ..server.state() });
            backend.servers[1].shutdowns() > before
        };
        assert!(ended(0, false) && !ended(0, true) && !ended(2, false));
        backend.servers[0].set_weight(0);
        assert!(!ended(0, false));
    }

    #[tokio::test]
    async fn a_grant_nobody_takes_is_given_back() {
        let backend = backend(1);
        let slot = Slot::take(&backend, 0).expect("free");
        let ticket = Ticket::draw(&backend, Some(0), false);
        drop(slot);
        assert_eq!(backend.servers[0].sessions.now(), 1);
        drop(ticket);
        assert_eq!(backend.servers[0].sessions.now(), 0);
        assert!(Slot::take(&backend, 0).is_some());
    }
}
