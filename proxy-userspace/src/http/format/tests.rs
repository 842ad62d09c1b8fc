use super::*;
use crate::config::format::{Place, format};
use crate::http::balance::{Algorithm, Balance, Hashing};
use crate::http::event::{Cause, Phase, Termination, Timers};
use crate::http::hooks::Edit;
use crate::http::live::Proxies;
use crate::http::logline::{CLF, DEFAULT, HTTP, TCP};
use crate::http::settings::{self, Mode, Settings};
use crate::http::variable::{Name, Scope, Value};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn proxies() -> Proxies {
    let balance = Arc::new(Balance::new(Algorithm::RoundRobin, Hashing::default(), 1));
    let mut backend = settings::Backend::new("static", balance);
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    backend.servers.push(settings::Server::new("srv1", address.into()));
    let at = settings::BindAddress::Inet(SocketAddr::from(([10, 0, 3, 31], 8012)));
    let frontend = settings::Frontend {
        name: "http-in".to_owned(),
        mode: Mode::Http,
        binds: vec![settings::Bind::new(at)],
        ..settings::Frontend::default()
    };
    let settings =
        Settings { frontends: vec![frontend], backends: vec![backend], ..Settings::default() };
    Proxies::new(settings, 1, Arc::default())
}

fn shown(text: &str, change: impl FnOnce(&mut Session<'_>)) -> String {
    written(text, Place::Log, change)
}

fn written(text: &str, place: Place, change: impl FnOnce(&mut Session<'_>)) -> String {
    let proxies = proxies();
    let ms = |ms| Some(Duration::from_millis(ms));
    let started = SystemTime::UNIX_EPOCH + Duration::from_millis(1_233_922_454_655);
    let mut session = Session {
        backend: Some(&proxies.backends[0]),
        server: Some(&proxies.backends[0].servers[0]),
        client: Some(SocketAddr::from(([10, 0, 1, 2], 33317))),
        local: Some(SocketAddr::from(([10, 0, 3, 31], 8012))),
        timers: Timers {
            handshake: Duration::ZERO,
            idle: None,
            request: ms(10),
            queue: ms(0),
            connect: ms(30),
            response: ms(69),
            active: Duration::from_millis(109),
            total: Duration::from_millis(109),
        },
        status: 200,
        bytes_out: 2750,
        bytes_in: 85,
        actconn: 1,
        feconn: 1,
        beconn: 1,
        srvconn: 1,
        request_line: b"GET /index.html HTTP/1.1",
        serial: 7,
        ..Session::new(&proxies.frontends[0], started)
    };
    change(&mut session);
    let around = Surroundings { zone: TimeZone::UTC, host: "h".to_owned() };
    let mut out = Vec::new();
    let view = View {
        moment: Some(&session),
        client: session.client,
        local: session.local,
        ..View::default()
    };
    format(text, place).unwrap().write(&view, &around, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn samples_bring_no_line_ends() {
    let name = Name { scope: Scope::Transaction, name: "a".to_owned() };
    let value = Value::Text(b"a\r\nb\tc\0\x7f d%".to_vec());
    let edits = [Edit::Variable(Arc::new(name), Some(Arc::new(value)))];
    for place in [Place::Log, Place::Request, Place::Response] {
        let read = format("<%[var(txn.a)]>", place).unwrap();
        let filled = read.fill(&View { edits: &edits, ..View::default() });
        assert_eq!(filled, b"<a%0D%0Ab\tc%00%7F d%>");
    }
}

/// The lines of HAProxy's manual, 8.2.2 and 8.2.3, captures apart, and of a real 2.6.12.
#[test]
fn lines_are_haproxys() {
    assert_eq!(
        shown(HTTP, |_| {}),
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 \
         - - ---- 1/1/1/1/0 0/0 \"GET /index.html HTTP/1.1\""
    );
    assert_eq!(
        shown(TCP, |_| {}),
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/30/109 2750 -- \
         1/1/1/1/0 0/0"
    );
    assert_eq!(
        shown(DEFAULT, |_| {}),
        "Connect from 10.0.1.2:33317 to 10.0.3.31:8012 (http-in/HTTP)"
    );
    assert_eq!(
        shown(CLF, |_| {}),
        "10.0.1.2 - - [06/Feb/2009:12:14:14 +0000] \"GET /index.html HTTP/1.1\" 200 2750 \"\" \"\" \
         33317 655 \"http-in\" \"static\" \"srv1\" 10 0 30 69 109 ---- 1 1 1 1 0 0 0 \"\" \"\" "
    );
}

#[test]
fn failures_show_what_was_not_reached() {
    let line = shown(HTTP, |session| {
        session.timers.connect = None;
        session.timers.response = None;
        session.status = 503;
        session.termination = Termination::new(Cause::Server, Phase::Connect);
        session.redispatched = true;
        session.retries = 3;
    });
    assert!(line.contains(" 10/0/-1/-1/109 503 2750 - - SC-- 1/1/1/1/+3 0/0 "), "{line}");
    let line = shown(HTTP, |session| {
        (session.server, session.backend) = (None, None);
        session.request_line = b"";
        session.status = 400;
        session.timers = Timers::default();
    });
    assert!(line.contains(" http-in http-in/<NOSRV> -1/-1/-1/-1/0 400 "), "{line}");
    assert!(line.ends_with("\"<BADREQ>\""), "{line}");
}

#[test]
fn nothing_unprintable_reaches_the_log() {
    let line = shown("%r", |session| session.request_line = b"GET /a\"b\x80#\n HTTP/1.1");
    assert_eq!(line, "GET /a#22b#80#23#0A HTTP/1.1");
}

#[test]
fn variables_stand_alone_and_together() {
    let all = shown("%HM|%HP|%HQ|%HU|%HV|%si|%sp|%U|%Ts|%ms|%{+X}ci|%{+Q}s", |session| {
        session.request_line = b"GET /r?a HTTP/1.1";
    });
    let want = "GET|/r|?a|/r?a|HTTP/1.1|127.0.0.1|80|85|1233922454|655|0A000102|\"srv1\"";
    assert_eq!(all, want);
    assert_eq!(shown("%{+X}o %cp %fp %sp", |_| {}), "8225 1F4C 0050");
    // The numbers of the manual's unique id.
    let v6 = |session: &mut Session<'_>| session.client = "[2001:db8::a]:80".parse().ok();
    assert_eq!(shown("%{+X}ci %ci", v6), "20010DB800000000000000000000000A 2001:db8::a");
    assert_eq!(shown("%{+X}o %Ts_%rt %ms", |_| {}), "498C2996_0007 28F");
    let pid = std::process::id();
    assert_eq!(shown("%pid %{+X}pid", |_| {}), format!("{pid} {pid:04X}"));
    assert_eq!(shown("%si %sp %bi %bp", |session| session.server = None), "- - - -");
    let from = SocketAddr::from(([10, 0, 3, 32], 50_000));
    assert_eq!(shown("%bi:%bp", |session| session.source = Some(from)), "10.0.3.32:50000");
}

/// As a running HAProxy 2.6.12 writes them.
#[test]
fn a_path_alone_has_no_host() {
    let of = |line: &'static [u8]| {
        written("%HP %HPO %HQ", Place::Request, |session| session.request_line = line)
    };
    assert_eq!(of(b"GET http://x/a?b HTTP/1.1"), "http://x/a /a ?b");
    assert_eq!(of(b"OPTIONS * HTTP/1.1"), "*  ");
    assert_eq!(of(b"CONNECT x:443 HTTP/1.1"), "x:443  ");
    assert_eq!(of(b""), "<BADREQ> <BADREQ> <BADREQ>");
}

/// What a running HAProxy 2.6.12 logged with this format.
#[test]
fn log_lines_take_samples() {
    let text = "%[status]|%[method]|%[src]:%[src_port]|%{+Q}[dst]|%{-M}[status]|%{+Q}[status]|\
                %[bool(1)]|%{+X}[int(17)]|%[ssl_fc]|%{+E}[str(\u{e9}#a\\)]|%[src,upper,length]|  x \
                %[status]  %hr %o y %{+Q}ID %{-M}si|%{+E}[str()]";
    let line = shown(text, |session| session.server = None);
    let ends = "|0|\u{e9}#a\\\\|8| x - y \"\" |-";
    assert_eq!(line, format!("-|GET|10.0.1.2:33317|\"10.0.3.31\"||\"\"|1|17{ends}"));
    assert_eq!(shown("%[method]", |session| session.request_line = b""), "-");
}

#[test]
fn rules_write_nothing_for_what_is_not_there() {
    let nothing = |session: &mut Session<'_>| {
        (session.server, session.status, session.bytes_out) = (None, 0, 0);
        session.timers = Timers::default();
    };
    let text = "<%si%sp%bi%bp%ID%CC%sslv%hr>  %s %ST %B %TR %Td %Ta %{+M}ID %{+Q}ID";
    let want = "<>  <NOSRV> -1 0 -1 -1 0 - \"\"";
    assert_eq!(written(text, Place::Request, nothing), want);
}
