//! What a test or a format string takes from a message or a connection (HAProxy's sample fetches).

mod convert;
mod fields;
mod heads;
mod input;
mod map;
mod names;
mod read;
mod target;

use super::edit::lookup;
use super::hooks::{Edit, Moment, Request, Response};
use super::variable::{Name, Value};
pub use convert::{Convert, Operand, Operator};
pub(super) use fields::{each_value, parts};
use fields::{header, read_as};
pub use heads::{first_host, status};
use heads::{method, version};
pub use map::{Keys, Map};
pub(super) use read::{address, number};
use std::net::{IpAddr, SocketAddr};
use target::{path, url_parameters};
pub use target::{path_and_query, query};

/// What samples are taken from. What is not there yields no sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// The request's head, while it is known.
    pub request: Option<&'a Request<'a>>,
    /// The response's head.
    pub response: Option<&'a Response<'a>>,
    /// Changes that earlier rules have made to the head that is looked at.
    pub edits: &'a [Edit],
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// The address that the client connected to.
    pub local: Option<SocketAddr>,
    /// What the client has sent so far, in `mode tcp`.
    pub received: Option<&'a [u8]>,
    /// What the server has.
    pub answered: Option<&'a [u8]>,
    /// More of it may come.
    pub is_partial: bool,
    /// What logs would say of the session now.
    pub moment: Option<&'a dyn Moment>,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample<'a> {
    /// Bytes.
    Text(&'a [u8]),
    /// A whole number.
    Number(i64),
    /// An address.
    Address(IpAddr),
    /// True or false.
    Truth(bool),
}

/// The type of an expression's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Sample::Text`].
    Text,
    /// [`Sample::Number`].
    Number,
    /// [`Sample::Address`].
    Address,
    /// [`Sample::Truth`].
    Truth,
    /// Any of these: a variable's.
    Any,
}

/// Which message a header is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The request.
    Request,
    /// The response.
    Response,
}

/// Where samples come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// `path`.
    Path,
    /// `query`: behind the question mark.
    Query,
    /// `pathq`: path and query.
    PathAndQuery,
    /// `url`: the whole target.
    Url,
    /// `base`: the first Host and the path.
    Base,
    /// `method`.
    Method,
    /// `req.ver` and `res.ver`: "1.1".
    Version(Message),
    /// `hdr(NAME,N)`, `req.hdr`, `res.hdr`: each value between commas.
    Header {
        /// Of which message.
        of: Message,
        /// The field's name.
        name: String,
        /// The whole line, commas included (`req.fhdr`).
        full: bool,
        /// Only this one, from 1, or from the end if negative.
        occurrence: Option<i32>,
        /// What the values are read as: addresses (`hdr_ip`), numbers (`hdr_val`), or not at all.
        kind: Kind,
    },
    /// `hdr_cnt(NAME)`: how many values.
    HeaderCount {
        /// Of which message.
        of: Message,
        /// The field's name.
        name: String,
    },
    /// `url_param(NAME,DELIMITER)`.
    UrlParameter {
        /// Of the parameter.
        name: String,
        /// Where parameters begin: `?`.
        delimiter: char,
    },
    /// `status`.
    Status,
    /// `src`.
    Source,
    /// `src_port`.
    SourcePort,
    /// `dst`.
    Destination,
    /// `dst_port`.
    DestinationPort,
    /// `http_first_req`: whether the request is the first of its connection.
    FirstRequest,
    /// `bool()` and its kin; `ssl_fc`, as no connection has TLS.
    Truth(bool),
    /// `int()`.
    Number(i64),
    /// `str()`.
    Text(String),
    /// `wait_end`: true once nothing more is waited for.
    WaitEnd,
    /// `req.len` and `res.len`: how much a side has sent.
    Length(Message),
    /// `req.payload(OFFSET,LENGTH)` and `res.payload`: some of that; without a length all behind the offset.
    Payload(Message, usize, usize),
    /// `req.ssl_hello_type`: of the first message of a TLS handshake.
    HelloType,
    /// `req.ssl_sni`: the server that a TLS client names.
    ServerNameIndication,
    /// `capture.req.hdr(SLOT)` and `capture.res.hdr(SLOT)`: what was kept for the log.
    Captured(Message, usize),
    /// `unique-id`.
    UniqueId,
    /// `fe_name`: the frontend's.
    FrontendName,
    /// `be_name`: the backend's, or the frontend's before there is one.
    BackendName,
    /// `srv_name`: the server's, once there is one.
    ServerName,
    /// `var(NAME,DEFAULT)`.
    Variable(Name, Option<String>),
}

