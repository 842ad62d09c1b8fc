//! The programs load on this kernel, and follow connections on loopback.

mod support;

use proxy_common::abi::CloseRecord;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::verdict::{self, ConnState, Signal};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use support::linux::tells_why_it_resets;
use support::sockets;
use support::until::until;
use teardown::kernel::{Event, Observer, Options};

fn observer() -> Observer {
    let options = Options { interfaces: vec!["lo".to_owned()], ..Options::default() };
    Observer::start(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// Two connected sockets: the client's and the server's.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The closes of connections with `port` until `count` of them came, and what comes at once after.
async fn closes(observer: &mut Observer, port: u16, count: usize) -> Vec<(FlowKey, Flow)> {
    let mut found = Vec::new();
    let wait = async {
        while found.len() < count {
            let mut events = Vec::new();
            observer.next(&mut events).await.unwrap();
            take(events, port, &mut found);
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
        panic!("only {found:?}; counters {:?}", observer.counters());
    }
    let mut events = Vec::new();
    observer.finish(&mut events);
    take(events, port, &mut found);
    found
}

fn take(events: Vec<Event>, port: u16, found: &mut Vec<(FlowKey, Flow)>) {
    for event in events {
        if let Event::Close(CloseRecord { key, flow, .. }) = event
            && key.ends.iter().any(|end| end.port == port)
        {
            found.push((key, flow));
        }
    }
}

#[tokio::test]
async fn both_hooks_of_loopback_make_one_close() {
    let mut observer = observer();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut client, mut server) = pair(&listener);
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    server.write_all(b"goodbye").unwrap();
    drop(server);
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    let found = closes(&mut observer, port, 1).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let close = verdict::close(&found[0].0, &found[0].1);
    assert_eq!(close.conn_state, ConnState::SF);
    assert_eq!(close.history.as_str(), "ShADadfF");
    assert_eq!(close.first_closer, Some(verdict::Role::Resp));
    assert_eq!(close.first_signal, Some(Signal::Fin));
    assert_eq!(close.answer, Some(Signal::Fin));
    assert_eq!((close.orig.bytes, close.resp.bytes), (Some(5), Some(7)));
    assert_eq!((close.resp.unread, close.resp.unacked), (Some(0), Some(0)));
    let owner = close.resp.owner.expect("the owner of a local socket");
    assert_eq!(owner.pid, std::process::id());
}

#[tokio::test]
async fn every_packet_gives_zeeks_own_history() {
    let options =
        Options { interfaces: vec!["lo".to_owned()], full_history: true, ..Options::default() };
    let mut observer = Observer::start(&options).unwrap_or_else(|error| panic!("{error}"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut client, mut server) = pair(&listener);
    server.write_all(b"first the server speaks").unwrap();
    client.read_exact(&mut [0; 23]).unwrap();
    client.write_all(b"then the client").unwrap();
    server.read_exact(&mut [0; 15]).unwrap();
    drop(client);
    server.read_to_end(&mut Vec::new()).unwrap();
    drop(server);
    let found = closes(&mut observer, port, 1).await;
    let close = verdict::close(&found[0].0, &found[0].1);
    assert_eq!((found.len(), close.history.as_str()), (1, "ShAdDaFf"));
    assert!(!close.is_inferred());
    assert_eq!((close.orig.bytes, close.resp.bytes), (Some(15), Some(23)));
    let segments = close.orig.segments.unwrap_or(0) + close.resp.segments.unwrap_or(0);
    assert!((9..12).contains(&segments), "{close:?}");
}

#[tokio::test]
async fn the_round_trip_time_is_the_sockets_own() {
    let mut observer = observer();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut client, mut server) = pair(&listener);
    for _ in 0..20 {
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    }
    // The last acknowledgment has come once nothing is unacknowledged; then nothing moves any more.
    let measured = until("the last acknowledgment", || {
        let info = sockets::tcp_info(&client);
        (info.tcpi_unacked == 0).then_some(info)
    });
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let found = closes(&mut observer, port, 1).await;
    let close = verdict::close(&found[0].0, &found[0].1);
    assert_eq!(close.orig.srtt_us, Some(measured.tcpi_rtt), "{close:?}");
    assert_eq!(close.orig.retransmissions, Some(measured.tcpi_total_retrans));
    assert!(measured.tcpi_rtt > 0);
    drop(server);
}

#[tokio::test]
async fn a_close_with_unread_data_is_a_reset_that_lost_it() {
    let mut observer = observer();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut client, server) = pair(&listener);
    client.write_all(b"nobody reads this").unwrap();
    // The data is there when it can be seen.
    server.peek(&mut [0; 1]).unwrap();
    drop(server);
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(client);
    let found = closes(&mut observer, port, 1).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let close = verdict::close(&found[0].0, &found[0].1);
    assert_eq!(close.conn_state, ConnState::Rstr);
    assert_eq!(close.first_closer, Some(verdict::Role::Resp));
    assert_eq!(close.first_signal, Some(Signal::RstAck));
    assert_eq!(close.resp.unread, Some(17));
    let reason = close.resp.rst_reason.and_then(|reason| observer.rst_reasons().name(reason));
    let told = tells_why_it_resets().then_some("TCP_ABORT_ON_CLOSE");
    assert_eq!(reason, told, "{:?}", observer.missing());
    assert_eq!(observer.missing().is_empty(), told.is_some(), "{:?}", observer.missing());
}
