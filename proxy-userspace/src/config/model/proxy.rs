//! A `frontend`, `backend` or `listen` with its lines.

use super::bind::Bind;
use super::server::Server;
use super::settings::Settings;
use crate::config::token::Position;
use crate::http::acl::{Condition, Test};
use crate::http::capture::Captures;
use crate::http::cookie::PersistRule;
use crate::http::rules::{Rule, TcpRule};

/// The kind of a proxy section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Accepts clients.
    Frontend,
    /// Holds servers.
    Backend,
    /// Both in one.
    Listen,
}

impl Kind {
    /// The section's keyword.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
        }
    }

    /// Whether it accepts clients.
    #[must_use]
    pub const fn is_frontend(self) -> bool {
        !matches!(self, Self::Backend)
    }

    /// Whether it holds servers.
    #[must_use]
    pub const fn is_backend(self) -> bool {
        !matches!(self, Self::Frontend)
    }
}

/// A `frontend`, `backend` or `listen`.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Which section it is.
    pub kind: Kind,
    /// `id`, or its place among the proxies, from 2 on as in HAProxy.
    pub id: u32,
    /// Where its `id` stands.
    pub id_at: Option<Position>,
    /// Where it begins.
    pub at: Position,
    /// What it has from its `defaults` or says itself.
    pub settings: Settings,
    /// `bind` lines: one for each address.
    pub binds: Vec<Bind>,
    /// `server` lines.
    pub servers: Vec<Server>,
    /// `acl` lines, in order.
    pub acls: Vec<Acl>,
    /// `use_backend` lines, in order.
    pub use_backends: Vec<UseBackend>,
    /// `use-server` lines, in order.
    pub use_servers: Vec<UseServer>,
    /// Where the `defaults` begin whose rules come before its own.
    pub rules_from: Option<Position>,
    /// `tcp-request` lines.
    pub tcp_request: TcpRequest,
    /// `tcp-response` lines.
    pub tcp_response: TcpResponse,
    /// `http-request` lines, in order.
    pub http_request: Vec<Rule>,
    /// `redirect` lines, which come after the `http-request` rules.
    pub redirects: Vec<Rule>,
    /// `http-response` lines, in order.
    pub http_response: Vec<Rule>,
    /// `monitor fail` lines.
    pub monitor_fails: Vec<Condition>,
    /// `http-after-response` lines, in order.
    pub http_after_response: Vec<Rule>,
    /// `force-persist` and `ignore-persist` lines, in order.
    pub persist_rules: Vec<PersistRule>,
    /// `capture` lines.
    pub captures: Captures,
    /// What it says itself of its checks.
    pub own_checks: OwnChecks,
}

/// `tcp-request` lines.
#[derive(Debug, Clone, Default)]
pub struct TcpRequest {
    /// `connection`, in order.
    pub connection: Vec<TcpRule>,
    /// `session`, in order.
    pub session: Vec<TcpRule>,
    /// `content`, in order.
    pub content: Vec<TcpRule>,
    /// `inspect-delay`.
    pub delay: Option<u32>,
}

/// `tcp-response` lines.
#[derive(Debug, Clone, Default)]
pub struct TcpResponse {
    /// `content`, in order.
    pub content: Vec<TcpRule>,
    /// `inspect-delay`.
    pub delay: Option<u32>,
}

impl TcpRequest {
    /// Whether there are rules that only frontends can have.
    #[must_use]
    pub fn is_of_frontends(&self) -> bool {
        !self.connection.is_empty() || !self.session.is_empty()
    }
}

/// What a section says itself of its checks: that takes the place of what its `defaults` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnChecks {
    /// Its first `http-check` line.
    pub http: Option<Position>,
    /// Its first `tcp-check` line.
    pub tcp: Option<Position>,
    /// It has steps of an HTTP check, or has put away those of its `defaults`.
    pub steps: bool,
    /// `option httpchk`.
    pub option: bool,
    /// `http-check send`.
    pub send: bool,
}

impl Proxy {
    /// A proxy that says nothing yet.
    #[must_use]
    pub fn new(name: String, kind: Kind, at: Position, settings: Settings) -> Self {
        Self {
            name,
            kind,
            id: 0,
            id_at: None,
            at,
            settings,
            binds: Vec::new(),
            servers: Vec::new(),
            acls: Vec::new(),
            use_backends: Vec::new(),
            use_servers: Vec::new(),
            rules_from: None,
            tcp_request: TcpRequest::default(),
            tcp_response: TcpResponse::default(),
            http_request: Vec::new(),
            redirects: Vec::new(),
            http_response: Vec::new(),
            monitor_fails: Vec::new(),
            http_after_response: Vec::new(),
            persist_rules: Vec::new(),
            captures: Captures::default(),
            own_checks: OwnChecks::default(),
        }
    }

    /// Whether there are rules that `defaults` may have.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        let lists = [&self.http_request, &self.http_response, &self.http_after_response];
        let of_tcp = &self.tcp_request;
        lists.iter().any(|list| !list.is_empty())
            || of_tcp.is_of_frontends()
            || !of_tcp.content.is_empty()
            || !self.tcp_response.content.is_empty()
    }

    /// The names of the backends that it may send to.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        let uses = self.use_backends.iter().map(|rule| rule.name.as_str());
        uses.chain(self.settings.default_backend.iter().map(|backend| backend.0.as_str()))
    }
}

/// A `use_backend` line.
#[derive(Debug, Clone)]
pub struct UseBackend {
    /// The backend's name.
    pub name: String,
    /// Where it stands.
    pub at: Position,
    /// When it applies; always without one.
    pub condition: Option<Condition>,
}

/// A `use-server` line.
#[derive(Debug, Clone)]
pub struct UseServer {
    /// The server's name.
    pub name: String,
    /// Where it stands.
    pub at: Position,
    /// When it applies; always without one, where that was not understood.
    pub condition: Option<Condition>,
}

/// An `acl` line.
#[derive(Debug, Clone)]
pub struct Acl {
    /// Its name.
    pub name: String,
    /// What it tests.
    pub test: Test,
}