/// A fetch and its converters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Where samples come from.
    pub fetch: Fetch,
    /// What is done to each, in order.
    pub converts: Vec<Convert>,
}

impl<'a> View<'a> {
    /// The request as the rules before have left it.
    #[must_use]
    pub fn rewritten(&self) -> Option<Request<'a>> {
        self.request.map(|request| request.rewritten(self.edits))
    }
}

impl Expression {
    /// The type of its samples.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if let Some(last) = self.converts.last() {
            return last.kind();
        }
        match &self.fetch {
            Fetch::Source | Fetch::Destination => Kind::Address,
            Fetch::SourcePort
            | Fetch::DestinationPort
            | Fetch::HeaderCount { .. }
            | Fetch::Status
            | Fetch::Length(_)
            | Fetch::HelloType
            | Fetch::Number(_) => Kind::Number,
            Fetch::Truth(_) | Fetch::WaitEnd | Fetch::FirstRequest => Kind::Truth,
            Fetch::Variable(..) => Kind::Any,
            Fetch::Header { kind, .. } => *kind,
            _ => Kind::Text,
        }
    }

    /// Whether it looks at a request's head. The method is known for longer.
    #[must_use]
    pub fn needs_request(&self) -> bool {
        match &self.fetch {
            Fetch::Path
            | Fetch::Query
            | Fetch::PathAndQuery
            | Fetch::Url
            | Fetch::Base
            | Fetch::UrlParameter { .. } => true,
            Fetch::Version(of) | Fetch::Header { of, .. } | Fetch::HeaderCount { of, .. } => {
                *of == Message::Request
            }
            _ => false,
        }
    }

    /// Whether it looks at the bytes that a client sends.
    #[must_use]
    pub fn needs_input(&self) -> bool {
        input::is_of_input(&self.fetch)
    }

    /// Whether it looks at a response's head.
    #[must_use]
    pub fn needs_response(&self) -> bool {
        match &self.fetch {
            Fetch::Status => true,
            Fetch::Length(of)
            | Fetch::Payload(of, ..)
            | Fetch::Version(of)
            | Fetch::Header { of, .. }
            | Fetch::HeaderCount { of, .. } => *of == Message::Response,
            _ => false,
        }
    }

    /// Calls `found` until it says true; whether it did. As in HAProxy a value that does not convert is the last.
    pub fn any(&self, view: &View<'_>, found: &mut dyn FnMut(Sample<'_>) -> bool) -> bool {
        if self.converts.is_empty() {
            return self.fetch.any(view, found);
        }
        let mut holds = false;
        self.fetch.any(view, &mut |sample| {
            let value = self.converted(sample, view);
            holds = value.as_ref().is_some_and(|value| found(value.sample()));
            holds || value.is_none()
        });
        holds
    }

    /// One sample, the one that [`Self::write`] would write.
    pub fn value(&self, view: &View<'_>) -> Option<Value> {
        let mut value = None;
        self.one(view, &mut |sample| value = Some(sample.into()));
        value
    }

    /// One sample as text, appended to `out`; nothing if there is none.
    pub fn write(&self, view: &View<'_>, out: &mut Vec<u8>) {
        self.one(view, &mut |sample| sample.write(out));
    }

    /// Calls `found` with what becomes of one sample alone: a field's last value, a parameter's first, as HAProxy.
    fn one(&self, view: &View<'_>, found: &mut dyn FnMut(Sample<'_>)) {
        self.fetch.one(view, &mut |sample| {
            if self.converts.is_empty() {
                found(sample);
            } else if let Some(value) = self.converted(sample, view) {
                found(value.sample());
            }
        });
    }

    /// What the converters make of a sample.
    fn converted(&self, sample: Sample<'_>, view: &View<'_>) -> Option<Value> {
        let (first, rest) = self.converts.split_first()?;
        let value = first.apply(sample, view);
        rest.iter().fold(value, |value, convert| convert.apply(value?.sample(), view))
    }
}

