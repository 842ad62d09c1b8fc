//! Pools, queues, stops: what a connection goes through over time.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use teardown::http::{
    counters::Count,
    engine::IdleInfo,
    event::Cause,
    live::{Admin, Health},
    settings::{Bind, BindAddress, Connection, Reuse, ServerAddress, Settings},
};

use crate::support::{Client, Origin, Proxy, eventually, settings};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
pub(crate) const CLOSE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) fn get(client: &mut Client) {
    client.send(GET);
    assert_eq!(client.response(), OK);
}

fn with_reuse(reuse: Reuse) -> (Origin, Proxy) {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.backends[0].reuse = reuse;
    let proxy = Proxy::start(settings);
    (origin, proxy)
}

#[test]
fn reuse_decides_who_shares_a_connection() {
    // Three clients, two requests each, one after the other.
    for (reuse, opened) in
        [(Reuse::Never, 3), (Reuse::Safe, 3), (Reuse::Aggressive, 1), (Reuse::Always, 1)]
    {
        let (origin, proxy) = with_reuse(reuse);
        let mut clients = [proxy.connect(), proxy.connect(), proxy.connect()];
        for client in &mut clients {
            get(client);
            get(client);
        }
        assert_eq!(origin.opened(), opened, "{reuse:?}");
    }
}

#[test]
fn server_close_opens_a_connection_for_each_request() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.backends[0].connection = Connection::ServerClose;
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    (0..3).for_each(|_| get(&mut client));
    assert_eq!(origin.opened(), 3);
}

/// A server that answers when it is told to.
fn held() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (go, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |mut peer| {
        while peer.request().is_some() {
            let _ = wait.lock().expect("unpoisoned").recv();
            peer.send(OK);
        }
    });
    (origin, go)
}

fn queued(maxconn: u32) -> (Settings, std::sync::mpsc::Sender<()>) {
    let (origin, go) = held();
    let mut settings = settings(&[origin.address]);
    settings.backends[0].servers[0].maxconn = maxconn;
    (settings, go)
}

#[test]
fn connections_of_a_configuration_of_before_take_no_places_in_the_pool() {
    let (origin, go) = held();
    let mut settings = settings(&[origin.address]);
    settings.global.threads = 1;
    let proxy = Proxy::start(settings.clone());
    let mut early = proxy.connect();
    early.send(GET);
    eventually(|| (origin.asked() == 1).then_some(()));
    proxy.engine.reload(settings).expect("reloads");
    assert_eq!(proxy.parked(), [0; 0], "its worker has heard of it");
    go.send(()).expect("it waits");
    assert_eq!(early.response(), OK);
    let mut late = proxy.connect();
    for _ in 0..3 {
        late.send(GET);
        go.send(()).expect("it waits");
        assert_eq!(late.response(), OK);
    }
    assert_eq!(origin.opened(), 2);
}

#[test]
fn a_source_counts_for_addresses_of_its_family() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.backends[0].servers[0].source = Some(([127, 0, 0, 1], 0).into());
    let proxy = Proxy::start(settings);
    assert!(proxy.exchange(CLOSE).starts_with("HTTP/1.1 200 "));
    let other = std::net::TcpListener::bind("[::1]:0").expect("a port");
    let address = other.local_addr().expect("bound");
    let server = Arc::clone(&proxy.engine.proxies().backends[0].servers[0]);
    server.set_address(address.into());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().expect("a connection");
        std::io::Write::write_all(&mut stream, OK.as_bytes()).expect("it reads");
        stream
    });
    // Where nobody comes, somebody does, so that the test ends.
    let answer = proxy.exchange(CLOSE);
    drop(std::net::TcpStream::connect(address));
    drop(answering.join());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn requests_above_maxconn_wait_for_their_turn() {
    let (settings, go) = queued(1);
    let proxy = Proxy::start(settings);
    let mut clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    let backend = Arc::clone(&proxy.engine.proxies().backends[0]);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(CLOSE);
        let waiting = u32::try_from(index).expect("small");
        eventually(|| {
            let there = backend.servers[0].sessions.now() == 1;
            (there && backend.queue.len() + backend.servers[0].queue.len() == waiting).then_some(())
        });
    }
    for client in &mut clients {
        go.send(()).expect("the server waits");
        assert!(client.rest().ends_with("ok"));
    }
    assert_eq!(backend.servers[0].sessions.max(), 1);
}

