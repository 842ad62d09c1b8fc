//! How the proxy closes its connections to servers, as the servers see it. The table is HAProxy's
//! of 2.x: a server that closes first is answered with FIN, else the proxy closes with RST.

use std::{
    io::{ErrorKind, Read},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use teardown::http::{
    closes::Class,
    settings::{Connection, Mode, Reuse, Settings},
};

use crate::support::{Origin, PATIENCE, Peer, Proxy, eventually, settings};

/// When a server closes after its response.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fin {
    WithData,
    /// So long after it, unless the proxy has reset before.
    Later(Duration),
    Never,
}

/// Soon after its response. A proxy that is to be first has all the time: a busy machine takes longer.
const SOON: Fin = Fin::Later(Duration::from_millis(50));
const LATE: Fin = Fin::Later(PATIENCE);

/// What the server saw of the proxy's close.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Saw {
    Fin,
    Rst,
    /// FIN, and RST after a while.
    FinThenRst,
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NONE: &str = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nok";
const OLD: &str = "GET / HTTP/1.0\r\n\r\n";

fn serve(mut peer: Peer, fin: Fin, response: &str, tell: &mpsc::Sender<Saw>) {
    if peer.request().is_none() {
        return;
    }
    let socket = socket2::SockRef::from(&peer.stream);
    match fin {
        Fin::WithData => {
            // Held back until the FIN can go in the same segment.
            socket.set_tcp_nodelay(false).expect("sets");
            rustix::net::send(&peer.stream, response.as_bytes(), rustix::net::SendFlags::MORE)
                .expect("sends");
            socket.shutdown(std::net::Shutdown::Write).expect("shuts down");
        }
        Fin::Later(wait) => {
            peer.send(response);
            let begun = Instant::now();
            peer.stream.set_read_timeout(Some(wait)).expect("sets");
            if let Err(error) = peer.stream.peek(&mut [0; 16])
                && error.kind() == ErrorKind::ConnectionReset
            {
                let _ = tell.send(Saw::Rst);
                return;
            }
            thread::sleep(wait.saturating_sub(begun.elapsed()));
            peer.stream.set_read_timeout(Some(PATIENCE)).expect("sets");
            // The proxy's RST may have come just now.
            let _ = peer.stream.shutdown(std::net::Shutdown::Write);
        }
        Fin::Never => {
            peer.send(response);
        }
    }
    let saw = match peer.stream.read(&mut [0; 16]) {
        Ok(0) if fin == Fin::Never => {
            // An error appears on the socket when the RST comes.
            eventually(|| peer.stream.take_error().expect("asks"));
            Saw::FinThenRst
        }
        Ok(0) => Saw::Fin,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Saw::Rst,
        other => panic!("{other:?}"),
    };
    let _ = tell.send(saw);
}

/// What the server saw, and what the proxy stated.
fn close(
    fin: Fin,
    response: &'static str,
    change: impl FnOnce(&mut Settings),
) -> (Saw, (Class, bool)) {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::new(move |peer| {
        let tell = tell.lock().expect("unpoisoned").clone();
        serve(peer, fin, response, &tell);
    });
    let mut settings = settings(&[origin.address]);
    settings.backends[0].servers[0].pool_purge_delay = Duration::from_millis(1);
    change(&mut settings);
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    client.send(OLD);
    client.until(b"ok");
    drop(client);
    let saw = told.recv_timeout(PATIENCE).expect("the server sees a close");
    let stated = eventually(|| proxy.ears.closes.lock().expect("unpoisoned").first().cloned());
    (saw, (stated.0, stated.1))
}

fn mode(connection: Connection) -> impl FnOnce(&mut Settings) {
    move |settings| settings.backends[0].connection = connection
}

#[test]
fn closes_by_mode_and_server() {
    let passive = (Saw::Fin, (Class::Passive, false));
    let active = (Saw::Rst, (Class::Active, true));
    for connection in [Connection::ServerClose, Connection::Close, Connection::KeepAlive] {
        let cases = [(Fin::WithData, passive), (LATE, active), (Fin::Never, active)];
        for (fin, expected) in cases {
            // A kept connection waits for the next request: the server's late FIN is answered.
            if connection == Connection::KeepAlive && fin == LATE {
                continue;
            }
            assert_eq!(close(fin, LENGTH, mode(connection)), expected, "{connection:?} {fin:?}");
        }
        let (saw, stated) = close(Fin::WithData, NONE, mode(connection));
        assert_eq!((saw, stated), passive, "{connection:?} without a length");
        let (saw, stated) = close(SOON, NONE, mode(connection));
        assert_eq!((saw, stated), passive, "{connection:?} without a length, later");
    }
}

