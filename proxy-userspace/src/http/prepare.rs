//! A request as it came in, decided upon and rewritten: all that needs the receive buffer.

use std::{cell::OnceCell, sync::Arc};

use super::{
    capture::{Captured, NOTHING},
    client::Client,
    cookie::{Asker, Choice, Cookie, Letters},
    edit,
    event::{Session, Timers},
    framing::{Asked, Framing},
    head::{self, RequestHead},
    held::{HeldBackend, HeldServer},
    hooks::{Decision, Edit, Moment, Rules, log_level},
    live::Backend,
    refusal::Refusal,
    rewrite::{self, Say},
    rules::in_field,
    sample::View,
    settings::Connection,
    variable::Scope,
};

/// The most fields that can be asked for.
pub(super) const MOST_FIELDS: usize = 256;

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

/// A request that rules look at.
#[derive(Debug)]
struct Asking<'a> {
    client: &'a Client,
    line: &'a [u8],
    captured: &'a Captured,
    backend: Option<&'a HeldBackend>,
    unique_id: OnceCell<Vec<u8>>,
}

impl Asking<'_> {
    /// What is said of its cookies before they are looked at.
    fn cookies(&self) -> Letters {
        let tells = tells(self.client, self.backend);
        if tells { Choice::default().letters() } else { Letters::default() }
    }
}

impl Moment for Asking<'_> {
    fn session(&self) -> Session<'_> {
        let client = self.client;
        Session {
            backend: self.backend.map(|backend| &**backend),
            // It is not among them yet.
            beconn: self.backend.map_or(0, |backend| backend.sessions.now() + 1),
            timers: Timers {
                handshake: client.handshake,
                idle: Some(client.idle()),
                ..Timers::default()
            },
            request_line: self.line,
            captured: Some([self.captured, &NOTHING]),
            cookies: self.cookies(),
            unique_id: self.unique_id.get().map_or(b"", Vec::as_slice),
            ..client.blank(client.begun)
        }
    }

    fn unique_id(&self, view: &View<'_>) -> &[u8] {
        let Some(unique) = &self.client.frontend().settings.unique_id else { return b"" };
        if let Some(known) = self.unique_id.get() {
            return known;
        }
        // `%ID` in it is nothing yet, and the configuration lets no `unique-id` in.
        let id = unique.format.fill(view);
        self.unique_id.get_or_init(|| id)
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
    if !global.accept_any_payload && is_odd_payload(&head, head.view.method) {
        return Err(Refusal::Payload);
    }
    Ok(Some(decided(client, &head)))
}

/// Whether an old server would look for no payload there.
fn is_odd_payload(head: &RequestHead<'_>, method: &str) -> bool {
    let expected = !matches!(method, "GET" | "HEAD" | "DELETE");
    head.view.minor == 0 && !expected && !head.framing.is_empty()
}

