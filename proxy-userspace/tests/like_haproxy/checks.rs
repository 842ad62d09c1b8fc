//! How health checks close: HAProxy 1.4.22 ends them with FIN, 1.5 and later with RST where the
//! server has not closed; `linger` makes that a FIN again.

use crate::servers::Kind;
use crate::stage::Stage;
use crate::support::ss;
use crate::support::until::until;
use rustix::process::Signal;
use std::net::SocketAddr;

/// What of a check's closes is judged: as many as this of each kind.
const ENOUGH: usize = 3;

/// A check, by the path that it asks for, and how it closes. One that only connects asks nothing.
type Row = (&'static str, &'static str);

const LIKE_1_4: [Row; 5] = [
    ("/good", "sF pF"),
    ("/later", "pF sF"),
    // Half closed until the server closes, or for a minute.
    ("/never", "pF"),
    ("/lingering", "pF"),
    ("nothing", "pF sF"),
];

const LIKE_1_5: [Row; 5] = [
    ("/good", "sF pF"),
    ("/later", "pR"),
    ("/never", "pR"),
    ("/lingering", "pF"),
    ("nothing", "pR"),
];

fn config(stage: &Stage, close: &str) -> String {
    let at = |kind: Kind| SocketAddr::new(stage.topology.backend_addr, kind.port());
    let (good, later, never) = (at(Kind::WithData), at(Kind::Later), at(Kind::Never));
    format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n  \
         timeout check 5s\n  default-server inter 400ms\n\
         listen front\n  bind {}:7000\n  server s {good}\n\
         backend good\n  option httpchk GET /good\n  server s {good} check{close}\n\
         backend later\n  option httpchk GET /later\n  server s {later} check{close}\n\
         backend never\n  option httpchk GET /never\n  server s {never} check{close}\n\
         backend lingering\n  option httpchk\n  http-check connect linger\n  \
         http-check send meth GET uri /lingering\n  server s {never} check{close}\n\
         backend connecting\n  server s {good} check{close}\n",
        stage.topology.front_addr,
    )
}

/// Judges every check's close, several of each.
fn play(stage: &Stage, rows: [Row; 5]) {
    for (path, close) in rows {
        let found = until(&format!("{ENOUGH} closes of {path}"), || {
            let closes = stage.closes().remove(path)?;
            // The last ones may be under way.
            (closes.len() > ENOUGH + 2).then_some(closes)
        });
        let judged = &found[..ENOUGH];
        assert!(judged.iter().all(|found| found == close), "{path}: {close}, but {judged:?}");
    }
}

#[test]
fn checks_close_like_haproxy_1_4() {
    let stage = Stage::new();
    let mut proxy = stage.teardown(&config(&stage, " close like haproxy-1.4"));
    play(&stage, LIKE_1_4);
    // That is what a server that never closes has of it.
    let end = format!(":{}", Kind::Never.port());
    let half_closed = ss::sockets(&stage.topology.backend)
        .into_iter()
        .filter(|socket| socket.state == "CLOSE-WAIT" && socket.local.ends_with(&end))
        .count();
    assert!(half_closed >= 2 * ENOUGH, "{half_closed} in CLOSE-WAIT");
    proxy.signal(Signal::TERM);
    proxy.wait();
}

#[test]
fn checks_close_like_haproxy_1_5() {
    let stage = Stage::new();
    let mut proxy = stage.teardown(&config(&stage, " close like haproxy-1.5"));
    play(&stage, LIKE_1_5);
    proxy.signal(Signal::TERM);
    proxy.wait();
}

/// Without a word about closes, and Debian's HAProxy.
#[test]
fn checks_close_as_today_by_themselves() {
    let stage = Stage::new();
    let mut proxy = stage.teardown(&config(&stage, ""));
    play(&stage, LIKE_1_5);
    proxy.signal(Signal::TERM);
    proxy.wait();
    let stage = Stage::new();
    let mut proxy = stage.haproxy(&config(&stage, ""), 7000);
    play(&stage, LIKE_1_5);
    proxy.signal(Signal::TERM);
    proxy.wait();
}
