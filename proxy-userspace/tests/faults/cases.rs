//! What goes wrong, and where the two differ on purpose.

use crate::client::Act::{self, *};

/// A client's list before one of the proxies.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) listen: &'static str,
    pub(crate) acts: Vec<Act>,
    /// Lines that both log.
    pub(crate) lines: usize,
    /// teardown logs one more: a request that both leave unanswered (docs/haproxy.md).
    pub(crate) unanswered: bool,
    /// Columns of `show stat` that differ (docs/haproxy.md).
    pub(crate) but: &'static [&'static str],
}

impl Case {
    pub(crate) fn new(listen: &'static str, name: &str, lines: usize, acts: &[Act]) -> Self {
        let name = format!("{listen}: {name}");
        Self { name, listen, acts: acts.to_vec(), lines, unanswered: false, but: &[] }
    }

    fn but(self, but: &'static [&'static str]) -> Self {
        Self { but, ..self }
    }

    fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }
}

macro_rules! get {
    ($path:literal) => {
        Send(concat!("GET ", $path, " HTTP/1.1\r\nHost: x\r\n\r\n"))
    };
}

macro_rules! post {
    ($path:literal) => {
        Send(concat!("POST ", $path, " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"))
    };
}

macro_rules! upgrade {
    ($path:literal) => {
        concat!("GET ", $path, " HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    };
}

const OK: Act = get!("/ok");
/// A request whose body does not end; the server has seen it when it holds one.
const HALF_A_BODY: Act = Send("POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = servers();
    all.extend(clients());
    all.extend(queues());
    all.extend(tunnels());
    all.extend(switched());
    all.extend(odd());
    all
}

/// Servers that fail.
fn servers() -> Vec<Case> {
    /// HAProxy counts a RST before the response twice as `eresp`.
    const TWICE: &[&str] = &["eresp"];
    /// Of an unanswered request teardown counts `eresp` always, HAProxy `srv_abrt` at times; and
    /// teardown has tried it once more on a fresh connection where that is safe.
    const UNANSWERED: &[&str] = &["eresp", "srv_abrt", "stot", "lbtot", "connect"];
    let mut all = Vec::new();
    for listen in ["ka", "scl", "never"] {
        let case = |name: &str, lines, acts: &[Act]| Case::new(listen, name, lines, acts);
        all.extend([
            case("GET", 3, &[OK, Answer, OK, Answer, OK, Answer]),
            case("POST", 2, &[post!("/ok"), Answer, post!("/ok"), Answer]),
            case("a FIN first", 2, &[get!("/fin"), Answer, OK, Answer]),
            case("a FIN after POST", 2, &[post!("/fin"), Answer, OK, Answer]),
            case("a FIN later", 1, &[OK, Answer, get!("/fin"), End]).unanswered().but(UNANSWERED),
            case("a FIN after a later POST", 1, &[OK, Answer, post!("/fin"), End])
                .unanswered()
                .but(UNANSWERED),
            case("a RST first", 1, &[get!("/reset"), Answer]).but(TWICE),
            case("a RST later", 1, &[OK, Answer, get!("/reset"), End]).unanswered().but(UNANSWERED),
            case("half a head first", 1, &[get!("/half"), Answer]),
            case("half a head later", 1, &[OK, Answer, get!("/half"), End])
                .unanswered()
                .but(UNANSWERED),
            case("no head", 1, &[get!("/bad"), Answer]),
            case("no head later", 2, &[OK, Answer, post!("/bad"), Answer]),
            case("a body cut", 2, &[OK, Answer, get!("/cut"), Answer]),
            case("chunks cut", 1, &[get!("/cut-chunk"), End]),
            case("until close", 2, &[OK, Answer, get!("/until-close"), End]),
            case("404", 1, &[get!("/404"), Answer]),
            case("interim", 1, &[get!("/interim"), Answer, Answer]),
            case("pipelined", 3, &[OK, OK, OK, Answer, Answer, Answer]),
        ]);
    }
    let more = [
        Case::new("late", "no response", 2, &[get!("/silent"), Answer, OK, Answer]),
        Case::new("late", "none to POST", 2, &[post!("/silent"), Answer, OK, Answer]),
        Case::new("late", "none later", 2, &[OK, Answer, get!("/silent"), Answer]),
        Case::new("late", "a body that stops", 1, &[get!("/stall"), Answer]),
        Case::new("refused", "GET twice", 2, &[OK, Answer, OK, Answer]),
        Case::new("refused", "POST", 2, &[post!("/ok"), Answer, OK, Answer]),
        Case::new("redispatch", "three times", 3, &[OK, Answer, OK, Answer, OK, Answer]),
        Case::new("redispatch", "POST", 1, &[post!("/ok"), Answer]),
        Case::new("down", "GET, POST", 2, &[OK, Answer, post!("/ok"), Answer]),
        Case::new("rules", "denied", 2, &[get!("/no"), Answer, OK, Answer]),
        Case::new("rules", "denied with a field", 2, &[get!("/own"), Answer, OK, Answer]),
        Case::new("rules", "the statistics", 1, &[get!("/stats"), Answer]),
        Case::new("rules", "POST denied", 2, &[post!("/no"), Answer, OK, Answer]),
        Case::new("rules", "POST answered", 2, &[post!("/yes"), Answer, OK, Answer]),
    ];
    all.extend(more);
    all
}

/// Clients that fail.
fn clients() -> Vec<Case> {
    let mut all = Vec::new();
    for listen in ["ka", "scl", "abort"] {
        for (word, leave) in [("FIN", None), ("RST", Some(Reset))] {
            let case = |name: &str, lines, acts: &[Act]| {
                let mut acts = acts.to_vec();
                acts.extend(leave);
                Case::new(listen, &format!("{word} {name}"), lines, &acts)
            };
            all.extend([
                case("at once", 1, &[]),
                case("in a head", 1, &[Send("GET / HT")]),
                case("in a later head", 2, &[OK, Answer, Send("GET / HT")]),
                case("when idle", 1, &[OK, Answer]),
                case("in a body", 1, &[HALF_A_BODY, Held(1)]),
                case("in a later body", 2, &[OK, Answer, HALF_A_BODY, Held(1)]),
                case("in a response", 1, &[get!("/endless"), Bytes(1000)]),
            ]);
        }
    }
    for listen in ["ka", "scl"] {
        let case = |name: &str, lines, acts: &[Act]| Case::new(listen, name, lines, acts);
        all.extend([
            case("half closed", 1, &[get!("/held"), Finish, Held(1), Release, Answer, End]),
            case("half closed in a body", 1, &[HALF_A_BODY, Held(1), Finish, End]),
            // Nobody is there to be told, so it is only counted.
            case(
                "bad chunk",
                1,
                &[
                    Send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
                    Answer,
                    End,
                ],
            )
            .but(&["stot"]),
            case("a bad head", 1, &[Send("GET / HTTP/1.1\r\nHo st: x\r\n\r\n"), Answer, End]),
            case(
                "a bad later head",
                2,
                &[OK, Answer, Send("GET / HTTP/1.1\r\nHo st: x\r\n\r\n"), Answer, End],
            ),
        ]);
    }
    all.extend([
        Case::new("abort", "half closed", 1, &[get!("/held"), Held(1), Finish, Answer, Release]),
        Case::new("abort", "FIN when waiting", 1, &[get!("/held"), Held(1)]),
        Case::new("abort", "RST when waiting", 1, &[get!("/held"), Held(1), Reset, Release]),
        Case::new("mute", "FIN when connecting", 1, &[OK, Connecting]),
        // HAProxy counts both the server's fault and the client's.
        Case::new("mute", "RST when connecting", 1, &[OK, Connecting, Reset]).but(&["cli_abrt"]),
        Case::new("abort-mute", "FIN when connecting", 1, &[OK, Connecting]),
        Case::new("abort-mute", "RST when connecting", 1, &[OK, Connecting, Reset]),
        Case::new("abort", "FIN when it stops", 1, &[get!("/stall"), Bytes(30)]),
        Case::new("head", "nothing", 1, &[Answer, End]),
        Case::new("head", "half a head", 1, &[Send("GET / HT"), Answer, End]),
        Case::new("head", "half a later head", 2, &[OK, Answer, Send("GET / HT"), Answer, End]),
        Case::new("head", "idle", 1, &[OK, Answer, End]),
        Case::new("keep", "idle", 1, &[OK, Answer, End]),
        Case::new("hurry", "nothing", 1, &[Answer, End]),
        Case::new("hurry", "half a head", 1, &[Send("GET / HT"), Answer, End]),
        Case::new("hurry", "idle", 1, &[OK, Answer, End]),
        Case::new("hurry", "half a later head", 2, &[OK, Answer, Send("GET / HT"), Answer, End]),
    ]);
    all
}

/// Requests that wait for a server's slot.
fn queues() -> Vec<Case> {
    vec![
        Case::new(
            "abort-one",
            "FIN in the queue",
            2,
            &[get!("/held"), Held(1), Second, OK, Queued, Finish, End, First, Release, Answer],
        ),
        Case::new(
            "one",
            "too long",
            2,
            &[get!("/held"), Held(1), Second, OK, Answer, First, Release, Answer],
        ),
        Case::new(
            "hash",
            "too long",
            2,
            &[get!("/held"), Held(1), Second, OK, Answer, First, Release, Answer],
        ),
    ]
}

/// `mode tcp`.
fn tunnels() -> Vec<Case> {
    let case = |name: &str, acts: &[Act]| Case::new("tcp", name, 1, acts);
    vec![
        case("the server ends", &[Send("bye\n"), Bytes(2), End]),
        case("the server ends without a word", &[Send("fin\n"), End]),
        case("the server resets", &[Send("reset\n"), End]),
        case("the client ends", &[Send("hello\n"), Bytes(2)]),
        case("the client half closes", &[Send("hello\n"), Bytes(2), Finish, End]),
        case("the client resets", &[Send("hello\n"), Bytes(2), Reset]),
        Case::new("tcp-late", "silence", 1, &[Send("silent\n"), End]),
        Case::new("tcp-late", "silence after words", 1, &[Send("hello\n"), Bytes(2), End]),
        Case::new("tcp-mute", "the client ends without a word", 1, &[Connecting]),
        Case::new("tcp-mute", "the client resets without a word", 1, &[Connecting, Reset]),
        Case::new("tcp-mute", "the client ends after words", 1, &[Send("hello\n"), Connecting]),
        Case::new("tcp-hurry", "silence", 1, &[End]),
        Case::new("tcp-hurry", "silence after words", 1, &[Send("hello\n"), Bytes(2), End]),
        Case::new("tcp-fin", "the client half closes", 1, &[Send("silent\n"), Finish, End]),
        Case::new("tcp-fin", "the server ends", 1, &[Send("bye\n"), Bytes(2), End]),
        Case::new("tcp-tunnel", "silence", 1, &[End]),
        Case::new("tcp-tunnel", "silence after words", 1, &[Send("hello\n"), Bytes(2), End]),
        Case::new("tcp-refused", "nobody", 1, &[Send("hello\n"), End]),
    ]
}

/// Tunnels by Upgrade and CONNECT.
fn switched() -> Vec<Case> {
    let case = |name: &str, path: &'static str, acts: &[Act]| {
        let acts = [&[Send(path), Answer, Bytes(2)], acts].concat();
        Case::new("tunnel", name, 1, &acts)
    };
    vec![
        case("the client ends", upgrade!("/upgrade"), &[]),
        case("the client resets", upgrade!("/upgrade"), &[Reset]),
        case("the client half closes", upgrade!("/upgrade"), &[Finish, End]),
        case("silence", upgrade!("/upgrade"), &[End]),
        case("the server ends", upgrade!("/upgrade-end"), &[End]),
        case("the server resets", upgrade!("/upgrade-reset"), &[Send("x"), End]),
        Case::new(
            "tunnel",
            "CONNECT",
            1,
            &[Send("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n"), Finish, End],
        ),
    ]
}

/// What is no failure, but seldom.
fn odd() -> Vec<Case> {
    let mut all = Vec::new();
    for listen in ["ka", "scl", "close"] {
        let case = |name: &str, acts: &[Act]| Case::new(listen, name, 1, acts);
        all.extend([
            case(
                "HEAD",
                &[Send("HEAD /head HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), End],
            ),
            case("204", &[get!("/204"), Answer]),
            case("304", &[get!("/304"), Bytes(30)]),
            case("more than said", &[get!("/long"), Answer]),
            case("the server will close", &[get!("/close"), Answer]),
            case("1.0 until close", &[get!("/old"), End]),
            case("1.0, kept", &[get!("/old-kept"), Answer]),
            case("500", &[get!("/500"), Answer]),
            case("a client of 1.0", &[Send("GET /ok HTTP/1.0\r\n\r\n"), Answer, End]),
            case(
                "the client will close",
                &[Send("GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), Answer, End],
            ),
        ]);
    }
    for listen in ["ka", "scl"] {
        let case = |name: &str, path| Case::new(listen, name, 2, &[path, Answer, OK, Answer]);
        all.extend([
            case("more than said, and another", get!("/long")),
            case("the server will close, and another", get!("/close")),
            case("1.0, kept, and another", get!("/old-kept")),
            case(
                "a client of 1.0, kept",
                Send("GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            ),
        ]);
    }
    all
}
