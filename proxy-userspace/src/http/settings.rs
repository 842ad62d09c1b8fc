//! What the engine is told to do, in its own types.
//!
//! The engine knows no configuration language: the daemon converts the checked model of a
//! `haproxy.cfg` into these. Defaults are HAProxy 2.6's. A `listen` section is one [`Frontend`]
//! and one [`Backend`] of the same name.

mod backend;
mod frontend;
mod server;
mod tcp;

pub use backend::{Backend, Redispatch, RetryOn, Reuse, ServerTimeouts};
pub use frontend::{Bind, BindAddress, ClientTimeouts, Frontend, UniqueId};
pub use server::{Server, ServerAddress};
pub use tcp::Tcp;

use super::reply_template::Reply;
use crate::prefix::Prefix;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Everything the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What holds for the whole process.
    pub global: Global,
    /// Where clients connect.
    pub frontends: Vec<Frontend>,
    /// Where requests go; frontends name them by index.
    pub backends: Vec<Backend>,
}

/// What holds for the whole process.
#[derive(Clone, Debug)]
pub struct Global {
    /// Workers, each with its own runtime; 0 is one per core (`nbthread`).
    pub threads: usize,
    /// Client connections at most; more wait in the kernel's backlog (`maxconn`).
    pub maxconn: Option<u32>,
    /// Client connections in a second at most; 0 is no limit (`maxconnrate`).
    pub connection_rate: u32,
    /// Sessions in a second at most; 0 is no limit (`maxsessrate`).
    pub session_rate: u32,
    /// How long a soft stop may take before what is left is closed (`hard-stop-after`).
    pub hard_stop_after: Option<Duration>,
    /// The longest message head in bytes, with [`Global::maxrewrite`] kept free
    /// (`tune.bufsize`, 16384).
    pub bufsize: usize,
    /// Room for header rewriting (`tune.maxrewrite`, 1024).
    pub maxrewrite: usize,
    /// The most header fields in a message (`tune.http.maxhdr`, 101).
    pub max_headers: usize,
    /// Whether an HTTP/1.0 GET, HEAD or DELETE may have a payload
    /// (`h1-accept-payload-with-any-method`, no).
    pub accept_any_payload: bool,
    /// After this time without a byte a keep-alive connection is parked: its task and its
    /// registration are given up, and a nested epoll watches it.
    pub park_after: Duration,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            threads: 0,
            maxconn: None,
            connection_rate: 0,
            session_rate: 0,
            hard_stop_after: None,
            bufsize: 16384,
            maxrewrite: 1024,
            max_headers: 101,
            accept_any_payload: false,
            park_after: Duration::from_secs(1),
        }
    }
}

impl Global {
    /// The longest message head that is accepted, in bytes.
    pub fn head_limit(&self) -> usize {
        self.bufsize.saturating_sub(self.maxrewrite)
    }
}

/// What is spoken on a connection (`mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.
    Http,
    /// Bytes.
    #[default]
    Tcp,
}

/// What becomes of the two connections after a response (`option http-keep-alive` and its kin).
///
/// The order is that of precedence: where a frontend and a backend differ, the greater wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connection {
    /// Both are kept.
    #[default]
    KeepAlive,
    /// Only the first exchange is looked at; then bytes are passed (`option http-tunnel`).
    Tunnel,
    /// The server's is closed, the client's is kept (`option http-server-close`).
    ServerClose,
    /// Both are closed (`option httpclose`, `option forceclose`).
    Close,
}

/// `option forwardfor`, and `option originalto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardFor {
    /// The field's name, `X-Forwarded-For` unless said otherwise.
    pub header: String,
    /// Not for clients in this network.
    pub except: Option<Prefix>,
    /// Only where the request has no such field yet (`if-none`).
    pub if_none: bool,
}

impl Default for ForwardFor {
    fn default() -> Self {
        Self { header: "X-Forwarded-For".into(), except: None, if_none: false }
    }
}

/// What takes the place of the built-in error pages, by status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(pub BTreeMap<u16, ErrorPage>);

/// A page of a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorPage {
    /// A whole response, head included (`errorfile`, `errorloc`).
    File(Arc<[u8]>),
    /// One that is made when it is wanted (`http-error`).
    Reply(Arc<Reply>),
}

impl From<&[u8]> for ErrorPage {
    fn from(file: &[u8]) -> Self {
        Self::File(file.into())
    }
}
