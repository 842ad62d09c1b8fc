//! Which sockets have something to be read, and which have room to be written: an epoll(7) of the
//! worker's own, which its runtime watches as one descriptor.
//!
//! Unlike a registration with the runtime itself, which never forgets that a peer has closed, one
//! here is good for the socket's next connection, too ([`Spares`](super::spares::Spares)); and
//! closing the socket ends it without a system call, a lock or an allocation.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
};
use slab::Slab;
use tokio::io::{Interest, unix::AsyncFd};

/// So many events are taken at once.
const BATCH: usize = 128;

/// The memory of so many is not worth giving back.
const FEW: usize = 1024;

/// What every socket is watched for; each change is told once.
const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// The sockets that a worker watches.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: AsyncFd<OwnedFd>,
    places: RefCell<Slab<Place>>,
}

/// What is known of a socket, and who waits to know more.
#[derive(Debug, Default)]
struct Place {
    ready: Ready,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a socket is ready for, as far as it was told and not found otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// A read will not block.
    pub(crate) read: bool,
    /// A write will not block.
    pub(crate) write: bool,
    /// The peer has sent its FIN, or a RST.
    pub(crate) closed: bool,
}

impl From<EventFlags> for Ready {
    fn from(flags: EventFlags) -> Self {
        let any = |of: EventFlags| flags.intersects(of);
        let over = EventFlags::HUP | EventFlags::ERR;
        Self {
            read: any(EventFlags::IN | EventFlags::RDHUP | over),
            write: any(EventFlags::OUT | over),
            closed: any(EventFlags::RDHUP | EventFlags::HUP),
        }
    }
}

impl Watch {
    /// To be called within the worker's runtime.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: the registration owns the descriptor.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }?;
        Ok(Rc::new(Self { epoll, places: RefCell::default() }))
    }

    /// Wakes those for whom something has changed, for ever.
    pub(crate) async fn run(&self) -> io::Result<Infallible> {
        loop {
            let mut guard = self.epoll.readable().await?;
            if self.look()? < BATCH {
                guard.clear_ready();
            }
        }
    }

    /// Makes room for those who are here, and for no more.
    pub(crate) fn shrink(&self) {
        self.places.borrow_mut().shrink_to_fit();
    }

    /// Takes note of what has changed; of how many sockets.
    fn look(&self) -> io::Result<usize> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let events = match epoll::wait(self.epoll.get_ref(), &mut events, Some(&none)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(BATCH),
            Err(error) => return Err(error.into()),
        };
        for event in &*events {
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            self.note(key, event.flags.into());
        }
        Ok(events.len())
    }

    fn note(&self, key: usize, new: Ready) {
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(key) else { return };
        place.ready.closed |= new.closed;
        place.ready.read |= new.read;
        place.ready.write |= new.write;
        let reader = place.reader.take_if(|_| new.read);
        let writer = place.writer.take_if(|_| new.write);
        drop(places);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }
}

/// A socket's place among those that are watched. It is to end before the socket is closed.
#[derive(Debug)]
pub(crate) struct Watched {
    watch: Rc<Watch>,
    key: usize,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut places = self.watch.places.borrow_mut();
        let _place = places.remove(self.key);
        if places.is_empty() && places.capacity() > FEW {
            places.shrink_to_fit();
        }
        // Its waker goes once nobody looks at the places.
        drop(places);
    }
}

impl Watched {
    /// Watches a socket, for something to be read.
    pub(crate) fn new(watch: &Rc<Watch>, socket: impl AsFd) -> io::Result<Self> {
        let key = watch.places.borrow_mut().insert(Place::default());
        let new = Self { watch: Rc::clone(watch), key };
        epoll::add(watch.epoll.get_ref(), socket, new.data(), READING)?;
        Ok(new)
    }

    /// Watches it for room to be written, too.
    pub(crate) fn widen(&self, socket: impl AsFd) -> io::Result<()> {
        let flags = READING | EventFlags::OUT;
        Ok(epoll::modify(self.watch.epoll.get_ref(), socket, self.data(), flags)?)
    }

    /// Ends it for a socket that stays open.
    pub(crate) fn end(self, socket: impl AsFd) {
        // On failure nothing is told of it any more all the same.
        let _ = epoll::delete(self.watch.epoll.get_ref(), socket);
    }

    /// What is known.
    pub(crate) fn ready(&self) -> Ready {
        self.watch.places.borrow()[self.key].ready
    }

    /// Forgets all, for the socket's next connection.
    pub(crate) fn renew(&self) {
        let _before = std::mem::take(&mut self.watch.places.borrow_mut()[self.key]);
    }

    /// A read has blocked, or found less than it asked for: there will be news when there is more.
    pub(crate) fn read_all(&self) {
        let mut places = self.watch.places.borrow_mut();
        let ready = &mut places[self.key].ready;
        // Of a FIN no more is told.
        ready.read = ready.closed;
    }

    /// A write has blocked.
    pub(crate) fn is_full(&self) {
        self.watch.places.borrow_mut()[self.key].ready.write = false;
    }

    /// Waits until a read will not block.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Ready> {
        let mut places = self.watch.places.borrow_mut();
        let Place { ready, reader, .. } = &mut places[self.key];
        if ready.read { Poll::Ready(*ready) } else { wait(reader, cx) }
    }

    /// Waits until a write will not block.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<Ready> {
        let mut places = self.watch.places.borrow_mut();
        let Place { ready, writer, .. } = &mut places[self.key];
        if ready.write { Poll::Ready(*ready) } else { wait(writer, cx) }
    }

    fn data(&self) -> EventData {
        EventData::new_u64(self.key as u64)
    }
}

fn wait<T>(waker: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    match waker {
        Some(known) => known.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
    Poll::Pending
}

#[cfg(test)]
mod tests;
