//! A server's head: waited for, judged, rewritten and sent on with the first bytes of its body.

use std::{
    io::IoSlice,
    task::{Context, Poll, ready},
};

use super::{
    account::Account,
    capture::Captured,
    client::Client,
    cookie::{Answerer, Change, own_value},
    counters::Count,
    edit,
    event::{Cause, Phase, Session},
    exchange::{Exchange, Headless},
    framing::{Asked, Framing},
    head::{self, MOST_FIELDS, ResponseHead},
    hooks::{Decision, Edit, Moment, Response, log_level},
    prepare::Prepared,
    pump::{Body, Pump},
    refusal::Refusal,
    rewrite::{self, Changes, Say},
    sample::{self, Message},
    settings::Connection,
    sock::{self, Sock},
    splice::FIRST_READ,
    upstream::{Fail, Upstream},
    variable::Scope,
};

/// Heads of interim responses (1xx) before the final one.
const MOST_INTERIM: u32 = 32;

/// So much of a body is copied to its head: that costs less than a second piece to send.
const SMALL: usize = 4 * 1024;

/// A response that rules look at.
#[derive(Debug)]
struct Answering<'a> {
    client: &'a Client,
    prepared: &'a Prepared,
    account: &'a Account,
    server: &'a Sock,
    status: u16,
}

impl Moment for Answering<'_> {
    fn session(&self) -> Session<'_> {
        let mut session = self.account.session(self.client, Some(self.prepared));
        session.status = self.status;
        session.timers.response = Some(self.account.mark().elapsed());
        session.source = session.source.or_else(|| sock::local(self.server));
        // Bytes are counted at the end, as with HAProxy.
        (session.bytes_in, session.bytes_out) = (0, 0);
        session
    }
}

/// Why a head does not go to the client.
enum Unfit {
    Refused(Refusal),
    Decided(Decision),
}

/// What a server's head said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// As the client is told it.
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// The server keeps its connection, as far as its head says.
    pub(super) persists: bool,
    /// The client keeps its connection.
    pub(super) keep: bool,
    pub(super) tunnel: bool,
}

