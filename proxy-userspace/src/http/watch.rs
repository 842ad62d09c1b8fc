//! Which sockets have something to be read, and which have room to be written, by the epoll(7) that
//! the worker's runtime waits for.
//!
//! A place here is good for the socket's next connection, too ([`Spares`](super::spares::Spares)); and
//! closing the socket ends it without a system call, a lock or an allocation.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
    io::Errno,
};
use slab::Slab;

/// So many events are taken at once.
const BATCH: usize = 128;

/// No socket's place.
const BELL: u64 = u64::MAX;

/// The memory of so many is not worth giving back.
const FEW: usize = 1024;

/// What every socket is watched for; each change is told once.
const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// The sockets that a worker watches.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: OwnedFd,
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
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Rc::new(Self { epoll, places: RefCell::default() }))
    }

    /// Waits for this one, too, and tells nobody of it.
    pub(crate) fn hear(&self, bell: impl AsFd) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.epoll, bell, EventData::new_u64(BELL), flags)?)
    }

    /// Makes room for those who are here, and for no more.
    pub(crate) fn shrink(&self) {
        self.places.borrow_mut().shrink_to_fit();
    }

    /// Waits for so long, without a time for ever, until something changes, and wakes those for whom
    /// it has.
    pub(crate) fn wait(&self, time: Option<Duration>) -> io::Result<()> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
        // What is too long for the kernel is for ever.
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let events = match epoll::wait(&self.epoll, &mut events, time.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in &*events {
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            self.note(key, event.flags.into());
        }
        Ok(())
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
        epoll::add(&watch.epoll, socket, new.data(), READING)?;
        Ok(new)
    }

    /// Watches it for room to be written, too.
    pub(crate) fn widen(&self, socket: impl AsFd) -> io::Result<()> {
        let flags = READING | EventFlags::OUT;
        Ok(epoll::modify(&self.watch.epoll, socket, self.data(), flags)?)
    }

    /// Ends it for a socket that stays open.
    pub(crate) fn end(self, socket: impl AsFd) {
        // On failure nothing is told of it any more all the same.
        let _ = epoll::delete(&self.watch.epoll, socket);
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

/// A place of a descriptor that is open for longer than it is watched.
#[derive(Debug)]
pub(crate) struct Lent<'a, T: AsFd> {
    /// There until it is dropped.
    watched: Option<Watched>,
    of: &'a T,
}

impl<'a, T: AsFd> Lent<'a, T> {
    /// Watches it, for something to be read.
    pub(crate) fn new(watch: &Rc<Watch>, of: &'a T) -> io::Result<Self> {
        Ok(Self { watched: Some(Watched::new(watch, of)?), of })
    }

    /// Waits until a read will not block.
    pub(crate) async fn readable(&self) -> Ready {
        poll_fn(|cx| self.watched.as_ref().map_or(Poll::Pending, |it| it.poll_read(cx))).await
    }

    /// All was read.
    pub(crate) fn read_all(&self) {
        self.watched.iter().for_each(Watched::read_all);
    }
}

impl<T: AsFd> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        self.watched.take().into_iter().for_each(|watched| watched.end(self.of));
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
