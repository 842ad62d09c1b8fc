//! What is counted and logged of a request when it is over.

mod blame;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    capture::{Captured, NOTHING},
    client::Client,
    closes::Doing,
    cookie::{Choice, Letters},
    counters::{Count, Counters},
    event::{Cause, Phase, Session, Termination, Timers},
    held::{HeldBackend, HeldServer},
    hooks::Edit,
    live::Sign,
    prepare::Prepared,
    ruling::tells,
    settings::Mode,
};
use blame::{blame, millis};

/// The running account of a request.
#[derive(Debug)]
pub(crate) struct Account {
    /// When the request's first byte came.
    began: Instant,
    timers: Timers,
    /// When the last step ended.
    mark: Instant,
    /// Nothing was waited for since.
    settled: bool,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) termination: Termination,
    pub(crate) backend: Option<HeldBackend>,
    pub(crate) server: Option<HeldServer>,
    /// Where the server was connected from, if anybody asks.
    pub(crate) source: Option<SocketAddr>,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    /// What its cookies chose, and what became of them.
    pub(crate) choice: Choice,
    /// Whether that is said of it.
    tells_cookies: bool,
    /// What was kept of the response for the log, in `mode tcp` of what the client has sent.
    pub(crate) captured: Captured,
    pub(crate) srv_queue: u32,
    pub(crate) backend_queue: u32,
    pub(crate) stats: bool,
    /// Whether the log hears of it.
    pub(crate) is_logged: bool,
    /// The level of its log line, where rules say one.
    level: Option<u8>,
    /// The variables that rules have left so far.
    pub(crate) variables: Vec<Edit>,
    /// Interim responses (1xx) so far.
    pub(crate) interim: u32,
    /// The head of a server's final response is there.
    answered: bool,
    /// That response's status, 0 where there is none, also if the client never hears of it.
    theirs: u16,
    /// The request turned out to be none.
    bad: bool,
}

impl Account {
    /// Of a connection without a whole request.
    pub(crate) fn new(client: &Client) -> Self {
        if client.input.is_empty() {
            // The number that it has is that of the request before.
            client.renumber();
        }
        Self::at(client, Instant::now())
    }

    fn at(client: &Client, now: Instant) -> Self {
        Self {
            began: client.begun,
            timers: Timers { handshake: client.handshake, ..Timers::default() },
            mark: now,
            settled: false,
            status: 0,
            bytes_in: client.input.len() as u64,
            bytes_out: 0,
            termination: Termination::NORMAL,
            backend: None,
            server: None,
            source: None,
            retries: 0,
            redispatched: false,
            choice: Choice::default(),
            tells_cookies: false,
            captured: Captured::default(),
            srv_queue: 0,
            backend_queue: 0,
            stats: false,
            is_logged: true,
            level: None,
            variables: Vec::new(),
            interim: 0,
            answered: false,
            theirs: 0,
            bad: false,
        }
    }

    /// Of a request whose head is there.
    pub(crate) fn request(client: &Client, prepared: &Prepared) -> Self {
        let mut account = Self::at(client, client.heard);
        account.bytes_in = prepared.consumed as u64;
        account.timers.idle = Some(client.idle());
        account.timers.request = Some(account.mark.duration_since(client.begun));
        account.backend.clone_from(&prepared.backend);
        account.log_at(prepared.level);
        account.variables.clone_from(&prepared.variables);
        account.choice = prepared.choice;
        account.tells_cookies = tells(client, prepared.backend.as_ref());
        account
    }

    /// What rules say of its log line.
    pub(crate) fn log_at(&mut self, level: Option<Option<u8>>) {
        if let Some(level) = level {
            self.is_logged = level.is_some();
            self.level = level;
        }
    }

    /// The request was none after all: its body was malformed from the beginning.
    pub(crate) fn discard(&mut self) {
        self.timers = Timers { handshake: self.timers.handshake, ..Timers::default() };
        self.backend = None;
        self.tells_cookies = false;
        self.bad = true;
    }

    /// When the last step ended. The clock is read once for each thing that was waited for.
    pub(crate) fn mark(&self) -> Instant {
        self.mark
    }

    /// Something else was waited for, and is over.
    pub(crate) fn touch(&mut self) {
        self.mark = Instant::now();
    }

