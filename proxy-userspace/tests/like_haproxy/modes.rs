//! Each mode before each kind of server, for each kind of client, with both presets: the closes of
//! HAProxy 1.4.22 and 1.5.4 as they were measured on real builds. Debian's HAProxy plays the same,
//! so that the table itself is held to one.

use crate::clients::Client;
use crate::servers::Kind;
use crate::stage::Stage;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

/// How a proxy treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    ServerClose,
    HttpClose,
    ForceClose,
    KeepAlive,
    HttpTunnel,
    NoLinger,
    Tcp,
}

use Mode::{ForceClose, HttpClose, HttpTunnel, KeepAlive, NoLinger, ServerClose, Tcp};

impl Mode {
    const ALL: [Self; 7] =
        [ServerClose, HttpClose, ForceClose, KeepAlive, HttpTunnel, NoLinger, Tcp];

    fn words(self) -> &'static str {
        match self {
            ServerClose => "mode http\n  option http-server-close",
            HttpClose => "mode http\n  option httpclose",
            ForceClose => "mode http\n  option forceclose",
            KeepAlive => "mode http\n  option http-keep-alive",
            HttpTunnel => "mode http\n  option http-tunnel",
            NoLinger => "mode http\n  option http-server-close\n  option nolinger",
            Tcp => "mode tcp",
        }
    }

    /// Passes the client's FIN on.
    fn is_tunnel(self) -> bool {
        matches!(self, HttpTunnel | Tcp)
    }

    /// Keeps the client's connection after a response that has a length.
    fn keeps_clients(self) -> bool {
        matches!(self, ServerClose | KeepAlive | NoLinger)
    }
}

/// Who closes: teardown with a preset, or Debian's HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Like {
    V14,
    V15,
    Today,
}

impl Like {
    fn words(self) -> &'static str {
        match self {
            Self::V14 => " close like haproxy-1.4",
            Self::V15 => " close like haproxy-1.5",
            Self::Today => "",
        }
    }

    /// What it has of the modes.
    fn modes(self) -> Vec<Mode> {
        let gone = |mode: &Mode| self == Self::Today && matches!(mode, ForceClose | HttpTunnel);
        Mode::ALL.into_iter().filter(|mode| !gone(mode)).collect()
    }
}

/// HAProxy's closes before an HTTP/1.0 client, in the order of [`Kind::ALL`]: 1.4.22's, then those
/// of 1.5.4. Empty where none was measured. s is the server, p the proxy, F is FIN+ACK and R is
/// RST+ACK. Tunnels of 1.4 stay half closed where `pF` stands alone.
const TABLE: [(Mode, [&str; 5], [&str; 5]); 7] = [
    (
        ServerClose,
        ["sF pR", "pR", "pR", "sF pF", "pF"], //
        ["sF pF", "pR", "pR", "sF pF", "pR"],
    ),
    (HttpClose, ["sF pF", "sF pF", "pF", "sF pF", ""], ["sF pF", "sF pF", "pF pR", "sF pF", ""]),
    (
        ForceClose,
        ["sF pR", "pR", "pR", "sF pF", ""], //
        ["sF pF", "pR", "pR", "sF pF", ""],
    ),
    (
        KeepAlive,
        ["", "", "", "", ""], //
        ["sF pF", "pR", "pR", "sF pF", ""],
    ),
    (
        HttpTunnel,
        ["sF pF", "sF pF", "pF pR", "sF pF", ""],
        ["sF pF", "sF pF", "pF pR", "sF pF", ""],
    ),
    (
        NoLinger,
        ["sF pR", "pR", "pR", "sF pR", ""], //
        ["sF pF", "pR", "pR", "sF pR", ""],
    ),
    (
        Tcp,
        ["sF pF", "sF pF", "pF", "sF pF", ""], //
        ["sF pF", "sF pF", "pF pR", "sF pF", ""],
    ),
];

/// Where teardown closes otherwise, and how; each is told in docs/haproxy.md.
const DIFFERENT: [(Like, Mode, Kind, &str); 11] = [
    // `httpclose` is that of HAProxy 2.0 and later, which is the old `forceclose`.
    (Like::V14, HttpClose, Kind::WithData, "sF pR"),
    (Like::V14, HttpClose, Kind::Later, "pR"),
    (Like::V14, HttpClose, Kind::Never, "pR"),
    (Like::V15, HttpClose, Kind::Later, "pR"),
    (Like::V15, HttpClose, Kind::Never, "pR"),
    // What a response's end will be is not known when the connection's policy is stated.
    (Like::V14, ServerClose, Kind::NoLength, "sF pR"),
    (Like::V14, HttpClose, Kind::NoLength, "sF pR"),
    (Like::V14, ForceClose, Kind::NoLength, "sF pR"),
    // A server that never closes is given up with RST, as by 1.5.
    (Like::V14, ServerClose, Kind::NoEnd, "pR"),
    (Like::V14, Tcp, Kind::Never, "pF pR"),
    // The preset asks for FIN in answer to FIN, and today's HAProxy does so with `nolinger` too.
    (Like::V15, NoLinger, Kind::NoLength, "sF pF"),
];

/// Where nothing was measured: what HAProxy 2.6 does, and the preset says.
fn unmeasured(like: Like, mode: Mode, kind: Kind) -> &'static str {
    match kind {
        Kind::WithData | Kind::NoLength if like == Like::V14 => "sF pR",
        Kind::WithData | Kind::NoLength => "sF pF",
        Kind::NoEnd if mode.is_tunnel() => "pF pR",
        Kind::Later | Kind::Never | Kind::NoEnd => "pR",
    }
}

