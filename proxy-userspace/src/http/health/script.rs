//! What a health check does: `option httpchk`, `option tcp-check`, and the steps that `http-check`
//! and `tcp-check` lines give.

use crate::http::regex::Regex;
use std::net::IpAddr;

/// How a backend's servers are checked; as the configuration says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// What is spoken.
    pub kind: CheckKind,
    /// The first request: what `option httpchk` and the first `http-check send` say of it.
    pub request: HttpSend,
    /// The other `http-check` lines, in order.
    pub http_steps: Vec<Step>,
    /// `tcp-check` lines, in order.
    pub tcp_steps: Vec<Step>,
    /// `http-check disable-on-404`: a 404 takes a server out of the balance, not down.
    pub disable_on_404: bool,
}

/// What a check speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckKind {
    /// Only a connection is made.
    #[default]
    Connect,
    /// `option httpchk`.
    Http,
    /// `option tcp-check`.
    Tcp,
}

/// One step of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `connect`: a new connection.
    Connect(Connect),
    /// `http-check send`.
    HttpSend(HttpSend),
    /// `tcp-check send` and `send-binary`: these bytes.
    Send(Vec<u8>),
    /// `expect`.
    Expect(Expect),
    /// `comment`: what the steps behind it are for, where they don't say it themselves.
    Comment(String),
}

/// `http-check connect` and `tcp-check connect`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect {
    /// `port`; the server's check port when not set.
    pub port: Option<u16>,
    /// `addr`; the server's check address when not set.
    pub host: Option<IpAddr>,
    /// `default`, or the connect that nobody has to ask for: as the server line has it.
    pub is_default: bool,
    /// `send-proxy`: begin with a PROXY line.
    pub send_proxy: bool,
    /// `linger`: end with FIN instead of RST.
    pub linger: bool,
    /// `comment`, reported when it fails.
    pub comment: Option<String>,
}

/// What an HTTP check sends, as far as it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpSend {
    /// `meth`; OPTIONS.
    pub method: Option<String>,
    /// `uri`; /.
    pub target: Option<String>,
    /// `ver`; HTTP/1.0.
    pub version: Option<String>,
    /// `hdr` fields, in order.
    pub headers: Vec<(String, String)>,
    /// `body`.
    pub body: Option<Vec<u8>>,
}

impl HttpSend {
    /// Takes over what a later line says of the same request.
    pub(crate) fn overlay(&mut self, later: Self) {
        self.method = later.method.or(self.method.take());
        self.target = later.target.or(self.target.take());
        self.version = later.version.or(self.version.take());
        self.body = later.body.or(self.body.take());
        if !later.headers.is_empty() {
            self.headers = later.headers;
        }
    }
}

/// What an answer must, or must not, be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// `!`: it must not.
    pub negate: bool,
    /// What is looked for.
    pub pattern: Pattern,
    /// `min-recv`: look only once so many bytes are there.
    pub min_recv: Option<u32>,
    /// `comment`, reported when it fails.
    pub comment: Option<String>,
}

/// What `expect` looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `status`: inclusive ranges of status codes.
    Status(Vec<(u16, u16)>),
    /// `string` and `binary`: these bytes, in the body or in what came.
    Bytes(Vec<u8>),
    /// `rstatus`: the status code, in digits.
    StatusRegex(Regex),
    /// `rstring`: in the body or in what came.
    Regex(Regex),
    /// `hdr name NAME [value VALUE]` and `fhdr`.
    Header {
        /// The field's name.
        name: String,
        /// Its value; any when not given.
        value: Option<String>,
        /// `-m` of the value.
        method: TextMatch,
        /// `fhdr`: the whole line, commas do not separate values.
        full: bool,
    },
}

impl Pattern {
    /// Whether bytes or a regular expression are found in these; anything else is not.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(pattern) => memchr::memmem::find(bytes, pattern).is_some(),
            Self::Regex(regex) => regex.is_match(bytes),
            Self::Status(_) | Self::StatusRegex(_) | Self::Header { .. } => false,
        }
    }
}

/// `-m` of `http-check expect hdr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextMatch {
    /// `str`.
    #[default]
    Exact,
    /// `beg`.
    Begin,
    /// `end`.
    End,
    /// `sub`.
    Contains,
}