    /// The request ended when the last step did.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    fn step(&mut self) -> Duration {
        let now = Instant::now();
        let took = now.duration_since(self.mark);
        self.mark = now;
        took
    }

    /// A server's slot was there.
    pub(crate) fn queued(&mut self) {
        let took = self.step();
        *self.timers.queue.get_or_insert_default() += took;
    }

    /// It did not have to wait for a slot.
    pub(crate) fn unqueued(&mut self) {
        self.timers.queue.get_or_insert_default();
    }

    /// All of it that is waited for is there now.
    pub(crate) fn requested(&mut self) {
        let took = self.step();
        *self.timers.request.get_or_insert_default() += took;
    }

    /// No backend takes the request, which HAProxy does not look at any further then.
    pub(crate) fn unplaced(&mut self) {
        self.timers.request = None;
    }

    /// There was no server to wait for.
    pub(crate) fn timers_none(&mut self) {
        self.timers.queue = None;
    }

    /// The proxy's statistics are what a server would be, and are there at once.
    pub(crate) fn served_here(&mut self) {
        let at_once = Some(Duration::ZERO);
        (self.timers.queue, self.timers.connect) = (at_once, at_once);
        self.timers.response = at_once;
    }

    /// It was held back since its head was there, as if in a queue.
    pub(crate) fn held_back(&mut self) {
        self.queued();
        self.timers.request = None;
    }

    /// Nobody hears of it again, as if there had been no request.
    pub(crate) fn rejected(&mut self) {
        self.timers.request = None;
        self.failed(0, Termination::new(Cause::Proxy, Phase::Request));
    }

    /// The client does not hear of the response that a server has given.
    pub(crate) fn dropped(&mut self) {
        self.failed(self.theirs, Termination::new(Cause::Proxy, Phase::Request));
    }

    /// A connection was there already.
    pub(crate) fn reused(&mut self) {
        self.timers.connect.get_or_insert_default();
    }

    /// A connection was there.
    pub(crate) fn connected(&mut self) {
        let took = self.step();
        *self.timers.connect.get_or_insert_default() += took;
    }

    /// A server has given a response of this status, whatever becomes of it.
    pub(crate) fn judged(&mut self, status: u16) {
        self.theirs = status;
    }

    /// The response's head was there, and goes to the client with this status.
    pub(crate) fn responded(&mut self, status: u16) {
        self.timers.response = Some(self.step());
        self.status = status;
        self.answered = true;
    }

    /// No server's response goes to the client; `status` is what goes instead, 0 for nothing. Where
    /// the head of a response went out already, it stays what it said.
    pub(crate) fn failed(&mut self, status: u16, termination: Termination) {
        self.termination = termination;
        if !self.answered {
            self.status = status;
        }
    }

    /// What is said of its cookies.
    fn cookies(&self) -> Letters {
        if self.tells_cookies { self.choice.letters() } else { Letters::default() }
    }

    /// What the request is doing, for those who hear of closes.
    pub(crate) fn describe(&self, doing: &mut Doing, prepared: Option<&Prepared>) {
        doing.termination = self.termination;
        doing.cookies = self.cookies();
        doing.method = prepared.map_or("", Prepared::method).into();
        doing.status = self.status;
    }

    /// Counts and logs.
    pub(crate) fn finish(mut self, client: &mut Client, prepared: Option<&Prepared>) {
        self.finish_unlogged(client, prepared);
        if self.is_logged {
            self.log(client, prepared);
        }
    }

    /// Counts alone.
    pub(crate) fn finish_unlogged(&mut self, client: &mut Client, prepared: Option<&Prepared>) {
        self.describe(&mut client.last, prepared);
        let now = if self.settled { self.mark } else { Instant::now() };
        self.timers.active = now.duration_since(self.began);
        self.timers.total = now.duration_since(client.since);
        client.since = now;
        client.handshake = Duration::ZERO;
        client.remember(&self.variables);
        self.count(client);
        if let Some(server) = &self.server
            && server.settings.observe.is_some()
            && let Some(sign) = self.sign(client)
        {
            server.note(sign);
        }
    }

    fn log(&self, client: &Client, prepared: Option<&Prepared>) {
        if !client.worker.outside.log.wanted() {
            return;
        }
        client.worker.outside.log.session(&self.session(client, prepared));
    }

    /// What is known so far.
    pub(crate) fn session<'a>(
        &'a self,
        client: &'a Client,
        prepared: Option<&'a Prepared>,
    ) -> Session<'a> {
        let request = prepared.filter(|_| !self.bad);
        Session {
            backend: self.backend.as_deref(),
            server: self.server.as_deref(),
            source: self.source,
            timers: self.timers,
            status: self.status,
            hinted: self.interim > 0,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            termination: self.termination,
            beconn: self.backend.as_ref().map_or(0, |backend| backend.sessions.now()),
            srvconn: self.server.as_ref().map_or(0, |server| server.sessions.now()),
            retries: self.retries,
            redispatched: self.redispatched,
            srv_queue: self.srv_queue,
            backend_queue: self.backend_queue,
            request_line: request.map_or(b"", Prepared::line),
            cookies: self.cookies(),
            captured: request.map(|request| [&request.captured, &self.captured]).or_else(|| {
                (!self.captured.fields.is_empty()).then_some([&self.captured, &NOTHING])
            }),
            stats: self.stats,
            level: self.level,
            variables: &self.variables,
            unique_id: prepared.map_or(b"", |prepared| &prepared.unique_id),
            ..client.blank(self.began)
        }
    }

    /// As HAProxy counts: a response is a server's only if it came from there, and a request whose
    /// client is left to find out for itself that it failed was none, nor one that has interim responses alone.
    fn count(&self, client: &Client) {
        let worker = client.worker.index;
        let frontend = &client.frontend().counters;
        let backend = self.backend.as_ref().map(|backend| &backend.counters);
        let server = self.server.as_ref().map(|server| &server.counters);
        let add = |counters: &Counters, what, amount| counters.add(worker, what, amount);
        let http = client.frontend().settings.mode == Mode::Http;
        let is_left = self.termination == Termination::new(Cause::Server, Phase::Headers);
        let silent = self.status == 0 && (self.interim > 0 || is_left);
        if http && !silent {
            add(frontend, Count::response(self.status), 1);
        }
        let of_backend = backend.filter(|_| http && !silent);
        let of_server = server.filter(|_| http && self.theirs > 0);
        for (counters, status) in [(of_backend, self.status), (of_server, self.theirs)] {
            if let Some(counters) = counters {
                add(counters, Count::Requests, 1);
                add(counters, Count::response(status), 1);
            }
        }
        for counters in [Some(frontend), backend, server].into_iter().flatten() {
            add(counters, Count::BytesIn, self.bytes_in);
            add(counters, Count::BytesOut, self.bytes_out);
        }
        for counters in [backend, server].into_iter().flatten() {
            if self.timers.connect.is_some() {
                self.count_times(worker, counters);
            }
            blame(self.termination).iter().for_each(|&what| add(counters, what, 1));
        }
    }

    /// What came of a request, for who observes its server.
    fn sign(&self, client: &Client) -> Option<Sign> {
        let is_http = client.frontend().settings.mode == Mode::Http;
        match self.termination {
            _ if self.theirs > 0 => Some(Sign::of(self.theirs)).filter(|_| is_http),
            Termination { phase: Phase::Headers, cause } if is_http => match cause {
                // A client that is left to find out for itself repeats its request.
                Cause::Server => (self.status > 0).then_some(Sign::Closed),
                Cause::ServerTimeout => Some(Sign::Late),
                Cause::Proxy => Some(Sign::Invalid),
                _ => None,
            },
            _ => None,
        }
    }

    /// Times are those of requests that had a connection.
    fn count_times(&self, worker: usize, counters: &Counters) {
        counters.add(worker, Count::Timed, 1);
        for (sum, most, time) in [
            (Count::QueueTime, Count::QueueTimeMost, self.timers.queue),
            (Count::ConnectTime, Count::ConnectTimeMost, self.timers.connect),
            (Count::ResponseTime, Count::ResponseTimeMost, self.timers.response),
            (Count::TotalTime, Count::TotalTimeMost, Some(self.timers.total)),
        ] {
            let time = millis(time);
            counters.add(worker, sum, time);
            counters.raise(worker, most, time);
        }
    }
}
