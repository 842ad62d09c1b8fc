//! Idle keep-alive connections, parked: no task, no buffer, no registration of their own.
//!
//! Their descriptors are in an epoll of their own, which the worker's runtime watches as one.

use std::{
    cell::{Cell, RefCell},
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::event::epoll;
use slab::Slab;

use super::{
    client::Client,
    closes::Doing,
    held::HeldProxies,
    presence::Presence,
    worker::{CROWD, Worker},
};

/// Ticks after a crowd's last full count until the rest's memory is given back: by then the tasks that
/// waited for another connection have gone, too (`crew.rs`).
const REST: u8 = 3;

/// A parked connection.
#[derive(Debug)]
pub(crate) struct Parked {
    /// Its session's number, which it keeps.
    pub(crate) serial: u64,
    pub(crate) fd: OwnedFd,
    /// Those of its frontend: a reload may have put others in their place meanwhile.
    pub(crate) proxies: Rc<HeldProxies>,
    pub(crate) presence: Presence,
    pub(crate) addresses: [Option<SocketAddr>; 2],
    pub(crate) requests: u64,
    /// Since when it is idle.
    pub(crate) since: Instant,
    /// What its last request was doing when it ended.
    pub(crate) last: Doing,
    /// Milliseconds that it was there by then, 49 days at most.
    before: u32,
    /// Its last request's backend and server, where the next one prefers it; small numbers, as there
    /// may be very many parked connections.
    last_server: Option<(u32, u32)>,
}

impl Parked {
    /// When it was accepted.
    pub(crate) fn accepted(&self) -> Instant {
        let before = Duration::from_millis(self.before.into());
        self.since.checked_sub(before).unwrap_or(self.since)
    }

    /// Until when it may be idle.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.presence.frontend.settings.timeouts.between_requests().map(|idle| self.since + idle)
    }

    /// Its last request's backend and server, by their places, where the next one prefers it.
    pub(crate) fn last_server(&self) -> Option<(usize, usize)> {
        self.last_server.map(|(backend, server)| (backend as usize, server as usize))
    }

    /// Closes it.
    pub(crate) fn part(self, worker: &Worker) {
        worker.part(self.fd.as_fd(), &self.presence.frontend, false, &self.last);
    }
}

/// A worker's parked connections.
#[derive(Debug)]
pub(crate) struct Lot {
    epoll: OwnedFd,
    cars: RefCell<Slab<Parked>>,
    /// Parked since memory was last given back.
    lately: Cell<usize>,
    /// Ticks until memory is given back once more, after a crowd or the start; none is due at 0.
    rest_in: Cell<u8>,
}

impl Lot {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, cars: RefCell::default(), lately: Cell::new(0), rest_in: Cell::new(REST) })
    }

    /// One whose connections never stir: its descriptor cannot be watched.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        let folder = std::fs::File::open("/").expect("every host has it");
        Self { epoll: folder.into(), ..Self::new().expect("a descriptor") }
    }

    /// Parks a connection. If that fails it is closed, as after its timeout.
    pub(crate) fn park(&self, mut client: Client) {
        let mut cars = self.cars.borrow_mut();
        let entry = cars.vacant_entry();
        let data = epoll::EventData::new_u64(entry.key() as u64);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if epoll::add(&self.epoll, &client.sock, data, flags).is_err() {
            drop(cars);
            return client.part();
        }
        client.note_requests();
        let Client { proxies, sock, presence, session, local, requests, since, last, .. } = client;
        let (serial, addresses) = (session.serial, [session.client, local]);
        let before = since.duration_since(session.accepted).as_millis();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let last_server = client.last_server.and_then(|(backend, server)| {
            Some((u32::try_from(backend).ok()?, u32::try_from(server).ok()?))
        });
        let fd = sock.into_fd();
        self.lately.set(self.lately.get() + 1);
        entry.insert(Parked {
            serial,
            fd,
            proxies,
            presence,
            addresses,
            requests,
            since,
            last,
            before,
            last_server,
        });
    }

    /// Takes out all (a soft stop).
    pub(crate) fn clear(&self) -> Vec<Parked> {
        self.cars.borrow_mut().drain().collect()
    }

    /// Takes out the one with that number (`shutdown session`).
    pub(crate) fn take(&self, serial: u64) -> Option<Parked> {
        let mut cars = self.cars.borrow_mut();
        let (key, _) = cars.iter().find(|(_, parked)| parked.serial == serial)?;
        cars.try_remove(key)
    }

    pub(crate) fn for_each(&self, mut each: impl FnMut(&Parked)) {
        self.cars.borrow().iter().for_each(|(_, parked)| each(parked));
    }

    /// Takes out what was idle for too long.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Parked> {
        let mut cars = self.cars.borrow_mut();
        let late = |parked: &Parked| parked.deadline().is_some_and(|then| now >= then);
        let late: Vec<usize> =
            cars.iter().filter(|(_, parked)| late(parked)).map(|(key, _)| key).collect();
        late.into_iter().filter_map(|key| cars.try_remove(key)).collect()
    }

    /// Whether memory is to be given back, asked at each tick: that of a crowd's tasks, after it was
    /// parked; and that of its last, who are less than a crowd, a little later. What starting took is
    /// given back once, too.
    pub(crate) fn owes_memory(&self) -> bool {
        let crowd = self.lately.get() >= CROWD;
        let before = self.rest_in.get();
        self.rest_in.set(if crowd { REST } else { before.saturating_sub(1) });
        let owes = crowd || before == 1;
        if owes {
            self.lately.set(0);
        }
        owes
    }

    /// Makes room for those who are here, and for no more.
    pub(crate) fn shrink(&self) {
        self.cars.borrow_mut().shrink_to_fit();
    }

    /// Takes out what stirred.
    pub(crate) fn stirred(&self) -> Vec<Parked> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((ready, _)) = epoll::wait(&self.epoll, &mut events, Some(&none)) else {
            return Vec::new();
        };
        let mut cars = self.cars.borrow_mut();
        let mut stirred = Vec::with_capacity(ready.len());
        for event in ready {
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(parked) = cars.try_remove(key) {
                // It is about to be watched by the runtime itself.
                let _ = epoll::delete(&self.epoll, &parked.fd);
                stirred.push(parked);
            }
        }
        if cars.is_empty() && cars.capacity() > 1024 {
            cars.shrink_to_fit();
        }
        stirred
    }
}

/// The descriptor that is ready when a connection stirs.
impl AsFd for Lot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::Parked;

    #[test]
    fn a_parked_connection_is_small() {
        // There may be very many: a larger one should be so on purpose (docs/performance.md).
        assert!(size_of::<Parked>() <= 192, "{} bytes", size_of::<Parked>());
    }
}