#[test]
fn a_request_does_not_wait_for_ever() {
    let (mut settings, go) = queued(1);
    settings.backends[0].timeouts.queue = Some(Duration::from_millis(60));
    let proxy = Proxy::start(settings);
    let mut first = proxy.connect();
    first.send(CLOSE);
    let backend = Arc::clone(&proxy.engine.proxies().backends[0]);
    eventually(|| (backend.servers[0].sessions.now() == 1).then_some(()));
    assert!(proxy.exchange(CLOSE).starts_with("HTTP/1.1 503 "));
    assert_eq!(proxy.log(1)[0].state, "sQ--");
    go.send(()).expect("the server waits");
    assert!(first.rest().ends_with("ok"));
    assert_eq!(backend.queue.len() + backend.servers[0].queue.len(), 0);
}

#[test]
fn a_frontend_accepts_no_more_than_its_maxconn() {
    let origin = Origin::answering(OK);
    let mut settings = settings(&[origin.address]);
    settings.frontends[0].maxconn = 2;
    let proxy = Proxy::start(settings);
    let mut kept = [proxy.connect(), proxy.connect()];
    kept.iter_mut().for_each(get);
    let mut third = proxy.connect();
    third.send(GET);
    let frontend = Arc::clone(&proxy.engine.proxies().frontends[0]);
    assert_eq!(frontend.sessions.now(), 2);
    let [first, _second] = kept;
    drop(first);
    assert_eq!(third.response(), OK);
    assert_eq!(frontend.sessions.max(), 2);
}

#[test]
fn idle_connections_to_servers_are_told_by_whether_they_have_proven_to_persist() {
    let (_origin, proxy) = with_reuse(Reuse::Safe);
    let mut client = proxy.connect();
    for (fresh, proven) in [(1, 0), (0, 1), (0, 1)] {
        get(&mut client);
        eventually(|| {
            let all = proxy.idle();
            let idle = all.iter().filter_map(|worker| worker.get(&(0, 0)));
            (idle.copied().collect::<Vec<_>>() == [IdleInfo { fresh, proven }]).then_some(())
        });
    }
}

#[test]
fn a_soft_stop_lets_requests_end() {
    let (origin, go) = held();
    let proxy = Proxy::start(settings(&[origin.address]));
    let (mut busy, idle) = (proxy.connect(), proxy.connect());
    busy.send(GET);
    eventually(|| (origin.asked() == 1).then_some(()));
    proxy.engine.stop();
    let refused = || std::net::TcpStream::connect(proxy.address).err();
    eventually(refused);
    let error =
        proxy.engine.reload(settings(&[origin.address])).expect_err("it would listen again");
    assert!(error.to_string().contains("is stopping"), "{error}");
    go.send(()).expect("the server waits");
    assert!(busy.rest().contains("Connection: close\r\n"));
    drop(idle);
    proxy.engine.join();
}

#[test]
fn a_soft_stop_has_an_end() {
    let (origin, _go) = held();
    let mut settings = settings(&[origin.address]);
    settings.global.hard_stop_after = Some(Duration::from_millis(100));
    let proxy = Proxy::start(settings);
    let mut busy = proxy.connect();
    busy.send(GET);
    eventually(|| (origin.asked() == 1).then_some(()));
    proxy.engine.stop();
    busy.rest();
    proxy.engine.join();
    let line = &proxy.log(1)[0];
    assert_eq!((line.status, line.state.as_str()), (0, "KH--"), "nothing was sent");
}