impl Exchange<'_> {
    /// Reads from the server until there is a final head.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        pump: &mut Pump,
    ) -> Poll<Result<Answered, Headless>> {
        let worker = std::rc::Rc::clone(&self.client.worker);
        loop {
            let mut scratch = worker.scratch.borrow_mut();
            let fresh = self.rest.is_empty() && self.account.interim == 0;
            let most =
                if upstream.slot.server().sends_large() { FIRST_READ } else { scratch.len() };
            let count = match ready!(upstream.conn.sock.poll_recv(cx, &mut scratch[..most])) {
                Ok(0) => return Poll::Ready(Err(self.cut(upstream, false, fresh))),
                Ok(count) => count,
                Err(_) => return Poll::Ready(Err(self.cut(upstream, true, fresh))),
            };
            let result = if self.rest.is_empty() {
                self.look(&scratch[..count], upstream, pump)
            } else {
                let mut early = std::mem::take(&mut self.rest);
                early.extend_from_slice(&scratch[..count]);
                self.look(&early, upstream, pump)
            };
            match result {
                Ok(Some(answered)) => return Poll::Ready(Ok(answered)),
                Ok(None) => {}
                Err(headless) => return Poll::Ready(Err(headless)),
            }
        }
    }

    /// Looks at what the server sent so far, and sends on what can be.
    fn look(
        &mut self,
        bytes: &[u8],
        upstream: &Upstream,
        pump: &mut Pump,
    ) -> Result<Option<Answered>, Headless> {
        let mut out = self.client.worker.buffer();
        let mut at = 0;
        let answered = loop {
            let mut room = head::room::<MOST_FIELDS>();
            let head = match self.parse(&bytes[at..], &mut room) {
                Ok(Some(head)) => head,
                Ok(None) => {
                    self.rest = bytes[at..].to_vec();
                    break None;
                }
                Err(refusal) => {
                    return Err(self.refused_response(refusal, &bytes[at..], upstream).into());
                }
            };
            at += head.len;
            if self.backend.settings.retry_on.statuses.contains(&head.view.status)
                && self.may_retry()
            {
                return Err(Headless::Again);
            }
            if head.view.status >= 200 || head.view.status == 101 {
                match self.final_head(&head, upstream, &mut out) {
                    Ok(answered) => break Some(answered),
                    Err(Unfit::Decided(decision)) => return Err(Headless::Decided(decision)),
                    Err(Unfit::Refused(refusal)) => {
                        let bytes = &bytes[at - head.len..];
                        return Err(self.refused_response(refusal, bytes, upstream).into());
                    }
                }
            }
            self.account.interim += 1;
            // HAProxy counts these among a server's responses, and nowhere else.
            for what in [Count::Requests, Count::Responses1] {
                self.client.worker.count(&upstream.slot.server().counters, what, 1);
            }
            if self.account.interim > MOST_INTERIM {
                return Err(self.refused_response(Refusal::Unasked, &bytes[at..], upstream).into());
            }
            if self.prepared.minor > 0 {
                rewrite::response(&mut out, &head, Say::Nothing, false, Changes::default());
            }
        };
        if let Some(answered) = &answered {
            self.prepare_body(answered, upstream, pump);
        }
        self.first_bytes(out, answered.as_ref().map(|to| (to, &bytes[at..])), pump, upstream)?;
        Ok(answered)
    }

    /// Parses a head, which may have so many bytes and fields; none means that more is needed.
    #[inline(always)]
    fn parse<'b: 'h, 'h>(
        &self,
        bytes: &'b [u8],
        room: &'h mut head::Room<'b, MOST_FIELDS>,
    ) -> Result<Option<ResponseHead<'h>>, Refusal> {
        let global = &self.client.proxies.global;
        let room = &mut room[..global.max_headers.clamp(1, MOST_FIELDS)];
        let head = head::response(bytes, room, self.prepared.asked, self.client.session.client)?;
        let length = head.map_or(bytes.len(), |head| head.len);
        let limit = global.head_limit();
        let is_long = if head.is_some() { length > limit } else { length >= limit };
        if is_long { Err(Refusal::HeadLength) } else { Ok(head) }
    }

    /// Has the pump go on with the body that was announced.
    fn prepare_body(&mut self, answered: &Answered, upstream: &Upstream, pump: &mut Pump) {
        if let Framing::Length(length) = answered.framing {
            upstream.slot.server().note_length(length);
        }
        let unframed = answered.framing == Framing::Chunked && self.prepared.minor == 0;
        *pump = std::mem::replace(pump, Pump::new(Body::Over, false)).carry_on(
            if answered.tunnel { Body::Over } else { answered.framing.into() },
            unframed && !answered.tunnel,
        );
        // With SO_LINGER 0 the close throws away what waits for it.
        let lingers = !self.client.frontend().settings.nolinger;
        pump.closes = !answered.keep && !answered.tunnel && lingers;
        self.rest = Vec::new();
    }

    /// Sends a head and the first bytes of the body, which follow a final one, in one call.
    fn first_bytes(
        &mut self,
        mut out: Vec<u8>,
        body: Option<(&Answered, &[u8])>,
        pump: &mut Pump,
        upstream: &Upstream,
    ) -> Result<(), Fail> {
        let after = body.map_or(b"".as_slice(), |(_, after)| after);
        let mut own = Vec::new();
        let answered = body.map(|(answered, _)| answered.status);
        let (used, body) = match pump.first(after, &mut own) {
            Ok(first) => first,
            Err(refusal) => return Err(self.refused_response(refusal, after, upstream)),
        };
        self.rest.extend_from_slice(&after[used..]);
        if let Some(status) = answered {
            self.account.responded(status);
        }
        if out.is_empty() && body.is_empty() {
            return Ok(());
        }
        let body = if body.len() <= SMALL {
            out.extend_from_slice(body);
            &[]
        } else {
            body
        };
        let slices = [IoSlice::new(&out), IoSlice::new(body)];
        let slices: &[_] = if pump.is_flushed() { &slices } else { &[] };
        let Ok(sent) = pump.try_send(slices, &self.client.sock) else {
            return Err(Fail::new(0, Cause::Client, Phase::Data));
        };
        pump.keep(&self.client.worker, &[&out, body], sent);
        self.client.worker.give_back(out);
        Ok(())
    }

    /// Judges and rewrites the final head.
    fn final_head(
        &mut self,
        head: &ResponseHead<'_>,
        upstream: &Upstream,
        out: &mut Vec<u8>,
    ) -> Result<Answered, Unfit> {
        let status = head.view.status;
        let switched = status == 101;
        if switched && !self.prepared.upgrade {
            return Err(Unfit::Refused(Refusal::Switched));
        }
        let connected = self.prepared.asked == Asked::Connect && status < 300;
        let view = Response { local: self.client.local, ..head.view };
        let mut edits = self.ruled(&view, upstream).map_err(Unfit::Decided)?;
        if connected {
            // What follows is no response's.
            edits.retain(|edit| !matches!(edit, Edit::Status(..)));
        }
        let changes = self.look_at_cookies(&view, upstream, &mut edits);
        let is_tunnel = self.prepared.mode == Connection::Tunnel;
        let unframed = head.framing == Framing::Chunked && self.prepared.minor == 0 && !is_tunnel;
        let request_over = upstream.request.is_done() && !self.request_broken;
        let keep = self.prepared.persists
            && request_over
            && !unframed
            && !connected
            && !rewrite::asks_to_close(&edits)
            && head.framing != Framing::Close
            && !self.client.worker.stopping.get();
        let is_old = self.prepared.minor == 0 || head.view.minor == 0;
        let say = match keep {
            _ if is_tunnel => Say::AsReceived,
            _ if switched => Say::Upgrade,
            _ if connected => Say::Nothing,
            true if is_old => Say::KeepAlive,
            true => Say::Nothing,
            false if head.view.minor > 0 => Say::Close,
            false => Say::Nothing,
        };
        rewrite::response(out, head, say, unframed, Changes { edits: &edits, in_place: &changes });
        Ok(Answered {
            status: sample::status(status, &edits).0,
            framing: head.framing,
            persists: head.options.persists(head.view.minor)
                && head.framing != Framing::Close
                && !head.odd,
            keep,
            tunnel: switched || connected || is_tunnel,
        })
    }

    /// What the rules change of a final response; an error where they have something else go to the
    /// client.
    fn ruled(&mut self, view: &Response<'_>, upstream: &Upstream) -> Result<Vec<Edit>, Decision> {
        let mut edits = self.account.variables.clone();
        let settings = &self.client.frontend().settings;
        self.account.captured = Captured::of(&settings.captures.response, view.fields);
        let answering = Answering {
            client: self.client,
            prepared: self.prepared,
            account: &self.account,
            server: &upstream.conn.sock,
            status: view.status,
        };
        let all = || [&self.backend.settings.rules, &settings.rules].into_iter().flatten();
        let decisions = all().map(|rules| rules.response(view, &answering, &mut edits));
        let decision = { decisions }.find(|decision| *decision != Decision::Pass);
        if decision.is_none() {
            all().for_each(|rules| rules.last(view, &answering, &mut edits));
        }
        self.account.captured.keep(Message::Response, &settings.captures.response, &edits);
        self.account.judged(view.status);
        self.account.log_at(log_level(&edits));
        self.account.variables = edit::left(&edits, Scope::AFTER);
        decision.map_or(Ok(edits), Err)
    }

    /// What cookies change of a final response, and what they say.
    fn look_at_cookies(
        &mut self,
        view: &Response<'_>,
        upstream: &Upstream,
        edits: &mut Vec<Edit>,
    ) -> Vec<Change> {
        let cookie = self.backend.settings.cookie.as_ref();
        let id = cookie.and_then(|_| own_value(upstream.slot.server()));
        let answerer = Answerer {
            cookie,
            id: id.as_deref(),
            capture: self.client.frontend().settings.captures.cookie.as_ref(),
            method: self.prepared.method(),
        };
        let (choice, captured) = (&mut self.account.choice, &mut self.account.captured.cookie);
        answerer.look(view, edits, choice, captured)
    }

    pub(super) fn refused_response(
        &mut self,
        refusal: Refusal,
        bytes: &[u8],
        upstream: &Upstream,
    ) -> Fail {
        let server = upstream.slot.server();
        for counters in [&self.backend.counters, &server.counters] {
            self.client.worker.count(counters, Count::ResponseErrors, 1);
        }
        self.note_response(refusal, bytes, upstream);
        Fail::new(502, Cause::Proxy, Phase::Headers)
    }

    /// Keeps what a server sent for `show errors`.
    pub(super) fn note_response(&self, refusal: Refusal, bytes: &[u8], upstream: &Upstream) {
        let server = &upstream.slot.server().settings.name;
        let names = (self.backend.settings.name.clone(), server.clone());
        self.note_refusal(refusal, bytes, Some(names));
    }
}
