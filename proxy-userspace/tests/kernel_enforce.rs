//! Closes are changed on the wire: on loopback, where both ends are seen.

use proxy_common::abi::{CloseRecord, RULES, RuleCounts};
use proxy_common::acts::{Acts, FIN_TO_RST};
use proxy_common::decide::Refusal;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::policy::{Policy, Wish};
use proxy_common::verdict::{self, ConnState, Role, Signal};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use teardown::kernel::{Covered, Event, Observer, Options, Policies, RulesFull, Scope};

fn observer(policy: Policy, listener: &TcpListener) -> Observer {
    let options =
        Options { interfaces: vec!["lo".to_owned()], enforce: true, ..Options::default() };
    let mut observer = Observer::start(&options).unwrap_or_else(|error| panic!("{error}"));
    let local = listener.local_addr().unwrap();
    let prefix = if local.is_ipv4() { 32 } else { 128 };
    let covered = Covered { addr: local.ip(), prefix, port: Some(local.port()) };
    let scope = Scope { peers: vec![covered], ..Scope::default() };
    let policies = Policies { traffic: policy, tunnels: policy, checks: policy };
    observer.rules().unwrap().set(1, &scope, policies).unwrap();
    observer
}

async fn one_close(observer: &mut Observer, port: u16) -> (FlowKey, Flow, Acts) {
    let mut found = Vec::new();
    let wait = async {
        while found.is_empty() {
            let mut events = Vec::new();
            observer.next(&mut events).await.unwrap();
            for event in events {
                if let Event::Close(CloseRecord { key, flow, acts, .. }) = event
                    && key.ends.iter().any(|end| end.port == port)
                {
                    found.push((key, flow, acts));
                }
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
        let flows = observer.flows().unwrap();
        let ours: Vec<_> =
            flows.iter().filter(|(key, _)| key.ends.iter().any(|e| e.port == port)).collect();
        panic!("{ours:?} {:?} {:?}", observer.counters(), observer.rules().unwrap().counts(1));
    }
    found[0]
}

async fn an_active_fin_becomes_a_reset(address: &str, bytes: &[u8]) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = Policy { active: Wish::RST, ..Policy::KEEP };
    let mut observer = observer(policy, &listener);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    server.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
    drop(client);
    let error = server.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (key, flow, acts) = one_close(&mut observer, port).await;
    let close = verdict::close(&key, &flow);
    assert_eq!(close.conn_state, ConnState::Rsto, "{close:?}");
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::RstAck)));
    assert!(acts.has(FIN_TO_RST), "{acts:?}");
    let counts = observer.rules().unwrap().counts(1).unwrap();
    assert_eq!((counts.matched, counts.fin_to_rst, counts.failed), (1, 1, 0), "{counts:?}");
}

#[tokio::test]
async fn an_active_fin_becomes_a_reset_over_ipv4() {
    an_active_fin_becomes_a_reset("127.0.0.1:0", b"request").await;
}

#[tokio::test]
async fn an_active_fin_becomes_a_reset_over_ipv6() {
    an_active_fin_becomes_a_reset("[::1]:0", b"request").await;
}

/// The states of this host's sockets with `port`, as ss(8) shows them.
fn sockets(port: u16) -> String {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let mut ss = std::process::Command::new("ss");
    let ss = ss.args(["-Htn", "state", "connected", &filter]).output().expect("ss");
    assert!(ss.status.success(), "{}", String::from_utf8_lossy(&ss.stderr));
    String::from_utf8_lossy(&ss.stdout).into_owned()
}

/// Waits until no socket has `port` any more; TIME_WAIT would stay for a minute.
fn wait_until_none_is_left(port: u16) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !sockets(port).is_empty() {
        assert!(std::time::Instant::now() < end, "left over: {}", sockets(port));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn data_in_the_fins_own_segment_arrives_before_the_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = Policy { active: Wish::RST, ..Policy::KEEP };
    let mut observer = observer(policy, &listener);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let socket = socket2::Socket::from(client);
    // Held back until the close: it leaves with the FIN.
    socket.send_with_flags(b"last words", libc::MSG_MORE).unwrap();
    drop(socket);
    let mut read = Vec::new();
    let error = server.read_to_end(&mut read).unwrap_err();
    assert_eq!((read.as_slice(), error.kind()), (&b"last words"[..], ErrorKind::ConnectionReset));
    let (key, flow, acts) = one_close(&mut observer, port).await;
    let close = verdict::close(&key, &flow);
    assert_eq!(close.conn_state, ConnState::Rsto, "{close:?}");
    assert_eq!(close.orig.bytes, Some(10));
    assert!(acts.has(FIN_TO_RST), "{acts:?}");
    let counts = observer.rules().unwrap().counts(1).unwrap();
    assert_eq!((counts.stripped, counts.fin_to_rst, counts.failed), (1, 1, 0), "{counts:?}");
    drop(server);
    wait_until_none_is_left(port);
}