#[test]
fn sessions_can_be_seen_and_killed() {
    let (origin, _go) = held();
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send(GET);
    eventually(|| (origin.asked() == 1).then_some(()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("builds");
    let session = eventually(|| {
        let sessions = runtime.block_on(proxy.engine.sessions());
        sessions.into_iter().find(|session| session.server.is_some())
    });
    assert_eq!(session.server, Some(("back".into(), "s0".into())));
    assert_eq!(session.client, Some(client.stream.local_addr().expect("bound")));
    proxy.engine.kill(session.serial);
    assert!(client.response().starts_with("HTTP/1.1 502 "));
    let line = &proxy.log(1)[0];
    assert_eq!((line.status, line.state.as_str()), (502, "KH--"));
}

#[test]
fn a_server_that_goes_down_takes_its_sessions_along() {
    let (origin, _go) = held();
    let mut settings = settings(&[origin.address]);
    settings.backends[0].servers[0].shutdown_on_down = true;
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send(GET);
    eventually(|| (origin.asked() == 1).then_some(()));
    let proxies = proxy.engine.proxies();
    proxies.backends[0].servers[0].set_health(Health::Down);
    proxy.engine.look();
    assert!(client.response().starts_with("HTTP/1.1 502 "));
    let line = &proxy.log(1)[0];
    assert_eq!((line.status, line.state.as_str()), (502, "DH--"));
    assert!(proxy.exchange(CLOSE).starts_with("HTTP/1.1 503 "));
    // The client's connection goes on, and is no longer that server's.
    proxies.backends[0].servers[0].set_health(Health::Up);
    client.send(GET);
    eventually(|| (origin.asked() == 2).then_some(()));
    proxies.backends[0].servers[0].shutdown_sessions(Cause::Up);
    proxy.engine.look();
    assert!(client.response().starts_with("HTTP/1.1 502 "));
    assert_eq!(proxy.log(3)[2].state, "UH--");
}

#[test]
fn drained_and_moved_servers_get_no_requests() {
    let (first, second) = (Origin::answering(OK), Origin::answering(OK));
    let proxy = Proxy::start(settings(&[first.address, second.address]));
    let servers = &proxy.engine.proxies().backends[0].servers;
    servers[1].set_admin(Admin::Drain);
    let mut client = proxy.connect();
    (0..3).for_each(|_| get(&mut client));
    assert_eq!((first.opened(), second.opened()), (1, 0));
    servers[0].set_address(ServerAddress::Inet(second.address));
    (0..3).for_each(|_| get(&mut client));
    assert_eq!((first.opened(), second.opened()), (1, 1), "pooled connections are left");
}

#[test]
fn unix_sockets_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let (outside, inside) = (folder.path().join("front"), folder.path().join("back"));
    let listener = std::os::unix::net::UnixListener::bind(&inside).expect("binds");
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("accepts");
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            stream.write_all(OK.as_bytes()).expect("sends");
        }
    });
    let mut settings = settings(&[]);
    let server = teardown::http::settings::Server::new("u", ServerAddress::Unix(inside));
    settings.backends[0].servers.push(server);
    settings.frontends[0]
        .binds
        .push(Bind { unix_mode: Some(0o600), ..Bind::new(BindAddress::Unix(outside.clone())) });
    let _proxy = Proxy::start(settings);
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&outside).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = std::os::unix::net::UnixStream::connect(outside).expect("connects");
    client.write_all(CLOSE.as_bytes()).expect("sends");
    let mut got = String::new();
    client.read_to_string(&mut got).expect("reads");
    assert!(got.ends_with("ok"), "{got}");
}

#[test]
fn counters_count() {
    let origin = Origin::answering(OK);
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    (0..3).for_each(|_| get(&mut client));
    proxy.exchange("nonsense\r\n\r\n");
    proxy.log(4);
    let proxies = proxy.engine.proxies();
    let (frontend, backend) = (&proxies.frontends[0], &proxies.backends[0]);
    let server = &backend.servers[0];
    let front = |count| frontend.counters.total(count);
    assert_eq!(front(Count::Sessions), 2);
    // What is no request is counted as one, as with HAProxy.
    assert_eq!(front(Count::Requests), 4);
    assert_eq!(front(Count::RequestErrors), 1);
    assert_eq!((front(Count::Responses2), front(Count::Responses4)), (3, 1));
    assert_eq!(backend.counters.total(Count::Sessions), 3);
    assert_eq!(server.counters.total(Count::Opened), 1);
    assert_eq!(server.counters.total(Count::Reused), 2);
    assert_eq!(server.counters.total(Count::BytesOut), 3 * OK.len() as u64);
    assert_eq!(server.counters.total(Count::BytesIn), 3 * GET.len() as u64);
    assert!(server.last_session.load(Relaxed) > 0);
    eventually(|| (backend.sessions.now() == 0 && server.sessions.now() == 0).then_some(()));
}
