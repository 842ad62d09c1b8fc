//! Moving a body from one connection to the other, as fast as the slower one takes it.
//!
//! At most one read is in memory: what the sink does not take is kept, and nothing more is read
//! until it is gone.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use super::{
    chunked::{Chunked, Piece},
    framing::Framing,
    refusal::Refusal,
    sock::Sock,
    splice::{LARGE, Pipe},
    worker::Worker,
};

/// What is left of a body.
#[derive(Debug)]
pub(crate) enum Body {
    Over,
    Length(u64),
    Chunked(Box<Chunked>),
    Close,
}

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Over,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::default()),
            Framing::Close => Self::Close,
        }
    }
}

impl Body {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// How many of these bytes belong to the body.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self {
            Self::Over => Ok(0),
            Self::Close => Ok(bytes.len()),
            Self::Length(left) => {
                let here = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.passed(here as u64);
                Ok(here)
            }
            Self::Chunked(chunked) => {
                let (here, over) = chunked.follow(bytes)?;
                if over {
                    *self = Self::Over;
                }
                Ok(here)
            }
        }
    }

    /// As [`Body::follow`], and the data alone is moved to the front; returns how much it is.
    fn unframe(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), Refusal> {
        let Self::Chunked(chunked) = self else {
            let here = self.follow(bytes)?;
            return Ok((here, here));
        };
        let (mut at, mut data) = (0, 0);
        while at < bytes.len() && !chunked.is_over() {
            match chunked.next(&bytes[at..])? {
                Piece::Data(n) => {
                    bytes.copy_within(at..at + n, data);
                    data += n;
                    at += n;
                }
                Piece::Framing(n) | Piece::End(n) => at += n,
            }
        }
        if chunked.is_over() {
            *self = Self::Over;
        }
        Ok((at, data))
    }

    /// Bytes that surely are data, so that nobody has to look at them.
    fn opaque(&self) -> u64 {
        match self {
            Self::Over => 0,
            Self::Length(left) => *left,
            Self::Chunked(chunked) => chunked.left(),
            Self::Close => u64::MAX,
        }
    }

    /// Whether more is known to follow: what a sender may wait for, 200 ms long, before it sends a
    /// part of a segment. Nobody knows that of a tunnel, or of a chunk after this one.
    fn goes_on(&self) -> bool {
        !matches!(self, Self::Close) && self.opaque() > 0
    }

    fn passed(&mut self, bytes: u64) {
        match self {
            Self::Length(left) => {
                *left -= bytes;
                if *left == 0 {
                    *self = Self::Over;
                }
            }
            Self::Chunked(chunked) => chunked.passed(bytes),
            Self::Over | Self::Close => {}
        }
    }
}

/// So much at once is more than two sides say in turn.
const LARGE_PIECE: usize = 16 * 1024;

/// Why a body did not come through.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The source failed.
    Read(#[expect(dead_code, reason = "shown by Debug")] io::Error),
    /// The source closed before the body was over.
    Cut,
    /// The sink failed.
    Write(io::Error),
    /// The source sent what is no body.
    Refused(Refusal),
}

/// Which side a pump waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Source,
    Sink,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) body: Body,
    /// Read, and to be written before more is read.
    pending: Vec<u8>,
    written: usize,
    pipe: Option<Pipe>,
    /// Send the data without its chunks.
    unframed: bool,
    /// The sink is [finished](Sock::finish) as soon as the body is over.
    pub(crate) closes: bool,
    /// Bytes written so far.
    pub(crate) moved: u64,
    /// Bytes read so far.
    pub(crate) taken: u64,
    /// Bytes of the last read.
    last: usize,
    pub(crate) waits: Waits,
}

impl Pump {
    pub(crate) fn new(body: Body, unframed: bool) -> Self {
        Self {
            body,
            pending: Vec::new(),
            written: 0,
            pipe: None,
            unframed,
            closes: false,
            moved: 0,
            taken: 0,
            last: 0,
            waits: Waits::Source,
        }
    }

    /// Another body follows on what is still to be written.
    pub(crate) fn carry_on(mut self, body: Body, unframed: bool) -> Self {
        self.body = body;
        self.unframed = unframed;
        self.closes = false;
        self
    }