#[tokio::test]
async fn the_answer_to_the_peers_fin_becomes_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = Policy { passive: Wish::RST, ..Policy::KEEP };
    let mut observer = observer(policy, &listener);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"response").unwrap();
    server.shutdown(std::net::Shutdown::Write).unwrap();
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"response");
    drop(client);
    let error = server.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (key, flow, _) = one_close(&mut observer, port).await;
    let close = verdict::close(&key, &flow);
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Resp), Some(Signal::Fin)));
    assert_eq!(close.answer, Some(Signal::RstAck), "{close:?}");
    drop(server);
    // Without the rule the server's socket would stand in TIME_WAIT.
    wait_until_none_is_left(port);
}

#[tokio::test]
async fn a_shutdown_is_no_close_unless_the_rule_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = Policy { active: Wish::RST, ..Policy::KEEP };
    let mut observer = observer(policy, &listener);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0, "a clean end of the stream");
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"answer");
    drop(client);
    let (key, flow, acts) = one_close(&mut observer, port).await;
    assert_eq!(verdict::close(&key, &flow).conn_state, ConnState::SF);
    assert!(!acts.has(FIN_TO_RST) && acts.refusal == Refusal::HALF_CLOSE.0, "{acts:?}");
}

#[tokio::test]
async fn a_rule_begins_with_nothing_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (local, policy) =
        (listener.local_addr().unwrap(), Policy { active: Wish::RST, ..Policy::KEEP });
    let mut observer = observer(policy, &listener);
    let covered = Covered { addr: local.ip(), prefix: 32, port: Some(local.port()) };
    let scope = Scope { peers: vec![covered], ..Scope::default() };
    for _ in 0..2 {
        drop(TcpStream::connect(local).unwrap());
        drop(listener.accept().unwrap());
        one_close(&mut observer, local.port()).await;
        let rules = observer.rules().unwrap();
        assert_eq!(rules.counts(1).unwrap().matched, 1);
        rules.remove(1).unwrap();
        // Closes that are still to be told, and those shown again, have the number.
        assert_eq!(rules.free_number(), Ok(2));
        rules.set(1, &scope, Policies { traffic: policy, ..Policies::default() }).unwrap();
        assert_eq!(rules.counts(1).unwrap(), RuleCounts::default());
    }
    let rules = observer.rules().unwrap();
    (2..RULES as u32).for_each(|id| rules.set(id, &Scope::default(), Policies::default()).unwrap());
    assert_eq!(rules.free_number(), Err(RulesFull));
    rules.remove(7).unwrap();
    assert_eq!(rules.free_number(), Ok(7));
}

#[test]
fn a_rule_that_finds_no_room_leaves_nothing_and_takes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut observer = observer(Policy::KEEP, &listener);
    let rules = observer.rules().unwrap();
    let all = RULES as u16 * 4;
    let stated = |servers: std::ops::Range<u16>| Scope {
        stated: servers.map(|at| (at, 0)).collect(),
        ..Scope::default()
    };
    let mut set = |id, scope| rules.set(id, &scope, Policies::default());
    set(2, stated(0..10)).unwrap();
    set(3, stated(10..all + 1)).unwrap_err();
    set(2, stated(5..all + 6)).unwrap_err();
    // There is room for as many others as before, and 2 has its own.
    set(3, stated(20_000..20_000 + all - 10)).unwrap();
    let other = |servers| rules.other(1, &stated(servers));
    assert_eq!((other(5..10), other(10..20_000), other(20_000..20_001)), (Some(2), None, Some(3)));
    for id in [3, 2, 2] {
        rules.remove(id).unwrap();
    }
    assert_eq!(rules.other(1, &stated(0..u16::MAX)), None);
}
