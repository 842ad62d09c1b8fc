//! Options that change how connections are chosen and made.

use crate::support::{Origin, Proxy, eventually, ports::Reserved, settings};
use std::net::SocketAddr;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::time::Duration;
use teardown::http::{
    counters::Count,
    hooks::{Balance, Edit, Request},
    live::Backend,
    settings::Mode,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_connection_is_used_again_only_so_often() {
    for (most, opened) in [(None, 1), (Some(0), 6), (Some(1), 3), (Some(2), 2)] {
        let origin = Origin::answering(OK);
        let mut settings = settings(&[origin.address]);
        settings.backends[0].servers[0].max_reuse = most;
        let proxy = Proxy::start(settings);
        let mut client = proxy.connect();
        for _ in 0..6 {
            client.send(GET);
            assert_eq!(client.response(), OK);
        }
        assert_eq!(origin.opened(), opened, "max-reuse {most:?}");
    }
}

#[test]
fn a_client_stays_on_its_last_server_if_that_is_preferred() {
    for (prefer, parks, counts) in
        [(false, false, [3, 3]), (true, false, [6, 0]), (true, true, [6, 0])]
    {
        let answers = ["one", "two"]
            .map(|name| format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{name}"));
        let origins = answers.each_ref().map(|answer| Origin::answering(answer.as_str()));
        let mut settings = settings(&origins.each_ref().map(|origin| origin.address));
        settings.backends[0].prefer_last = prefer;
        if parks {
            settings.global.park_after = Duration::from_millis(10);
        }
        let proxy = Proxy::start(settings);
        let mut client = proxy.connect();
        let mut seen = [0, 0];
        for _ in 0..6 {
            client.send(GET);
            let response = client.response();
            seen[usize::from(response.ends_with("two"))] += 1;
            if parks {
                eventually(|| (proxy.parked().len() == 1).then_some(()));
            }
        }
        seen.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(seen, counts, "prefer-last-server {prefer}, parked {parks}");
    }
}

/// A balance that is not free to choose, and names two servers in turn.
#[derive(Debug)]
struct Hashed(std::sync::atomic::AtomicUsize);

impl Balance for Hashed {
    fn key(&self, _: Option<&Request<'_>>, _: &[Edit], _: Option<SocketAddr>) -> u64 {
        0
    }

    fn pick(&self, _: &Backend, _: u64, _: Option<usize>) -> Option<usize> {
        Some(self.0.fetch_add(1, Relaxed) % 2)
    }
}

#[test]
fn what_is_hashed_goes_where_its_hash_says_and_not_where_its_client_was() {
    let origins = [Origin::answering(OK), Origin::answering(OK)];
    let mut settings = settings(&origins.each_ref().map(|origin| origin.address));
    settings.backends[0].prefer_last = true;
    settings.backends[0].balance = Arc::new(Hashed(Default::default()));
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    for _ in 0..6 {
        client.send(GET);
        client.response();
    }
    assert_eq!(origins.each_ref().map(Origin::asked), [3, 3]);
}

#[test]
fn an_old_get_has_a_payload_only_where_that_is_allowed() {
    for (allowed, status) in [(false, "413"), (true, "200")] {
        let origin = Origin::answering(OK);
        let mut settings = settings(&[origin.address]);
        settings.global.accept_any_payload = allowed;
        let proxy = Proxy::start(settings);
        let response = proxy.exchange("GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(response.get(9..12), Some(status), "{response}");
        assert_eq!(origin.opened(), usize::from(allowed));
    }
}

#[test]
fn what_is_not_logged_in_mode_tcp_is_counted() {
    let port = Reserved::new();
    let mut settings = settings(&[SocketAddr::from(([127, 0, 0, 1], port.port()))]);
    settings.frontends[0].mode = Mode::Tcp;
    settings.frontends[0].dontlognull = true;
    settings.backends[0].mode = Mode::Tcp;
    // A second goes by before it, in which the client's bytes come.
    settings.backends[0].retries = 1;
    let proxy = Proxy::start(settings);
    let proxies = proxy.engine.proxies();
    let counters = &proxies.backends[0].counters;
    for (said, errors) in [("", 1), ("hello", 2), ("", 3)] {
        let mut client = proxy.connect();
        client.send(said);
        client.rest();
        eventually(|| (counters.total(Count::ConnectErrors) == errors).then_some(()));
    }
    assert_eq!(counters.total(Count::BytesIn), 5);
    let lines = proxy.log(1);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].state, "SC--");
}

/// What ss(8) says of the established connections with this port at one end.
fn sockets(port: u16) -> String {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let mut ss = std::process::Command::new("ss");
    let ss = ss.args(["-Htnoi", "state", "established", &filter]).output().expect("ss");
    assert!(ss.status.success(), "{}", String::from_utf8_lossy(&ss.stderr));
    String::from_utf8_lossy(&ss.stdout).into_owned()
}

#[test]
fn keep_alive_and_segment_size_are_the_sockets_own() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.backends[0].servers[0].tcp.keepalive = true;
    settings.frontends[0].binds[0].tcp.keepalive = true;
    settings.frontends[0].binds[0].mss = Some(1_000);
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send(GET);
    assert_eq!(client.response(), OK);
    // Until what was sent last is acknowledged, another timer is shown.
    let shown = |port: u16| {
        eventually(|| {
            let shown = sockets(port);
            (shown.matches("timer:(keepalive,").count() == 1).then_some(shown)
        })
    };
    shown(origin.address.port());
    let front = shown(proxy.address.port());
    assert!(front.contains("advmss:1000 ") || front.contains(" mss:988 "), "{front}");
}

#[test]
fn an_address_has_a_limit_of_its_own() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.frontends[0].binds[0].maxconn = 1;
    let proxy = Proxy::start(settings);
    let mut first = proxy.connect();
    first.send(GET);
    assert_eq!(first.response(), OK);
    // The next one waits until the first has gone.
    let mut second = proxy.connect();
    second.send(GET);
    let proxies = proxy.engine.proxies();
    assert_eq!(proxies.frontends[0].sessions.now(), 1);
    drop(first);
    assert_eq!(second.response(), OK);
    assert_eq!(proxies.frontends[0].sessions.max(), 1);
}