impl Sample<'_> {
    /// Its text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Address(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
            Self::Truth(truth) => out.push(b'0' + u8::from(*truth)),
        }
    }
}

impl Fetch {
    /// Whether there may be another sample once more has come.
    pub(super) fn may_change(&self, view: &View<'_>) -> bool {
        view.is_partial && input::may_change(self, view)
    }

    /// Calls `found` with one sample, if any.
    fn one(&self, view: &View<'_>, found: &mut dyn FnMut(Sample<'_>)) {
        let found = &mut |sample: Sample<'_>| {
            found(sample);
            true
        };
        match self {
            Self::Header { of, name, full, occurrence, kind } => {
                header(view, *of, name, *full, occurrence.or(Some(-1)), &mut read_as(*kind, found))
            }
            _ => self.any(view, found),
        };
    }

    fn any(&self, view: &View<'_>, found: &mut dyn FnMut(Sample<'_>) -> bool) -> bool {
        let mut text = |text: Option<&str>| text.is_some_and(|t| found(Sample::Text(t.as_bytes())));
        match self {
            Self::Path => text(view.rewritten().as_ref().and_then(path)),
            Self::Query => text(view.rewritten().as_ref().and_then(query)),
            Self::PathAndQuery => text(view.rewritten().as_ref().and_then(path_and_query)),
            Self::Url => text(view.rewritten().map(|request| request.target)),
            Self::Method => method(view, found),
            Self::UrlParameter { name, delimiter } => view.rewritten().is_some_and(|request| {
                url_parameters(&request, name, *delimiter).any(|value| text(Some(value)))
            }),
            Self::Text(constant) => text(Some(constant)),
            Self::Version(of) => text(version(view, *of)),
            Self::Base => view.rewritten().is_some_and(|request| {
                let mut base = Vec::new();
                first_host(view, &mut base);
                base.extend_from_slice(path(&request).unwrap_or_default().as_bytes());
                found(Sample::Text(&base))
            }),
            Self::Header { of, name, full, occurrence, kind } => {
                header(view, *of, name, *full, *occurrence, &mut read_as(*kind, found))
            }
            Self::HeaderCount { of, name } => {
                let mut count = 0;
                each_value(view, *of, name, false, &mut |_| {
                    count += 1;
                    false
                });
                found(Sample::Number(count))
            }
            Self::Status => view.response.is_some_and(|response| {
                let status = status(response.status, view.edits).0;
                found(Sample::Number(status.into()))
            }),
            Self::Source => {
                view.client.is_some_and(|at| found(Sample::Address(at.ip().to_canonical())))
            }
            Self::Destination => {
                view.local.is_some_and(|at| found(Sample::Address(at.ip().to_canonical())))
            }
            Self::SourcePort => {
                view.client.is_some_and(|at| found(Sample::Number(at.port().into())))
            }
            Self::DestinationPort => {
                view.local.is_some_and(|at| found(Sample::Number(at.port().into())))
            }
            Self::Truth(truth) => found(Sample::Truth(*truth)),
            Self::Number(number) => found(Sample::Number(*number)),
            Self::WaitEnd
            | Self::Length(_)
            | Self::Payload(..)
            | Self::HelloType
            | Self::ServerNameIndication => input::any(self, view, found),
            Self::Captured(of, at) => heads::captured(view, *of, *at, found),
            Self::FirstRequest => {
                view.moment.is_some_and(|it| found(Sample::Truth(it.session().is_first)))
            }
            Self::UniqueId => view.moment.is_some_and(|moment| {
                let id = moment.unique_id(view);
                !id.is_empty() && found(Sample::Text(id))
            }),
            Self::FrontendName | Self::BackendName | Self::ServerName => {
                text(view.moment.and_then(|moment| names::name(self, &moment.session())).as_deref())
            }
            Self::Variable(name, default) => match (lookup(view.edits, name), default) {
                (Some(value), _) => found(value.sample()),
                (None, Some(default)) => found(Sample::Text(default.as_bytes())),
                (None, None) => false,
            },
        }
    }
}

#[cfg(test)]
mod tests;
