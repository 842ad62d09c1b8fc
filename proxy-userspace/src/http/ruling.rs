//! What is to become of a request, by rules and cookies: a decision, a backend, changes to its head.

use std::{cell::OnceCell, sync::Arc};

use super::{
    capture::{Captured, NOTHING},
    client::Client,
    cookie::{Asker, Change, Choice, Cookie, Letters},
    edit,
    event::{Session, Timers},
    head::RequestHead,
    held::HeldBackend,
    hooks::{Decision, Edit, Moment, Rules},
    live::Backend,
    reply_template::in_field,
    rules::{Inspection, Verdict},
    sample::{Message, View},
};

/// What rules and cookies say of a request.
pub(super) struct Ruling {
    pub(super) decision: Decision,
    /// Whether it was the backend's rules that decided.
    pub(super) by_backend: bool,
    pub(super) backend: Option<HeldBackend>,
    pub(super) edits: Vec<Edit>,
    /// Of the fields as received, for what `edits` leave of them.
    pub(super) changes: Vec<Change>,
    pub(super) choice: Choice,
    pub(super) captured: Captured,
    pub(super) unique_id: Vec<u8>,
}

/// Asks the rules of the frontend and then of the backend, and looks at the cookies.
pub(super) fn ruled(client: &Client, head: &RequestHead<'_>) -> Ruling {
    let settings = &client.frontend().settings;
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
    let mut decision = inspected(settings.inspection.as_deref(), head, &asking, &mut edits);
    if decision == Decision::Pass {
        decision = apply(settings.rules.as_deref(), head, &asking, &mut edits);
    }
    let mut by_backend = false;
    let passes = decision == Decision::Pass;
    let backend = if passes { routed(client, &asking.view(head, &edits)) } else { None };
    if let Some(backend) = &backend {
        asking.backend = Some(backend);
        decision = inspected(backend.settings.inspection.as_deref(), head, &asking, &mut edits);
        let view = asking.view(head, &edits);
        let mut rules = backend.settings.persist_rules.iter();
        choice.persist = rules.find(|rule| rule.condition.holds(&view)).map(|rule| rule.persist);
        if decision == Decision::Pass {
            decision = apply(backend.settings.rules.as_deref(), head, &asking, &mut edits);
        }
        by_backend = decision != Decision::Pass;
    }
    asking.name(head, &mut edits);
    if decision == Decision::Pass
        && !client.proxies.global.accept_any_payload
        && head.has_odd_payload(edit::method(head.view.method, &edits))
    {
        decision = Decision::Failed;
    }
    if decision == Decision::Pass
        && let Some(backend) = &backend
        && let Some(rules) = &backend.settings.server_rules
    {
        // A cookie does not count any more.
        choice.server = rules.server(backend, &asking.view(head, &edits));
    }
    let unique_id = asking.unique_id.take().unwrap_or_default();
    captured.keep(Message::Request, &settings.captures.request, &edits);
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
    Ruling { decision, by_backend, backend, edits, changes, choice, captured, unique_id }
}

/// Follows the rules on what a client sends. What they could wait for is there: a whole head.
fn inspected(
    rules: Option<&Inspection>,
    head: &RequestHead<'_>,
    asking: &Asking<'_>,
    edits: &mut Vec<Edit>,
) -> Decision {
    let Some(inspection) = rules else { return Decision::Pass };
    match inspection.rules.follow(asking.view(head, &[]), edits) {
        Verdict::Refused(parting) => Decision::TurnAway(parting),
        Verdict::Accepted { .. } | Verdict::Open | Verdict::Ended => Decision::Pass,
    }
}

/// The backend that the frontend's rules name, or its default.
fn routed(client: &Client, view: &View<'_>) -> Option<HeldBackend> {
    let settings = &client.frontend().settings;
    let chosen = settings.route.as_ref().and_then(|route| route.backend(view));
    chosen.unwrap_or(settings.default_backend).and_then(|index| client.proxies.hold(index))
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
    /// What rules see of it.
    fn view<'a>(&'a self, head: &'a RequestHead<'_>, edits: &'a [Edit]) -> View<'a> {
        View {
            request: Some(&head.view),
            edits,
            client: self.client.session.client,
            local: self.client.local,
            moment: Some(self),
            ..View::default()
        }
    }

    /// Gives it its name, and a field that says it.
    fn name(&self, head: &RequestHead<'_>, edits: &mut Vec<Edit>) {
        let Some(unique) = &self.client.frontend().settings.unique_id else { return };
        let id = self.unique_id(&self.view(head, edits)).to_vec();
        if let Some(header) = &unique.header {
            edits.push(Edit::Add(Arc::clone(header), in_field(id)));
        }
    }

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
            is_first: client.requests == 0,
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

/// Whose cookie counts: the backend's, or as long as there is none the frontend's other half's.
pub(super) fn at<'a>(client: &'a Client, backend: Option<&'a HeldBackend>) -> Option<&'a Backend> {
    let frontend = client.frontend();
    let half = || client.proxies.other_half(frontend).map(|backend| &**backend);
    let half = || if frontend.settings.has_cookie { half() } else { None };
    backend.map(|backend| &**backend).or_else(half)
}

/// Whether the log says something of a request's cookie.
pub(super) fn tells(client: &Client, backend: Option<&HeldBackend>) -> bool {
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
