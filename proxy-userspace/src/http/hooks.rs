//! What the engine asks of others: which rules hold, which backend, which server.
//!
//! All of it is called on the request's path by several workers at once: implementations must
//! not block, and should not allocate when there is nothing to change.

use std::{fmt::Debug, net::SocketAddr, sync::Arc};

pub use super::edit::{Edit, log_level};

use super::{authority, event::Session, live, rules::Parting, sample::View};

/// A request's head as rules see it. Borrowed from the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`.
    pub method: &'a str,
    /// Usually a path with its query; `*`, an authority or an absolute URI too.
    pub target: &'a str,
    /// 0 or 1, of HTTP/1.x.
    pub minor: u8,
    /// Fields in their order, names in their case.
    pub fields: &'a [httparse::Header<'a>],
    /// The client's address; none on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The address the client connected to; none on a Unix socket.
    pub local: Option<SocketAddr>,
}

impl<'a> Request<'a> {
    /// The path: the target without scheme, authority and query.
    pub fn path(&self) -> &'a str {
        path(self.target)
    }

    /// Values of the fields called `name`, without regard to case, in order.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        values(self.fields, name)
    }

    /// The request with the target that rules have given it. Its method stays the client's.
    #[must_use]
    pub fn rewritten(&self, edits: &'a [Edit]) -> Self {
        let target = edits.iter().rev().find_map(|edit| match edit {
            Edit::Target(target) => Some(target.as_str()),
            _ => None,
        });
        Self { target: target.unwrap_or(self.target), ..*self }
    }
}

/// The path of a target; of `*` and an authority, which have none, all of it.
#[must_use]
pub fn path(target: &str) -> &str {
    let path = path_and_query(target);
    path.split(['?', '#']).next().unwrap_or(path)
}

/// A target without scheme and authority; of `*` and an authority all of it.
#[must_use]
pub fn path_and_query(target: &str) -> &str {
    authority::place(target).map_or(target, |place| &target[place.end..])
}

/// A response's head as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// 200.
    pub status: u16,
    /// 0 or 1, of HTTP/1.x.
    pub minor: u8,
    /// Fields in their order, names in their case.
    pub fields: &'a [httparse::Header<'a>],
    /// The client's address; none on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The address the client connected to; none on a Unix socket.
    pub local: Option<SocketAddr>,
}

/// What is known of a session while rules look at it.
pub trait Moment: Debug {
    /// What a log line would say of it now. Asked for only where a rule needs it.
    fn session(&self) -> Session<'_>;
    /// What the request is called; it gets its name now if it has none yet.
    fn unique_id(&self, _: &View<'_>) -> &[u8] {
        self.session().unique_id
    }
}

/// A session that is over.
impl Moment for Session<'_> {
    fn session(&self) -> Session<'_> {
        *self
    }
}

impl<'a> Response<'a> {
    /// Values of the fields called `name`, without regard to case, in order.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        values(self.fields, name)
    }
}

fn values<'a, 'n>(
    fields: &'a [httparse::Header<'a>],
    name: &'n str,
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|f| f.value)
}

/// What rules say about a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Pass,
    /// Refuse with the error page of this status (`http-request deny`).
    Deny(u16),
    /// Refuse with this.
    Refuse(Box<Answer>),
    /// Send this file, a whole response, with this status for the log (`errorfile` of a rule).
    File {
        /// As the log has it.
        status: u16,
        /// Head and body.
        file: Arc<[u8]>,
        /// Whether that is a refusal (`deny`).
        refuses: bool,
    },
    /// Refuse with this after a while, as if the proxy were slow (`http-request tarpit`).
    Tarpit(Box<Self>),
    /// Close without a word (`http-request reject`, `silent-drop`).
    Reject(Parting),
    /// Close without a word, as rules on connections want it (`tcp-request content`).
    TurnAway(Parting),
    /// Refuse with 500: what a rule wants to write cannot stand there.
    Failed,
    /// Answer with the error page of this status (`http-request return default-errorfiles`).
    Page(u16),
    /// Answer whether the service is ready, with the page of 200 or 503, and say nothing of it in the
    /// log (`monitor-uri`).
    Monitor(u16),
    /// Answer this (`http-request return`, the statistics page).
    Answer(Box<Answer>),
}

/// A response that the proxy makes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 200.
    pub status: u16,
    /// `Content-Type`, if there is a body.
    pub content_type: Option<String>,
    /// Further fields, but for those of framing, which are the engine's; of `Connection` only
    /// `close` counts.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body; left out for HEAD.
    pub body: Vec<u8>,
    /// Whether it counts as an answer of the statistics (`stats uri`): logged with `LR` as
    /// others and `<STATS>` as the server.
    pub stats: bool,
    /// Whether it ends the connection of a request that has a body, as HAProxy's redirects do.
    pub ends_bodies: bool,
}

/// `http-request` and `http-response` rules of one proxy.
pub trait Rules: Send + Sync + Debug {
    /// Looks at a request and says what changes.
    fn request(
        &self,
        request: &Request<'_>,
        moment: &dyn Moment,
        edits: &mut Vec<Edit>,
    ) -> Decision;
    /// Looks at a server's response and says what changes.
    fn response(
        &self,
        response: &Response<'_>,
        moment: &dyn Moment,
        edits: &mut Vec<Edit>,
    ) -> Decision;
    /// Whether there are rules for what goes to clients in the end (`http-after-response`).
    fn has_last(&self) -> bool;
    /// Looks at what goes to a client in the end, also if no server has made it.
    fn last(&self, response: &Response<'_>, moment: &dyn Moment, edits: &mut Vec<Edit>);
}

/// `use_backend` rules of a frontend.
pub trait Route: Send + Sync + Debug {
    /// The index of the backend that the first rule that applies names, none where that one is
    /// disabled; nothing for the default. In `mode tcp` there is no request, only the two ends of the
    /// client's connection.
    fn backend(&self, view: &View<'_>) -> Option<Option<usize>>;
}

/// `use-server` rules of a backend.
pub trait ServerRules: Send + Sync + Debug {
    /// The index of the server that the first rule names which applies, and whose server runs. In
    /// `mode tcp` there is no request, only the two ends of the client's connection.
    fn server(&self, backend: &live::Backend, view: &View<'_>) -> Option<usize>;
}

/// `balance` of a backend. The backend's settings hold it, and it chooses among the servers that run
/// by them: each has to know the other.
pub trait Balance: Send + Sync + Debug {
    /// What a request is placed by, for the algorithms that hash; 0 for others and where the
    /// request lacks it. `edits` are what the rules before have made of the request's fields. In
    /// `mode tcp` there is no request.
    fn key(&self, request: Option<&Request<'_>>, edits: &[Edit], client: Option<SocketAddr>)
    -> u64;
    /// The index of a server that is [usable](live::Server::usable), not the one to avoid if
    /// there is another; none if there is none. Algorithms that are free to choose should prefer
    /// servers that are not [full](live::Server::full), and return none if all are: the request
    /// then waits for the first server that has a free slot.
    fn pick(&self, backend: &live::Backend, key: u64, avoid: Option<usize>) -> Option<usize>;
    /// Whether weights may change while it runs; with others they are what they were, or nothing.
    fn is_dynamic(&self) -> bool {
        true
    }
    /// Whether it places requests freely, as round robin does: then a failed connection is
    /// redispatched at once, and a request may stay with its client's last server.
    fn is_free(&self) -> bool {
        false
    }
}
