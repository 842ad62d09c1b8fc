//! HTTP/1 heads in captured bytes: what the connection was asked and answered.
//!
//! Where one message ends, and the next one's head begins, is followed as far as heads and bodies were
//! captured in order; behind what was not, a head is read where a segment begins with one.

mod chunks;
mod message;
mod part;

use crate::http::proxy_line;
use chunks::{Chunks, Step};
pub use message::{Head, Request, Response};
use message::{Length, read};
use part::Part;
use proxy_common::key::Side;
use proxy_common::segment::{SYN, Segment};
use proxy_common::seq::{after, before};
use std::collections::VecDeque;

/// Requests that are waited for at most; of more, the answers are missing.
const WAITING: usize = 1000;

/// The last request, and what was answered to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// Requests seen.
    pub requests: u32,
    /// Responses seen, interim ones (1xx) apart.
    pub responses: u32,
    /// The last request.
    pub request: Option<Request>,
    /// The last response since then.
    pub response: Option<Response>,
    /// Who asks.
    client: Option<Side>,
    /// Requests that no response came for so far, the first first.
    waiting: VecDeque<Asked>,
    /// The request that the last response is to.
    answered: Option<Asked>,
    /// What the client had acknowledged when it asked last.
    acked: u32,
    streams: [Stream; 2],
}

/// What of a request decides how long its response is (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Head,
    Connect,
    Other,
}

/// What one side sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stream {
    next: Next,
    /// The sequence number that its last head begins at.
    last: Option<u32>,
}

/// Where its next head begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Next {
    /// Anywhere: where a segment begins with one.
    #[default]
    Anywhere,
    /// At this sequence number.
    At(u32),
    /// Behind these chunks.
    Behind(Chunks),
    /// It has begun, and goes on.
    Within(Part),
    /// Nowhere: a body goes on to the connection's end, or the connection has become a tunnel.
    Nowhere,
}

impl Next {
    /// Behind the body of a message whose head was seen.
    fn behind(body: Option<u32>, length: Length) -> Self {
        match (body, length) {
            (None, _) => Self::Anywhere,
            (Some(body), Length::Chunked) => Self::Behind(Chunks::new(body)),
            (Some(_), Length::ToTheEnd) => Self::Nowhere,
            (Some(body), Length::Bytes(length)) => {
                end(body, length).map_or(Self::Anywhere, Self::At)
            }
        }
    }

    /// Where in `bytes`, the first of which has this number, the next head is to be.
    fn find(&mut self, seq: u32, bytes: &[u8]) -> Option<usize> {
        if let Self::Behind(chunks) = self {
            let gap = seq.wrapping_sub(chunks.at).cast_signed();
            let step = match usize::try_from(gap) {
                Ok(gap) if gap == 0 || chunks.skip(gap as u32) => chunks.read(bytes),
                Ok(_) => Step::Bad,
                Err(_) => chunks.read(bytes.get(gap.unsigned_abs() as usize..)?),
            };
            *self = match step {
                Step::On => return None,
                Step::End => Self::At(chunks.at),
                Step::Bad => Self::Anywhere,
            };
        }
        match *self {
            Self::At(at) => match usize::try_from(at.wrapping_sub(seq).cast_signed()) {
                Ok(at) => (at < bytes.len()).then_some(at),
                // What lies between was not captured.
                Err(_) => {
                    *self = Self::Anywhere;
                    Some(0)
                }
            },
            Self::Anywhere => Some(proxy_line::length(bytes)),
            Self::Behind(_) | Self::Within(_) | Self::Nowhere => None,
        }
    }
}

/// The sequence number behind a body. Numbers go round: of what is longer than half of that, none tells
/// whether it was sent.
fn end(body: u32, length: u64) -> Option<u32> {
    let length = u32::try_from(length).ok().filter(|&length| length < 1 << 31)?;
    Some(body.wrapping_add(length))
}

impl Heads {
    /// Whether the last exchange has told that the connection ends with it (RFC 9112, 9.3).
    #[must_use]
    pub fn promise_close(&self) -> bool {
        let (Some(request), Some(response)) = (&self.request, &self.response) else { return false };
        let is_asked = request.close || (request.is_1_0 && !request.keep_alive);
        response.close
            || (response.is_1_0 && !response.keep_alive)
            || is_asked && self.waiting.is_empty()
    }

    /// Whether the last exchange has told that the connection does not end with it.
    #[must_use]
    pub fn promise_to_stay(&self) -> bool {
        let is_whole = self.response.as_ref().is_some_and(|response| response.body.is_some());
        is_whole && self.request.is_some() && !self.promise_close()
    }

    /// The sequence number behind the last response, where its head tells how long it is.
    #[must_use]
    pub fn response_end(&self) -> Option<u32> {
        let response = self.response.as_ref()?;
        match response.length {
            Length::Bytes(length) => end(response.body?, length),
            Length::Chunked | Length::ToTheEnd => None,
        }
    }

    /// `GET /health: 200`, in one line. That there was no answer can be said only where the server
    /// was captured too.
    #[must_use]
    pub fn line(&self, is_captured: bool) -> Option<String> {
        let request =
            self.request.as_ref().map(|request| format!("{} {}", request.method, request.target));
        let response = self.response.as_ref().filter(|_| self.waiting.is_empty());
        let response = response.map(|response| response.status.to_string());
        match (request, response) {
            (None, None) => None,
            (Some(request), None) if is_captured => Some(format!("{request}: no answer")),
            (Some(request), None) => Some(request),
            (None, Some(status)) => Some(format!("answer {status}")),
            (Some(request), Some(status)) => Some(format!("{request}: {status}")),
        }
    }