/// How an HTTP/1.0 client's connection to a server should close.
fn of_the_table(like: Like, mode: Mode, kind: Kind) -> &'static str {
    let row = TABLE.iter().find(|row| row.0 == mode).expect("a row for every mode");
    let column = if like == Like::V14 { row.1 } else { row.2 };
    let measured = column[usize::from(kind.port() - 9001)];
    let told = DIFFERENT.iter().find(|cell| (cell.0, cell.1, cell.2) == (like, mode, kind));
    if let Some((.., ours)) = told {
        assert_ne!(*ours, measured, "{like:?} {mode:?} {kind:?} is different no more");
        return ours;
    }
    match (like, mode, kind) {
        // Since 2.0 it closes first.
        (Like::Today, HttpClose, Kind::Later | Kind::Never) => "pR",
        // The order of two things that HAProxy does at once.
        (Like::Today, NoLinger, Kind::NoLength) => "sF pF",
        _ if measured.is_empty() => unmeasured(like, mode, kind),
        _ => measured,
    }
}

/// How this client's connections to a server may close.
fn expected(like: Like, mode: Mode, kind: Kind, client: Client) -> Vec<String> {
    let one = of_the_table(like, mode, kind);
    let closes_first = matches!(client, Client::KeepAlive | Client::HalfClosing);
    if mode.is_tunnel() && closes_first {
        return match kind {
            // The client's FIN and the server's are on their way at the same time.
            Kind::WithData => vec!["sF pF".into(), "pF sF".into()],
            Kind::Later | Kind::NoLength => vec!["pF sF".into()],
            Kind::Never | Kind::NoEnd => vec!["pF pR".into()],
        };
    }
    if mode.is_tunnel() && client == Client::Resetting && kind != Kind::WithData {
        return vec!["pR".to_owned()];
    }
    let has_length = !matches!(kind, Kind::NoLength | Kind::NoEnd);
    if client == Client::KeepAlive && has_length && mode.keeps_clients() {
        return vec![format!("{one}, {one}")];
    }
    // HAProxy may pass the client's FIN on before the response is over; teardown does not.
    if like == Like::Today && client == Client::HalfClosing && !has_length {
        return ["pF sF", "sF pF", "pF pR", "pR"].map(str::to_owned).to_vec();
    }
    vec![one.to_owned()]
}

fn port(mode: Mode, kind: Kind) -> u16 {
    let place = Mode::ALL.iter().position(|known| *known == mode).expect("one of all");
    7000 + 10 * u16::try_from(place).expect("a small number") + kind.port() - 9000
}

fn config(stage: &Stage, like: Like) -> String {
    // A client is given up before a server, as in the measurements.
    let mut text = "global\n  maxconn 2000\n  nbthread 2\ndefaults\n  timeout connect 5s\n  \
                    timeout client 2s\n  timeout server 4s\n"
        .to_owned();
    for mode in like.modes() {
        for kind in Kind::ALL {
            let front = SocketAddr::new(stage.topology.front_addr, port(mode, kind));
            let server = SocketAddr::new(stage.topology.backend_addr, kind.port());
            let (words, close) = (mode.words(), like.words());
            writeln!(
                text,
                "listen {mode:?}-{kind:?}\n  bind {front}\n  {words}\n  server s {server}{close}"
            )
            .expect("a string takes all");
        }
    }
    text
}

/// Every client before every server in every mode, all at once: each close is judged.
fn play(like: Like) {
    let stage = Stage::new();
    let config = config(&stage, like);
    let mut proxy = match like {
        Like::Today => stage.haproxy(&config, port(Tcp, Kind::NoEnd)),
        _ => stage.teardown(&config),
    };
    let mut cells = BTreeMap::new();
    std::thread::scope(|scope| {
        for mode in like.modes() {
            for kind in Kind::ALL {
                for client in Client::ALL {
                    let path = format!("/{mode:?}/{kind:?}/{client:?}");
                    cells.insert(path.clone(), expected(like, mode, kind, client));
                    let topology = &stage.topology;
                    scope.spawn(move || {
                        let at = SocketAddr::new(topology.front_addr, port(mode, kind));
                        let text = client.ask(topology, at, &path);
                        assert!(text.contains(" 200 OK\r\n"), "{like:?} {path}: {text:?}");
                        assert!(text.ends_with("ok"), "{like:?} {path}: {text:?}");
                    });
                }
            }
        }
    });
    stage.wait_for_the_end();
    let closes = stage.closes();
    let mut wrong = Vec::new();
    for (path, expected) in &cells {
        let found = closes.get(path).map(|closes| closes.join(", ")).unwrap_or_default();
        if !expected.contains(&found) {
            wrong.push(format!("{path}: {found:?} should be {}", expected.join(" or ")));
        }
    }
    if !wrong.is_empty() {
        let kept = stage.capture.keep(&format!("like-{like:?}"));
        panic!("{like:?}, of {} cells ({kept}):\n{}", cells.len(), wrong.join("\n"));
    }
    println!("{like:?}: {} cells, {} connections", cells.len(), stage.connections().len());
    proxy.signal(Signal::TERM);
    proxy.wait();
}

#[test]
fn every_mode_closes_like_haproxy_1_4() {
    play(Like::V14);
}

#[test]
fn every_mode_closes_like_haproxy_1_5() {
    play(Like::V15);
}

/// The table's own witness: the cells that HAProxy still has are as its column for 1.5 and later.
#[test]
fn debians_haproxy_closes_as_the_table_says() {
    play(Like::Today);
}
