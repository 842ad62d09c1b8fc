//! One client of the runtime socket: lines in, answers out.
//!
//! As with HAProxy, a session ends after its first line unless `prompt` was said; several
//! [commands] may stand in a line, and an empty line follows each answer.

use super::outlet::{self, Inlet, Outlet};
use crate::config::model::AccessLevel;
use crate::line::commands;
use crate::units;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Interest,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

/// The longest line that is read, in bytes; HAProxy's buffer is as long.
const LONGEST_LINE: u64 = 16_384;
/// How much a tail's reader may be behind before lines are left out, in bytes.
const TAIL_BACKLOG: usize = 4 << 20;
/// What of an answer a client must read before it counts as silent, in bytes.
const PIECE: usize = 16_384;
/// What a session is answered that may not do what it asks for; HAProxy's words.
pub const DENIED: &str = "Permission denied\n";

/// Something that a session wants of the daemon.
#[derive(Debug)]
pub enum Request {
    /// Carry a command out; its words are never empty.
    Command {
        /// The command's words.
        words: Vec<String>,
        /// What the session may do.
        level: AccessLevel,
        /// Where the answer goes.
        answer: oneshot::Sender<String>,
    },
    /// Send closes to `outlet` from now on.
    Tail {
        /// The words after `tail`.
        words: Vec<String>,
        /// What the session may do.
        level: AccessLevel,
        /// Where lines go.
        outlet: Outlet,
        /// What names this tail in [`Request::EndTail`], or why there is none.
        answer: oneshot::Sender<Result<u64, String>>,
    },
    /// Send the summary to a tail, and nothing more.
    EndTail(u64),
}

/// What holds for the sessions of a socket.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What they may do.
    pub level: AccessLevel,
    /// How long a client may be silent before its next line, and may leave an answer unread; none is
    /// for ever. A tail may always.
    pub silence: Option<Duration>,
    /// Places for sessions, where there is an end to them. One client of each socket is accepted and
    /// waits for a place, the others in the kernel: they take no descriptors.
    pub places: Option<Arc<Semaphore>>,
}

impl Terms {
    /// Without limits.
    #[must_use]
    pub const fn free(level: AccessLevel) -> Self {
        Self { level, silence: None, places: None }
    }
}

/// Accepts sessions until the daemon takes no more requests, and waits then for those that are open.
/// Dropped, it ends them all.
pub async fn accept(listener: UnixListener, terms: Terms, daemon: mpsc::Sender<Request>) {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = daemon.closed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let Terms { level, silence, places } = terms.clone();
                let place = match places {
                    Some(places) => tokio::select! {
                        () = daemon.closed() => break,
                        place = places.acquire_owned() => place.ok(),
                    },
                    None => None,
                };
                let daemon = daemon.clone();
                sessions.spawn(async move {
                    let _place = place;
                    // A client that goes away in the middle of an answer is no news.
                    let _ = serve(stream, level, silence, &daemon).await;
                });
            }
            Err(error) => {
                // Out of descriptors: those that are open must end first.
                tracing::warn!("runtime socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while sessions.try_join_next().is_some() {}
    }
    sessions.join_all().await;
}

async fn serve(
    mut stream: UnixStream,
    mut level: AccessLevel,
    mut silence: Option<Duration>,
    daemon: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read);
    let mut prompt = false;
    loop {
        let line = tokio::select! {
            () = daemon.closed() => return Ok(()),
            () = past(silence) => return Ok(()),
            line = next_line(&mut lines) => line?,
        };
        let line = match line {
            Line::Is(line) => line,
            Line::TooLong => {
                return say(&mut write, b"The line is longer than 16384 bytes.\n\n", silence).await;
            }
            Line::None => return Ok(()),
        };
        for words in commands(&line) {
            match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                [] => {}
                ["prompt"] => prompt = !prompt,
                ["quit"] => return Ok(()),
                // A session may give up what it may do, as in HAProxy.
                ["operator"] if level < AccessLevel::Operator => {
                    say(&mut write, format!("{DENIED}\n").as_bytes(), silence).await?;
                }
                [word @ ("operator" | "user")] => {
                    level = match *word {
                        "user" => AccessLevel::User,
                        _ => AccessLevel::Operator,
                    };
                    say(&mut write, b"\n", silence).await?;
                }
                ["set", "timeout", rest @ ..] => {
                    let text = match patience(rest) {
                        Ok(patience) => {
                            silence = Some(patience);
                            String::new()
                        }
                        Err(why) => why.to_owned(),
                    };
                    say(&mut write, format!("{text}\n").as_bytes(), silence).await?;
                }
                ["tail", rest @ ..] => {
                    let words = rest.iter().map(|&word| word.to_owned()).collect();
                    let gone = hang_up(lines.get_ref().as_ref())?;
                    let client = (&mut lines, gone, &mut write, silence);
                    return tail((words, level), client, daemon).await;
                }
                _ => {
                    let text = ask(words, level, daemon).await;
                    say(&mut write, text.as_bytes(), silence).await?;
                    say(&mut write, b"\n", silence).await?;
                }
            }
        }
        if !prompt {
            return Ok(());
        }
        say(&mut write, b"\n> ", silence).await?;
    }
}