fn decided(client: &Client, head: &RequestHead<'_>) -> Prepared {
    let settings = &client.frontend().settings;
    let address = client.session.client;
    let mut edits = client.variables.clone();
    let mut captured = Captured::of(&settings.captures.request, head.view.fields);
    let mut choice = Choice::default();
    let mut asking = Asking {
        client,
        line: head.line,
        captured: &captured,
        backend: None,
        unique_id: OnceCell::new(),
    };
    let mut decision = apply(settings.rules.as_deref(), head, &asking, &mut edits);
    let mut by_backend = false;
    let mut backend = None;
    if decision == Decision::Pass {
        let route = settings.route.as_ref();
        let local = client.local;
        let chosen = route.and_then(|r| r.backend(Some(&head.view), &edits, address, local));
        let index = chosen.unwrap_or(settings.default_backend);
        backend = index.and_then(|index| client.proxies.hold(index));
    }
    if let Some(backend) = &backend {
        asking.backend = Some(backend);
        let view = view(client, head, &edits);
        let mut rules = backend.settings.persist_rules.iter();
        choice.persist = rules.find(|rule| rule.condition.holds(&view)).map(|rule| rule.persist);
        decision = apply(backend.settings.rules.as_deref(), head, &asking, &mut edits);
        by_backend = decision != Decision::Pass;
    }
    if let Some(unique) = &settings.unique_id {
        let view = View { moment: Some(&asking), ..view(client, head, &edits) };
        let id = asking.unique_id(&view).to_vec();
        if let Some(header) = &unique.header {
            edits.push(Edit::Add(Arc::clone(header), in_field(id)));
        }
    }
    let unique_id = asking.unique_id.take().unwrap_or_default();
    let is_changed = edits.iter().any(Edit::is_of_the_line);
    let method = rewrite::method(head.view.method, &edits);
    if decision == Decision::Pass
        && !client.proxies.global.accept_any_payload
        && is_odd_payload(head, method)
    {
        decision = Decision::Failed;
    }
    let method = method.len();
    if decision == Decision::Pass
        && let Some(backend) = &backend
        && let Some(rules) = &backend.settings.server_rules
    {
        // A cookie does not count any more.
        choice.server = rules.server(backend, Some(&head.view), &edits, address, client.local);
    }
    // A request that is denied shows its cookies in the log, one that the proxy answers, or that no
    // backend takes, does not.
    let changes = match &decision {
        Decision::Pass if backend.is_none() => Vec::new(),
        Decision::Pass
        | Decision::Deny(_)
        | Decision::Refuse(_)
        | Decision::File { refuses: true, .. }
        | Decision::Tarpit(_) => {
            let place = at(client, backend.as_ref());
            let of = place.and_then(|of| Some((of, of.settings.cookie.as_ref()?)));
            let asker = Asker { backend: of, capture: settings.captures.cookie.as_ref() };
            asker.look(&head.view, &mut edits, &mut choice, &mut captured.cookie)
        }
        _ => Vec::new(),
    };
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
    let is_old = head.view.minor == 0;
    let say = match mode {
        Connection::Tunnel => Say::AsReceived,
        _ if upgrade => Say::Upgrade,
        Connection::ServerClose | Connection::Close if !pretend && !is_old => Say::Close,
        Connection::ServerClose | Connection::Close if !pretend => Say::Nothing,
        _ if is_old => Say::KeepAlive,
        _ => Say::Nothing,
    };
    let mut out = client.worker.buffer();
    let forward = [of_backend.and_then(|b| b.forwardfor.as_ref()), settings.forwardfor.as_ref()];
    let original = [of_backend.and_then(|b| b.originalto.as_ref()), settings.originalto.as_ref()];
    rewrite::request(&mut out, head, say, forward, original, (&edits, &changes));
    let balance = backend.as_ref().map(|backend| &backend.settings.balance);
    Prepared {
        consumed: head.len,
        received: if is_changed { head.line.to_vec() } else { Vec::new() },
        line: head.line.len(),
        method,
        out,
        minor: head.view.minor,
        framing: head.framing,
        asked: Asked::of(head.view.method),
        upgrade,
        persists: head.options.persists(head.view.minor) && mode != Connection::Close,
        mode,
        key: balance
            .map_or(0, |balance| balance.key(Some(&head.view.rewritten(&edits)), &edits, address)),
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

/// What rules see of a request.
fn view<'a>(client: &Client, head: &'a RequestHead<'_>, edits: &'a [Edit]) -> View<'a> {
    View {
        request: Some(&head.view),
        edits,
        client: client.session.client,
        local: client.local,
        ..View::default()
    }
}

/// Whose cookie counts: the backend's, or as long as there is none the frontend's other half's.
fn at<'a>(client: &'a Client, backend: Option<&'a HeldBackend>) -> Option<&'a Backend> {
    let frontend = client.frontend();
    let half = || client.proxies.other_half(frontend).map(|backend| &**backend);
    let half = || if frontend.settings.has_cookie { half() } else { None };
    backend.map(|backend| &**backend).or_else(half)
}

/// The server that a request's cookie names.
pub(crate) fn named(client: &Client, prepared: &Prepared) -> Option<HeldServer> {
    let place = at(client, prepared.backend.as_ref())?;
    let backend = client.proxies.hold(place.index)?;
    prepared.choice.server.map(|index| backend.server(index).clone())
}

/// Whether the log says something of a request's cookie.
pub(crate) fn tells(client: &Client, backend: Option<&HeldBackend>) -> bool {
    let cookie = at(client, backend).and_then(|backend| backend.settings.cookie.as_ref());
    cookie.is_some_and(Cookie::is_logged)
}

fn apply(
    rules: Option<&dyn Rules>,
    head: &RequestHead<'_>,
    moment: &dyn Moment,
    edits: &mut Vec<Edit>,
) -> Decision {
    rules.map_or(Decision::Pass, |rules| rules.request(&head.view, moment, edits))
}
