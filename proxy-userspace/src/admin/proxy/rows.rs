//! One line of the statistics: a frontend's, a server's, a backend's.

mod checked;

use super::columns::COLUMNS;
use super::{Scene, state};
use crate::http::cookie;
use crate::http::counters::{Count, Counters};
use crate::http::health::follow;
use crate::http::live::{Admin, Backend, Frontend, SHARES, Server};
use crate::http::settings::{Mode, ServerAddress};
use checked::checked;
use std::sync::atomic::Ordering::Relaxed;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    /// "Never" is -1.
    Signed(i64),
}

/// What a line is about; HAProxy's letters and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Frontend,
    Backend,
    Server,
}

/// A line: a value for each of [`COLUMNS`], or none.
pub(super) struct Row {
    pub(super) object: Object,
    /// The proxy's number.
    pub(super) proxy: u32,
    /// The server's, 0 for others.
    pub(super) server: u32,
    pub(super) values: Vec<Option<Value>>,
    /// A backend's servers that run, and all.
    servers: Option<(usize, usize)>,
}

impl Row {
    fn new(object: Object, proxy: u32, server: u32) -> Self {
        Self { object, proxy, server, values: vec![None; COLUMNS.len()], servers: None }
    }

    fn set(&mut self, name: &str, value: Value) {
        if let Some(index) = COLUMNS.iter().position(|column| column.name == name) {
            self.values[index] = Some(value);
        }
    }

    fn text(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, Value::Text(text.into()));
    }

    fn number(&mut self, name: &str, number: impl Into<u64>) {
        self.set(name, Value::Number(number.into()));
    }

    /// Takes away what HAProxy tells operators alone.
    pub(super) fn hide_legends(&mut self) {
        for (column, value) in COLUMNS.iter().zip(&mut self.values) {
            if matches!(column.name, "addr" | "algo" | "cookie") {
                *value = None;
            }
        }
    }

    /// Whether a server is up, be it that it gets nothing new.
    pub(super) fn is_running(&self) -> bool {
        let status = self.get("status");
        !status.starts_with("DOWN") && !status.starts_with("MAINT")
    }

    /// Adds to a backend's state how many of its servers run, as HAProxy does where lines are left
    /// out.
    pub(super) fn tell_running(&mut self) {
        if let Some((running, all)) = self.servers {
            let status = format!("{} ({running}/{all})", self.get("status"));
            self.text("status", status);
        }
    }

    /// The value of a column, as text.
    pub(super) fn get(&self, name: &str) -> String {
        let index = COLUMNS.iter().position(|column| column.name == name);
        let value = index.and_then(|index| self.values[index].as_ref());
        value.map(ToString::to_string).unwrap_or_default()
    }

    fn counts(&mut self, counters: &Counters, list: &[(&str, Count)]) {
        for &(name, count) in list {
            self.number(name, counters.total(count));
        }
    }

    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.number(name, 0_u32);
        }
    }

    fn begin(&mut self, proxy: &str, name: &str, kind: u32, mode: Mode) {
        self.text("pxname", proxy);
        self.text("svname", name);
        self.number("pid", 1_u32);
        self.number("iid", self.proxy);
        self.number("sid", self.server);
        self.number("type", kind);
        self.text("mode", if mode == Mode::Http { "http" } else { "tcp" });
        // What HAProxy's own modules count; there is no such module here.
        let has_no_module = |name: &str| match self.object {
            Object::Server => name.starts_with("ssl_"),
            _ => ["ssl_", "h1_", "h2_"].iter().any(|module| name.starts_with(module)),
        };
        let names: Vec<&str> =
            COLUMNS.iter().map(|column| column.name).filter(|name| has_no_module(name)).collect();
        self.zeros(&names);
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Number(number) => number.fmt(out),
            Self::Signed(number) => number.fmt(out),
        }
    }
}

const RESPONSES: [(&str, Count); 6] = [
    ("hrsp_1xx", Count::Responses1),
    ("hrsp_2xx", Count::Responses2),
    ("hrsp_3xx", Count::Responses3),
    ("hrsp_4xx", Count::Responses4),
    ("hrsp_5xx", Count::Responses5),
    ("hrsp_other", Count::Responses0),
];

