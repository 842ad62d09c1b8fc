//! A request as it came in, decided upon and rewritten: all that needs the receive buffer.

use std::{net::SocketAddr, sync::Arc};

use super::{
    framing::{Asked, Framing},
    head::{self, RequestHead},
    held::{HeldBackend, HeldProxies},
    hooks::{Decision, Edit, Rules},
    live::Frontend,
    refusal::Refusal,
    rewrite::{self, Say},
    settings::Connection,
    worker::Worker,
};

/// The most fields that can be asked for.
const MOST_FIELDS: usize = 256;

/// A request that is ready to go.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Bytes of the head as received.
    pub(crate) consumed: usize,
    /// The head as it goes to the server; begins with the request line as received.
    pub(crate) out: Vec<u8>,
    line: usize,
    method: usize,
    pub(crate) minor: u8,
    pub(crate) framing: Framing,
    pub(crate) asked: Asked,
    /// The client asked to switch protocols.
    pub(crate) upgrade: bool,
    /// The client keeps its connection open.
    pub(crate) persists: bool,
    pub(crate) mode: Connection,
    pub(crate) backend: Option<HeldBackend>,
    pub(crate) key: u64,
    pub(crate) decision: Decision,
    /// Whether it was the backend's rules that decided.
    pub(crate) by_backend: bool,
}

impl Prepared {
    /// The request line as received.
    pub(crate) fn line(&self) -> &[u8] {
        &self.out[..self.line]
    }

    /// The method.
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

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) frontend: &'a Arc<Frontend>,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) proxies: &'a HeldProxies,
}

/// Parses and prepares a request; none means that more bytes are needed.
pub(crate) fn prepare(
    worker: &Worker,
    origin: Origin<'_>,
    bytes: &[u8],
) -> Result<Option<Prepared>, Refusal> {
    let global = &origin.proxies.global;
    let mut room = head::room::<MOST_FIELDS>();
    let room = &mut room[..global.max_headers.clamp(1, MOST_FIELDS)];
    let Some(head) = head::request(bytes, room, origin.client, origin.local)? else {
        let full = bytes.len() >= global.head_limit();
        return if full { Err(Refusal::HeadLength) } else { Ok(None) };
    };
    if head.len > global.head_limit() {
        return Err(Refusal::HeadLength);
    }
    if !global.accept_any_payload && is_odd_payload(&head) {
        return Err(Refusal::Payload);
    }
    Ok(Some(decided(worker, origin, &head)))
}

/// Whether an old server would look for no payload there.
fn is_odd_payload(head: &RequestHead<'_>) -> bool {
    let expected = !matches!(head.view.method, "GET" | "HEAD" | "DELETE");
    head.view.minor == 0 && !expected && !head.framing.is_empty()
}

fn decided(worker: &Worker, origin: Origin<'_>, head: &RequestHead<'_>) -> Prepared {
    let settings = &origin.frontend.settings;
    let mut edits = Vec::new();
    let mut decision = apply(settings.rules.as_deref(), head, &mut edits);
    let mut by_backend = false;
    let mut backend = None;
    if decision == Decision::Pass {
        let route = settings.route.as_ref();
        let Origin { client, local, .. } = origin;
        let chosen = route.and_then(|r| r.backend(Some(&head.view), &edits, client, local));
        let index = chosen.unwrap_or(settings.default_backend);
        backend = index.and_then(|index| origin.proxies.hold(index));
    }
    if let Some(backend) = &backend {
        decision = apply(backend.settings.rules.as_deref(), head, &mut edits);
        by_backend = decision != Decision::Pass;
    }
    let of_backend = backend.as_ref().map(|backend| &backend.settings);
    let mut mode =
        of_backend.map_or(Connection::KeepAlive, |b| b.connection).max(settings.connection);
    if mode == Connection::KeepAlive && rewrite::asks_to_close(&edits) {
        mode = Connection::ServerClose;
    }
    let upgrade = head.options.upgrade
        && head.view.minor > 0
        && head.framing.is_empty()
        && rewrite::leaves(&edits, "upgrade");
    let pretend = of_backend.is_some_and(|backend| backend.pretend_keepalive);
    let say = match mode {
        Connection::Tunnel => Say::AsReceived,
        _ if upgrade => Say::Upgrade,
        Connection::ServerClose | Connection::Close if !pretend => {
            if head.view.minor > 0 {
                Say::Close
            } else {
                Say::Nothing
            }
        }
        _ if head.view.minor > 0 => Say::Nothing,
        _ => Say::KeepAlive,
    };
    let mut out = worker.buffer();
    let of_frontend = settings.forwardfor.as_ref();
    let of_backend = of_backend.and_then(|backend| backend.forwardfor.as_ref());
    rewrite::request(&mut out, head, say, [of_backend, of_frontend], &edits);
    let balance = backend.as_ref().map(|backend| &backend.settings.balance);
    Prepared {
        consumed: head.len,
        line: head.line.len(),
        method: head.view.method.len(),
        out,
        minor: head.view.minor,
        framing: head.framing,
        asked: Asked::of(head.view.method),
        upgrade,
        persists: head.options.persists(head.view.minor) && mode != Connection::Close,
        mode,
        key: balance.map_or(0, |balance| balance.key(Some(&head.view), &edits, origin.client)),
        backend,
        decision,
        by_backend,
    }
}

fn apply(rules: Option<&dyn Rules>, head: &RequestHead<'_>, edits: &mut Vec<Edit>) -> Decision {
    rules.map_or(Decision::Pass, |rules| rules.request(&head.view, edits))
}
