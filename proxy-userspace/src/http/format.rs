//! Format strings of rules: text with `%[EXPRESSION]` and `%ci`-like variables.

use super::hooks::Response;
use super::sample::{Expression, View, path_and_query, query};
use std::net::SocketAddr;

/// A format string, ready to be filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(Vec<u8>),
    /// `%[...]`.
    Sample(Expression),
    /// `%ci` and its kin.
    Variable(Variable),
}

/// Variables that rules know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `%ci`: the client's address.
    ClientIp,
    /// `%cp`: its port.
    ClientPort,
    /// `%fi`: the address that the client connected to.
    FrontendIp,
    /// `%fp`: its port.
    FrontendPort,
    /// `%HM`: the method.
    Method,
    /// `%HU`: path and query.
    Uri,
    /// `%HP`: the path.
    Path,
    /// `%HQ`: the query, with its question mark.
    Query,
    /// `%HV`: the version.
    Version,
    /// `%f`: the frontend that a response goes out by.
    Frontend,
    /// `%b`: the backend that it comes from.
    Backend,
    /// `%s`: the server that it comes from.
    Server,
}

impl Variable {
    /// Whether it looks at a request's head.
    #[must_use]
    pub fn needs_request(self) -> bool {
        matches!(self, Self::Method | Self::Uri | Self::Path | Self::Query | Self::Version)
    }

    /// Whether only a response has it.
    #[must_use]
    pub fn needs_response(self) -> bool {
        matches!(self, Self::Frontend | Self::Backend | Self::Server)
    }
}

/// The variables by name.
pub const VARIABLES: [(&str, Variable); 12] = [
    ("b", Variable::Backend),
    ("ci", Variable::ClientIp),
    ("cp", Variable::ClientPort),
    ("f", Variable::Frontend),
    ("fi", Variable::FrontendIp),
    ("fp", Variable::FrontendPort),
    ("HM", Variable::Method),
    ("HU", Variable::Uri),
    ("HP", Variable::Path),
    ("HQ", Variable::Query),
    ("HV", Variable::Version),
    ("s", Variable::Server),
];

impl Format {
    /// A format that is only text.
    #[must_use]
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// Fills it in. Line ends cannot come from samples: messages were checked when they came in.
    #[must_use]
    pub fn fill(&self, view: &View<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Sample(expression) => expression.write(view, &mut out),
                Part::Variable(variable) => variable.write(view, &mut out),
            }
        }
        out
    }
}

impl Variable {
    fn write(self, view: &View<'_>, out: &mut Vec<u8>) {
        let ip = |at: Option<SocketAddr>| at.map_or("-".to_owned(), |at| at.ip().to_string());
        let port = |at: Option<SocketAddr>| at.map_or("0".to_owned(), |at| at.port().to_string());
        let request = view.request;
        let of_response =
            |name: fn(&Response<'_>) -> String| view.response.map_or(String::new(), name);
        let text = match self {
            Self::ClientIp => ip(view.client),
            Self::ClientPort => port(view.client),
            Self::FrontendIp => ip(view.local),
            Self::FrontendPort => port(view.local),
            Self::Method => request.map_or(String::new(), |r| r.method.to_owned()),
            Self::Uri => request.map_or(String::new(), |r| path_and_query(r).to_owned()),
            Self::Path => request.map_or(String::new(), |r| r.path().to_owned()),
            Self::Query => request.and_then(query).map_or(String::new(), |q| format!("?{q}")),
            Self::Version => request.map_or(String::new(), |r| format!("HTTP/1.{}", r.minor)),
            Self::Frontend => of_response(|r| r.way.frontend.to_owned()),
            Self::Backend => of_response(|r| r.way.backend.to_owned()),
            Self::Server => of_response(|r| r.way.server.to_owned()),
        };
        out.extend_from_slice(text.as_bytes());
    }
}