/// The time of `set timeout cli TIME`, in whole seconds as HAProxy keeps it.
fn patience(words: &[&str]) -> Result<Duration, &'static str> {
    match words {
        ["cli", time, ..] => match units::time(time, 1_000_000) {
            Ok(ms) if ms > 0 => Ok(Duration::from_secs(ms.div_ceil(1_000).into())),
            _ => Err("Invalid timeout value.\n"),
        },
        ["cli"] => Err("Expects an integer value.\n"),
        _ => Err("'set timeout' only supports 'cli'.\n"),
    }
}

/// Writes all of it to a client that reads; one that leaves a piece for so long is given up.
async fn say(
    write: &mut (impl AsyncWrite + Unpin),
    text: &[u8],
    silence: Option<Duration>,
) -> io::Result<()> {
    for piece in text.chunks(PIECE) {
        tokio::select! {
            written = write.write_all(piece) => written?,
            () = past(silence) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}

/// Done when a client has been silent for too long.
async fn past(silence: Option<Duration>) {
    match silence {
        Some(silence) => tokio::time::sleep(silence).await,
        None => std::future::pending().await,
    }
}

enum Line {
    Is(String),
    TooLong,
    None,
}

/// The next line without its end; an unfinished one before the end of input counts as well.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Line> {
    let mut line = Vec::new();
    lines.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    Ok(if line.is_empty() {
        Line::None
    } else if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
        Line::TooLong
    } else {
        Line::Is(String::from_utf8_lossy(&line).into_owned())
    })
}

async fn ask(words: Vec<String>, level: AccessLevel, daemon: &mpsc::Sender<Request>) -> String {
    let (answer, answered) = oneshot::channel();
    let stopping = || "teardown is stopping.\n".to_owned();
    if daemon.send(Request::Command { words, level, answer }).await.is_err() {
        return stopping();
    }
    answered.await.unwrap_or_else(|_| stopping())
}

/// Done when the client is gone; one that has only ended its input is not.
fn hang_up(stream: &UnixStream) -> io::Result<impl Future<Output = ()> + use<>> {
    // Of this descriptor nothing is awaited that comes, so that only a hang-up wakes.
    let stream = stream.as_fd().try_clone_to_owned()?;
    // SAFETY: the copy owns its descriptor and keeps it for as long as it lives.
    let stream = unsafe { AsyncFd::register_with_interest(stream, Interest::PRIORITY) }
        .map_err(|error| error.into_parts().1)?;
    Ok(async move { drop(stream.ready(Interest::PRIORITY).await) })
}

/// Copies closes to the client until the daemon stops or the client is gone. A line from the client
/// asks for the summary; the end of its input alone does not, as `echo tail | socat` closes it early.
async fn tail(
    (words, level): (Vec<String>, AccessLevel),
    (lines, gone, write, silence): (
        &mut (impl AsyncBufRead + Unpin),
        impl Future<Output = ()>,
        &mut (impl AsyncWrite + Unpin),
        Option<Duration>,
    ),
    daemon: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let (outlet, mut inlet): (_, Inlet) = outlet::pair(TAIL_BACKLOG);
    let (answer, answered) = oneshot::channel();
    if daemon.send(Request::Tail { words, level, outlet, answer }).await.is_err() {
        return Ok(());
    }
    let id = match answered.await {
        Ok(Ok(id)) => id,
        Ok(Err(refusal)) => {
            say(write, refusal.as_bytes(), silence).await?;
            return say(write, b"\n", silence).await;
        }
        Err(_) => return Ok(()),
    };
    let mut listening = true;
    tokio::pin!(gone);
    loop {
        tokio::select! {
            // Where nothing is written nothing else tells.
            () = &mut gone => {
                let _ = daemon.send(Request::EndTail(id)).await;
                return Ok(());
            }
            batch = inlet.next() => match batch {
                Some(batch) => write.write_all(&batch).await?,
                None => return write.shutdown().await,
            },
            line = next_line(lines), if listening => {
                listening = false;
                if matches!(line?, Line::Is(_) | Line::TooLong) {
                    // A daemon that is gone has closed the inlet, too.
                    let _ = daemon.send(Request::EndTail(id)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