pub(super) fn frontend(scene: &Scene, frontend: &Frontend) -> Row {
    let settings = &frontend.settings;
    let number = scene.numbers.frontends.get(frontend.index).copied().unwrap_or_default();
    let mut row = Row::new(Object::Frontend, number, 0);
    row.begin(&settings.name, "FRONTEND", 0, settings.mode);
    row.number("scur", frontend.sessions.now());
    row.number("smax", frontend.sessions.max());
    let own = frontend.maxconn.load(Relaxed);
    let of_process = || scene.proxies.maxconn.load(Relaxed);
    let limit = if own == Frontend::NO_LIMIT { of_process() } else { own };
    row.number("slim", limit);
    row.counts(
        &frontend.counters,
        &[
            ("stot", Count::Sessions),
            ("bin", Count::BytesIn),
            ("bout", Count::BytesOut),
            ("dreq", Count::DeniedRequests),
            ("dresp", Count::DeniedResponses),
            ("ereq", Count::RequestErrors),
            ("conn_tot", Count::Connections),
            ("dcon", Count::DeniedConnections),
            ("dses", Count::DeniedSessions),
            ("wrew", Count::RewriteErrors),
            ("eint", Count::InternalErrors),
            ("req_tot", Count::Requests),
        ],
    );
    let status = match (frontend.shut.load(Relaxed), frontend.enabled.load(Relaxed)) {
        (true, _) => "STOP",
        (false, true) => "OPEN",
        (false, false) => "PAUSED",
    };
    row.text("status", status);
    for name in ["rate", "conn_rate"] {
        row.number(name, frontend.session_rate.last());
    }
    for name in ["rate_max", "conn_rate_max"] {
        row.number(name, frontend.session_rate.max());
    }
    row.number("req_rate", frontend.request_rate.last());
    row.number("req_rate_max", frontend.request_rate.max());
    row.number("rate_lim", frontend.throttle.sessions.load(Relaxed));
    row.zeros(&["comp_in", "comp_out", "comp_byp", "comp_rsp"]);
    if settings.mode == Mode::Http {
        row.counts(&frontend.counters, &RESPONSES);
        row.counts(&frontend.counters, &[("intercepted", Count::Intercepted)]);
        row.number("h1_open_connections", frontend.sessions.now());
        row.counts(
            &frontend.counters,
            &[
                ("h1_total_connections", Count::Connections),
                ("h1_total_streams", Count::Requests),
                ("h1_bytes_in", Count::BytesIn),
                ("h1_bytes_out", Count::BytesOut),
            ],
        );
        row.zeros(&["cache_lookups", "cache_hits"]);
    }
    row
}

/// What servers and backends have in common.
const SERVED: [(&str, Count); 13] = [
    ("stot", Count::Sessions),
    ("bin", Count::BytesIn),
    ("bout", Count::BytesOut),
    ("dresp", Count::DeniedResponses),
    ("econ", Count::ConnectErrors),
    ("eresp", Count::ResponseErrors),
    ("wretr", Count::Retries),
    ("wredis", Count::Redispatches),
    ("lbtot", Count::Selected),
    ("cli_abrt", Count::ClientAborts),
    ("srv_abrt", Count::ServerAborts),
    ("wrew", Count::RewriteErrors),
    ("eint", Count::InternalErrors),
];

