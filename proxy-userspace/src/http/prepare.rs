//! A request as it came in, decided upon and rewritten: all that needs the receive buffer.

use super::{
    capture::Captured,
    client::Client,
    cookie::Choice,
    edit,
    framing::{Asked, Framing},
    head::{self, MOST_FIELDS, RequestHead},
    held::{HeldBackend, HeldServer},
    hooks::{Decision, Edit, log_level},
    refusal::Refusal,
    rewrite::{self, Changes, Say},
    ruling::{Ruling, at, ruled},
    settings::Connection,
    variable::Scope,
};

/// A request that is ready to go.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Bytes of the head as received.
    pub(crate) consumed: usize,
    /// The head as it goes to the server.
    pub(crate) out: Vec<u8>,
    /// The request line as received, where rules have made another of it.
    received: Vec<u8>,
    line: usize,
    method: usize,
    /// 0 or 1, of HTTP/1.x.
    pub(crate) minor: u8,
    pub(crate) framing: Framing,
    pub(crate) asked: Asked,
    /// The client asked to switch protocols.
    pub(crate) upgrade: bool,
    /// The client waits to be told that it may send its body, and is told so here.
    pub(crate) continues: bool,
    /// Servers hear of it once its body is there (`option http-buffer-request`).
    pub(crate) gathers: bool,
    /// The client keeps its connection open.
    pub(crate) persists: bool,
    /// How its two connections are kept.
    pub(crate) mode: Connection,
    pub(crate) backend: Option<HeldBackend>,
    /// What its server is chosen by (`balance`).
    pub(crate) key: u64,
    /// What its cookies choose (`cookie`).
    pub(crate) choice: Choice,
    /// What was kept of it for the log.
    pub(crate) captured: Captured,
    pub(crate) decision: Decision,
    /// Whether it was the backend's rules that decided.
    pub(crate) by_backend: bool,
    /// What rules say of the log line: its level, or that there is none.
    pub(crate) level: Option<Option<u8>>,
    /// What the request is called, if anything.
    pub(crate) unique_id: Vec<u8>,
    /// The variables that rules have left for the response and the log.
    pub(crate) variables: Vec<Edit>,
}

impl Prepared {
    /// The request line as received.
    pub(crate) fn line(&self) -> &[u8] {
        if self.received.is_empty() { &self.out[..self.line] } else { &self.received }
    }

    /// The method that goes to the server.
    pub(crate) fn method(&self) -> &str {
        str::from_utf8(&self.out[..self.method]).unwrap_or_default()
    }

    /// Whether it may be sent again when nobody knows if it was carried out (RFC 9110, 9.2.2).
    pub(crate) fn is_repeatable(&self) -> bool {
        let idempotent = matches!(
            self.method(),
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" | "PROPFIND"
        );
        idempotent && self.framing.is_empty()
    }
}

/// Parses and prepares a client's request; none means that more bytes are needed.
pub(crate) fn prepare(client: &Client, bytes: &[u8]) -> Result<Option<Prepared>, Refusal> {
    let global = &client.proxies.global;
    let mut room = head::room::<MOST_FIELDS>();
    let room = &mut room[..global.max_headers.clamp(1, MOST_FIELDS)];
    let Some(head) = head::request(bytes, room, client.session.client, client.local)? else {
        let full = bytes.len() >= global.head_limit();
        return if full { Err(Refusal::HeadLength) } else { Ok(None) };
    };
    if head.len > global.head_limit() {
        return Err(Refusal::HeadLength);
    }
    if !global.accept_any_payload && head.has_odd_payload(head.view.method) {
        return Err(Refusal::Payload);
    }
    Ok(Some(decided(client, &head)))
}

/// Writes the head as it goes to the server.
fn decided(client: &Client, head: &RequestHead<'_>) -> Prepared {
    let Ruling { decision, by_backend, backend, mut edits, changes, choice, captured, unique_id } =
        ruled(client, head);
    let settings = &client.frontend().settings;
    let of_backend = backend.as_ref().map(|backend| &backend.settings);
    let gathers = settings.buffers_requests || of_backend.is_some_and(|b| b.buffers_requests);
    let continues = gathers && !head.framing.is_empty() && head.expects_continue();
    if continues {
        edits.push(Edit::Del("Expect".into()));
    }
    let mut mode =
        of_backend.map_or(Connection::KeepAlive, |b| b.connection).max(settings.connection);
    if mode == Connection::KeepAlive && rewrite::asks_to_close(&edits) {
        mode = Connection::ServerClose;
    }
    let upgrade = head.options.upgrade
        && head.view.minor > 0
        && head.framing.is_empty()
        && rewrite::leaves(&edits, "upgrade");
    let pretends = of_backend.is_some_and(|backend| backend.pretend_keepalive);
    let say = told(mode, upgrade, pretends, head.view.minor == 0);
    let mut out = client.worker.buffer();
    let forward = [of_backend.and_then(|b| b.forwardfor.as_ref()), settings.forwardfor.as_ref()];
    let original = [of_backend.and_then(|b| b.originalto.as_ref()), settings.originalto.as_ref()];
    rewrite::request(
        &mut out,
        head,
        say,
        forward,
        original,
        Changes { edits: &edits, in_place: &changes },
    );
    let key = of_backend.map_or(0, |backend| {
        let request = head.view.rewritten(&edits);
        backend.balance.key(Some(&request), &edits, client.session.client)
    });
    let is_changed = edits.iter().any(Edit::is_of_the_line);
    Prepared {
        consumed: head.len,
        received: if is_changed { head.line.to_vec() } else { Vec::new() },
        line: head.line.len(),
        method: edit::method(head.view.method, &edits).len(),
        out,
        minor: head.view.minor,
        framing: head.framing,
        asked: Asked::of(head.view.method),
        upgrade,
        continues,
        gathers,
        persists: head.options.persists(head.view.minor) && mode != Connection::Close,
        mode,
        key,
        choice,
        captured,
        backend,
        decision,
        by_backend,
        level: log_level(&edits),
        unique_id,
        variables: edit::left(&edits, &[Scope::Session, Scope::Transaction]),
    }
}

/// What Connection says to a server.
fn told(mode: Connection, upgrade: bool, pretends: bool, is_old: bool) -> Say {
    match mode {
        Connection::Tunnel => Say::AsReceived,
        _ if upgrade => Say::Upgrade,
        Connection::ServerClose | Connection::Close if !pretends && !is_old => Say::Close,
        Connection::ServerClose | Connection::Close if !pretends => Say::Nothing,
        _ if is_old => Say::KeepAlive,
        _ => Say::Nothing,
    }
}

/// The server that a request's cookie names.
pub(crate) fn named(client: &Client, prepared: &Prepared) -> Option<HeldServer> {
    let place = at(client, prepared.backend.as_ref())?;
    let backend = client.proxies.hold(place.index)?;
    prepared.choice.server.map(|index| backend.server(index).clone())
}