    /// Finds the heads in a segment and, where it `counts`, takes those that are new into the account.
    /// `kept` holds what came before, if that was any; each head is shown to `found`.
    pub fn find(
        kept: &mut Option<Box<Self>>,
        segment: &Segment,
        payload: &[u8],
        counts: bool,
        mut found: impl FnMut(&Head),
    ) {
        if payload.is_empty() {
            return;
        }
        let seq = segment.seq.wrapping_add(u32::from(segment.has(SYN)));
        match kept {
            Some(heads) if counts => heads.follow(segment, seq, payload, None, found),
            // Copies may differ in what was captured of them.
            Some(heads) => heads.repeated(segment.sender, seq, payload).iter().for_each(found),
            None => {
                let at = proxy_line::length(payload);
                let head = payload.get(at..).and_then(|b| read(seq.wrapping_add(at as u32), b));
                let Some(head) = head else { return };
                if counts {
                    kept.insert(Box::default()).follow(segment, seq, payload, Some(head), found);
                } else {
                    found(&head);
                }
            }
        }
    }

    /// The head that is sent again.
    fn repeated(&self, sender: Side, seq: u32, payload: &[u8]) -> Option<Head> {
        let is_old = self.streams[sender.index()].last.is_some_and(|last| !after(seq, last));
        if is_old { read(seq, payload) } else { None }
    }

    /// Finds the heads in a segment that counts; the `first` may have been read already.
    fn follow(
        &mut self,
        segment: &Segment,
        seq: u32,
        payload: &[u8],
        mut first: Option<Head>,
        mut found: impl FnMut(&Head),
    ) {
        let side = segment.sender.index();
        self.repeated(segment.sender, seq, payload).iter().for_each(&mut found);
        let is_whole = payload.len() == segment.payload as usize;
        let joined;
        let (seq, payload, segments) = match self.join(side, seq, payload) {
            Some(part) => {
                joined = part;
                (joined.seq, &joined.bytes[..], joined.segments)
            }
            None => (seq, payload, 1),
        };
        while let Some(at) = self.streams[side].next.find(seq, payload) {
            let bytes = payload.get(at..).unwrap_or_default();
            let at = seq.wrapping_add(at as u32);
            let stream = &mut self.streams[side];
            let is_expected = std::mem::take(&mut stream.next) != Next::Anywhere;
            let last = stream.last;
            let is_new = last.is_none_or(|last| after(at, last) || is_expected && at == last);
            let head = first.take().or_else(|| read(at, bytes));
            let head = head.filter(|head| is_new && self.is_from(segment.sender, head));
            let has_begun =
                is_expected || head.is_some() || is_new && bytes.starts_with(b"HTTP/1.");
            if let Some(head) = head {
                let again = self.streams[side].last.replace(at) == Some(at);
                if !again {
                    found(&head);
                }
                self.note(segment, head, again);
            }
            let next = &mut self.streams[side].next;
            if *next == Next::Anywhere {
                let segments = if at == seq { segments } else { 1 };
                let part = (is_whole && has_begun).then(|| Part::of(at, bytes, segments)).flatten();
                *next = part.map_or(Next::Anywhere, Next::Within);
                break;
            }
        }
    }

    /// What has begun, with what comes next of it.
    fn join(&mut self, side: usize, seq: u32, payload: &[u8]) -> Option<Part> {
        let next = &mut self.streams[side].next;
        if !matches!(next, Next::Within(part) if !before(seq, part.end())) {
            return None;
        }
        let Next::Within(part) = std::mem::take(next) else { return None };
        let part = part.with(seq, payload)?;
        *next = Next::At(part.seq);
        Some(part)
    }

    /// Whether such a head can be the sender's: clients ask, servers answer.
    fn is_from(&self, sender: Side, head: &Head) -> bool {
        let client = match head {
            Head::Request(_) => sender,
            Head::Response(_) => sender.other(),
        };
        self.client.is_none_or(|known| known == client)
    }

    /// Takes a head into the account; `again` where its beginning is in there already.
    fn note(&mut self, segment: &Segment, head: Head, again: bool) {
        let (ours, theirs) = (segment.sender.index(), segment.sender.other().index());
        match head {
            Head::Request(request) => {
                self.client = Some(segment.sender);
                self.streams[ours].next = Next::behind(request.body, request.length);
                if again {
                    self.request = Some(request);
                    return;
                }
                // Where responses may have been missed, what came since the last request answered it.
                let is_further = after(segment.ack, self.acked);
                if is_further && self.streams[theirs].next == Next::Anywhere
                    || self.waiting.len() == WAITING
                {
                    self.waiting.clear();
                }
                self.acked = segment.ack;
                self.waiting.push_back(match &*request.method {
                    "HEAD" => Asked::Head,
                    "CONNECT" => Asked::Connect,
                    _ => Asked::Other,
                });
                self.requests += 1;
                self.request = Some(request);
                self.response = None;
            }
            Head::Response(response) if matches!(response.status, 100 | 102..=199) => {
                self.client = Some(segment.sender.other());
                self.streams[ours].next = Next::behind(response.body, Length::Bytes(0));
            }
            Head::Response(mut response) => {
                self.client = Some(segment.sender.other());
                if !again {
                    self.answered = self.waiting.pop_front();
                    self.responses += 1;
                }
                let asked = self.answered;
                if asked == Some(Asked::Head) || matches!(response.status, 204 | 304) {
                    response.length = Length::Bytes(0);
                }
                self.streams[ours].next = Next::behind(response.body, response.length);
                let connects = asked == Some(Asked::Connect) && response.status / 100 == 2;
                if connects || response.status == 101 {
                    response.length = Length::ToTheEnd;
                    self.streams[ours].next = Next::Nowhere;
                    self.streams[theirs].next = Next::Nowhere;
                }
                self.response = Some(response);
            }
        }
    }
}

#[cfg(test)]
mod tests;
