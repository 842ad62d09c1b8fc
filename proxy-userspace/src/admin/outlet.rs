//! A queue of output to one reader, bounded in bytes: the writer never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It stands in the queue.
    Queued,
    /// The reader is too far behind; nothing of it was taken.
    Full,
    /// The reader has gone; so will be all that comes later.
    Gone,
}

/// The writing end.
#[derive(Debug)]
pub struct Outlet {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

/// The reading end.
#[derive(Debug)]
pub struct Inlet {
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    /// Bytes of the batch that was handed out last: being written, so still counted as waiting.
    in_hand: usize,
}

/// A queue that holds up to `limit` bytes.
#[must_use]
pub fn pair(limit: usize) -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (
        Outlet { queue: sender, waiting: Arc::clone(&waiting), limit },
        Inlet { queue: receiver, waiting, in_hand: 0 },
    )
}

impl Outlet {
    /// Queues a copy of `batch`, whole or not at all.
    pub fn send(&self, batch: &[u8]) -> Sent {
        if self.queue.is_closed() {
            return Sent::Gone;
        }
        // Only this end adds, so what is read here can but shrink meanwhile.
        if self.waiting.load(Ordering::Relaxed) + batch.len() > self.limit {
            return Sent::Full;
        }
        self.waiting.fetch_add(batch.len(), Ordering::Relaxed);
        match self.queue.send(batch.to_vec()) {
            Ok(()) => Sent::Queued,
            Err(_) => Sent::Gone,
        }
    }

    /// Queues what must not be left out, such as the last words, whatever the limit.
    pub fn send_last(&self, batch: &[u8]) {
        self.waiting.fetch_add(batch.len(), Ordering::Relaxed);
        // A reader that is gone wants no last words.
        let _ = self.queue.send(batch.to_vec());
    }
}

impl Inlet {
    /// The next batch; `None` after the last, once the writer is gone. Asking for it says that the
    /// one before has been written.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.put_down();
        let batch = self.queue.recv().await;
        self.take_up(batch)
    }

    /// [`Inlet::next`] for a thread of its own.
    pub fn blocking_next(&mut self) -> Option<Vec<u8>> {
        self.put_down();
        let batch = self.queue.blocking_recv();
        self.take_up(batch)
    }

    fn put_down(&mut self) {
        self.waiting.fetch_sub(std::mem::take(&mut self.in_hand), Ordering::Relaxed);
    }

    fn take_up(&mut self, batch: Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.in_hand = batch.as_ref().map_or(0, Vec::len);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_recovers() {
        let (outlet, mut inlet) = pair(10);
        assert_eq!(outlet.send(b"123456"), Sent::Queued);
        assert_eq!(outlet.send(b"12345"), Sent::Full);
        assert_eq!(outlet.send(b"1234"), Sent::Queued);
        assert_eq!(inlet.blocking_next().as_deref(), Some(&b"123456"[..]));
        assert_eq!(outlet.send(b"1"), Sent::Full, "what is being written still counts");
        assert_eq!(inlet.blocking_next().as_deref(), Some(&b"1234"[..]));
        assert_eq!(outlet.send(b"123456"), Sent::Queued);
        drop(outlet);
        assert_eq!(inlet.blocking_next().as_deref(), Some(&b"123456"[..]));
        assert_eq!(inlet.blocking_next(), None);
    }

    #[test]
    fn a_reader_that_left_is_noticed() {
        let (outlet, inlet) = pair(10);
        drop(inlet);
        assert_eq!(outlet.send(b"1"), Sent::Gone);
    }
}