fn served(row: &mut Row, counters: &Counters, mode: Mode, last_session: Option<u64>) {
    row.counts(counters, &SERVED);
    row.counts(counters, &[("connect", Count::Opened), ("reuse", Count::Reused)]);
    if mode == Mode::Http {
        row.counts(counters, &RESPONSES);
        row.counts(counters, &[("req_tot", Count::Requests)]);
    }
    let timed = counters.total(Count::Timed).max(1);
    for (name, count) in [
        ("qtime", Count::QueueTime),
        ("ctime", Count::ConnectTime),
        ("rtime", Count::ResponseTime),
        ("ttime", Count::TotalTime),
    ] {
        row.number(name, counters.total(count) / timed);
    }
    for (name, count) in [
        ("qtime_max", Count::QueueTimeMost),
        ("ctime_max", Count::ConnectTimeMost),
        ("rtime_max", Count::ResponseTimeMost),
        ("ttime_max", Count::TotalTimeMost),
    ] {
        row.number(name, counters.most(count));
    }
    let last = last_session.map_or(-1, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    row.set("lastsess", Value::Signed(last));
}

/// Seconds since a server's last session.
fn last_session(scene: &Scene, server: &Server) -> Option<u64> {
    let at = server.last_session.load(Relaxed);
    (at > 0).then(|| scene.proxies.since.elapsed().as_secs().saturating_sub(at))
}

pub(super) fn server(scene: &Scene, backend: &Backend, server: &Server) -> Row {
    let at = (backend.index, server.index);
    let settings = &server.settings;
    let proxy = scene.numbers.backends.get(at.0).copied().unwrap_or_default();
    let mut row = Row::new(Object::Server, proxy, scene.numbers.server(at));
    row.begin(&backend.settings.name, &settings.name, 2, backend.settings.mode);
    row.number("qcur", server.queue.len());
    row.number("qmax", server.queue.max());
    row.number("scur", server.sessions.now());
    row.number("smax", server.sessions.max());
    let limit = server.maxconn.load(Relaxed);
    if limit > 0 {
        row.number("slim", limit);
    }
    if settings.maxqueue > 0 {
        row.number("qlimit", settings.maxqueue);
    }
    served(&mut row, &server.counters, backend.settings.mode, last_session(scene, server));
    row.number("weight", server.shares(backend).div_ceil(SHARES));
    let weight = server.weight();
    row.number("uweight", weight);
    let full = weight * SHARES;
    // An operator may take all of its weight away meanwhile.
    if server.is_cold() && server.usable() && full > 0 {
        row.number("throttle", (100 * server.shares(backend) + SHARES - 1) / full);
    }
    row.number("act", u32::from(!settings.backup));
    row.number("bck", u32::from(settings.backup));
    row.number("rate", server.session_rate.last());
    row.number("rate_max", server.session_rate.max());
    if !server.is_unresolved() {
        row.text("addr", address(server));
    }
    if let Some(cookie) = cookie::own_value(server) {
        row.text("cookie", cookie);
    }
    row.number("srv_icur", server.idle.now());
    if let Some(most) = settings.pool_max_conn {
        row.number("src_ilim", most);
    }
    row.number("idle_conn_cur", server.idle.now());
    row.number("used_conn_cur", server.sessions.now());
    row.number("need_conn_est", server.sessions.max());
    row.zeros(&["safe_conn_cur"]);
    row.number("lastchg", server.changed().elapsed().as_secs());
    let root = follow::root(&scene.proxies, at);
    let checking = |(_, server): &(&Backend, &Server)| server.checking.load(Relaxed);
    let is_checked = scene.proxies.server(root).is_some_and(|root| checking(&root));
    let standing = scene.board.get(root).filter(|_| is_checked);
    row.text("status", state::status(scene, root, server, standing.as_ref()));
    if settings.observe.is_some() {
        row.number("hanafail", server.alarms());
    }
    if let Some(name) = state::tracked(scene, server) {
        row.text("tracked", name);
    }
    if let Some(standing) = standing.filter(|_| root == at) {
        row.number("chkfail", standing.failed);
        row.number("chkdown", standing.ups.downs);
        row.number("downtime", standing.ups.total_downtime().as_secs());
        if server.admin() != Admin::Maintenance {
            checked(&mut row, scene, at, &standing);
        }
    }
    row
}

fn address(server: &Server) -> String {
    match server.address() {
        ServerAddress::Inet(address) => address.to_string(),
        ServerAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

pub(super) fn backend(scene: &Scene, backend: &Backend) -> Row {
    let settings = &backend.settings;
    let number = scene.numbers.backends.get(backend.index).copied().unwrap_or_default();
    let mut row = Row::new(Object::Backend, number, 0);
    row.begin(&settings.name, "BACKEND", 1, settings.mode);
    row.number("qcur", backend.queue.len());
    row.number("qmax", backend.queue.max());
    row.number("scur", backend.sessions.now());
    row.number("smax", backend.sessions.max());
    row.number("slim", scene.numbers.fullconns.get(backend.index).copied().unwrap_or_default());
    let last = backend.servers.iter().filter_map(|server| last_session(scene, server)).min();
    served(&mut row, &backend.counters, settings.mode, last);
    row.counts(&backend.counters, &[("dreq", Count::DeniedRequests)]);
    row.number("rate", backend.session_rate.last());
    row.number("rate_max", backend.session_rate.max());
    row.zeros(&["comp_in", "comp_out", "comp_byp", "comp_rsp"]);
    if settings.mode == Mode::Http {
        row.zeros(&["cache_lookups", "cache_hits"]);
        let used: u32 = backend.servers.iter().map(|server| server.sessions.now()).sum();
        let idle: u32 = backend.servers.iter().map(|server| server.idle.now()).sum();
        row.number("h1_open_streams", used);
        row.number("h1_open_connections", used + idle);
        row.counts(
            &backend.counters,
            &[("h1_total_connections", Count::Opened), ("h1_total_streams", Count::Sessions)],
        );
    }
    if let Some(cookie) = &settings.cookie {
        row.text("cookie", cookie.name.as_str());
    }
    row.text("algo", scene.numbers.algorithms.get(backend.index).map_or("", |name| name));
    let usable =
        |backup| backend.servers.iter().filter(move |s| s.settings.backup == backup && s.usable());
    let in_use: Vec<_> = backend.candidates().collect();
    let weight: u32 = in_use.iter().map(|server| server.weight()).sum();
    let shares: u32 = in_use.iter().map(|server| server.shares(backend)).sum();
    row.number("weight", shares.div_ceil(SHARES));
    row.number("uweight", weight);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    row.number("act", count(usable(false).count()));
    row.number("bck", count(usable(true).count()));
    let up = !in_use.is_empty() || backend.servers.is_empty();
    row.text("status", if up { "UP" } else { "DOWN" });
    let running = backend.servers.iter().filter(|server| server.is_running()).count();
    row.servers = Some((running, backend.servers.len()));
    if let Some(ups) = scene.board.backend(backend.index) {
        row.number("chkdown", ups.downs);
        row.number("lastchg", ups.since.elapsed().as_secs());
        row.number("downtime", ups.total_downtime().as_secs());
    }
    row.zeros(&["agg_server_status", "agg_server_check_status", "agg_check_status"]);
    row
}