#[test]
fn a_response_without_an_end_is_reset_at_the_timeout() {
    let got = close(Fin::Never, NONE, |settings| {
        settings.backends[0].timeouts.server = Some(Duration::from_secs(1));
    });
    assert_eq!(got, (Saw::Rst, (Class::Active, true)));
}

#[test]
fn nolinger_resets_after_a_body_until_close() {
    let nolinger = |settings: &mut Settings| {
        settings.backends[0].connection = Connection::ServerClose;
        settings.backends[0].nolinger = true;
    };
    assert_eq!(close(Fin::WithData, NONE, nolinger).0, Saw::Rst);
    assert_eq!(close(Fin::WithData, LENGTH, nolinger).0, Saw::Fin);
    assert_eq!(close(Fin::Never, LENGTH, nolinger).0, Saw::Rst);
}

#[test]
fn tunnels_and_tcp_pass_the_fin_on() {
    // A server that never closes is given up soon; one that closes late has all the time.
    let patience = |fin| if fin == Fin::Never { Duration::from_millis(50) } else { PATIENCE };
    let tcp = |fin| {
        move |settings: &mut Settings| {
            settings.frontends[0].mode = Mode::Tcp;
            settings.backends[0].mode = Mode::Tcp;
            settings.backends[0].timeouts.server_fin = Some(patience(fin));
        }
    };
    let tunnel = |fin| {
        move |settings: &mut Settings| {
            settings.backends[0].connection = Connection::Tunnel;
            settings.backends[0].timeouts.server_fin = Some(patience(fin));
        }
    };
    for fin in [Fin::WithData, SOON, Fin::Never] {
        // FIN at once, and RST at the timeout.
        let never = (Saw::FinThenRst, (Class::Tunnel, true));
        let expected = if fin == Fin::Never { never } else { (Saw::Fin, (Class::Tunnel, false)) };
        assert_eq!(close(fin, LENGTH, tcp(fin)), expected, "tcp {fin:?}");
        assert_eq!(close(fin, LENGTH, tunnel(fin)), expected, "tunnel {fin:?}");
    }
}

#[test]
fn an_idle_connection_is_closed_when_its_server_closes() {
    let got = close(SOON, LENGTH, |settings| {
        settings.backends[0].servers[0].pool_purge_delay = PATIENCE;
    });
    assert_eq!(got.0, Saw::Fin);
}

#[test]
fn a_clients_own_connection_is_closed_as_any_other_when_its_next_request_goes_elsewhere() {
    let origins = [Origin::answering(LENGTH), Origin::answering(LENGTH)];
    let mut settings = settings(&origins.each_ref().map(|origin| origin.address));
    settings.backends[0].reuse = Reuse::Never;
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    for _ in 0..4 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.response();
    }
    drop(client);
    let stated = eventually(|| {
        let closes = proxy.ears.closes.lock().expect("unpoisoned");
        (closes.len() == 4).then(|| closes.clone())
    });
    assert!(stated.iter().all(|(class, reset, _)| *class == Class::Active && *reset), "{stated:?}");
}

#[test]
fn what_the_request_was_doing_is_told() {
    let origin = Origin::new(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    proxy.exchange(OLD);
    let closes = eventually(|| {
        let closes = proxy.ears.closes.lock().expect("unpoisoned").clone();
        (!closes.is_empty()).then_some(closes)
    });
    assert_eq!(closes, [(Class::Passive, false, "SD--".into())]);
    let clients = eventually(|| {
        let clients = proxy.ears.clients.lock().expect("unpoisoned").clone();
        (!clients.is_empty()).then_some(clients)
    });
    assert_eq!(clients, [(Class::Active, "GET".into(), 200)]);
}

#[test]
fn a_last_response_comes_whole_though_the_client_sent_more() {
    let (answer, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |mut peer| {
        if peer.request().is_some() {
            wait.lock().expect("unpoisoned").recv_timeout(PATIENCE).expect("told to");
            peer.send(LENGTH);
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    eventually(|| (origin.asked() == 1).then_some(()));
    // The proxy has no reason to read this, and its close becomes a RST by it.
    client.send("\r\n");
    answer.send(()).expect("it waits");
    assert!(client.rest().ends_with("\r\n\r\nok"));
}
