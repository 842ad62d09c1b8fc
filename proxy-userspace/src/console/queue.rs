//! stderr of a daemon: a thread of its own writes it, so that a stopped terminal or a pipe that
//! nobody reads holds up nothing else.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So many messages may wait; further ones are left out, and counted.
const MOST: usize = 1_024;

/// How long [`Queue::settle`] waits for who does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// What waits: words, and who wants to hear that all before is written.
struct Said(Vec<u8>, Option<Sender<()>>);

/// The writing thread's queue.
pub(super) struct Queue {
    waiting: SyncSender<Said>,
    left_out: Mutex<u64>,
}

impl Queue {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// Where there can be none.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (waiting, said) = mpsc::sync_channel(MOST);
        thread::Builder::new().name("stderr".to_owned()).spawn(move || write(out, &said))?;
        Ok(Self { waiting, left_out: Mutex::new(0) })
    }

    /// Queues a message, or counts that it was left out. Never waits.
    pub(super) fn put(&self, message: &[u8]) {
        // Held until it stands in the queue, so that the number is said where the messages are missing.
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let words = [missing(*left_out).as_bytes(), message].concat();
        *left_out = match self.waiting.try_send(Said(words, None)) {
            Ok(()) => 0,
            Err(_) => *left_out + 1,
        };
    }

    /// Waits until all is written, but not for ever.
    pub(super) fn settle(&self) {
        let patient = Instant::now() + PATIENCE;
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, written) = mpsc::channel();
        let mut last = Said(missing(*left_out).into_bytes(), Some(done));
        while let Err(TrySendError::Full(unsent)) = self.waiting.try_send(last) {
            if Instant::now() >= patient {
                return;
            }
            last = unsent;
            thread::sleep(Duration::from_millis(5));
        }
        *left_out = 0;
        drop(left_out);
        // Nothing can be done for who does not read even now.
        let _ = written.recv_timeout(patient.saturating_duration_since(Instant::now()));
    }
}

/// What is said in the place of messages that were left out.
fn missing(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "teardown: 1 message is missing here: stderr was not read\n".to_owned(),
        _ => format!("teardown: {count} messages are missing here: stderr was not read\n"),
    }
}

fn write(mut out: impl Write, said: &Receiver<Said>) {
    for Said(words, done) in said {
        // Where nobody reads any more, nobody misses it.
        let _ = out.write_all(&words).and_then(|()| out.flush());
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    #[test]
    fn who_does_not_read_holds_nobody_up_and_is_told_what_is_missing() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer).expect("a thread");
        let message = [&[b'x'; 8_191][..], b"\n"].concat();
        let before = Instant::now();
        (0..100).for_each(|_| queue.put(&message));
        // Else the thread might begin only when all was said.
        while rustix::io::ioctl_fionread(&reader).expect("a pipe") < 65_536 {
            assert!(before.elapsed() < PATIENCE * 5, "the pipe is never full");
            thread::yield_now();
        }
        // More than the pipe and the queue hold.
        (100..1_500).for_each(|_| queue.put(&message));
        queue.settle();
        assert!(before.elapsed() < PATIENCE * 5, "{:?}", before.elapsed());
        let lines = thread::spawn(move || {
            BufReader::new(reader).lines().map_while(Result::ok).collect::<Vec<_>>()
        });
        queue.settle();
        queue.put(b"the last\n");
        queue.settle();
        drop(queue);
        let lines = lines.join().expect("no panic");
        let said = |line: &String| Some(line.split(' ').nth(1)?.parse::<usize>().ok()? + 1);
        let missing: Vec<_> = lines.iter().filter(|line| line.contains("missing")).collect();
        let [missing] = missing[..] else { panic!("once: {missing:?}") };
        assert_eq!(lines.last().map(String::as_str), Some("the last"));
        let written = lines.iter().filter(|line| line.starts_with('x')).count();
        assert!(written > MOST, "{written}");
        assert_eq!(Some(1_500 - written + 1), said(missing));
        assert_eq!(&lines[lines.len() - 2], missing, "where they are missing");
    }
}