    /// The first bytes of the body, already read with its head: how many they are, and what is to
    /// be sent of them. `own` is room for them where they must be changed.
    pub(crate) fn first<'b>(
        &mut self,
        bytes: &'b [u8],
        own: &'b mut Vec<u8>,
    ) -> Result<(usize, &'b [u8]), Refusal> {
        if self.unframed {
            own.extend_from_slice(bytes);
            let (used, data) = self.body.unframe(own)?;
            self.taken += used as u64;
            return Ok((used, &own[..data]));
        }
        let used = self.body.follow(bytes)?;
        self.taken += used as u64;
        Ok((used, &bytes[..used]))
    }

    /// Nothing is left to be read or written.
    pub(crate) fn is_done(&self) -> bool {
        self.body.is_over() && self.is_flushed()
    }

    /// Everything that was read is written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty() && self.pipe.as_ref().is_none_or(|pipe| pipe.filled == 0)
    }

    /// Counts what was written outside, and keeps what was not.
    pub(crate) fn keep(&mut self, worker: &Worker, slices: &[&[u8]], written: usize) {
        self.moved += written as u64;
        let mut skip = written;
        for slice in slices {
            let rest = &slice[skip.min(slice.len())..];
            skip = skip.saturating_sub(slice.len());
            if !rest.is_empty() {
                if self.pending.capacity() == 0 {
                    self.pending = worker.buffer();
                }
                self.pending.extend_from_slice(rest);
            }
        }
    }

    /// Gives the buffers back.
    pub(crate) fn recycle(&mut self, worker: &Worker) {
        worker.give_back(std::mem::take(&mut self.pending));
        if let Some(pipe) = self.pipe.take() {
            worker.pipes.give_back(pipe);
        }
    }

    /// Moves what can be moved; ready when the body is over and written. Bytes of the source
    /// after the body go to `rest`, bytes of `rest` are taken first.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &Sock,
        rest: &mut Vec<u8>,
        to: &Sock,
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.waits = Waits::Sink;
            ready!(self.poll_flush(cx, worker, to)).map_err(Broken::Write)?;
            if self.body.is_over() {
                return Poll::Ready(Ok(()));
            }
            self.waits = Waits::Source;
            if !rest.is_empty() {
                let mut early = std::mem::take(rest);
                let (used, data) = self.look(&mut early)?;
                let sent = self.send(&early[..data], to)?;
                self.keep(worker, &[&early[..data]], sent);
                early.drain(..used);
                *rest = early;
                continue;
            }
            let pipe_pays = self.pipe_pays();
            if pipe_pays && self.pipe.is_none() {
                self.pipe = worker.pipes.take();
            }
            if let Some(pipe) = self.pipe.take_if(|_| !pipe_pays) {
                worker.pipes.give_back(pipe);
            }
            if self.pipe.is_some() {
                ready!(self.poll_fill(cx, from))?;
                continue;
            }
            ready!(self.poll_copy(cx, worker, from, rest, to))?;
        }
    }

    /// Whether a pipe pays: for what is known to be large, or comes in large pieces.
    fn pipe_pays(&self) -> bool {
        match self.body {
            Body::Close => self.last >= LARGE_PIECE,
            _ => self.pipe.is_some() || self.body.opaque() > LARGE,
        }
    }

    /// Writes what was read.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        to: &Sock,
    ) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let slice = [IoSlice::new(&self.pending[self.written..])];
            let sent = ready!(to.poll_send(cx, &slice))?;
            self.written += sent;
            self.moved += sent as u64;
        }
        if !self.pending.is_empty() {
            self.written = 0;
            worker.give_back(std::mem::take(&mut self.pending));
        }
        while let Some(pipe) = &mut self.pipe
            && pipe.filled > 0
        {
            to.hurry();
            match pipe.drain(to, self.body.goes_on()) {
                Ok(moved) => self.moved += moved as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(to.poll_writable(cx, true))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.body.opaque() == 0
            && let Some(pipe) = self.pipe.take()
        {
            worker.pipes.give_back(pipe);
        }
        Poll::Ready(Ok(()))
    }

    /// Fills the pipe once.
    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &Sock) -> Poll<Result<(), Broken>> {
        let opaque = self.body.opaque();
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        let mut blocked = false;
        loop {
            ready!(from.poll_readable(cx, blocked)).map_err(Broken::Read)?;
            match pipe.fill(from, opaque) {
                Ok(0) => return Poll::Ready(self.end_of_source()),
                Ok(moved) => {
                    self.taken += moved as u64;
                    self.last = moved;
                    self.body.passed(moved as u64);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Err(error) => return Poll::Ready(Err(Broken::Read(error))),
            }
        }
    }

    /// Reads once and writes what the sink takes.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &Sock,
        rest: &mut Vec<u8>,
        to: &Sock,
    ) -> Poll<Result<(), Broken>> {
        let mut scratch = worker.scratch.borrow_mut();
        let count = ready!(from.poll_recv(cx, &mut scratch)).map_err(Broken::Read)?;
        if count == 0 {
            return Poll::Ready(self.end_of_source());
        }
        self.last = count;
        let bytes = &mut scratch[..count];
        let (used, data) = self.look(bytes)?;
        rest.extend_from_slice(&bytes[used..]);
        let sent = self.send(&bytes[..data], to)?;
        self.keep(worker, &[&bytes[..data]], sent);
        Poll::Ready(Ok(()))
    }

    /// How many bytes belong to the body, and how many of them are to be sent.
    fn look(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), Broken> {
        let result = if self.unframed {
            self.body.unframe(bytes)
        } else {
            self.body.follow(bytes).map(|used| (used, used))
        };
        let (used, data) = result.map_err(Broken::Refused)?;
        self.taken += used as u64;
        Ok((used, data))
    }

    fn send(&self, bytes: &[u8], to: &Sock) -> Result<usize, Broken> {
        self.try_send(&[IoSlice::new(bytes)], to).map_err(Broken::Write)
    }

    /// Writes what the sink takes at once.
    pub(crate) fn try_send(&self, slices: &[IoSlice<'_>], to: &Sock) -> io::Result<usize> {
        let last = self.closes && self.body.is_over();
        match if last { to.try_send_last(slices) } else { to.try_send(slices) } {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    fn end_of_source(&mut self) -> Result<(), Broken> {
        if !matches!(self.body, Body::Close) {
            return Err(Broken::Cut);
        }
        self.body = Body::Over;
        Ok(())
    }
}
